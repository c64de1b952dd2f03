"""`srm-explorer sweep`: the spotlight through vectors that anyone has saved."""

from __future__ import annotations

import dataclasses
import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import (
    LegendEntry,
    PolarFigure,
    Role,
    SweptGroup,
    ThresholdFigure,
    degrees,
    polar_counts,
    telling_threshold,
    three_digits,
    threshold_figure,
)
from srm_explorer.engine.io.arrays import Block, Reduce, Skipped, read_arrays
from srm_explorer.engine.io.files import CsvWriter, write_atomic
from srm_explorer.engine.session.keys import BASELINE, key_cells
from srm_explorer.engine.stats.planes import Plane, coordinates, neuron_plane
from srm_explorer.engine.stats.spotlight import Sweep, UnitCoordinates, spotlight_sweep, sweep_groups, unit_coordinates
from srm_explorer.tui.charts.polar import paint_polar
from srm_explorer.tui.charts.thresholds import paint_thresholds
from srm_explorer.tui.cli.figures import FigureFile
from srm_explorer.tui.cli.output import bold, colour_wanted, count, drawn, note, say, say_json, screen_size, visible
from srm_explorer.tui.cli.summary import sweep_json, threshold_table

CLAMPED = "clamped"


@dataclass(frozen=True)
class Span:
    """Consecutive vectors of one array.

    Attributes:
        file: name of its file.
        key: of the array.
        first: index of the first of them in the array.
        is_table: whether the array holds several.
    """

    file: str
    key: str
    first: int
    is_table: bool


@dataclass(frozen=True, eq=False)
class Pool:
    """The vectors of all files in the order given.

    Attributes:
        points: their unit vectors' coordinates.
        plane: of the vectors' width.
        spans: where they come from.
        starts: [span] number of the first vector of each.
        skipped: arrays that were left out, "file: key", and why.
    """

    points: UnitCoordinates
    plane: Plane
    spans: Sequence[Span]
    starts: Sequence[int]
    skipped: Sequence[tuple[str, str]]

    def label(self, vector: int) -> str:
        """What to call a vector, as `label_in` has it."""
        return label_in(self.spans, self.starts, vector)

    def groups(self) -> dict[str, NDArray[np.int64]]:
        """Vector numbers of the baseline, of the reference and of the rest, where keys tell; else empty."""
        vectors: dict[str, list[NDArray[np.int64]]] = {"baseline": [], "reference": [], CLAMPED: []}
        for span, start, end in zip(self.spans, self.starts, [*self.starts[1:], len(self.points)], strict=True):
            vectors[group_of(span.key)].append(np.arange(start, end))
        if not vectors[CLAMPED] and not vectors["reference"] and all("_sweep=" not in span.key for span in self.spans):
            return {}
        return {name: np.concatenate(parts) for name, parts in vectors.items() if parts}


def label_in(spans: Sequence[Span], starts: Sequence[int], vector: int) -> str:
    """What to call a vector: its key, with the index in a table, and the file where there are several."""
    at = bisect_right(starts, vector) - 1
    span = spans[at]
    name = f"{span.key}[{span.first + vector - starts[at]}]" if span.is_table else span.key
    return f"{span.file}: {name}" if len({span.file for span in spans}) > 1 else name


def group_of(key: str) -> str:
    """The group a key's `_sweep=<value>` puts its vectors in: "baseline" (also without one), "reference", "clamped"."""
    value = key_cells(key).get("sweep", BASELINE).strip().casefold()
    return value if value in (BASELINE, "reference") else CLAMPED


def pool(files: Sequence[Path], a: int, b: int, reduce: Reduce | None = None) -> Pool:
    """Project every vector of the files on the plane of two of their coordinates.

    The first vector's width is that of the plane; arrays of another are left out. Only two coordinates and the norm of
    each vector are kept.

    Args:
        reduce: what makes vectors of arrays [n, token, d]; without it they are left out.

    Raises:
        ExplorerError: a file that cannot be read, an index out of range, twice the same one, or no vector at all.
    """
    if a == b:
        raise ExplorerError(f"a plane needs two different neurons, got {a} twice", remedy="choose another --b")
    plane: Plane | None = None
    spans: list[Span] = []
    starts: list[int] = []
    skipped: list[tuple[str, str]] = []
    xy: list[NDArray[np.float64]] = []
    norms: list[NDArray[np.float64]] = []
    count = 0
    for path in files:
        for part in read_arrays(path, reduce=reduce):
            if isinstance(part, Skipped):
                skipped.append((f"{path.name}: {part.key}", part.why))
                continue
            plane = plane or _plane(part, path, a, b)
            width = part.rows.shape[1]
            if width != plane.d:
                if part.first == 0:
                    skipped.append((f"{path.name}: {part.key}", f"{width} entries where the first has {plane.d}"))
                continue
            block_xy, block_norms = coordinates(part.rows, plane)
            xy.append(block_xy)
            norms.append(block_norms)
            spans.append(Span(path.name, part.key, part.first, part.is_table))
            starts.append(count)
            count += len(part.rows)
    if plane is None:
        why = f"all {len(skipped)} arrays were skipped, '{skipped[0][0]}': {skipped[0][1]}" if skipped else "no array"
        raise ExplorerError(
            f"there is no vector to sweep ({why})", where=_named(files), remedy="save arrays [d] or [n, d] of numbers"
        )
    return Pool(unit_coordinates(np.concatenate(xy), np.concatenate(norms)), plane, spans, starts, skipped)


def _plane(block: Block, path: Path, a: int, b: int) -> Plane:
    try:
        return neuron_plane(block.rows.shape[1], a, b)
    except ExplorerError as error:
        raise ExplorerError(error.what, where=f"{path}, '{block.key}'", remedy=error.remedy) from None


def _named(files: Sequence[Path]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


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
    reduce: Reduce | None,
    file: FigureFile | None,
) -> None:
    """Sweep the spotlight over all vectors of the files; where keys tell, baseline and clamped by themselves too."""
    if len(set(thresholds)) < len(thresholds):
        raise ExplorerError("a threshold stands twice", where="--thresholds", remedy="give each one once")
    pooled = pool(files, a, b, reduce)
    whole = spotlight_sweep(pooled.points, thresholds, angles)
    if not whole.n:
        raise ExplorerError(
            f"none of the {count(len(pooled.points), 'vector')} is finite, '{pooled.label(0)}' is the first",
            remedy="look for NaN and infinite entries where they were made",
        )
    groups = sweep_groups(pooled.points, pooled.groups(), thresholds, angles)
    if csv_file is not None:
        write_atomic(csv_file, sweep_csv(whole).encode("utf-8", "backslashreplace"))
    _report(pooled, whole)
    shown = groups or {ALL: whole}
    if file is not None:
        # Of both, the first.
        name, first = next(iter(_charts(files, pooled, shown, "both" if chart == "none" else chart).items()))
        file.write(first, f"the {name} chart", quiet=as_json)
    if as_json:
        say_json(_as_json(files, pooled, whole, groups), "sweep")
        return
    colour = colour_wanted()
    for number, (name, sweep) in enumerate(({ALL: whole} | groups).items()):
        summary = f"N {sweep.n:,}  {_mean_of(sweep)}"
        say(*([""] if number else []), f"{bold(f'{name} vectors' if name == ALL else name, colour=colour)}  {summary}")
        say(*threshold_table(sweep))
    if csv_file is not None:
        say("", f"{count(angles, 'angle')} written to {visible(str(csv_file))}")
    size = screen_size(width, height)
    for each in _charts(files, pooled, shown, chart).values():
        say("", drawn(paint_polar(each, *size) if isinstance(each, PolarFigure) else paint_thresholds(each, *size)))


def sweep_csv(sweep: Sweep) -> str:
    """The sweep as CSV: `angle_deg, mean_similarity, count_thresh_<T>`, numbers as Python writes them."""
    file = io.StringIO()
    writer = CsvWriter(file)
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
        vectors = count(len(whole.nonfinite_runs), "vector")
        note(f"{vectors} with NaN or infinite entries, left out: {_some(pooled, whole.nonfinite_runs)}")


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


def _charts(
    files: Sequence[Path], pooled: Pool, sweeps: dict[str, Sweep], chart: str
) -> dict[str, PolarFigure | ThresholdFigure]:
    """The charts that are asked for, by name."""
    groups = [SweptGroup(name, _ROLES[name], sweep, sweep.n, sweep.n) for name, sweep in sweeps.items() if sweep.n]
    named = files[0].name if len(files) == 1 else count(len(files), "file")
    a, b = pooled.plane.label_a, pooled.plane.label_b
    title = visible(f"{named} · {a} × {b} of {pooled.plane.d:,}")
    legend = tuple(
        LegendEntry(group.label, group.role, (_mean_of(group.sweep), count(group.n_runs, "vector"))) for group in groups
    )
    charts: dict[str, PolarFigure | ThresholdFigure] = {}
    if chart in ("polar", "both"):
        polar = polar_counts(groups, a, b, telling_threshold(groups), title)
        charts["polar"] = dataclasses.replace(polar, legend=legend, warnings=())
    if chart in ("thresholds", "both"):
        charts["thresholds"] = dataclasses.replace(threshold_figure(groups, title), legend=legend, warnings=())
    return charts


def _mean_of(sweep: Sweep) -> str:
    return f"A {three_digits(sweep.amplitude)}  φ {degrees(sweep.phase_deg)}"
