"""In which order sessions are listed: the newest first, or by one of their columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tui.state.session_list import Kind, Row

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
