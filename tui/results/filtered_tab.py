"""What tabs share whose table a column sorts and a line filters; the line opens below it, and lists as it is typed."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from textual import events, on
from textual.widget import Widget
from textual.widgets import Input

from srm_explorer.tui.widgets.table import LineTable


class Filtered(Protocol):
    """Rows that a column sorts, and a line filters; one that cannot be understood yet leaves them as they are."""

    @property
    def sort(self) -> str:
        """The column that they are sorted by; empty for the order that they come in."""
        ...

    def sort_by(self, column: str) -> None: ...

    def sort_next(self) -> None: ...

    def reverse(self) -> None: ...

    @property
    def filter_text(self) -> str: ...

    @property
    def problem(self) -> str:
        """What is wrong with the line that was given last; empty where nothing is."""
        ...

    def set_filter(self, text: str) -> None: ...

    def list_again(self) -> None: ...


class FilteredTab(Widget):
    """A tab whose key `filter` opens the line, and whose `escape` leaves it, then drops the filter."""

    DEFAULT_CSS = """
    FilteredTab .-filter { height: 1; border: none; padding: 0; background: $surface-lighten-1; }
    """
    HINT = ""
    """What the line says while it is empty."""

    _line: Input | None = None
    _filter_before = ""

    @property
    def table(self) -> LineTable:
        return self.query_one(LineTable)

    @property
    @abstractmethod
    def listing(self) -> Filtered:
        """The rows that are filtered."""

    @abstractmethod
    def show_listing(self) -> None:
        """Draw the rows that are listed now."""

    @abstractmethod
    def drop_filter(self) -> None:
        """Forget what else than a line leaves rows out."""

    @property
    def is_typing(self) -> bool:
        """Whether the line is open."""
        return self._line is not None

    def action_sort(self) -> None:
        self.listing.sort_next()
        self.show_listing()

    def action_reverse(self) -> None:
        self.listing.reverse()
        self.show_listing()

    @on(LineTable.HeaderPressed)
    def sort_by_title(self, event: LineTable.HeaderPressed) -> None:
        event.stop()
        if event.column_key == self.listing.sort:
            self.listing.reverse()
        else:
            self.listing.sort_by(event.column_key)
        self.show_listing()

    async def action_filter(self) -> None:
        if self._line is not None:
            return
        self._filter_before = self.listing.filter_text
        line = self._line = Input(self._filter_before, classes="-filter", compact=True, select_on_focus=False)
        line.placeholder = self.HINT
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

    @on(Input.Changed, ".-filter")
    def try_filter(self, event: Input.Changed) -> None:
        event.stop()
        self._take_filter(event.value)

    @on(Input.Submitted, ".-filter")
    def keep_filter(self, event: Input.Submitted) -> None:
        event.stop()
        if not self.listing.problem:
            self._close_filter()

    def action_leave_filter(self) -> None:
        is_typing = self.is_typing
        if not is_typing:
            self.drop_filter()
        self._take_filter(self._filter_before if is_typing else "")
        self._close_filter()

    def _take_filter(self, text: str) -> None:
        self.listing.set_filter(text)
        self.listing.list_again()
        self.show_listing()

    def _close_filter(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.remove()
        self.screen.set_focus(self.table)
