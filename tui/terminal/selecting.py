"""Text that the mouse selects in widgets which draw their own lines: Textual knows only what it has laid out itself."""

from __future__ import annotations

from rich.style import Style
from textual import events
from textual.geometry import Offset, Region
from textual.screen import Screen
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

_SELECTED = Style(reverse=True)


def install() -> None:
    """Have every screen select such text, where its widgets allow it."""
    Screen.get_widget_and_offset_at = _get_widget_and_offset_at
    Widget.get_selection = _get_selection
    Widget.render_lines = _render_lines
    Widget.text_select_all = _text_select_all
    Screen._forward_event = _forward_event


def _draws_lines(widget: Widget) -> bool:
    return type(widget).render_line is not Widget.render_line and widget.allow_select


def _get_widget_and_offset_at(self: Screen[object], x: int, y: int) -> tuple[Widget | None, Offset | None]:
    widget, offset = _WIDGET_AND_OFFSET(self, x, y)
    if widget is not None and offset is None and _draws_lines(widget):
        offset = Offset(x, y) - self.find_widget(widget).region.offset
    return widget, offset


def _text_select_all(self: Widget) -> None:
    """Select all of a widget that was clicked twice; in one that draws its lines, as tables do, that opens a row."""
    if not _draws_lines(self):
        _ALL(self)


def _forward_event(self: Screen[object], event: events.Event) -> None:
    """Send an event on; the end of a selection is no click."""
    if not (isinstance(event, events.Click) and event.chain == 1 and self.selections):
        _FORWARD(self, event)


def _get_selection(self: Widget, selection: Selection) -> tuple[str, str] | None:
    """The text of the cells that are selected, without the spaces that only fill a line."""
    if not _draws_lines(self):
        return _SELECTION(self, selection)
    width, height = self.outer_size
    lines: list[str] = []
    for y, strip in enumerate(_LINES(self, Region(0, 0, width, height))):
        span = _span(selection, y, width)
        if span is not None:
            lines.append(strip.crop(*span).text.rstrip())
    return "\n".join(lines), "\n"


def _render_lines(self: Widget, crop: Region) -> list[Strip]:
    strips = _LINES(self, crop)
    selection = self.text_selection if self.is_attached else None
    if selection is None or not _draws_lines(self):
        return strips
    return [_marked(strip, _span(selection, crop.y + at, crop.right), crop.x) for at, strip in enumerate(strips)]


def _marked(strip: Strip, span: tuple[int, int] | None, left: int) -> Strip:
    """A line, cropped on its left, with what is selected reversed."""
    if span is None or span[1] <= left:
        return strip
    start, end = max(0, span[0] - left), span[1] - left
    middle = strip.crop(start, end).apply_style(_SELECTED)
    return Strip.join([strip.crop(0, start), middle, strip.crop(end, max(end, strip.cell_length))])


def _span(selection: Selection, y: int, width: int) -> tuple[int, int] | None:
    span = selection.get_span(y)
    return None if span is None else (span[0], width if span[1] < 0 else min(width, span[1]))


_WIDGET_AND_OFFSET = Screen.get_widget_and_offset_at
_SELECTION = Widget.get_selection
_LINES = Widget.render_lines
_ALL = Widget.text_select_all
_FORWARD = Screen._forward_event
