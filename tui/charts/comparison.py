"""From two sessions to the chart of both, and where the spotlight falls on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from srm_explorer.engine.figures.comparison import Comparison, compared_dose, compared_polar, compared_thresholds
from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.tui.charts.disc import disc_of
from srm_explorer.tui.charts.dose import paint_dose
from srm_explorer.tui.charts.overlay import Overlay
from srm_explorer.tui.charts.picture import Picture
from srm_explorer.tui.charts.polar import paint_polar
from srm_explorer.tui.charts.scene import Scene
from srm_explorer.tui.charts.spotlight import angle_in, cursor, ray
from srm_explorer.tui.charts.thresholds import paint_thresholds, threshold_pane

if TYPE_CHECKING:
    from srm_explorer.engine.analyses.compare_match import ComparedPair


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
        return Scene(Picture.from_ansi(paint_dose(dose, width, height), width, height), warnings=dose.warnings)
    if view == "thresholds":
        figure = compared_thresholds(both, groups, threshold, plane)
        pane = threshold_pane(figure, width, height)
        return Scene(
            Picture.from_ansi(paint_thresholds(figure, width, height), width, height),
            moving=lambda theta, _: _dots([] if pane is None else cursor(pane, theta)),
            warnings=figure.warnings,
            angle_at=lambda col, row: None if pane is None else angle_in(pane, col, row),
        )
    polar = compared_polar(both, groups, view, threshold, plane)
    disc = disc_of(polar, width, height)
    return Scene(
        Picture.from_ansi(paint_polar(polar, width, height), width, height),
        moving=lambda theta, _: _dots([] if disc is None else ray(disc, theta)),
        warnings=polar.warnings,
        angle_at=lambda col, row: None if disc is None else disc.angle_at(col, row),
    )


def difference_scene(pair: ComparedPair, threshold: float | None, width: int, height: int) -> Scene:
    """Paint one group minus another: shares above a threshold, or mean cosines where it is None."""
    from srm_explorer.engine.analyses.compare_tables import difference_chart

    figure = difference_chart(pair, threshold)
    pane = threshold_pane(figure, width, height)
    return Scene(
        Picture.from_ansi(paint_thresholds(figure, width, height), width, height),
        moving=lambda theta, _: _dots([] if pane is None else cursor(pane, theta)),
        warnings=figure.warnings,
        angle_at=lambda col, row: None if pane is None else angle_in(pane, col, row),
    )


def _dots(places: Sequence[tuple[int, int, int, int]]) -> Overlay:
    overlay = Overlay()
    overlay.add_dots(places)
    return overlay
