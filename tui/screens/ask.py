"""A question answered with a line of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.screens.confirm import BOX


class Ask(ModalScreen[str | None]):
    """A question with one line to type; the result is the line, None after escape.

    Args:
        question: one line.
        value: what the line holds at first.
        detail: further lines under the question.
        check: tells what is wrong with a line, empty where nothing is; the answer is taken only then.
    """

    DEFAULT_CSS = f"""
    Ask {{
        {BOX}
        & > Vertical {{ width: 64; }}
        Input {{ margin-top: 1; }}
        .-problem {{ color: $text-error; }}
    }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave it", id="ask.leave", tooltip="Close the question and change nothing"),
    ]

    def __init__(
        self, question: str, value: str = "", *, detail: str = "", check: Callable[[str], str] | None = None
    ) -> None:
        super().__init__()
        self._question, self._value, self._detail = question, value, detail
        self._check = check

    def compose(self) -> ComposeResult:
        """The question, the line, and below it what is wrong with it."""
        with Vertical():
            yield Static(self._question, markup=False)
            if self._detail:
                yield Static(self._detail, classes="-detail", markup=False)
            yield Input(self._value, compact=True, select_on_focus=False)
            yield Static("", classes="-problem", markup=False)
            yield Static("enter  take it\n  esc  leave it", classes="-choices", markup=False)

    def on_mount(self) -> None:
        """Begin in the line."""
        self.query_one(Input).focus()

    @on(Input.Changed)
    def show_problem(self, event: Input.Changed) -> None:
        """Say while it is typed what is wrong with the line."""
        self.query_one(".-problem", Static).update(self._problem(event.value))

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Answer with the line, unless something is wrong with it."""
        problem = self._problem(event.value)
        if problem:
            self.query_one(".-problem", Static).update(problem)
        else:
            self.dismiss(event.value)

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)

    def _problem(self, line: str) -> str:
        return self._check(line) if self._check is not None else ""
