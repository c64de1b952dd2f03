"""A numbered part of the screen: a frame with a title round one widget."""

from __future__ import annotations

from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget


class Pane(Vertical):
    """One of the explorer's panes, framed before there is anything in it; it knows which of its widgets had the focus.

    Args:
        number: the key that goes there.
        title: its name.

    Attributes:
        content: what it shows; None before `furnish`.
    """

    DEFAULT_CSS = """
    Pane {
        border: round $panel-lighten-2;
        border-title-color: $text-muted;
        border-title-style: none;
        height: 1fr;
        width: 1fr;
        &.-entered { border: round $primary; border-title-color: $text; border-title-style: bold; }
        & > * { width: 1fr; height: 1fr; }
    }
    """

    content: Widget | None = None

    def __init__(self, number: int, title: str) -> None:
        super().__init__(id=f"pane-{number}")
        self.number, self.title = number, title
        self.border_title = Content(f"{number} {title}")
        self._last: Widget | None = None

    async def furnish(self, content: Widget) -> None:
        self.content = content
        await self.mount(content)

    def on_mount(self) -> None:
        self.watch(self.screen, "focused", self._look)

    def _look(self, focused: Widget | None) -> None:
        """Remember where the focus is, to go back there, and stand out while it is within."""
        is_within = focused is not None and self in focused.ancestors
        if is_within:
            self._last = focused
        if is_within != self.has_class("-entered"):
            # By a class, and the frame alone: `:focus-within` has everything in the pane styled anew.
            self.set_class(is_within, "-entered", update=False)
            self.app.stylesheet.update_nodes([self])

    def enter(self) -> None:
        """Put the focus where it was last, else on the first widget that takes it."""
        target = self._last if self._last is not None and self._last.is_attached and self._last.focusable else None
        if target is None and self.content is not None:
            widgets = [self.content, *self.content.query(Widget)]
            target = next((widget for widget in widgets if widget.focusable and widget.display), None)
        if target is not None:
            target.focus(scroll_visible=False)
