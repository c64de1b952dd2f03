from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine.runs import LiveRun
from srm_explorer.tui.backend import run_follower
from srm_explorer.tui.backend.events import LinkEvent, RunEnded, RunFailed
from srm_explorer.tui.backend.run_follower import RunFollower

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved session, and beside it the folder of its run, which is about to go."""
    shutil.copy(ROOT / "saved_sessions" / "example.json", tmp_path / "a.json")
    shutil.copytree(ROOT / "tests" / "data" / "from_0.1.0" / "long.run", tmp_path / "a.run")
    return tmp_path / "a.json"


def test_a_folder_that_goes_while_it_is_opened_is_a_run_that_has_ended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed_before_it_is_read(folder: Path, *before: Any) -> LiveRun:
        shutil.rmtree(folder)
        return LiveRun(folder, *before)

    monkeypatch.setattr(run_follower, "LiveRun", removed_before_it_is_read)
    events: list[LinkEvent] = []
    RunFollower(path, events.append).follow_folder()
    (ended,) = events
    assert isinstance(ended, RunEnded)
    assert ended.session is not None
    assert ended.session.name == "a"


def test_a_folder_that_stays_and_cannot_be_read_is_told(path: Path) -> None:
    (path.with_suffix(".run") / "spec.json").write_text("{")
    events: list[LinkEvent] = []
    RunFollower(path, events.append).follow_folder()
    (failed,) = events
    assert isinstance(failed, RunFailed)
    assert "spec.json" in str(failed.error)
