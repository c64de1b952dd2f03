"""The chart of one group minus another: its curve over the angle with the band that holds it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.figures.captions import plane_title
from engine.figures.curves import Curve, CurveBand, LegendEntry
from engine.figures.numbers import MINUS, count_of, degrees, round_axis, short, three_digits
from engine.figures.table import cell_text
from engine.figures.thresholds import ThresholdFigure
from engine.studies.compare import ComparedPair

FULL_TURN = 360.0


def difference_chart(pair: ComparedPair, threshold: float | None, level: float = 0.95) -> ThresholdFigure:
    """Lay out a difference over the spotlight's angle.

    Args:
        pair: compared at this threshold too.
        threshold: cosine that shares are counted above; None for the mean cosine.
        level: of the band, for its legend.
    """
    found = pair.found
    if threshold is None:
        values, band, what = found.mean, found.mean_band, "mean cosine"
    else:
        at = pair.thresholds.index(threshold)
        values = found.shares[at]
        band = None if found.share_bands is None else found.share_bands[:, at]
        what = f"share of runs with cosine > {short(threshold)}"
    x = np.append(np.arange(len(values)) * FULL_TURN / len(values), FULL_TURN)
    bands = () if band is None else (CurveBand(pair.label, x, _closed(band[0]), _closed(band[1])),)
    reach = float(np.nanmax(np.abs(values if band is None else band), initial=0.0))
    details = (
        difference_detail(pair),
        *((f"p {cell_text(pair.p, 'p')}, {pair.tested}",) if pair.p is not None else ()),
        count_of(found.units, "unit"),
        *((f"┆ {short(100 * level)} % band",) if bands else ()),
    )
    return ThresholdFigure(
        title=f"{pair.label} · {plane_title(pair.sides[0].plane)}",
        left_label=f"{what}: {pair.labels[0]} {MINUS} {pair.labels[1]}",
        right_label="",
        counts=(Curve(pair.label, x, _closed(values)),),
        means=(),
        left=round_axis((reach, -reach), include=(0.0,)),
        right=None,
        legend=(LegendEntry(pair.label, "pooled", details),),
        warnings=() if pair.matched.paired else (pair.matched.told,),
        bands=bands,
    )


def difference_detail(pair: ComparedPair) -> str:
    """Length and direction of a difference of means: "ΔA .0151 [.0087, .0217]  φ 359° (347, 13)"."""
    region = pair.found.region
    size = three_digits(float(np.hypot(*pair.found.difference)))
    if region is None:
        return f"ΔA {size}, too few units for an interval"
    low, high = region.amplitude
    return f"ΔA {size} [{three_digits(low)}, {three_digits(high)}]  {direction_detail(pair)}"


def direction_detail(pair: ComparedPair) -> str:
    """The direction of a difference of means and where it may lie: "φ 359° (347, 13)", or "φ undetermined"."""
    region = pair.found.region
    phase = None if region is None else region.phase_deg
    if phase is None:
        return "φ undetermined"
    first, last = (round(angle) % 360 for angle in phase)
    towards = float(np.degrees(np.arctan2(pair.found.difference[1], pair.found.difference[0])))
    return f"φ {degrees(towards % 360)} ({first}, {last})"


def _closed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(values, values[0])
