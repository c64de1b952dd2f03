from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from textual.app import App, ComposeResult

from tui.widgets.plain_scroll_bar import draw_scroll_bars
from tui.widgets.table import Column, LineTable


class Host(App[None]):
    def compose(self) -> ComposeResult:
        yield LineTable()


@pytest.fixture(autouse=True)
def smooth_again() -> Iterator[None]:
    yield
    draw_scroll_bars(plain=False)


def bars(*, plain: bool) -> set[str]:
    """Every character of the scroll bar of a table of 100 rows, wherever it is scrolled to."""
    found: set[str] = set()

    async def go() -> None:
        draw_scroll_bars(plain=plain)
        app = Host()
        async with app.run_test(size=(20, 12)) as pilot:
            table = app.query_one(LineTable)
            table.set_columns([Column("a", "a")])
            table.set_rows(100, lambda row, key: "x")
            for row in range(0, 100, 7):
                table.go(row)
                await pilot.pause()
                strips: Any = app.screen._compositor.render_strips()
                found.update("".join(segment.text for segment in strip)[-1] for strip in strips[1:])

    asyncio.run(go())
    return found


def test_plain_scroll_bars_are_drawn_without_a_block() -> None:
    assert bars(plain=True) == {" "}
    assert not all(sign.isascii() for sign in bars(plain=False))
