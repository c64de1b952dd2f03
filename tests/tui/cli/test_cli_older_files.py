"""What version 0.1.0 wrote, before the folders were rebuilt: it opens, says the same, and goes on."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.session import load_session

from .conftest import Ended

OLD = Path(__file__).parents[2] / "data" / "from_0.1.0"


@pytest.fixture
def small(own_folders: Path) -> Path:
    """A session with controls, scored texts and vectors, where the user's sessions are."""
    path = paths.session_path("small")
    path.parent.mkdir(parents=True)
    for suffix in (".json", ".safetensors"):
        shutil.copy(OLD / f"small{suffix}", path.with_suffix(suffix))
    return path


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run killed after its first batch: 40 of 160 runs, in a working folder with its prompts and spec."""
    monkeypatch.chdir(tmp_path)
    for name in ("long.toml", "many.txt"):
        shutil.copy(OLD / name, tmp_path)
    folder = tmp_path / "out" / "long.run"
    shutil.copytree(OLD / "long.run", folder)
    spec = folder / "spec.json"
    spec.write_text(spec.read_text().replace("/srv/experiments", str(tmp_path)))
    return folder


def test_a_session_exports_the_same_numbers(small: Path, tmp_path: Path, srm: Callable[..., Ended]) -> None:
    assert srm("sessions", "export", small, "--csv", tmp_path / "runs.csv").status == 0
    assert (tmp_path / "runs.csv").read_bytes() == (OLD / "small.csv").read_bytes()
    assert srm("effects", small, "--csv", tmp_path / "effects.csv").status == 0
    now, then = (list(csv.reader(path.open())) for path in (tmp_path / "effects.csv", OLD / "small-effects.csv"))
    assert [[_number(cell) for cell in row] for row in now] == [[_number(cell) for cell in row] for row in then]


def _number(cell: str) -> str:
    """A number without its last digits, which differ from processor to processor; any other cell as it is."""
    try:
        return f"{float(cell):.12g}"
    except ValueError:
        return cell


def test_a_session_draws_the_same_chart(small: Path, srm: Callable[..., Ended]) -> None:
    shown = srm("show", small, "--chart", "polar", "--width", 80, "--height", 22)
    assert shown.out == (OLD / "small-polar.txt").read_text()


def test_an_interrupted_run_goes_on_and_keeps_what_it_had(interrupted: Path, srm: Callable[..., Ended]) -> None:
    lines = (OLD / "long.run" / "events.jsonl").read_text().splitlines()
    before = {run["index"]: run for line in lines for run in json.loads(line).get("runs", ())}
    assert len(before) == 40
    ended = srm("run", "long.toml", "--session", interrupted.with_suffix(".json"))
    assert ended.status == 0, ended.err
    session = load_session(interrupted.with_suffix(".json"))
    assert (session.state, len(session.runs)) == ("finished", 160)
    for index, run in before.items():
        assert list(session.runs[index].token_ids) == run["token_ids"]
        assert session.runs[index].text == run["text"]
    vectors = session.vectors()["blocks.1.mlp.hook_post"]
    assert np.isfinite(vectors).all()
    assert np.abs(vectors).max(axis=1).min() > 0
