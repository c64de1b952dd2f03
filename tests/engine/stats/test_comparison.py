"""Differences of groups whose units have unequal numbers of runs: a unit is the mean of its runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from srm_explorer.engine.stats.bands import sup_t_band
from srm_explorer.engine.stats.comparison import Sample, group_difference, paired_test
from srm_explorer.engine.stats.permutation import sign_flip_test
from srm_explorer.engine.stats.regions import joint_region
from srm_explorer.engine.stats.resampling import UnitTotals, bootstrap_weights

EXPERIMENTS = 1000
FLIPS = 199
UNITS = 16
STRATUM = np.repeat([0, 1], UNITS // 2)
COMMON = 3.0
"""Mean of all runs of both groups: far larger than what differs between them."""
Noise = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
NULLS: dict[str, Noise] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "heavy": lambda rng, size: rng.standard_t(3, size=size),
    "skewed": lambda rng, size: rng.exponential(size=size) - 1,
    # Greedy texts: most runs of a unit write the same, and so differ by nothing.
    "ties": lambda rng, size: (rng.random(size) < 0.3) * rng.normal(size=size),
}


def allowed(level: float) -> float:
    return 3 * float(np.sqrt(level * (1 - level) / EXPERIMENTS))


def groups(rng: np.random.Generator, noise: Noise, shift: float) -> tuple[Sample, Sample]:
    """Two groups of 1 to 6 runs a unit; units differ, share what they differ in, and spread tenfold unequally."""
    own = COMMON + rng.exponential(size=(UNITS, 2))
    scale = np.geomspace(0.3, 3, UNITS)[:, None]
    samples: list[Sample] = []
    for moved in (shift, 0.0):
        unit = np.repeat(np.arange(UNITS), rng.integers(1, 7, size=UNITS))
        samples.append(Sample(own[unit] + scale[unit] * (noise(rng, (len(unit), 2)) + np.array([moved, 0.0])), unit))
    return samples[0], samples[1]


def unit_differences(first: Sample, other: Sample) -> np.ndarray:
    """[unit, 2] by the definition: the mean of a unit's runs in one group minus that in the other."""
    means = [[side.xy[side.unit == unit].mean(axis=0) for unit in range(UNITS)] for side in (first, other)]
    return np.array(means[0]) - np.array(means[1])


def experiments(noise: Noise, shift: float = 0.0) -> np.ndarray:
    """[unit, experiment, 2] differences."""
    rng = np.random.default_rng(8)
    return np.stack([unit_differences(*groups(rng, noise, shift)) for _ in range(EXPERIMENTS)], axis=1)


def p_of_means(differences: np.ndarray) -> np.ndarray:
    """[experiment]"""
    regions = (
        joint_region(UnitTotals(differences[:, at], np.ones(UNITS)), STRATUM, resamples=FLIPS, seed=at)
        for at in range(differences.shape[1])
    )
    return np.array([region.p for region in regions if region is not None])


def test_a_test_is_of_the_means_of_units() -> None:
    for seed in range(5):
        both = groups(np.random.default_rng(seed), NULLS["skewed"], 0.5)
        found = paired_test(*both, STRATUM, FLIPS)
        differences = unit_differences(*both)
        assert found is not None
        assert found.region is not None
        assert found.symmetry.p == sign_flip_test(differences, FLIPS).p
        np.testing.assert_allclose(found.region.centre, differences.mean(axis=0))
        assert found.region.p == p_of_means(differences[:, None])[0]


@pytest.mark.parametrize("name", NULLS)
def test_where_nothing_differs_few_are_found(name: str) -> None:
    p = sign_flip_test(experiments(NULLS[name]), FLIPS).p
    for level in (0.05, 0.01):
        size = (p <= level + 1e-12).mean()
        assert size <= level + allowed(level)
        # Skewed noise in unequal numbers is not symmetric; the other three are, and then the size is the level.
        if name != "skewed":
            assert size >= level - allowed(level)


@pytest.mark.parametrize("name", ["skewed", "ties"])
def test_where_means_do_not_differ_few_are_found(name: str) -> None:
    """With few units it is on the safe side: resamples without any spread count as reached."""
    p = p_of_means(experiments(NULLS[name]))
    for level in (0.05, 0.01):
        assert (p <= level + 1e-12).mean() <= level + allowed(level)


def test_what_differs_is_found_however_large_what_the_groups_have_in_common() -> None:
    """Sums over runs would find it in one experiment of thirty."""
    differences = experiments(NULLS["normal"], shift=1.2)
    assert (sign_flip_test(differences, FLIPS).p <= 0.05).mean() > 0.9
    assert (p_of_means(differences[:, :300]) <= 0.05).mean() > 0.6


def test_p_of_the_mean_is_that_of_the_region_it_stands_beside() -> None:
    for seed in range(40):
        values = np.random.default_rng(seed).exponential(size=(40, 2)) - 0.8
        region = joint_region(UnitTotals(values, np.ones(40)), np.zeros(40, np.int64), resamples=499)
        assert region is not None
        assert (region.p <= 0.05) == (region.phase_deg is not None)


def test_what_both_groups_have_in_common_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    first, other = groups(rng, NULLS["normal"], 0.5)
    moved = [Sample(side.xy + np.array([40.0, -7.0]), side.unit) for side in (first, other)]
    pairs = ((first, other), (moved[0], moved[1]))
    one, two = (paired_test(*pair, STRATUM, 499) for pair in pairs)
    assert one is not None
    assert two is not None
    assert one.symmetry.p == two.symmetry.p
    estimates = [group_difference(*pair, STRATUM, (), 8, resamples=200) for pair in pairs]
    np.testing.assert_allclose(estimates[0].difference, estimates[1].difference, atol=1e-12)


def test_a_difference_is_of_units_that_weigh_alike() -> None:
    """Unit 0 has nine runs in one group and one in the other; of 12 units it is a twelfth of everything."""
    first = Sample(np.array([[0.9, 0.0]] * 9 + [[0.1, 0.0]] * 11), np.array([0] * 9 + list(range(1, 12))))
    other = Sample(np.array([[0.0, 0.1]] * 12), np.arange(12))
    found = group_difference(first, other, np.zeros(12, np.int64), (0.5,), 4, resamples=100)
    np.testing.assert_allclose(found.difference, [(0.9 + 1.1) / 12, -0.1])
    np.testing.assert_allclose(found.shares[0], [1 / 12, 0, 0, 0])
    assert found.share_bands is not None
    assert (found.share_bands[0, 0] <= found.shares[0]).all()


def test_a_difference_has_the_region_of_units_differences_seen_along_every_angle() -> None:
    both = groups(np.random.default_rng(2), NULLS["skewed"], 0.5)
    found = group_difference(*both, STRATUM, (), 8, resamples=100)
    expected = joint_region(UnitTotals(unit_differences(*both), np.ones(UNITS)), STRATUM)
    assert found.region is not None
    assert found.mean_band is not None
    assert expected is not None
    np.testing.assert_allclose(found.region.covariance, expected.covariance)
    assert found.region.radius2 == pytest.approx(expected.radius2)
    turn = np.linspace(0, 2 * np.pi, 1001)
    root = np.linalg.cholesky(expected.covariance) * np.sqrt(expected.radius2)
    edge = expected.centre + np.stack([np.cos(turn), np.sin(turn)], axis=1) @ root.T
    angle = np.arange(8) * np.pi / 4
    seen = edge @ np.stack([np.cos(angle), np.sin(angle)])
    np.testing.assert_allclose(found.mean_band, [seen.min(axis=0), seen.max(axis=0)], rtol=1e-3)


def test_groups_that_differ_by_the_very_same_in_every_unit_have_a_difference_without_a_region() -> None:
    unit = np.arange(UNITS)
    xy = np.random.default_rng(0).normal(size=(UNITS, 2))
    found = group_difference(Sample(xy + np.array([0.25, 0.5]), unit), Sample(xy, unit), STRATUM, (0.5,), 4)
    np.testing.assert_allclose(found.difference, [0.25, 0.5])
    assert found.units == UNITS
    assert found.region is None
    assert found.mean_band is None
    assert found.share_bands is not None
    assert paired_test(*(Sample(xy[:1], unit[:1]),) * 2, STRATUM) is None


def test_phases_differ_by_the_angle_between_units_means_and_vary_as_they_do_in_resamples() -> None:
    """Of phases near 170 and -170 degrees: the shorter way round, and an interval around it."""
    rng = np.random.default_rng(4)
    unit = np.repeat(np.arange(UNITS), rng.integers(1, 4, size=UNITS))
    sides = []
    for degrees in (170, -170):
        towards = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        sides.append(Sample(towards + 0.2 * rng.normal(size=(len(unit), 2)), unit))
    means = [np.array([side.xy[unit == at].mean(axis=0) for at in range(UNITS)]) @ [1, 1j] for side in sides]
    found = group_difference(*sides, STRATUM, (), 8, resamples=400, seed=5)
    turn = np.degrees(np.angle(means[0].mean() / means[1].mean()))
    assert found.phase_deg == pytest.approx(turn)
    assert found.phase_interval is not None
    drawn = []
    for weight in bootstrap_weights(STRATUM, 400, seed=5):
        again = np.repeat(np.arange(UNITS), weight.astype(int))
        drawn.append(np.degrees(np.angle(means[0][again].mean() / means[1][again].mean())))
    assert np.abs(drawn).max() < 90  # so none went the other way round
    np.testing.assert_allclose(found.phase_interval, sup_t_band([turn], np.array(drawn)[:, None], STRATUM)[:, 0])
    nowhere = group_difference(Sample(0 * sides[0].xy, unit), sides[1], STRATUM, (), 8, resamples=100)
    assert (nowhere.phase_deg, nowhere.phase_interval) == (None, None)
