from __future__ import annotations

import numpy as np
import pytest

from srm_explorer.engine.stats import bands
from srm_explorer.engine.stats.bands import difference_bands, share_bands, sup_t_band, unit_counts
from srm_explorer.engine.stats.resampling import (
    UnitTotals,
    bootstrap_weights,
    merged_strata,
    resampled_means,
    unit_totals,
)
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates

LEVELS = (0.5, 0.1)
ONE = np.zeros(50, int)


def runs(units: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    of_run = np.repeat(np.arange(units), each)
    return generator.uniform(-0.7, 0.7, size=(len(of_run), 2)), of_run


def test_units_add_up_to_what_the_sweep_counts() -> None:
    xy, of_run = runs(9, 4)
    xy[3] = np.nan
    totals = unit_counts(xy, of_run, 9, LEVELS, 90)
    sweep = spotlight_sweep(unit_coordinates(xy, np.ones(len(xy))), LEVELS, 90)
    np.testing.assert_array_equal(totals.sums.sum(axis=0).reshape(2, 90), sweep.counts)
    assert totals.counts.tolist() == [3] + [4] * 8


def test_the_critical_value_is_that_of_a_plain_loop_over_resamples() -> None:
    xy, of_run = runs(12, 3)
    totals = unit_counts(xy, of_run, 12, LEVELS, 24)
    stratum = np.arange(12) % 2
    band = share_bands(totals, stratum, 2, resamples=300, seed=7)
    assert band is not None
    share = totals.mean
    middle = (12 * share + 2) / 16
    influence = (totals.sums - 3 * share) / 36
    variance = sum(6 / 5 * ((p - p.mean(0)) ** 2).sum(0) for p in (influence[stratum == s] for s in (0, 1)))
    spread = np.sqrt(144 * variance + 12 * (share - middle) ** 2 + 2 * (1 - middle) ** 2 + 2 * middle**2) / 16
    largest = []
    for weight in bootstrap_weights(merged_strata(stratum), 300, seed=7):
        units = np.repeat(np.arange(12), weight.astype(int))
        z = np.abs(totals.sums[units].sum(0) / totals.counts[units].sum() - share) / spread
        largest.append(z.reshape(2, 24).max(axis=1))
    from scipy import stats

    critical = stats.t.isf(stats.norm.sf(np.maximum(np.quantile(largest, 0.95, axis=0), 1.959963985)), 10)
    half = np.repeat(critical, 24) * spread
    np.testing.assert_allclose(band[0], np.clip(np.minimum(share, middle) - half, 0, 1), atol=2e-6)
    np.testing.assert_allclose(band[1], np.clip(np.maximum(share, middle) + half, 0, 1), atol=2e-6)


@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize("level", [0.3, -0.2, 0.69])
def test_a_band_by_changes_is_that_of_all_points_of_all_units(
    each: int, level: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few runs are lit at the highest, nearly all at the lowest; some units have no run, some resamples one alone."""
    xy, of_run = runs(24, each, seed=3)
    kept = of_run % 5 > 0
    totals = unit_counts(xy[kept], of_run[kept], 24, (level, 0.1), 720)
    stratum = np.arange(24) % 3
    assert bands._Changes.of(totals.sums[:, :720]) is not None  # pyright: ignore[reportPrivateUsage]
    by_changes = share_bands(totals, stratum, 2, resamples=500)
    monkeypatch.setattr(bands, "FEW_CHANGES", -1.0)
    assert bands._Changes.of(totals.sums) is None  # pyright: ignore[reportPrivateUsage]
    np.testing.assert_allclose(by_changes, share_bands(totals, stratum, 2, resamples=500), atol=2e-6)


def test_a_curve_that_no_run_lights_leaves_the_others_as_they_are_alone() -> None:
    xy, of_run = runs(30, 3)
    stratum = np.arange(30) % 2
    whole = share_bands(unit_counts(xy, of_run, 30, (0.99, 0.3, 1.0, 0.5), 36), stratum, 4, resamples=400)
    assert whole is not None
    for index, level in ((1, 0.3), (3, 0.5)):
        totals = unit_counts(xy, of_run, 30, (level,), 36)
        expected = np.array([[(xy[of_run == u] @ d > level).sum() for d in circle(36)] for u in range(30)])
        np.testing.assert_array_equal(totals.sums, expected)
        alone = share_bands(totals, stratum, resamples=400)
        np.testing.assert_allclose(whole[:, 36 * index : 36 * (index + 1)], alone, atol=2e-6)


def circle(angles: int) -> np.ndarray:
    turn = np.arange(angles) * 2 * np.pi / angles
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)


def test_a_share_that_no_unit_has_is_not_certain_to_be_none() -> None:
    nothing = share_bands(UnitTotals(np.zeros((50, 3)), np.full(50, 11.0)), ONE)
    assert nothing is not None
    assert (nothing[0] == 0).all()
    # 1 - 0.025 ** (1 / 50) = 0.071 is the exact end for 50 independent runs: units, not the 550 runs, are independent.
    assert (nothing[1] > 0.071).all()
    assert (nothing[1] < 0.12).all()
    everything = share_bands(UnitTotals(np.full((50, 3), 11.0), np.full(50, 11.0)), ONE)
    assert everything is not None
    np.testing.assert_allclose(everything, 1 - nothing[::-1])


def test_more_runs_of_the_same_units_do_not_narrow_a_band() -> None:
    xy, of_run = runs(50, 1)
    once = share_bands(unit_counts(xy, of_run, 50, LEVELS, 60), ONE, 2)
    often = share_bands(unit_counts(np.tile(xy, (9, 1)), np.tile(of_run, 9), 50, LEVELS, 60), ONE, 2)
    assert once is not None
    assert often is not None
    np.testing.assert_allclose(once, often, atol=1e-5)


def test_groups_that_move_together_differ_within_a_narrow_band() -> None:
    xy, of_run = runs(50, 4)
    nearly = xy + 0.002
    one, other = (unit_counts(points, of_run, 50, LEVELS, 60) for points in (nearly, xy))
    alone, paired = share_bands(one, ONE, 2), difference_bands(one, other, ONE, 2)
    assert alone is not None
    assert paired is not None
    widths = [np.median(band[1] - band[0]) for band in (alone, paired)]
    assert widths[1] < widths[0]
    observed = one.mean - other.mean
    assert (paired[0] <= observed).all()
    assert (observed <= paired[1]).all()
    same = difference_bands(one, one, ONE, 2)
    assert same is not None
    np.testing.assert_allclose(same[0], -same[1])


@pytest.mark.parametrize("paired", [True, False])
def test_the_band_of_a_difference_is_that_of_a_plain_loop_over_resamples(paired: bool) -> None:
    """Of unequal runs: a resample's means are over those of the units that it holds, in both groups at once."""
    xy, of_run = runs(17, 3)
    few = (np.arange(len(xy)) % 3 <= of_run % 3) & (of_run > 0 if paired else of_run % 2 == 0)
    both = [unit_counts(xy[part], of_run[part], 17, LEVELS, 24) for part in (few, of_run >= 0 if paired else ~few)]
    if not paired:
        both[1] = unit_counts(xy[of_run % 2 == 1], of_run[of_run % 2 == 1], 17, LEVELS, 24)
    band = difference_bands(*both, np.arange(17) % 2, 2, paired=paired, resamples=300, seed=3)
    assert band is not None
    units = np.arange(1 if paired else 0, 17)
    sums, counts = [part.sums[units] for part in both], [part.counts[units] for part in both]
    strata = merged_strata(units % 2)
    means = [side.sum(0) / of.sum() for side, of in zip(sums, counts, strict=True)]
    observed, n = means[0] - means[1], len(units)
    influence = [(side - of[:, None] * mean) / of.sum() for side, of, mean in zip(sums, counts, means, strict=True)]

    def variance(of: np.ndarray) -> np.ndarray:
        return sum(len(p) * p.var(0, ddof=1) for p in (of[strata == s] for s in np.unique(strata)))

    if paired:
        middle = n * observed / (n + 4)
        pseudo = sum((x - middle) ** 2 for x in (0.0, 1.0, -1.0, 0.0))
        spread = np.sqrt(n**2 * variance(influence[0] - influence[1]) + n * (observed - middle) ** 2 + pseudo) / (n + 4)
    else:
        ends = []
        for mean, part, of in zip(means, influence, counts, strict=True):
            own = int((of > 0).sum())
            at = (own * mean + 2) / (own + 4)
            squares = own**2 * variance(part) + own * (mean - at) ** 2 + 2 * (1 - at) ** 2 + 2 * at**2
            ends.append((at, squares / (own + 4) ** 2))
        middle, spread = ends[0][0] - ends[1][0], np.sqrt(ends[0][1] + ends[1][1])
    largest = []
    for weight in bootstrap_weights(strata, 300, seed=3):
        drawn = np.repeat(np.arange(n), weight.astype(int))
        first, other = (side[drawn].sum(0) / of[drawn].sum() for side, of in zip(sums, counts, strict=True))
        largest.append(np.abs((first - other - observed) / spread).reshape(2, 24).max(axis=1))
    from scipy import stats

    critical = stats.t.isf(stats.norm.sf(np.maximum(np.quantile(largest, 0.95, axis=0), 1.959963985)), n - 2)
    half = np.repeat(critical, 24) * spread
    np.testing.assert_allclose(band[0], np.clip(np.minimum(observed, middle) - half, -1, 1), atol=2e-6)
    np.testing.assert_allclose(band[1], np.clip(np.maximum(observed, middle) + half, -1, 1), atol=2e-6)
    assert difference_bands(*(part.only(np.arange(1)) for part in both), [0], paired=paired) is None


def test_a_curve_of_any_kind_is_banded_by_its_resamples() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(30, 6)) * [1, 1, 1, 0, 5, 1]
    totals = unit_totals(values, np.arange(30), 30)
    drawn = resampled_means(totals, bootstrap_weights(ONE[:30], 4000, seed=1))
    drawn[:, 5] = np.nan
    band = sup_t_band(np.append(totals.mean[:5], np.nan), drawn, ONE[:30])
    half = (band[1] - band[0]) / 2
    assert half[3] == 0
    assert np.isnan(half[5])
    # The sup over four independent points: t of 29 degrees at 1 - .05 / 8 is 2.7.
    np.testing.assert_allclose(half[[0, 1, 2, 4]], 2.7 * values.std(0, ddof=1)[[0, 1, 2, 4]] / np.sqrt(30), rtol=0.08)
    assert np.isnan(sup_t_band(totals.mean[:1], drawn[:, :1], [0])).all()


def test_one_unit_has_no_band() -> None:
    assert share_bands(UnitTotals(np.ones((1, 3)), np.ones(1)), [0]) is None
    assert share_bands(UnitTotals(np.ones((4, 3)), np.array([3.0, 0, 0, 0])), [0, 0, 0, 0]) is None


@pytest.mark.parametrize("curves", [1, 2])
def test_a_band_of_one_curve_feels_no_other(curves: int) -> None:
    xy, of_run = runs(15, 3)
    totals = unit_counts(xy, of_run, 15, LEVELS[:curves], 40)
    band = share_bands(totals, ONE[:15], curves)
    alone = share_bands(unit_counts(xy, of_run, 15, LEVELS[:1], 40), ONE[:15])
    assert band is not None
    assert alone is not None
    np.testing.assert_allclose(band[:, :40], alone, atol=1e-6)
