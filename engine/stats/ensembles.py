"""The spotlight over an ensemble of planes: every pair of basis vectors spans one, and all planes are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats.planes import CHUNK_ELEMENTS, COLLINEAR_SINE, plane_from_vectors, real_table
from srm_explorer.engine.stats.spotlight import checked_angles, checked_thresholds, count_above, spotlight_angles

PairKind: TypeAlias = Literal["perm", "comb"]
"""Ordered pairs (i, j) and (j, i) of basis vectors, or each pair once, i < j."""

# Below this sine the products with the basis vectors no longer tell the second direction to 1e-13: it is projected on.
NEARLY_COLLINEAR = 1e-3


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The planes that pairs of basis vectors span: e1 along the first, e2 along what the second adds to it.

    Attributes:
        directions: [k + extra, d] unit vectors: the basis, then the second directions of nearly collinear pairs.
        pairs: [plane, 2] the two basis vectors of each plane.
        gram: [plane] cosine between the two.
        sine: [plane] length of the second's rest, what it adds to the first.
        extra: [plane] row of `directions` that holds the plane's second direction; -1 where the products tell it.
        skipped: pairs on one line, which span no plane.
        kind: which pairs were taken.
    """

    directions: NDArray[np.float64]
    pairs: NDArray[np.int64]
    gram: NDArray[np.float64]
    sine: NDArray[np.float64]
    extra: NDArray[np.int64]
    skipped: tuple[tuple[int, int], ...]
    kind: PairKind

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def d(self) -> int:
        return int(self.directions.shape[1])


@dataclass(frozen=True, eq=False)
class EnsembleSweep:
    """What a spotlight saw while it turned once through every plane of an ensemble.

    Attributes:
        angles_deg: [angle] 0 up to, not including, 360.
        thresholds: [threshold] as given.
        fraction: [threshold, angle] vectors whose cosine reaches the threshold, as a share of n; mean over planes.
        spread: [threshold, angle] its standard deviation over planes (ddof 0).
        n: vectors counted: finite ones, zero vectors included.
        n_planes: planes averaged.
        nonfinite: indices of vectors left out.
    """

    angles_deg: NDArray[np.float64]
    thresholds: tuple[float, ...]
    fraction: NDArray[np.float64]
    spread: NDArray[np.float64]
    n: int
    n_planes: int
    nonfinite: tuple[int, ...]


def ensemble_of(basis: ArrayLike, kind: PairKind) -> Ensemble:
    """Span a plane by every pair of basis vectors (Bird 2025, Spotlight Resonance Method).

    Args:
        basis: [k, d] directions of any length.
        kind: "perm" for all ordered pairs i != j, "comb" for i < j.

    Raises:
        ExplorerError: fewer than two vectors, one that is zero or not finite, another kind, or all on one line.
    """
    unit = _unit_basis(basis)
    if kind not in get_args(PairKind):
        raise ExplorerError(f"{kind!r} is no kind of ensemble", remedy="choose perm or comb")
    gram = unit @ unit.T
    sine = np.stack([np.linalg.norm(unit - row[:, None] * unit[i], axis=1) for i, row in enumerate(gram)])
    pairs: list[tuple[int, int]] = []
    skipped: list[tuple[int, int]] = []
    directions = [*unit]
    extra: list[int] = []
    for i, j in (permutations if kind == "perm" else combinations)(range(len(unit)), 2):
        if sine[i, j] < COLLINEAR_SINE:
            skipped.append((i, j))
            continue
        pairs.append((i, j))
        near = sine[i, j] < NEARLY_COLLINEAR
        extra.append(len(directions) if near else -1)
        if near:
            directions.append(plane_from_vectors(unit[i], unit[j]).basis[1])
    if not pairs:
        raise ExplorerError(
            f"all {len(unit)} basis vectors lie on one line", remedy="choose two directions that span a plane"
        )
    index = np.array(pairs, np.int64)
    first, second = index.T
    return Ensemble(
        directions=np.stack(directions),
        pairs=index,
        gram=gram[first, second],
        sine=sine[first, second],
        extra=np.array(extra, np.int64),
        skipped=tuple(skipped),
        kind=kind,
    )


def ensemble_cosines(vectors: ArrayLike, ensemble: Ensemble) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cosines of vectors with an ensemble's directions, in float64, a chunk of rows at a time.

    Args:
        vectors: [run, d] real numbers.

    Returns:
        [run, direction] cosines: 0 for a zero vector, NaN for one that is not finite; and [run] which ones are zero.

    Raises:
        ExplorerError: the array is not [run, d] of real numbers, or its width is not the ensemble's.
    """
    array = real_table(vectors)
    if array.shape[1] != ensemble.d:
        raise ExplorerError(
            f"the vectors have {array.shape[1]} entries, the basis vectors {ensemble.d}",
            remedy="take both from the same site",
        )
    cosines = np.empty((len(array), len(ensemble.directions)))
    zero = np.zeros(len(array), np.bool_)
    rows = max(1, CHUNK_ELEMENTS // max(1, ensemble.d))
    for start in range(0, len(array), rows):
        chunk = array[start : start + rows].astype(np.float64)
        largest = np.abs(chunk).max(axis=1, initial=0.0)
        bad = ~np.isfinite(largest)
        none = zero[start : start + rows] = largest == 0
        chunk[bad] = 0.0
        # Scaled first, so that squares neither overflow nor vanish.
        chunk /= np.where(bad | none, 1.0, largest)[:, None]
        chunk /= np.where(bad | none, 1.0, np.linalg.norm(chunk, axis=1))[:, None]
        cosines[start : start + rows] = chunk @ ensemble.directions.T
        cosines[start : start + rows][bad] = np.nan
    return cosines, zero


def ensemble_sweep(
    points: NDArray[np.float64], ensemble: Ensemble, thresholds: Sequence[float], n_angles: int = 360
) -> EnsembleSweep:
    """Turn a spotlight through every plane of an ensemble and average the share of vectors it lights.

    In the plane of (i, j) a unit vector lies at ``x = p_i`` and ``y = (p_j - g p_i) / s``, where p are its cosines
    with the basis vectors, g theirs with each other and ``s = sqrt(1 - g^2)``; it is lit where
    ``x cos(theta) + y sin(theta) >= threshold - 1e-12``. Costs O(plane * (run + angle)), whatever the width.

    Args:
        points: [run, direction] cosines as `ensemble_cosines` gives them.
        thresholds: cosines from -1 to 1, in any order.
        n_angles: equally spaced angles from 0, 360 degrees excluded.

    Raises:
        ExplorerError: a threshold is no cosine, the number of angles no whole number from 1, or no vector is finite.
    """
    levels = checked_thresholds(thresholds)
    n_angles = checked_angles(n_angles)
    if not levels:
        raise ExplorerError("there is no threshold", remedy="name at least one, as 0.5")
    finite = np.isfinite(points).all(axis=1)
    used = np.ascontiguousarray(points[finite].T)
    n = used.shape[1]
    if not n:
        raise ExplorerError("no vector is finite", remedy="look for NaN and infinite entries where they were made")
    counts = np.zeros((len(levels), n_angles), np.int64)
    mean = np.zeros(counts.shape)
    squares = np.zeros(counts.shape)
    for number in range(len(ensemble)):
        i, j = ensemble.pairs[number]
        row = ensemble.extra[number]
        y = used[row] if row >= 0 else (used[j] - ensemble.gram[number] * used[i]) / ensemble.sine[number]
        away = np.stack([-used[i], -y], axis=1)
        # What is not below the bound: strictly above the opposite bound on the opposite side, to the last bit.
        lit = n - np.stack([_counted(away, -level, n_angles) for level in levels])
        counts += lit
        share = lit / n
        step = share - mean
        mean += step / (number + 1)
        squares += step * (share - mean)
    return EnsembleSweep(
        angles_deg=spotlight_angles(n_angles),
        thresholds=levels,
        fraction=counts / (n * len(ensemble)),
        spread=np.sqrt(np.maximum(squares, 0.0) / len(ensemble)),
        n=n,
        n_planes=len(ensemble),
        nonfinite=tuple(np.flatnonzero(~finite).tolist()),
    )


_ROWS = 1 << 18
"""Vectors that are counted at a time: sorting them takes several times their own memory."""


def _counted(points: NDArray[np.float64], level: float, n_angles: int) -> NDArray[np.int64]:
    """[angle] how many of [run, 2] points lie above a level, as `count_above` has it, a chunk of rows at a time."""
    counts = [count_above(points[at : at + _ROWS], level, n_angles) for at in range(0, len(points), _ROWS)]
    return np.sum(counts, axis=0)


def _unit_basis(basis: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(basis)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise ExplorerError(
            f"a basis is a table of real numbers, one row a vector; got shape {array.shape}, type {array.dtype}"
        )
    if len(array) < 2:
        raise ExplorerError(
            f"an ensemble needs at least two basis vectors, there is {len(array) or 'none'}",
            remedy="give one vector a key, or a table [k, d]",
        )
    array = array.astype(np.float64)
    largest = np.abs(array).max(axis=1, initial=0.0)
    for number in np.flatnonzero(~np.isfinite(largest) | (largest == 0)):
        problem = "zero" if largest[number] == 0 else "not finite"
        raise ExplorerError(f"basis vector {number + 1} is {problem}", remedy="choose another, or leave it out")
    array /= largest[:, None]
    return array / np.linalg.norm(array, axis=1, keepdims=True)
