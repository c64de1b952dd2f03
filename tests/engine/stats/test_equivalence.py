from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats.equivalence import (
    detectable_effect,
    equivalence_test,
    power_of,
    spread_of,
    units_needed,
)
from srm_explorer.engine.stats.unit_means import mean_effect

EXPERIMENTS = 1000
Drawn = Callable[[np.random.Generator, int], np.ndarray]


def three_errors(size: float) -> float:
    return 3 * float(np.sqrt(size * (1 - size) / EXPERIMENTS))


@pytest.mark.parametrize("units", [2, 5, 20, 100, 3000])
@pytest.mark.parametrize("effect", [0.0, 0.05, 0.2, 0.5, 1.0, -0.5])
def test_power_is_that_of_the_noncentral_t(units: int, effect: float) -> None:
    limit, away = stats.t.ppf(0.975, units - 1), effect * np.sqrt(units)
    reference = stats.nct.sf(limit, units - 1, away) + stats.nct.cdf(-limit, units - 1, away)
    if np.isfinite(reference):
        assert power_of(effect, units) == pytest.approx(reference, abs=1e-6)
    else:
        # So far out scipy's distribution is not computed any more.
        assert power_of(effect, units) == pytest.approx(1.0)


def test_what_is_far_is_found_and_nothing_is_found_at_the_size() -> None:
    assert power_of(50.0, 4000) == 1.0
    assert power_of(0.0, 30, 0.01) == pytest.approx(0.01)
    assert np.isnan(power_of(1.0, 1))


@pytest.mark.parametrize("units", [5, 12, 50, 400])
def test_the_detectable_effect_needs_just_so_many_units(units: int) -> None:
    effect = detectable_effect(units)
    assert power_of(effect, units) == pytest.approx(0.8, abs=1e-6)
    assert units_needed(effect * (1 + 1e-9)) == units
    assert units_needed(effect * (1 - 1e-6)) == units + 1


def test_known_numbers_and_none() -> None:
    # Cohen's table 2.4.1 and G*Power for one sample: d = .5 takes 34, d = .2 takes 199.
    assert (units_needed(0.5), units_needed(0.2)) == (34, 199)
    assert units_needed(0.0) is None
    assert units_needed(1e-9) is None
    assert units_needed(100.0) == 5
    assert np.isnan(detectable_effect(4))


def test_the_studentised_bootstrap_has_the_power_that_is_promised() -> None:
    rng, units = np.random.default_rng(0), 30
    effect = detectable_effect(units)
    found = [mean_effect(rng.normal(effect, size=units), resamples=399, seed=seed).p <= 0.05 for seed in range(300)]
    assert np.mean(found) >= 0.8 - 3 * np.sqrt(0.8 * 0.2 / 300)


def skewed(rng: np.random.Generator, units: int) -> np.ndarray:
    """Skewed units (lognormal, sigma .5), mean 0 and standard deviation 1."""
    return (np.exp(0.5 * rng.normal(size=units)) - np.exp(0.125)) / 0.6039


def unequal(rng: np.random.Generator, units: int) -> np.ndarray:
    """Units of which each is the mean of another number of runs, and has another spread."""
    return rng.normal(size=units) * rng.choice([0.5, 1.0, 1.5], size=units) / np.sqrt(rng.integers(1, 4, units))


@pytest.mark.parametrize(("drawn", "side"), [(skewed, -1.0), (skewed, 1.0), (unequal, 1.0)])
def test_an_effect_at_the_bound_is_called_smaller_no_more_often_than_said(drawn: Drawn, side: float) -> None:
    rng = np.random.default_rng(3)
    p = [equivalence_test(drawn(rng, 25) + side * 0.8, 0.8, resamples=399, seed=s).p for s in range(EXPERIMENTS)]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + three_errors(0.05)


def test_none_is_shown_to_be_smaller_where_there_are_units_enough() -> None:
    rng = np.random.default_rng(4)
    p = [equivalence_test(skewed(rng, 60), 0.5, resamples=399, seed=seed).p for seed in range(200)]
    assert np.mean(np.array(p) <= 0.05) >= 0.8


def test_it_agrees_with_its_interval() -> None:
    rng = np.random.default_rng(5)
    for seed in range(40):
        values = 0.3 * rng.normal(size=15) + 0.2
        found = equivalence_test(values, 0.35, resamples=999, seed=seed)
        inside = found.low > -0.35 and found.high < 0.35
        assert (found.p <= 0.05) == inside or abs(found.p - 0.05) < 0.01


def test_equal_units_and_few_units_show_nothing() -> None:
    assert np.isnan(equivalence_test(np.full(20, 0.1), 1.0).p)
    assert np.isnan(equivalence_test([0.1, -0.2, 0.1, 0.0], 1.0).p)
    assert equivalence_test([0.1, -0.2, 0.1, np.nan, 0.0, 0.05], 1.0).units == 5


@pytest.mark.parametrize("bound", [0.0, -1.0, np.nan, np.inf])
def test_a_bound_that_is_none_is_refused(bound: float) -> None:
    with pytest.raises(ExplorerError, match="smallest effect of interest"):
        equivalence_test(np.arange(9.0), bound)


def test_the_spread_is_that_within_strata() -> None:
    values = np.array([1.0, 3.0, 5.0, 11.0, 13.0, 15.0, np.nan])
    stratum = np.array([0, 0, 0, 1, 1, 1, 1])
    assert spread_of(values, stratum)[0] == pytest.approx(2.0)
    spread, units = spread_of(values)
    assert (spread, units) == (pytest.approx(np.std(values[:6], ddof=1)), 6)
