"""A form drawn line by line: one text field is mounted over the row that is edited, every other key stays free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.geometry import Region
from textual.message import Message
from textual.widgets import Input

from srm_explorer.tui.widgets.form_layout import FormRow
from srm_explorer.tui.widgets.form_render import FormPaint

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


__all__ = ["FormRow", "LineForm"]


class RowInput(Input):
    """The text field over a row."""

    DEFAULT_CSS = """
    RowInput {
        position: absolute;
        layer: editing;
        height: 1;
        min-width: 4;
        padding: 0;
        border: none;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave(0)", "Leave it", id="form.leave", tooltip="Leave the row as it was before"),
        Binding("up", "leave(-1)", "Take it, row above", id="form.take_up", show=False),
        Binding("down", "leave(1)", "Take it, row below", id="form.take_down", show=False),
    ]

    @dataclass
    class Left(Message):
        """The field was left: upwards or downwards and taken, or (0) given up."""

        step: int

    def action_leave(self, step: int) -> None:
        """Leave the field."""
        self.post_message(self.Left(step))


class LineForm(ScrollableContainer, can_focus=False, inherit_bindings=False):
    """Rows of labels and values, one of them highlighted; enter edits it.

    The rows stay the owner's: it is told what was typed and chosen, and answers with `set_rows`.
    """

    DEFAULT_CSS = """
    LineForm {
        layers: lines editing;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        scrollbar-size: 1 1;
    }
    """

    @dataclass
    class Typed(Message):
        """The text in the field was changed by a key; it is not taken yet."""

        form: LineForm
        key: str
        text: str

    @dataclass
    class Committed(Message):
        """A text was taken, or a choice made."""

        form: LineForm
        key: str
        text: str

    @dataclass
    class GivenUp(Message):
        """The field was left with escape: the row is to be what it was before."""

        form: LineForm
        key: str

    @dataclass
    class Dropped(Message):
        """A text that was typed and is not in use is to be forgotten."""

        form: LineForm
        key: str

    @dataclass
    class Highlighted(Message):
        """The highlight was moved by a key or the mouse."""

        form: LineForm
        key: str

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.lines = FormLines()
        self._input: RowInput | None = None
        self._editing = ""

    @property
    def rows(self) -> Sequence[FormRow]:
        """The rows as they are shown."""
        return self.lines.cursor.rows

    @property
    def key(self) -> str:
        """The key of the highlighted row; empty where there is none."""
        return self.lines.cursor.key

    @property
    def editing(self) -> str:
        """The key of the row that is being edited; empty where none is."""
        return self._editing

    def compose(self) -> ComposeResult:
        """The lines; the text field comes and goes."""
        yield self.lines

    def set_rows(self, rows: Sequence[FormRow]) -> None:
        """Show other rows; the highlight stays on its key, and a row that is edited keeps what is typed."""
        self.lines.set_rows(rows)
        if self._editing and not any(row.key == self._editing for row in rows):
            self._close()
        self._place()

    def set_problem(self, key: str, problem: str) -> None:
        """Say what is wrong with the text in the field, while it is typed."""
        self.lines.set_problem(key, problem)
        self._place()

    def select(self, key: str) -> None:
        """Highlight a row by its key; nothing happens where there is none."""
        self.lines.select(key)

    def edit(self) -> None:
        """Open the highlighted row: its choices, or a text field over its value."""
        self.commit()
        self.lines.action_edit()

    def commit(self) -> None:
        """Take what is in the text field, if one is open."""
        taken = self.take_open()
        if taken is not None:
            self.post_message(self.Committed(self, *taken))

    def take_open(self) -> tuple[str, str] | None:
        """Close the text field and return its row's key and its text, which nobody else is told; None: none is open."""
        if self._input is None:
            return None
        taken = self._editing, self._input.value
        self._close()
        return taken

    @on(FormLines.EditWanted)
    def open_field(self, event: FormLines.EditWanted) -> None:
        """Mount the text field over the value of a row."""
        event.stop()
        self.commit()
        self._editing = event.row.key
        self._input = RowInput(event.row.text, compact=True)
        self._place()
        self.mount(self._input)
        self._input.focus(scroll_visible=False)
        self.lines.show_cursor_line()

    @on(FormLines.CommitWanted)
    def take_before_click(self, event: FormLines.CommitWanted) -> None:
        """A click on another row takes what is in the field."""
        event.stop()
        self.commit()

    @on(FormLines.Picked)
    def tell_choice(self, event: FormLines.Picked) -> None:
        """A choice was made."""
        event.stop()
        self.post_message(self.Committed(self, event.key, event.text))

    @on(FormLines.Dropped)
    def tell_dropped(self, event: FormLines.Dropped) -> None:
        """A text is to be forgotten."""
        event.stop()
        self.post_message(self.Dropped(self, event.key))

    @on(FormLines.Moved)
    def tell_highlight(self, event: FormLines.Moved) -> None:
        """Another row is highlighted."""
        event.stop()
        self.post_message(self.Highlighted(self, event.key))

    @on(Input.Changed)
    def tell_text(self, event: Input.Changed) -> None:
        """Something was typed."""
        event.stop()
        row = next((row for row in self.rows if row.key == self._editing), None)
        if event.input is self._input and row is not None:
            self.post_message(self.Typed(self, self._editing, event.value))

    @on(Input.Submitted)
    def take_text(self, event: Input.Submitted) -> None:
        """Enter takes the text."""
        event.stop()
        if event.input is self._input:
            self.commit()

    @on(Input.Blurred)
    def take_on_leaving(self, event: Input.Blurred) -> None:
        """The focus went elsewhere in the app: the text is taken; another window of the terminal changes nothing."""
        event.stop()
        if event.input is self._input and self.app.app_focus:
            self.commit()

    @on(RowInput.Left)
    def leave_field(self, event: RowInput.Left) -> None:
        """Escape gives the text up, up and down take it and go on."""
        event.stop()
        if self._input is None:
            return
        if event.step:
            self.commit()
            self.lines.action_move(event.step)
        else:
            key = self._editing
            self._close()
            self.post_message(self.GivenUp(self, key))

    def on_resize(self, event: events.Resize) -> None:
        """Keep the field over its row."""
        self.call_after_refresh(self._place)

    def show_region(self, region: Region) -> None:
        """Scroll so that lines are in view, the first of them above all."""
        self.scroll_to_region(region, animate=False, force=True)

    def _close(self) -> None:
        field, self._input, self._editing = self._input, None, ""
        self.lines.held = False
        if field is None:
            return
        if field.has_focus:
            self.screen.set_focus(self.lines, scroll_visible=False)
        field.remove()

    def _place(self) -> None:
        if self._input is None:
            return
        place = self.lines.place_of(self._editing)
        if place is not None:
            x, y = place
            self._input.styles.offset = (x, y)
            self._input.styles.width = max(4, self.lines.width - x)
            self.lines.held = True
