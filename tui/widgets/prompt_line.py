"""The line at the bottom of the prompts pane in which texts are typed."""

from __future__ import annotations

from typing import Literal, TypeAlias

from textual.widgets import Input

Typing: TypeAlias = Literal["search", "add", "limit"]


class PromptLine(Input):
    """Takes a search, a new prompt, or a number.

    Args:
        what: which of them.
        text: to begin with.
        placeholder: shown while it is empty.
    """

    DEFAULT_CSS = """
    PromptLine { height: 1; padding: 0 1; }
    """

    def __init__(self, what: Typing, text: str, placeholder: str) -> None:
        super().__init__(text, placeholder=placeholder, compact=True, select_on_focus=False)
        self.what = what
        self.cursor_position = len(text)
