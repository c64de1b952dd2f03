"""With nothing there, planes are called true no more often than promised; with something, it is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from srm_explorer.engine.stats.comparison import group_contrast, hotelling, paired_contrast, synergy
from srm_explorer.engine.stats.pairings import (
    correlation_test,
    paired_test,
    scan_pairs,
    separation_score,
    unpaired_test,
)
from srm_explorer.engine.stats.permutation import Blocks, benjamini_hochberg, matched_blocks

EXPERIMENTS, UNITS, DRAWS = 2000, 50, 99
LEVELS = (0.01, 0.05, 0.1, 0.3)


def runs_of(units: int, conditions: int) -> tuple[np.ndarray, np.ndarray, Blocks]:
    """Units of each run, weights (the first condition against the others), and the exchange of conditions in units."""
    unit = np.repeat(np.arange(units), conditions)
    first = np.tile(np.arange(conditions) == 0, units)
    weights = np.where(first, 1.0, -1.0 / (conditions - 1))
    return unit, weights, matched_blocks(list(range(len(unit))), [0] * len(unit), unit.tolist())


def calibrated(p: np.ndarray) -> None:
    for a in LEVELS:
        assert (p <= a).mean() <= a + 3 * np.sqrt(a * (1 - a) / len(p)), a


def test_a_separation_by_one_coordinate_alone_is_no_separation_by_the_plane() -> None:
    # 2,000 planes, each an experiment: b is noise correlated with a, and a separates a little, strongly or not at all.
    rng = np.random.default_rng(0)
    unit, weights, blocks = runs_of(UNITS, 2)
    runs = len(unit)
    shift = np.where(weights > 0, 1.0, 0.0)[:, None] * np.tile([0.0, 0.5, 3.0, 10.0], EXPERIMENTS // 4)
    own = rng.standard_t(4, (UNITS, EXPERIMENTS)).repeat(2, axis=0)
    noise_a, noise_b = rng.standard_t(4, (2, runs, EXPERIMENTS))
    values = np.stack([own + noise_a + shift, own + 0.6 * noise_a + 0.8 * noise_b], axis=2)
    # b follows a's noise, so a's shift is all that b lacks: take the part of it that b would share.
    values[:, :, 1] += 0.6 * shift
    pairs = np.arange(2 * EXPERIMENTS).reshape(-1, 2)
    found = paired_test(values.reshape(runs, -1), weights, unit, pairs, blocks, DRAWS, 0, single=False)
    calibrated(found.p)


def test_with_no_separation_at_all_p_is_conservative_and_of_one_axis_uniform() -> None:
    rng = np.random.default_rng(1)
    unit, weights, blocks = runs_of(UNITS, 3)
    values = rng.standard_t(4, (len(unit), 2 * EXPERIMENTS)) + rng.normal(size=(UNITS, 1)).repeat(3, axis=0)
    pairs = np.arange(2 * EXPERIMENTS).reshape(-1, 2)
    calibrated(paired_test(values, weights, unit, pairs, blocks, DRAWS, 1, single=False).p)
    alone = paired_test(values, weights, unit, pairs, blocks, DRAWS, 1, single=True).p
    calibrated(alone)
    assert stats.kstest(alone, "uniform").pvalue > 0.001


def test_runs_of_a_unit_that_persist_are_no_separation() -> None:
    # Every unit moves away from its baseline and stays there, upwards or downwards by chance.
    rng = np.random.default_rng(5)
    unit, weights, blocks = runs_of(UNITS, 6)
    away = np.concatenate([np.zeros((UNITS, 1)), np.tile(np.linspace(1, 2, 5), (UNITS, 1))], axis=1)
    sign = rng.choice([-1.0, 1.0], size=(UNITS, 1, 2 * EXPERIMENTS))
    values = away[:, :, None] * sign + 0.3 * rng.standard_t(4, (UNITS, 6, 2 * EXPERIMENTS))
    pairs = np.arange(2 * EXPERIMENTS).reshape(-1, 2)
    calibrated(paired_test(values.reshape(6 * UNITS, -1), weights, unit, pairs, blocks, DRAWS, 5, single=True).p)


def test_between_units_with_nothing_there() -> None:
    rng = np.random.default_rng(2)
    # Both groups have units of both prompt sets, which differ in level; the sets are no evidence.
    sets = np.arange(UNITS) // (UNITS // 5) % 2
    values = rng.standard_t(4, (UNITS, 2 * EXPERIMENTS)) + 2.0 * sets[:, None]
    half = UNITS // 2
    pairs = np.arange(2 * EXPERIMENTS).reshape(-1, 2)
    found = unpaired_test(values[:half], values[half:], (sets[:half], sets[half:]), pairs, DRAWS, 2)
    calibrated(found.p)


def test_correlation_with_nothing_there() -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_t(3, (UNITS, 2 * EXPERIMENTS))
    values -= values.mean(axis=0)
    pairs = np.arange(2 * EXPERIMENTS).reshape(-1, 2)
    signs = rng.choice([-1.0, 1.0], EXPERIMENTS)
    p = correlation_test(values, np.zeros(UNITS, np.int64), pairs, signs, DRAWS, 3).p
    calibrated(p)
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_permuting_labels_of_two_runs_is_flipping_signs() -> None:
    rng = np.random.default_rng(4)
    unit, weights, blocks = runs_of(10, 2)
    values = rng.normal(size=(20, 2)) + np.where(weights > 0, 0.8, 0.0)[:, None]
    found = paired_test(values, weights, unit, np.array([[0, 1]]), blocks, 4000, 0, single=False)
    differences = np.diff(values.reshape(10, 2, 2)[:, ::-1], axis=1)[:, 0]
    signs = 1 - 2 * (np.arange(1024)[:, None] >> np.arange(10) & 1)

    def both(flip: np.ndarray) -> np.ndarray:
        d = differences * flip[:, None]
        t = d.mean(axis=0) / d.std(axis=0, ddof=1) * np.sqrt(10)
        t2 = 10 * d.mean(axis=0) @ np.linalg.solve(np.cov(d.T), d.mean(axis=0))
        return np.array([8 * (t2 - own**2) / (9 + own**2) for own in t])

    every = np.array([both(flip) for flip in signs])
    exact = (every >= both(np.ones(10)) - 1e-9).mean(axis=0).max()
    assert found.p[0] == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 4000))
    assert found.statistic[0] == pytest.approx(both(np.ones(10)).min())


def test_planted_planes_are_found_and_false_discoveries_stay_under_their_target() -> None:
    # 10 of 40 coordinates in 5 planes whose noise is shared, so that only the plane tells the groups apart.
    target, experiments, planted = 0.1, 30, 5
    unit, weights, blocks = runs_of(24, 2)
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
        found = paired_test(halved[1], weights, unit, best.pairs, blocks, 499, seed, single=False)
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
