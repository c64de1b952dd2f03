"""The Thresholds tab: counts above thresholds and means over the angle, or what they are beyond the baseline's."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from tui.widgets.chart_tab import ChartTab
from tui.widgets.chart_view import Painter

if TYPE_CHECKING:
    from tui.paint.scene import Scene
    from tui.paint.subject import Subject
    from tui.state.results import ResultsState


class ThresholdsTab(ChartTab):
    """The spotlight is a vertical cursor; the numbers stand above it."""

    def look_of(self, state: ResultsState) -> tuple[Hashable, ...]:
        """Many groups are shown with one threshold, few with all of them."""
        return state.difference, state.baseline, state.threshold

    def painter_of(self, state: ResultsState, subject: Subject) -> Painter:
        """Paints the curves, or their difference."""
        difference, threshold = state.difference, state.threshold

        def paint(width: int, height: int) -> Scene:
            from tui.paint.threshold_scene import thresholds_scene

            return thresholds_scene(subject, difference, threshold, width, height)

        return paint
