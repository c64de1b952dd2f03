"""Scroll bars of cells in one colour, where a terminal's font may lack the blocks that smooth their ends."""

from __future__ import annotations

from typing import ClassVar

from textual.scrollbar import ScrollBar, ScrollBarRender


class PlainScrollBar(ScrollBarRender):
    """A scroll bar that starts and ends at whole cells."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * len(ScrollBarRender.VERTICAL_BARS)
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * len(ScrollBarRender.HORIZONTAL_BARS)


def draw_scroll_bars(*, plain: bool) -> None:
    """Draw the scroll bars of the whole program in plain cells, or with smooth ends."""
    ScrollBar.renderer = PlainScrollBar if plain else ScrollBarRender
