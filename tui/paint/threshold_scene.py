"""The scene of the Thresholds tab: curves over the angle, and the numbers at the spotlight's cursor above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.style import Style

from engine.analysis.groups import RunGroup
from engine.figures.arithmetic import arithmetic_points
from engine.figures.certainty import plane_index
from engine.figures.numbers import short, three_digits
from engine.figures.session import run_groups
from tui.charts.palette import GroupStyle, styles_of
from tui.charts.spotlight import angle_in, cursor
from tui.charts.thresholds import paint_thresholds, threshold_pane
from tui.paint.figures import threshold_figure
from tui.paint.look import group_look
from tui.paint.numbers import curves_table, sweep_table
from tui.paint.overlay import Overlay
from tui.paint.picture import Picture, style_of
from tui.paint.scene import Scene
from tui.paint.subject import Subject, View
from tui.state.spotlight import is_lit, spotlight


def thresholds_scene(subject: Subject, difference: bool, threshold: float, width: int, height: int) -> Scene:
    """The threshold chart, or what is left of it when the baseline or the prediction is subtracted.

    Raises:
        ExplorerError: there is nothing to subtract, or no axis to take out.
    """
    view = subject.view()
    members = run_groups(subject.session, subject.by)
    figure = threshold_figure(subject, view, threshold, difference=difference)
    pane = threshold_pane(figure, width, height, cursor_row=True)
    styles = styles_of(figure.legend)
    xy = view.points.xy
    rows = {entry.label: xy[members[entry.label].runs] for entry in figure.legend if entry.label in members}
    less = _subtracted(subject, view, members, difference)

    def moving(theta: int, threshold: float) -> Overlay:
        overlay = Overlay()
        if pane is None:
            return overlay
        overlay.add_dots(cursor(pane, theta))
        told: list[tuple[GroupStyle, tuple[str, ...]]] = []
        for label, points in rows.items():
            here = _At.of(points, theta, threshold)
            told.append(
                (styles[label], here.text() if less is None else here.minus(_At.of(less[label], theta, threshold)))
            )
        parts = _cursor_parts(theta, threshold, told, pane.width)
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
        table=lambda theta, threshold: (
            sweep_table(view.groups, view.beside)
            if less is None
            else curves_table(figure.counts + figure.means, figure.left_label)
        ),
        angle_at=lambda col, row: None if pane is None else angle_in(pane, col, row),
    )


def _subtracted(
    subject: Subject, view: View, members: Mapping[str, RunGroup], difference: bool
) -> dict[str, NDArray[np.float64]] | None:
    """The points of what is subtracted from each group; None where nothing is."""
    if subject.minus:
        predicted = arithmetic_points(subject.session, plane_index(subject.session, subject.record))
        assert predicted is not None
        return {label: predicted.xy[group.runs] for label, group in members.items()}
    if difference:
        bases = {group.levels: view.points.xy[group.runs] for group in members.values() if group.role == "baseline"}
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
    theta: int, threshold: float, told: Sequence[tuple[GroupStyle, tuple[str, ...]]], width: int
) -> list[tuple[str, Style]]:
    """The numbers at the cursor in the longest form that the width holds."""
    head = [(f"θ {theta}°", style_of("0;1")), (f" > {short(threshold)}", Style())]
    for form in (2, 1, 0):
        parts = list(head)
        for style, texts in told:
            parts += [("  ", Style()), (style.marker, group_look(style, "1")), (texts[form], Style())]
        if sum(len(text) for text, _ in parts) <= width:
            return parts
    return head if sum(len(text) for text, _ in head) <= width else []
