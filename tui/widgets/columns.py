"""Columns of a table and where they stand in a given width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

NARROW = 90
"""Cells below which columns stand one cell apart instead of two."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: what cells are asked by.
        title: of the header.
        width: cells; None to share what is left.
        align: side the cells keep to.
        priority: columns of a higher one are dropped first where room is short; those of 0 never.
        least: the smallest width of a column that shares what is left.
        share: its part of what is left, relative to the others'.
    """

    key: str
    title: str
    width: int | None = None
    align: Literal["left", "right"] = "left"
    priority: int = 0
    least: int = 8
    share: int = 1


@dataclass(frozen=True)
class Placed:
    """A column that is shown, from cell `x`, over `width` cells."""

    column: Column
    x: int
    width: int

    @property
    def end(self) -> int:
        """The first cell behind it."""
        return self.x + self.width


def place_columns(columns: Sequence[Column], width: int, start: int = 0) -> tuple[Placed, ...]:
    """Give every column its place; where room is short, columns of the highest priority go, the last of them first.

    Args:
        columns: in order.
        width: cells of the whole table.
        start: the first cell that columns may use.

    Returns:
        The columns that are shown. Those of priority 0 always are, so that they may end beyond `width`.
    """
    gap = 1 if width < NARROW else 2
    kept = list(columns)
    while _least(kept, gap) > width - start:
        droppable = [column for column in kept if column.priority > 0]
        if not droppable:
            break
        highest = max(column.priority for column in droppable)
        kept.remove([column for column in droppable if column.priority == highest][-1])
    sharing = [column for column in kept if column.width is None]
    left = max(0, width - start - _least(kept, gap))
    parts = sum(column.share for column in sharing)
    placed: list[Placed] = []
    x = start
    for column in kept:
        own = column.width
        if own is None:
            extra = left * column.share // parts
            left, parts = left - extra, parts - column.share
            own = column.least + extra
        placed.append(Placed(column, x, own))
        x += own + gap
    return tuple(placed)


def _least(columns: Sequence[Column], gap: int) -> int:
    widths = [column.least if column.width is None else column.width for column in columns]
    return sum(widths) + gap * max(0, len(widths) - 1)
