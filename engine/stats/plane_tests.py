"""Tests of planes: whether their two coordinates tell more together than either, over units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.stats.comparison import Contrast, gain, group_contrast, hotelling, paired_contrast
from srm_explorer.engine.stats.permutation import CHUNK_ELEMENTS

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

TIE = 1e-5
"""Shares of what is tested below this are rounding."""


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


def paired_test(differences: Floats, pairs: Indices, number: int, seed: int, *, single: bool) -> TestedPairs:
    """Test whether pairs separate two groups that every unit belongs to.

    Both coordinates must add to the other: p is the larger of the two conditional tests (Berger 1982 on intersections
    of hypotheses), each of the intercept of one coordinate's differences on the other's, see `flipped_residuals`.

    Args:
        differences: [unit, k] of the groups' means.
        pairs: [pair, 2] columns.
        number: flips.
        single: True to test the second column of each pair alone, by flipping the signs of its differences.
    """
    columns, a, b = _columns(pairs)
    compared = differences[:, columns]
    contrast = paired_contrast(compared)
    ones = np.ones(len(compared))
    none = np.empty((len(compared), 0))
    ways = [(b, None)] if single else [(b, a), (a, b)]
    p = [
        flipped_residuals(compared[:, of], ones, None if given is None else compared[:, given], none, number, seed)
        for of, given in ways
    ]
    return _tested(contrast, a, b, single, np.max(p, axis=0))


def unpaired_test(
    first: Floats, second: Floats, strata: tuple[Indices, Indices], pairs: Indices, number: int, seed: int
) -> TestedPairs:
    """Test whether pairs separate two groups of different units; as `paired_test`, of the groups' difference.

    Args:
        first: [unit, k] means of the first group's units.
        second: [unit, k] of the second's.
        strata: [unit] of both; units are compared within a stratum.
        pairs: [pair, 2] columns.
        number: flips.
    """
    columns, a, b = _columns(pairs)
    compared = np.concatenate([first, second])[:, columns]
    group = np.repeat([1.0, 0.0], [len(first), len(second)])
    levels = _levels(np.concatenate(strata))
    p = [
        flipped_residuals(compared[:, of], group, compared[:, on], levels, number, seed) for of, on in ((b, a), (a, b))
    ]
    n = len(first)
    return _tested(group_contrast(compared[:n], compared[n:]), a, b, False, np.max(p, axis=0))


def correlation_test(
    values: Floats, stratum: Indices, pairs: Indices, signs: Floats, number: int, seed: int
) -> TestedPairs:
    """Test whether the coordinates of pairs are correlated over units, see `flipped_residuals`.

    Exchanging units of one coordinate against the other's would test that they have nothing to do with each other at
    all: units that are loud in both are no correlation, and it calls them one.

    Args:
        values: [unit, k] means removed within strata.
        stratum: [unit].
        pairs: [pair, 2] columns.
        signs: [pair] +1 to test for a positive correlation, -1 for a negative one.
        number: flips.
    """
    length = np.sqrt((values**2).sum(axis=0))
    unit = values / np.where(length > 0, length, np.nan)
    a, b = pairs.T
    r = (unit[:, a] * unit[:, b]).sum(axis=0)
    p = flipped_residuals(values[:, b], values[:, a], None, _levels(stratum), number, seed, signs)
    return TestedPairs(np.full(len(pairs), np.nan), r, np.where(np.isfinite(r), p, np.nan))


UNEQUAL = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""How much the spread may grow with what is regressed on: variance 1 + g x² in units of its median."""
DOUBT = 2.0
"""Log-likelihood by which an unequal spread must do better than an equal one."""


def flipped_residuals(
    y: Floats,
    x: Floats,
    given: Floats | None,
    levels: Floats,
    number: int,
    seed: int,
    signs: Floats | None = None,
) -> Floats:
    """Test the coefficient of x in regressions of y over units, by flipping signs of residuals.

    y is regressed on what is not tested (`given`, `levels`); the residuals' signs are flipped unit by unit, and the
    coefficient of x, studentised by its heteroscedasticity-consistent error (HC2, MacKinnon and White 1985), computed
    anew: the wild bootstrap under the hypothesis (Liu 1988; Davidson and Flachaire 2008). Units that differ much in
    how far they respond would lead the fit by a few of them, so units are weighted by the inverse of a variance that
    grows with what y is regressed on, of the `UNEQUAL` the likeliest; it is a function of the residuals' sizes alone,
    which no flip changes. It assumes that residuals are symmetric around 0; with nothing to regress on it is the
    exact flip of signs.

    Args:
        y: [unit, pair].
        x: [unit] or [unit, pair], of the coefficient.
        given: [unit, pair] regressed on, without an intercept of its own; None for nothing.
        levels: [unit, level] regressed on by every pair.
        signs: [pair] of the coefficient, to test one side; two sides by default.

    Returns:
        [pair] p, NaN where x is told by the rest.
    """
    n, count = y.shape
    tested = np.broadcast_to(x[:, None] if x.ndim == 1 else x, y.shape).T
    fixed = np.broadcast_to(levels, (count, *levels.shape))
    rest = fixed if given is None else np.concatenate([fixed, given.T[:, :, None]], axis=2)
    loud = given.T if given is not None else tested if x.ndim == 2 else None
    if loud is not None and levels.shape[1]:
        loud = loud - _onto(np.linalg.qr(fixed)[0], loud)
    weight = np.ones((count, n)) if loud is None else _weights(y.T, rest, loud)
    target, tested, rest = y.T * weight, tested * weight, rest * weight[:, :, None]
    basis = np.linalg.qr(rest)[0] if rest.shape[2] else rest
    residual, along = (each - _onto(basis, each) for each in (target, tested))
    size = np.sqrt((along**2).sum(axis=1))
    told = size > TIE * np.sqrt((tested**2).sum(axis=1))
    along = along / np.where(told, size, 1.0)[:, None]
    basis = np.concatenate([basis, along[:, :, None]], axis=2)
    leverage = np.minimum((basis**2).sum(axis=2), 1 - TIE)
    share = along**2 / (1 - leverage)
    observed = _studentised(np.ones((1, n)), residual, along, basis, share)[0]
    reached = np.zeros(count)
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK_ELEMENTS // max(1, count * basis.shape[2]))
    for start in range(0, number, step):
        flips = (1 - 2 * rng.integers(0, 2, size=(min(step, number - start), n))).astype(np.float64)
        drawn = _studentised(flips, residual, along, basis, share)
        far, least = (np.abs(drawn), np.abs(observed)) if signs is None else (signs * drawn, signs * observed)
        reached += (~(far < least - 1e-9 * np.abs(least))).sum(axis=0)
    return np.where(told, (1 + reached) / (1 + number), np.nan)


def _studentised(flips: Floats, residual: Floats, along: Floats, basis: Floats, share: Floats) -> Floats:
    """[flip, pair] the coefficient along x over its error, of residuals [pair, unit] with flipped signs."""
    moved = flips @ (along * residual).T
    parts = [flips @ (basis[:, :, j] * residual).T for j in range(basis.shape[2])]
    # The squares of what is left after the fit, expanded: flips change no square of a residual.
    squares = np.broadcast_to((share * residual**2).sum(axis=1), moved.shape).copy()
    for j, part in enumerate(parts):
        squares -= 2 * part * (flips @ (share * basis[:, :, j] * residual).T)
        for k, other in enumerate(parts):
            squares += part * other * (share * basis[:, :, j] * basis[:, :, k]).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return moved / np.sqrt(np.maximum(squares, 0.0))


def _weights(y: Floats, rest: Floats, loud: Floats) -> Floats:
    """[pair, unit] one over the spread that is likeliest among `UNEQUAL`."""
    squares = loud**2
    middle = np.median(squares, axis=1, keepdims=True)
    scaled = squares / np.where(middle > 0, middle, 1.0)
    best, chosen = np.full(len(y), -np.inf), np.ones_like(y)
    for growth in UNEQUAL:
        weight = 1 / np.sqrt(1 + growth * scaled)
        target = y * weight
        left = target - _onto(np.linalg.qr(rest * weight[:, :, None])[0], target) if rest.shape[2] else target
        spread = np.maximum((left**2).mean(axis=1), np.finfo(np.float64).tiny)
        likely = np.log(weight).sum(axis=1) - 0.5 * y.shape[1] * np.log(spread) - (DOUBT if growth else 0.0)
        better = likely > best
        best = np.where(better, likely, best)
        chosen[better] = weight[better]
    return chosen


def _onto(basis: Floats, values: Floats) -> Floats:
    """[pair, unit] values projected on orthonormal columns [pair, unit, column]."""
    return np.einsum("puj,pj->pu", basis, np.einsum("puj,pu->pj", basis, values))


def _levels(stratum: Indices) -> Floats:
    """[unit, level] 1 where a unit belongs to a level."""
    return (stratum[:, None] == np.unique(stratum)).astype(np.float64)


def _columns(pairs: Indices) -> tuple[Indices, Indices, Indices]:
    """The columns that occur, and each pair's two among these."""
    columns, index = np.unique(pairs, return_inverse=True)
    a, b = index.reshape(pairs.shape).T
    return columns, a, b


def _tested(contrast: Contrast, a: Indices, b: Indices, single: bool, p: Floats) -> TestedPairs:
    t_a, t_b = contrast.t[a], contrast.t[b]
    if single:
        t2 = statistic = t_b**2
    else:
        rho = (contrast.residual[:, a] * contrast.residual[:, b]).sum(axis=0)
        t2, statistic = hotelling(t_a, t_b, rho), gain(t_a, t_b, rho, contrast.dof)
    return TestedPairs(t2, statistic, np.where(np.isfinite(statistic), p, np.nan))
