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
    methods: Sequence[Method] = ("pearson", "spearman"),
    permutations: int = 2000,
    seed: int = 0,
) -> dict[Method, Pairing]:
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
        methods: of correlation; all are permuted alike.
        permutations: of the first round; 0 for no p.
        seed: of the permutations.
    """
    values, partners = np.asarray(x, np.float64)[:, None], np.asarray(y, np.float64)
    own = np.zeros(len(values), np.int64) if labels is None else np.asarray(labels, np.int64)
    found: dict[Method, _Correlated] = {method: _correlated(values, partners, own, scale, method) for method in methods}
    p = _permuted([(one.x, one.y) for one in found.values()], blocks, permutations, seed)
    return {
        method: Pairing(one.r, np.where(np.isnan(one.r), np.nan, own_p), one.each)
        for (method, one), own_p in zip(found.items(), p, strict=True)
    }


@dataclass(frozen=True, eq=False)
class _Correlated:
    """[run] and [run, partner] whose product is [partner] r; zero columns where r is NaN."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    r: NDArray[np.float64]
    each: NDArray[np.float64]


def _correlated(
    x: NDArray[np.float64], y: NDArray[np.float64], labels: NDArray[np.int64], scale: Scale, method: Method
) -> _Correlated:
    xs, ys = (standardised(values, labels, scale, method) for values in (x, y))
    each = np.empty((0, ys.shape[1]))
    if scale == "each":
        rows = [labels == label for label in range(int(labels.max(initial=-1)) + 1)]
        known = np.array([_known(xs[own]) & _known(ys[own]) for own in rows]).reshape(len(rows), ys.shape[1])
        each = np.where(known, np.array([xs[own, 0] @ ys[own] for own in rows]).reshape(known.shape), np.nan)
        times = known.sum(axis=0)
        # A label that a partner is constant in counts for nothing, on both sides of the comparison.
        ys = ys / np.where(times, times, 1)
        valid = times > 0
    else:
        valid = _known(xs) & _known(ys)
    r = np.where(valid, np.clip(xs[:, 0] @ ys, -1.0, 1.0), np.nan)
    return _Correlated(xs[:, 0], np.where(valid, ys, 0.0), r, each)


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
    pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], blocks: Blocks, permutations: int, seed: int
) -> list[NDArray[np.float64]]:
    """[partner] p of each pair of x [run] and y [run, partner], under the same permutations."""
    tests = [_Test.of(x, y, blocks) for x, y in pairs]
    rng = np.random.default_rng(seed)
    if not permutations or not any(test.moves.any() for test in tests):
        return [np.full(len(test.moves), np.nan) for test in tests]
    for columns, number in ((None, permutations), (REFINED, permutations * MORE)):
        chosen = [test.furthest(columns) for test in tests]
        if any(one.size for one in chosen):
            _count(tests, chosen, blocks, number, rng)
    return [np.where(test.moves, (1 + test.reached) / (1 + test.drawn), np.nan) for test in tests]


@dataclass(eq=False)
class _Test:
    """One quantity, its partners, and how many permutations came as far as the data."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    far: NDArray[np.float64]
    length: NDArray[np.float64]
    moves: NDArray[np.bool_]
    reached: NDArray[np.int64]
    drawn: NDArray[np.int64]

    @classmethod
    def of(cls, x: NDArray[np.float64], y: NDArray[np.float64], blocks: Blocks) -> _Test:
        rest_x, rest_y = blocks.centred(x), blocks.centred(y)
        length = np.sqrt((rest_y**2).sum(axis=0))
        moves = (length > TIE) & bool(np.sqrt(rest_x @ rest_x) > TIE)
        none = np.zeros(len(length), np.int64)
        return cls(rest_x, rest_y, np.abs(rest_x @ rest_y), length, moves, none, none.copy())

    def furthest(self, most: int | None) -> NDArray[np.int64]:
        """Partners to permute: all at first, then those that few permutations reached, the furthest first."""
        if most is None:
            return np.flatnonzero(self.moves)
        rare = np.flatnonzero(self.moves & (self.reached < RARE))
        return rare[np.argsort(-self.far[rare] / self.length[rare], kind="stable")[:most]]


def _count(
    tests: Sequence[_Test], chosen: Sequence[NDArray[np.int64]], blocks: Blocks, number: int, rng: np.random.Generator
) -> None:
    columns = [
        np.ascontiguousarray(test.y[np.ix_(blocks.order, own)], np.float32)
        for test, own in zip(tests, chosen, strict=True)
    ]
    least = [(test.far[own] - TIE).astype(np.float32) for test, own in zip(tests, chosen, strict=True)]
    for moved in blocks.permuted([test.x.astype(np.float32) for test in tests], number, rng):
        for place, (test, own, drawn) in enumerate(zip(tests, chosen, moved, strict=True)):
            # Partners come by the thousand: a slice of the draws at a time keeps their products small.
            for some in np.array_split(drawn, max(1, len(drawn) * len(own) // CHUNK_ELEMENTS)):
                test.reached[own] += (np.abs(some @ columns[place]) >= least[place]).sum(axis=0)
            test.drawn[own] += len(drawn)


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
