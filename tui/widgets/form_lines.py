"""The rows of a form as lines of text, and the highlight that keys and clicks move over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.widgets.form_layout import FormCursor, FormRow, Layout, lay_out, signed
from srm_explorer.tui.widgets.table_render import component_style, one_line

LOOKS = ("label", "value", "quiet", "pending", "problem", "reason", "section", "choice", "chosen", "cursor")

_MOVING = ("j", "k", " ")

_SWITCH = 2
"""A row with so many choices is switched without listing them."""


class FormLines(Widget, can_focus=True):
    """Rows as lines, as many as they need, with a highlight that keys and clicks move over those that can be edited.

    Attributes:
        cursor: the rows, and which of them is highlighted.
        held: whether a text field is open over a row.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"form--{name}" for name in LOOKS}
    DEFAULT_CSS = """
    FormLines {
        layer: lines;
        width: 1fr;
        height: auto;
        & > .form--label { color: $text-muted; }
        & > .form--quiet { color: $text-muted; }
        & > .form--pending { color: $text-warning; }
        & > .form--problem { color: $text-error; text-style: bold; }
        & > .form--reason { color: $text-error; }
        & > .form--section { color: $text-muted; }
        & > .form--chosen { text-style: bold; }
        & > .form--cursor { background: $boost; }
        &:focus > .form--cursor { background: $primary-muted; text-style: bold; }
        &:ansi {
            & > .form--label, & > .form--quiet, & > .form--section { color: ansi_default; }
            & > .form--pending { color: ansi_default; text-style: bold; }
            & > .form--problem, & > .form--reason { color: ansi_red; }
            & > .form--cursor { background: ansi_default; text-style: underline; }
            &:focus > .form--cursor { background: ansi_default; text-style: reverse; }
        }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Row above", id="form.up", show=False, tooltip="Highlight the row above"),
        Binding("down,j", "move(1)", "Row below", id="form.down", show=False, tooltip="Highlight the row below"),
        Binding(
            "left", "beside(-1)", "Row to the left", id="form.left", show=False, tooltip="Go to the field on the left"
        ),
        Binding(
            "right",
            "beside(1)",
            "Row to the right",
            id="form.right",
            show=False,
            tooltip="Go to the field on the right",
        ),
        Binding("home", "end(-1)", "First row", id="form.first", show=False, tooltip="Highlight the first row"),
        Binding("end", "end(1)", "Last row", id="form.last", show=False, tooltip="Highlight the last row"),
        Binding("pageup", "page(-1)", "Page up", id="form.page_up", show=False, tooltip="Go up by a page"),
        Binding("pagedown", "page(1)", "Page down", id="form.page_down", show=False, tooltip="Go down by a page"),
        Binding("enter", "edit", "Edit", id="form.edit", tooltip="Edit the row, or list what can be chosen"),
        Binding("space", "cycle", "Next choice", id="form.cycle", show=False, tooltip="Take the next choice"),
        Binding(
            "escape",
            "shut",
            "Close, forget",
            id="form.shut",
            show=False,
            tooltip="Close the list, or forget a refused text",
        ),
    ]

    @dataclass
    class Moved(Message):
        """The highlight was moved to another row."""

        key: str

    @dataclass
    class EditWanted(Message):
        """The value of a row is to be typed."""

        row: FormRow

    @dataclass
    class Picked(Message):
        """A choice was made."""

        key: str
        text: str

    @dataclass
    class Dropped(Message):
        """A text that is not in use is to be forgotten."""

        key: str

    class CommitWanted(Message):
        """A click fell beside the text field."""

    def __init__(self) -> None:
        super().__init__()
        self.cursor = FormCursor()
        self.held = False
        self._layout: tuple[int, Layout] | None = None
        self._looks: dict[str, Style] = {}
        self._just_focused = False
        self._x = 0
        """The cell at which the highlight was last put, which up and down keep to."""

    @property
    def width(self) -> int:
        return self.scrollable_content_region.width

    def value_offset(self, key: str) -> tuple[int, int] | None:
        """The cell where the value of a row begins."""
        index = self.cursor.find(key)
        return None if index is None else (self._lay().value_x[index], self._lay().first[index])

    def cut_value(self) -> str:
        """The highlighted row's value as it is written out; empty where its line has room for that."""
        index, signs = self.cursor.index, glyphs_of(self.app)
        if index < 0 or not self.width or not (values := self.cursor.rows[index].values):
            return ""
        layout = self._lay()
        x, whole = layout.value_x[index], signed(one_line(values[0]), signs)
        shown = next((part.text.rstrip() for part in layout.lines[layout.first[index]] if part.x == x), whole)
        return "" if shown == whole.rstrip() or self.cursor.opened == index else whole

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(1, len(self._lay(width).lines))

    def render_line(self, y: int) -> Strip:
        lines = self._lay().lines
        segments: list[Segment] = []
        x = 0
        for part in lines[y] if y < len(lines) else ():
            if part.x > x:
                segments.append(Segment(" " * (part.x - x), self._look("")))
            segments.append(Segment(part.text, self._look(part.look)))
            x = part.x + Segment(part.text).cell_length
        return Strip(segments).adjust_cell_length(self.size.width, self._look("")).simplify()

    def notify_style_update(self) -> None:
        self._looks.clear()
        super().notify_style_update()

    def set_rows(self, rows: Sequence[FormRow]) -> None:
        if self.cursor.rows == tuple(rows):
            return
        self.cursor.take(rows)
        self._draw()

    def set_problem(self, key: str, problem: str) -> None:
        if self.cursor.set_problem(key, problem):
            self._draw()

    def select(self, key: str) -> None:
        """Highlight a row by its key, which is no news to who asks for it."""
        index = self.cursor.find(key)
        if index is not None:
            self._go(index, tell=False)

    def show_cursor_line(self) -> None:
        """Scroll the highlighted row into view, with what is said below it where there is room."""
        index = self.cursor.index
        if index >= 0:
            lines = self._lay()
            # The headings above the first row are seen when the highlight is on it.
            top = 0 if self.cursor.is_first() else lines.first[index]
            region = Region(0, top, 1, lines.last[index] - top + 1)
            self.call_after_refresh(self._scroller().scroll_to_region, region, animate=False, force=True)

    def on_resize(self) -> None:
        self.show_cursor_line()

    def on_focus(self) -> None:
        self._just_focused = True
        self._looks.clear()
        self.refresh()

    def on_blur(self) -> None:
        """Show that keys act elsewhere, and close an open list."""
        self._looks.clear()
        if self.cursor.opened >= 0:
            self.action_shut()
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        """A key is no part of the click that brought the focus; in an open list, a letter goes to a choice."""
        self._just_focused = False
        if self.cursor.opened >= 0 and event.is_printable and event.character not in _MOVING:
            # No other key acts either: whoever opens a list may think that it takes a text.
            event.stop()
            if self.cursor.go_to_choice(event.character or ""):
                self._draw()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        part = self._lay().at(offset.x, offset.y) if offset is not None else None
        fresh, self._just_focused = self._just_focused and not self.held, False
        if part is None or not self.cursor.rows[part.row].reachable:
            return
        event.stop()
        if self.held:
            self.post_message(self.CommitWanted())
        if part.choice >= 0:
            self.cursor.opened = part.row
            self._take(part.choice)
        elif part.row == self.cursor.index and not fresh and not self.held:
            self.action_edit()
        else:
            self._go(part.row)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave escape and space to others where they mean nothing here."""
        row = self.cursor.row
        if action == "shut":
            return self.cursor.opened >= 0 or bool(row and row.pending)
        if action == "beside":
            side = int(str(parameters[0]))
            return self.cursor.opened >= 0 or self.cursor.beside(self._lay(), side) is not None
        if action == "cycle":
            return self.cursor.opened >= 0 or bool(row and row.choices)
        return True

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something: some rows only tell."""
        row = self.cursor.row
        return action != "edit" or self.cursor.opened >= 0 or bool(row and (row.typed or row.choices))

    def action_move(self, step: int) -> None:
        if self.cursor.opened >= 0:
            self.cursor.move_choice(step)
            self._draw()
            return
        self._go_lines(step)

    def action_beside(self, side: int) -> None:
        index = None if self.cursor.opened >= 0 else self.cursor.beside(self._lay(), side)
        if index is not None:
            self._go(index)

    def action_end(self, side: int) -> None:
        if self.cursor.opened >= 0:
            self.cursor.move_choice(side * len(self.cursor.rows[self.cursor.opened].choices))
            self._draw()
        elif (index := self.cursor.end(side)) is not None:
            self._go(index)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self._scroller().size.height - 2))

    def action_edit(self) -> None:
        """Take the choice in the open list; else list the row's choices, or have its value typed."""
        row = self.cursor.row
        if row is None:
            return
        if self.cursor.opened >= 0:
            self._take(self.cursor.choice)
        elif row.typed:
            self.post_message(self.EditWanted(row))
        elif len(row.choices) == _SWITCH:
            self._picked(row, row.after(1))
        elif row.choices:
            self.cursor.open()
            self._draw()
            self.show_cursor_line()

    def action_cycle(self) -> None:
        """Take the choice after the present one; in an open list, the highlighted one."""
        row = self.cursor.row
        if self.cursor.opened >= 0:
            self._take(self.cursor.choice)
        elif row is not None and row.choices:
            self._picked(row, row.after(1))

    def action_shut(self) -> None:
        """Close the list and change nothing; without one, forget a text that is not in use."""
        row = self.cursor.row
        if self.cursor.opened >= 0:
            self.cursor.opened = -1
            self._draw()
        elif row is not None and row.pending:
            self.post_message(self.Dropped(row.key))

    def _scroller(self) -> Widget:
        assert isinstance(self.parent, Widget)
        return self.parent

    def _take(self, choice: int) -> None:
        row, self.cursor.opened = self.cursor.rows[self.cursor.opened], -1
        self._draw()
        self._picked(row, row.choices[choice][0])

    def _picked(self, row: FormRow, text: str) -> None:
        if text != row.text:
            self.post_message(self.Picked(row.key, text))

    def _go_lines(self, lines: int) -> None:
        x = self._x
        index = self.cursor.beyond(self._lay(), lines, x)
        if index is not None:
            self._go(index)
            self._x = x

    def _go(self, index: int, *, tell: bool = True) -> None:
        self.cursor.opened = -1
        self._x = self._lay().x[index]
        if index != self.cursor.index:
            self.cursor.index = index
            if tell:
                self.post_message(self.Moved(self.cursor.key))
        self._draw()
        self.show_cursor_line()

    def _draw(self) -> None:
        before = self._layout
        self._layout = None
        lines = [] if before is None else self._lay(before[0]).lines
        if before is None or len(before[1].lines) != len(lines):
            self.refresh(layout=True)
            return
        changed = [y for y, (old, new) in enumerate(zip(before[1].lines, lines, strict=True)) if old != new]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def _lay(self, width: int | None = None) -> Layout:
        """The lines for a width, the present one if none is given; kept until something changes."""
        cells = self.width if width is None else width
        if self._layout is None or self._layout[0] != cells:
            state, signs = self.cursor, glyphs_of(self.app)
            layout = lay_out(state.rows, cells, signs, cursor=state.index, opened=state.opened, choice=state.choice)
            self._layout = (cells, layout)
        return self._layout[1]

    def _look(self, name: str) -> Style:
        # Several looks are several words, each on top of the one before.
        if name not in self._looks:
            style = self.visual_style.rich_style
            for part in name.split():
                style += component_style(self, f"form--{part}")
            self._looks[name] = style
        return self._looks[name]
