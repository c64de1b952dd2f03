"""From a session to scenes: what each tab paints, beside the event loop, from nothing that changes meanwhile."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures import (
    NO_OVERLAYS,
    Band,
    CompassFigure,
    Curve,
    DoseFigure,
    Overlays,
    PolarFigure,
    SweptGroup,
    ThresholdFigure,
    above,
    arithmetic_points,
    no_run_above,
    none_lit,
    plane_index,
    run_groups,
    short,
    three_digits,
)
from srm_explorer.engine.session import Session
from srm_explorer.engine.stats.groups import RunGroup
from srm_explorer.engine.stats.spotlight import is_lit, spotlight
from srm_explorer.tui.charts.canvas import COLUMNS, ROWS, Pane
from srm_explorer.tui.charts.disc import Disc, disc_of
from srm_explorer.tui.charts.dose import paint_dose
from srm_explorer.tui.charts.labels import Part
from srm_explorer.tui.charts.palette import BOLD, LIT, GroupStyle, styles_of
from srm_explorer.tui.charts.picture import PLAIN, Picture
from srm_explorer.tui.charts.polar import INNER, paint_compass, paint_polar, point_cells
from srm_explorer.tui.charts.scene import Dot, Overlay, Scene, Table
from srm_explorer.tui.charts.subject import (
    Subject,
    SubjectView,
    View,
    compass_figure,
    dose_figure,
    polar_figure,
    threshold_figure,
)
from srm_explorer.tui.charts.thresholds import paint_thresholds, threshold_pane

_KINDS = ("", "_arithmetic", "_low", "_high", "_chance_low", "_chance_high")
"""What follows the name of a column, in the order of the columns."""


def sweep_table(groups: Sequence[SweptGroup], overlays: Overlays = NO_OVERLAYS) -> Table:
    """Mean cosine and counts of every group at every angle, their bands, what arithmetic predicts and chance draws.

    Columns of what is not known of any group are left out; those not known of one group are empty in its rows.
    """
    levels = groups[0].sweep.thresholds if groups else ()
    names = ["mean_cosine", *(f"count_above_{level!r}" for level in levels)]
    blocks_by_group = [(group, _blocks(group, overlays)) for group in groups]
    shown = [kind for kind in _KINDS if any(kind in blocks for _, blocks in blocks_by_group)]
    rows: Table = [["group", "n", "angle_deg", *(f"{name}{kind}" for kind in shown for name in names)]]
    for group, blocks in blocks_by_group:
        columns = [column for kind in shown for column in blocks.get(kind) or [None] * len(names)]
        for index, angle in enumerate(group.sweep.angles_deg.tolist()):
            cells = ["" if column is None else repr(column[index]) for column in columns]
            rows.append([group.label, str(group.sweep.n), repr(angle), *cells])
    return rows


def _blocks(group: SweptGroup, overlays: Overlays) -> dict[str, list[list[float] | None]]:
    """By kind of column, the mean and the counts above each threshold; None where a band has no such threshold."""

    def curves(swept: SweptGroup) -> list[list[float] | None]:
        return [swept.sweep.mean.tolist(), *swept.sweep.counts.tolist()]

    def ends(low: str, high: str, mean: Band, counts: Mapping[float, Band]) -> None:
        bands = [mean, *(above(counts, level) for level in group.sweep.thresholds)]
        for kind, end in ((low, 0), (high, 1)):
            blocks[kind] = [None if band is None else band[end].tolist() for band in bands]

    blocks = {"": curves(group)}
    if group.label in overlays.predicted:
        blocks["_arithmetic"] = curves(overlays.predicted[group.label])
    known = None if overlays.bands is None else overlays.bands.of(group.label)
    if known is not None:
        ends("_low", "_high", known.mean_band(len(group.sweep.angles_deg)), known.counts)
    null = overlays.null if overlays.focus == group.label else None
    if null is None and overlays.bands is not None:
        null = overlays.bands.null_of(group.label)
    if null is not None:
        ends("_chance_low", "_chance_high", null.mean, null.counts)
    return blocks


def curves_table(curves: Sequence[Curve], quantity: str) -> Table:
    """Every curve of a chart over the angle, point by point.

    Args:
        curves: of one chart.
        quantity: what those without a tag show.
    """
    rows: Table = [["group", "quantity", "angle_deg", "value"]]
    for curve in curves:
        for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
            rows.append([curve.label, curve.tag or quantity, repr(x), repr(y)])
    return rows


def compass_table(session: Session, figure: CompassFigure, theta: int, threshold: float) -> Table:
    """Every run's cosines with the two directions and with the spotlight, and whether it is lit."""
    rows: Table = [["run", "group", "cosine_a", "cosine_b", "angle_deg", "cosine", "threshold", "lit"]]
    cos, sin = spotlight(theta)
    for group in figure.groups:
        for run, (x, y) in zip(group.runs.tolist(), group.xy.tolist(), strict=True):
            cosine = x * cos + y * sin
            lit = "1" if is_lit(cosine, threshold) else "0"
            index = str(session.runs[run].index)
            rows.append([index, group.label, repr(x), repr(y), str(theta), repr(cosine), repr(threshold), lit])
    return rows


def dose_table(figure: DoseFigure) -> Table:
    """Every quantity by the value, as observed, as predicted, and its band; the baseline's in a row by itself."""
    header, columns, bases = ["value"], list[list[float]](), list[str]()
    for panel in figure.panels:
        parts = [(panel.label, panel.curve.y)]
        parts += [(f"{panel.label} {other.curve.label}", other.curve.y) for other in panel.others]
        for band in panel.bands:
            parts += [(f"{panel.label} low", band.low), (f"{panel.label} high", band.high)]
        header += [name for name, _ in parts]
        columns += [values.tolist() for _, values in parts]
        bases += ["" if panel.baseline is None else repr(panel.baseline), *[""] * (len(parts) - 1)]
    rows: Table = [header]
    if any(bases):
        rows.append(["baseline", *bases])
    values = figure.panels[0].curve.x.tolist() if figure.panels else []
    return rows + [[repr(value), *(repr(column[at]) for column in columns)] for at, value in enumerate(values)]


def scene_of_polar(figure: PolarFigure, width: int, height: int) -> Scene:
    """A polar chart, the spotlight a ray."""
    scene = Scene(paint_polar(figure, width, height), warnings=figure.warnings, figure=figure)
    disc = disc_of(figure, width, height)
    if disc is None:
        return scene
    start = disc.low + INNER * (disc.high - disc.low) if figure.dark else None
    return replace(scene, moving=lambda theta, _: Overlay.of(ray(disc, theta, start)), angle_at=disc.angle_at)


def scene_of_thresholds(figure: ThresholdFigure, width: int, height: int) -> Scene:
    """A threshold chart, the spotlight a cursor without numbers."""
    scene = Scene(paint_thresholds(figure, width, height), warnings=figure.warnings, figure=figure)
    pane = threshold_pane(figure, width, height)
    if pane is None:
        return scene
    return replace(scene, moving=lambda theta, _: Overlay.of(cursor(pane, theta)), angle_at=partial(angle_in, pane))


def polar_scene(subject: Subject, view: View, threshold: float, width: int, height: int) -> Scene:
    """The polar chart in one of its views.

    Raises:
        ExplorerError: there is no prediction to subtract, or no axis to take out.
    """
    shown = subject.view()
    if view == "compass":
        return _compass_scene(subject, shown, width, height)
    figure = polar_figure(subject, shown, view, threshold)
    return replace(
        scene_of_polar(figure, width, height),
        table=lambda theta, threshold: (
            curves_table(figure.curves, figure.radius_label)
            if subject.minus
            else sweep_table(shown.groups, shown.overlays)
        ),
    )


def polar_picture(
    subject: Subject, shown: SubjectView, view: View, threshold: float, width: int, height: int
) -> Picture:
    """The polar chart in one of its views as it stands without a spotlight."""
    if view == "compass":
        figure = compass_figure(subject, shown)
        label = none_lit(shown.groups, threshold) or figure.radius_label
        return paint_compass(replace(figure, radius_label=label), width, height)
    return paint_polar(polar_figure(subject, shown, view, threshold), width, height)


def dose_scene(subject: Subject, threshold: float, width: int, height: int) -> Scene:
    """The dose chart; it knows no angle.

    Raises:
        ExplorerError: the session's conditions have no single value to draw it over, there is no prediction to
            subtract, or no axis to take out.
    """
    figure = dose_figure(subject, threshold)
    return Scene(
        paint_dose(figure, width, height),
        warnings=figure.warnings,
        table=lambda theta, threshold: dose_table(figure),
        figure=figure,
    )


def _compass_scene(subject: Subject, shown: SubjectView, width: int, height: int) -> Scene:
    figure = compass_figure(subject, shown)
    scene = Scene(
        paint_compass(figure, width, height),
        warnings=figure.warnings,
        figure=figure,
        table=lambda theta, threshold: compass_table(subject.session, figure, theta, threshold),
    )
    disc = disc_of(figure, width, height)
    if disc is None:
        return scene
    points = point_cells(figure, disc)
    xy = shown.points.xy[points.runs]
    label, largest = len(figure.radius_label), float(np.hypot(*xy.T).max(initial=0.0))

    def moving(theta: int, threshold: float) -> Overlay:
        overlay = Overlay.of(chord(disc, theta, threshold))
        overlay.add_dots(ray(disc, theta, threshold))
        # A dot of the chord in a cell of runs would be taken for one.
        overlay.beneath = True
        cos, sin = spotlight(theta)
        for cell, group in points.strongest(is_lit(xy[:, 0] * cos + xy[:, 1] * sin, threshold)):
            overlay.characters[points.at(cell)] = (points.characters[cell], group.style + LIT)
        if len(xy) and not is_lit(largest, threshold):
            overlay.add_text(0, 1, no_run_above(threshold, largest).ljust(label), BOLD)
        return overlay

    return replace(scene, moving=moving, angle_at=disc.angle_at)


def thresholds_scene(subject: Subject, difference: bool, threshold: float, width: int, height: int) -> Scene:
    """The threshold chart, or what is left of it when the baseline or the prediction is subtracted.

    Raises:
        ExplorerError: there is nothing to subtract, or no axis to take out.
    """
    shown = subject.view()
    members = run_groups(subject.session, subject.by)
    figure = threshold_figure(subject, shown, threshold, difference=difference)
    less = _subtracted(subject, shown, members, difference)
    scene = Scene(
        paint_thresholds(figure, width, height, cursor_row=True),
        warnings=figure.warnings,
        figure=figure,
        table=lambda theta, threshold: (
            sweep_table(shown.groups, shown.overlays)
            if less is None
            else curves_table(figure.counts + figure.means, figure.left_label)
        ),
    )
    pane = threshold_pane(figure, width, height, cursor_row=True)
    if pane is None:
        return scene
    styles = styles_of(figure.legend)
    xy = shown.points.xy
    rows = {entry.label: xy[members[entry.label].runs] for entry in figure.legend if entry.label in members}

    def moving(theta: int, threshold: float) -> Overlay:
        overlay = Overlay.of(cursor(pane, theta))
        numbers: list[tuple[GroupStyle, tuple[str, ...]]] = []
        for label, points in rows.items():
            here = _At.of(points, theta, threshold)
            forms = here.text() if less is None else here.minus(_At.of(less[label], theta, threshold))
            numbers.append((styles[label], forms))
        parts = _cursor_parts(theta, threshold, numbers, pane.width)
        length = sum(len(text) for text, _ in parts)
        middle = pane.cell(theta, pane.y_low)[0]
        col = min(max(middle - length // 2, pane.col), pane.col + pane.width - length)
        for text, style in parts:
            overlay.add_text(col, pane.row - 1, text, style)
            col += len(text)
        return overlay

    return replace(scene, moving=moving, angle_at=partial(angle_in, pane))


def _subtracted(
    subject: Subject, shown: SubjectView, members: Mapping[str, RunGroup], difference: bool
) -> dict[str, NDArray[np.float64]] | None:
    if subject.minus:
        predicted = arithmetic_points(subject.session, plane_index(subject.session, subject.record))
        assert predicted is not None
        return {label: predicted.xy[group.runs] for label, group in members.items()}
    if difference:
        bases = {group.levels: shown.points.xy[group.runs] for group in members.values() if group.role == "baseline"}
        nothing = np.empty((0, 2))
        return {label: bases.get(group.levels, nothing) for label, group in members.items()}
    return None


@dataclass(frozen=True)
class _At:
    """What the spotlight sees of some runs."""

    lit: int
    total: int
    mean: float

    @classmethod
    def of(cls, xy: NDArray[np.float64], theta: int, threshold: float) -> _At:
        cos, sin = spotlight(theta)
        cosines = xy[:, 0] * cos + xy[:, 1] * sin
        finite = cosines[np.isfinite(cosines)]
        return cls(
            int(np.count_nonzero(is_lit(finite, threshold))),
            len(finite),
            float(finite.mean()) if len(finite) else float("nan"),
        )

    @property
    def share(self) -> float:
        return self.lit / self.total if self.total else float("nan")

    def text(self) -> tuple[str, ...]:
        """From the shortest form to the longest."""
        count = f" {self.lit} of {self.total}"
        return f"{self.lit}", count, f"{count} mean {three_digits(self.mean)}"

    def minus(self, other: _At) -> tuple[str, ...]:
        share = _signed(self.share - other.share)
        return share, f" {share}", f" {share} mean {_signed(self.mean - other.mean)}"


def _signed(value: float) -> str:
    return f"+{three_digits(value)}" if value > 0 else three_digits(value)


def _cursor_parts(
    theta: int, threshold: float, numbers: Sequence[tuple[GroupStyle, tuple[str, ...]]], width: int
) -> list[Part]:
    """The numbers at the cursor in the longest form that the width holds."""
    head: list[Part] = [(f"θ {theta}°", BOLD), (f" > {short(threshold)}", PLAIN)]
    for form in (2, 1, 0):
        parts = list(head)
        for group, forms in numbers:
            parts += [("  ", PLAIN), (group.marker, group.style + BOLD), (forms[form], PLAIN)]
        if sum(len(text) for text, _ in parts) <= width:
            return parts
    return head if sum(len(text) for text, _ in head) <= width else []


Point = tuple[float, float]


def ray(disc: Disc, theta: float, start: float | None = None) -> list[Dot]:
    """A dotted line along the spotlight, from a value of the radius (the centre by default) to the rim."""
    begin = disc.low if start is None else min(max(start, -disc.high), disc.high)
    share = (begin - disc.low) / (disc.high - disc.low)
    x, y = math.cos(math.radians(theta)), math.sin(math.radians(theta))
    return _line(disc.pane, _on(disc, (share * x, share * y)), _on(disc, (x, y)), every=2)


def chord(disc: Disc, theta: float, threshold: float) -> list[Dot]:
    """The line across a compass whose points have the threshold as their cosine with the spotlight, if in view."""
    far = threshold / disc.high
    if not -1 <= far <= 1:
        return []
    half = math.sqrt(1 - far**2)
    x, y = math.cos(math.radians(theta)), math.sin(math.radians(theta))
    start = _on(disc, (far * x + half * y, far * y - half * x))
    return _line(disc.pane, start, _on(disc, (far * x - half * y, far * y + half * x)))


def cursor(pane: Pane, theta: float) -> list[Dot]:
    x = (theta - pane.x_low) / (pane.x_high - pane.x_low) * (pane.dots_wide - 1)
    return _line(pane, (x, 0), (x, pane.dots_high - 1), every=2)


def angle_in(pane: Pane, col: float, row: float, beyond: bool = False) -> int | None:
    """The angle in whole degrees of a cell of a pane over 0 to 360 degrees, or of a place in it; None outside it.

    Args:
        pane: the one.
        col, row: the cell, a whole number in its middle.
        beyond: also outside the pane, whose nearest column it then is.
    """
    least, most = pane.col - 0.5, pane.col + pane.width - 0.5
    if not beyond and not (least <= col < most and pane.row - 0.5 <= row < pane.row + pane.height - 0.5):
        return None
    return round(360 * (2 * (min(max(col, pane.col), most - 0.5) - pane.col) + 0.5) / (pane.dots_wide - 1)) % 360


def _on(disc: Disc, point: Point) -> Point:
    pane, reach = disc.pane, disc.reach
    return (pane.dots_wide - 1) / 2 + reach * point[0], (pane.dots_high - 1) / 2 + reach * point[1]


def _line(pane: Pane, start: Point, end: Point, every: int = 1) -> list[Dot]:
    """Walk from dot to dot; plain numbers, since this is done at every key and arrays would cost ten times as much."""
    (x, y), (to_x, to_y) = start, end
    steps = max(1, math.ceil(max(abs(to_x - x), abs(to_y - y))))
    dots: list[Dot] = []
    for step in range(0, steps + 1, every):
        dot_x = round(x + (to_x - x) * step / steps)
        dot_y = round(y + (to_y - y) * step / steps)
        if 0 <= dot_x < pane.dots_wide and 0 <= dot_y < pane.dots_high:
            col, row = pane.col + dot_x // COLUMNS, pane.row + pane.height - 1 - dot_y // ROWS
            dots.append((col, row, dot_x % COLUMNS, ROWS - 1 - dot_y % ROWS))
    return dots
