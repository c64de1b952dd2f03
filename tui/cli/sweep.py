"""`srm-explorer sweep`: the spotlight through vectors that anyone has saved."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

from engine.analysis.srm import Sweep, spotlight_sweep, sweep_groups
from engine.errors import ExplorerError
from engine.figures.curves import LegendEntry, Role, SweptGroup
from engine.figures.numbers import degrees, three_digits
from engine.figures.polar import polar_counts
from engine.figures.session import telling_threshold
from engine.figures.thresholds import threshold_figure
from engine.files import write_atomic
from tui.cli.output import bold, colour_wanted, count, note, say, say_json, screen_size, visible
from tui.cli.pool import CLAMPED, Pool, pool
from tui.cli.summary import sweep_json, threshold_table

ALL = "all"
NAMED = 8
"""Keys named in one message; a file may have thousands."""
_ROLES: dict[str, Role] = {"baseline": "baseline", "reference": "reference", CLAMPED: "pooled", ALL: "pooled"}


def sweep_command(
    files: Sequence[Path],
    a: int,
    b: int,
    thresholds: Sequence[float],
    angles: int,
    csv_file: Path | None,
    as_json: bool,
    chart: str,
    width: int | None,
    height: int | None,
) -> None:
    """Sweep the spotlight over all vectors of the files; where keys tell, baseline and clamped by themselves too."""
    if len(set(thresholds)) < len(thresholds):
        raise ExplorerError("a threshold stands twice", where="--thresholds", remedy="give each one once")
    pooled = pool(files, a, b)
    whole = spotlight_sweep(pooled.points, thresholds, angles)
    if not whole.n:
        raise ExplorerError(
            f"none of the {count(len(pooled.points), 'vector')} is finite, '{pooled.label(0)}' is the first",
            remedy="look for NaN and infinite entries where they were made",
        )
    groups = sweep_groups(pooled.points, pooled.groups(), thresholds, angles)
    if csv_file is not None:
        write_atomic(csv_file, sweep_csv(whole).encode())
    _report(pooled, whole)
    if as_json:
        say_json(_as_json(files, pooled, whole, groups))
        return
    shown = groups or {ALL: whole}
    colour = colour_wanted()
    for number, (name, sweep) in enumerate(({ALL: whole} | groups).items()):
        told = f"N {sweep.n:,}  {_mean_of(sweep)}"
        say(*([""] if number else []), f"{bold(f'{name} vectors' if name == ALL else name, colour=colour)}  {told}")
        say(*threshold_table(sweep))
    if csv_file is not None:
        say("", f"{count(angles, 'angle')} written to {visible(str(csv_file))}")
    _draw(files, pooled, shown, chart, *screen_size(width, height))


def sweep_csv(sweep: Sweep) -> str:
    """The sweep as CSV: `angle_deg, mean_similarity, count_thresh_<T>`, numbers as Python writes them."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["angle_deg", "mean_similarity", *(f"count_thresh_{level!r}" for level in sweep.thresholds)])
    columns = zip(*(row.tolist() for row in sweep.counts), strict=True)
    for angle, mean, counts in zip(sweep.angles_deg.tolist(), sweep.mean.tolist(), columns, strict=True):
        writer.writerow([repr(angle), repr(mean), *counts])
    return file.getvalue()


def _report(pooled: Pool, whole: Sweep) -> None:
    for key, why in pooled.skipped[:NAMED]:
        note(f"skipped {key}: {why}")
    if len(pooled.skipped) > NAMED:
        note(f"skipped {len(pooled.skipped) - NAMED:,} arrays more")
    if whole.zero_runs:
        note(f"{count(len(whole.zero_runs), 'zero vector')}, counted in N: {_some(pooled, whole.zero_runs)}")
    if whole.nonfinite_runs:
        told = count(len(whole.nonfinite_runs), "vector")
        note(f"{told} with NaN or infinite entries, left out: {_some(pooled, whole.nonfinite_runs)}")


def _some(pooled: Pool, vectors: Sequence[int]) -> str:
    more = f" and {len(vectors) - NAMED:,} more" if len(vectors) > NAMED else ""
    return ", ".join(pooled.label(vector) for vector in vectors[:NAMED]) + more


def _as_json(files: Sequence[Path], pooled: Pool, whole: Sweep, groups: dict[str, Sweep]) -> dict[str, object]:
    return {
        "files": [str(path) for path in files],
        "width": pooled.plane.d,
        "a": pooled.plane.label_a,
        "b": pooled.plane.label_b,
        "vectors": len(pooled.points),
        "zero": [pooled.label(vector) for vector in whole.zero_runs],
        "nonfinite": [pooled.label(vector) for vector in whole.nonfinite_runs],
        "skipped": [{"key": key, "why": why} for key, why in pooled.skipped],
        "angles_deg": whole.angles_deg.tolist(),
        "pooled": sweep_json(whole),
        "groups": {name: sweep_json(sweep) for name, sweep in groups.items()},
    }


def _draw(files: Sequence[Path], pooled: Pool, sweeps: dict[str, Sweep], chart: str, width: int, height: int) -> None:
    if chart == "none":
        return
    from tui.charts.polar import paint_polar
    from tui.charts.thresholds import paint_thresholds

    groups = [SweptGroup(name, _ROLES[name], sweep, sweep.n, sweep.n) for name, sweep in sweeps.items() if sweep.n]
    named = files[0].name if len(files) == 1 else count(len(files), "file")
    a, b = pooled.plane.label_a, pooled.plane.label_b
    title = visible(f"{named} · {a} × {b} of {pooled.plane.d:,}")
    legend = tuple(
        LegendEntry(group.label, group.role, (_mean_of(group.sweep), count(group.n_runs, "vector"))) for group in groups
    )
    colour = colour_wanted()
    if chart in ("polar", "both"):
        polar = polar_counts(groups, a, b, telling_threshold(groups), title)
        polar = dataclasses.replace(polar, legend=legend, warnings=())
        say("", paint_polar(polar, width, height, colour=colour))
    if chart in ("thresholds", "both"):
        lines = dataclasses.replace(threshold_figure(groups, title), legend=legend, warnings=())
        say("", paint_thresholds(lines, width, height, colour=colour))


def _mean_of(sweep: Sweep) -> str:
    return f"A {three_digits(sweep.amplitude)}  φ {degrees(sweep.phase_deg)}"
