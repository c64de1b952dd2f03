from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from textual.app import App, ComposeResult

from srm_explorer.tui.widgets.plain_lines import draw_lines
from srm_explorer.tui.widgets.table import Column, LineTable


class Host(App[None]):
    CSS = "LineTable { border: round red; } Screen { border-top: solid red; }"

    def compose(self) -> ComposeResult:
        yield LineTable()


@pytest.fixture(autouse=True)
def smooth_again() -> Iterator[None]:
    yield
    draw_lines(plain=False)


def signs(*, plain: bool) -> set[str]:
    """Every character of a framed table of 100 rows of "x", wherever it is scrolled to."""
    found: set[str] = set()

    async def go() -> None:
        draw_lines(plain=plain)
        app = Host()
        async with app.run_test(size=(20, 12)) as pilot:
            table = app.query_one(LineTable)
            table.set_columns([Column("a", "a")])
            table.set_rows(100, lambda row, key: "x")
            for row in range(0, 100, 7):
                table.go(row)
                await pilot.pause()
                strips: Any = app.screen._compositor.render_strips()
                found.update(*(segment.text for strip in strips for segment in strip))

    asyncio.run(go())
    return found


def test_plain_lines_are_drawn_without_a_block_or_a_box_character() -> None:
    assert all(sign.isascii() for sign in signs(plain=True) - {"▸"})
    assert {"╭", "│", "─"} < signs(plain=False)
    assert not {"▁", "▃", "▅"}.isdisjoint(signs(plain=False))
