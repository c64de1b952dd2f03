"""The table of sessions: what is said of each, the order they stand in, and which are marked.

It is as light as the screen around it, which is painted before any session is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from srm_explorer.engine.figures import count_of
from srm_explorer.tui.cli.output import file_size
from srm_explorer.tui.glyphs import Glyphs, glyphs_of
from srm_explorer.tui.sessions.row import Kind, Row, moment
from srm_explorer.tui.widgets.status import clock
from srm_explorer.tui.widgets.table import Column, LineTable

Cell = str | tuple[str, str]


def cell_of(row: Row, key: str, signs: Glyphs) -> Cell:
    """One cell: a text, and the name of its look where it has one."""
    summary = row.summary
    if key == "name":
        return (row.name, "bold") if row.kind == "running" else row.name
    if key == "model":
        return summary.model if summary is not None else ""
    if key == "done":
        if summary is None:
            return ""
        return (
            (summary.problem.partition(": ")[2] or summary.problem, "bad") if summary.problem else summary.intervention
        )
    if key == "runs":
        done, planned = row.runs
        return "" if not planned else f"{done:,}" if done == planned else f"{done:,} / {planned:,}"
    if key == "state":
        return _state(row, signs)
    if key == "saved":
        return "" if row.kind == "running" else (moment(row), "dim")
    return file_size(row.size)


def facts_of(row: Row) -> str:
    """A session in one line for a question: its runs and its size."""
    done, _ = row.runs
    return f"{count_of(done, 'run')}, {file_size(row.size)}"


def _state(row: Row, signs: Glyphs) -> Cell:
    run = row.run
    if row.kind == "running" and run is not None:
        progress = run.progress
        if progress is None:
            return "running", "good"
        if progress.stage not in ("running", "lengths", "saving"):
            return f"running: {progress.stage} {progress.counted}".rstrip(), "good"
        share = f"running {100 * progress.share:.0f} %"
        left = progress.seconds_left
        if left is None:
            return share, "good"
        return f"{share} {signs.separator} {clock(left)} left", "good"
    if row.kind == "reading":
        return signs.ellipsis, "dim"
    if row.kind == "damaged":
        return "cannot be read", "bad"
    if row.kind == "interrupted":
        return ("interrupted" if run is not None else "interrupted, run gone"), "warn"
    return "finished"


MOST_MARKS = 8
"""As many as are compared at once: `figures.comparison.MOST_SESSIONS`, which would load numpy."""
LARGEST_FIRST = frozenset({"runs", "saved", "size"})
"""Columns of which the largest is looked for first."""
_STATES: tuple[Kind, ...] = ("running", "interrupted", "finished", "damaged", "reading")


def sorted_rows(rows: Sequence[Row], column: str, descending: bool) -> tuple[Row, ...]:
    """Sort sessions by a column of their table; those that are equal in it stay in order, those without come last."""
    if not column:
        return tuple(rows)
    value = _VALUES[column]
    known = [row for row in rows if value(row) is not None]
    rest = [row for row in rows if value(row) is None]
    return (*sorted(known, key=value, reverse=descending), *rest)


def _done(row: Row) -> str | None:
    return row.summary.intervention.casefold() if row.summary is not None and not row.summary.problem else None


_VALUES: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: row.name.casefold(),
    "model": lambda row: row.summary.model.casefold() or None if row.summary is not None else None,
    "done": _done,
    "runs": lambda row: row.runs if row.runs[1] else None,
    "state": lambda row: _STATES.index(row.kind),
    "saved": lambda row: row.modified,
    "size": lambda row: row.size,
}


COLUMNS = (
    Column("name", "name", least=16, share=2),
    Column("model", "model", width=14, priority=4),
    Column("done", "site · neuron · op", least=20, share=3, priority=3),
    Column("runs", "runs", width=13, align="right", priority=1),
    Column("state", "state", width=26),
    Column("saved", "saved", width=15, priority=2),
    Column("size", "size", width=7, align="right", priority=5),
)


class SessionTable(LineTable):
    """Sessions in rows; up to eight of them may be marked.

    Attributes:
        marks: paths of the marked ones, in the order they were marked.
        sort: key of the column that the rows are sorted by, and whether the largest comes first; "" for the newest.
    """

    def __init__(self) -> None:
        super().__init__(id="sessions", opens=True)
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

    def toggle_mark(self) -> bool:
        """Mark the highlighted session, or unmark it; whether that could be done: not where eight others are."""
        if self.row is None:
            return True
        path = self.row.path
        others = tuple(mark for mark in self.marks if mark != path)
        if path not in self.marks and len(others) >= MOST_MARKS:
            return False
        self.marks = others if path in self.marks else (*others, path)
        self.refresh_cells()
        return True
