"""The results pane: tabs over one session, a spotlight that turns through all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from textual.message import Message
from textual.widget import Widget

if TYPE_CHECKING:
    from engine.session import Session
    from tui.state.results import ResultsState

ExportKind = Literal["svg", "text", "ansi", "csv"]


class ResultsPane(Widget):
    """Shows a session in tabs: Polar, Thresholds, Dose, Runs, Log."""

    state: ResultsState

    class TurnedTo(Message):
        """The state was changed by keys or the mouse."""

    @dataclass
    class OpenRun(Message):
        """A run should be opened; its index among all planned runs."""

        index: int

    def take_session(self, session: Session | None) -> None:
        """Show another session, or the same one with more runs."""

    def log_line(self, line: str) -> None:
        """Add a line to the Log tab."""

    def export(self, kind: ExportKind, path: Path) -> Path:
        """Write the chart in view; returns the file that was written."""
        return path

    def warnings(self) -> tuple[str, ...]:
        """Everything the reader of the chart in view should know, the gravest first."""
        return ()
