"""From two sessions to the chart of both, and where the spotlight falls on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from srm_explorer.engine.figures import Comparison, SweptGroup, compared_dose, compared_polar, compared_thresholds
from srm_explorer.tui.charts.dose import paint_dose
from srm_explorer.tui.charts.scene import Scene
from srm_explorer.tui.charts.scenes import scene_of_polar, scene_of_thresholds

if TYPE_CHECKING:
    from srm_explorer.engine.analyses import ComparedPair


View = Literal["counts", "mean", "thresholds", "dose"]


def comparison_scene(
    both: Comparison, groups: Sequence[SweptGroup], plane: int, view: View, threshold: float, width: int, height: int
) -> Scene:
    """Paint a view of both sessions.

    Args:
        both: the two.
        groups: of both, swept in the plane.
        plane: index among the planes that both have.
        view: what is drawn.
        threshold: cosine, of counts.
        width: columns.
        height: rows.

    Raises:
        ExplorerError: there is no dose chart of both.
    """
    if view == "dose":
        dose = compared_dose(both, threshold, plane)
        return Scene(paint_dose(dose, width, height), warnings=dose.warnings)
    if view == "thresholds":
        return scene_of_thresholds(compared_thresholds(both, groups, threshold, plane), width, height)
    return scene_of_polar(compared_polar(both, groups, view, threshold, plane), width, height)


def difference_scene(pair: ComparedPair, threshold: float | None, width: int, height: int) -> Scene:
    """Paint one group minus another: shares above a threshold, or mean cosines where it is None."""
    from srm_explorer.engine.analyses import difference_chart

    return scene_of_thresholds(difference_chart(pair, threshold), width, height)
