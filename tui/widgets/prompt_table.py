"""The table of the prompts pane: its check marks can be clicked."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.message import Message

from tui.widgets.table import HEADER_HEIGHT, LineTable


class PromptTable(LineTable):
    """A table that tells when the mark of a row was clicked."""

    @dataclass
    class MarkPressed(Message):
        """The check mark of a row was clicked."""

        row: int

    def on_click(self, event: events.Click) -> None:
        """Tell of a click before the first column; what every click does is done as well."""
        at = event.get_content_offset(self)
        if at is None or at.y < HEADER_HEIGHT or event.chain != 1:
            return
        row = at.y - HEADER_HEIGHT + self.scroll_offset.y
        if row < self.count and at.x + self.scroll_offset.x < self.gutter_width:
            self.post_message(self.MarkPressed(row))

    @property
    def gutter_width(self) -> int:
        """Cells before the first column."""
        places = self._places()
        return places[0].x if places else 0

    def scroll_to_cursor(self) -> None:
        """Bring the highlighted row into view."""
        self._into_view()
