"""`srm-explorer run` with another neuron than the file's: the plane follows, or is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine.session import load_session

ENDED = Callable[..., Any]
SMALL = ("prompts.limit=1", "generation.tokens=2", "interventions.0.values=[3]")


def run(srm: ENDED, path: Path, *overrides: str, json: bool = False) -> Any:
    sets = [part for one in (*SMALL, *overrides) for part in ("--set", one)]
    return srm("run", "demo", *sets, "--session", path, *(["--json"] if json else []))


def notes(ended: Any) -> list[str]:
    return [line for line in ended.err.splitlines() if line.startswith("srm-explorer: plane")]


@pytest.mark.parametrize(
    ("overrides", "plane", "note", "warned"),
    [
        (["interventions.0.neurons=[137]"], (137, 20), "plane 488 × 20 moves along to 137 × 20", False),
        (["interventions.0.neurons=[20]"], (488, 20), "plane 488 × 20 stays: 20 lies in it already", False),
        (["interventions.0.neurons=[1, 2]"], (488, 20), "stays: 2 neurons are edited in place of 1", True),
        (["interventions.0.neurons=[137]", "planes.0.a=488"], (488, 20), "stays: it was set by hand", True),
        (["interventions.0.neurons=[137]", "planes.0.a=137"], (137, 20), "", False),
    ],
)
def test_the_plane_follows_or_one_note_says_why_not(
    srm: ENDED, tmp_path: Path, overrides: list[str], plane: tuple[int, int], note: str, warned: bool
) -> None:
    path = tmp_path / "few.json"
    ended = run(srm, path, *overrides)
    assert ended.status == 0
    assert [line.endswith(note) for line in notes(ended)] == [True] * bool(note)
    assert ended.err.count("no plane holds what is edited") == warned
    (found,) = load_session(path).planes
    assert (found.a, found.b) == plane
    assert ("this plane holds nothing that was edited" in " ".join(srm("show", path).out.split())) == warned


def test_as_json_the_note_is_one_of_its_notes(srm: ENDED, tmp_path: Path) -> None:
    ended = run(srm, tmp_path / "few.json", "interventions.0.neurons=[137]", json=True)
    assert "plane 488 × 20 moves along to 137 × 20" in json.loads(ended.out)["notes"]
    assert notes(ended) == []
