"""What a comparison found, as tables: the difference of the means, where the counts differ most, and the specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from srm_explorer.engine.figures.numbers import count_of, short
from srm_explorer.engine.figures.table import CellValue, TableColumn, TableFigure

if TYPE_CHECKING:
    from srm_explorer.engine.analyses.compare import ComparedPair


_DIFFERENCE = (
    TableColumn("difference", "difference", "text"),
    TableColumn("units", "units", "whole", keep=2),
    TableColumn("a", "ΔA", "number"),
    TableColumn("b", "ΔB", "number"),
    TableColumn("amplitude", "size", "number"),
    TableColumn("amplitude_low", "from", "number", keep=1),
    TableColumn("amplitude_high", "to", "number", keep=1),
    TableColumn("phase", "towards", "degrees"),
    TableColumn("phase_first", "from", "degrees", keep=3),
    TableColumn("phase_last", "to", "degrees", keep=3),
    TableColumn("turn", "phase turns by", "text", keep=2),
    TableColumn("p", "p", "p"),
    TableColumn("q", "q", "p", keep=4),
    TableColumn("tested", "p is of", "text", keep=4),
)
_GAPS = (
    TableColumn("difference", "difference", "text"),
    TableColumn("threshold", "cosine >", "text"),
    TableColumn("share", "largest", "percent"),
    TableColumn("low", "from", "percent"),
    TableColumn("high", "to", "percent"),
    TableColumn("angle", "at", "degrees"),
    TableColumn("clear", "degrees beyond its band", "whole"),
)
_SPEC = (TableColumn("field", "field", "text"), TableColumn("old", "old", "text"), TableColumn("new", "new", "text"))


def compare_tables(
    compared: Sequence[ComparedPair],
    level: float,
    resamples: int,
    seed: int,
    family: int,
    notes: Sequence[str],
    lines: Sequence[str] | None,
    names: tuple[str, str] | None,
) -> tuple[TableFigure, ...]:
    """Lay out a comparison.

    Args:
        compared: the pairs.
        level: of the intervals.
        resamples: of the bootstrap.
        seed: of what was drawn.
        family: hypotheses that q-values correct over.
        notes: what was matched, and what a reader must know.
        lines: what differs between the experiments, "field: old -> new"; None for one session.
        names: of the two sessions; None for one.
    """
    percent = short(100 * level)
    difference = TableFigure(
        "difference",
        f"Difference of the means, {percent} % intervals",
        _DIFFERENCE,
        tuple(_difference(one) for one in compared),
        (
            *notes,
            "size and towards: length and angle of (ΔA, ΔB); towards is empty where its region contains the origin",
            f"p: signs of whole units flipped, of what the experiment did not set; q over {count_of(family, 'test')}",
            f"{resamples:,} resamples of units within prompt sets, seed {seed}",
        ),
    )
    gaps = TableFigure(
        "gaps",
        "Where the shares above a threshold differ most",
        _GAPS,
        tuple(row for one in compared for row in _gaps(one)),
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


def _difference(one: ComparedPair) -> tuple[CellValue, ...]:
    found, region = one.found, one.found.region
    a, b = (float(value) for value in found.difference)
    phase = None if region is None else region.phase_deg
    amplitude = (None, None) if region is None else region.amplitude
    towards = float(np.degrees(np.arctan2(b, a))) if phase is not None else None
    return (
        one.label,
        found.units,
        a,
        b,
        float(np.hypot(a, b)),
        *amplitude,
        towards,
        *((None, None) if phase is None else phase),
        _turn(one),
        one.p,
        one.q,
        one.tested,
    )


def _turn(one: ComparedPair) -> str:
    """By how many degrees the phase differs, with its interval: "+12° (+3, +21)"."""
    found = one.found
    if found.phase_interval is None:
        return "undetermined"
    low, high = found.phase_interval
    return f"{found.phase_deg:+.0f}° ({low:+.0f}, {high:+.0f})"


def _gaps(one: ComparedPair) -> list[tuple[CellValue, ...]]:
    rows: list[tuple[CellValue, ...]] = []
    for index, level in enumerate(one.thresholds):
        share, bands = one.found.shares[index], one.found.share_bands
        if not np.isfinite(share).all():
            continue
        at = int(np.argmax(np.abs(share)))
        band = None if bands is None else bands[:, index]
        low, high = (None, None) if band is None else (float(band[0, at]), float(band[1, at]))
        clear = None if band is None else int(np.count_nonzero((band[0] > 0) | (band[1] < 0)))
        rows.append((one.label, short(level), float(share[at]), low, high, at, clear))
    return rows
