"""The spotlight sweep: how strongly, and how many, vectors align with a direction that turns in a plane."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.errors import ExplorerError

# Makes the comparison strict on purpose: round-off alone puts cos 60 degrees above 0.5.
STRICT = 1e-12
# Below this many angles a boundary's nearest angle may belong to the other boundary; the direct way is fast there.
FEW_ANGLES = 8
# Rows at a time whose temporaries stay in the processor's cache.
BLOCK = 32_768
FULL_TURN = 360

Table = tuple[NDArray[np.float64], NDArray[np.float64]]


def spotlight_angles(n_angles: int) -> NDArray[np.float64]:
    """Equally spaced angles [angle] in degrees, from 0, 360 excluded."""
    return np.arange(n_angles) * 360.0 / n_angles


def directions(n_angles: int) -> Table:
    """Cosine and sine [angle] of the spotlight's angles: the very numbers every comparison uses.

    For an even number of angles the second half is the first with the opposite sign, to the last bit.
    """
    radians = np.deg2rad(spotlight_angles(n_angles))
    if n_angles % 2:
        return np.cos(radians), np.sin(radians)
    cos, sin = np.cos(radians[: n_angles // 2]), np.sin(radians[: n_angles // 2])
    return np.concatenate([cos, -cos]), np.concatenate([sin, -sin])


def spotlight(theta: int) -> tuple[float, float]:
    """Cosine and sine of a whole angle in degrees: the very numbers the sweep compares with."""
    cos, sin = directions(FULL_TURN)
    return float(cos[theta % FULL_TURN]), float(sin[theta % FULL_TURN])


@overload
def is_lit(cosine: float, threshold: float) -> bool: ...
@overload
def is_lit(cosine: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]: ...
def is_lit(cosine: float | NDArray[np.float64], threshold: float) -> bool | NDArray[np.bool_]:
    """Whether a cosine is above a threshold as the sweep compares: strictly; NaN is not."""
    return cosine > threshold + STRICT


def count_above(xy: NDArray[np.float64], threshold: float, n_angles: int) -> NDArray[np.int64]:
    """Count, at every angle, the vectors whose cosine with the spotlight exceeds a threshold.

    Equal at every angle to the sum over runs of ``x cos(theta) + y sin(theta) > threshold + 1e-12``. A vector at
    polar coordinates (r, phi) has cosine ``r cos(theta - phi)``, so with ``c = threshold + 1e-12`` it is lit on one
    open arc of half-width ``arccos(c / r)`` when ``r > c >= 0``, and dark on one around ``phi + 180`` degrees when
    ``r >= -c > 0``. Where an arc ends close to an angle of the grid, the expression itself decides, so that ties and
    round-off agree bit for bit. Adding arcs costs O(run + angle), not O(run * angle).

    Args:
        xy: [run, 2] finite coordinates of unit vectors in the plane.
        threshold: cosine, -1 to 1; the comparison is strict.
        n_angles: equally spaced angles from 0, 360 degrees excluded.

    Returns:
        [angle] int64 counts, 0 to the number of runs.
    """
    table = directions(n_angles)
    bound = threshold + STRICT
    counts = np.zeros(n_angles, np.int64)
    for start in range(0, len(xy), BLOCK):
        block = xy[start : start + BLOCK]
        counts += _by_angle(block, bound, table) if n_angles < FEW_ANGLES else _by_arcs(block, bound, table)[0]
    return counts


def counts_above(xy: NDArray[np.float64], threshold: float, n_angles: int) -> NDArray[np.int64]:
    """Count as `count_above` does, in many planes at once.

    Args:
        xy: [plane, run, 2] finite coordinates of unit vectors in each plane.
        threshold: cosine, -1 to 1; the comparison is strict.
        n_angles: equally spaced angles from 0, 360 degrees excluded.

    Returns:
        [plane, angle] int64 counts.
    """
    if n_angles < FEW_ANGLES or not xy.size:
        return np.array([count_above(points, threshold, n_angles) for points in xy], np.int64).reshape(
            len(xy), n_angles
        )
    table = directions(n_angles)
    step = max(1, BLOCK // xy.shape[1])
    counts = np.empty((len(xy), n_angles), np.int64)
    for start in range(0, len(xy), step):
        block = xy[start : start + step]
        plane = np.repeat(np.arange(len(block)), xy.shape[1])
        counts[start : start + step] = _by_arcs(block.reshape(-1, 2), threshold + STRICT, table, plane, len(block))
    return counts


def _by_angle(xy: NDArray[np.float64], bound: float, table: Table) -> NDArray[np.int64]:
    x, y = xy[:, 0], xy[:, 1]
    return np.array([np.count_nonzero(x * cos + y * sin > bound) for cos, sin in zip(*table, strict=True)], np.int64)


def _by_arcs(
    xy: NDArray[np.float64], bound: float, table: Table, plane: NDArray[np.int64] | None = None, planes: int = 1
) -> NDArray[np.int64]:
    """[plane, angle] counts; `plane` [run] says which one a run's coordinates lie in."""
    cos, sin = table
    n_angles = len(cos)
    radius = np.hypot(xy[:, 0], xy[:, 1])
    # A margin of a few ulps: rows so close to the bound get an arc, whose end the expression then decides.
    crosses = (radius > 0) & (radius >= abs(bound) * (1 - 1e-15))
    x, y, radius = xy[crosses, 0], xy[crosses, 1], radius[crosses]
    lit_arcs = bound >= 0
    centre = np.arctan2(y, x) if lit_arcs else np.arctan2(-y, -x)
    half_width = np.arccos(np.minimum(abs(bound) / radius, 1.0))

    def inside(index: NDArray[np.int64]) -> NDArray[np.bool_]:
        angle = index % n_angles
        lit = x * cos[angle] + y * sin[angle] > bound
        return lit if lit_arcs else ~lit

    per_radian = n_angles / (2 * np.pi)
    first = np.rint((centre - half_width) * per_radian).astype(np.int64)
    first += ~inside(first)
    end = np.rint((centre + half_width) * per_radian).astype(np.int64)
    end += inside(end)
    row = np.zeros(len(xy), np.int64) if plane is None else plane
    covered = _add_arcs(first, np.maximum(end, first), n_angles, row[crosses], planes)
    return covered if lit_arcs else np.bincount(row, minlength=planes)[:, None] - covered


def _add_arcs(
    first: NDArray[np.int64], end: NDArray[np.int64], n_angles: int, row: NDArray[np.int64], rows: int
) -> NDArray[np.int64]:
    # An arc [first, end) covers at most half a turn around a centre within half a turn of 0, so it lies between
    # -n and n: lay two turns out a row, accumulate, and fold them. One column more for arcs that end with the turn.
    width = 2 * n_angles + 1
    home = row * width + n_angles
    steps = np.bincount(home + first, minlength=rows * width) - np.bincount(home + end, minlength=rows * width)
    laid = np.cumsum(steps.reshape(rows, width), axis=1)[:, : 2 * n_angles]
    return laid.reshape(rows, 2, n_angles).sum(axis=1)


# More angles than any screen or file can use; the arcs' arithmetic is exact far beyond.
MAX_ANGLES = 1_000_000


@dataclass(frozen=True, eq=False)
class UnitCoordinates:
    """Where unit vectors fall in a plane.

    Attributes:
        xy: [run, 2] coordinates divided by the norm; (0, 0) for a zero vector, NaN for a run that is not finite.
        zero: [run] True where the vector itself is zero.
        finite: [run] True where every entry of the vector is finite.
    """

    xy: NDArray[np.float64]
    zero: NDArray[np.bool_]
    finite: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(frozen=True, eq=False)
class Sweep:
    """What a spotlight saw of some runs while it turned once through a plane.

    The mean is exactly ``a cos(theta) + b sin(theta)``. Without a finite run, the mean and its parts are NaN.

    Attributes:
        angles_deg: [angle] 0 up to, not including, 360.
        mean: [angle] mean cosine with the spotlight over the n runs.
        a: mean cosine with the first direction.
        b: mean cosine with the second direction.
        amplitude: largest value of the mean, at the phase.
        phase_deg: angle of the largest mean, 0 to 360, 360 excluded; None where the amplitude is 0 or NaN.
        thresholds: [threshold] as given.
        counts: [threshold, angle] runs whose cosine is above the threshold.
        signed: [threshold, angle] counts minus the runs whose cosine is below minus the threshold.
        n: runs counted: finite ones, zero vectors included.
        zero_runs: indices of zero vectors among all runs of the experiment.
        nonfinite_runs: indices of runs left out of everything above.
        largest: the largest cosine that a counted run has with any direction of the plane: the length of its shadow;
            NaN without a finite run.
    """

    angles_deg: NDArray[np.float64]
    mean: NDArray[np.float64]
    a: float
    b: float
    amplitude: float
    phase_deg: float | None
    thresholds: tuple[float, ...]
    counts: NDArray[np.int64]
    signed: NDArray[np.int64]
    n: int
    zero_runs: tuple[int, ...]
    nonfinite_runs: tuple[int, ...]
    largest: float = math.nan

    @property
    def fraction(self) -> NDArray[np.float64]:
        """Counts divided by n: [threshold, angle], 0 to 1; NaN without a finite run."""
        return self.counts / self.n if self.n else np.full(self.counts.shape, np.nan)


def unit_coordinates(xy: ArrayLike, norm: ArrayLike) -> UnitCoordinates:
    """Divide plane coordinates by the norms of their vectors.

    Args:
        xy: [run, 2] raw coordinates.
        norm: [run] norms in the full space.

    Raises:
        ExplorerError: the shapes do not fit together.
    """
    raw = np.asarray(xy, np.float64)
    length = np.asarray(norm, np.float64)
    if raw.ndim != 2 or raw.shape[1] != 2 or length.shape != raw.shape[:1]:
        raise ExplorerError(f"expected coordinates [run, 2] and norms [run], got {raw.shape} and {length.shape}")
    zero = (length == 0) & (raw[:, 0] == 0) & (raw[:, 1] == 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        unit = raw / np.where(zero, 1.0, length)[:, None]
    finite = np.isfinite(unit).all(axis=1) & np.isfinite(length) & (length >= 0)
    unit[~finite] = np.nan
    return UnitCoordinates(xy=unit, zero=zero, finite=finite)


def spotlight_sweep(
    points: UnitCoordinates, thresholds: Sequence[float], n_angles: int = 360, runs: ArrayLike | None = None
) -> Sweep:
    """Turn a spotlight through a plane and record mean cosine and counts above thresholds.

    Counts equal ``x cos(theta) + y sin(theta) > threshold + 1e-12`` at every angle; see `count_above`.

    Args:
        thresholds: cosines from -1 to 1, any number, in any order.
        n_angles: equally spaced angles from 0, 360 degrees excluded.
        runs: indices or mask [run] of the runs to use; a repeated index counts as often as it stands. All by default.

    Raises:
        ExplorerError: a threshold is outside -1 to 1, or the number of angles is not a whole number from 1.
    """
    levels = checked_thresholds(thresholds)
    n_angles = checked_angles(n_angles)
    index = np.asarray(np.arange(len(points)) if runs is None else runs)
    # An empty list arrives as floats, which do not index.
    chosen = np.arange(len(points))[index if index.size else index.astype(np.int64)]
    used = points.xy[chosen[points.finite[chosen]]]
    a, b = used.mean(axis=0) if len(used) else (np.nan, np.nan)
    cos, sin = directions(n_angles)
    counts = np.array([count_above(used, level, n_angles) for level in levels], np.int64).reshape(-1, n_angles)
    if n_angles % 2:
        below = np.array([count_above(-used, level, n_angles) for level in levels], np.int64).reshape(-1, n_angles)
    else:
        below = np.roll(counts, n_angles // 2, axis=1)
    return sweep_from_counts(points, chosen, levels, a * cos + b * sin, (float(a), float(b)), counts, counts - below)


def sweep_groups(
    points: UnitCoordinates, groups: Mapping[str, ArrayLike], thresholds: Sequence[float], n_angles: int = 360
) -> dict[str, Sweep]:
    """Sweep the spotlight over every group of runs, in the groups' order.

    Args:
        groups: indices or mask [run] by the group's name; groups may overlap (see `group_runs`).
        thresholds: cosines from -1 to 1.
        n_angles: equally spaced angles from 0, 360 degrees excluded.

    Raises:
        ExplorerError: as `spotlight_sweep`.
    """
    return {name: spotlight_sweep(points, thresholds, n_angles, runs) for name, runs in groups.items()}


def sweep_from_counts(
    points: UnitCoordinates,
    chosen: NDArray[np.int64],
    levels: tuple[float, ...],
    mean: NDArray[np.float64],
    parts: tuple[float, float],
    counts: NDArray[np.int64],
    signed: NDArray[np.int64],
) -> Sweep:
    amplitude = float(np.hypot(*parts))
    # The second remainder: a phase of -1e-17 degrees becomes 360.0 in the first.
    phase = float(np.degrees(np.arctan2(parts[1], parts[0]))) % 360.0 % 360.0 if amplitude > 0 else None
    finite = chosen[points.finite[chosen]]
    return Sweep(
        angles_deg=spotlight_angles(counts.shape[1]),
        mean=mean,
        a=parts[0],
        b=parts[1],
        amplitude=amplitude,
        phase_deg=phase,
        thresholds=levels,
        counts=counts,
        signed=signed,
        n=len(finite),
        zero_runs=_listed(chosen[points.zero[chosen]]),
        nonfinite_runs=_listed(chosen[~points.finite[chosen]]),
        largest=float(np.hypot(*points.xy[finite].T).max()) if len(finite) else math.nan,
    )


def _listed(runs: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(np.unique(runs).tolist())


def checked_thresholds(thresholds: Sequence[float]) -> tuple[float, ...]:
    """The thresholds as numbers; refused where one is no cosine."""
    levels = tuple(float(level) for level in thresholds)
    for level in levels:
        if not -1.0 <= level <= 1.0:
            raise ExplorerError(f"threshold {level:g} is not a cosine", remedy="choose thresholds from -1 to 1")
    return levels


def checked_angles(n_angles: int) -> int:
    """The number of angles; refused where it is no whole number from 1 to `MAX_ANGLES`."""
    try:
        number = operator.index(n_angles)
    except TypeError:
        number = 0
    if not 1 <= number <= MAX_ANGLES or isinstance(n_angles, bool):
        raise ExplorerError(
            f"{n_angles!r} is not a number of angles", remedy=f"choose a whole number from 1 to {MAX_ANGLES:,}"
        )
    return number
