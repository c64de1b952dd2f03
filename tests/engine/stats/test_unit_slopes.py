from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from srm_explorer.engine.stats.pairings import MORE, Method, pair
from srm_explorer.engine.stats.permutation import matched_blocks
from srm_explorer.engine.stats.unit_means import mean_effect
from srm_explorer.engine.stats.unit_slopes import mean_slopes, slope_test, unit_slopes
from tests.engine.stats.unit_slopes_reference import slope_p_reference

METHODS: tuple[Method, ...] = ("pearson", "spearman")
VALUES = np.array([-20, -10, -6, -3, -1, 0, 1, 3, 6, 10, 20.0])
RUNS = len(VALUES) + 1
EXPERIMENTS = 2000


def allowed(level: float) -> float:
    return 3 * np.sqrt(level * (1 - level) / EXPERIMENTS)


def swept(rng: np.random.Generator, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Units [run] and what was set [run]: a baseline with the neuron's own activation, then the values."""
    own = rng.exponential(0.3, size=(units, 1))
    return np.repeat(np.arange(units), RUNS), np.concatenate([own, np.tile(VALUES, (units, 1))], axis=1).ravel()


def without_a_trend(rng: np.random.Generator, units: int, *, persistent: float = 0.8) -> np.ndarray:
    """[run, experiment] responses that stay from value to value, each unit's turned by a random sign.

    Texts at small values repeat the baseline's, up to a value that depends on the unit; some units respond much more
    than others.
    """
    dev = rng.standard_t(4, (units, len(VALUES), EXPERIMENTS))
    for at in range(1, len(VALUES)):
        dev[:, at] = persistent * dev[:, at - 1] + np.sqrt(1 - persistent**2) * dev[:, at]
    # A slope of every unit by itself: the sign alone leaves no trend over units.
    dev += 0.05 * VALUES[:, None]
    repeats = np.abs(VALUES) <= rng.choice([1, 3, 6], size=(units, 1))
    dev = np.where(repeats[:, :, None], 0.0, dev) * rng.exponential(size=(units, 1, EXPERIMENTS))
    dev *= rng.choice([-1.0, 1.0], size=(units, 1, EXPERIMENTS))
    dev = np.concatenate([np.zeros((units, 1, EXPERIMENTS)), dev], axis=1)
    return (rng.normal(size=(units, 1, EXPERIMENTS)) + dev).reshape(units * RUNS, EXPERIMENTS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_the_fast_way_equals_the_definition(method: Method, seed: int) -> None:
    # Units of one to three prompts, prompts of two to six runs in any order, values and texts that repeat.
    rng = np.random.default_rng(seed)
    prompt = rng.permutation(np.repeat(np.arange(14), rng.integers(2, 7, size=14)))
    unit = np.concatenate([np.arange(7), rng.integers(0, 7, size=7)])[prompt]
    x = np.where(rng.random(len(prompt)) < 0.2, 0.0, rng.integers(-3, 4, size=len(prompt)) + 0.01 * prompt)
    x[np.unique(prompt, return_index=True)[1]] = 5.0
    y = rng.integers(0, 4, size=(len(prompt), 9)) + 0.3 * prompt[:, None] + 0.4 * x[:, None] * np.linspace(0, 1, 9)
    y[:, 8] = rng.normal(size=len(prompt))
    found = slope_test(x, y, prompt, unit, methods=[method])[method]
    assert found.units == 7
    assert found.least == 2**-6
    plain = [slope_p_reference(x, column, prompt, unit, method) for column in y.T]
    np.testing.assert_allclose(found.p, plain, rtol=1e-12)
    assert len(set(plain)) > 3


def test_slopes_are_least_squares_and_their_sum_is_that_of_the_partial_correlation() -> None:
    rng = np.random.default_rng(1)
    unit, x = swept(rng, 6)
    y = rng.normal(size=(len(x), 3)) + unit[:, None]
    slopes = unit_slopes(x, y, unit, unit)
    rest = x - np.array([x[unit == own].mean() for own in unit])
    for own in range(6):
        here = unit == own
        for column in range(3):
            fitted = stats.linregress(x[here], y[here, column]).slope * (rest[here] ** 2).sum()
            assert slopes[own, column] == pytest.approx(fitted)
    r = pair(x, y, matched_blocks([], [], []), labels=unit.tolist(), methods=["pearson"], permutations=0)["pearson"].r
    left = y - np.array([y[unit == own].mean(axis=0) for own in unit])
    np.testing.assert_allclose(unit_slopes(1e-4 * x, 1e-5 * y, unit, unit), 1e-9 * slopes)
    np.testing.assert_allclose(unit_slopes(1e4 * x, 1e5 * y, unit, unit), 1e9 * slopes)
    np.testing.assert_allclose(slopes.sum(axis=0) / np.sqrt((rest**2).sum() * (left**2).sum(axis=0)), r)


@pytest.mark.parametrize("method", METHODS)
def test_turning_a_unit_upside_down_turns_its_sign_and_no_other(method: Method) -> None:
    rng = np.random.default_rng(2)
    unit, x = swept(rng, 5)
    y = without_a_trend(rng, 5)[:, :20]
    turned = np.where((unit == 3)[:, None], 7 - y, y)
    before, after = unit_slopes(x, y, unit, unit, method), unit_slopes(x, turned, unit, unit, method)
    np.testing.assert_allclose(after, before * np.array([1, 1, 1, -1, 1])[:, None], rtol=1e-9, atol=1e-9)


def test_ranks_feel_no_rounding_of_texts_that_repeat() -> None:
    rng = np.random.default_rng(3)
    unit, x = swept(rng, 9)
    y = without_a_trend(rng, 9)[:, :200]
    rounded = y * (1 + 1e-7 * rng.uniform(-1, 1, size=y.shape))
    exact, noisy = (slope_test(x, values, unit, unit, methods=["spearman"])["spearman"].p for values in (y, rounded))
    np.testing.assert_array_equal(exact, noisy)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("units", [9, 24])
def test_without_a_trend_over_units_p_is_as_small_as_chance_makes_it(method: Method, units: int) -> None:
    rng = np.random.default_rng(units)
    unit, x = swept(rng, units)
    y = without_a_trend(rng, units)
    p = slope_test(x, y, unit, unit, methods=[method], flips=4000)[method].p
    for level in (0.1, 0.05, 0.01, 0.002):
        # All 2^8 patterns that differ: no p lies between two multiples of 1 / 2^8.
        reachable = np.floor(level * 2**8) / 2**8 if units == 9 else level
        assert abs(np.mean(p <= level) - reachable) <= allowed(level)


@pytest.mark.parametrize("method", METHODS)
def test_exchanging_the_runs_of_a_unit_would_call_persistence_a_trend(method: Method) -> None:
    # What the null above is for: a test that takes runs of one unit for exchangeable fails on it.
    rng = np.random.default_rng(24)
    unit, x = swept(rng, 24)
    y = without_a_trend(rng, 24)
    runs = matched_blocks(list(range(len(unit))), [0] * len(unit), unit.tolist())
    p = pair(x, y[:, :1000], runs, labels=unit.tolist(), methods=[method], permutations=199)[method].p
    assert np.mean(p <= 0.05) > 0.15


@pytest.mark.parametrize("method", METHODS)
def test_exchanging_whole_units_of_a_quantity_that_was_not_set_takes_persistence_for_none(method: Method) -> None:
    # Both follow the value, and both persist: a unit's runs move together, so neither is evidence.
    rng = np.random.default_rng(10)
    unit, value = swept(rng, 24)
    x, y = (without_a_trend(rng, 24) + 0.1 * value[:, None] for _ in range(2))
    whole = matched_blocks(unit.tolist(), np.tile(np.arange(RUNS), 24).tolist(), [0] * len(unit))
    p = pair(x[:, 0], y, whole, labels=unit.tolist(), methods=[method], permutations=999)[method].p
    for level in (0.1, 0.05, 0.01):
        # The permutations, too, are drawn: 999, the same for every experiment.
        assert abs(np.mean(p <= level) - level) <= 3 * np.sqrt(level * (1 - level) * (1 / EXPERIMENTS + 1 / 1000))


@pytest.mark.parametrize("method", METHODS)
def test_a_trend_is_found_as_often_as_a_t_test_of_slopes_finds_it(method: Method) -> None:
    rng = np.random.default_rng(5)
    unit, x = swept(rng, 24)
    y = without_a_trend(rng, 24) + 0.03 * x[:, None] * rng.exponential(size=(24, EXPERIMENTS)).repeat(RUNS, axis=0)
    p = slope_test(x, y, unit, unit, methods=[method], flips=4000)[method].p
    rest = (x - np.array([x[unit == own].mean() for own in unit])).reshape(24, RUNS)
    slopes = np.einsum("ur,ure->ue", rest, y.reshape(24, RUNS, -1)) / (rest**2).sum(axis=1)[:, None]
    by_t = np.mean(stats.ttest_1samp(slopes, 0).pvalue <= 0.05)
    assert 0.3 < by_t < 0.95
    assert np.mean(p <= 0.05) > by_t - 0.03


def test_a_planted_trend_gets_the_smallest_p_there_is() -> None:
    rng = np.random.default_rng(6)
    unit, x = swept(rng, 24)
    y = rng.normal(size=(len(x), 500))
    y[:, 123] += 0.3 * x
    found = slope_test(x, y, unit, unit, flips=500)
    for method in METHODS:
        assert found[method].p.argmin() == 123
        assert found[method].p[123] == found[method].least == 1 / (1 + 500 * (1 + MORE))


def test_random_flips_come_near_all_of_them_and_are_the_same_for_every_partner() -> None:
    rng = np.random.default_rng(7)
    unit, x = swept(rng, 12)
    y = rng.normal(size=(len(x), 40)) + np.linspace(0, 0.03, 40) * x[:, None]
    every, drawn = (slope_test(x, y, unit, unit, flips=flips) for flips in (4096, 1000))
    for method in METHODS:
        whole = every[method].p
        room = 4 * np.sqrt(whole * (1 - whole) / 1000) + 2e-3
        assert (np.abs(drawn[method].p - whole) <= room).all()
        assert whole.min() < 0.01 < whole.max()
    alone = slope_test(x, y[:, [20]], unit, unit, methods=["pearson"], flips=1000)["pearson"].p
    assert alone[0] == drawn["pearson"].p[20]


@pytest.mark.parametrize(("units", "least"), [(2, 0.5), (5, 0.0625), (6, 0.03125)])
def test_few_units_cannot_give_a_small_p(units: int, least: float) -> None:
    unit, x = swept(np.random.default_rng(8), units)
    # A further unit holds one value and has no slope.
    found = slope_test(np.append(x, 3.0), np.append(x, 9.0)[:, None], np.append(unit, 99), np.append(unit, 99))
    drawn = slope_test(x, x[:, None], unit, unit, flips=40)
    for method in METHODS:
        assert (found[method].units, found[method].least) == (units, least)
        assert found[method].p[0] == drawn[method].p[0] == least


def test_one_unit_has_no_p() -> None:
    unit, x = swept(np.random.default_rng(8), 1)
    assert np.isnan(slope_test(x, x[:, None], unit, unit)["pearson"].p).all()


def test_what_never_changes_within_a_prompt_has_no_p() -> None:
    unit, x = swept(np.random.default_rng(9), 7)
    y = np.stack([np.zeros(len(x)), 1000 * np.float32(0.1234567) + unit, x], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in slope_test(x, y, unit, unit).values():
            assert np.isnan(found.p).tolist() == [True, True, False]
        for found in slope_test(unit, y, unit, unit).values():
            assert found.units == 0
            assert np.isnan(found.p).all()
        for found in slope_test(x, y, unit, unit, flips=0).values():
            assert np.isnan(found.p).all()


def test_the_mean_slope_is_that_of_least_squares_unit_by_unit() -> None:
    rng = np.random.default_rng(11)
    unit, x = swept(rng, 9)
    # Unit 9 holds one value of x, and has no slope.
    unit, x = np.append(unit, [9, 9]), np.append(x, [3.0, 3.0])
    y = rng.normal(size=(len(x), 3)) + unit[:, None] + 0.1 * x[:, None] * np.arange(3)
    stratum = np.arange(10) % 2
    found = mean_slopes(x, y, unit, unit, stratum, resamples=500)
    plain = np.array([[stats.linregress(x[unit == u], column[unit == u]).slope for column in y.T] for u in range(9)])
    again = mean_effect(plain, stratum[:9], resamples=500)
    for name in ("mean", "low", "high", "p"):
        np.testing.assert_allclose(getattr(found, name), getattr(again, name))


def test_skewed_slopes_without_a_mean_are_no_trend_whatever_their_symmetry() -> None:
    rng = np.random.default_rng(12)
    unit, x = swept(rng, 24)
    skewed = (rng.exponential(size=(24, EXPERIMENTS)) - 1).repeat(RUNS, axis=0)
    y = 0.05 * rng.normal(size=(len(x), EXPERIMENTS)) + 0.2 * x[:, None] * skewed
    found = mean_slopes(x, y, unit, unit, np.zeros(24, np.int64), resamples=999)
    symmetric = slope_test(x, y, unit, unit, methods=["pearson"], flips=999)["pearson"].p
    assert np.mean(found.p <= 0.05) <= 0.05 + allowed(0.05)
    assert np.mean((found.low <= 0) & (found.high >= 0)) >= 0.95 - allowed(0.05)
    assert np.mean(symmetric <= 0.05) > 0.05 + allowed(0.05)
