"""One run: what was written beside what the baseline wrote, and what the neuron did at every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.screen import Screen

if TYPE_CHECKING:
    from tui.state.results import ResultsState


class RunView(Screen[None]):
    """Shows one run of a session; steps through the others in the order of the table it was opened from."""

    def __init__(self, state: ResultsState, index: int, order: Sequence[int] = ()) -> None:
        super().__init__()
        self.state = state
        self.index = index
        self.order = tuple(order)
