"""Letters typed before the line that takes them is there."""

from __future__ import annotations

from textual import events
from textual.widget import Widget

from tui.widgets.prompt_line import PromptLine

_OPENS_LINE = ("search", "add", "limit")
"""Actions after which letters are text."""

_LATEST = 1.0
"""Seconds within which such an action is run."""


class EarlyKeys(Widget):
    """Keeps letters for a line that is about to open, so that none of them acts as a key.

    Attributes:
        line: the line at the bottom; None while nothing is typed.
        early: what was typed for a line that is not there yet; None where no line is about to open.
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.line: PromptLine | None = None
        self.early: str | None = None

    def on_key(self, event: events.Key) -> None:
        """Take letters that were on their way to the table when the line was opened; it lets none pass itself."""
        is_late = self.line is not None and self.screen.focused is self.line
        if event.character is not None and event.is_printable and (is_late or self.early is not None):
            event.stop()
            event.prevent_default()
            if is_late and self.line is not None:
                self.line.insert_text_at_cursor(event.character)
            else:
                self.early = (self.early or "") + event.character
            return
        active = self.screen.active_bindings.get(event.key)
        if active is not None and active.node is self and active.enabled and active.binding.action in _OPENS_LINE:
            # The screen runs the action only after later keys have passed here.
            self.early = ""
            self.set_timer(_LATEST, self.forget_early)

    def forget_early(self) -> None:
        """No line opens."""
        self.early = None
