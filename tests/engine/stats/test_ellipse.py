from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from srm_explorer.engine.stats.regions import (
    amplitude_range,
    hotelling_radius2,
    joint_region,
    phase_interval,
    stratified_covariance,
)
from srm_explorer.engine.stats.resampling import bootstrap_weights, resampled_means, unit_totals

SIZES = st.floats(0.05, 3.0)
TURNS = st.floats(0.0, 6.28)


def ellipse(long: float, short: float, turn: float) -> np.ndarray:
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (axes * np.array([long, short]) ** 2) @ axes.T


def boundary(centre: np.ndarray, covariance: np.ndarray, radius2: float, t: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    axes = np.sqrt(radius2 * np.maximum(values, 0))
    return centre + (np.stack([np.cos(t), np.sin(t)], 1) * axes) @ vectors.T


def plain_amplitudes(centre: np.ndarray, covariance: np.ndarray, radius2: float) -> tuple[float, float]:
    """Nearest and farthest point by trying: everywhere, then closely around the best."""
    found = []
    for sign in (1, -1):
        t = np.linspace(0, 2 * np.pi, 20_001)
        for _ in range(3):
            norms = np.hypot(*boundary(centre, covariance, radius2, t).T)
            best = t[np.argmin(sign * norms)]
            t = best + np.linspace(-2, 2, 4001) * (t[1] - t[0])
        found.append(float(np.hypot(*boundary(centre, covariance, radius2, np.array([best])).T)[0]))
    return found[0], found[1]


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, TURNS, st.floats(0.0, 4.0), TURNS, st.floats(0.5, 4.0))
def test_phase_and_amplitude_are_those_of_the_points_of_the_ellipse(
    long: float, short: float, turn: float, distance: float, towards: float, radius2: float
) -> None:
    centre = distance * np.array([np.cos(towards), np.sin(towards)])
    covariance = ellipse(long, short, turn)
    # An origin that grazes the ellipse sees it turn faster than its points are drawn.
    reach = centre @ np.linalg.solve(covariance, centre) / radius2
    assume(abs(reach - 1) > 0.01)
    points = boundary(centre, covariance, radius2, np.linspace(0, 2 * np.pi, 50_001))
    inside = reach < 1
    nearest, farthest = plain_amplitudes(centre, covariance, radius2)
    low, high = amplitude_range(centre, covariance, radius2)
    assert high == pytest.approx(farthest, abs=1e-9)
    assert low == pytest.approx(0.0 if inside else nearest, abs=1e-9)
    phase = phase_interval(centre, covariance, radius2)
    if inside:
        assert phase is None
        return
    assert phase is not None
    turns = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    around = np.degrees(np.unwrap(np.radians(turns)))
    width = around.max() - around.min()
    assert (phase[1] - phase[0]) % 360 == pytest.approx(width, abs=0.01)
    assert (phase[0] - around.min() + 180) % 360 - 180 == pytest.approx(0, abs=0.01)


def test_an_ellipse_may_be_a_segment_or_a_point() -> None:
    across = np.diag([0.0, 0.25])
    low, high = phase_interval([1.0, 0.0], across, 4.0) or (np.nan, np.nan)
    assert (low, high) == pytest.approx((315.0, 45.0))
    assert amplitude_range([1.0, 0.0], across, 4.0) == pytest.approx((1.0, np.sqrt(2)))
    along = np.diag([0.25, 0.0])
    assert phase_interval([3.0, 0.0], along, 4.0) == pytest.approx((0.0, 0.0))
    assert phase_interval([0.5, 0.0], along, 4.0) is None
    assert amplitude_range([0.5, 0.0], along, 4.0) == pytest.approx((0.0, 1.5))
    point = np.zeros((2, 2))
    assert phase_interval([0.0, -2.0], point, 0.0) == pytest.approx((270.0, 270.0))
    assert amplitude_range([0.0, -2.0], point, 0.0) == pytest.approx((2.0, 2.0))
    assert phase_interval([0.0, 0.0], point, 0.0) is None
    assert phase_interval([np.nan, 0.0], point, 0.0) is None


@settings(max_examples=30, deadline=None)
@given(st.floats(-8, 8))
def test_an_ellipse_of_any_size_has_the_same_phase_and_its_amplitude_scales(power: float) -> None:
    centre, covariance, scale = np.array([0.3, -0.4]), ellipse(0.1, 0.02, 0.6), 10.0**power
    assert phase_interval(centre * scale, covariance * scale**2, 6.0) == pytest.approx(
        phase_interval(centre, covariance, 6.0)
    )
    expected = np.array(amplitude_range(centre, covariance, 6.0)) * scale
    np.testing.assert_allclose(amplitude_range(centre * scale, covariance * scale**2, 6.0), expected, rtol=1e-9)


def sample(units: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    of_run = np.repeat(np.arange(units), generator.integers(1, 4, units))
    values = generator.normal(size=(units, 2))[of_run] + 0.3 * generator.normal(size=(len(of_run), 2)) + [0.5, 1.0]
    return values, of_run, np.arange(units) % 2


def plain_distances(tables: list[np.ndarray], counts: list[np.ndarray], stratum: np.ndarray, seed: int) -> np.ndarray:
    """The same statistic the slow way: each resample laid out unit by unit and inferred from by itself."""
    signs = [1, -1][: len(tables)]
    observed = sum(s * t.sum(0) / c.sum() for s, t, c in zip(signs, tables, counts, strict=True))
    found = []
    for weight in bootstrap_weights(stratum, 100, seed):
        units = np.repeat(np.arange(len(stratum)), weight.astype(int))
        deviation, influence = -observed, 0.0
        for s, t, c in zip(signs, tables, counts, strict=True):
            mean = t[units].sum(0) / c[units].sum()
            deviation = deviation + s * mean
            influence = influence + s * (t[units] - c[units, None] * mean) / c[units].sum()
        covariance = stratified_covariance(np.asarray(influence), stratum[units])
        found.append(deviation @ np.linalg.solve(covariance, deviation))
    return np.array(found)


@pytest.mark.parametrize("paired", [False, True])
def test_the_radius_is_the_quantile_of_resamples_laid_out_one_by_one(paired: bool) -> None:
    values, of_run, stratum = sample(16)
    totals = unit_totals(values, of_run, 16)
    minus = unit_totals(np.flip(values, 1) ** 2, np.roll(of_run, 1), 16) if paired else None
    region = joint_region(totals, stratum, minus, resamples=100, seed=4)
    groups = [totals] if minus is None else [totals, minus]
    plain = plain_distances([one.sums for one in groups], [one.counts for one in groups], stratum, seed=4)
    assert region is not None
    limit = 3 * hotelling_radius2(2, 14)
    assert region.radius2 == pytest.approx(min(limit, np.quantile(plain, 0.95, method="higher")), rel=1e-9)


def test_the_covariance_is_that_of_resampled_means() -> None:
    values, of_run, stratum = sample(60)
    totals = unit_totals(values, of_run, 60)
    region = joint_region(totals, stratum)
    drawn = resampled_means(totals, bootstrap_weights(stratum, 20_000, seed=1))
    assert region is not None
    np.testing.assert_allclose(region.covariance, np.cov(drawn.T) * 30 / 29, rtol=0.06, atol=2e-4)
    np.testing.assert_allclose(region.centre, values.mean(axis=0))


def test_too_few_units_have_no_region_and_constant_data_are_a_point() -> None:
    assert joint_region(unit_totals([[1.0, 2.0]], [0], 1), [0]) is None
    two = unit_totals([[1.0, 2.0], [3.0, 1.0]], [0, 1], 2)
    assert joint_region(two, [0, 0]) is None
    three = unit_totals([[1.0, 2.0], [3.0, 1.0], [2.0, 2.0]], [0, 1, 2], 3)
    region = joint_region(three, [0, 0, 0])
    assert region is not None
    assert region.phase_deg is None
    constant = joint_region(unit_totals(np.tile([3.0, 4.0], (6, 1)), np.arange(6), 6), np.zeros(6, int))
    assert constant is not None
    assert constant.radius2 == 0
    assert constant.amplitude == pytest.approx((5.0, 5.0))
    assert constant.phase_deg == pytest.approx((53.13010235, 53.13010235))
    assert np.isnan(constant.p)


def test_a_coordinate_without_variance_gives_a_segment() -> None:
    generator = np.random.default_rng(2)
    values = np.column_stack([np.full(20, 0.8), 0.1 * generator.normal(size=20)])
    region = joint_region(unit_totals(values, np.arange(20), 20), np.zeros(20, int), resamples=2000)
    assert region is not None
    assert np.linalg.matrix_rank(region.covariance, tol=1e-15) == 1
    assert region.amplitude[0] >= 0.8 - 1e-12
    half = np.sqrt(region.radius2 * region.covariance[1, 1])
    assert half / (0.1 / np.sqrt(20)) == pytest.approx(2.2, abs=0.7)
    assert np.isnan(region.p)  # (0, 0) is not on the line
    through = joint_region(unit_totals(values - [0.8, 0.0], np.arange(20), 20), np.zeros(20, int), resamples=2000)
    assert through is not None
    t = stats.ttest_1samp(values[:, 1], 0.0).pvalue
    assert through.p == pytest.approx(float(t), abs=0.03)


def test_a_difference_of_a_group_with_itself_is_nothing() -> None:
    values, of_run, stratum = sample(12)
    totals = unit_totals(values, of_run, 12)
    region = joint_region(totals, stratum, totals)
    assert region is not None
    assert region.radius2 == 0
    assert region.phase_deg is None
    assert region.amplitude == (0.0, 0.0)


def test_pairing_removes_what_both_groups_share() -> None:
    generator = np.random.default_rng(1)
    shared = generator.normal(size=(40, 2)) * 5
    one = unit_totals(shared + 0.1 * generator.normal(size=(40, 2)) + [1.0, 0.0], np.arange(40), 40)
    other = unit_totals(shared + 0.1 * generator.normal(size=(40, 2)), np.arange(40), 40)
    alone, paired = joint_region(one, np.zeros(40, int)), joint_region(one, np.zeros(40, int), other)
    assert alone is not None
    assert paired is not None
    assert paired.covariance.max() < alone.covariance.max() / 100
    assert paired.phase_deg is not None
    assert (0.0 - paired.phase_deg[0]) % 360 <= (paired.phase_deg[1] - paired.phase_deg[0]) % 360
