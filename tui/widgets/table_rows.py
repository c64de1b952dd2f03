"""The rows of a table: how many there are, and functions that answer for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tui.widgets.table_lines import Cell


def _nothing(row: int, key: str) -> Cell:
    return ""


@dataclass(frozen=True)
class Rows:
    """What `LineTable.set_rows` was given.

    Attributes:
        count: how many there are.
        cell: (row, column key) -> cell.
        keys: row -> what identifies it; None where its number does.
        marks: row -> sign before its first column; None where there are none.
        mark_width: cells of the widest mark; 0 without marks.
    """

    count: int = 0
    cell: Callable[[int, str], Cell] = _nothing
    keys: Callable[[int], object] | None = None
    marks: Callable[[int], Cell] | None = None
    mark_width: int = 0

    def key(self, row: int) -> object:
        """What identifies a row; None for a row that is not there."""
        if not 0 <= row < self.count:
            return None
        return row if self.keys is None else self.keys(row)

    def mark(self, row: int) -> Cell:
        """The sign before a row's first column."""
        return "" if self.marks is None else self.marks(row)

    def find(self, key: object, near: int) -> int:
        """The row that has a key; the one that stands at `near` where none has."""
        if self.key(near) == key:
            return near
        return next((row for row in range(self.count) if self.key(row) == key), near)
