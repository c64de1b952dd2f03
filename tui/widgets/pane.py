"""A numbered part of the screen: a frame with a title round one widget."""

from __future__ import annotations

from typing import Self

from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region
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
        height: 1fr;
        width: 1fr;
        &.-entered { border: round $primary; }
        & > * { width: 1fr; height: 1fr; }
    }
    """

    content: Widget | None = None

    def __init__(self, number: int, title: str) -> None:
        super().__init__(id=f"pane-{number}")
        self.number, self.title = number, title
        self._last: Widget | None = None
        self._is_framing = False
        self._entitle("$foreground-muted")

    async def furnish(self, content: Widget) -> None:
        """Hold what the pane is for; where the screen was left while it loads, nothing is held any more."""
        self.content = content
        if self.is_attached:
            await self.mount(content)

    def on_mount(self) -> None:
        self.watch(self.screen, "focused", self._look)

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Draw the pane anew, or what is given of it; its edges alone where it is only framed otherwise."""
        if self._is_framing and not layout:
            width, height = self.size
            across, along = (-1, height), (-1, width)
            regions = (*(Region(-1, y, width + 2, 1) for y in across), *(Region(x, 0, 1, height) for x in along))
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def _look(self, focused: Widget | None) -> None:
        """Remember where the focus is, to go back there, and stand out while it is within."""
        is_within = focused is not None and self in focused.ancestors
        if is_within:
            self._last = focused
        if is_within == self.has_class("-entered"):
            return
        # What it holds looks the same: `:focus-within` would have all of that styled, drawn and sent anew, and so would
        # another colour of the title by its style.
        self._is_framing = True
        self.set_class(is_within, "-entered", update=False)
        self.app.stylesheet.update_nodes([self])
        self._entitle("bold $foreground" if is_within else "$foreground-muted")
        self._is_framing = False

    def _entitle(self, style: str) -> None:
        self.border_title = Content.styled(f"{self.number} {self.title}", style)

    def enter(self) -> None:
        """Put the focus where it was last, else on the first widget that takes it."""
        target = self._last if self._last is not None and self._last.is_attached and self._last.focusable else None
        if target is None and self.content is not None:
            widgets = [self.content, *self.content.query(Widget)]
            target = next((widget for widget in widgets if widget.focusable and widget.display), None)
        if target is not None:
            target.focus(scroll_visible=False)
