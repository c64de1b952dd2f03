from __future__ import annotations

from pathlib import Path
from typing import Any

from srm_explorer.tui.results.run_screen import RunView


async def test_leaving_a_run_highlights_the_one_that_was_shown_last(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        pane = app.explorer.results
        await until(lambda: pane.state.record() is not None, "the session")
        await pilot.press("3", "right_square_bracket", "right_square_bracket", "right_square_bracket")
        table = pane._runs.table
        await until(lambda: table.count == 32, "the runs")
        await pilot.press("j", "enter")
        await until(lambda: isinstance(app.screen, RunView), "the run")
        await pilot.press("n", "n", "n", "p", "escape")
        await until(lambda: app.screen is app.explorer, "the table")
        await until(lambda: table.cursor == 3, "the highlight")
        assert table.has_focus
        assert app.explorer.results._runs.order[table.cursor] == 3
