"""What is said to be in view: while it is opened or followed, and beside what is edited."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session import Session, load_session
from srm_explorer.tui.backend.events import FoundRun, RunGrew, RunsFound
from srm_explorer.tui.explorer import session_in_view
from tests.waiting import check_alive

NOTHING = ("No runs to show yet", "No runs yet", "Nothing is saved yet", "no session")


async def test_nothing_is_said_to_be_missing_while_a_session_is_opened(
    drive: Any, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_open = threading.Event()

    def held(path: Path) -> Session:
        may_open.wait()
        return load_session(path)

    monkeypatch.setattr(session_in_view, "load_session", held)
    seen: list[str] = []
    async with drive(session=stored, ready=False) as (app, pilot, until):
        while "opening storm" not in app.text():
            check_alive()
            seen.append(app.text())
            await asyncio.sleep(0.01)
        for tab in ("Runs", "Effects", "Polar"):
            app.explorer.results.open_tab(tab)
            await pilot.pause()
            assert "opening storm" in app.text()
            seen.append(app.text())
        may_open.set()
        while app.explorer.results.state.session is None:
            check_alive()
            seen.append(app.text())
            await asyncio.sleep(0.01)
        await until(lambda: "opening storm" not in app.text(), "the session")
        seen.append(app.text())
    for text in seen:
        assert not any(words in text for words in NOTHING[:3]), text


async def test_nothing_is_said_to_be_missing_while_a_run_is_followed_and_nobody_says_that_it_is_interrupted(
    drive: Any, spread_session: Any
) -> None:
    mine = paths.session_path("mine")
    half = spread_session(finished=7, name="mine")
    assert half.state == "interrupted"
    async with drive() as (app, _, until):
        app.explorer.controller.link.close()
        app.explorer.controller.editor.draft.session = str(mine)
        app.explorer.controller.take_event(RunsFound((FoundRun(mine, 0, 9, True),)))
        for tab in ("Polar", "Runs", "Effects", "Polar"):
            app.explorer.results.open_tab(tab)
            await until(lambda: "No run of mine is finished yet" in app.text(), "what is followed")
            assert not any(words in app.text() for words in NOTHING)
        header = app.text().splitlines()[0]
        assert "edited demo model" in header
        assert "in view mine" in header
        app.explorer.controller.take_event(RunGrew(mine, half, None, "running"))
        await until(lambda: "spotlight θ" in app.text(), "its runs")
        assert "interrupted" not in app.text()
        assert "resume" not in app.text()


async def test_a_session_that_was_asked_for_by_name_stays_in_view_while_another_runs(
    drive: Any, stored: Path, spread_session: Any
) -> None:
    other = paths.session_path("other")
    half = spread_session(finished=7, name="other")
    async with drive(session=stored) as (app, _, until):
        controller = app.explorer.controller
        controller.link.close()
        controller.runs._first_look = True
        controller.take_event(RunsFound((FoundRun(other, 0, 9, True),)))
        controller.take_event(RunGrew(other, half, Progress("running", 7, 9, 2, 1, 4), "running"))
        await until(lambda: "7 / 9 runs" in app.status_line(), "how far the other is")
        await until(lambda: "storm" in app.text().splitlines()[0], "the session")
        assert controller.sessions.path == stored
        assert "other" not in app.text().splitlines()[0]


async def test_when_there_is_nothing_the_keys_that_help_are_told_once_that_is_known(drive: Any) -> None:
    async with drive() as (app, _, until):
        await until(lambda: "No runs to show yet" in app.text(), "the keys")


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48)])
async def test_the_header_tells_in_words_what_is_edited_and_what_is_in_view(
    drive: Any, stored: Path, size: tuple[int, int]
) -> None:
    async with drive(session=stored, size=size) as (app, pilot, until):

        def header() -> str:
            return app.text().splitlines()[0]

        await until(lambda: "storm" in header(), "the session")
        assert "edited" not in header()
        assert "in view" not in header()
        before = header()
        await pilot.press("2", "down", "enter", *"137", "enter")
        await until(lambda: "edited" in header(), "the edit")
        edited, in_view = header().split("in view storm")
        assert "edited clamp n137" in edited
        assert "137" not in in_view
        assert f"clamp n{load_session(stored).spec.interventions[0].neurons[0]}" in in_view
        await pilot.press("u")
        await until(lambda: header() == before, "the experiment of the session")


async def test_the_chart_of_another_session_is_not_called_by_the_name_of_the_run_that_begins(
    drive: Any, stored: Path
) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "session storm" in app.text().splitlines()[0], "the session")
        await pilot.press("2", "down", "enter", *"137", "enter")
        controller = app.explorer.controller
        controller.link.close()
        begun = paths.session_path("begun")
        controller.runs.state.asks(begun)
        controller.sessions.look_at(begun)
        controller.runs.show()
        await pilot.pause()
        header = app.text().splitlines()[0]
        assert "in view storm" in header
        assert "begun" not in header
        assert "starting begun" in app.status_line()


async def test_the_default_name_of_a_run_says_its_model_wherever_that_was_chosen(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        app.explorer.controller.link.close()
        await pilot.press("2")
        while app.explorer.intervention.form.key != "model.name":
            await pilot.press("up")
        await pilot.press("enter", "ctrl+u", *"smol", "enter")
        await until(lambda: "smol" in app.text().splitlines()[0], "the model")
        await pilot.press("r")
        await until(lambda: "starting smol-" in app.status_line(), "the run")
        assert "demo" not in app.status_line()
