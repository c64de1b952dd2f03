"""Vectors of several files pooled into one list of points in a plane."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.analysis.planes import Plane, coordinates, neuron_plane
from engine.analysis.srm import UnitCoordinates, unit_coordinates
from engine.errors import ExplorerError
from engine.npz import Block, Skipped, read_npz

_SWEEP = re.compile(r"_sweep=(?P<value>.*?)(_sample=[0-9]+)?$", re.DOTALL)
_BASELINE = ("", "baseline", "none")
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
        """What to call a vector: its key, with the index in a table, and the file where there are several."""
        at = bisect_right(self.starts, vector) - 1
        span = self.spans[at]
        own = f"{span.key}[{span.first + vector - self.starts[at]}]" if span.is_table else span.key
        return f"{span.file}: {own}" if len({span.file for span in self.spans}) > 1 else own

    def groups(self) -> dict[str, NDArray[np.int64]]:
        """Vector numbers of the baseline, of the reference and of the rest, where keys tell; else empty."""
        found: dict[str, list[NDArray[np.int64]]] = {"baseline": [], "reference": [], CLAMPED: []}
        for span, start, end in zip(self.spans, self.starts, [*self.starts[1:], len(self.points)], strict=True):
            found[group_of(span.key)].append(np.arange(start, end))
        if not found[CLAMPED] and not found["reference"] and all("_sweep=" not in span.key for span in self.spans):
            return {}
        return {name: np.concatenate(parts) for name, parts in found.items() if parts}


def group_of(key: str) -> str:
    """The group a key's `_sweep=<value>` puts its vectors in: "baseline" (also without one), "reference", "clamped"."""
    match = _SWEEP.search(key)
    value = match["value"].strip().casefold() if match else ""
    return "baseline" if value in _BASELINE else "reference" if value == "reference" else CLAMPED


def pool(files: Sequence[Path], a: int, b: int) -> Pool:
    """Project every vector of the files on the plane of two of their coordinates.

    The first vector's width is that of the plane; arrays of another are left out. Only two coordinates and the norm of
    each vector are kept.

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
        for part in read_npz(path):
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
