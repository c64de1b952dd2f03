"""The best of millions of pairs of coordinates, by a score that is closed-form in their correlation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.analysis.contrast import Contrast, gain

Floats = NDArray[np.float64]

ROWS = 128
"""Coordinates whose pairs are scored at a time; with thousands of others the block stays in a few MB."""

Score: TypeAlias = Callable[[Floats, NDArray[np.int64], NDArray[np.int64]], Floats]
"""From the correlations [i, j] of coordinates i [i] with coordinates j [j] to scores [i, j], larger ones better, NaN
for pairs that are no candidates."""


@dataclass(frozen=True, eq=False)
class BestPairs:
    """The best pairs of a scan.

    Attributes:
        pairs: [pair, 2] coordinates, best first; the first is the smaller, or the one that all pairs share.
        scores: [pair].
        scanned: how many pairs had a score.
    """

    pairs: NDArray[np.int64]
    scores: Floats
    scanned: int


def scan_pairs(
    residual: Floats, score: Score, keep: int, columns: NDArray[np.int64], shared: int | None = None
) -> BestPairs:
    """Score every pair of coordinates and keep the best.

    Args:
        residual: [row, k] columns of length 1 (or 0), whose products are correlations.
        score: of a block of pairs.
        keep: how many pairs at most.
        columns: the coordinates that may be paired.
        shared: one that is in every pair; None for all pairs among the columns.
    """
    best = np.empty((0, 2), np.int64), np.empty(0)
    scanned = 0
    firsts = columns if shared is None else np.array([shared], np.int64)
    for start in range(0, len(firsts), ROWS):
        rows = firsts[start : start + ROWS]
        others = columns[start:] if shared is None else columns[columns != shared]
        found = score(residual[:, rows].T @ residual[:, others], rows, others)
        if shared is None:
            found = np.where(np.arange(len(others)) > np.arange(len(rows))[:, None], found, np.nan)
        known = np.isfinite(found)
        scanned += int(known.sum())
        least = best[1][-1] if len(best[1]) == keep else -np.inf
        above = np.flatnonzero(known.ravel() & (found.ravel() > least))
        if above.size > keep:
            above = above[np.argpartition(-found.ravel()[above], keep - 1)[:keep]]
        i, j = np.unravel_index(above, found.shape)
        pairs = np.concatenate([best[0], np.stack([rows[i], others[j]], axis=1)])
        scores = np.concatenate([best[1], found.ravel()[above]])
        order = np.argsort(-scores, kind="stable")[:keep]
        best = pairs[order], scores[order]
    return BestPairs(*best, scanned)


def separation_score(contrast: Contrast) -> Score:
    """Score pairs by their gain over the better of their marginals."""

    def score(rho: Floats, rows: NDArray[np.int64], others: NDArray[np.int64]) -> Floats:
        return gain(contrast.t[rows][:, None], contrast.t[others][None, :], rho, contrast.dof)

    return score


def marginal_score(contrast: Contrast) -> Score:
    """Score pairs by the second coordinate alone: where the experimenter set the first."""

    def score(rho: Floats, rows: NDArray[np.int64], others: NDArray[np.int64]) -> Floats:
        return np.broadcast_to(contrast.t[others] ** 2, rho.shape)

    return score


def anisotropy_score(residual: Floats) -> Score:
    """Score pairs by |correlation|: how far from round their cloud is once each coordinate has the same spread."""
    spreads = (residual != 0).any(axis=0)

    def score(rho: Floats, rows: NDArray[np.int64], others: NDArray[np.int64]) -> Floats:
        both = spreads[rows][:, None] & spreads[others][None, :]
        return np.where(both, np.minimum(np.abs(rho), 1.0), np.nan)

    return score
