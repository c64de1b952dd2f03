"""Runs that are found, and what is in view meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session.standing import Standing
from srm_explorer.tui.backend.events import FoundRun, RunFailed, RunGrew, RunsFound, WorkerSeen
from srm_explorer.tui.results.log_tab import LogTab


async def test_a_run_that_begins_after_the_first_look_is_followed_where_it_was_in_view(drive: Any) -> None:
    mine, other = paths.session_path("mine"), paths.session_path("other")
    async with drive() as (app, pilot, until):
        controller = app.explorer.controller
        controller.editor.draft.session = str(mine)
        controller.link.close()
        app.explorer.controller.take_event(RunsFound(()))
        app.explorer.controller.take_event(RunsFound((FoundRun(other, 1, 9, True),)))
        await pilot.pause()
        assert not controller.runs.state.followed
        app.explorer.controller.take_event(RunsFound((FoundRun(mine, 1, 9, True),)))
        await until(lambda: mine in controller.runs.state.followed, "the run")
        assert controller.sessions.looks_at(mine)


async def test_what_actors_wait_for_is_said_once_and_logged(drive: Any) -> None:
    async with drive() as (app, _, until):
        controller, mine = app.explorer.controller, paths.session_path("mine")
        controller.runs.state.asks(mine)
        for seconds in (1.0, 2.0):
            waiting = Progress("waiting", seconds_left=seconds, lacks="2 of 2 actors wait")
            controller.take_event(RunGrew(mine, None, waiting, "running"))
        await until(lambda: "2 of 2 actors wait" in app.text(), "the line")
        assert app.explorer.results.query_one(LogTab).copy_text().count("2 of 2 actors wait") == 1


async def test_a_run_that_comes_to_nothing_leaves_the_session_whose_chart_is_shown(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, _, until):

        def header() -> str:
            return app.text().splitlines()[0]

        await until(lambda: "session storm" in header(), "the session")
        failing = paths.session_path("failing")
        controller = app.explorer.controller
        controller.runs.state.asks(failing)
        controller.sessions.look_at(failing)
        controller.runs.show()
        await until(lambda: "starting failing" in app.status_line(), "the run")
        # Nothing of it is there yet: what is in view is still the other session, and the header says so.
        assert "session storm" in header()
        app.explorer.controller.take_event(
            RunFailed(ExplorerError("the model is not there", remedy="download it"), failing)
        )
        await until(lambda: "session storm" in header() and "download it" in app.status_line(), "the error")
        assert controller.editor.draft.session == str(stored)


async def test_an_older_worker_is_told_with_its_key_at_any_width(drive: Any) -> None:
    async with drive(size=(80, 24)) as (app, _, until):
        app.explorer.controller.link.close()
        app.explorer.controller.take_event(WorkerSeen("older version", 0, "older"))
        await until(lambda: "W restarts it" in app.status_line(), "the line")


async def test_a_survey_tells_its_neurons_and_stops_after_a_part(drive: Any) -> None:
    mine = paths.session_path("mine")
    async with drive(size=(100, 30)) as (app, pilot, until):
        controller = app.explorer.controller
        controller.link.close()
        controller.runs.state.asks(mine)
        progress = Progress("survey", 40, 40, part=12, parts=48, seconds_left=61.0, neurons=Standing(96, 512))
        controller.take_event(RunGrew(mine, None, progress, "running"))
        await until(lambda: "surveying 96 of 512 neurons scored" in app.status_line(), "the neurons")
        assert "1:01 left" in app.status_line()
        controller.runs.cancel()
        await until(lambda: "The part in flight is finished" in app.text(), "the question")
        await pilot.press("n")
        controller.runs.state.cancels[mine] = 1
        controller.runs.show()
        await until(lambda: "stopping after this part" in app.status_line(), "what the key does")
