"""The Dose tab: what changes with the value that an intervention was given."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from tui.widgets.chart_tab import ChartTab
from tui.widgets.chart_view import Painter

if TYPE_CHECKING:
    from tui.paint.scene import Scene
    from tui.paint.subject import Subject
    from tui.state.results import ResultsState


class DoseTab(ChartTab):
    """Quantities against the value; where no single value varies, it says so."""

    def grouping(self, state: ResultsState) -> tuple[str, ...]:
        """By value, whatever the other charts do."""
        return ("condition",)

    def look_of(self, state: ResultsState) -> tuple[Hashable, ...]:
        """The threshold that runs are counted above."""
        return (state.threshold,)

    def painter_of(self, state: ResultsState, subject: Subject) -> Painter:
        """Paints the panels, with counts above the threshold of now."""
        threshold = state.threshold

        def paint(width: int, height: int) -> Scene:
            from tui.paint.scenes import dose_scene

            return dose_scene(subject, threshold, width, height)

        return paint
