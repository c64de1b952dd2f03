"""What a spotlight saw, in numbers: tables of groups for the screen, and the same for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srm_explorer.engine.figures import (
    NOTHING,
    GroupBand,
    SweptGroup,
    groups_table,
    peak_of,
    short,
    three_digits,
)
from srm_explorer.engine.stats.spotlight import Sweep
from srm_explorer.tui.cli.output import table


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
    figure = groups_table(groups, threshold, energies)
    rows = [[figure.shown(row, column) for column in range(len(figure.columns))] for row in range(len(figure.rows))]
    header = [column.title for column in figure.columns]
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
