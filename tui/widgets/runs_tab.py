"""The Runs tab: every run of a session, sorted and filtered, those under the spotlight marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.widgets import Input, Static

from tui.state.glyphs import glyphs_of
from tui.widgets.run_columns import RunCells, columns_of
from tui.widgets.runs_keys import HINT, RunsKeys
from tui.widgets.runs_line import EMPTY, summary
from tui.widgets.table import LineTable

if TYPE_CHECKING:
    from tui.state.results import ResultsState


class RunsTab(RunsKeys):
    """Lists the runs and answers which of them the spotlight lights.

    Args:
        compact: with few columns and no line below; the strongest runs first.
    """

    DEFAULT_CSS = """
    RunsTab {
        layout: vertical;
        height: 1fr;
        LineTable { height: 1fr; }
        #runs-line { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        #runs-filter { height: 1; border: none; padding: 0; background: $surface-lighten-1; }
        &.-compact #runs-line { display: none; }
        &.-told #runs-line { display: block; }
        &.-empty #runs-line { dock: top; }
        #runs-line.-problem { color: $text-error; }
    }
    """

    def __init__(self, compact: bool = False, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(compact, id=id)
        self._state: ResultsState | None = None
        self._cells: RunCells | None = None
        self._before = ""
        self._said = EMPTY
        self._line: Input | None = None

    def compose(self) -> ComposeResult:
        """The table, and a line that says what is listed; the line to type in comes when it is asked for."""
        yield LineTable()
        yield Static(EMPTY, id="runs-line", markup=False)

    @property
    def order(self) -> tuple[int, ...]:
        """The runs that are listed, by their index among all planned ones."""
        cells = self._cells
        return () if cells is None else tuple(cells.rows.session.runs[row].index for row in cells.order)

    def show(self, state: ResultsState) -> None:
        """Show what the state holds now; while the tab is hidden, once it is shown."""
        self._state = state
        if self.is_mounted and self.region.area:
            self._take(state)

    def on_show(self) -> None:
        """Catch up with what happened while the tab was hidden."""
        if self._state is not None:
            self._take(self._state)

    def highlight(self, index: int) -> None:
        """Highlight a run by its index among all planned ones; one that is not listed leaves the highlight alone."""
        order = self.order
        if index in order:
            self.table.go(order.index(index))

    def copy_text(self) -> str:
        """The rows as they are listed, a line a run, cells separated by tabs."""
        from tui.widgets.one_line import one_line

        cells = self._cells
        if cells is None:
            return ""
        columns = columns_of(cells.rows, self.compact)
        lines = ["\t".join(["lit", *(column.title for column in columns)])]
        for listed, row in enumerate(cells.order):
            texts = [one_line(cells.plain(listed, column.key)) for column in columns]
            lines.append("\t".join(["1" if cells.lit[row : row + 1].any() else "0", *texts]))
        return "\n".join(lines) + "\n"

    @on(LineTable.Opened)
    def open_run(self, event: LineTable.Opened) -> None:
        """Ask for the run to be opened."""
        from tui.widgets.results_pane import ResultsPane

        event.stop()
        if self._cells is not None:
            order = self.order
            self.post_message(ResultsPane.OpenRun(order[event.row], order))

    @on(LineTable.Highlighted)
    def keep_highlight(self, event: LineTable.Highlighted) -> None:
        """Keep to the table what concerns it alone."""
        event.stop()

    async def action_filter(self) -> None:
        """Type which runs to list."""
        if self._line is not None:
            return
        self._before = self.listing.filter_text
        line = self._line = Input(self._before, id="runs-filter", compact=True, select_on_focus=False)
        line.placeholder = HINT
        await self.mount(line, after=self.table)
        self.screen.set_focus(line)

    async def on_key(self, event: events.Key) -> None:
        """Take letters that were typed ahead of the line into it, rather than let them act as keys.

        They are on their way up from the table while the line is opened, so that it is opened here, before they are
        looked at, and not by the app, which they reach later.
        """
        line = self._line
        if line is None:
            active = self.screen.active_bindings.get(event.key)
            if active is not None and active.node is self and active.binding.action == "filter":
                event.stop()
                await self.action_filter()
        elif event.is_printable and event.character is not None:
            event.stop()
            line.insert_text_at_cursor(event.character)

    @on(Input.Changed, "#runs-filter")
    def try_filter(self, event: Input.Changed) -> None:
        """List what the line says so far; what cannot be understood yet leaves the rows as they are."""
        event.stop()
        self._take_filter(event.value)

    @on(Input.Submitted, "#runs-filter")
    def keep_filter(self, event: Input.Submitted) -> None:
        """Go back to the rows, unless something is wrong with the line."""
        event.stop()
        if not self.listing.problem:
            self._close_filter()

    def action_leave_filter(self) -> None:
        """Close the line with the filter there was before; without a line, list all runs again."""
        is_typing = self._line is not None
        if not is_typing:
            self.listing.only_lit = False
        self._take_filter(self._before if is_typing else "")
        self._close_filter()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave escape to others where nothing is filtered."""
        if action == "leave_filter":
            listing = self._listing
            return listing is not None and bool(listing.filter_text or listing.only_lit or self._line)
        return True

    def _take(self, state: ResultsState) -> None:
        self.listing.take(state)
        self.repaint_rows()

    def _take_filter(self, text: str) -> None:
        self.listing.set_filter(text)
        self.listing.list_again()
        self.repaint_rows()

    def _close_filter(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.remove()
        self.screen.set_focus(self.table)

    def repaint_rows(self) -> None:
        """Show what is listed now; rows that look the same are not painted again."""
        listing, table = self.listing, self.table
        rows = listing.rows
        if rows is None:
            self._cells = None
            table.set_rows(0, lambda row, key: "")
        else:
            cells, told = self._cells, (listing.order, listing.cosines, listing.lit)
            if cells is None or cells.rows is not rows:
                cells = self._cells = RunCells(rows, *told, glyphs_of(self.app))
                table.set_columns(columns_of(rows, self.compact))
            else:
                cells = self._cells = cells.turned(*told)
            table.set_sort(listing.sort or None, listing.descending)
            # A highlight that nobody has moved stays on top, where the first of the listed runs is.
            table.set_rows(len(cells.order), cells.cell, cells.key, cells.mark, stay=table.held)
        self._say()

    def _say(self) -> None:
        listing, line = self.listing, self.query_one("#runs-line", Static)
        is_empty = listing.rows is None
        self.set_class(is_empty, "-empty")
        self.set_class(is_empty or bool(listing.problem or listing.filter_text or listing.only_lit), "-told")
        line.set_class(bool(listing.problem), "-problem")
        said = listing.problem or summary(listing, glyphs_of(self.app).separator)
        if said != self._said:
            self._said = said
            line.update(said, layout=False)
