"""Scroll bars and frames in ASCII, for terminals whose fonts have no other signs."""

from __future__ import annotations

from typing import ClassVar

from textual._border import BORDER_CHARS, get_box
from textual.css.types import EdgeType
from textual.scrollbar import ScrollBar, ScrollBarRender

FRAMES: tuple[EdgeType, ...] = ("round", "solid")
"""The frames that the screens are drawn with."""
_SMOOTH = {name: BORDER_CHARS[name] for name in FRAMES}


class PlainScrollBar(ScrollBarRender):
    """A scroll bar that starts and ends at whole cells."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * len(ScrollBarRender.VERTICAL_BARS)
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * len(ScrollBarRender.HORIZONTAL_BARS)


def draw_lines(*, plain: bool) -> None:
    """Draw the scroll bars and frames of the whole program in ASCII, or with the signs of the library."""
    ScrollBar.renderer = PlainScrollBar if plain else ScrollBarRender
    for name in FRAMES:
        BORDER_CHARS[name] = BORDER_CHARS["ascii"] if plain else _SMOOTH[name]
    get_box.cache_clear()
