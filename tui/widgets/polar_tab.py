"""The Polar tab: counts, means or the compass around the plane's two directions."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from tui.widgets.chart_tab import ChartTab
from tui.widgets.chart_view import Painter

if TYPE_CHECKING:
    from tui.paint.scene import Scene
    from tui.paint.subject import Subject
    from tui.state.results import ResultsState


class PolarTab(ChartTab):
    """Three views of the plane; the spotlight is a ray, on the compass a chord and the points beyond it."""

    def look_of(self, state: ResultsState) -> tuple[Hashable, ...]:
        """Only the counts depend on the threshold: on the compass its chord moves over the picture."""
        return state.view, state.baseline, state.threshold if state.view == "counts" else None

    def painter_of(self, state: ResultsState, subject: Subject) -> Painter:
        """Paints the view that is chosen now."""
        view, threshold = state.view, state.threshold

        def paint(width: int, height: int) -> Scene:
            from tui.paint.scenes import polar_scene

            return polar_scene(subject, view, threshold, width, height)

        return paint
