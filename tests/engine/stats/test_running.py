"""Statistics gathered in parts are those of the whole, whatever the parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.stats.streaming import ColumnStatistics, RunningColumns


def gathered(
    rows: np.ndarray, sizes: list[int], keep: int = 10_000, order: np.ndarray | None = None
) -> ColumnStatistics:
    running = RunningColumns(keep, seed=3)
    numbers = np.arange(len(rows)) if order is None else order
    start = 0
    while start < len(rows):
        size = sizes[start % len(sizes)]
        running.add(rows[numbers[start : start + size]], numbers[start : start + size])
        start += size
    return running.result()


@given(st.integers(0, 2**32), st.integers(1, 80), st.lists(st.integers(1, 9), min_size=1, max_size=4))
@settings(max_examples=40)
def test_parts_and_their_order_change_nothing(seed: int, n: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    # Far from 0, where sums of raw powers would lose their digits; and a column that never changes.
    rows = (rng.standard_t(5, size=(n, 4)) + np.array([0, 1e4, -300, 0])).astype(np.float32)
    rows[:, 3] = 0.1
    found = gathered(rows, sizes, order=rng.permutation(n))
    wide = rows.astype(np.float64)
    np.testing.assert_allclose(found.mean, wide.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.std, np.where(np.ptp(wide, axis=0) > 0, wide.std(axis=0), 0), rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(found.low, wide.min(axis=0))
    np.testing.assert_array_equal(found.high, wide.max(axis=0))
    np.testing.assert_array_equal(found.high_at, wide.argmax(axis=0))
    np.testing.assert_allclose(found.positive, (wide > 0).mean(axis=0))
    np.testing.assert_allclose(np.sort(found.sample, axis=0), np.sort(rows, axis=0))
    assert found.std[3] == 0
    assert np.isnan(found.kurtosis[3])
    assert found.flatness[3] == 0


def test_kurtosis_is_that_of_known_distributions() -> None:
    rng = np.random.default_rng(0)
    n = 200_000
    rows = np.stack([rng.normal(size=n), rng.uniform(size=n), rng.laplace(size=n)], axis=1)
    np.testing.assert_allclose(gathered(rows, [5_000]).kurtosis, [0, -1.2, 3], atol=0.2)


def test_the_rows_that_are_kept_are_a_fair_choice_that_no_part_changes() -> None:
    rows = np.arange(2_000, dtype=np.float32)[:, None]
    one, other = gathered(rows, [7, 31], keep=200), gathered(rows, [2_000], keep=200)
    np.testing.assert_array_equal(one.sample, other.sample)
    assert len(np.unique(one.sample)) == 200
    assert not one.is_exact
    # The mean of 200 of 2,000 has a standard error of 39 about 999.5; quarters hold about 50 each.
    assert abs(float(one.sample.mean()) - 999.5) < 3 * 39
    quarters = np.histogram(one.sample, bins=4, range=(0, 2_000))[0]
    assert (np.abs(quarters - 50) < 4 * np.sqrt(50 * 0.75)).all()
    median = float(one.quantiles((0.5,))[0, 0])
    assert abs(median - 999.5) < 4 * 2_000 * np.sqrt(0.25 / 200)


def test_two_seeds_keep_other_rows() -> None:
    rows = np.arange(500.0)[:, None]
    kept: list[set[float]] = []
    for seed in (0, 1):
        running = RunningColumns(50, seed)
        running.add(rows, np.arange(500))
        kept.append(set(running.result().sample[:, 0].tolist()))
    assert len(kept[0] & kept[1]) < 25


def test_nothing_seen_is_an_error() -> None:
    with pytest.raises(ValueError, match="no row"):
        RunningColumns(4).result()
