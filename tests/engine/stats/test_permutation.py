from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from srm_explorer.engine.stats.permutation import sign_flip_test


def plain_p(values: np.ndarray) -> float:
    """Every sign pattern, Hotelling's statistic as textbooks write it."""
    n = len(values)

    def hotelling(x: np.ndarray) -> float:
        return float(x.mean(0) @ np.linalg.solve(np.cov(x.T), x.mean(0)) * n)

    observed = hotelling(values)
    reached = [hotelling(values * np.array(s)[:, None]) >= observed * (1 - 1e-9) for s in product((1, -1), repeat=n)]
    return float(np.mean(reached))


@pytest.mark.parametrize("seed", range(4))
def test_few_units_are_enumerated_with_hotellings_order(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(8, 2)) + 0.5
    found = sign_flip_test(values)
    assert found.exact
    assert (found.flips, found.units) == (256, 8)
    assert found.p == pytest.approx(plain_p(values))


def test_sampled_flips_come_near_the_enumeration_and_never_reach_zero() -> None:
    values = np.random.default_rng(0).normal(size=(12, 2)) + np.array([0.45, 0.0])
    whole, drawn = sign_flip_test(values), sign_flip_test(values, flips=4000, seed=1)
    assert whole.exact
    assert not drawn.exact
    assert drawn.p == pytest.approx(float(whole.p), abs=4 * np.sqrt(whole.p * (1 - whole.p) / 4000) + 3e-4)
    certain = sign_flip_test(np.full((60, 1), 2.0) + np.arange(60)[:, None], flips=499)
    assert certain.p == 1 / 500


def test_many_hypotheses_at_once_equal_each_by_itself() -> None:
    values = np.random.default_rng(3).normal(size=(30, 7, 2)) + np.linspace(0, 1, 7)[:, None]
    values[4, 2] = np.nan
    together = sign_flip_test(values, flips=600, seed=2).p
    for at in range(7):
        # A unit without values stays in its place, so that the same flips fall on the same units.
        alone = sign_flip_test(np.nan_to_num(values[:, at]), flips=600, seed=2).p
        assert together[at] == pytest.approx(float(alone))


def test_the_test_feels_no_rescaling_or_turning_of_the_coordinates() -> None:
    values = np.random.default_rng(5).normal(size=(25, 2)) + np.array([0.3, 0.1])
    turned = values @ np.array([[3.0, 1.0], [-2.0, 40.0]])
    assert sign_flip_test(values, 800).p == sign_flip_test(turned, 800).p


def test_what_lies_on_a_line_is_tested_as_the_one_number_it_is() -> None:
    one = np.random.default_rng(6).normal(size=(25, 1)) + 0.4
    assert sign_flip_test(one @ [[0.1, 0.7]], 800).p == sign_flip_test(one, 800).p


def test_units_without_values_take_no_part() -> None:
    values = np.random.default_rng(7).normal(size=(11, 2)) + 0.4
    values[[2, 5, 9], 1] = np.nan
    found, whole = sign_flip_test(values), sign_flip_test(values[~np.isnan(values[:, 1])])
    assert (found.units, found.flips, found.exact, found.p) == (8, 256, True, whole.p)


def test_nothing_at_all_is_no_evidence_and_one_unit_has_no_p() -> None:
    assert sign_flip_test(np.zeros((20, 2))).p == 1
    assert np.isnan(sign_flip_test(np.empty((0, 2))).p)
    assert np.isnan(sign_flip_test(np.full((5, 2), np.nan)).p)
    assert np.isnan(sign_flip_test(np.full((1, 2), 3.0)).p)
    both = np.array([[[1.0], [1.0]], [[2.0], [np.nan]]])
    assert np.isnan(sign_flip_test(both).p).tolist() == [False, True]
