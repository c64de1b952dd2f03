"""A table of any number of rows that asks for the visible cells only and repaints only those that changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.text import broadest
from srm_explorer.tui.widgets.table_render import (
    LOOKS,
    TABLE_CSS,
    Cell,
    Column,
    Line,
    Looks,
    Placed,
    differences,
    gutter_of,
    header_segments,
    one_line,
    place_columns,
    row_segments,
)

TABLE_KEYS: list[BindingType] = [
    Binding("j,down", "move(1)", "Next row", id="table.down", show=False, tooltip="Highlight the next row"),
    Binding("k,up", "move(-1)", "Row before", id="table.up", show=False, tooltip="Highlight the row before"),
    Binding("pagedown", "page(1)", "Page down", id="table.page-down", show=False, tooltip="Go a page down"),
    Binding("pageup", "page(-1)", "Page up", id="table.page-up", show=False, tooltip="Go a page up"),
    Binding("home", "first", "First row", id="table.first", show=False, tooltip="Go to the first row"),
    Binding("end", "last", "Last row", id="table.last", show=False, tooltip="Go to the last row"),
    Binding("left,h", "sideways(-1)", "Left", id="table.left", show=False, tooltip="Scroll a wide table left"),
    Binding("right,l", "sideways(1)", "Right", id="table.right", show=False, tooltip="Scroll a wide table right"),
    Binding("enter", "open", "open", id="table.open", tooltip="Open the highlighted row"),
]


def _nothing(row: int, key: str) -> Cell:
    return ""


@dataclass(frozen=True)
class Rows:
    """What `LineTable.set_rows` was given.

    Attributes:
        count: how many there are.
        cell: (row, column key) -> cell.
        keys: row -> what identifies it; None where its number does.
        marks: row -> sign before its first column; None where there are none.
        mark_width: cells of the widest mark; 0 without marks.
    """

    count: int = 0
    cell: Callable[[int, str], Cell] = _nothing
    keys: Callable[[int], object] | None = None
    marks: Callable[[int], Cell] | None = None
    mark_width: int = 0

    def key(self, row: int) -> object:
        """What identifies a row; None for a row that is not there."""
        if not 0 <= row < self.count:
            return None
        return row if self.keys is None else self.keys(row)

    def mark(self, row: int) -> Cell:
        return "" if self.marks is None else self.marks(row)

    def find(self, key: object, near: int) -> int:
        """The row that has a key; the one that stands at `near` where none has."""
        if self.key(near) == key:
            return near
        return next((row for row in range(self.count) if self.key(row) == key), near)


__all__ = ["Cell", "Column", "LineTable"]

HEADER_HEIGHT = 1
SIDEWAYS = 8
"""Cells that one key scrolls sideways."""
WHOLE = 60
"""Cells of a column that shares what is left, where the table is as wide as all of its columns."""


def whole(column: Column, widest: int) -> Column:
    """The column as it stands where none is dropped and no text of so many cells cut, and scrolling finds the room."""
    if column.width is not None:
        return replace(column, priority=0, width=max(column.width, widest))
    return replace(column, priority=0, least=max(column.least, WHOLE, widest))


class LineTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows under a header, one of them highlighted; cells are asked for as they come into view.

    Args:
        opens: whether somebody does something with a row that is opened.
        reveals: scrolling right brings in the columns that there is no room for, too; left of the first, they go again.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line-table--header",
        "line-table--cursor",
        *(f"line-table--{name}" for name in LOOKS),
    }
    DEFAULT_CSS = TABLE_CSS
    BINDINGS: ClassVar[list[BindingType]] = TABLE_KEYS

    @dataclass
    class Highlighted(Message):
        """Another row is highlighted."""

        table: LineTable
        row: int

    @dataclass
    class Opened(Message):
        """A row was opened: enter, or a double click."""

        table: LineTable
        row: int

    @dataclass
    class HeaderPressed(Message):
        """The title of a column was clicked."""

        table: LineTable
        column_key: str

    cursor: reactive[int] = reactive(0, init=False, repaint=False)

    def __init__(
        self,
        *,
        opens: bool = False,
        reveals: bool = False,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self.held, self.opens = False, opens
        self._reveals, self._whole = reveals, False
        self._columns: tuple[Column, ...] = ()
        self._rows = Rows()
        self._sort: tuple[str, bool] | None = None
        self._placed: tuple[int, tuple[Placed, ...]] = (-1, ())
        self._painted: dict[int, Line] = {}
        self._widest: dict[str, int] = {}
        """Cells of the widest text that each column has had in view."""
        self._looks = Looks(self)

    @property
    def key(self) -> object:
        """The key of the highlighted row (its number where rows have no keys); None in an empty table."""
        return self._rows.key(self.cursor)

    @property
    def count(self) -> int:
        return self._rows.count

    @property
    def columns(self) -> tuple[Column, ...]:
        """All of them, also those that there is no room for."""
        return self._columns

    def set_columns(self, columns: Sequence[Column]) -> None:
        if self._columns != tuple(columns):
            self._columns, self._whole = tuple(columns), False
            self._widest.clear()
            self._replace()
            self.scroll_to(x=0, animate=False)

    def set_sort(self, key: str | None, descending: bool = False) -> None:
        """Mark a column in the header as the one that rows are sorted by; None marks none."""
        sort = None if key is None else (key, descending)
        if sort != self._sort:
            before = self._places()
            self._sort, self._placed = sort, (-1, ())
            if self._places() != before:
                self._replace()
            self.refresh(Region(0, 0, self.size.width, HEADER_HEIGHT))

    def set_rows(
        self,
        count: int,
        cell: Callable[[int, str], Cell],
        keys: Callable[[int], object] | None = None,
        marks: Callable[[int], Cell] | None = None,
        *,
        mark_width: int = 1,
        stay: bool = True,
    ) -> None:
        """Show other rows; what was painted stays where it would look the same.

        Args:
            count: number of rows.
            cell: (row, column key) -> cell; asked for visible rows only.
            keys: row -> what identifies it; the highlight stays on the same key, at the same place of the screen.
            marks: row -> sign before the first column.
            mark_width: cells of the widest mark.
            stay: False to leave the highlight on the same line, whatever row comes to stand there.
        """
        key, row, top = self.key, self.cursor, self.scroll_offset.y
        gutter = self._rows.mark_width
        self._rows = Rows(count, cell, keys, marks, mark_width if marks else 0)
        if self._rows.mark_width != gutter:
            self._replace()
        self._resize_virtual()
        cursor = self._rows.find(key, row) if stay and key is not None else row
        in_view = top <= row < top + self.page
        with self.prevent(self.Highlighted):
            self.cursor = cursor
        if in_view and self.cursor != row:
            self.scroll_to(y=max(0, self.cursor - (row - top)), animate=False)
        if self.key != key and count:
            self.post_message(self.Highlighted(self, self.cursor))
        self.refresh_cells()

    def refresh_cells(self) -> None:
        """Ask for the visible cells again and repaint those that differ from what is on the screen."""
        left, top = self.scroll_offset
        lines = self._lines_in_view(top)
        places = self._places()
        painted: dict[int, Line] = {}
        regions: list[Region] = []
        for row, new in enumerate(lines, top):
            old = self._painted.get(row, ())
            if old != new:
                whole = [(left, self.size.width)]
                has_spans = old and new and not self._standing
                spans = differences(old, new, places, self._rows.mark_width) if has_spans else whole
                regions += [Region(x - left, row - top + HEADER_HEIGHT, width, 1) for x, width in spans]
            painted[row] = old
        # What is asked for is on the screen only once it has been painted.
        self._painted = painted
        if regions:
            self.refresh(*regions)

    @property
    def page(self) -> int:
        return max(0, self.scrollable_content_region.height - HEADER_HEIGHT)

    def validate_cursor(self, row: int) -> int:
        """Keep the highlight on a row that is there."""
        return max(0, min(row, self.count - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        top = self.scroll_offset.y
        for row in (old, new):
            self.refresh(Region(0, row - top + HEADER_HEIGHT, self.size.width, 1))
        if new < self.count:
            self.post_message(self.Highlighted(self, new))

    def render_line(self, y: int) -> Strip:
        top, places, signs = self.scroll_offset.y, self._places(), glyphs_of(self.app)
        if y < HEADER_HEIGHT:
            style = self._looks.plain("header")
            segments = header_segments(places, self._sort, signs, style)
            return self._with_more(self._in_view(Strip(segments), style), style).simplify()
        row = y - HEADER_HEIGHT + top
        line = self._painted[row] = self._line(row, places, signs.cursor)
        look = self._looks.on_cursor if row == self.cursor else self._looks.plain
        segments = row_segments(line, places, self._rows.mark_width, signs, look) if line else []
        return self._in_view(Strip(segments), look("") if line else self._looks.plain("")).simplify()

    @property
    def _standing(self) -> int:
        """Cells of the first column, which tells the rows apart, that stand while the others scroll past it."""
        places = self._places()
        scrolls = self._reveals and self.scroll_offset.x > 0 and bool(places)
        return min(places[0].end + 1, self.size.width // 2) if scrolls else 0

    def _in_view(self, line: Strip, style: Style) -> Strip:
        left, width, standing = self.scroll_offset.x, self.size.width, self._standing
        scrolled = line.crop_extend(left + standing, left + width, style)
        return Strip.join([line.crop_extend(0, standing, style), scrolled]) if standing else scrolled

    def _with_more(self, header: Strip, style: Style) -> Strip:
        """The header with an arrow at the side where columns go on that the keys sideways bring into view."""
        signs, width = glyphs_of(self.app), self.scrollable_content_region.width
        if width > 2 and (self._hides or self.scroll_offset.x < self.max_scroll_x):
            rest = header.crop(width, header.cell_length)
            header = Strip([*header.crop(0, width - 1), Segment(signs.right, style), *rest], header.cell_length)
        if width > 2 and self.scroll_offset.x > 0:
            header = Strip([Segment(signs.left, style), *header.crop(1, header.cell_length)], header.cell_length)
        return header

    def notify_style_update(self) -> None:
        self._looks.clear()
        super().notify_style_update()

    def on_resize(self) -> None:
        self._replace()
        self._lines_in_view(self.scroll_offset.y)
        self._into_view()

    def on_focus(self) -> None:
        self._looks.clear()
        self.refresh()

    def on_blur(self) -> None:
        self._looks.clear()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        if at is None:
            return
        event.stop()
        left, top = self.scroll_offset
        row = at.y - HEADER_HEIGHT + top
        if at.y < HEADER_HEIGHT:
            x = at.x if at.x < self._standing else at.x + left
            pressed = next((slot for slot in self._places() if slot.x <= x <= slot.end), None)
            if pressed is not None:
                self.post_message(self.HeaderPressed(self, pressed.column.key))
        elif row < self.count:
            self.held = True
            self.cursor = row
            if event.chain == 2:
                self.action_open()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave left and right to others where everything fits."""
        return self.max_scroll_x > 0 or self._hides or self._whole if action == "sideways" else True

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something: a table opens what somebody waits for."""
        return action != "open" or (self.opens and self.count > 0)

    def go(self, row: int) -> None:
        """Highlight a row, or the nearest there is, and keep to it whatever becomes of the order."""
        self.held = True
        self.cursor = row
        self._into_view()

    def action_move(self, rows: int) -> None:
        self.go(self.cursor + rows)

    def action_page(self, pages: int) -> None:
        self.go(self.cursor + pages * max(1, self.page - 1))

    def action_first(self) -> None:
        """Highlight the first row and hold no row any more."""
        self.go(0)
        self.held = False

    def action_last(self) -> None:
        self.go(self.count - 1)

    @property
    def _hides(self) -> bool:
        """Whether columns were left out, or texts cut, that can be brought in."""
        return not self._whole and self._leaves_out(self._places())

    def _leaves_out(self, places: Sequence[Placed]) -> bool:
        is_cut = any(slot.width < self._widest.get(slot.column.key, 0) for slot in places)
        return self._reveals and (len(places) < len(self._columns) or is_cut)

    def action_sideways(self, steps: int) -> None:
        if self._hides if steps > 0 else self._whole and self.scroll_offset.x == 0:
            self._whole = steps > 0
            self._replace()
        self.scroll_to(x=self.scroll_offset.x + steps * SIDEWAYS, animate=False)

    def action_open(self) -> None:
        if self.count:
            self.post_message(self.Opened(self, self.cursor))

    def _lines_in_view(self, top: int) -> list[Line]:
        """Ask for the rows in view; the columns are placed anew where a text is wider than all of its column before."""
        rows, pointer, places = range(top, top + self.page), glyphs_of(self.app).cursor, self._places()
        lines = [self._line(row, places, pointer) for row in rows]
        widest = dict(self._widest)
        for line in lines:
            for slot, cell in zip(places, line[2:], strict=False):
                width = broadest(one_line(cell if isinstance(cell, str) else cell[0]))
                widest[slot.column.key] = max(widest.get(slot.column.key, 0), width)
        if widest != self._widest:
            self._widest, self._placed = widest, (-1, ())
            if self._places() != places:
                self._replace()
                lines = [self._line(row, self._places(), pointer) for row in rows]
        return lines

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Measure the rows that came into view."""
        super().watch_scroll_y(old_value, new_value)
        if self.is_mounted:
            self._lines_in_view(round(new_value))

    def _into_view(self) -> None:
        top, page = self.scroll_offset.y, self.page
        if page and not top <= self.cursor < top + page:
            self.scroll_to(y=self.cursor if self.cursor < top else self.cursor - page + 1, animate=False)

    def _line(self, row: int, places: Sequence[Placed], pointer: str) -> Line:
        if row >= self.count:
            return ()
        cell = self._rows.cell
        sign = pointer if row == self.cursor else ""
        return (sign, self._rows.mark(row), *[cell(row, slot.column.key) for slot in places])

    def _places(self) -> tuple[Placed, ...]:
        width = self.scrollable_content_region.width
        if self._placed[0] != width:
            if self._placed[0] >= 0:
                # Rows may be asked for before the table hears that it is wider: what was painted is in other columns.
                self._painted.clear()
            columns = self._columns
            if self._whole:
                columns = [whole(column, self._widest.get(column.key, 0)) for column in columns]
            gutter, shrinks = gutter_of(self._rows.mark_width), not self._reveals
            placed = place_columns(columns, width, gutter, self._needed(), shrinks=shrinks)
            if not self._whole and self._leaves_out(placed):
                # The arrow that tells of the rest has a place of its own.
                placed = place_columns(columns, width - 2, gutter, self._needed(), shrinks=shrinks)
            self._placed = (width, placed)
        return self._placed[1]

    def _resize_virtual(self) -> None:
        places = self._places()
        self.virtual_size = Size(places[-1].end if places else 0, self.count + HEADER_HEIGHT)

    def _needed(self) -> dict[str, int]:
        """Cells that each column needs, as far as they are known: the title that rows are sorted by has an arrow."""
        needed, sorted_by = dict(self._widest), None if self._sort is None else self._sort[0]
        for column in self._columns:
            if needed and column.key == sorted_by:
                needed[column.key] = max(needed.get(column.key, 0), cell_len(column.title) + 1)
        return needed

    def _replace(self) -> None:
        self._placed = (-1, ())
        self._painted.clear()
        self._resize_virtual()
        self.refresh()
