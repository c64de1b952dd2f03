"""Tests of chosen pairs of coordinates on units that had no part in choosing them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.blocks import Blocks
from engine.analysis.contrast import Contrast, added, group_contrast, hotelling, paired_contrast
from engine.analysis.permutation import permutation_p, unit_permutations

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TestedPairs:
    """What the tests of pairs found.

    Attributes:
        t2: [pair] Hotelling's T², or the square of the one t where an axis was set; NaN for correlations.
        statistic: [pair] what was tested: Rao's F of the coordinate that adds less, that t², or the correlation.
        p: [pair]
    """

    t2: Floats
    statistic: Floats
    p: Floats


def paired_test(
    values: Floats, weights: Floats, unit: Indices, pairs: Indices, blocks: Blocks, number: int, seed: int, *, one: bool
) -> TestedPairs:
    """Test whether pairs separate two groups of runs, by exchanging labels within units.

    Both coordinates must add to the other: p is the larger of the two conditional tests, each by Rao's F of the unit
    differences (Berger 1982 on intersections of hypotheses).

    Args:
        values: [run, k] of the runs of both groups.
        weights: [run] 1 / runs of the group in the unit, negative in the second group: a unit's difference is the
            weighted sum of its runs.
        unit: [run] from 0, every unit with runs of both groups.
        pairs: [pair, 2] columns.
        blocks: runs whose weights may change places, all of them within units.
        number: permutations.
        seed: of the permutations.
        one: True to test the second column of each pair alone.
    """
    columns, places = np.unique(pairs, return_inverse=True)
    a, b = places.reshape(pairs.shape).T
    own = values[:, columns]
    n = int(unit.max()) + 1
    differences = np.zeros((n, len(columns)))
    np.add.at(differences, unit, weights[:, None] * own)
    contrast = paired_contrast(differences)
    still = np.ones(len(weights), np.bool_)
    still[blocks.order] = False
    of_unit = [np.flatnonzero(still & (unit == one_unit)) for one_unit in range(n)]
    moving = [np.flatnonzero(unit[blocks.order] == one_unit) for one_unit in range(n)]
    reached = np.zeros((2, len(pairs)))
    observed = _statistics(contrast, a, b, one)
    rng = np.random.default_rng(seed)
    for (drawn,) in blocks.permuted([weights.astype(np.float32)], number, rng):
        mean = np.zeros((len(drawn), len(columns)))
        squares, products = np.zeros_like(mean), np.zeros((len(drawn), len(pairs)))
        for one_unit in range(n):
            fixed = weights[of_unit[one_unit]] @ own[of_unit[one_unit]]
            rows = blocks.order[moving[one_unit]]
            moved = drawn[:, moving[one_unit]].astype(np.float64) @ own[rows] + fixed
            mean += moved / n
            squares += moved**2
            products += moved[:, a] * moved[:, b]
        t, rho = _from_moments(mean, squares, products, a, b, n)
        reached += _reached(observed, _conditional(t[:, a], t[:, b], rho, n - 1, one))
    return _tested(contrast, a, b, one, observed, reached, number)


def unpaired_test(
    first: Floats, second: Floats, strata: tuple[Indices, Indices], pairs: Indices, number: int, seed: int
) -> TestedPairs:
    """Test whether pairs separate two groups of different units, by exchanging units; as `paired_test`.

    Args:
        first: [unit, k] means of the first group's units.
        second: [unit, k] of the second's.
        strata: [unit] of both; units change places within a stratum.
        pairs: [pair, 2] columns.
        number: permutations.
        seed: of the permutations.
    """
    columns, places = np.unique(pairs, return_inverse=True)
    a, b = places.reshape(pairs.shape).T
    own = np.concatenate([first, second])[:, columns]
    own -= own.mean(axis=0)
    n, m = len(first), len(second)
    contrast = group_contrast(own[:n], own[n:])
    observed = _statistics(contrast, a, b, False)
    orders = unit_permutations(np.concatenate(strata), number, seed)
    labels = np.concatenate([np.ones(n), np.zeros(m)])
    reached = np.zeros((2, len(pairs)))
    squares, products = (own**2).sum(axis=0), (own[:, a] * own[:, b]).sum(axis=0)
    for some in np.array_split(orders, max(1, len(orders) * len(pairs) // 1_000_000)):
        # The whole has mean 0, so the sums of one group tell those of the other.
        sums = labels[some] @ own
        share = 1 / n + 1 / m
        within = squares - sums**2 * share
        within = np.where(within > 1e-12 * squares, within, np.nan)
        t = sums * share / np.sqrt(within * share / (n + m - 2))
        rho = (products - sums[:, a] * sums[:, b] * share) / np.sqrt(within[:, a] * within[:, b])
        reached += _reached(observed, _conditional(t[:, a], t[:, b], rho, n + m - 2, False))
    return _tested(contrast, a, b, False, observed, reached, number)


def correlation_test(
    values: Floats, stratum: Indices, pairs: Indices, signs: Floats, number: int, seed: int
) -> TestedPairs:
    """Test whether the coordinates of pairs are correlated over units, by exchanging units of one against the other.

    Args:
        values: [unit, k] means removed within strata.
        stratum: [unit] units change places within it.
        pairs: [pair, 2] columns.
        signs: [pair] +1 to test for a positive correlation, -1 for a negative one.
        number: permutations.
        seed: of the permutations.
    """
    length = np.sqrt((values**2).sum(axis=0))
    unit = values / np.where(length > 0, length, np.nan)
    orders = unit_permutations(stratum, number, seed)
    r = np.array([unit[:, a] @ unit[:, b] for a, b in pairs])
    drawn = (unit[orders, a] @ unit[:, b] for a, b in pairs)
    p = np.array([permutation_p(sign * own, sign * one) for sign, own, one in zip(signs, r, drawn, strict=True)])
    return TestedPairs(np.full(len(pairs), np.nan), r, p)


def _from_moments(
    mean: Floats, squares: Floats, products: Floats, a: Indices, b: Indices, n: int
) -> tuple[Floats, Floats]:
    """[draw, column] t and [draw, pair] correlations of differences, from their sums."""
    spread = np.maximum(squares - n * mean**2, 0.0)
    spread = np.where(spread > 1e-12 * squares, spread, np.nan)
    t = mean / np.sqrt(spread / (n * (n - 1)))
    rho = (products - n * mean[:, a] * mean[:, b]) / np.sqrt(spread[:, a] * spread[:, b])
    return t, rho


def _statistics(contrast: Contrast, a: Indices, b: Indices, one: bool) -> Floats:
    rho = (contrast.residual[:, a] * contrast.residual[:, b]).sum(axis=0)
    return _conditional(contrast.t[a], contrast.t[b], rho, contrast.dof, one)


def _conditional(t_a: Floats, t_b: Floats, rho: Floats, dof: int, one: bool) -> Floats:
    """[2, ...] what b adds to a, and a to b; twice b alone where the first was set."""
    if one:
        return np.stack([t_b**2, t_b**2])
    t2 = hotelling(t_a, t_b, rho)
    return np.stack([added(t2, t_a, dof), added(t2, t_b, dof)])


def _reached(observed: Floats, drawn: Floats) -> Floats:
    """[2, pair] how many draws come as far; one that does not spread counts as one that does."""
    slack = 1e-9 * np.abs(observed)[:, None]
    return (~(drawn < observed[:, None] - slack)).sum(axis=1)


def _tested(
    contrast: Contrast, a: Indices, b: Indices, one: bool, observed: Floats, reached: Floats, number: int
) -> TestedPairs:
    rho = (contrast.residual[:, a] * contrast.residual[:, b]).sum(axis=0)
    t2 = contrast.t[b] ** 2 if one else hotelling(contrast.t[a], contrast.t[b], rho)
    statistic = observed.min(axis=0)
    p = ((1 + reached) / (1 + number)).max(axis=0)
    return TestedPairs(t2, statistic, np.where(np.isfinite(statistic), p, np.nan))
