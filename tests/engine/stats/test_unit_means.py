"""Means of units, on differences that are skewed, heavy-tailed, or mostly nothing at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from srm_explorer.engine.stats.permutation import sign_flip_test
from srm_explorer.engine.stats.resampling import bootstrap_weights
from srm_explorer.engine.stats.unit_means import LEAST_UNITS, MeanEffect, known_means, mean_effect

EXPERIMENTS = 1000
LEVELS = (0.1, 0.05, 0.01)
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

NULLS: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "t3": lambda rng, size: rng.standard_t(3, size=size),
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,
    "lognormal": lambda rng, size: np.exp(0.125) - rng.lognormal(sigma=0.5, size=size),
    # Greedy texts: half of the units' did not change at all, those that did by a skewed amount.
    "half unchanged": lambda rng, size: (rng.random(size) < 0.5) * (rng.exponential(size=size) - 1),
    # Every unit has a scale of its own, up to tenfold.
    "unequal": lambda rng, size: (rng.exponential(size=size) - 1) * np.geomspace(1, 10, size[0])[:, None],
}
# What is skewed and lies in few of the units can't be told from so many; measured with 4,000 experiments.
HARDER = {"half unchanged": {0.1: 0.13, 0.05: 0.08, 0.01: 0.03}, "unequal": {0.1: 0.125, 0.05: 0.075, 0.01: 0.024}}
FEW = {0.1: 0.1, 0.05: 0.055, 0.01: 0.018}


def allowed(level: float) -> float:
    return 3 * float(np.sqrt(level * (1 - level) / EXPERIMENTS))


def plain(values: np.ndarray, weights: np.ndarray, level: float) -> tuple[float, float, float]:
    """The definition, a resample at a time: p and the ends of the interval, found by trying."""
    n = len(values)
    error = values.std(ddof=1) / np.sqrt(n)
    drawn = []
    for row in weights.astype(int):
        again = np.repeat(values, row)
        drawn.append((again.mean() - values.mean()) / (again.std(ddof=1) / np.sqrt(n)))

    def p(hypothesis: float) -> float:
        t = (values.mean() - hypothesis) / error
        above, below = (1 + sum(x >= t for x in drawn)), (1 + sum(x <= t for x in drawn))
        whole = 1 + sum(abs(x) >= abs(t) for x in drawn)
        return max(whole, min(len(drawn) + 1, 2 * min(above, below))) / (1 + len(drawn))

    def end(side: int) -> float:
        inside, outside = values.mean(), values.mean() + side * 60 * error
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if p(middle) > 1 - level else (inside, middle)
        return inside

    return p(0.0), end(-1), end(1)


@pytest.mark.parametrize("seed", range(3))
def test_the_fast_way_equals_the_definition_and_p_the_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.exponential(size=(9, 4)) - np.array([0.2, 0.5, 1.0, 1.5])
    weights = bootstrap_weights(np.zeros(9, np.int64), 300, seed)
    found = mean_effect(values, level=0.9, resamples=300, seed=seed)
    for at in range(4):
        assert (found.p[at], found.low[at], found.high[at]) == pytest.approx(plain(values[:, at], weights, 0.9))
        alone = mean_effect(values[:, at], level=0.9, resamples=300, seed=seed)
        assert (alone.p, alone.low, alone.high) == pytest.approx((found.p[at], found.low[at], found.high[at]))
    outside = (found.low > 0) | (found.high < 0)
    np.testing.assert_array_equal(outside, found.p <= 0.1)


@pytest.mark.parametrize("name", NULLS)
@pytest.mark.parametrize("units", [8, 20, 50])
def test_a_mean_of_nothing_is_called_no_oftener_than_said(name: str, units: int) -> None:
    rng = np.random.default_rng(units)
    found = mean_effect(NULLS[name](rng, (units, EXPERIMENTS)), resamples=999)
    known = ~np.isnan(found.low)
    assert known.mean() > 0.99
    held = (found.low <= 0) & (found.high >= 0)
    np.testing.assert_array_equal(held[known], (found.p > 0.05)[known])
    for level in LEVELS:
        size = HARDER.get(name, FEW if units < 35 else {}).get(level, level)
        assert np.mean(found.p <= level) <= size + allowed(size)


def test_flipping_signs_would_call_skewed_differences_an_effect() -> None:
    # What this is for: their mean is 0, and they are not symmetric around it.
    values = np.random.default_rng(1).lognormal(size=(20, EXPERIMENTS)) - np.exp(0.5)
    flipped = sign_flip_test(values[:, :, None], flips=999).p
    found = mean_effect(values, resamples=999)
    assert np.mean(flipped <= 0.05) > 0.12
    assert np.mean(found.p <= 0.05) < 0.1
    half = NULLS["exponential"](np.random.default_rng(1), (50, EXPERIMENTS))
    assert (
        np.mean(sign_flip_test(half[:, :, None], flips=999).p <= 0.05)
        > np.mean(mean_effect(half, resamples=999).p <= 0.05) + 0.015
    )


@pytest.mark.parametrize("units", [12, 20, 50])
def test_power_is_that_of_a_t_test_where_a_t_test_is_right(units: int) -> None:
    values = np.random.default_rng(2).normal(size=(units, EXPERIMENTS)) + 2.5 / np.sqrt(units)
    by_t = np.mean(np.asarray(tuple(stats.ttest_1samp(values, 0))[1]) <= 0.05)
    power = np.mean(mean_effect(values, resamples=999).p <= 0.05)
    assert 0.5 < by_t < 0.9
    assert power > by_t - (0.1 if units < 20 else 0.05)


def test_different_units_and_strata_are_resampled_each_by_themselves() -> None:
    rng = np.random.default_rng(3)
    sets = np.repeat([0, 1], [12, 18])
    held: list[np.ndarray] = []
    for minus in (None, rng.exponential(size=(25, EXPERIMENTS))):
        # Sets differ by far more than units: only what is within a set is chance.
        values = rng.exponential(size=(30, EXPERIMENTS)) - 1 + np.where(sets == 0, 9.0, -6.0)[:, None]
        truth = 0.0 if minus is None else -1.0
        found = mean_effect(values, sets, minus, None if minus is None else np.zeros(25), resamples=999)
        assert (found.units == (30 if minus is None else 55)).all()
        assert np.mean(found.high - found.low) < 2
        held.append((found.low <= truth) & (truth <= found.high))
    for each in held:
        assert each.mean() >= 0.95 - allowed(0.05)
        assert each.mean() <= 0.98


def test_a_difference_of_groups_is_welchs() -> None:
    rng = np.random.default_rng(4)
    one, other = rng.normal(size=(40, 30)) + 0.5, 3 * rng.normal(size=(25, 30))
    found = mean_effect(one, minus=other, resamples=9999)
    t, p = (np.asarray(each) for each in tuple(stats.ttest_ind(one, other, equal_var=False)))
    np.testing.assert_allclose(found.mean / found.error, t)
    np.testing.assert_allclose(found.p, p, atol=0.05)


def nothing(found: MeanEffect) -> bool:
    return bool(np.isnan([found.low, found.high]).all())


def test_too_few_units_and_equal_ones_say_nothing() -> None:
    few = mean_effect(np.arange(LEAST_UNITS - 1.0))
    assert nothing(few)
    assert np.isnan(few.p)
    assert few.mean == pytest.approx(1.5)
    unchanged = mean_effect(np.zeros(12))
    assert nothing(unchanged)
    assert (unchanged.mean, unchanged.p) == (0, 1)
    # Twelve copies of one prompt: no interval of width zero, and no small p.
    copies = mean_effect(np.float32(0.3) + 1e-9 * np.random.default_rng(0).normal(size=12))
    assert nothing(copies)
    assert np.isnan(copies.p)
    assert mean_effect(np.empty((0, 3))).units.tolist() == [0, 0, 0]


def test_one_unit_alone_that_changed_is_no_evidence() -> None:
    found = mean_effect(np.append(np.zeros(19), 5.0))
    assert found.p > 0.3
    assert found.low < 0 < found.high
    # The others need not be 0: what rounding leaves of equal numbers is no spread, and bounds nothing.
    for others in (np.zeros(19), np.full(19, 0.3), 1e-17 * np.random.default_rng(1).normal(size=19)):
        unbounded = mean_effect(np.append(others, 0.7))
        assert (unbounded.low, unbounded.high) == (-np.inf, np.inf)
        assert unbounded.p > 0.3


def test_a_unit_without_a_value_takes_no_part_in_that_coordinate_alone() -> None:
    values = np.random.default_rng(5).normal(size=(15, 3)) + 0.4
    values[[2, 7], 1] = np.nan
    found = mean_effect(values, resamples=500)
    assert found.units.tolist() == [15, 13, 15]
    without = mean_effect(np.delete(values[:, 1], [2, 7]), resamples=500)
    assert (found.low[1], found.high[1], found.p[1]) == pytest.approx((without.low, without.high, without.p))


def test_scale_and_sign_of_a_coordinate_change_nothing_else() -> None:
    values = np.random.default_rng(6).exponential(size=(20, 1)) - 0.6
    found = mean_effect(values * np.array([1, -1, 1e6, 1e-6]), resamples=999)
    np.testing.assert_allclose(found.p, found.p[0])
    np.testing.assert_allclose(found.low[[0, 2, 3]] / [1, 1e6, 1e-6], found.low[0])
    assert found.high[1] == pytest.approx(-found.low[0])


def test_means_are_over_the_units_that_are_known_and_of_none_without_a_warning() -> None:
    values = np.array([[1.0, np.nan, np.inf], [3.0, np.nan, 5.0]])
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(known_means(values), [2.0, np.nan, 5.0])
