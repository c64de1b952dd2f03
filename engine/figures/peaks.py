"""Where a spotlight lights most, and the groups of a plane as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from srm_explorer.engine.figures.bands import GroupBand, PlaneBands
from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.engine.figures.numbers import NOTHING, degrees, short
from srm_explorer.engine.figures.polar import threshold_index
from srm_explorer.engine.figures.table import CellValue, TableColumn, TableFigure, table_columns
from srm_explorer.engine.stats.spotlight import Sweep


@dataclass(frozen=True)
class Peak:
    """The largest count of a sweep and the longest arc of angles, both ends included, that reach it.

    Attributes:
        count: runs.
        first_deg: where the arc begins, counter-clockwise; None where nothing is counted at any angle.
        last_deg: where it ends.
    """

    count: int
    first_deg: float | None
    last_deg: float | None

    def __str__(self) -> str:
        if self.first_deg is None or self.last_deg is None:
            return NOTHING
        first, last = degrees(self.first_deg), degrees(self.last_deg)
        return first if first == last else f"{first} to {last}"


def peak_of(sweep: Sweep, index: int) -> Peak:
    counts = sweep.counts[index]
    top = int(counts.max())
    if top == 0:
        return Peak(0, None, None)
    at_top = counts == top
    n = len(counts)
    if at_top.all():
        return Peak(top, 0.0, float(sweep.angles_deg[-1]))
    # Turned so that it begins off the peak, no arc runs over the end.
    start = int(np.flatnonzero(~at_top)[0])
    steps = np.diff(np.concatenate([[0], np.roll(at_top, -start).astype(np.int8), [0]]))
    firsts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    longest = int(np.argmax(ends - firsts))
    first, last = int(firsts[longest]) + start, int(ends[longest]) - 1 + start
    return Peak(top, float(sweep.angles_deg[first % n]), float(sweep.angles_deg[last % n]))


_CERTAIN = table_columns(
    "units::whole; amplitude_low:A from; amplitude_high:A to; phase_low:φ from:degrees; phase_high:φ to:degrees; "
    "p:beyond arithmetic p:p; q::p; p_mean:p of the mean:p"
)


def groups_table(
    groups: Sequence[SweptGroup],
    threshold: float,
    energies: Mapping[str, float],
    bands: Mapping[str, PlaneBands | None] | None = None,
) -> TableFigure:
    """A row a group: its runs, the mean's amplitude and phase, the peak above one threshold, the energy in plane.

    Args:
        threshold: one of those swept.
        energies: share of squared length in the plane, by label.
        bands: by label, those that hold the group; with them follow the ends of amplitude and phase, p and q.
    """
    columns = (
        *table_columns("group::text; prompts::whole; runs::whole; amplitude:A; phase_deg:φ:degrees"),
        TableColumn("peak", f"most > {short(threshold)}", "whole"),
        *table_columns("peak_at:at:text; energy:in plane:percent"),
        *(() if bands is None else _CERTAIN),
    )
    rows: list[tuple[CellValue, ...]] = []
    for group in groups:
        peak = peak_of(group.sweep, threshold_index(group, threshold))
        mean = (group.sweep.amplitude, group.sweep.phase_deg)
        row: list[CellValue] = [group.label, group.n_prompts, group.n_runs, *mean, peak.count, str(peak)]
        row.append(energies.get(group.label))
        if bands is not None:
            of = bands.get(group.label)
            row += _certain(None if of is None else of.of(group.label))
        rows.append(tuple(row))
    return TableFigure("groups", "The groups in this plane", columns, tuple(rows))


def _certain(band: GroupBand | None) -> list[CellValue]:
    if band is None:
        return [None] * len(_CERTAIN)
    return [
        band.units,
        *band.amplitude,
        *(band.phase_deg or (None, None)),
        band.p_arithmetic,
        band.q_arithmetic,
        band.p_mean,
    ]
