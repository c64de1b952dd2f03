"""The worker's queue on the screen: what is listed, and what the keys do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.app import App
from textual.pilot import Pilot

from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session.standing import Standing
from srm_explorer.engine.worker.protocol import JobState
from srm_explorer.tui.explorer.queue import QueueScreen
from srm_explorer.tui.glyphs import glyphs
from tests.waiting import until_shown


def jobs() -> tuple[JobState, ...]:
    progress = Progress("running", 120, 1_600, seconds_left=61.0).to_dict()
    # A survey that was stopped: all runs of its baseline are there.
    stopped = Progress("saving", 50, 50, part=5, parts=103, neurons=Standing(1_024, 18_432)).to_dict()
    return (
        JobState(job="a-1", session="/s/lighthouse.json", state="running", progress=progress),
        JobState(job="a-2", session="/s/bedtime.json", state="queued", ahead=1),
        JobState(job="a-3", session="/s/old.json", state="finished", saved=True),
        JobState(job="a-4", session="/s/many.json", state="interrupted", saved=True, progress=stopped),
    )


class Host(App[None]):
    """Holds the queue of a worker that obeys."""

    def __init__(self) -> None:
        super().__init__()
        self.glyphs = glyphs("unicode")
        self.left: list[JobState] = list(jobs())
        self.chosen: list[Path | None] = []
        self.copied: list[str] = []

    def on_mount(self) -> None:
        self.queue = QueueScreen(self.look, self.prune)
        self.push_screen(self.queue, self.chosen.append)

    def copy_to_clipboard(self, text: str) -> None:
        self.copied.append(text)

    def look(self) -> None:
        self.call_after_refresh(self.queue.take, tuple(self.left))

    def prune(self, job: str) -> None:
        self.left = [one for one in self.left if one.job != job]
        self.look()

    def shown(self) -> str:
        strips = self.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@asynccontextmanager
async def drive(app: Host) -> AsyncIterator[Pilot[None]]:
    async with app.run_test(size=(90, 24)) as pilot:
        await until_shown(
            lambda: "lighthouse" in app.shown() or (not app.left and "nothing runs" in app.shown()), app.shown
        )
        yield pilot


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


async def test_jobs_are_listed_with_how_far_they_are() -> None:
    app = Host()
    async with drive(app):
        lines = app.shown().splitlines()
        (running,) = (line for line in lines if "lighthouse" in line)
        assert "120 / 1,600" in running
        assert "1:01" in running
        assert any("bedtime" in line and "queued 1" in line for line in lines)
        assert any("many" in line and "interrupted" in line and "1,024 / 18,432 neurons" in line for line in lines)


async def test_a_waiting_job_is_taken_off_and_no_other() -> None:
    app = Host()
    async with drive(app) as pilot:
        await press(pilot, "x")
        assert [job.job for job in app.left] == ["a-1", "a-2", "a-3", "a-4"]
        assert "c in the explorer stops it" in app.shown()
        app.look()
        await pilot.pause()
        assert "c in the explorer stops it" in app.shown()
        await press(pilot, "j", "x")
        assert [job.job for job in app.left] == ["a-1", "a-3", "a-4"]
        assert "bedtime" not in app.shown()


@pytest.mark.parametrize(("key", "answer"), [("enter", Path("/s/lighthouse.json")), ("escape", None)])
async def test_enter_answers_with_the_session_and_escape_with_none(key: str, answer: Path | None) -> None:
    app = Host()
    async with drive(app) as pilot:
        await press(pilot, key)
        assert app.chosen == [answer]


async def test_the_path_of_the_session_is_copied() -> None:
    app = Host()
    async with drive(app) as pilot:
        await press(pilot, "j", "y")
        assert app.copied == ["/s/bedtime.json"]


async def test_an_empty_queue_teaches_the_key_that_fills_it() -> None:
    app = Host()
    app.left = []
    async with drive(app):
        assert "r in the explorer runs an experiment" in app.shown()
