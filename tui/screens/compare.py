"""Two sessions side by side: curves overlaid, numbers, and what differs between their experiments."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static


class CompareScreen(Screen[None]):
    """Compares two saved sessions.

    Args:
        one: the .json file of the first.
        other: the .json file of the second.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", id="compare.leave", tooltip="Back to the sessions"),
    ]

    def __init__(self, one: Path, other: Path) -> None:
        super().__init__()
        self.one, self.other = one, other

    def compose(self) -> ComposeResult:
        """The chart, the numbers, the differences."""
        yield Static(f"{self.one.stem} and {self.other.stem}", markup=False)

    def action_leave(self) -> None:
        """Go back."""
        self.dismiss()
