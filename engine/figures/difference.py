"""What charts show less something else: counts less those of the baseline, curves less what arithmetic predicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.captions import plane_captions, plane_title
from srm_explorer.engine.figures.curves import (
    Curve,
    LegendEntry,
    LegendRow,
    SweptGroup,
    checked_labels,
    once_round,
    warnings_of,
)
from srm_explorer.engine.figures.groups import FEW_GROUPS, run_groups, session_warnings, telling_threshold
from srm_explorer.engine.figures.numbers import MINUS, degrees, end_above, round_axis, short, three_digits, tick_label
from srm_explorer.engine.figures.overlays import NO_OVERLAYS, Overlays, residual_details
from srm_explorer.engine.figures.polar import PolarFigure, signed_rings, spokes_of, threshold_index
from srm_explorer.engine.figures.table import cell_text
from srm_explorer.engine.figures.thresholds import ThresholdFigure
from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.engine.stats.groups import BASELINE


def difference_figure(
    pairs: Sequence[tuple[SweptGroup, SweptGroup]],
    levels: Sequence[float],
    title: str = "",
    with_means: bool = True,
    less: str = "baseline's",
    overlays: Overlays = NO_OVERLAYS,
) -> ThresholdFigure:
    """Lay out shares above thresholds, and mean cosines, each minus the baseline's, or minus what arithmetic predicts.

    Args:
        levels: thresholds that all were swept with.
        bands: with the tests of what is beyond arithmetic, for the legend; None where that is not what is subtracted.

    Raises:
        ExplorerError: a group was not swept with one of the levels.
    """
    checked_labels([group for group, _ in pairs])
    counts: list[Curve] = []
    means: list[Curve] = []
    legend: list[LegendEntry] = []
    for group, base in pairs:
        for level in levels:
            share = group.sweep.fraction[threshold_index(group, level)]
            share = share - base.sweep.fraction[threshold_index(base, level)]
            tag = short(level) if len(levels) > 1 else ""
            counts.append(Curve(group.label, *once_round(group.sweep, share), tag=tag))
        if with_means:
            mean = group.sweep.mean - base.sweep.mean
            means.append(Curve(group.label, *once_round(group.sweep, mean), tag="mean", dotted=True))
        legend.append(difference_entry(group, base, less, overlays))
    low_to_high = [float(value) for curve in counts for value in curve.y]
    largest = max((abs(float(v)) for curve in means for v in curve.y if math.isfinite(v)), default=0.0)
    counted = f"share of runs {MINUS} {less}"
    return ThresholdFigure(
        title=title,
        left_label=f"{counted}, cosine > {', '.join(map(short, levels))}" if levels else counted,
        right_label=f"mean {MINUS} {less}",
        counts=tuple(counts),
        means=tuple(means),
        left=round_axis((*low_to_high, *(-value for value in low_to_high)), include=(0.0,)),
        right=round_axis((largest, -largest), include=(0.0,)) if with_means else None,
        legend=tuple(legend),
        warnings=warnings_of(group.sweep for pair in pairs for group in pair if group.role != "arithmetic"),
    )


def difference_entry(group: SweptGroup, base: SweptGroup, less: str, overlays: Overlays = NO_OVERLAYS) -> LegendEntry:
    """A group's legend entry: amplitude and phase of its mean minus another's, and how likely chance made it."""
    a, b = group.sweep.a - base.sweep.a, group.sweep.b - base.sweep.b
    phase = math.degrees(math.atan2(b, a)) if math.hypot(a, b) > 0 else None
    detail = f"mean {MINUS} {less}: A {three_digits(math.hypot(a, b))}  φ {degrees(phase)}"
    bands = overlays.bands
    band = None if bands is None else bands.of(group.label)
    tests = (
        () if band is None or bands is None else residual_details(band, bands, overlays.lengths.get(group.label, ""))
    )
    common = overlays.common.get(group.label, "")
    row = LegendRow(f"{group.n_runs:,}", three_digits(math.hypot(a, b)), phase=degrees(phase))
    if band is not None and tests:
        p = cell_text(band.p_arithmetic, "p")
        row = dataclasses.replace(row, p=p, note=overlays.lengths.get(group.label, ""))
    return LegendEntry(group.label, group.role, (detail, *tests, *([common] if common else [])), row=row)


def difference_from_session(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    by: Sequence[str] = (),
    threshold: float | None = None,
) -> ThresholdFigure:
    """The difference chart of a plane: each group minus the baseline, of the same factor levels where there are some.

    Args:
        groups: as `swept_groups` made them, the baseline among them.
        threshold: the one that many groups are shown with, `telling_threshold` by default.

    Raises:
        ExplorerError: the groups hold no baseline and a group to compare with it.
    """
    known = run_groups(session, by)
    bases = {known[group.label].levels: group for group in groups if known[group.label].role == BASELINE}
    pairs = [
        (group, bases[known[group.label].levels])
        for group in groups
        if known[group.label].role != BASELINE and known[group.label].levels in bases
    ]
    if not pairs:
        raise ExplorerError(
            "there is no baseline beside other runs to subtract", where=session.name, remedy="run it with a sweep"
        )
    few = len(pairs) <= FEW_GROUPS
    level = telling_threshold(groups) if threshold is None else threshold
    levels = session.spec.spotlight.thresholds if few else (level,)
    figure = difference_figure(pairs, levels, f"{session.name} · {plane_title(plane)}", with_means=few)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))


PREDICTED = "predicted"


def residual_polar(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    overlays: Overlays,
    view: Literal["counts", "mean"] = "counts",
    threshold: float | None = None,
) -> PolarFigure:
    """The polar chart of what was observed minus what arithmetic predicts; zero is the bold ring.

    Args:
        view: shares of runs above a threshold, or mean cosines.
        threshold: of the counts, `telling_threshold` by default.

    Raises:
        ExplorerError: arithmetic predicts nothing of the groups.
    """
    pairs = residual_pairs(session, groups, overlays)
    level = telling_threshold(groups) if threshold is None else threshold
    curves: list[Curve] = []
    for group, predicted in pairs:
        if view == "mean":
            y = group.sweep.mean - predicted.sweep.mean
        else:
            y = group.sweep.fraction[threshold_index(group, level)]
            y = y - predicted.sweep.fraction[threshold_index(predicted, level)]
        curves.append(Curve(group.label, *once_round(group.sweep, y)))
    sizes = np.concatenate([np.abs(curve.y) for curve in curves])
    high = end_above(float(np.nanmax(sizes)) if np.isfinite(sizes).any() else 0.0)
    end = tick_label(high, high)
    what = "mean cosine" if view == "mean" else f"share of runs with cosine > {short(level)}"
    return PolarFigure(
        title=f"{session.name} · {plane_title(plane)}",
        radius_label=f"radius: {what} {MINUS} {PREDICTED}, {tick_label(-high, high)} to {end}, bold 0",
        low=-high,
        high=high,
        curves=tuple(curves),
        rings=signed_rings(high),
        spokes=spokes_of(*plane_captions(plane)),
        legend=tuple(difference_entry(group, predicted, PREDICTED, overlays) for group, predicted in pairs),
        warnings=(*warnings_of(group.sweep for group, _ in pairs), *session_warnings(session, plane, groups)),
    )


def residual_thresholds(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    overlays: Overlays,
    threshold: float | None = None,
) -> ThresholdFigure:
    """The threshold chart of what was observed minus what arithmetic predicts; otherwise as `residual_polar`."""
    pairs = residual_pairs(session, groups, overlays)
    few = len(pairs) <= FEW_GROUPS
    level = telling_threshold(groups) if threshold is None else threshold
    levels = session.spec.spotlight.thresholds if few else (level,)
    title = f"{session.name} · {plane_title(plane)}"
    figure = difference_figure(pairs, levels, title, with_means=few, less=PREDICTED, overlays=overlays)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))


def residual_pairs(
    session: Session, groups: Sequence[SweptGroup], overlays: Overlays
) -> list[tuple[SweptGroup, SweptGroup]]:
    """Each group of which arithmetic predicts something, and what it predicts.

    Raises:
        ExplorerError: there is none.
    """
    checked_labels(groups)
    pairs = [(group, overlays.predicted[group.label]) for group in groups if group.label in overlays.predicted]
    if not pairs:
        raise ExplorerError(
            "arithmetic predicts nothing of its runs in this plane", where=session.name, remedy="choose another view"
        )
    return pairs
