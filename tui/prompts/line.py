"""The line of the prompts' pane on which something is typed."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

Typing: TypeAlias = Literal["search", "add", "limit", "file", "set"]


class PromptLine(Input):
    """Takes a search, a new prompt, or a number; the placeholder is shown while it is empty."""

    DEFAULT_CSS = """
    PromptLine { height: 1; padding: 0 1; }
    """

    def __init__(self, what: Typing, text: str, placeholder: str) -> None:
        super().__init__(text, placeholder=placeholder, compact=True, select_on_focus=False)
        self.what = what
        self.cursor_position = len(text)


class PathLine(PromptLine):
    """Takes the path of a file, which a key completes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete", id="prompts.complete", tooltip="Complete the path that is typed"),
    ]

    class CompletionWanted(Message):
        """The path is to be completed."""

    def action_complete(self) -> None:
        self.post_message(self.CompletionWanted())
