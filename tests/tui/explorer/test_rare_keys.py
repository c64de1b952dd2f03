"""Keys of the explorer that are pressed now and then: the queue, the worker, the settings, and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srm_explorer.tui.app import ExplorerApp
from srm_explorer.tui.explorer.queue import QueueScreen
from srm_explorer.tui.settings import settings_path


async def test_the_queue_is_shown_and_left(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.press("Q")
        await until(lambda: isinstance(app.screen, QueueScreen), "the queue")
        await until(lambda: "nothing runs and nothing waits" in app.text(), "the answer")
        assert "x take off" not in app.status_line()
        await pilot.press("question_mark")
        await until(lambda: "Take the waiting job off the queue" in app.text(), "the help")
        await pilot.press("escape", "Q")
        await until(lambda: app.screen is app.explorer, "the explorer")


async def test_without_an_unfinished_run_resuming_says_so(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.press("C")
        await until(lambda: "no unfinished run to resume" in app.text(), "the line")


async def test_restarting_the_worker_is_said_at_once(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.press("W")
        await until(lambda: "the worker finishes its queue and is then restarted" in app.text(), "the line")


async def test_the_settings_are_written_edited_and_read_again(drive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(_app: ExplorerApp, path: Path) -> str:
        path.write_text('theme = "light"\n')
        return "" if path == settings_path() else "another file"

    # Without a terminal the screen cannot be left to an editor; everything round it is real.
    monkeypatch.setattr("srm_explorer.tui.app.edit_file", edit)
    async with drive() as (app, pilot, until):
        assert app.settings.theme == "dark"
        await pilot.press("comma")
        await until(lambda: app.settings.theme == "light", "the other theme")


async def test_the_bottom_line_names_only_keys_that_do_something_on_the_tab(drive: Any, stored: Path) -> None:
    offered = {
        "Polar": ["t threshold", "v view", "g group", "b baseline"],
        "Thresholds": ["t threshold", "g group", "b baseline", "d difference"],
        "Dose": ["t threshold"],
    }
    known = {hint for hints in offered.values() for hint in hints}
    async with drive(session=stored, size=(200, 60)) as (app, pilot, until):
        await until(lambda: "lit" in app.text(), "the session")
        for tab, hints in offered.items():
            await until(lambda tab=tab: f"[{tab}]" in app.text(), tab)
            await until(lambda hints=hints: {one for one in known if one in app.status_line()} == set(hints), tab)
            await pilot.press("right_square_bracket")


async def test_the_key_that_always_quits_quits(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.press("ctrl+q")
        await until(lambda: app.return_value is not None, "the farewell")
