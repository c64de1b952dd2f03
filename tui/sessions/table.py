"""The table of sessions: what its columns are, and which rows are marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.sessions.row import LARGEST_FIRST, Row, cell_of, sorted_rows
from srm_explorer.tui.widgets.table import Column, LineTable

COLUMNS = (
    Column("name", "name", least=16, share=2),
    Column("model", "model", width=14, priority=4),
    Column("done", "site · neuron · op", least=20, share=3, priority=3),
    Column("runs", "runs", width=13, align="right", priority=1),
    Column("state", "state", width=26),
    Column("saved", "saved", width=15, priority=2),
    Column("size", "size", width=7, align="right", priority=5),
)
MOST_MARKS = 2


class SessionTable(LineTable):
    """Sessions in rows; two of them may be marked.

    Attributes:
        marks: paths of the marked ones, the one marked first before the other.
        sort: key of the column that the rows are sorted by, and whether the largest comes first; "" for the newest.
    """

    def __init__(self) -> None:
        super().__init__(id="sessions")
        self.marks: tuple[Path, ...] = ()
        self.sort: tuple[str, bool] = ("", False)
        self._shown: tuple[Row, ...] = ()
        self.set_columns(COLUMNS)

    @property
    def row(self) -> Row | None:
        return self._shown[self.cursor] if self.cursor < len(self._shown) else None

    def sort_by(self, column: str) -> None:
        """Sort by a column; chosen again, the other way round, and then no more."""
        key, descending = self.sort
        first = column in LARGEST_FIRST
        if key != column:
            self.sort = (column, first)
        else:
            self.sort = (column, not first) if descending == first else ("", False)
        self.set_sort(self.sort[0] or None, self.sort[1])

    def sort_by_next(self) -> None:
        keys = [placed.column.key for placed in self._places()]
        at = keys.index(self.sort[0]) if self.sort[0] in keys else -1
        self.sort = ("", False)
        if at + 1 < len(keys):
            self.sort_by(keys[at + 1])
        else:
            self.set_sort(None)

    def show(self, rows: Sequence[Row]) -> None:
        shown = sorted_rows(rows, *self.sort)
        signs = glyphs_of(self.app)
        # Until the new rows are in place, the table asks for the old ones, so each has its own.
        self.set_rows(
            len(shown),
            lambda at, key: cell_of(shown[at], key, signs),
            lambda at: shown[at].path,
            lambda at: (signs.checked, "accent") if shown[at].path in self.marks else "",
            mark_width=len(signs.checked),
        )
        self._shown = shown

    def go_to(self, path: Path) -> bool:
        """Highlight a session; whether it is there."""
        at = next((at for at, row in enumerate(self._shown) if row.path == path), None)
        if at is not None:
            self.go(at)
        return at is not None

    def toggle_mark(self) -> None:
        """Mark the highlighted session, or unmark it; a third mark takes the place of the first."""
        if self.row is None:
            return
        path = self.row.path
        others = tuple(mark for mark in self.marks if mark != path)
        self.marks = others if path in self.marks else (*others, path)[-MOST_MARKS:]
        self.refresh_cells()
