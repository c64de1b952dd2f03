"""A form drawn line by line: one text field is mounted over the row that is edited, every other key stays free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.segment import Segment
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.text import wrapped
from srm_explorer.tui.widgets.form_layout import FormRow
from srm_explorer.tui.widgets.form_lines import FormLines
from srm_explorer.tui.widgets.table_render import component_style, fit, one_line


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

        key: str
        text: str

    @dataclass
    class Committed(Message):
        """A text was taken, or a choice made."""

        key: str
        text: str

    @dataclass
    class GivenUp(Message):
        """The field was left with escape: the row is to be what it was before."""

        key: str

    @dataclass
    class Dropped(Message):
        """A text that was typed and is not in use is to be forgotten."""

        key: str

    @dataclass
    class Highlighted(Message):
        """The highlight was moved by a key or the mouse."""

        key: str

    def __init__(self) -> None:
        super().__init__()
        self.lines = FormLines()
        self._input: RowInput | None = None
        self._editing = ""

    @property
    def rows(self) -> Sequence[FormRow]:
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
        yield self.lines

    def set_rows(self, rows: Sequence[FormRow]) -> None:
        """Show other rows; the highlight stays on its key, and a row that is edited keeps what is typed."""
        self.lines.set_rows(rows)
        if self._editing and not any(row.key == self._editing for row in rows):
            self._close()
        self._place_input()

    def set_problem(self, key: str, problem: str) -> None:
        self.lines.set_problem(key, problem)
        self._place_input()

    def select(self, key: str) -> None:
        """Highlight a row by its key; nothing happens where there is none."""
        self.lines.select(key)

    def edit(self) -> None:
        self.commit()
        self.lines.action_edit()

    def commit(self) -> None:
        taken = self.take_open()
        if taken is not None:
            self.post_message(self.Committed(*taken))

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
        self._open(event.row.key, event.row.text)

    def type(self, key: str, text: str) -> None:
        """Have a text in the field of a row, in place of what is there; it is not taken yet."""
        if self._input is not None and self._editing == key:
            self._input.value = text
            self._input.cursor_position = len(text)
        elif any(row.key == key and row.typed for row in self.rows):
            self.select(key)
            self._open(key, text)
            self.post_message(self.Typed(key, text))

    def _open(self, key: str, text: str) -> None:
        self.commit()
        self._editing = key
        self._input = RowInput(text, compact=True)
        self._place_input()
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
        event.stop()
        self.post_message(self.Committed(event.key, event.text))

    @on(FormLines.Dropped)
    def tell_dropped(self, event: FormLines.Dropped) -> None:
        event.stop()
        self.post_message(self.Dropped(event.key))

    @on(FormLines.Moved)
    def tell_highlight(self, event: FormLines.Moved) -> None:
        event.stop()
        self.post_message(self.Highlighted(event.key))

    @on(Input.Changed)
    def tell_text(self, event: Input.Changed) -> None:
        event.stop()
        row = next((row for row in self.rows if row.key == self._editing), None)
        if event.input is self._input and row is not None:
            self.post_message(self.Typed(self._editing, event.value))

    @on(Input.Submitted)
    def take_text(self, event: Input.Submitted) -> None:
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
            self.post_message(self.GivenUp(key))

    def on_resize(self, event: events.Resize) -> None:
        self.lines.show_cursor_line()
        self.call_after_refresh(self._place_input)

    def _close(self) -> None:
        field, self._input, self._editing = self._input, None, ""
        self.lines.held = False
        if field is None:
            return
        if field.has_focus:
            self.screen.set_focus(self.lines, scroll_visible=False)
        field.remove()

    def _place_input(self) -> None:
        if self._input is None:
            return
        offset = self.lines.value_offset(self._editing)
        if offset is not None:
            self._input.styles.offset = offset
            self._input.styles.width = max(4, self.lines.width - offset[0])
            self.lines.held = True


Tone = Literal["plain", "note", "problem"]

_WIDE_FROM = 52
_TALL_FROM = 16
_MOST_OF_ROOM = 2
"""The part of the room that a hint takes at most: one in so many lines."""


class FormFoot(Widget):
    """A hint and facts in a rule; a hint takes as many lines as it is long, as far as the form keeps most of the room.

    The form above keeps its first line where it is.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"foot--plain", "foot--note", "foot--problem", "foot--facts"}
    DEFAULT_CSS = """
    FormFoot {
        height: auto;
        & > .foot--plain { color: $text-muted; }
        & > .foot--note { color: $text-accent; }
        & > .foot--problem { color: $text-error; }
        & > .foot--facts { color: $text; }
        &:ansi {
            & > .foot--plain, & > .foot--note, & > .foot--facts { color: ansi_default; }
            & > .foot--problem { color: ansi_red; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._hint, self._tone = "", "plain"
        self._room = self._hint_height = 0
        self._facts: tuple[str, ...] = ()

    def set_hint(self, text: str, tone: Tone = "plain") -> None:
        if (text, tone) != (self._hint, self._tone):
            self._hint, self._tone = text, tone
            self.refresh(layout=self._hint_lines(self._room, self.size.width) != self._hint_height)

    def set_facts(self, facts: Sequence[str]) -> None:
        if tuple(facts) != self._facts:
            self._facts = tuple(facts)
            self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        self._room, self._hint_height = container.height, self._hint_lines(container.height, width)
        return self._hint_height + self._fact_lines(width)

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        facts = self._fact_lines(width)
        hints = max(0, height - facts)
        if y < hints:
            return self._strip(self._hints(width, hints)[y], self._tone)
        return self._strip(self._fact_rows(width, facts)[y - hints], "facts")

    def _hint_lines(self, height: int, width: int) -> int:
        least = 2 if height >= _TALL_FROM else 1
        needed = len(wrapped(one_line(self._hint), max(1, width - 2)))
        return max(least, min(needed, height // _MOST_OF_ROOM))

    def _fact_lines(self, width: int) -> int:
        return 2 if width < _WIDE_FROM else 1

    def _hints(self, width: int, count: int) -> list[str]:
        glyphs = glyphs_of(self.app)
        lines = wrapped(one_line(self._hint), max(1, width - 2))
        if len(lines) > count:
            lines = [
                *lines[: count - 1],
                fit(" ".join(lines[count - 1 :]), max(1, width - 2), ellipsis=glyphs.ellipsis),
            ]
        return [f" {line}" for line in lines] + [""] * (count - len(lines))

    def _fact_rows(self, width: int, count: int) -> list[str]:
        glyphs = glyphs_of(self.app)
        lines: list[str] = []
        for fact in self._facts:
            joined = f"{lines[-1]} {glyphs.separator} {fact}" if lines else fact
            if lines and (cell_len(joined) <= width - 4 or len(lines) == count):
                lines[-1] = joined
            else:
                lines.append(fact)
        first, *rest = lines or [""]
        head = f"{glyphs.rule} {first} " if first else ""
        ruled = head + glyphs.rule * max(0, width - cell_len(head))
        return [ruled, *(f"  {line}" for line in rest), *[""] * (count - 1 - len(rest))]

    def _strip(self, text: str, look: str) -> Strip:
        width = self.size.width
        style = self.visual_style.rich_style + component_style(self, f"foot--{look}")
        return Strip([Segment(fit(text, width, ellipsis=glyphs_of(self.app).ellipsis), style)], width)
