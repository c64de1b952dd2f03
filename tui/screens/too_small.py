"""What stands where nothing else fits."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

COLUMNS, ROWS = 60, 16
"""The smallest terminal that shows more than a message."""


class TooSmall(Screen[None]):
    """A plain message until the terminal is larger."""

    DEFAULT_CSS = """
    TooSmall { align: center middle; }
    TooSmall Static { width: auto; max-width: 100%; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.leave", "Quit", id="small.quit", tooltip="Quit; a run goes on"),
    ]

    def compose(self) -> ComposeResult:
        """The message."""
        yield Static(f"make this terminal at least {COLUMNS} x {ROWS}\nq quits", markup=False)
