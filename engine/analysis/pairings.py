"""Pairings: how one quantity of the runs goes together with each of thousands of others, and whether by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from engine.analysis.blocks import CHUNK_ELEMENTS, Blocks

# What float32 storage leaves of a constant column after centring, relative to its size.
CONSTANT = 3e-7
# Correlations are permuted in float32; differences below this are ties.
TIE = 1e-5
RARE = 10
"""Partners reached by fewer permutations than this get more of them."""
REFINED = 64
"""At most so many partners, those furthest from chance, get more permutations."""
MORE = 50
"""Times as many."""

Method = Literal["pearson", "spearman"]
Scale = Literal["whole", "each"]


@dataclass(frozen=True, eq=False)
class Pairing:
    """One quantity against each of many partners, in one way.

    Attributes:
        r: [partner] correlation; NaN where the partner or the quantity is constant.
        p: [partner] two-sided permutation p; NaN where r is, or where no permutation changes it.
        each: [label, partner] correlation within each label, where they were scaled one by one; else empty.
    """

    r: NDArray[np.float64]
    p: NDArray[np.float64]
    each: NDArray[np.float64]


def pair(
    x: ArrayLike,
    y: ArrayLike,
    blocks: Blocks,
    *,
    labels: Sequence[int] | None = None,
    scale: Scale = "whole",
    method: Method = "pearson",
    permutations: int = 2000,
    seed: int = 0,
) -> Pairing:
    """Correlate a quantity with every partner, and permute it in blocks.

    With labels, their means are removed first. Scaled as a "whole" this is the partial correlation on the labels;
    scaled "each", it is the mean of the correlations within the labels. Spearman ranks what has the labels' means
    removed ("whole"), or ranks within each label ("each").

    p compares |r - E r| with that of the permuted quantity, where E r is the exact mean over all permutations: zero
    for one class of blocks, else what the groups that never mix share. It counts the data as one of the permutations
    (Phipson and Smyth 2010). The partners furthest from chance, at most `REFINED` of those that fewer than `RARE`
    permutations reach, get `MORE` times as many further permutations, drawn as the first ones.

    Args:
        x: [run] finite.
        y: [run, partner] finite.
        blocks: which runs may change places, of the same number of runs.
        labels: [run] whole numbers from 0; None for one label.
        scale: see above.
        method: of correlation.
        permutations: of the first round; 0 for no p.
        seed: of the permutations.
    """
    own = np.zeros(len(np.asarray(x)), np.int64) if labels is None else np.asarray(labels, np.int64)
    xs, ys = np.asarray(x, np.float64)[:, None], np.asarray(y, np.float64)
    xs, ys = (standardised(values, own, scale, method) for values in (xs, ys))
    n_labels = int(own.max(initial=-1)) + 1
    each = np.empty((0, ys.shape[1]))
    if scale == "each":
        each = np.stack([xs[own == label, 0] @ ys[own == label] for label in range(n_labels)] or [np.zeros(0)])
        known = np.stack([_known(xs[own == k]) & _known(ys[own == k]) for k in range(n_labels)])
        each[~known] = np.nan
        times = known.sum(axis=0)
        ys = ys / np.where(times, times, 1)
        # A label that a partner is constant in counts for nothing, on both sides of the comparison.
        valid = times > 0
    else:
        valid = _known(xs) & _known(ys)
    r = np.where(valid, np.clip(xs[:, 0] @ ys, -1.0, 1.0), np.nan)
    p = _permuted(xs[:, 0], np.where(valid, ys, 0.0), blocks, permutations, seed)
    return Pairing(r, np.where(valid, p, np.nan), each)


def standardised(
    values: NDArray[np.float64], labels: NDArray[np.int64], scale: Scale, method: Method
) -> NDArray[np.float64]:
    """Remove the labels' means and give columns length 1, as a whole or within each label; constant ones become 0.

    Args:
        values: [run, column] finite.
        labels: [run] from 0.
        scale: what is given length 1.
        method: "spearman" for ranks, see `pair`.
    """
    found = np.array(values, np.float64)
    for label in range(int(labels.max(initial=-1)) + 1):
        rows = np.flatnonzero(labels == label)
        own = found[rows]
        if method == "spearman" and scale == "each":
            own = _ranks(own)
        own = own - own.mean(axis=0) if rows.size else own
        found[rows] = _unit_columns(own, values[rows], method == "spearman") if scale == "each" else own
    if scale == "whole":
        if method == "spearman":
            # Ranks would make much of the round-off that is left of a constant column.
            there = _known(_unit_columns(found, values, False))
            ranks = _ranks(found)
            found = np.where(there, ranks - (len(ranks) + 1) / 2, 0.0)
        found = _unit_columns(found, values, method == "spearman")
    return found


def _unit_columns(centred: NDArray[np.float64], raw: NDArray[np.float64], ranked: bool) -> NDArray[np.float64]:
    length = np.sqrt((centred**2).sum(axis=0))
    least = 0.0 if ranked else CONSTANT * np.sqrt((raw**2).sum(axis=0))
    return np.asarray(np.where(length > least, centred / np.where(length > 0, length, 1.0), 0.0), np.float64)


def _ranks(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1 within each column, ties sharing their mean."""
    return np.asarray(cast("Any", stats).rankdata(columns, axis=0), np.float64)


def _known(columns: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (columns != 0).any(axis=0)


def _permuted(
    x: NDArray[np.float64], y: NDArray[np.float64], blocks: Blocks, permutations: int, seed: int
) -> NDArray[np.float64]:
    rest_x, rest_y = blocks.centred(x), blocks.centred(y)
    length = np.sqrt((rest_y**2).sum(axis=0))
    moves = (length > TIE) & bool(np.sqrt(rest_x @ rest_x) > TIE)
    if not moves.any() or not permutations:
        return np.full(len(length), np.nan)
    rng = np.random.default_rng(seed)
    far = np.abs(rest_x @ rest_y)
    reached = _reached(rest_x, rest_y, far, blocks, permutations, rng)
    drawn = np.full(y.shape[1], permutations)
    rare = np.flatnonzero(moves & (reached < RARE))
    rare = rare[np.argsort(-far[rare] / length[rare], kind="stable")[:REFINED]]
    if rare.size:
        further = permutations * MORE
        reached[rare] += _reached(rest_x, rest_y[:, rare], far[rare], blocks, further, rng)
        drawn[rare] += further
    return np.where(moves, (1 + reached) / (1 + drawn), np.nan)


def _reached(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    far: NDArray[np.float64],
    blocks: Blocks,
    permutations: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """[partner] how many permutations come at least as far from their mean as the data."""
    columns = np.ascontiguousarray(y[blocks.order], np.float32)
    least = (far - TIE).astype(np.float32)
    found = np.zeros(y.shape[1], np.int64)
    for drawn in blocks.permuted(x.astype(np.float32), permutations, rng):
        # Partners come by the thousand: a slice of the draws at a time keeps their products small.
        for some in np.array_split(drawn, max(1, len(drawn) * y.shape[1] // CHUNK_ELEMENTS)):
            found += (np.abs(some @ columns) >= least).sum(axis=0)
    return found


def row_cosines(weights: ArrayLike, row: int) -> NDArray[np.float64]:
    """Cosine of one row with every row, [row]; NaN with a row of zeros.

    Args:
        weights: [row, d] such as W_out, a neuron a row.
        row: which.
    """
    found = np.asarray(weights, np.float64)
    length = np.sqrt((found**2).sum(axis=1))
    unit = found / np.where(length > 0, length, np.nan)[:, None]
    cosines: NDArray[np.float64] = unit @ unit[row]
    return cosines
