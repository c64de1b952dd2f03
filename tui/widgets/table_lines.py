"""The lines of a table as segments, and which of their cells differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from rich.segment import Segment
from rich.style import Style

from tui.state.glyphs import Glyphs
from tui.widgets.columns import Placed
from tui.widgets.one_line import fit

Cell: TypeAlias = str | tuple[str, str]
"""A text, or a text and how it looks: "", "dim", "bold", "good", "warn", "bad", "lit", "base" or "accent"."""

Line: TypeAlias = tuple[Cell, ...]
"""The cursor's sign and the mark of a row, then its cells, as they are asked for."""

Look: TypeAlias = Callable[[str], Style]
"""From the name of a look to its style, on the background of the line."""


def gutter_of(mark_width: int) -> int:
    """Cells before the first column: the cursor's sign, and a mark with its space where there are marks."""
    return 1 + mark_width + 1


def header_segments(
    placed: Sequence[Placed], sort: tuple[str, bool] | None, signs: Glyphs, style: Style
) -> list[Segment]:
    """The titles; the one that rows are sorted by with an arrow, up for ascending."""
    segments: list[Segment] = []
    x = 0
    for one in placed:
        column = one.column
        title = fit(column.title, one.width, column.align, signs.ellipsis)
        if sort is not None and sort[0] == column.key:
            arrow = signs.down if sort[1] else signs.up
            room = max(0, one.width - 1)
            short = fit(column.title, min(room, len(column.title)), "left", "")
            title = fit(short + arrow, one.width, column.align, "")
        segments += [Segment(" " * (one.x - x), style), Segment(title, style)]
        x = one.end
    return segments


def row_segments(line: Line, placed: Sequence[Placed], mark_width: int, signs: Glyphs, look: Look) -> list[Segment]:
    """One row: its signs, then its cells, each exactly as wide as its column."""
    pointer, mark, *cells = line
    segments = [_segment(pointer, 1, "left", signs, look), _segment(mark, mark_width, "left", signs, look)]
    x = 1 + mark_width
    for one, cell in zip(placed, cells, strict=True):
        segments.append(Segment(" " * (one.x - x), look("")))
        segments.append(_segment(cell, one.width, one.column.align, signs, look))
        x = one.end
    return segments


def differences(old: Line, new: Line, placed: Sequence[Placed], mark_width: int) -> list[tuple[int, int]]:
    """Where two lines of the same row differ: (first cell, cells) of each stretch, neighbours joined."""
    spans = [(0, 1), (1, mark_width), *((one.x, one.width) for one in placed)]
    found: list[tuple[int, int]] = []
    joins = False
    for (x, width), before, after in zip(spans, old, new, strict=True):
        if before == after:
            joins = False
            continue
        if joins:
            start = found.pop()[0]
            found.append((start, x + width - start))
        else:
            found.append((x, width))
        joins = True
    return found


def _segment(cell: Cell, width: int, align: str, signs: Glyphs, look: Look) -> Segment:
    text, name = (cell, "") if isinstance(cell, str) else cell
    return Segment(fit(text, width, "right" if align == "right" else "left", signs.ellipsis), look(name))
