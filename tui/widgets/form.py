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

from tui.state.form_rows import FormRow
from tui.widgets.form_lines import FormLines

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
