"""The threshold chart: counts over the angle, one curve per threshold and group, and the mean beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.figures.curves import Curve, LegendEntry, SweptGroup, checked_labels, legend_of, once_round, warnings_of
from engine.figures.numbers import Axis, axis_from_zero, round_axis, short
from engine.figures.polar import threshold_index


@dataclass(frozen=True, eq=False)
class ThresholdFigure:
    """What a threshold chart shows.

    Attributes:
        title: the experiment and the plane.
        left_label: what the left axis counts, runs or their share, and above which thresholds.
        right_label: what the right axis means.
        counts: x the angle in degrees, y on the left axis; the tag is the threshold where there are several.
        means: x the angle in degrees, y on the right axis; dotted.
        left: range of the counts, from 0.
        right: range of the mean, symmetric around 0; None where means are not shown.
        legend: one entry a group.
        warnings: the gravest first.
    """

    title: str
    left_label: str
    right_label: str
    counts: tuple[Curve, ...]
    means: tuple[Curve, ...]
    left: Axis
    right: Axis | None
    legend: tuple[LegendEntry, ...]
    warnings: tuple[str, ...]


def threshold_figure(
    groups: Sequence[SweptGroup],
    title: str = "",
    share: bool | None = None,
    levels: Sequence[float] | None = None,
    with_means: bool = True,
) -> ThresholdFigure:
    """Lay out counts above thresholds, and the mean cosine, over the spotlight's angle.

    Args:
        groups: in order; each has one count curve per threshold and one mean curve.
        title: stands above the chart.
        share: True for counts divided by N; by default where groups differ in N, so that they can be compared.
        levels: thresholds the groups were swept with; by default all of them.
        with_means: False for counts alone.

    Raises:
        ExplorerError: a group was not swept with one of the levels.
    """
    checked_labels(groups)
    if levels is None:
        levels = groups[0].sweep.thresholds if groups else ()
    if share is None:
        share = len({group.sweep.n for group in groups}) > 1
    counts = tuple(
        Curve(
            group.label,
            *once_round(group.sweep, (group.sweep.fraction if share else group.sweep.counts.astype(float))[row]),
            tag=short(level) if len(levels) > 1 else "",
        )
        for group in groups
        for level, row in ((level, threshold_index(group, level)) for level in levels)
    )
    means = tuple(
        Curve(group.label, *once_round(group.sweep, group.sweep.mean), tag="mean", dotted=True)
        for group in groups
        if with_means
    )
    amplitudes = [group.sweep.amplitude for group in groups]
    right = round_axis((*amplitudes, *(-amplitude for amplitude in amplitudes)), include=(0.0,))
    counted = "share of runs" if share else "runs"
    return ThresholdFigure(
        title=title,
        left_label=f"{counted} with cosine > {', '.join(map(short, levels))}" if levels else counted,
        right_label="mean cosine",
        counts=counts,
        means=means,
        left=axis_from_zero(float(value) for curve in counts for value in curve.y),
        right=right if with_means else None,
        legend=legend_of(groups),
        warnings=warnings_of(group.sweep for group in groups),
    )
