"""Bands of the results pane: those that a session was not saved with are computed while its chart is in view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from engine.errors import ExplorerError
from tui.widgets.results_keys import ResultsKeys

if TYPE_CHECKING:
    from tui.link.bands import BandWatch
    from tui.link.study import Told
    from tui.state.sight import BandKey


class ResultsBands(ResultsKeys):
    """Has bands computed; the charts they are drawn on are in the class built on this one."""

    @dataclass
    class Found(Message):
        """Bands were computed, or could not be."""

        key: BandKey
        found: Told

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._watch: BandWatch | None = None

    def on_unmount(self) -> None:
        """Compute no bands any more."""
        if self._watch is not None:
            self._watch.close()

    def show_bands(self) -> None:
        """Show the state, with bands that were not known before."""
        raise NotImplementedError

    def log_line(self, line: str) -> None:
        """Add a line to the Log tab."""
        raise NotImplementedError

    def want_bands(self, by: tuple[str, ...] | None) -> bool:
        """Have bands of the plane in view computed where they are not known; whether that is under way.

        Args:
            by: how runs are grouped; None where no bands are wanted any more.
        """
        state = self._state
        key: BandKey | None = None
        if state is not None and state.session is not None and state.record() is not None:
            seen = by is not None and state.sight != "axis out"
            key = state.shelf.missing(state.session, state.plane, by) if by is not None and seen else None
        if self._watch is None and key is not None:
            from tui.link.bands import BandWatch

            self._watch = BandWatch(self._tell)
        if self._watch is not None:
            self._watch.want(key)
        return key is not None

    def on_results_bands_found(self, event: Found) -> None:
        """Draw the bands that were computed; a failure is told in the log alone."""
        event.stop()
        shelf = self.state.shelf
        if isinstance(event.found, ExplorerError):
            shelf.fail(event.key)
            wrong = str(event.found)
        else:
            wrong = shelf.put(event.key, event.found)
        if wrong:
            self.log_line(f"no 95 % bands: {wrong}")
        self.show_bands()

    def _tell(self, key: BandKey, found: Told) -> None:
        self.post_message(self.Found(key, found))
