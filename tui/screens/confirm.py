"""Questions that a key answers: yes or no, or one of a few choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

BOX = """
    align: center middle;
    & > Vertical {
        width: auto;
        max-width: 90%;
        min-width: 30;
        height: auto;
        max-height: 90%;
        padding: 0 1;
        border: round $warning;
        background: $surface;
        color: $foreground;
    }
    Static { width: auto; max-width: 100%; height: auto; }
    .-detail { color: $text-muted; }
    .-choices { margin-top: 1; }
"""


class Choose(ModalScreen[str | None]):
    """A question with a few answers, each with its key; the result is the key, None after escape.

    Args:
        question: one line.
        choices: key and what it means, in order: a letter, digit or "enter".
        detail: further lines under the question.
    """

    DEFAULT_CSS = f"Choose {{ {BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave it", id="choose.leave", tooltip="Close the question and change nothing"),
    ]

    def __init__(self, question: str, choices: Sequence[tuple[str, str]], *, detail: str = "") -> None:
        super().__init__()
        self._question = question
        self._choices = tuple(choices)
        self._detail = detail

    def compose(self) -> ComposeResult:
        """The question, its details and a line a choice."""
        with Vertical():
            yield Static(self._question, markup=False)
            if self._detail:
                yield Static(self._detail, classes="-detail", markup=False)
            width = max((len(key) for key, _ in self._choices), default=1)
            lines = [f"{key:>{width}}  {meaning}" for key, meaning in self._choices]
            yield Static("\n".join([*lines, f"{'esc':>{width}}  leave it"]), classes="-choices", markup=False)

    def on_key(self, event: events.Key) -> None:
        """Answer with the key that was pressed, where it is one of the choices."""
        pressed = event.character if event.character and event.character.isprintable() else event.key
        for key, _ in self._choices:
            if pressed == key or event.key == key:
                event.stop()
                self.dismiss(key)
                return

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


class Confirm(ModalScreen[bool]):
    """A question that `y` (or enter) affirms and `n` (or escape) denies.

    Args:
        question: one line.
        detail: further lines under the question, such as what will be lost.
        yes: what affirming does.
        no: what denying does.
    """

    DEFAULT_CSS = f"Confirm {{ {BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "yes", "Yes", id="confirm.yes", tooltip="Do it"),
        Binding("n,escape", "no", "No", id="confirm.no", tooltip="Change nothing"),
    ]

    def __init__(self, question: str, *, detail: str = "", yes: str = "yes", no: str = "no") -> None:
        super().__init__()
        self._question = question
        self._detail = detail
        self._yes, self._no = yes, no

    def compose(self) -> ComposeResult:
        """The question, its details and the two answers."""
        with Vertical():
            yield Static(self._question, markup=False)
            if self._detail:
                yield Static(self._detail, classes="-detail", markup=False)
            yield Static(f"y  {self._yes}\nn  {self._no}", classes="-choices", markup=False)

    def action_yes(self) -> None:
        """Affirm."""
        self.dismiss(True)

    def action_no(self) -> None:
        """Deny."""
        self.dismiss(False)
