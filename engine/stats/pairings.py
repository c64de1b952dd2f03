"""Pairings: how one quantity of the runs goes together with each of thousands of others, and whether by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from srm_explorer.engine.stats.comparison import Contrast, gain
from srm_explorer.engine.stats.permutation import CHUNK_ELEMENTS, Blocks
from srm_explorer.engine.stats.resampling import LEVEL, student_quantile

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
        ends: [2, partner] of the 95 % interval of r over units, see `correlation_ends`; NaN where units are not told.
    """

    r: NDArray[np.float64]
    p: NDArray[np.float64]
    each: NDArray[np.float64]
    ends: NDArray[np.float64]


def pair(
    x: ArrayLike,
    y: ArrayLike,
    blocks: Blocks,
    *,
    labels: Sequence[int] | None = None,
    scale: Scale = "whole",
    methods: Sequence[Method] = ("pearson", "spearman"),
    unit: ArrayLike | None = None,
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
        unit: [run] whole numbers, for intervals; None for none.
        permutations: of the first round; 0 for no p.
    """
    values, partners = np.asarray(x, np.float64)[:, None], np.asarray(y, np.float64)
    groups = np.zeros(len(values), np.int64) if labels is None else np.asarray(labels, np.int64)
    correlated: dict[Method, _Correlated] = {
        method: _correlated(values, partners, groups, scale, method) for method in methods
    }
    p = _permuted([(correlation.x, correlation.y) for correlation in correlated.values()], blocks, permutations, seed)
    no_ends: NDArray[np.float64] = np.full((2, int(partners.shape[1])), np.nan)
    return {
        method: Pairing(
            correlation.r,
            np.where(np.isnan(correlation.r), np.nan, p_values),
            correlation.each,
            no_ends
            if unit is None
            else correlation_ends(
                standardised(values, groups, scale, method),
                standardised(partners, groups, scale, method),
                groups,
                np.asarray(unit, np.int64),
                scale,
            ),
        )
        for (method, correlation), p_values in zip(correlated.items(), p, strict=True)
    }


def correlation_ends(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    labels: NDArray[np.int64],
    unit: NDArray[np.int64],
    scale: Scale,
) -> NDArray[np.float64]:
    """The interval of a correlation over units: Fisher's z with its jackknife error, a unit left out at a time.

    ``tanh(z ± t se)``, Student's t of units - 1, ``se^2 = (n - 1) / n sum of (z_(-u) - their mean)^2`` (Fisher 1921;
    Tukey 1958). It covers .92 to .955 of 12 to 50 normal, t(4) or exponential units, where an error from normal theory
    does not know that a unit's runs hang together. Ranks stay those of all units.

    Args:
        x: [run, 1] and
        y: [run, partner] as `standardised`.
        labels: [run] from 0.
        unit: [run].

    Returns:
        [2, partner]; NaN with fewer than five units, and for correlations of -1 and 1 or none at all.
    """
    n = len(np.unique(unit))
    if n < 5:
        return np.full((2, int(y.shape[1])), np.nan)
    r, drawn = _left_out(x, y, labels, unit, scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        z, left_out = np.arctanh(r), np.arctanh(drawn)
        error = np.sqrt((n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
        reach = float(student_quantile(0.5 + LEVEL / 2, n - 1)) * error
        ends = np.tanh(np.stack([z - reach, z + reach]))
    return np.where(np.isfinite(z) & np.isfinite(error) & (error > TIE), ends, np.nan)


def _left_out(
    x: NDArray[np.float64], y: NDArray[np.float64], labels: NDArray[np.int64], unit: NDArray[np.int64], scale: Scale
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[partner] correlations, and [unit, partner] those without each unit; arguments as `correlation_ends` has them."""
    present, of_run = np.unique(unit, return_inverse=True)
    pairs, cell = np.unique(labels * len(present) + of_run, return_inverse=True)
    label, home = pairs // len(present), pairs % len(present)
    order = np.argsort(cell, kind="stable")
    first = np.searchsorted(cell[order], np.arange(len(pairs)))
    columns = (np.ones_like(x), x, x * x, y, y * y, x * y)
    cells = [np.add.reduceat(column[order], first, axis=0) for column in columns]
    whole: list[NDArray[np.float64]] = []
    for sums in cells:
        total = np.zeros((int(labels.max()) + 1, sums.shape[1]))
        np.add.at(total, label, sums)
        whole.append(total)
    every = _products(*whole)
    without = _products(*(total[label] - sums for total, sums in zip(whole, cells, strict=True)))
    if scale == "each":
        # The mean over labels of the correlations within.
        each, left = _ratio(*every), _ratio(*without)
        known = np.isfinite(each)
        change = np.where(known[label], left - np.where(known, each, 0.0)[label], 0.0)
        count = np.maximum(known.sum(axis=0), 1)
        r = np.where(known, each, 0.0).sum(axis=0) / count
        moved = np.zeros((len(present), y.shape[1]))
        np.add.at(moved, home, change)
        return r, r + moved / count
    sides: list[NDArray[np.float64]] = []
    for total, left in zip(every, without, strict=True):
        side = np.repeat(total.sum(axis=0)[None], len(present), axis=0)
        np.add.at(side, home, left - total[label])
        sides.append(side)
    return _ratio(*(total.sum(axis=0) for total in every)), _ratio(*sides)


def _products(
    n: NDArray[np.float64],
    x: NDArray[np.float64],
    xx: NDArray[np.float64],
    y: NDArray[np.float64],
    yy: NDArray[np.float64],
    xy: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sums of products around the means, of x with x, y with y and x with y, from plain sums; 0 without a run."""
    runs = np.where(n > 0, n, 1.0)
    return xx - x * x / runs, yy - y * y / runs, xy - x * y / runs


def _ratio(xx: NDArray[np.float64], yy: NDArray[np.float64], xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlations from sums of products; NaN where one side does not vary beyond rounding."""
    varies = (xx > TIE**2) & (yy > TIE**2)
    return np.where(varies, np.clip(xy / np.sqrt(np.where(varies, xx * yy, 1.0)), -1.0, 1.0), np.nan)


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
        known = np.array([_known(xs[members]) & _known(ys[members]) for members in rows]).reshape(
            len(rows), ys.shape[1]
        )
        each = np.where(
            known, np.array([xs[stratum, 0] @ ys[stratum] for stratum in rows]).reshape(known.shape), np.nan
        )
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
    scores = np.array(values, np.float64)
    for label in range(int(labels.max(initial=-1)) + 1):
        rows = np.flatnonzero(labels == label)
        block = scores[rows]
        if method == "spearman" and scale == "each":
            block = _ranks(block)
        block = block - block.mean(axis=0) if rows.size else block
        scores[rows] = _unit_columns(block, values[rows], method == "spearman") if scale == "each" else block
    if scale == "whole":
        if method == "spearman":
            # Ranks would make much of the round-off that is left of a constant column.
            known = _known(_unit_columns(scores, values, False))
            ranks = _ranks(scores)
            scores = np.where(known, ranks - (len(ranks) + 1) / 2, 0.0)
        scores = _unit_columns(scores, values, method == "spearman")
    return scores


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
        if any(columns.size for columns in chosen):
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
        np.ascontiguousarray(test.y[np.ix_(blocks.order, picked)], np.float32)
        for test, picked in zip(tests, chosen, strict=True)
    ]
    least = [(test.far[picked] - TIE).astype(np.float32) for test, picked in zip(tests, chosen, strict=True)]
    for moved in blocks.permuted([test.x.astype(np.float32) for test in tests], number, rng):
        for index, (test, picked, drawn) in enumerate(zip(tests, chosen, moved, strict=True)):
            # Partners come by the thousand: a slice of the draws at a time keeps their products small.
            for some in np.array_split(drawn, max(1, len(drawn) * len(picked) // CHUNK_ELEMENTS)):
                test.reached[picked] += (np.abs(some @ columns[index]) >= least[index]).sum(axis=0)
            test.drawn[picked] += len(drawn)


def row_cosines(weights: ArrayLike, row: int) -> NDArray[np.float64]:
    """Cosine of one row with every row, [row]; NaN with a row of zeros.

    Args:
        weights: [row, d] such as W_out, a neuron a row.
    """
    rows = np.asarray(weights, np.float64)
    length = np.sqrt((rows**2).sum(axis=1))
    unit = rows / np.where(length > 0, length, np.nan)[:, None]
    cosines: NDArray[np.float64] = unit @ unit[row]
    return cosines


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
        columns: the coordinates that may be paired.
        shared: one that is in every pair; None for all pairs among the columns.
    """
    best = np.empty((0, 2), np.int64), np.empty(0)
    scanned = 0
    firsts = columns if shared is None else np.array([shared], np.int64)
    for start in range(0, len(firsts), ROWS):
        rows = firsts[start : start + ROWS]
        others = columns[start:] if shared is None else columns[columns != shared]
        block_scores = score(residual[:, rows].T @ residual[:, others], rows, others)
        if shared is None:
            block_scores = np.where(np.arange(len(others)) > np.arange(len(rows))[:, None], block_scores, np.nan)
        known = np.isfinite(block_scores)
        scanned += int(known.sum())
        least = best[1][-1] if len(best[1]) == keep else -np.inf
        above = np.flatnonzero(known.ravel() & (block_scores.ravel() > least))
        if above.size > keep:
            above = above[np.argpartition(-block_scores.ravel()[above], keep - 1)[:keep]]
        i, j = np.unravel_index(above, block_scores.shape)
        pairs = np.concatenate([best[0], np.stack([rows[i], others[j]], axis=1)])
        scores = np.concatenate([best[1], block_scores.ravel()[above]])
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
