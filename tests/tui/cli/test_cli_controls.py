"""`srm-explorer controls`, and controls in what other commands write."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.session import Session, load_session

ENDED = Callable[..., Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small session of the bundled model with two controls, run by the program itself."""
    from srm_explorer.tui.cli import main

    home = tmp_path_factory.mktemp("controls")
    path = home / "few.json"
    small = ["prompts.limit=2", "generation.tokens=4", "interventions.0.values=[-3,3]", "controls.neurons=2"]
    sets = [part for one in small for part in ("--set", one)]
    with pytest.MonkeyPatch.context() as patch:
        # Made before the first test has folders of its own.
        for name in ("DATA", "STATE", "CONFIG", "CACHE"):
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        patch.setattr(tempfile, "tempdir", str(home))
        assert main(["run", "demo", *sets, "--session", str(path)]) == 0
    return path


def test_the_table_ranks_the_target_and_lists_the_controls(srm: ENDED, finished: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    ended = srm("controls", finished, "--csv", file)
    assert (ended.status, ended.err) == (0, f"srm-explorer: both tables written to {file}\n")
    assert "the target among its controls" in ended.out
    assert "none below .33" in ended.out
    ranks, _, neurons = file.read_text().partition("\n\n")
    rows = list(csv.DictReader(ranks.splitlines()))
    assert {row["p"] for row in rows if row["measure"] == "amplitude"} == {""}
    assert all(float(row["p"]) >= 1 / 3 - 1e-12 for row in rows if row["p"])
    assert [row["control"] for row in csv.DictReader(neurons.splitlines())] == ["target", "1", "2"]
    told = json.loads(srm("controls", finished, "--by", "condition", "--json").out)
    assert [table["name"] for table in told["tables"]] == ["controls", "control_neurons"]
    assert "measure_plane_1_beyond_arithmetic" in told["tables"][1]["rows"][0]


def test_the_price_is_told_and_nothing_runs(srm: ENDED, finished: Path) -> None:
    ended = srm("controls", "protocol", "--plan", "--neurons", 19)
    assert ended.status == 0
    assert ended.out.startswith("600 runs + 10,450 control runs · 552,500 tokens; ")
    assert "no p-value is below .05" in ended.out
    plan = json.loads(srm("controls", finished, "--plan", "--neurons", 39, "--set", "prompts.limit=5", "--json").out)
    assert (plan["prompts"], plan["runs"], plan["control_runs"]) == (5, 15, 5 * 2 * 39)
    assert plan["least_p"] == 0.025
    assert not paths.sessions_folder().exists()


def test_a_plane_that_follows_an_overridden_neuron_is_noted(srm: ENDED) -> None:
    ended = srm("controls", "protocol", "--plan", "--set", "interventions.0.neurons=[137]")
    assert (ended.status, ended.err) == (0, "srm-explorer: plane 373 × 2202 moves along to 137 × 2202\n")
    assert srm("controls", "protocol", "--plan", "--set", "interventions.0.neurons=[137]", "--json").err == ""


def test_planning_without_saying_so_is_wrong_usage(srm: ENDED, finished: Path) -> None:
    ended = srm("controls", finished, "--neurons", 19)
    assert ended.status == 2
    assert "give --plan too" in ended.err


def test_a_session_without_controls_says_how_to_have_them(srm: ENDED, save: Callable[..., Session]) -> None:
    save("storm")
    ended = srm("controls", "storm")
    assert ended.status == 1
    assert "--set controls.neurons=19" in ended.err
    assert ended.err.count("\n") == 1


def test_a_finished_session_runs_again_with_other_controls(srm: ENDED, finished: Path, tmp_path: Path) -> None:
    again = tmp_path / "one.json"
    assert srm("run", finished, "--set", "controls.neurons=1", "--session", again).status == 0
    one, two = load_session(again), load_session(finished)
    assert len(one.runs) == 2 * (1 + 2 + 2)
    own = [run for run in two.runs if two.conditions[run.condition].control is None]
    assert [run.token_ids for run in one.runs if one.conditions[run.condition].control is None] == [
        run.token_ids for run in own
    ]


def test_exports_hold_the_target_alone_unless_asked(srm: ENDED, finished: Path, tmp_path: Path) -> None:
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    ended = srm("sessions", "export", finished, "--csv", f"{plain}.csv", "--npz", f"{plain}.npz")
    assert "8 control runs left out" in ended.out
    srm("sessions", "export", finished, "--csv", f"{whole}.csv", "--npz", f"{whole}.npz", "--controls")
    keys = {f"prompt_{p}{end}" for p in (0, 1) for end in ("", "_sweep=-3", "_sweep=3")}
    with np.load(f"{plain}.npz") as few, np.load(f"{whole}.npz") as many:
        assert set(few) == keys
        assert set(many) - keys == {f"prompt_{p}_control{j}_sweep={v}" for p in (0, 1) for j in (1, 2) for v in (-3, 3)}
        assert all(np.array_equal(few[key], many[key]) for key in keys)
    rows = list(csv.DictReader(Path(f"{plain}.csv").read_text().splitlines()))
    assert len(rows) == 6
    assert "control" not in rows[0]
    every = list(csv.DictReader(Path(f"{whole}.csv").read_text().splitlines()))
    assert [row["control"] for row in every[:7]] == ["", "", "", "1", "1", "2", "2"]
