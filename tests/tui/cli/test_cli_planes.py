from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.session import load_session, save_session
from tests.example import EXAMPLE

MLP, RESID = "blocks.4.mlp.hook_post", "blocks.4.hook_resid_post"


@pytest.fixture
def stored(own_folders: Path) -> Path:
    """The example among the user's sessions, its prompts of two kinds."""
    path = paths.session_path("storm")
    session = load_session(EXAMPLE)
    prompts = tuple(
        dataclasses.replace(prompt, factors={"type": ("plain", "asking")[at % 2]})
        for at, prompt in enumerate(session.prompts)
    )
    save_session(session.changed(revision=0, prompts=prompts), path, vectors=dict(session.vectors()))
    return path


def test_a_plane_is_added_saved_and_listed(srm: Callable[..., Any], stored: Path) -> None:
    before = load_session(stored)
    ended = srm("planes", "storm", "--add", "mean(type=plain)", "pc1(at=baseline)", "--site", RESID, "--json")
    assert ended.status == 0
    assert "plane 2 of storm is saved" in ended.err
    session = load_session(stored)
    assert session.revision == before.revision + 1
    assert session.planes[:1] == before.planes
    assert session.planes[1].key == (RESID, "mean(type=plain)", "pc1(at=baseline)")
    own = session.vectors()[RESID]
    kept = [run.condition == 0 and run.prompt % 2 == 0 for run in session.runs]
    mean = own[kept].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(session.planes[1].x, own @ mean / np.linalg.norm(mean), rtol=1e-6)
    told = json.loads(ended.out)["tables"][0]
    assert [row["plane"] for row in told["rows"]] == [1, 1, 2, 2]
    assert told["rows"] == json.loads(srm("planes", "storm", "--json").out)["tables"][0]["rows"]
    again = srm("planes", "storm", "--add", "mean( type=plain )", "PC1(at=baseline)", "--site", RESID)
    assert "it is plane 2 of storm already" in again.err
    assert load_session(stored).revision == session.revision


def test_the_energy_and_the_angle_stand_in_show_too(srm: Callable[..., Any], stored: Path) -> None:
    srm("planes", "storm", "--add", "mean(type=plain)", "mean(type=asking)", "--site", RESID)
    plane = json.loads(srm("show", "storm", "--plane", 2, "--json").out)["planes"][0]
    record = load_session(stored).planes[1]
    assert plane["raw_angle_deg"] == pytest.approx(record.raw_angle_deg)
    shares = (np.array(record.xy) ** 2).sum(axis=1) / np.array(record.norm) ** 2
    baseline = [run.condition == 0 for run in load_session(stored).runs]
    assert plane["groups"]["baseline"]["energy_in_plane"] == pytest.approx(shares[baseline].mean())
    assert "in plane" in srm("show", "storm", "--plane", 2).out
    table = srm("planes", "storm", "--by", "type").out
    assert "mean type=plain" in table
    assert "clamped · type=asking" in table


def test_weights_come_from_the_model_of_the_session(srm: Callable[..., Any], stored: Path) -> None:
    ended = srm("planes", "storm", "--add", "w_out(4.20)", "w_out(4.488)", "--site", RESID)
    assert ended.status == 0, ended.err
    session = load_session(stored)
    assert {"w_out(4.20)", "w_out(4.488)"} <= set(session.provenance["directions"])
    assert len(session.planes) == 2


def test_an_ensemble_of_levels_writes_its_curves(srm: Callable[..., Any], stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "e.csv"
    options = ["--ensemble", "perm", "--basis", "mean(type=*)", "--basis", "random(3)", "--site", RESID]
    ended = srm("planes", "storm", *options, "--thresholds", "0.5,0.1", "--angles", 12, "--csv", out)
    assert ended.status == 0
    assert "6 planes of 3 directions" in ended.out
    with out.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["angle_deg", "group", "fraction_0.5", "spread_0.5", "fraction_0.1", "spread_0.1"]
    assert len(rows) == 24


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--add", "pc1", "pc2"], f"it captured 2 sites; choose one: --site {MLP} or {RESID}"),
        (["--add", "pc1", "foo", "--site", MLP], "'foo' is no direction"),
        (["--add", "mean(kind=x)", "3", "--site", MLP], "no prompt has a factor 'kind'"),
        (["--add", "w_out(4.3)", "3", "--site", MLP], "lies in the residual stream"),
        (["--add", "3", "3", "--site", MLP], "two different directions"),
        (["--add", "9999", "pc1", "--site", MLP], "n9999 is out of range"),
        (["--add", "pc1", "2", "--site", "blocks.1.mlp.hook_post"], "it did not capture"),
        (["--add", "no.npz#x", "2", "--site", MLP], "no.npz: there is no such file"),
        (["--ensemble", "comb", "--basis", "mean()", "--site", MLP], "at least two directions, there is 1"),
        (["--by", "kind"], "no factor 'kind'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_saved(
    srm: Callable[..., Any], stored: Path, options: list[str], told: str
) -> None:
    before = stored.read_bytes()
    ended = srm("planes", "storm", *options)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert told in ended.err
    assert stored.read_bytes() == before
