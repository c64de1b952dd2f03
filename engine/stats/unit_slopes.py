"""Slopes of units: whether a quantity follows, within units and on average over them, what was set there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.stats.pairings import MORE, RARE, REFINED, Method
from srm_explorer.engine.stats.permutation import CHUNK_ELEMENTS, FEWEST_UNITS, sign_patterns
from srm_explorer.engine.stats.unit_means import MeanEffect, mean_effect

Floats = NDArray[np.float64]

# Values of one prompt closer than this share of a column's root mean square are ties: one text, rounded twice.
CLOSE = 1e-5
# Sums of slopes of length 1; differences below this are ties.
TIE = 1e-9


@dataclass(frozen=True, eq=False)
class SlopeTest:
    """What `slope_test` found.

    Attributes:
        p: [partner] two-sided; NaN where every unit's slope is 0, or fewer than two units have one.
        units: how many hold several values of the quantity, so that they have a slope.
        least: the smallest p that so many units and flips can give.
        exact: whether all 2^units patterns were tried.
    """

    p: Floats
    units: int
    least: float
    exact: bool


def slope_test(
    x: ArrayLike,
    y: ArrayLike,
    prompt: ArrayLike,
    unit: ArrayLike,
    *,
    methods: Sequence[Method] = ("pearson", "spearman"),
    flips: int = 2000,
    seed: int = 0,
) -> dict[Method, SlopeTest]:
    """Test that the slopes of units are symmetric around zero, by flipping the signs of whole units.

    The statistic is ``|sum of S_u|`` over units, ``S_u`` as `unit_slopes`; its sum is the numerator of the partial
    correlation on the prompt. Inference on slopes of units: Lorch and Myers 1990; sign flips: Fisher 1935. All 2^units
    patterns where they are no more than `flips`, else random ones, the same for all partners and methods, with
    ``p = (1 + reached) / (1 + flips)`` (Hemerik and Goeman 2018). Of the partners that fewer than `RARE` random
    patterns reach, those furthest out, at most `REFINED`, get `MORE` times as many further ones.

    Args:
        x: [run] finite: what was set.
        y: [run, partner] finite.
        prompt: [run] whole numbers.
        unit: [run] whole numbers; a prompt's runs belong to one unit.
        methods: "pearson" for slopes, "spearman" for slopes of ranks.
        flips: of the first round; 0 for no p.
    """
    by_method: dict[Method, Floats] = {method: unit_slopes(x, y, prompt, unit, method) for method in methods}
    tests = [_Test.of(slopes) for slopes in by_method.values()]
    units = len(tests[0].slopes) if tests else 0
    rng = np.random.default_rng(seed)
    exact = 2**units <= flips
    if exact:
        for test in tests:
            test.count(np.flatnonzero(test.moves), sign_patterns(units, flips, seed)[0])
    elif flips:
        _drawn(tests, [np.flatnonzero(test.moves) for test in tests], units, flips, rng)
        _drawn(tests, [test.furthest() for test in tests], units, flips * MORE, rng)
    least = 2.0 ** (1 - units) if exact else max(2.0 ** (1 - units), 1 / (1 + flips * (1 + MORE)))
    return {
        method: SlopeTest(
            test.p(exact) if flips and units >= FEWEST_UNITS else np.full(len(test.moves), np.nan),
            units,
            min(least, 1.0),
            exact,
        )
        for method, test in zip(by_method, tests, strict=True)
    }


def unit_slopes(x: ArrayLike, y: ArrayLike, prompt: ArrayLike, unit: ArrayLike, method: Method = "pearson") -> Floats:
    """Each unit's slope of y on x, times the spread of x: ``S_u = sum of (x - its mean) (y - its mean)``.

    The sum is over the unit's runs and the means are those of the run's prompt, so ``S_u / sum of (x - its mean)^2`` is
    the unit's least-squares slope with an intercept a prompt. With "spearman", x and y are their ranks among the runs
    of the prompt: then whatever turns a prompt's y upside down turns the sign of its part and changes nothing else.

    Args:
        x: [run].
        y: [run, partner].
        prompt: [run].
        unit: [run].
        method: see above.

    Returns:
        [unit, partner] of the units in which x varies within a prompt, in order; 0 where y does not.
    """
    values, partners = np.asarray(x, np.float64)[:, None], np.asarray(y, np.float64)
    groups = _rows_of(np.asarray(prompt))
    of_values, of_partners = (_within(side, groups, method) for side in (values, partners))
    # Rounding must not pass for a slope where the two are at right angles in every unit.
    rows = [rows for rows in _rows_of(np.asarray(unit)) if of_values[rows].any()]
    slopes = np.array([of_values[some, 0] @ of_partners[some] for some in rows]).reshape(len(rows), partners.shape[1])
    sizes = np.sqrt((of_values**2).sum() * (of_partners**2).sum(axis=0))
    return np.where(np.sqrt((slopes**2).sum(axis=0)) > TIE * sizes, slopes, 0.0)


def mean_slopes(
    x: ArrayLike,
    y: ArrayLike,
    prompt: ArrayLike,
    unit: ArrayLike,
    stratum: ArrayLike,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> MeanEffect:
    """The mean over units of least-squares slopes of y on x, an intercept a prompt, with interval and p.

    What `slope_test` tests the symmetry of; here it is the mean, by `mean_effect`, however skewed the slopes are.

    Args:
        x: [run] finite: what was set.
        y: [run, partner] finite.
        prompt: [run].
        unit: [run] from 0; units in which x does not vary within a prompt have no slope.
        stratum: [unit].

    Returns:
        Of each partner, in y a unit of x.
    """
    values, labels = np.asarray(x, np.float64), np.asarray(unit)
    within = _within(values[:, None], _rows_of(np.asarray(prompt)), "pearson")[:, 0]
    squares = np.bincount(labels, within**2)
    varied = np.flatnonzero(squares > 0)
    slopes = unit_slopes(values, y, prompt, unit) / squares[varied][:, None]
    return mean_effect(slopes, np.asarray(stratum)[varied], resamples=resamples, seed=seed)


def _within(values: Floats, groups: Sequence[NDArray[np.int64]], method: Method) -> Floats:
    """[run, column] values, or their ranks, without their groups' means; 0 in a group that only rounding parts."""
    close = CLOSE * np.sqrt((values**2).mean(axis=0))
    within = np.zeros_like(values)
    for rows in groups:
        block = values[rows]
        parted = np.ptp(block, axis=0) > close
        block = tied_ranks(block, close) if method == "spearman" else block
        within[rows] = np.where(parted, block - block.mean(axis=0), 0.0)
    return within


def tied_ranks(values: Floats, close: Floats) -> Floats:
    """Ranks from 1 within each column; neighbours no further apart than `close` are ties and share their mean.

    Args:
        values: [row, column].
        close: [column].
    """
    order = values.argsort(axis=0, kind="stable")
    differs = np.diff(np.take_along_axis(values, order, axis=0), axis=0) > close
    edge = np.ones((1, values.shape[1]), np.bool_)
    rank = np.arange(len(values))[:, None]
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs]), rank, 0), axis=0)
    ends = np.where(np.concatenate([differs, edge]), rank, len(values) - 1)
    last = np.minimum.accumulate(ends[::-1], axis=0)[::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, 1 + (first + last) / 2, axis=0)
    return ranks


def _rows_of(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each label, in the order of labels."""
    _, inverse, times = np.unique(labels, return_inverse=True, return_counts=True)
    return np.split(np.argsort(inverse, kind="stable"), np.cumsum(times)[:-1])


@dataclass(eq=False)
class _Test:
    """Slopes [unit, partner] of length 1, or 0, and how many sign patterns came as far as the data."""

    slopes: Floats
    far: Floats
    moves: NDArray[np.bool_]
    reached: NDArray[np.int64]
    drawn: NDArray[np.int64]

    @classmethod
    def of(cls, slopes: Floats) -> _Test:
        length = np.sqrt((slopes**2).sum(axis=0))
        unit = slopes / np.where(length > 0, length, 1.0)
        none = np.zeros(len(length), np.int64)
        return cls(unit, np.abs(unit.sum(axis=0)), length > 0, none, none.copy())

    def furthest(self) -> NDArray[np.int64]:
        """Partners that few patterns reached, the furthest first."""
        rare = np.flatnonzero(self.moves & (self.reached < RARE))
        return rare[np.argsort(-self.far[rare].round(9), kind="stable")[:REFINED]]

    def count(self, columns: NDArray[np.int64], signs: NDArray[np.int8]) -> None:
        slopes, least = self.slopes[:, columns], self.far[columns] - TIE
        step = max(1, CHUNK_ELEMENTS // max(1, len(columns), len(slopes)))
        for start in range(0, len(signs), step):
            sums = signs[start : start + step].astype(np.float64) @ slopes
            self.reached[columns] += (np.abs(sums) >= least).sum(axis=0)
        self.drawn[columns] += len(signs)

    def p(self, exact: bool) -> Floats:
        """Where all patterns were tried the data are one of them; else they count as one more."""
        more = 0 if exact else 1
        p = (more + self.reached) / np.maximum(more + self.drawn, 1)
        # The data and their mirror image are two of all patterns, whatever was drawn.
        return np.where(self.moves, np.maximum(p, min(1.0, 2.0 ** (1 - len(self.slopes)))), np.nan)


def _drawn(
    tests: Sequence[_Test], chosen: Sequence[NDArray[np.int64]], units: int, number: int, rng: np.random.Generator
) -> None:
    """Try random patterns, some at a time, on the chosen partners of every test."""
    step = max(1, CHUNK_ELEMENTS // max(1, units))
    for start in range(0, number if any(columns.size for columns in chosen) else 0, step):
        signs = 1 - 2 * rng.integers(0, 2, size=(min(step, number - start), units), dtype=np.int8)
        for test, columns in zip(tests, chosen, strict=True):
            test.count(columns, signs)
