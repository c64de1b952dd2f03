"""The Runs tab: every run of a session, sorted and filtered, those under the spotlight marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.results.filtered_tab import FilteredTab
from srm_explorer.tui.widgets.table import LineTable
from srm_explorer.tui.widgets.table_render import one_line

if TYPE_CHECKING:
    from srm_explorer.tui.results.runs_listing import RunCells, RunListing
    from srm_explorer.tui.results.state import ResultsState


HINT = 'door   "two words"   value>3   value=baseline   cos>.5   set=watching   lit   changed   !lit'
EMPTY = "No runs yet: r runs the experiment, o opens a session"


class RunsTab(FilteredTab):
    """Lists runs and which of them the spotlight lights; a compact one has few columns, the strongest runs first."""

    DEFAULT_CSS = """
    RunsTab {
        layout: vertical;
        height: 1fr;
        LineTable { height: 1fr; }
        #runs-line { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        &.-compact #runs-line { display: none; }
        &.-notice #runs-line { display: block; }
        &.-empty #runs-line { dock: top; }
        #runs-line.-problem { color: $text-error; }
    }
    """

    HINT = HINT
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

    @dataclass
    class RunWanted(Message):
        """A run is to be opened: its index among all planned runs, and those of all that are listed, in order."""

        index: int
        order: tuple[int, ...]

    def __init__(self, compact: bool = False, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes="-compact" if compact else None)
        self.compact = compact
        self.waits = ""
        self._state: ResultsState | None = None
        self._listing: RunListing | None = None
        self._cells: RunCells | None = None
        self._said = EMPTY

    def compose(self) -> ComposeResult:
        yield LineTable(opens=True)
        self._said = self.waits or EMPTY
        yield Static(self._said, id="runs-line", markup=False)

    @property
    def listing(self) -> RunListing:
        if self._listing is None:
            # Not imported with this module: the panes are shown before numpy is loaded.
            from srm_explorer.tui.results.runs_listing import RunListing

            self._listing = RunListing("cos" if self.compact else "", compact=self.compact)
        return self._listing

    @property
    def order(self) -> tuple[int, ...]:
        """The runs that are listed, by their index among all planned ones."""
        cells = self._cells
        return () if cells is None else tuple(cells.rows.session.runs[row].index for row in cells.order)

    def wait(self, line: str) -> None:
        """Say what is on its way while there is no session; an empty line: nothing is."""
        self.waits = " · ".join(part for part in line.split("\n") if part)
        if self.is_mounted and self._state is not None:
            self._say()
        elif self.is_mounted:
            self._write(self.waits or EMPTY)

    def show(self, state: ResultsState) -> None:
        """Show what the state holds now; while the tab is hidden, once it is shown."""
        self._state = state
        if self.is_mounted and self.region.area:
            self._take(state)

    def on_show(self) -> None:
        if self._state is not None:
            self._take(self._state)

    def highlight(self, index: int) -> None:
        """Highlight a run by its index among all planned ones; one that is not listed leaves the highlight alone."""
        order = self.order
        if index in order:
            self.table.go(order.index(index))

    def copy_text(self) -> str:
        cells = self._cells
        if cells is None:
            return ""
        columns = self.listing.columns
        lines = ["\t".join(["lit", *(column.title for column in columns)])]
        for listed, row in enumerate(cells.order):
            texts = [one_line(cells.plain(listed, column.key)) for column in columns]
            lines.append("\t".join(["1" if cells.lit[row : row + 1].any() else "0", *texts]))
        return "\n".join(lines) + "\n"

    @on(LineTable.Opened)
    def open_run(self, event: LineTable.Opened) -> None:
        event.stop()
        order = self.order
        if order:
            self.post_message(self.RunWanted(order[event.row], order))

    @on(LineTable.Highlighted)
    def keep_highlight(self, event: LineTable.Highlighted) -> None:
        event.stop()

    def action_only_lit(self) -> None:
        self.listing.only_lit = not self.listing.only_lit
        self.listing.list_again()
        self.show_listing()

    def action_next_lit(self, step: int) -> None:
        listed = self.listing.next_lit(self.table.cursor, step)
        if listed is not None:
            self.table.go(listed)

    def drop_filter(self) -> None:
        self.listing.only_lit = False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave escape to others where nothing is filtered."""
        if action == "leave_filter":
            listing = self._listing
            return listing is not None and bool(listing.filter_text or listing.only_lit or self.is_typing)
        return True

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change the list."""
        return self._listing is not None and self._listing.rows is not None

    def _take(self, state: ResultsState) -> None:
        self.listing.take(state)
        self.show_listing()

    def show_listing(self) -> None:
        listing, table = self.listing, self.table
        before, cells = self._cells, listing.cells(glyphs_of(self.app))
        self._cells = cells
        if cells is None:
            table.set_rows(0, lambda row, key: "")
        else:
            if before is None or before.rows is not cells.rows:
                table.set_columns(listing.columns)
            table.set_sort(listing.sort or None, listing.descending)
            # A highlight that nobody has moved stays on top, where the first of the listed runs is.
            table.set_rows(len(cells.order), cells.cell, cells.key, cells.mark, stay=table.held)
        self._say()

    def _say(self) -> None:
        listing, line = self.listing, self.query_one("#runs-line", Static)
        is_empty = listing.rows is None
        self.set_class(is_empty, "-empty")
        self.set_class(is_empty or bool(listing.problem or listing.filter_text or listing.only_lit), "-notice")
        line.set_class(bool(listing.problem), "-problem")
        self._write(listing.problem or listing.summary(glyphs_of(self.app).separator) or self.waits or EMPTY)

    def _write(self, said: str) -> None:
        if said != self._said:
            self._said = said
            self.query_one("#runs-line", Static).update(said, layout=False)
