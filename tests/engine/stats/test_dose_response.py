from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import isotonic_regression, least_squares

from srm_explorer.engine.stats.dose_response import (
    Shape,
    curve_at,
    curve_slopes,
    fit_curves,
    isotonic,
    monotone_test,
    saturation,
    unit_curves,
)
from srm_explorer.engine.stats.unit_means import mean_effect

VALUES = np.array([-20.0, -10, -3, 0, 3, 10, 20])
EXPERIMENTS = 1000


def three_errors(size: float) -> float:
    """Three standard errors of a share that is counted over the experiments."""
    return 3 * float(np.sqrt(size * (1 - size) / EXPERIMENTS))


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-9, 9)))
def test_the_nearest_rising_curve_is_that_of_pooled_violators(curves: np.ndarray) -> None:
    reference = [isotonic_regression(curve).x for curve in curves]
    np.testing.assert_allclose(isotonic(curves), reference, atol=1e-9)


def test_a_unit_has_the_mean_of_its_runs_at_every_value_and_their_slope() -> None:
    levels, curves = unit_curves([1, 1, 2, np.nan, 2, 4], [1.0, 3.0, 5.0, 9.0, np.nan, 2.0], [0, 0, 0, 0, 1, 1], 3)
    np.testing.assert_array_equal(levels, [1, 2, 4])
    np.testing.assert_array_equal(curves, [[2, 5, np.nan], [np.nan, np.nan, 2], [np.nan] * 3])
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(5, 7))
    np.testing.assert_allclose(curve_slopes(VALUES, whole), [np.polyfit(VALUES, curve, 1)[0] for curve in whole])
    assert curve_slopes(levels, curves)[0] == pytest.approx(3.0)
    assert np.isnan(curve_slopes(levels, curves)[1:]).all()


@pytest.mark.parametrize("shape", ["logistic", "emax"])
def test_curves_are_fitted_as_scipy_fits_them_one_by_one(shape: Shape) -> None:
    rng = np.random.default_rng(2)
    x = VALUES if shape == "logistic" else np.array([1.0, 2, 4, 8, 16, 32])
    truth = np.array([0.1, 0.6, 2.0 if shape == "logistic" else 5.0, np.log(3.0)])
    means = curve_at(x, truth, shape) + 0.01 * rng.normal(size=(20, len(x)))
    fitted, converged = fit_curves(x, means, shape)
    assert converged.all()
    free = 4 if shape == "logistic" else 3
    for mean, found in zip(means, fitted, strict=True):
        reference = least_squares(lambda at, mean=mean: curve_at(x, [*at, 0.0][:4], shape) - mean, found[:free] * 1.01)
        assert ((curve_at(x, found, shape) - mean) ** 2).sum() <= 2 * reference.cost + 1e-9


def slopes_p(rng: np.random.Generator, trend: float, seed: int) -> float:
    """p of the mean slope: skewed, heteroscedastic units with unequal numbers of runs and autocorrelated values."""
    units = 20
    unit = np.repeat(np.arange(units), rng.integers(1, 4, units))
    spread = np.exp(0.4 * rng.normal(size=units))
    noise = 0.3 * rng.normal(size=(len(unit), len(VALUES))).cumsum(axis=1)
    own = (rng.exponential(size=units) - 1) * spread
    y = (trend + own[unit, None]) * VALUES / 20 + noise
    levels, curves = unit_curves(np.tile(VALUES, len(unit)), y.ravel(), np.repeat(unit, len(VALUES)), units)
    return float(mean_effect(curve_slopes(levels, curves), resamples=399, seed=seed).p)


def test_a_mean_slope_of_zero_is_found_no_more_often_than_said_and_a_real_one_is() -> None:
    rng = np.random.default_rng(5)
    null = np.array([slopes_p(rng, 0.0, seed) for seed in range(EXPERIMENTS)])
    assert (null <= 0.05).mean() <= 0.05 + three_errors(0.05)
    assert np.mean([slopes_p(rng, 1.2, seed) <= 0.05 for seed in range(100)]) >= 0.8


def reflected(rng: np.random.Generator, units: int = 12) -> np.ndarray:
    """[unit, value] curves whose deviations are symmetric: skewed, repeated, autocorrelated, each unit its own."""
    steps = rng.exponential(size=(units, len(VALUES))).cumsum(axis=1) * np.exp(rng.normal(size=(units, 1)))
    away = np.round(steps - steps.mean(axis=1, keepdims=True))
    return 5 + away * rng.choice([-1.0, 1.0], size=(units, 1))


def test_monotony_is_found_no_more_often_than_said_and_a_rise_is_found() -> None:
    rng = np.random.default_rng(6)
    null = np.array([monotone_test(reflected(rng), flips=399, seed=seed).p for seed in range(EXPERIMENTS)])
    for size in (0.05, 0.01):
        assert abs((null <= size).mean() - size) <= three_errors(size)
    tests = [monotone_test(np.tanh(VALUES / 5) + rng.normal(size=(12, 7)), flips=399, seed=seed) for seed in range(100)]
    assert np.mean([test.p <= 0.05 and test.rising for test in tests]) >= 0.9


def test_what_is_flat_or_bent_is_no_rise() -> None:
    assert monotone_test(np.full((8, 5), 0.3)).p == 1.0
    bent = np.abs(VALUES) / 20 + 0.01 * np.random.default_rng(0).normal(size=(30, 7))
    assert monotone_test(bent).explained < 0.5
    assert np.isnan(monotone_test(np.ones((1, 5))).p)
    straight = monotone_test(np.outer([1.0, 2, 3, 4, 5, 6], [1.0, 2, 3]))
    assert (straight.p, straight.explained) == (2.0**-5, 1.0)
    falling = monotone_test(-VALUES + np.random.default_rng(0).normal(size=(6, 7)))
    assert not falling.rising
    assert falling.p == falling.least == 2.0**-5


def test_intervals_of_a_plateau_hold_it_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)
    truth = np.array([0.1, 0.6, 2.0, np.log(4.0)])
    curve = curve_at(VALUES, truth, "logistic")
    held: list[list[bool]] = []
    experiments = 400
    for seed in range(experiments):
        units = curve + 0.1 * (rng.exponential(size=(15, 1)) - 1) + 0.06 * rng.normal(size=(15, len(VALUES)))
        found = saturation(VALUES, units, fits=99, seed=seed)
        if not found.refused:
            ends = (found.start_ends, found.plateau_ends, found.half_ends)
            held.append([low <= true <= high for (low, high), true in zip(ends, truth.tolist(), strict=False)])
    assert len(held) > 0.8 * experiments
    assert (np.mean(held, axis=0) >= 0.91).all(), np.mean(held, axis=0)


@pytest.mark.parametrize(
    ("curve", "why"),
    [
        (VALUES / 20, "no plateau"),
        (np.exp(VALUES / 8), "no plateau"),
        (np.zeros(7), "no plateau"),
    ],
)
def test_without_a_plateau_none_is_told(curve: np.ndarray, why: str) -> None:
    units = curve + 0.02 * np.random.default_rng(1).normal(size=(20, 7))
    found = saturation(VALUES, units)
    assert why in found.refused
    assert np.isnan(found.plateau)


def test_noise_has_no_plateau_and_a_step_none_whose_place_is_known() -> None:
    rng = np.random.default_rng(5)
    doses = np.array([-20.0, -10.0, 0.0, 10.0, 20.0])
    noise = [saturation(doses, rng.normal(size=(15, 5)), fits=99, seed=seed) for seed in range(200)]
    # 95 % intervals of the rise leave 0 out in 5 % of such curves at most; most are refused before.
    assert np.mean([not found.refused for found in noise]) <= 0.05
    size = rng.uniform(6, 9, size=(15, 1))
    odd = saturation(doses, doses / np.hypot(doses, size))  # half of the way is at 0 in every unit, by symmetry
    assert (odd.refused, odd.half) == ("", 0.0)
    assert np.isnan(odd.half_ends).all()
    assert odd.plateau_ends[0] < odd.plateau < odd.plateau_ends[1]
    step = saturation(doses, (doses > -5) + 0.1 * rng.normal(size=(15, 5)))
    assert step.refused
    assert np.isnan(step.half_ends).all()


def test_few_values_and_few_units_are_refused_with_their_number() -> None:
    assert saturation(VALUES[:4], np.zeros((9, 4))).refused.startswith("4 values are too few")
    gaps = np.where(np.arange(9)[:, None] < 3, 1.0, np.nan) * np.ones(7)
    assert saturation(VALUES, gaps).refused.endswith("too few: 3")


def test_values_of_one_sign_are_followed_from_zero() -> None:
    doses = np.array([0.5, 1, 2, 4, 8, 16, 32])
    units = 1 + 3 * doses / (4 + doses) + 0.1 * np.random.default_rng(3).normal(size=(20, 7))
    for sign in (1, -1):
        found = saturation(sign * doses, units)
        assert found.shape == "emax"
        assert found.half == pytest.approx(4, rel=0.2)
        assert found.half_ends[0] < 4 < found.half_ends[1]
        assert (found.start, found.plateau) == (pytest.approx(1, abs=0.2), pytest.approx(4, abs=0.2))
