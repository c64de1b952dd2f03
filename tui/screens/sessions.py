"""The list of sessions: search, open, compare, rename, resume, throw away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

Action = Literal["open", "duplicate", "resume", "follow"]


@dataclass(frozen=True)
class Chosen:
    """What the explorer is asked to do with a session.

    Attributes:
        action: "open" a saved one, take its spec as a new draft ("duplicate"), go on with an interrupted one ("resume"),
            or attach to one that is not saved yet ("follow").
        path: its .json file, which need not exist for "follow" and "resume".
    """

    action: Action
    path: Path


class SessionsScreen(Screen[Chosen | None]):
    """All sessions; the result is what was chosen, None after escape."""

    Chosen = Chosen

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", id="sessions.leave", tooltip="Back to the explorer"),
    ]

    def compose(self) -> ComposeResult:
        """The list and a preview."""
        yield Static("Sessions")

    def action_leave(self) -> None:
        """Go back with nothing chosen."""
        self.dismiss(None)
