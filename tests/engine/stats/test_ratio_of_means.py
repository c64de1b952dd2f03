"""The ratio of two means: Fieller's set where numbers are normal, the right coverage where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from srm_explorer.engine.stats.unit_means import LEAST_UNITS, mean_effect, ratio_of_means

EXPERIMENTS = 2000
SIZE = 0.05 + 3 * (0.05 * 0.95 / EXPERIMENTS) ** 0.5


def fieller(top: np.ndarray, bottom: np.ndarray) -> tuple[float, float]:
    """Roots of (a - r b)^2 = t^2 var(a - r b) (Fieller 1954)."""
    n = len(top)
    cover = student.ppf(0.975, n - 1) ** 2 * np.cov(top, bottom) / n
    a, b = top.mean(), bottom.mean()
    low, high = sorted(np.roots([b * b - cover[1, 1], -2 * (a * b - cover[0, 1]), a * a - cover[0, 0]]).real.tolist())
    return low, high


def test_of_normal_numbers_it_is_fieller_s_interval() -> None:
    generator = np.random.default_rng(3)
    bottom = generator.normal(2.0, 1.0, 60)
    top = 0.6 * bottom + generator.normal(0.0, 0.5, 60)
    found = ratio_of_means(top, bottom)
    low, high = fieller(top, bottom)
    assert found.ratio == pytest.approx(top.mean() / bottom.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.12 * (high - low))
    below = ratio_of_means(top, -bottom)
    assert [below.low, below.ratio, below.high] == pytest.approx([-found.high, -found.ratio, -found.low])


def test_its_ends_are_where_a_ratio_is_no_longer_rejected() -> None:
    generator = np.random.default_rng(5)
    bottom = generator.exponential(1.0, 24)
    top = bottom * generator.uniform(0, 1, 24)
    found = ratio_of_means(top, bottom, resamples=4000)
    step = 0.01 * (found.high - found.low)
    inside = np.linspace(found.low + step, found.high - step, 9)
    p = mean_effect(top[:, None] - inside * bottom[:, None], resamples=4000).p
    assert (p > 0.05).all()
    outside = np.array([found.low - step, found.high + step])
    assert (mean_effect(top[:, None] - outside * bottom[:, None], resamples=4000).p <= 0.05).all()


@pytest.mark.parametrize(("units", "power"), [(10, 0.35), (30, 0.8)])
def test_the_true_ratio_is_not_rejected_too_often(units: int, power: float) -> None:
    """Skewed and heteroscedastic: what a pair restores scatters with how far it lies apart, some hardly at all."""
    generator = np.random.default_rng(units)
    bottom = generator.exponential(1.0, (units, EXPERIMENTS))
    ratio = 0.7
    top = bottom * (ratio + 0.5 * (generator.exponential(1.0, bottom.shape) - 1))
    # The interval leaves the true ratio out where, and only where, this is rejected: see the test above.
    rejected = (mean_effect(top - ratio * bottom, resamples=2000).p <= 0.05).mean()
    assert rejected <= SIZE
    assert (mean_effect(top, resamples=2000).p <= 0.05).mean() > power, "0.7 is told from no ratio at all"


def test_tiny_denominators_do_no_harm_and_a_denominator_that_may_be_0_has_no_ratio() -> None:
    generator = np.random.default_rng(7)
    bottom = np.concatenate([generator.uniform(1, 2, 20), np.full(5, 1e-12)])
    top = np.concatenate([0.5 * bottom[:20] + generator.normal(0, 0.1, 20), generator.normal(0, 1e-3, 5)])
    found = ratio_of_means(top, bottom, resamples=2000)
    assert found.low < found.ratio < found.high
    assert found.ratio == pytest.approx(0.5, abs=0.05)
    assert found.high - found.low < 0.2
    none = ratio_of_means(top, generator.normal(0, 1, 25), resamples=2000)
    assert np.isnan([none.ratio, none.low, none.high]).all()
    assert np.isnan(ratio_of_means(np.zeros(9), np.zeros(9)).ratio)


def test_exact_proportion_and_few_units_have_a_ratio_and_no_interval() -> None:
    bottom = np.arange(1.0, 13.0)
    for top, below in ((0.25 * bottom, bottom), (bottom[: LEAST_UNITS - 1] + 1, bottom[: LEAST_UNITS - 1])):
        found = ratio_of_means(top, below)
        assert found.ratio == pytest.approx(top.mean() / below.mean())
        assert np.isnan([found.low, found.high]).all()
