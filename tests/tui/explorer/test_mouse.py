"""The mouse, as terminals report it: what is pressed, dragged, turned and selected on the explorer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from srm_explorer.tui.terminal.replies import KeyParser
from srm_explorer.tui.widgets.chart import ChartView

from .conftest import painted

pytestmark = pytest.mark.drawn


class Mouse:
    """Reports in cells, or (after `in_pixels`) in pixels of cells of 10 by 20."""

    def __init__(self, app: Any, pilot: Any) -> None:
        self.app, self.pilot = app, pilot
        self.parser = KeyParser()
        self.pixels = False

    async def send(self, text: str) -> None:
        for message in self.parser.feed(text):
            self.app._driver.process_message(message)
        await self.pilot.pause()
        await self.pilot.pause()

    async def report(self, button: int, x: float, y: float, end: str = "M") -> None:
        place = (round(10 * x), round(20 * y)) if self.pixels else (int(x), int(y))
        await self.send(f"\x1b[<{button};{place[0] + 1};{place[1] + 1}{end}")

    async def in_pixels(self) -> None:
        width, height = self.app.size
        self.pixels = True
        await self.send(f"\x1b[?2048;1$y\x1b[48;{height};{width};{20 * height};{10 * width}t")

    async def click(self, x: int, y: int) -> None:
        await self.report(0, x, y)
        await self.report(0, x, y, "m")

    async def click_on(self, text: str, at: int = 0) -> None:
        x, y = self.place(text)
        await self.click(x + at, y)

    async def drag(self, *places: tuple[float, float]) -> None:
        await self.report(0, *places[0])
        for place in places[1:]:
            await self.report(32, *place)
        await self.report(0, *places[-1], "m")

    def place(self, text: str) -> tuple[int, int]:
        return next((line.index(text), y) for y, line in enumerate(self.app.text().splitlines()) if text in line)


def centre(chart: ChartView) -> tuple[float, float]:
    """Where the disc's middle is on the screen, in cells."""
    assert chart.scene
    pane = chart.scene.angle_at.__self__.pane  # pyright: ignore
    return chart.region.x + pane.col + pane.width / 2, chart.region.y + pane.row + pane.height / 2


async def test_the_spotlight_follows_the_pointer_as_far_as_the_terminal_tells_it(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "θ 0°" in app.text() and painted(app), "the session")
        mouse, state = Mouse(app, pilot), app.explorer.results.state
        chart = app.explorer.results.query(ChartView).first()
        x, y = centre(chart)

        def theta(at: tuple[float, float]) -> float:
            return math.degrees(math.atan2(-2 * (at[1] - y), at[0] - x)) % 360

        def is_at(at: tuple[float, float], within: float) -> bool:
            return abs((state.theta - theta(at) + 180) % 360 - 180) <= within

        # Cells: the middle of each is meant. Far beyond the disc the pointer still has an angle.
        way = [
            (int(x + 9), int(y - 2)),
            (int(x), int(y - 5)),
            (int(x - 12), int(y + 1)),
            (int(x + 1), app.size.height - 1),
        ]
        await mouse.report(0, *way[0])
        for at in way:
            await mouse.report(32, *at)
            middle = at[0] + 0.5, at[1] + 0.5
            await until(lambda middle=middle: is_at(middle, 0.51), f"the spotlight at {theta(middle)}")
        await mouse.report(0, *way[-1], "m")
        # Released, it stays.
        before = state.theta
        await mouse.report(35, *way[0])
        assert state.theta == before
        assert not app.screen.selections
        # Within one cell, where the terminal reports pixels.
        await mouse.in_pixels()
        await until(lambda: painted(app), "the same picture")
        col, row = int(x) + 4, int(y) - 5
        await mouse.report(0, col, row)
        for at in [(col + dx, row + dy) for dx in (0.2, 0.5, 0.8) for dy in (0.25, 0.75)]:
            await mouse.report(32, *at)
            await until(lambda at=at: is_at(at, 1), f"the spotlight at {theta(at)}")
        await mouse.report(0, col, row, "m")
        assert abs(theta((col + 0.2, row + 0.25)) - theta((col + 0.8, row + 0.75))) > 2, "several angles in one cell"


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_what_is_seen_can_be_pressed_and_scrolled(drive: Any, stored: Path, size: tuple[int, int]) -> None:
    async with drive(session=stored, size=size) as (app, pilot, until):
        explorer, mouse = app.explorer, Mouse(app, pilot)
        await until(lambda: "θ 0°" in app.text() and painted(app), "the session")
        state = explorer.results.state
        chart = explorer.results.query(ChartView).first()
        levels = state.session.spec.spotlight.thresholds
        first = levels.index(state.threshold)
        x, y = chart.region.x + 5, chart.region.y + 5
        await mouse.report(65, x, y)
        assert state.threshold == levels[(first + 1) % len(levels)]
        await mouse.report(64, x, y)
        assert state.threshold == levels[first]
        # The last line.
        await mouse.click_on("t threshold", 3)
        assert state.threshold == levels[(first + 1) % len(levels)]
        # Tabs, rows, and rows beyond the window.
        await mouse.click_on(" Runs ", 2)
        await until(lambda: explorer.results.tab == "Runs", "the tab")
        table = explorer.results.query_one("#runs").table
        await mouse.click(table.region.x + 4, table.region.y + 3)
        assert table.cursor == 2
        for _ in range(4):
            await mouse.report(65, table.region.x + 4, table.region.y + 3)
        await until(lambda: table.scroll_offset.y > 0 or table.max_scroll_y == 0, "the rows further down")
        # Panes, sets, and fields of the form.
        if size[0] == 80:
            await mouse.click_on("1 Prompts", 2)
            assert explorer.current == 1
        await until(lambda: "certainty" in app.text(), "the sets")
        await mouse.click_on("certainty")
        assert explorer.prompts.table.key == "certainty"
        before = explorer.controller.editor.data["prompts"]["sets"]
        await mouse.click_on("certainty", -2)
        await until(lambda: explorer.controller.editor.data["prompts"]["sets"] != before, "the set")
        if size[0] == 80:
            await mouse.click_on("2 Intervention", 2)
        await pilot.press("2")
        assert explorer.current == 2
        # What it says of the model comes once the form is used.
        await until(lambda: "no worker is started here" in app.text(), "that the model is not described")
        form = explorer.intervention.form
        await mouse.click_on("neuron ")
        await until(lambda: form.key == "interventions[0].neurons", "the row")
        await mouse.click_on("neuron ")
        await until(lambda: isinstance(app.focused, Input), "its field")
        await pilot.press("escape")
        top = form.scroll_offset.y
        for _ in range(9):
            await mouse.report(65, form.region.x + 4, form.region.y + 2)
        assert form.scroll_offset.y > top or form.max_scroll_y == 0


async def test_text_is_selected_by_dragging_and_copied_as_it_is_seen(
    drive: Any, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    async with drive(session=stored) as (app, pilot, until):
        explorer, mouse = app.explorer, Mouse(app, pilot)
        monkeypatch.setattr(type(app), "copy_to_clipboard", lambda _, text: copied.append(text))
        await until(lambda: "θ 0°" in app.text() and painted(app), "the session")
        # Beside the disc, where nothing is dragged, a chart is text.
        x, y = mouse.place("radius: ")
        await mouse.drag((x, y), (x + 3, y), (x + 5, y))
        await pilot.press("y")
        assert copied == ["radius"]
        copied.clear()
        await mouse.click_on(" Runs ", 2)
        await until(lambda: explorer.results.tab == "Runs", "the tab")
        table = explorer.results.query_one("#runs").table
        await until(lambda: table.count > 3, "the runs")
        x, y = table.region.x, table.region.y
        lines = app.text().splitlines()
        expected = f"{lines[y + 2][x + 6 : table.region.right].rstrip()}\n{lines[y + 3][x : x + 21].rstrip()}"
        cursor = table.cursor
        await mouse.drag((x + 6, y + 2), (x + 30, y + 2), (x + 20, y + 3))
        assert table.cursor == cursor, "the end of a selection is no click"
        await until(lambda: "y copies what is selected" in app.status_line(), "the line")
        await pilot.press("y")
        assert copied == [expected]
        reversed_cells = sum(
            len(segment.text)
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style and segment.style.reverse
        )
        assert reversed_cells >= len(expected.replace("\n", ""))
        # A word of the form; ctrl+c does the same; a click forgets it.
        await pilot.press("2")
        await until(lambda: "no worker is started here" in app.text(), "that the model is not described")
        x, y = mouse.place("neuron ")
        await mouse.drag((x, y), (x + 5, y))
        await pilot.press("ctrl+c")
        assert copied[1:] == ["neuron"]
        await mouse.click(x, y)
        await pilot.press("y")
        assert len(copied) < 3 or copied[2] != "neuron"
