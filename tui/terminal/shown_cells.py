"""What the terminal shows: of every frame, the cells are written that differ from it.

Textual writes all that was drawn: the whole screen when anything is laid out, a box twice, a text at each letter.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TypeAlias

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from srm_explorer.tui.text import UNSURE

_NEAR = 8
"""Cells between two changes that cost less than going on after them."""

Plain: TypeAlias = tuple[str, str]
"""A character of one cell, and a blank that looks like it."""
Wide: TypeAlias = tuple[str, str, int]
"""A text that terminals may give other cells than it is given here, in its first cell, and how many it has; 0 in those
after it."""
Row: TypeAlias = list[Plain | Wide | None]
"""None where it is not known what is shown."""


class ShownCells:
    """Follows what is written to the terminal."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}

    def forget(self) -> None:
        """Have the next frame written as a whole: the terminal may show anything."""
        self._rows.clear()

    def write(self, update: CompositorUpdate, console: Console) -> str:
        """What makes the terminal show an update; it is taken for shown from now on."""
        if isinstance(update, LayoutUpdate | ChopsUpdate):
            return "".join(part for y, x, strip in _pieces(update) for part in self._changes(y, x, strip, console))
        self.forget()
        return update.render_segments(console)

    def _changes(self, y: int, x: int, strip: Strip, console: Console) -> Iterator[str]:
        cells = _cells(strip, console._color_system or ColorSystem.TRUECOLOR)
        row = self._rows.setdefault(y, [])
        end = x + len(cells)
        row += [None] * (end - len(row))
        before = row[x:end]
        if before == cells:
            return
        row[x:end] = cells
        if all(cell is None or len(cell) == 2 for cell in (*before, *cells, *row[end : end + 1])):
            runs = _runs(before, cells)
        else:
            # Written whole, and so is what comes after it next: the terminal may have drawn over that.
            runs = [(0, len(cells))]
            row[end:] = [None] * (len(row) - end)
            left = x
            while left and _is_rest(before[0]):
                left -= 1
                before, row[left] = [row[left]], None
        for first, last in runs:
            yield Control.move_to(x + first, y).segment.text
            yield strip.crop(first, last).render(console)


class CellsUpdate(CompositorUpdate):
    """An update of which only those cells are written that differ from what is shown.

    Args:
        update: what was drawn.
        shown: what the terminal shows.
    """

    def __init__(self, update: CompositorUpdate, shown: ShownCells) -> None:
        self._update, self._shown = update, shown

    def render_segments(self, console: Console) -> str:
        return self._shown.write(self._update, console)


def _pieces(update: LayoutUpdate | ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    """The texts of an update, each with its line and its first column."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in line:
                yield y, x, strip
                x += strip.cell_length
        return
    for y, left, right in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < right and end > left:
                start = max(x, left)
                yield y, start, strip.crop(start - x, min(end, right) - x)


def _cells(strip: Strip, colors: ColorSystem) -> Row:
    cells: Row = []
    for segment in strip:
        text, style, _ = segment
        look = "" if style is None else strip.render_style(style, " ", color_system=colors)
        if _is_plain(text):
            cells += [(character, look) for character in text]
        elif length := segment.cell_length:
            cells += [(text, look, length), *[("", look, 0)] * (length - 1)]
    return cells


@lru_cache(maxsize=4096)
def _is_plain(text: str) -> bool:
    """Whether every character has one cell in any terminal."""
    if not text.isprintable():
        return False
    return text.isascii() or (UNSURE.search(text) is None and all(cell_len(character) == 1 for character in text))


def _is_rest(cell: Plain | Wide | None) -> bool:
    return cell is not None and len(cell) == 3 and not cell[2]


def _runs(before: Row, after: Row) -> list[tuple[int, int]]:
    """From where to where the cells differ."""
    runs: list[tuple[int, int]] = []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if old != new:
            near = bool(runs) and index - runs[-1][1] <= _NEAR
            runs.append((runs.pop()[0] if near else index, index + 1))
    return runs
