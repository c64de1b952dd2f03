"""The Runs tab: every run of a session, sorted and filtered, those under the spotlight marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widget import Widget

if TYPE_CHECKING:
    from tui.state.results import ResultsState


class RunsTab(Widget):
    """Lists the runs and answers which of them the spotlight lights."""

    def __init__(self, compact: bool = False, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.compact = compact

    def show(self, state: ResultsState) -> None:
        """Show what the state holds now."""

    def copy_text(self) -> str:
        """The rows as they are listed, a line a run, cells separated by tabs."""
        return ""
