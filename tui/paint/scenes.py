"""From a session to scenes: what each tab paints, beside the event loop, from nothing that changes meanwhile."""

from __future__ import annotations

from tui.charts.compass import paint_compass, point_cells
from tui.charts.disc import disc_of
from tui.charts.dose import paint_dose
from tui.charts.polar import paint_polar
from tui.charts.spotlight import chord, ray
from tui.paint.figures import compass_figure, dose_figure, polar_figure
from tui.paint.look import group_look
from tui.paint.numbers import compass_table, curves_table, dose_table, sweep_table
from tui.paint.overlay import Overlay
from tui.paint.picture import Picture
from tui.paint.scene import Scene
from tui.paint.subject import Subject
from tui.paint.subject import View as Seen
from tui.state.results import View
from tui.state.spotlight import is_lit, spotlight


def polar_scene(subject: Subject, view: View, threshold: float, width: int, height: int) -> Scene:
    """The polar chart in one of its views.

    Raises:
        ExplorerError: there is no prediction to subtract, or no axis to take out.
    """
    seen = subject.view()
    if view == "compass":
        return _compass_scene(subject, seen, width, height)
    figure = polar_figure(subject, seen, view, threshold)
    disc = disc_of(figure, width, height)

    def moving(theta: int, threshold: float) -> Overlay:
        overlay = Overlay()
        if disc is not None:
            overlay.add_dots(ray(disc, theta))
        return overlay

    return Scene(
        picture=Picture.from_ansi(paint_polar(figure, width, height), width, height),
        moving=moving,
        warnings=figure.warnings,
        table=lambda theta, threshold: (
            curves_table(figure.curves, figure.radius_label) if subject.minus else sweep_table(seen.groups, seen.beside)
        ),
        angle_at=lambda col, row: None if disc is None else disc.angle_at(col, row),
    )


def dose_scene(subject: Subject, threshold: float, width: int, height: int) -> Scene:
    """The dose chart; it knows no angle.

    Raises:
        ExplorerError: the session's conditions have no single value to draw it over, there is no prediction to
            subtract, or no axis to take out.
    """
    figure = dose_figure(subject, threshold)
    return Scene(
        picture=Picture.from_ansi(paint_dose(figure, width, height), width, height),
        warnings=figure.warnings,
        table=lambda theta, threshold: dose_table(figure),
    )


def _compass_scene(subject: Subject, seen: Seen, width: int, height: int) -> Scene:
    figure = compass_figure(subject, seen)
    disc = disc_of(figure, width, height)
    xy = seen.points.xy
    points = None if disc is None else point_cells(figure, disc)

    def moving(theta: int, threshold: float) -> Overlay:
        overlay = Overlay()
        if disc is None or points is None:
            return overlay
        overlay.add_dots(chord(disc, theta, threshold))
        overlay.add_dots(ray(disc, theta, threshold))
        cos, sin = spotlight(theta)
        lit = is_lit(xy[points.runs, 0] * cos + xy[points.runs, 1] * sin, threshold)
        for col, row, style in points.strongest(lit):
            overlay.signs[col, row] = (style.marker, group_look(style, "1;7"))
        return overlay

    return Scene(
        picture=Picture.from_ansi(paint_compass(figure, width, height), width, height),
        moving=moving,
        warnings=figure.warnings,
        table=lambda theta, threshold: compass_table(subject.session, figure, theta, threshold),
        angle_at=lambda col, row: None if disc is None else disc.angle_at(col, row),
    )
