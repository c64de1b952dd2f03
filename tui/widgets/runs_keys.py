"""The keys of the Runs tab: what sorts its rows, and leads to those that are lit."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from tui.widgets.table import LineTable

if TYPE_CHECKING:
    from tui.state.run_listing import RunListing

HINT = 'door   "two words"   value>3   value=baseline   cos>.5   set=watching   lit   changed   !lit'

NOT_LISTED = frozenset({"x", "y", "norm"})
"""Columns that the key for sorting skips; a click on their titles sorts by them."""


class RunsKeys(Widget):
    """Actions on a listing of runs; the table is in the class built on this one.

    Args:
        compact: with few columns and no line below; the strongest runs first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "slash",
            "filter",
            "Filter",
            id="runs.filter",
            key_display="/",
            tooltip=f"List some runs: {' '.join(HINT.split())}",
        ),
        Binding("S", "sort", "Sort", id="runs.sort", tooltip="Sort by the next column"),
        Binding("R", "reverse", "Reverse", id="runs.reverse", show=False, tooltip="Turn the order round"),
        Binding("m", "only_lit", "Lit only", id="runs.only-lit", tooltip="List only what the spotlight lights, or all"),
        Binding(
            "n", "next_lit(1)", "Next lit", id="runs.next-lit", show=False, tooltip="Highlight the next run that is lit"
        ),
        Binding(
            "N", "next_lit(-1)", "Lit before", id="runs.lit-before", show=False, tooltip="Highlight the lit run before"
        ),
        Binding(
            "escape", "leave_filter", "All runs", id="runs.all", show=False, tooltip="Leave the filter, then drop it"
        ),
    ]

    def __init__(self, compact: bool = False, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes="-compact" if compact else None)
        self.compact = compact
        self._listing: RunListing | None = None

    @property
    def table(self) -> LineTable:
        """The table of the runs that are listed."""
        return self.query_one(LineTable)

    @property
    def listing(self) -> RunListing:
        """Which runs are listed, and in which order."""
        if self._listing is None:
            # Not imported with this module: it brings numpy, which no first frame waits for.
            from tui.state.run_listing import RunListing

            self._listing = RunListing("cos" if self.compact else "")
        return self._listing

    def repaint_rows(self) -> None:
        """Show what is listed now."""
        raise NotImplementedError

    @on(LineTable.HeaderPressed)
    def sort_by_title(self, event: LineTable.HeaderPressed) -> None:
        """Sort by the column whose title was pressed; pressed again, the other way round."""
        event.stop()
        if event.column_key == self.listing.sort:
            self.action_reverse()
        else:
            self.listing.sort_by(event.column_key)
            self.repaint_rows()

    def action_sort(self) -> None:
        """Sort by the next column: the session's order, lit first, then the columns from left to right."""
        from tui.widgets.run_columns import columns_of

        rows = self.listing.rows
        if rows is not None:
            columns = [one.key for one in columns_of(rows, self.compact) if one.key not in NOT_LISTED]
            cycle = ["", *(["lit"] if "cos" in columns else []), *columns]
            at = cycle.index(self.listing.sort) if self.listing.sort in cycle else 0
            self.listing.sort_by(cycle[(at + 1) % len(cycle)])
            self.repaint_rows()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.listing.reverse()
        self.repaint_rows()

    def action_only_lit(self) -> None:
        """List only the runs under the spotlight, or all again."""
        self.listing.only_lit = not self.listing.only_lit
        self.listing.list_again()
        self.repaint_rows()

    def action_next_lit(self, step: int) -> None:
        """Highlight the next listed run that is lit, or the one before, round and round."""
        order, lit, at = self.listing.order, self.listing.lit, self.table.cursor
        places = ((at + step * away) % len(order) for away in range(1, len(order) + 1))
        found = next((place for place in places if lit[order[place]]), None)
        if found is not None:
            self.table.go(found)
