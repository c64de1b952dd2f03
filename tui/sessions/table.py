"""The table of sessions: what is said of each, the order they stand in, and which are marked.

It is as light as the screen around it, which is painted before any session is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from srm_explorer.engine.figures import count_of
from srm_explorer.engine.lines import clock, file_size
from srm_explorer.tui.glyphs import Glyphs, glyphs_of
from srm_explorer.tui.sessions.row import Kind, Row, moment, newest_first, saved_at
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
        if row.standing is not None:
            return row.standing.short(" / ")
        done, planned = row.runs
        return "" if not planned else f"{done:,}" if done == planned else f"{done:,} / {planned:,}"
    if key == "state":
        return _state(row, signs)
    if key == "saved":
        return "" if row.kind == "running" else (moment(row), "dim")
    return file_size(row.size)


def facts_of(row: Row) -> str:
    """A session in one line for a question: its runs, or a survey's neurons, and its size."""
    done, _ = row.runs
    kept = count_of(done, "run") if row.standing is None else row.standing.short()
    return f"{kept}, {file_size(row.size)}"


def _state(row: Row, signs: Glyphs) -> Cell:
    run = row.run
    if row.kind == "running" and run is not None:
        progress = run.progress
        if progress is None:
            return "running", "good"
        if progress.stage not in ("running", "survey", "lengths", "saving"):
            return f"running: {progress.stage} {progress.counted}".rstrip(), "good"
        share = f"{'survey' if progress.neurons is not None else 'running'} {100 * progress.share:.0f} %"
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
    """Sort sessions by what a column of their table shows: equal ones stay in order, those without come last.

    Without a column, `newest_first`.
    """
    if not column:
        return newest_first(rows)
    value = _VALUES[column]
    known = [row for row in rows if value(row) is not None]
    rest = [row for row in rows if value(row) is None]
    return (*sorted(known, key=value, reverse=descending), *rest)


def _done(row: Row) -> str | None:
    return row.summary.intervention.casefold() if row.summary is not None and not row.summary.problem else None


def _state_order(row: Row) -> tuple[int, float]:
    progress = row.run.progress if row.run is not None else None
    share = progress.share if row.kind == "running" and progress is not None else 0.0
    return _STATES.index(row.kind), -share if row.kind == "running" else float(row.run is None)


_VALUES: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: row.name.casefold(),
    "model": lambda row: row.summary.model.casefold() or None if row.summary is not None else None,
    "done": _done,
    "runs": lambda row: done if (done := row.runs if row.standing is None else row.standing.share)[1] else None,
    # By the words of the column: what runs by how far it is, and what can go on before what cannot.
    "state": _state_order,
    "saved": lambda row: None if row.kind == "running" else saved_at(row),
    "size": lambda row: row.size,
}


COLUMNS = (
    Column("name", "name", least=16, share=2, cut="middle"),
    Column("model", "model", width=14, priority=4),
    Column("done", "site · neuron · op", least=18, share=3, priority=3),
    Column("runs", "runs", width=22, align="right", priority=1),
    Column("state", "state", width=26),
    Column("saved", "saved", width=15, priority=2),
    Column("size", "size", width=7, align="right", priority=5),
)
ROOM = 13
"""Cells that the number of runs may come to need while something runs."""
LONGEST_NAME = 40
"""Cells of a name for which other columns give way."""


def fitted(rows: Sequence[Row], signs: Glyphs) -> tuple[Column, ...]:
    """The columns, no wider than their texts, so that names are whole where there is room.

    While something runs, what is told of it has the room that it may come to need.
    """
    runs = any(row.kind == "running" for row in rows)
    columns: list[Column] = []
    for column in COLUMNS:
        cells = (cell_of(row, column.key, signs) for row in rows)
        texts = (cell if isinstance(cell, str) else cell[0] for cell in cells)
        # Beside its title a column may have an arrow.
        widest = max(cell_len(text) for text in (f"{column.title}  ", *texts))
        if column.key == "name":
            columns.append(replace(column, least=max(column.least, min(widest, LONGEST_NAME))))
        elif column.key == "runs" and runs:
            columns.append(replace(column, width=min(column.width or 0, max(ROOM, widest))))
        elif column.width is not None and not (runs and column.key == "state"):
            columns.append(replace(column, width=min(column.width, widest)))
        else:
            columns.append(column)
    return tuple(columns)


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
        if rows:
            self.set_columns(fitted(rows, signs))
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
