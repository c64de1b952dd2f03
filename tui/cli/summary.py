"""What a spotlight saw, in numbers: tables of groups for the screen, and the same for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srm_explorer.engine.figures import (
    NOTHING,
    GroupBand,
    SweptGroup,
    cell_text,
    degrees,
    short,
    three_digits,
    threshold_index,
)
from srm_explorer.engine.stats.spotlight import Sweep
from srm_explorer.tui.cli.output import table


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


def threshold_table(sweep: Sweep) -> list[str]:
    """One line a threshold: the largest count, its share of N, and where it is reached."""
    rows: list[tuple[str, ...]] = []
    for index, level in enumerate(sweep.thresholds):
        peak = peak_of(sweep, index)
        share = three_digits(peak.count / sweep.n) if sweep.n else NOTHING
        rows.append((f"  > {short(level)}", f"{peak.count:,}", share, str(peak)))
    return table(("  cosine", "most lit", "share", "at"), rows, right=(1, 2))


def group_table(
    groups: Sequence[SweptGroup], threshold: float, width: int | None, energies: Mapping[str, float]
) -> list[str]:
    """One line a group: its runs, the mean's amplitude and phase, the peak above one threshold, the energy in plane."""
    rows: list[tuple[str, ...]] = []
    for group in groups:
        peak = peak_of(group.sweep, threshold_index(group, threshold))
        rows.append(
            (
                group.label,
                f"{group.n_prompts:,}",
                f"{group.n_runs:,}",
                three_digits(group.sweep.amplitude),
                degrees(group.sweep.phase_deg),
                f"{peak.count:,}",
                str(peak),
                cell_text(energies.get(group.label), "percent"),
            )
        )
    header = ("group", "prompts", "runs", "A", "φ", f"most > {short(threshold)}", "at", "in plane")
    return table(header, rows, right=(1, 2, 3, 4, 5, 7), width=width, flexible=0)


def sweep_json(sweep: Sweep) -> dict[str, Any]:
    peaks = [peak_of(sweep, index) for index in range(len(sweep.thresholds))]
    return {
        "n": sweep.n,
        "a": sweep.a,
        "b": sweep.b,
        "amplitude": sweep.amplitude,
        "phase_deg": sweep.phase_deg,
        "mean_similarity": sweep.mean.tolist(),
        "thresholds": [
            {
                "threshold": level,
                "peak": peak.count,
                "peak_from_deg": peak.first_deg,
                "peak_to_deg": peak.last_deg,
                "counts": counts.tolist(),
            }
            for level, peak, counts in zip(sweep.thresholds, peaks, sweep.counts, strict=True)
        ],
    }


def certainty_json(group: SweptGroup, band: GroupBand | None, predicted: SweptGroup | None) -> dict[str, Any]:
    """How sure a group is and what arithmetic predicts of it, for JSON; null where that is not known."""
    certainty = None
    if band is not None:
        certainty = {
            "units": band.units,
            "amplitude": list(band.amplitude),
            "phase_deg": None if band.phase_deg is None else list(band.phase_deg),
            "mean_band": band.mean_band(len(group.sweep.angles_deg)).tolist(),
            "p_arithmetic": band.p_arithmetic,
            "q_arithmetic": band.q_arithmetic,
            "p_mean": band.p_mean,
            "beyond_arithmetic": None if band.beyond is None else list(band.beyond),
            "units_changed": None if band.changed is None else band.changed[0],
        }
    arithmetic = None if predicted is None else sweep_json(predicted.sweep)
    return {"certainty": certainty, "arithmetic": arithmetic}
