"""The threshold chart: counts over the angle, one curve per threshold and group, and the mean beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.figures.curves import Curve, LegendEntry, SweptGroup, checked_labels, legend_of, once_round, warnings_of
from engine.figures.numbers import Axis, round_axis, short


@dataclass(frozen=True, eq=False)
class ThresholdFigure:
    """What a threshold chart shows.

    Attributes:
        title: the experiment and the plane.
        left_label: what the left axis counts: runs, or their share.
        right_label: what the right axis means.
        counts: x the angle in degrees, y on the left axis; the tag is the threshold.
        means: x the angle in degrees, y on the right axis; dotted.
        left: range of the counts, from 0.
        right: range of the mean, symmetric around 0.
        legend: one entry a group.
        warnings: the gravest first.
    """

    title: str
    left_label: str
    right_label: str
    counts: tuple[Curve, ...]
    means: tuple[Curve, ...]
    left: Axis
    right: Axis
    legend: tuple[LegendEntry, ...]
    warnings: tuple[str, ...]


def threshold_figure(groups: Sequence[SweptGroup], title: str = "", share: bool | None = None) -> ThresholdFigure:
    """Lay out counts above every swept threshold, and the mean cosine, over the spotlight's angle.

    Args:
        groups: in order; each has one count curve per threshold and one mean curve.
        title: stands above the chart.
        share: True for counts divided by N; by default where groups differ in N, so that they can be compared.
    """
    checked_labels(groups)
    if share is None:
        share = len({group.sweep.n for group in groups}) > 1
    counts = tuple(
        Curve(group.label, *once_round(group.sweep, row), tag=short(level))
        for group in groups
        for level, row in zip(
            group.sweep.thresholds, group.sweep.fraction if share else group.sweep.counts.astype(float), strict=True
        )
    )
    means = tuple(
        Curve(group.label, *once_round(group.sweep, group.sweep.mean), tag="mean", dotted=True) for group in groups
    )
    amplitudes = [group.sweep.amplitude for group in groups]
    right = round_axis((*amplitudes, *(-amplitude for amplitude in amplitudes)), include=(0.0,))
    return ThresholdFigure(
        title=title,
        left_label="share of runs above" if share else "runs above",
        right_label="mean cosine",
        counts=counts,
        means=means,
        left=round_axis((float(value) for curve in counts for value in curve.y), include=(0.0,)),
        right=right,
        legend=legend_of(groups),
        warnings=warnings_of(group.sweep for group in groups),
    )
