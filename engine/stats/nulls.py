"""Nulls: the curves that planes chosen by chance draw of the same runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.stats.spotlight import counts_above, directions

Floats = NDArray[np.float64]

PARTNERS = 200
LEVEL = 0.95
# 64 MB of float64 coordinates at a time.
CHUNK_ELEMENTS = 8_000_000


@dataclass(frozen=True, eq=False)
class NullCurves:
    """Where most curves lie that planes chosen by chance draw of some runs.

    The band is pointwise: at every angle by itself it holds the middle part of the planes, not whole curves.

    Attributes:
        planes: how many were drawn.
        mean: [2, angle] of the mean cosine.
        counts: by threshold [2, angle], in runs.
    """

    planes: int
    mean: Floats
    counts: Mapping[float, Floats]


def draw_partners(width: int, excluded: Sequence[int], number: int = PARTNERS, seed: int = 0) -> NDArray[np.int64]:
    """Draw coordinates without replacement, ascending; all there are where they are no more than the number.

    Args:
        excluded: coordinates that are not drawn.
    """
    others = np.setdiff1d(np.arange(width), np.array(list(excluded), np.int64))
    if len(others) <= number:
        return others
    return np.sort(np.random.default_rng(seed).choice(others, size=number, replace=False))


def partner_coordinates(
    vectors: NDArray[np.floating], norm: Floats, kept: Floats, direction: Floats, partners: NDArray[np.int64]
) -> Floats:
    """Coordinates in the planes of one direction, kept, and each partner, made orthogonal to it.

    Args:
        vectors: [run, d].
        norm: [run] their norms; a zero vector stays at the origin.
        kept: [run] cosine of each vector with the direction.
        direction: [d] unit vector that lies at 0 degrees in every plane.
        partners: [plane] coordinates.

    Returns:
        [plane, run, 2]; a partner that is the direction itself leaves nothing at 90 degrees.
    """
    length = np.where(norm > 0, norm, 1.0)
    entries = direction[partners]
    across = vectors[:, partners].astype(np.float64) / length[:, None] - kept[:, None] * entries
    left = np.sqrt(np.maximum(1.0 - entries**2, 0.0))
    across = np.where(left > 1e-9, across / np.where(left > 1e-9, left, 1.0), 0.0)
    return np.stack([np.broadcast_to(kept, across.T.shape), across.T], axis=2)


def plane_coordinates(vectors: NDArray[np.floating], norm: Floats, bases: Floats) -> Floats:
    """Coordinates [plane, run, 2] of vectors [run, d], divided by their norms [run], in planes [plane, 2, d]."""
    length = np.where(norm > 0, norm, 1.0)
    flat = bases.reshape(-1, bases.shape[2])
    points = np.empty((len(vectors), len(flat)))
    step = max(1, CHUNK_ELEMENTS // max(1, vectors.shape[1]))
    for start in range(0, len(vectors), step):
        rows = slice(start, start + step)
        points[rows] = vectors[rows].astype(np.float64) @ flat.T
    return np.moveaxis((points / length[:, None]).reshape(len(vectors), len(bases), 2), 0, 1)


def isotropic_planes(width: int, number: int = PARTNERS, seed: int = 0) -> Floats:
    """Planes [plane, 2, width] whose direction is as likely one way as another."""
    return _orthonormal(np.random.default_rng(seed).normal(size=(number, 2, width)))


def second_moment_planes(baseline: NDArray[np.floating], number: int = PARTNERS, seed: int = 0) -> Floats:
    """Planes [plane, 2, d] whose directions have the second moment of the baseline's vectors [run, d], uncentred.

    A direction is ``X' g`` with X the vectors divided by their norms and g standard normal: its covariance is X' X,
    which is never formed.
    """
    step = max(1, CHUNK_ELEMENTS // max(1, baseline.shape[1]))
    starts = range(0, len(baseline), step)
    lengths = [np.sqrt((baseline[at : at + step].astype(np.float64) ** 2).sum(axis=1)) for at in starts]
    length = np.concatenate(lengths or [np.empty(0)])
    rows = np.flatnonzero(np.isfinite(length) & (length > 0))
    drawn = np.random.default_rng(seed).normal(size=(number * 2, len(rows)))
    directions_of = np.zeros((number * 2, baseline.shape[1]))
    for at in range(0, len(rows), step):
        chosen = rows[at : at + step]
        directions_of += drawn[:, at : at + step] @ (baseline[chosen].astype(np.float64) / length[chosen, None])
    return _orthonormal(directions_of.reshape(number, 2, -1))


def null_curves(xy: Floats, thresholds: Sequence[float], n_angles: int = 360, level: float = LEVEL) -> NullCurves:
    """The pointwise band of the curves that planes draw of the same runs.

    Args:
        xy: [plane, run, 2] coordinates of unit vectors in each plane; runs that are not finite are left out.
        thresholds: cosines.
        n_angles: equally spaced angles from 0, 360 degrees excluded.
        level: part of the planes that lie inside, at each angle.
    """
    finite = np.isfinite(xy).all(axis=(0, 2))
    used = xy[:, finite]
    ends = [(1 - level) / 2, (1 + level) / 2]
    cos, sin = directions(n_angles)
    if not used.size:
        nothing = np.full((2, n_angles), np.nan)
        return NullCurves(len(xy), nothing, {float(level): nothing for level in thresholds})
    middle = used.mean(axis=1)
    mean = np.quantile(middle[:, :1] * cos + middle[:, 1:] * sin, ends, axis=0)
    counts = {float(level): np.quantile(counts_above(used, level, n_angles), ends, axis=0) for level in thresholds}
    return NullCurves(len(xy), mean, counts)


def _orthonormal(pairs: Floats) -> Floats:
    """Gram-Schmidt on pairs [plane, 2, d]; a pair without two directions becomes zero."""
    first = pairs[:, 0] / _length(pairs[:, 0])
    second = pairs[:, 1] - (pairs[:, 1] * first).sum(axis=1, keepdims=True) * first
    return np.stack([first, second / _length(second)], axis=1)


def _length(rows: Floats) -> Floats:
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.where(length > 0, length, 1.0)
