"""The polar chart: one closed curve per group around the plane's two directions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.curves import (
    Curve,
    CurveBand,
    LegendEntry,
    SweptGroup,
    checked_labels,
    once_round,
    warnings_of,
)
from srm_explorer.engine.figures.numbers import MINUS, end_above, round_axis, short, three_digits, tick_label
from srm_explorer.engine.figures.overlays import NO_OVERLAYS, Overlays, band_ends, dashed_curves


@dataclass(frozen=True)
class Ring:
    """A circle of one value; the bold one is zero where values of both signs are shown."""

    value: float
    label: str
    bold: bool = False


@dataclass(frozen=True)
class Spoke:
    """A direction of the plane and its two names: "90°", "+n2202"."""

    angle_deg: float
    angle_label: str
    name: str


@dataclass(frozen=True, eq=False)
class PolarFigure:
    """What a polar chart shows.

    Attributes:
        low: value at the centre.
        high: value at the outer ring; no finite value lies outside.
        curves: x is the angle in degrees, counter-clockwise from the first direction; y the radius' value.
        bands: around the curves, the one that matters most first but for chance.
        dark: what to say where no curve leaves the centre, in place of bands around it; empty where one does.
    """

    title: str
    radius_label: str
    low: float
    high: float
    curves: tuple[Curve, ...]
    rings: tuple[Ring, ...]
    spokes: tuple[Spoke, ...]
    legend: tuple[LegendEntry, ...]
    warnings: tuple[str, ...]
    bands: tuple[CurveBand, ...] = ()
    dark: str = ""


def polar_counts(
    groups: Sequence[SweptGroup],
    label_a: str,
    label_b: str,
    threshold: float,
    title: str = "",
    overlays: Overlays = NO_OVERLAYS,
) -> PolarFigure:
    """Show, at each angle, the share of a group's runs whose cosine is above the threshold.

    Raises:
        ExplorerError: a group was not swept with this threshold.
    """
    checked_labels(groups)
    predicted = overlays.arithmetic(groups)
    shares = {group: group.sweep.fraction[threshold_index(group, threshold)] for group in (*groups, *predicted)}
    dark = none_lit((*groups, *predicted), threshold)
    # Bands around nothing would be all that is seen.
    bands = () if dark else overlays.count_bands(groups, threshold, share=True)
    largest = [float(np.nanmax(share)) for share in shares.values() if np.isfinite(share).any()]
    high = min(1.0, end_above(max([*largest, *band_ends(bands)], default=0)))
    axis = round_axis((0.0, high), most=6)
    rings = tuple(
        Ring(tick, label) for tick, label in zip(axis.ticks, axis.labels, strict=True) if 0 < tick < high * (1 - 1e-9)
    )
    step = axis.ticks[1] - axis.ticks[0]
    none = {group.label for group in groups if group.sweep.n and not shares[group].any()}
    return PolarFigure(
        title=title,
        radius_label=f"radius: share of runs with cosine > {short(threshold)}",
        low=0.0,
        high=high,
        curves=dashed_curves(
            (Curve(group.label, *once_round(group.sweep, y)) for group, y in shares.items()), predicted
        ),
        rings=(*rings, Ring(high, tick_label(high, min(step, high)))),
        spokes=spokes_of(label_a, label_b),
        legend=tuple(
            dataclasses.replace(entry, details=(*entry.details, f"none > {short(threshold)}"))
            if entry.label in none
            else entry
            for entry in overlays.legend(groups, bands)
        ),
        warnings=warnings_of(group.sweep for group in groups),
        bands=bands,
        dark=dark,
    )


def polar_mean(
    groups: Sequence[SweptGroup], label_a: str, label_b: str, title: str = "", overlays: Overlays = NO_OVERLAYS
) -> PolarFigure:
    """Show, at each angle, a group's mean cosine; the bold ring is zero, negative values lie inside it."""
    checked_labels(groups)
    predicted = overlays.arithmetic(groups)
    everything = (*groups, *predicted)
    bands = overlays.mean_bands(groups)
    amplitudes = [group.sweep.amplitude for group in everything if np.isfinite(group.sweep.amplitude)]
    high = end_above(max([*amplitudes, *map(abs, band_ends(bands))], default=0.0))
    return PolarFigure(
        title=title,
        radius_label=f"radius: mean cosine, {tick_label(-high, high)} to {tick_label(high, high)}, bold 0",
        low=-high,
        high=high,
        curves=dashed_curves(
            (Curve(group.label, *once_round(group.sweep, group.sweep.mean)) for group in everything), predicted
        ),
        rings=signed_rings(high),
        spokes=spokes_of(label_a, label_b),
        legend=overlays.legend(groups, bands),
        warnings=warnings_of(group.sweep for group in groups),
        bands=bands,
    )


def signed_rings(high: float) -> tuple[Ring, ...]:
    """Rings of a radius from minus a value to the value itself, the one at zero bold."""
    return tuple(
        Ring(value, tick_label(value, high / 2), bold=value == 0) for value in (-high / 2, 0.0, high / 2, high)
    )


def none_lit(groups: Sequence[SweptGroup], threshold: float) -> str:
    """Say that no run is above a threshold, and how far off it is; empty where one is, or none is finite.

    "no run above .7; the largest cosine is .49".
    """
    known = [group for group in groups if group.sweep.n]
    if not known or any(group.sweep.counts[threshold_index(group, threshold)].any() for group in known):
        return ""
    return no_run_above(threshold, max(group.sweep.largest for group in known))


def no_run_above(threshold: float, largest: float) -> str:
    """What to say where the largest cosine of all runs is not above a threshold."""
    return f"no run above {short(threshold)}; the largest cosine is {three_digits(largest)}"


def threshold_index(group: SweptGroup, threshold: float) -> int:
    """Find a threshold among those a group was swept with.

    Raises:
        ExplorerError: it is not among them.
    """
    for index, level in enumerate(group.sweep.thresholds):
        if abs(level - threshold) < 1e-12:
            return index
    known = ", ".join(short(level) for level in group.sweep.thresholds) or "none"
    raise ExplorerError(f"no counts above {short(threshold)} were made", remedy=f"choose a swept threshold ({known})")


def spokes_of(label_a: str, label_b: str) -> tuple[Spoke, ...]:
    """The four ends of two directions, from 0 degrees counter-clockwise."""
    return (
        Spoke(0.0, "0°", f"+{label_a}"),
        Spoke(90.0, "90°", f"+{label_b}"),
        Spoke(180.0, "180°", f"{MINUS}{label_a}"),
        Spoke(270.0, "270°", f"{MINUS}{label_b}"),
    )
