"""Runs that no worker has, followed by a link: others began them, and they may lose their writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from srm_explorer.engine.session import load_session
from srm_explorer.tui.backend.events import RunEnded, RunGrew, RunLost, RunsFound, WorkerSeen

from .conftest import RUNS
from .link_screen import LONG, Screen, end_the_worker, is_partial, workers
from .worker_talk import start_line

if TYPE_CHECKING:
    from .conftest import Bench, Hold

pytestmark = pytest.mark.slow


def test_a_run_without_a_worker_is_followed_by_its_folder_alone(screen: Screen, bench: Bench, hold: Hold) -> None:
    end_the_worker()
    screen.link.open()
    assert screen.wait(WorkerSeen).kind == "none"
    line = start_line(bench, "a", LONG)
    found = screen.wait(RunsFound, lambda event: any(run.alive for run in event.runs))
    (run,) = (run for run in found.runs if run.path == bench.session_path("a"))
    assert (run.runs, run.alive) == (RUNS, True)
    screen.link.follow(run.path)
    part = screen.wait(RunGrew, is_partial)
    assert part.progress is not None
    assert part.progress.runs == RUNS
    assert len(part.session.planes[0].x) == len(part.session.runs)  # pyright: ignore[reportOptionalMemberAccess]
    hold.end()
    ended = screen.wait(RunEnded)
    assert line.wait() == 0
    assert (ended.state, ended.path) == ("finished", run.path)
    assert ended.session == load_session(run.path)
    whole = {run.index: run for run in ended.session.runs}
    for grown in screen.all(RunGrew):
        # The last batch may come with the end only: the folder is removed as soon as the session is saved.
        assert grown.session is None or all(whole[run.index] == run for run in grown.session.runs)
    assert {event.kind for event in screen.all(WorkerSeen)} == {"none"}
    assert not workers(bench.server)


def test_a_run_without_a_worker_that_is_killed_is_lost_and_offered_again(
    screen: Screen, other: Screen, bench: Bench, hold: Hold
) -> None:
    end_the_worker()
    line = start_line(bench, "a", LONG)
    screen.link.open()
    screen.wait(RunsFound, lambda event: any(run.alive for run in event.runs))
    screen.link.follow(bench.session_path("a"))
    screen.wait(RunGrew, is_partial)
    line.kill()
    lost = screen.wait(RunLost)
    line.communicate()
    assert 0 < lost.done < lost.runs == RUNS
    assert len(screen.all(RunGrew)[-1].session.runs) == lost.done  # pyright: ignore[reportOptionalMemberAccess]
    other.link.open()
    (run,) = (run for run in other.wait(RunsFound).runs if run.path == bench.session_path("a"))
    assert (run.done, run.alive) == (lost.done, False)
    other.link.follow(run.path)
    assert other.wait(RunLost) == lost
    with pytest.raises(AssertionError):
        other.wait(RunEnded, seconds=0.2)
