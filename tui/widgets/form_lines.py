"""The lines of a form, moved over and edited by keys and clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message

from tui.state.form_rows import FormRow
from tui.widgets.form_paint import FormPaint

if TYPE_CHECKING:
    from tui.widgets.form import LineForm

_FAR = 100_000
"""More rows than any form has."""

_MOVING = ("j", "k", " ")

_SWITCH = 2
"""A row with so many choices is switched without listing them."""


class FormLines(FormPaint, can_focus=True):
    """Moves the highlight over rows that can be edited, by keys and clicks.

    Attributes:
        held: whether a text field is open over a row.
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
        self.held = False
        self._just_focused = False

    def set_rows(self, rows: Sequence[FormRow]) -> None:
        """Show other rows; the highlight stays on its key, else about where it was."""
        if self.cursor.rows == tuple(rows):
            return
        self.cursor.take(rows)
        self.draw()

    def set_problem(self, key: str, problem: str) -> None:
        """Show another problem at one row."""
        if self.cursor.set_problem(key, problem):
            self.draw()

    def select(self, key: str) -> None:
        """Highlight a row by its key, which is no news to who asks for it."""
        found = self.cursor.find(key)
        if found is not None:
            self._go(found, tell=False)

    def show_cursor_line(self) -> None:
        """Scroll the highlighted row into view, with what is said below it where there is room."""
        index = self.cursor.index
        if index >= 0:
            lines = self.lay()
            # The headings above the first row are seen when the highlight is on it.
            top = 0 if self.cursor.is_first() else lines.first[index]
            self.call_after_refresh(self._form().show_region, Region(0, top, 1, lines.last[index] - top + 1))

    def on_resize(self) -> None:
        """Keep the highlight in view."""
        self.show_cursor_line()

    def on_focus(self) -> None:
        """Show that keys act here; the click that brought the focus only selects."""
        self._just_focused = True
        self.looks.clear()
        self.refresh()

    def on_blur(self) -> None:
        """Show that keys act elsewhere, and close an open list."""
        self.looks.clear()
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
                self.draw()

    def on_click(self, event: events.Click) -> None:
        """Highlight the row under the mouse; edit it where it was highlighted before, or take a choice."""
        at = event.get_content_offset(self)
        part = self.lay().at(at.x, at.y) if at is not None else None
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
        if action == "cycle":
            return self.cursor.opened >= 0 or bool(row and row.choices)
        return True

    def action_move(self, step: int) -> None:
        """Move the highlight by rows, or in the open list by choices."""
        if self.cursor.opened >= 0:
            self.cursor.move_choice(step)
            self.draw()
            return
        found = self.cursor.ahead(step)
        if found is not None:
            self._go(found)

    def action_end(self, side: int) -> None:
        """Move the highlight to the first or the last row, or choice."""
        self.action_move(side * _FAR)

    def action_page(self, pages: int) -> None:
        """Move the highlight by about a page."""
        self.action_move(pages * max(1, self._form().size.height - 2))

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
            self.draw()
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
            self.draw()
        elif row is not None and row.pending:
            self.post_message(self.Dropped(row.key))

    def _form(self) -> LineForm:
        from tui.widgets.form import LineForm

        form = self.parent
        assert isinstance(form, LineForm)
        return form

    def _take(self, choice: int) -> None:
        row, self.cursor.opened = self.cursor.rows[self.cursor.opened], -1
        self.draw()
        self._picked(row, row.choices[choice][0])

    def _picked(self, row: FormRow, text: str) -> None:
        if text != row.text:
            self.post_message(self.Picked(row.key, text))

    def _go(self, index: int, *, tell: bool = True) -> None:
        self.cursor.opened = -1
        if index != self.cursor.index:
            self.cursor.index = index
            if tell:
                self.post_message(self.Moved(self.cursor.key))
        self.draw()
        self.show_cursor_line()
