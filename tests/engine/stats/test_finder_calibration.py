"""With nothing there, planes are called true no more often than promised; with something, it is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from srm_explorer.engine.stats.comparison import group_contrast, hotelling, paired_contrast, synergy
from srm_explorer.engine.stats.pairings import scan_pairs, separation_score
from srm_explorer.engine.stats.permutation import benjamini_hochberg
from srm_explorer.engine.stats.plane_tests import UNEQUAL as UNEQUAL_SPREADS
from srm_explorer.engine.stats.plane_tests import correlation_test, flipped_residuals, paired_test, unpaired_test

EXPERIMENTS, UNITS, DRAWS = 2000, 50, 99
LEVELS = (0.01, 0.05, 0.1, 0.3)


def calibrated(p: np.ndarray) -> None:
    for a in LEVELS:
        assert (p <= a).mean() <= a + 3 * np.sqrt(a * (1 - a) / len(p)), a


Scales = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
UNEQUAL: dict[str, Scales] = {
    "alike": lambda rng, size: np.ones(size),
    "squared": lambda rng, size: rng.exponential(size=size) ** 2 + 0.05,
    "lognormal": lambda rng, size: rng.lognormal(sigma=1.2, size=size),
}
PAIRS = np.arange(2 * EXPERIMENTS).reshape(-1, 2)


def planes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[unit, 2 * plane] coordinates of planes [unit, plane], side by side."""
    return np.stack([a, b], axis=2).reshape(len(a), -1)


@pytest.mark.parametrize("name", UNEQUAL)
@pytest.mark.parametrize("units", [12, 25])
def test_a_separation_by_one_coordinate_alone_is_no_separation_by_the_plane(name: str, units: int) -> None:
    # 2,000 planes, each an experiment: b follows a and its own noise; a separates a little, strongly or not at all;
    # some units respond much more than others, in both.
    rng = np.random.default_rng(units)
    size = (units, EXPERIMENTS)
    scale = UNEQUAL[name](rng, size)
    away = np.tile([0.0, 0.5, 3.0, 10.0], EXPERIMENTS // 4)
    a = scale * (away + rng.standard_t(4, size))
    b = 0.6 * a + 0.8 * scale * rng.standard_t(4, size)
    for values in (planes(a, b), planes(b, a)):
        calibrated(paired_test(values, PAIRS, DRAWS, 0, single=False).p)
    # Given a, that b adds nothing is all that is tested: neither too often nor too seldom.
    ones, none = np.ones(units), np.empty((units, 0))
    p = flipped_residuals(b, ones, a, none, DRAWS, 1)
    calibrated(p)
    assert np.mean(p <= 0.1) > 0.06


@pytest.mark.parametrize("name", UNEQUAL)
def test_with_no_separation_at_all_p_is_conservative_and_of_one_axis_uniform(name: str) -> None:
    rng = np.random.default_rng(1)
    size = (UNITS, 2 * EXPERIMENTS)
    values = UNEQUAL[name](rng, size) * rng.standard_t(4, size)
    calibrated(paired_test(values, PAIRS, DRAWS, 1, single=False).p)
    alone = paired_test(values, PAIRS, DRAWS, 1, single=True).p
    calibrated(alone)
    assert stats.kstest(alone, "uniform").pvalue > 0.001


def test_the_fast_way_equals_a_regression_a_flip() -> None:
    rng = np.random.default_rng(6)
    y, a = rng.normal(size=(2, 14, 3))
    group, levels = np.repeat([1.0, 0.0], 7), np.eye(2)[np.arange(14) % 2]
    found = flipped_residuals(y, group, a, levels, 400, 3)
    for pair in range(3):
        rest = np.column_stack([levels, a[:, pair]])
        loud = a[:, pair] - levels @ np.linalg.lstsq(levels, a[:, pair])[0]
        likely = []
        for growth in UNEQUAL_SPREADS:
            w = 1 / np.sqrt(1 + growth * loud**2 / np.median(loud**2))
            left = w * y[:, pair] - (w[:, None] * rest) @ np.linalg.lstsq(w[:, None] * rest, w * y[:, pair])[0]
            likely.append((np.log(w).sum() - 7 * np.log(np.mean(left**2)) - 2 * (growth > 0), w, left))
        _, w, left = max(likely, key=lambda each: each[0])
        whole = w[:, None] * np.column_stack([rest, group])
        hat = whole @ np.linalg.pinv(whole)

        def t(sample: np.ndarray, whole: np.ndarray = whole, hat: np.ndarray = hat) -> float:
            inverse = np.linalg.inv(whole.T @ whole)
            share = (sample - hat @ sample) ** 2 / (1 - np.diag(hat))
            error = np.sqrt((inverse @ (whole.T * share) @ whole @ inverse)[-1, -1])
            return float((np.linalg.pinv(whole) @ sample)[-1] / error)

        flips = 1 - 2 * np.random.default_rng(3).integers(0, 2, size=(400, 14))
        reached = sum(abs(t(flip * left)) >= abs(t(left)) * (1 - 1e-9) for flip in flips)
        assert found[pair] == pytest.approx((1 + reached) / 401)


@pytest.mark.parametrize("units", [12, 25])
def test_a_plane_that_tells_more_is_found_about_as_often_as_by_a_t_test(units: int) -> None:
    rng = np.random.default_rng(7)
    a, own = rng.normal(size=(2, units, EXPERIMENTS))
    b = 0.6 * a + 0.8 * own + 3 * 0.8 / np.sqrt(units)
    found = np.mean(flipped_residuals(b, np.ones(units), a, np.empty((units, 0)), DRAWS, 0) <= 0.05)
    by_t = np.mean(np.abs(_intercepts(b, a)) >= stats.t.isf(0.025, units - 2))
    assert 0.6 < by_t < 0.9
    assert found > by_t - 0.1


def _intercepts(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[plane] Student's t of the intercept of y on x, [unit, plane]."""
    n = len(y)
    rest = x - x.mean(axis=0)
    slope = (rest * y).sum(axis=0) / (rest**2).sum(axis=0)
    intercept = y.mean(axis=0) - slope * x.mean(axis=0)
    spread = ((y - intercept - slope * x) ** 2).sum(axis=0) / (n - 2)
    return intercept / np.sqrt(spread * (1 / n + x.mean(axis=0) ** 2 / (rest**2).sum(axis=0)))


def test_between_units_with_nothing_there() -> None:
    rng = np.random.default_rng(2)
    # Both groups have units of both prompt sets, which differ in level; the sets are no evidence.
    sets = np.arange(UNITS) // (UNITS // 5) % 2
    values = rng.standard_t(4, (UNITS, 2 * EXPERIMENTS)) + 2.0 * sets[:, None]
    half = UNITS // 2
    pairs = np.arange(2 * EXPERIMENTS).reshape(-1, 2)
    found = unpaired_test(values[:half], values[half:], (sets[:half], sets[half:]), pairs, DRAWS, 2)
    calibrated(found.p)
    # One group is far louder than the other, and smaller; a separates, b adds nothing.
    few = (np.arange(UNITS) < 15)[:, None]
    noise = np.where(few, 3.0, 1.0) * (values - 2.0 * sets[:, None])
    beside = planes(noise[:, ::2] + 4.0 * few, noise[:, 1::2]) + 2.0 * sets[:, None]
    found = unpaired_test(beside[:15], beside[15:], (sets[:15], sets[15:]), pairs, DRAWS, 2)
    calibrated(found.p)


@pytest.mark.parametrize("name", UNEQUAL)
def test_correlation_with_nothing_there(name: str) -> None:
    # Units that are loud are so in both coordinates: no correlation, though the two are not independent.
    rng = np.random.default_rng(3)
    scale = UNEQUAL[name](rng, (UNITS, EXPERIMENTS))
    values = planes(*(scale * rng.standard_t(3, (UNITS, EXPERIMENTS)) for _ in range(2)))
    values -= values.mean(axis=0)
    signs = rng.choice([-1.0, 1.0], EXPERIMENTS)
    p = correlation_test(values, np.zeros(UNITS, np.int64), PAIRS, signs, DRAWS, 3).p
    calibrated(p)
    assert np.mean(p <= 0.1) > 0.07
    one = correlation_test(values, np.zeros(UNITS, np.int64), PAIRS[:3], signs[:3], DRAWS, 3)
    np.testing.assert_allclose(one.statistic, [np.corrcoef(values[:, pair].T)[0, 1] for pair in PAIRS[:3]])


def test_one_axis_is_tested_by_every_flip_of_signs() -> None:
    rng = np.random.default_rng(4)
    differences = rng.normal(size=(10, 2)) + 0.6
    found = paired_test(differences, np.array([[0, 1]]), 4000, 0, single=True)
    signs = 1 - 2 * (np.arange(1024)[:, None] >> np.arange(10) & 1)
    sums = np.abs(signs @ differences[:, 1])
    exact = np.mean(sums >= sums[0] - 1e-9)
    assert found.p[0] == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 4000))
    t, _ = tuple(stats.ttest_1samp(differences[:, 1], 0))
    assert found.statistic[0] == pytest.approx(t**2)
    assert found.t2[0] == pytest.approx(t**2)
    both = paired_test(differences, np.array([[0, 1]]), 9, 0, single=False)
    mean = differences.mean(axis=0)
    assert both.t2[0] == pytest.approx(10 * mean @ np.linalg.solve(np.cov(differences.T), mean))


def test_planted_planes_are_found_and_false_discoveries_stay_under_their_target() -> None:
    # 10 of 40 coordinates in 5 planes whose noise is shared, so that only the plane tells the groups apart.
    target, experiments, planted = 0.1, 30, 5
    weights = np.tile([1.0, -1.0], 24)
    shares, hits = [], 0
    for seed in range(experiments):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(96, 40))
        common = rng.normal(size=(96, planted)) * 2
        shift = np.tile([1.0, 0.0], 48)[:, None] * 1.2
        values[:, :planted] = 0.4 * values[:, :planted] + common + shift
        values[:, planted : 2 * planted] = 0.4 * values[:, planted : 2 * planted] + common - shift
        # Loud coordinates that separate by themselves are no planes.
        values[:, 12:15] += 3 * shift
        halved = values.reshape(2, 48, 40)
        contrast = paired_contrast(np.add.reduceat(weights[:, None] * halved[0], np.arange(0, 48, 2)))
        best = scan_pairs(contrast.residual, separation_score(contrast), 100, np.arange(40))
        rest = np.add.reduceat(weights[:, None] * halved[1], np.arange(0, 48, 2))
        found = paired_test(rest, best.pairs, 499, seed, single=False)
        called = best.pairs[benjamini_hochberg(found.p) <= target]
        # A plane is false where one of its coordinates adds nothing: it separates no better than the other alone.
        separating = {*range(2 * planted), 12, 13, 14}
        false = [pair for pair in called.tolist() if not set(pair) <= separating]
        shares.append(len(false) / max(1, len(called)))
        hits += sum(
            pair in best.pairs.tolist() and pair in called.tolist() for pair in [[i, i + planted] for i in range(5)]
        )
    assert np.mean(shares) <= target + 3 * np.std(shares) / np.sqrt(experiments)
    assert hits > 0.9 * planted * experiments


def noise(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.exponential(size=shape) - 1 if kind == "skewed" else rng.standard_t(4, size=shape) / np.sqrt(2)


def pairs_with(mean: tuple[float, float], rho: float, draws: np.ndarray) -> np.ndarray:
    """[unit, 2 * experiment]: both coordinates spread by 1, are correlated by rho and lie about a mean."""
    first, second = draws
    values = np.stack([first, rho * first + np.sqrt(1 - rho**2) * second], axis=-1) + mean
    return values.reshape(len(values), -1)


@pytest.mark.parametrize("units", [10, 25])
@pytest.mark.parametrize("kind", ["skewed", "heavy"])
@pytest.mark.parametrize(
    ("mean", "rho"),
    [
        ((0.0, 0.0), 0.6),  # nothing there
        ((1.5, 0.0), 0.0),  # one coordinate tells everything
        ((1.0, 1.0), 0.0),  # each tells its own part: both add, and nothing is told by the two together alone
        ((1.0, 0.5), 0.8),  # correlated by just so much that what one takes away it gives
        ((1.0, 1.0), 0.8),  # they repeat each other
    ],
)
def test_coordinates_without_synergy_have_none(mean: tuple[float, float], rho: float, kind: str, units: int) -> None:
    rng = np.random.default_rng(11)
    columns = np.arange(2 * EXPERIMENTS).reshape(-1, 2)
    calibrated(synergy([pairs_with(mean, rho, noise(kind, (2, units, EXPERIMENTS), rng))], columns).p)
    # Two groups of different units, as unlike in number as in spread.
    first = pairs_with(mean, rho, noise(kind, (2, units, EXPERIMENTS), rng))
    second = pairs_with((0.0, 0.0), rho, noise(kind, (2, units + 8, EXPERIMENTS), rng))
    calibrated(synergy([first, second], columns).p)


def test_what_only_two_coordinates_together_tell_is_found_and_is_the_plain_formula() -> None:
    rng = np.random.default_rng(12)
    columns = np.arange(2 * EXPERIMENTS).reshape(-1, 2)
    values = pairs_with((1.0, 0.0), 0.9, rng.normal(size=(2, 25, EXPERIMENTS)))
    found = synergy([values], columns)
    assert np.mean(found.p <= 0.05) > 0.5
    contrast = paired_contrast(values[:, :2])
    d = values[:, :2]
    t2 = 25 * d.mean(axis=0) @ np.linalg.solve(np.cov(d.T), d.mean(axis=0))
    assert found.value[0] == pytest.approx(t2 - (contrast.t**2).sum())
    leaving = np.array([synergy([np.delete(d, unit, axis=0)], np.array([[0, 1]])).value[0] / 24 for unit in range(25)])
    error = np.sqrt(24 / 25 * ((leaving - leaving.mean()) ** 2).sum())
    assert found.p[0] == pytest.approx(stats.t.sf(found.value[0] / 25 / error, 24))


def test_the_synergy_of_two_groups_is_that_of_their_pooled_covariance_and_constant_columns_have_none() -> None:
    rng = np.random.default_rng(13)
    first, second = rng.normal(size=(9, 3)), rng.normal(size=(14, 3)) + 0.5
    first[:, 2] = second[:, 2] = 4.0
    found = synergy([first, second], np.array([[0, 1], [1, 2]]))
    contrast = group_contrast(first, second)
    rho = float(contrast.residual[:, 0] @ contrast.residual[:, 1])
    assert found.value[0] == pytest.approx(float(hotelling(*contrast.t[:2], rho)) - (contrast.t[:2] ** 2).sum())
    assert np.isnan([found.value[1], found.p[1]]).all()
    tiny = synergy([1e-9 * first, 1e-9 * second], np.array([[0, 1], [1, 2]]))
    np.testing.assert_allclose([tiny.value, tiny.p], [found.value, found.p])
    share = 1 / 9 + 1 / 14
    error = 0.0
    for number, group in enumerate((first, second)):
        samples = [
            [np.delete(group, unit, axis=0) if at == number else side for at, side in enumerate((first, second))]
            for unit in range(len(group))
        ]
        left = [synergy(pair, np.array([[0, 1]])).value[0] * sum(1 / len(side) for side in pair) for pair in samples]
        error += (len(group) - 1) ** 2 / len(group) * np.var(left, ddof=1)
    assert found.p[0] == pytest.approx(stats.t.sf(found.value[0] * share / np.sqrt(error), 21))
