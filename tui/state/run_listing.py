"""Which runs are listed and in which order, as the spotlight turns and as runs arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.errors import ExplorerError
from tui.state.run_filter import RunFilter, parse_filter
from tui.state.run_rows import LARGEST_FIRST, MOVING, UNSORTED, Mask, Numbers, RunRows

if TYPE_CHECKING:
    from tui.state.results import ResultsState


class RunListing:
    """The runs of what a results state shows, sorted and filtered.

    Attributes:
        sort: a column, "lit", "cos", or "" for the session's order.
        descending: from the largest down.
        only_lit: whether runs outside the spotlight are left out.
        filter_text: the filter line in force.
        problem: what is wrong with the filter line that was given last; empty where nothing is.
        rows: the runs; None before there is a session with any.
        order: the rows that are listed.
        cosines: [run] at the spotlight; NaN without a plane.
        lit: [run] under the spotlight.
    """

    def __init__(self, sort: str = UNSORTED) -> None:
        self.sort = sort
        self.descending = sort in LARGEST_FIRST
        self.only_lit = False
        self.filter_text = ""
        self.problem = ""
        self.rows: RunRows | None = None
        self.order: list[int] = []
        self.cosines: Numbers = np.empty(0)
        self.lit: Mask = np.empty(0, np.bool_)
        self._filter: RunFilter | None = None

    def take(self, state: ResultsState) -> None:
        """Follow a state: its session and plane, its angle and threshold."""
        session, record = state.session, state.record()
        if session is None or not session.runs:
            self.rows, self.order = None, []
            return
        rows = self.rows
        other = rows is None or rows.session is not session or rows.record is not record
        if rows is None or other:
            rows = self.rows = RunRows(session, record)
            if not rows.knows(self.sort):
                self.sort, self.descending = UNSORTED, False
            self.set_filter(self.filter_text)
        if record is None:
            self.cosines, self.lit = np.full(len(rows), np.nan), np.zeros(len(rows), np.bool_)
        else:
            self.cosines, self.lit = state.cosines(), state.lit()
        if other or self.is_moving:
            self.list_again()

    @property
    def is_moving(self) -> bool:
        """Whether a turn of the spotlight changes what is listed, or the order."""
        return self.sort in MOVING or self.only_lit or (self._filter is not None and bool(self._filter.moving))

    def set_filter(self, text: str) -> None:
        """List what a line says; one that cannot be understood leaves the filter as it is and becomes `problem`."""
        self.problem = ""
        if self.rows is None:
            self.filter_text = text
            return
        try:
            self._filter = parse_filter(text, self.rows)
            self.filter_text = text
        except ExplorerError as error:
            self.problem = str(error)
            if self._filter is not None and len(self._filter.fixed) != len(self.rows):
                self._filter = None

    def sort_by(self, column: str) -> None:
        """Sort by a column, from its more telling end."""
        self.sort, self.descending = column, column in LARGEST_FIRST
        self.list_again()

    def reverse(self) -> None:
        """Turn the order round."""
        self.descending = not self.descending
        self.list_again()

    def list_again(self) -> None:
        """Sort and filter once more."""
        if self.rows is None:
            return
        shown = None if self._filter is None else self._filter.mask(self.cosines, self.lit)
        if self.only_lit:
            shown = self.lit if shown is None else shown & self.lit
        order = self.rows.order(self.sort, self.descending, shown, self.cosines, self.lit)
        self.order = [int(row) for row in order]
