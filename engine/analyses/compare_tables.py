"""A comparison laid out: tables of the differences and of the specs, curves over the angle, and its chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.compare_match import ANGLES, BEYOND_ARITHMETIC, ComparedPair
from srm_explorer.engine.analyses.registry import Findings
from srm_explorer.engine.figures.captions import plane_title
from srm_explorer.engine.figures.curves import Curve, CurveBand, LegendEntry
from srm_explorer.engine.figures.numbers import MINUS, count_of, degrees, round_axis, short, three_digits
from srm_explorer.engine.figures.table import CellValue, TableColumn, TableFigure, cell_text, table_columns
from srm_explorer.engine.figures.thresholds import ThresholdFigure
from srm_explorer.engine.stats.regions import LEAST_FREEDOM
from srm_explorer.engine.stats.resampling import LEVEL

_DIFFERENCE = table_columns(
    "difference::text; units::whole:2; a:ΔA; b:ΔB; amplitude:size; amplitude_low:from::1; "
    "amplitude_high:to::1; phase:towards:degrees; phase_first:from:degrees:3; phase_last:to:degrees:3; "
    "turn:phase turns by:text:2; p:p (symmetry):p; q::p:4; p_mean:p of the mean:p; tested:p is of:text:4; "
    "tested_size:its size::4; tested_low:from::4; tested_high:to::4; changed:texts changed:whole:2"
)
_GAPS = table_columns(
    "difference::text; threshold:cosine >:text; share:largest:percent; low:from:percent; high:to:percent; "
    "angle:at:degrees; clear:degrees beyond its band:whole"
)
_SPEC = table_columns("field::text; old::text; new::text")


def compare_tables(
    compared: Sequence[ComparedPair],
    level: float,
    resamples: int,
    seed: int,
    notes: Sequence[str],
    lines: Sequence[str] | None,
    names: tuple[str, str] | None,
) -> tuple[TableFigure, ...]:
    """Lay out a comparison.

    Args:
        lines: what differs between the experiments, "field: old -> new"; None for one session.
    """
    percent = short(100 * level)
    difference = TableFigure(
        "difference",
        f"Difference of the means, {percent} % intervals",
        _DIFFERENCE,
        tuple(_difference(pair) for pair in compared),
        (
            *notes,
            "size and towards: length and angle of (ΔA, ΔB); towards is empty where its region contains the origin",
            "its size: of what p is of, what the experiment did not set. p (symmetry): signs of whole units flipped, "
            "q is of it; p of the mean: studentised bootstrap of units",
            *dict.fromkeys(line for pair in compared for line in pair.counted_lines),
            *(
                f"{pair.label}: the same in every unit, so there is no interval"
                for pair in compared
                if pair.estimate.region is None and pair.estimate.units > LEAST_FREEDOM
            ),
            *(f"{pair.label}: {evidence_of(pair)}" for pair in compared if pair.matched.changed is not None),
            f"{resamples:,} resamples of units within prompt sets, seed {seed}",
        ),
    )
    gaps = TableFigure(
        "gaps",
        "Where the shares above a threshold differ most",
        _GAPS,
        tuple(row for pair in compared for row in _gaps(pair)),
        (f"from and to: the {percent} % band that holds the whole curve; beyond: angles whose band leaves 0 out",),
    )
    if lines is None or names is None:
        return difference, gaps
    rows = [line.partition(": ") for line in lines]
    spec = TableFigure(
        "spec",
        "What differs between the experiments" if rows else "The experiments are the same",
        (_SPEC[0], TableColumn("old", names[0], "text"), TableColumn("new", names[1], "text")),
        tuple((field, *_sides(values)) for field, _, values in rows),
    )
    return difference, gaps, spec


def _sides(values: str) -> tuple[str, str]:
    old, _, new = values.partition(" -> ")
    return old, new


def _difference(pair: ComparedPair) -> tuple[CellValue, ...]:
    estimate, region = pair.estimate, pair.estimate.region
    a, b = (float(value) for value in estimate.difference)
    phase = None if region is None else region.phase_deg
    amplitude = (None, None) if region is None else region.amplitude
    towards = float(np.degrees(np.arctan2(b, a))) if phase is not None else None
    return (
        pair.label,
        estimate.units,
        a,
        b,
        float(np.hypot(a, b)),
        *amplitude,
        towards,
        *((None, None) if phase is None or phase[0] == phase[1] else phase),
        _turn(pair),
        pair.p,
        pair.q,
        pair.p_mean,
        pair.tested,
        *tested_size(pair),
        pair.matched.changed,
    )


def tested_size(pair: ComparedPair) -> tuple[float | None, float | None, float | None]:
    """Length of the mean of what was tested, and its ends; None where it was not, or units are too few."""
    if pair.region is None:
        return None, None, None
    size = float(np.hypot(*pair.region.centre))
    return (size, None, None) if pair.region.is_point else (size, *pair.region.amplitude)


def evidence_of(pair: ComparedPair) -> str:
    """How many units can tell anything: "texts changed in 12 of 50 units; the others differ by nothing"."""
    changed, units = pair.matched.changed or 0, pair.estimate.units
    rest = "" if changed >= units or pair.tested != BEYOND_ARITHMETIC else "; the others are no evidence"
    return f"texts changed in {changed} of {count_of(units, 'unit')}{rest}"


def _turn(pair: ComparedPair) -> str:
    """By how many degrees the phase differs, with its interval: "+12° (+3, +21)"."""
    estimate = pair.estimate
    if estimate.phase_interval is None:
        return "undetermined"
    low, high = estimate.phase_interval
    return f"{estimate.phase_deg:+.0f}° ({low:+.0f}, {high:+.0f})"


def _gaps(pair: ComparedPair) -> list[tuple[CellValue, ...]]:
    rows: list[tuple[CellValue, ...]] = []
    for index, level in enumerate(pair.thresholds):
        share, bands = pair.estimate.shares[index], pair.estimate.share_bands
        if not np.isfinite(share).all():
            continue
        at = int(np.argmax(np.abs(share)))
        band = None if bands is None else bands[:, index]
        low, high = (None, None) if band is None else (float(band[0, at]), float(band[1, at]))
        clear = None if band is None else int(np.count_nonzero((band[0] > 0) | (band[1] < 0)))
        rows.append((pair.label, short(level), float(share[at]), low, high, at, clear))
    return rows


def difference_curves(pair: ComparedPair) -> dict[str, Any]:
    """The difference's curves as plain data: by angle, the bands' ends beside them."""
    estimate = pair.estimate
    counts = [
        {
            "threshold": level,
            "difference": estimate.shares[index].tolist(),
            "band": None if estimate.share_bands is None else estimate.share_bands[:, index].tolist(),
        }
        for index, level in enumerate(pair.thresholds)
    ]
    return {
        "label": pair.label,
        "angles_deg": list(range(ANGLES)),
        "mean": estimate.mean.tolist(),
        "mean_band": None if estimate.mean_band is None else estimate.mean_band.tolist(),
        "shares": counts,
    }


def curves_table_of(findings: Findings) -> TableFigure:
    """The curves that `compare_study` found, a row a difference and angle, for a file."""
    rows: list[tuple[CellValue, ...]] = []
    keys: list[str] = []
    for pair in findings["curves"]:
        curves = {"mean": (pair["mean"], pair["mean_band"])}
        curves |= {f"share_{part['threshold']:g}": (part["difference"], part["band"]) for part in pair["shares"]}
        keys = [f"{name}{end}" for name in curves for end in ("", "_low", "_high")]
        columns = [part for middle, band in curves.values() for part in (middle, *(band or [[None] * ANGLES] * 2))]
        rows += [(pair["label"], angle, *numbers) for angle, numbers in enumerate(zip(*columns, strict=True))]
    header = table_columns("difference::text; angle_deg:angle:whole")
    return TableFigure(
        "curves", "Differences over the angle", (*header, *(TableColumn(key, key) for key in keys)), tuple(rows)
    )


FULL_TURN = 360.0


def difference_chart(pair: ComparedPair, threshold: float | None) -> ThresholdFigure:
    """Lay out a difference over the spotlight's angle.

    Args:
        pair: compared at this threshold too.
        threshold: cosine that shares are counted above; None for the mean cosine.
    """
    estimate = pair.estimate
    if threshold is None:
        values, band, what = estimate.mean, estimate.mean_band, "mean cosine"
    else:
        at = pair.thresholds.index(threshold)
        values = estimate.shares[at]
        band = None if estimate.share_bands is None else estimate.share_bands[:, at]
        what = f"share of runs with cosine > {short(threshold)}"
    x = np.append(np.arange(len(values)) * FULL_TURN / len(values), FULL_TURN)
    bands = () if band is None else (CurveBand(pair.label, x, _closed(band[0]), _closed(band[1])),)
    largest = float(np.nanmax(np.abs(values if band is None else band), initial=0.0))
    details = (
        difference_detail(pair),
        *test_details(pair),
        count_of(estimate.units, "unit") if pair.matched.changed is None else evidence_of(pair).partition(";")[0],
        *((f"┆ {short(100 * LEVEL)} % band",) if bands else ()),
    )
    return ThresholdFigure(
        title=f"{pair.label} · {plane_title(pair.sides[0].plane)}",
        left_label=f"{what}: {pair.labels[0]} {MINUS} {pair.labels[1]}",
        right_label="",
        counts=(Curve(pair.label, x, _closed(values)),),
        means=(),
        left=round_axis((largest, -largest), include=(0.0,)),
        right=None,
        legend=(LegendEntry(pair.label, "pooled", details),),
        warnings=() if pair.matched.paired else (pair.matched.summary,),
        bands=bands,
    )


def test_details(pair: ComparedPair) -> tuple[str, ...]:
    """What was tested, how large it is, and what chance makes of it; nothing where there is no p."""
    if pair.p is None:
        return ()
    size, low, high = tested_size(pair)
    known = (
        "" if size is None or low is None else f" {three_digits(size)} [{three_digits(low)}, {three_digits(high or 0)}]"
    )
    details = [f"{pair.tested}{known}", f"p {cell_text(pair.p, 'p')} (symmetry), {cell_text(pair.p_mean, 'p')} (mean)"]
    if pair.counted is not None:
        details.append(f"q {cell_text(pair.q, 'p')} of {pair.counted.size:,} in {pair.counted.family}")
    return tuple(details)


def difference_detail(pair: ComparedPair) -> str:
    """Length and direction of a difference of means: "ΔA .0151 [.0087, .0217]  φ 359° (347, 13)"."""
    region = pair.estimate.region
    size = three_digits(float(np.hypot(*pair.estimate.difference)))
    if region is None:
        alike = pair.estimate.units > LEAST_FREEDOM
        return f"ΔA {size}, {'the same in every unit: no' if alike else 'too few units for an'} interval"
    low, high = region.amplitude
    return f"ΔA {size} [{three_digits(low)}, {three_digits(high)}]  {direction_detail(pair)}"


def direction_detail(pair: ComparedPair) -> str:
    """The direction of a difference of means and where it may lie: "φ 359° (347, 13)", or "φ undetermined"."""
    region = pair.estimate.region
    phase = None if region is None else region.phase_deg
    if phase is None:
        return "φ undetermined"
    ends = f" ({round(phase[0]) % 360}, {round(phase[1]) % 360})" if phase[0] != phase[1] else ""
    towards = float(np.degrees(np.arctan2(pair.estimate.difference[1], pair.estimate.difference[0])))
    return f"φ {degrees(towards % 360)}{ends}"


def _closed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(values, values[0])
