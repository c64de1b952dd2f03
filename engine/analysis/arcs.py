"""Arcs: at which angles a spotlight sees how many vectors, without visiting every pair of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Makes the comparison strict on purpose: round-off alone puts cos 60 degrees above 0.5.
STRICT = 1e-12
# Below this many angles a boundary's nearest angle may belong to the other boundary; the direct way is fast there.
FEW_ANGLES = 8
# Rows at a time whose temporaries stay in the processor's cache.
BLOCK = 32_768

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
        return np.array([count_above(own, threshold, n_angles) for own in xy], np.int64).reshape(len(xy), n_angles)
    table = directions(n_angles)
    step = max(1, BLOCK // xy.shape[1])
    found = np.empty((len(xy), n_angles), np.int64)
    for start in range(0, len(xy), step):
        block = xy[start : start + step]
        plane = np.repeat(np.arange(len(block)), xy.shape[1])
        found[start : start + step] = _by_arcs(block.reshape(-1, 2), threshold + STRICT, table, plane, len(block))
    return found


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
