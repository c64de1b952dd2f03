"""The Log tab: what the worker and the program said, the newest below."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from srm_explorer.tui.text import wrapped
from srm_explorer.tui.widgets.table_render import one_line

MOST = 2_000
_HANG = "  "
"""Before the lines that a long one goes on in."""
EMPTY = "Nothing was said yet: what the worker does is told here"


class LogTab(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines of text that scroll; the oldest go when there are too many."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll(1)", "Down", id="log.down", show=False, tooltip="Scroll a line down"),
        Binding("k,up", "scroll(-1)", "Up", id="log.up", show=False, tooltip="Scroll a line up"),
        Binding("pagedown", "page(1)", "Page down", id="log.page-down", show=False, tooltip="Scroll a page down"),
        Binding("pageup", "page(-1)", "Page up", id="log.page-up", show=False, tooltip="Scroll a page up"),
        Binding("home", "top", "Oldest", id="log.first", show=False, tooltip="Go to the oldest line"),
        Binding("end", "bottom", "Newest", id="log.last", show=False, tooltip="Go to the newest line"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=MOST)
        self._wrapped: deque[list[str]] = deque(maxlen=MOST)
        self._rows: list[str] | None = None
        self._follows = True

    def add(self, line: str) -> None:
        """Add a line; the view follows unless it was scrolled away from the end."""
        self._lines.append(one_line(line))
        self._wrapped.append(self._parts(self._lines[-1]))
        self._resized()

    def copy_text(self) -> str:
        return "\n".join(self._lines)

    def on_resize(self) -> None:
        self._wrapped = deque(map(self._parts, self._lines), maxlen=MOST)
        self._resized()

    def render_line(self, y: int) -> Strip:
        style = self.visual_style.rich_style
        row = y + self.scroll_offset.y
        rows = self._all_rows()
        text = rows[row] if row < len(rows) else ""
        if not self._lines and y == 0:
            text = EMPTY
        return Strip([Segment(text, style)]).crop_extend(0, self.size.width, style)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._follows = new_value >= self.max_scroll_y

    def action_scroll(self, lines: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False)

    def action_page(self, pages: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + pages * max(1, self.size.height - 1), animate=False)

    def action_top(self) -> None:
        self.scroll_to(y=0, animate=False)

    def action_bottom(self) -> None:
        self.scroll_end(animate=False)

    def _parts(self, line: str) -> list[str]:
        width = self.scrollable_content_region.width
        return wrapped(line, width, _HANG) if width > len(_HANG) and line.strip() else [line]

    def _all_rows(self) -> list[str]:
        if self._rows is None:
            self._rows = [part for parts in self._wrapped for part in parts]
        return self._rows

    def _resized(self) -> None:
        self._rows = None
        self.virtual_size = Size(self.scrollable_content_region.width, sum(map(len, self._wrapped)))
        if self._follows:
            self.scroll_end(animate=False)
        self.refresh()
