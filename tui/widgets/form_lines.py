"""The lines of a form: what is drawn, and the keys and clicks that move over them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.state.form_rows import FormRow
from tui.state.glyphs import glyphs_of
from tui.widgets.form_layout import Layout, Part, lay_out

if TYPE_CHECKING:
    from tui.widgets.form import LineForm

LOOKS = ("label", "value", "quiet", "pending", "problem", "reason", "section", "choice", "chosen", "cursor")


class FormLines(Widget, can_focus=True):
    """Draws rows and moves the highlight over those that can be edited."""

    ALLOW_SELECT = False
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
            & > .form--pending { color: ansi_yellow; }
            & > .form--problem, & > .form--reason { color: ansi_red; }
            & > .form--cursor { background: ansi_default; text-style: underline; }
            &:focus > .form--cursor { background: ansi_default; text-style: reverse; }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Row above", id="form.up", show=False, tooltip="Highlight the row above"),
        Binding("down,j", "move(1)", "Row below", id="form.down", show=False, tooltip="Highlight the row below"),
        Binding("home", "end(-1)", "First row", id="form.first", show=False, tooltip="Highlight the first row"),
        Binding("end", "end(1)", "Last row", id="form.last", show=False, tooltip="Highlight the last row"),
        Binding("pageup", "page(-1)", "Page up", id="form.page_up", show=False, tooltip="Go up by a page"),
        Binding("pagedown", "page(1)", "Page down", id="form.page_down", show=False, tooltip="Go down by a page"),
        Binding("enter", "edit", "Edit", id="form.edit", tooltip="Edit the row, or list what can be chosen"),
        Binding("space", "cycle", "Next choice", id="form.cycle", show=False, tooltip="Take the next choice"),
        Binding("escape", "shut", "Close the list", id="form.shut", show=False, tooltip="Close the list of choices"),
    ]

    @dataclass
    class Moved(Message):
        """Another row is highlighted."""

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

    class CommitWanted(Message):
        """A click fell beside the text field."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[FormRow, ...] = ()
        self.held = False
        self._cursor = -1
        self._opened = -1
        self._choice = 0
        self._just_focused = False
        self._layout: tuple[int, Layout] | None = None
        self._looks: dict[str, Style] = {}

    @property
    def key(self) -> str:
        """The key of the highlighted row; empty where there is none."""
        row = self._row()
        return row.key if row else ""

    @property
    def width(self) -> int:
        """Cells of a line."""
        return self.scrollable_content_region.width

    def set_rows(self, rows: Sequence[FormRow]) -> None:
        """Show other rows; the highlight stays on its key, else about where it was."""
        if self.rows == tuple(rows):
            return
        old = self.rows
        key, open_key = self.key, old[self._opened].key if 0 <= self._opened < len(old) else ""
        self.rows = tuple(rows)
        self._opened = next((i for i, row in enumerate(rows) if row.key == open_key and row.choices), -1)
        found = next((i for i, row in enumerate(rows) if row.key == key and row.reachable), -1)
        if found < 0:
            found = self._nearest(max(0, self._cursor))
        self._cursor = found
        self._draw()
        if self.key != key:
            self.post_message(self.Moved(self.key))

    def set_problem(self, key: str, problem: str) -> None:
        """Show another problem at one row."""
        rows = [dataclasses.replace(row, problem=problem) if row.key == key else row for row in self.rows]
        if tuple(rows) != self.rows:
            self.rows = tuple(rows)
            self._draw()

    def select(self, key: str) -> None:
        """Highlight a row by its key."""
        found = next((i for i, row in enumerate(self.rows) if row.key == key and row.reachable), None)
        if found is not None:
            self._go(found)

    def place_of(self, key: str) -> tuple[int, int] | None:
        """The cell where the value of a row begins."""
        index = next((i for i, row in enumerate(self.rows) if row.key == key), None)
        if index is None:
            return None
        return self._lay().value_x[index], self._lay().first[index]

    def show_cursor_line(self) -> None:
        """Scroll the highlighted row into view, with what is said below it where there is room."""
        if self._cursor >= 0:
            lines = self._lay()
            first, last = lines.first[self._cursor], lines.last[self._cursor]
            # The headings above the first row are seen when the highlight is on it.
            top = 0 if not any(row.reachable for row in self.rows[: self._cursor]) else first
            self.call_after_refresh(self._form().show_region, Region(0, top, 1, last - top + 1))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Number of lines."""
        return max(1, len(self._lay(width).lines))

    def render_line(self, y: int) -> Strip:
        """Paint one line."""
        lines = self._lay().lines
        segments: list[Segment] = []
        x = 0
        for part in lines[y] if y < len(lines) else ():
            if part.x > x:
                segments.append(Segment(" " * (part.x - x), self._look("")))
            segments.append(Segment(part.text, self._look(part.look)))
            x = part.x + Segment(part.text).cell_length
        return Strip(segments).adjust_cell_length(self.size.width, self._look(""))

    def notify_style_update(self) -> None:
        """Forget looks that a theme or the focus has changed."""
        self._looks.clear()
        super().notify_style_update()

    def on_resize(self) -> None:
        """Keep the highlight in view."""
        self.show_cursor_line()

    def on_focus(self) -> None:
        """Show that keys act here; the click that brought the focus only selects."""
        self._just_focused = True
        self._looks.clear()
        self.refresh()

    def on_blur(self) -> None:
        """Show that keys act elsewhere, and close an open list."""
        self._looks.clear()
        if self._opened >= 0:
            self.action_shut()
        self.refresh()

    def on_key(self) -> None:
        """A key is no part of the click that brought the focus."""
        self._just_focused = False

    def on_click(self, event: events.Click) -> None:
        """Highlight the row under the mouse; edit it where it was highlighted before, or take a choice."""
        at = event.get_content_offset(self)
        part = self._lay().at(at.x, at.y) if at is not None else None
        fresh, self._just_focused = self._just_focused and not self.held, False
        if part is None or not self.rows[part.row].reachable:
            return
        event.stop()
        if self.held:
            self.post_message(self.CommitWanted())
        if part.choice >= 0:
            self._pick(part)
        elif part.row == self._cursor and not fresh and not self.held:
            self.action_edit()
        else:
            self._go(part.row)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave escape to others where no list is open, and space where nothing can be chosen."""
        if action == "shut":
            return self._opened >= 0
        if action == "cycle":
            row = self._row()
            return self._opened >= 0 or bool(row and row.choices)
        return True

    def action_move(self, step: int) -> None:
        """Move the highlight by rows, or in the open list by choices."""
        if self._opened >= 0:
            count = len(self.rows[self._opened].choices)
            self._choice = max(0, min(self._choice + step, count - 1))
            self._draw()
            return
        reach = [i for i, row in enumerate(self.rows) if row.reachable]
        ahead = [i for i in reach if (i > self._cursor if step > 0 else i < self._cursor)]
        if ahead:
            ordered = ahead if step > 0 else ahead[::-1]
            self._go(ordered[min(abs(step), len(ordered)) - 1])

    def action_end(self, side: int) -> None:
        """Move the highlight to the first or the last row, or choice."""
        self.action_move(side * (len(self.rows) + 10_000))

    def action_page(self, pages: int) -> None:
        """Move the highlight by about a page."""
        self.action_move(pages * max(1, self._form().size.height - 2))

    def action_edit(self) -> None:
        """Take the choice in the open list; else list the row's choices, or have its value typed."""
        row = self._row()
        if row is None:
            return
        if self._opened >= 0:
            self._take(self._choice)
        elif row.choices and not row.typed:
            if len(row.choices) <= 2:
                self._picked(row, row.after(1))
                return
            self._opened = self._cursor
            self._choice = next((i for i, (text, _) in enumerate(row.choices) if text == row.text), 0)
            self._draw()
            self.show_cursor_line()
        elif row.typed:
            self.post_message(self.EditWanted(row))

    def action_cycle(self) -> None:
        """Take the choice after the present one; in an open list, the highlighted one."""
        row = self._row()
        if self._opened >= 0:
            self._take(self._choice)
        elif row is not None and row.choices:
            self._picked(row, row.after(1))

    def action_shut(self) -> None:
        """Close the list and change nothing."""
        self._opened = -1
        self._draw()

    def _form(self) -> LineForm:
        from tui.widgets.form import LineForm

        form = self.parent
        assert isinstance(form, LineForm)
        return form

    def _row(self) -> FormRow | None:
        return self.rows[self._cursor] if 0 <= self._cursor < len(self.rows) else None

    def _nearest(self, index: int) -> int:
        reach = [i for i, row in enumerate(self.rows) if row.reachable]
        return min(reach, key=lambda i: abs(i - index), default=-1)

    def _pick(self, part: Part) -> None:
        self._opened = part.row
        self._take(part.choice)

    def _take(self, choice: int) -> None:
        row, self._opened = self.rows[self._opened], -1
        self._draw()
        self._picked(row, row.choices[choice][0])

    def _picked(self, row: FormRow, text: str) -> None:
        if text != row.text:
            self.post_message(self.Picked(row.key, text))

    def _go(self, index: int) -> None:
        self._opened = -1
        if index != self._cursor:
            self._cursor = index
            self.post_message(self.Moved(self.key))
        self._draw()
        self.show_cursor_line()

    def _draw(self) -> None:
        before = self._layout
        self._layout = None
        # Where the number of lines is the same, only this widget is painted again and nothing around it is placed anew.
        self.refresh(layout=before is None or len(before[1].lines) != len(self._lay(before[0]).lines))

    def _lay(self, width: int | None = None) -> Layout:
        cells = self.width if width is None else width
        if self._layout is None or self._layout[0] != cells:
            told = lay_out(
                self.rows, cells, glyphs_of(self.app), cursor=self._cursor, opened=self._opened, choice=self._choice
            )
            self._layout = (cells, told)
        return self._layout[1]

    def _look(self, name: str) -> Style:
        if name not in self._looks:
            style = self.visual_style.rich_style
            for one in name.split():
                style += self.get_component_rich_style(f"form--{one}", partial=True)
            self._looks[name] = style
        return self._looks[name]
