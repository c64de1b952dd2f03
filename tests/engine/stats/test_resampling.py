from __future__ import annotations

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats.resampling import (
    bootstrap_weights,
    degrees_of_freedom,
    merged_strata,
    resampled_means,
    unit_totals,
    weighted_sums,
)

OF_RUN = np.array([0, 0, 1, 1, 1, 2, 3, 3])
VALUES = np.array([[1.0, 5], [2, 6], [3, 7], [4, 8], [5, 9], [6, 1], [7, 2], [8, 3]])


def test_a_resample_of_totals_is_the_mean_of_the_runs_it_holds() -> None:
    totals = unit_totals(VALUES, OF_RUN, 4)
    weights = bootstrap_weights([0, 0, 1, 1], 50, seed=3)
    means = resampled_means(totals, weights)
    for weight, mean in zip(weights, means, strict=True):
        held = np.concatenate([np.tile(VALUES[np.equal(OF_RUN, unit)], (int(weight[unit]), 1)) for unit in range(4)])
        np.testing.assert_allclose(mean, held.mean(axis=0), rtol=1e-14)


def test_every_stratum_keeps_its_number_of_units_in_every_resample() -> None:
    stratum = np.array([1, 0, 1, 1, 0, 7])
    weights = bootstrap_weights(stratum, 400, seed=1)
    for one, size in ((0, 2), (1, 3), (7, 1)):
        assert (weights[:, stratum == one].sum(axis=1) == size).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.15)


def test_a_seed_fixes_what_is_drawn() -> None:
    first = bootstrap_weights([0, 0, 0, 0], 20, seed=5)
    np.testing.assert_array_equal(first, bootstrap_weights([0, 0, 0, 0], 20, seed=5))
    assert (first != bootstrap_weights([0, 0, 0, 0], 20, seed=6)).any()


def test_runs_that_are_not_finite_are_left_out_and_an_empty_unit_is_absent() -> None:
    values = VALUES.copy()
    values[5, 1] = np.nan
    totals = unit_totals(values, OF_RUN, 4)
    assert totals.present.tolist() == [True, True, False, True]
    np.testing.assert_allclose(totals.mean, np.delete(VALUES, 5, axis=0).mean(axis=0))
    assert np.isnan(totals.unit_means[2]).all()
    assert np.isnan(unit_totals(VALUES, OF_RUN, 4, runs=[]).mean).all()


def test_a_group_of_runs_adds_up_to_what_its_parts_add_up_to() -> None:
    whole = unit_totals(VALUES, OF_RUN, 4)
    one, other = (unit_totals(VALUES, OF_RUN, 4, runs) for runs in ([0, 2, 5], [1, 3, 4, 6, 7]))
    np.testing.assert_allclose(whole.sums, one.sums + other.sums)
    np.testing.assert_array_equal(whole.counts, one.counts + other.counts)
    np.testing.assert_array_equal(whole.counts, [2, 3, 1, 2])


def test_single_units_are_joined_to_others_so_that_they_have_a_variance() -> None:
    assert merged_strata([0, 0, 5, 7]).tolist() == [0, 0, 1, 1]
    assert merged_strata([0, 0, 0, 4, 4, 9]).tolist() == [0, 0, 0, 1, 1, 1]
    assert merged_strata([3]).tolist() == [0]
    assert degrees_of_freedom([0, 0, 5, 7]) == 2
    assert degrees_of_freedom([]) == 0


def test_values_without_units_are_refused() -> None:
    with pytest.raises(ExplorerError, match="units"):
        unit_totals(VALUES, OF_RUN[:3], 4)


def test_resamples_drawn_some_at_a_time_are_those_drawn_all_at_once() -> None:
    stratum = np.arange(700) % 3 // 2
    weights = bootstrap_weights(stratum, 1_200, seed=5)
    generator = np.random.default_rng(5)
    for level in (0, 1):
        units = np.flatnonzero(stratum == level)
        drawn = generator.integers(len(units), size=(1_200, len(units)))
        expected = [np.bincount(row, minlength=len(units)) for row in drawn]
        np.testing.assert_array_equal(weights[:, units], expected)


def test_weighted_sums_are_products_with_the_whole_of_the_weights() -> None:
    weights = bootstrap_weights(np.zeros(2_500, int), 1_700)
    values = np.random.default_rng(1).normal(size=(2_500, 3))
    np.testing.assert_allclose(weighted_sums(weights, values), weights.astype(float) @ values, rtol=1e-10)
    counts = np.arange(2_500.0)
    np.testing.assert_array_equal(weighted_sums(weights, counts), weights.astype(float) @ counts)
