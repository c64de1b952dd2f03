"""The keys of a table, the same wherever one is shown."""

from __future__ import annotations

from textual.binding import Binding, BindingType

TABLE_KEYS: list[BindingType] = [
    Binding("j,down", "move(1)", "Next row", id="table.down", show=False, tooltip="Highlight the next row"),
    Binding("k,up", "move(-1)", "Row before", id="table.up", show=False, tooltip="Highlight the row before"),
    Binding("pagedown", "page(1)", "Page down", id="table.page-down", show=False, tooltip="Go a page down"),
    Binding("pageup", "page(-1)", "Page up", id="table.page-up", show=False, tooltip="Go a page up"),
    Binding("home", "first", "First row", id="table.first", show=False, tooltip="Go to the first row"),
    Binding("end", "last", "Last row", id="table.last", show=False, tooltip="Go to the last row"),
    Binding("left,h", "sideways(-1)", "Left", id="table.left", show=False, tooltip="Scroll a wide table left"),
    Binding("right,l", "sideways(1)", "Right", id="table.right", show=False, tooltip="Scroll a wide table right"),
    Binding("enter", "open", "Open", id="table.open", show=False, tooltip="Open the highlighted row"),
]
