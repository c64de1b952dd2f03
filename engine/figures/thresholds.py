"""The threshold chart: counts over the angle, one curve per threshold and group, and the mean beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from srm_explorer.engine.figures.curves import (
    Curve,
    CurveBand,
    LegendEntry,
    SweptGroup,
    checked_labels,
    once_round,
    warnings_of,
)
from srm_explorer.engine.figures.numbers import Axis, axis_from_zero, round_axis, short
from srm_explorer.engine.figures.overlays import NO_OVERLAYS, Overlays, band_ends, dashed_curves
from srm_explorer.engine.figures.polar import none_lit, threshold_index


@dataclass(frozen=True, eq=False)
class ThresholdFigure:
    """What a threshold chart shows.

    Attributes:
        left_label: what the left axis counts, runs or their share, and above which thresholds.
        counts: x the angle in degrees, y on the left axis; the tag is the threshold where there are several.
        means: x the angle in degrees, y on the right axis; dotted.
        left: range of the counts, from 0.
        right: range of the mean, symmetric around 0; None where means are not shown.
        bands: around the counts of one threshold, on the left axis.
        dark: what to say where every count is 0; empty where one is not.
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
    bands: tuple[CurveBand, ...] = ()
    dark: str = ""


def threshold_figure(
    groups: Sequence[SweptGroup],
    title: str = "",
    share: bool | None = None,
    levels: Sequence[float] | None = None,
    with_means: bool = True,
    overlays: Overlays = NO_OVERLAYS,
    chosen: float | None = None,
) -> ThresholdFigure:
    """Lay out counts above thresholds, and the mean cosine, over the spotlight's angle.

    Args:
        groups: in order; each has one count curve per threshold and one mean curve.
        share: True for counts divided by N; by default where groups differ in N, so that they can be compared.
        chosen: the one of the levels that what stands beside the groups is drawn for; the first by default.

    Raises:
        ExplorerError: a group was not swept with one of the levels.
    """
    checked_labels(groups)
    if levels is None:
        levels = groups[0].sweep.thresholds if groups else ()
    if share is None:
        share = len({group.sweep.n for group in groups}) > 1
    several = len(levels) > 1

    def curve(group: SweptGroup, level: float) -> Curve:
        values = (group.sweep.fraction if share else group.sweep.counts.astype(float))[threshold_index(group, level)]
        return Curve(group.label, *once_round(group.sweep, values), tag=short(level) if several else "")

    counts = [curve(group, level) for group in groups for level in levels]
    predicted: tuple[SweptGroup, ...] = ()
    bands: tuple[CurveBand, ...] = ()
    above = ""
    if levels:
        axis_level = next((level for level in levels if chosen is not None and abs(level - chosen) < 1e-12), levels[0])
        predicted = overlays.arithmetic(groups)
        if not none_lit((*groups, *predicted), axis_level):
            bands = overlays.count_bands(groups, axis_level, share=share)
        counts += [curve(group, axis_level) for group in predicted]
        above = f"> {short(axis_level)}" if several else ""
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
        counts=dashed_curves(counts, predicted),
        means=means,
        left=axis_from_zero((*(float(value) for curve in counts for value in curve.y), *band_ends(bands))),
        right=right if with_means else None,
        legend=overlays.legend(groups, bands, above),
        warnings=warnings_of(group.sweep for group in groups),
        bands=bands,
        dark=none_lit((*groups, *predicted), min(levels)) if levels else "",
    )
