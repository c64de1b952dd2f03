"""From a session to scenes: what each tab paints, beside the event loop, from nothing that changes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.style import Style

from engine.figures.compass import compass_of
from engine.figures.curves import SweptGroup
from engine.figures.difference import difference_of
from engine.figures.dose import DoseFigure
from engine.figures.dosing import dose_of
from engine.figures.numbers import short, three_digits
from engine.figures.session import points_of, polar_of, run_groups, thresholds_of
from engine.session import PlaneRecord, Session
from tui.charts.compass import paint_compass, point_cells
from tui.charts.disc import disc_of
from tui.charts.dose import paint_dose
from tui.charts.palette import GroupStyle, styles_of
from tui.charts.polar import paint_polar
from tui.charts.spotlight import angle_in, chord, cursor, ray
from tui.charts.thresholds import paint_thresholds, threshold_pane
from tui.paint.numbers import compass_table, curves_table, dose_table, sweep_table
from tui.paint.overlay import Overlay
from tui.paint.picture import Picture, style_of
from tui.paint.scene import Scene
from tui.state.results import View
from tui.state.spotlight import is_lit, spotlight, without_baseline


@dataclass(frozen=True, eq=False)
class Subject:
    """What scenes are painted of.

    Attributes:
        session: with at least one run.
        record: one of its planes.
        by: how its runs are grouped.
        baseline: whether the baseline is shown.
        sweep: makes the groups, or has them already.
    """

    session: Session
    record: PlaneRecord
    by: tuple[str, ...]
    baseline: bool
    sweep: Callable[[], tuple[SweptGroup, ...]]

    def groups(self) -> tuple[SweptGroup, ...]:
        """The groups that are shown."""
        groups = self.sweep()
        return groups if self.baseline else without_baseline(groups)


def polar_scene(subject: Subject, view: View, threshold: float, width: int, height: int) -> Scene:
    """The polar chart in one of its views."""
    groups = subject.groups()
    if view == "compass":
        return _compass_scene(subject, groups, width, height)
    figure = polar_of(subject.session, subject.record, groups, view, threshold)
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
        table=lambda theta, threshold: sweep_table(groups),
        angle_at=lambda col, row: None if disc is None else disc.angle_at(col, row),
    )


def thresholds_scene(subject: Subject, difference: bool, threshold: float, width: int, height: int) -> Scene:
    """The threshold chart, or what is left of it when the baseline is subtracted; the numbers stand at the cursor."""
    session, record = subject.session, subject.record
    if difference:
        groups = subject.sweep()
        figure = difference_of(session, record, groups, subject.by, threshold)
    else:
        groups = subject.groups()
        figure = thresholds_of(session, record, groups, threshold)
    pane = threshold_pane(figure, width, height, cursor_row=True)
    xy = points_of(record).xy
    styles = styles_of(figure.legend)
    members = run_groups(session, subject.by)
    rows = {entry.label: xy[members[entry.label].runs] for entry in figure.legend}
    bases = {group.levels: xy[group.runs] for group in members.values() if group.role == "baseline"}

    def moving(theta: int, threshold: float) -> Overlay:
        overlay = Overlay()
        if pane is None:
            return overlay
        overlay.add_dots(cursor(pane, theta))
        told = [_At.of(points, theta, threshold) for points in rows.values()]
        if difference:
            less = [_At.of(bases[members[label].levels], theta, threshold) for label in rows]
            texts = [one.minus(other) for one, other in zip(told, less, strict=True)]
        else:
            texts = [one.text() for one in told]
        parts = _cursor_parts(theta, threshold, list(zip(styles.values(), texts, strict=True)), pane.width)
        length = sum(len(text) for text, _ in parts)
        middle = pane.cell(theta, pane.y_low)[0]
        col = min(max(middle - length // 2, pane.col), pane.col + pane.width - length)
        for text, style in parts:
            overlay.add_text(col, pane.row - 1, text, style)
            col += len(text)
        return overlay

    text = paint_thresholds(figure, width, height, cursor_row=True)
    return Scene(
        picture=Picture.from_ansi(text, width, height),
        moving=moving,
        warnings=figure.warnings,
        table=lambda theta, threshold: curves_table(figure) if difference else sweep_table(groups),
        angle_at=lambda col, row: None if pane is None else angle_in(pane, col, row),
    )


def dose_scene(subject: Subject, threshold: float, width: int, height: int) -> Scene:
    """The dose chart; it knows no angle.

    Raises:
        ExplorerError: the session's conditions have no single value to draw it over.
    """
    figure: DoseFigure = dose_of(subject.session, subject.record, threshold)
    return Scene(
        picture=Picture.from_ansi(paint_dose(figure, width, height), width, height),
        warnings=figure.warnings,
        table=lambda theta, threshold: dose_table(figure),
    )


def _compass_scene(subject: Subject, groups: Sequence[SweptGroup], width: int, height: int) -> Scene:
    figure = compass_of(subject.session, subject.record, groups, subject.by)
    disc = disc_of(figure, width, height)
    xy = points_of(subject.record).xy
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
            overlay.signs[col, row] = (style.marker, _style(style, "1;7"))
        return overlay

    return Scene(
        picture=Picture.from_ansi(paint_compass(figure, width, height), width, height),
        moving=moving,
        warnings=figure.warnings,
        table=lambda theta, threshold: compass_table(subject.session, figure, theta, threshold),
        angle_at=lambda col, row: None if disc is None else disc.angle_at(col, row),
    )


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
    theta: int, threshold: float, told: Sequence[tuple[GroupStyle, tuple[str, ...]]], width: int
) -> list[tuple[str, Style]]:
    """The numbers at the cursor in the longest form that the width holds."""
    head = [(f"θ {theta}°", style_of("0;1")), (f" > {short(threshold)}", Style())]
    for form in (2, 1, 0):
        parts = list(head)
        for style, texts in told:
            parts += [("  ", Style()), (style.marker, _style(style, "1")), (texts[form], Style())]
        if sum(len(text) for text, _ in parts) <= width:
            return parts
    return head if sum(len(text) for text, _ in head) <= width else []


def _style(style: GroupStyle, attributes: str) -> Style:
    colour = "" if style.ink.colour is None else f";38;5;{style.ink.colour}"
    return style_of(f"0;{attributes}{colour}")
