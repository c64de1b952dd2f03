from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from srm_explorer.engine.stats import survey
from srm_explorer.engine.stats.permutation import benjamini_hochberg
from srm_explorer.engine.stats.survey import STEP, rank_family

EFFECTS = st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=5), min_size=1, max_size=4)


@given(EFFECTS)
def test_p_is_the_share_of_all_draws_of_a_score_from_every_unit(effects: list[list[int]]) -> None:
    table = np.array(effects, float)
    scores = stats.norm.ppf(stats.rankdata(table, axis=1) / 6)
    steps = np.rint((scores - scores.mean(axis=1, keepdims=True)) / STEP)
    draws = np.array([sum(draw) for draw in product(*steps)])
    found = rank_family(table)
    np.testing.assert_allclose(found.p, [(draws >= total).mean() for total in steps.sum(axis=0)], rtol=1e-12)
    np.testing.assert_allclose(found.score, steps.mean(axis=0) * STEP, atol=1e-12)
    np.testing.assert_allclose(found.q, benjamini_hochberg(found.p))


def test_units_count_alike_however_much_they_respond() -> None:
    rng = np.random.default_rng(1)
    table = rng.exponential(size=(30, 40))
    loud = table * rng.exponential(size=(30, 1)) * 1000 + rng.normal(size=(30, 1))
    np.testing.assert_array_equal(rank_family(table).p, rank_family(loud).p)


def test_many_units_have_the_p_that_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    table = np.maximum(rng.exponential(size=(120, 50)) - 1, 0)
    table[:, 7] += 0.5
    counted = rank_family(table)
    monkeypatch.setattr(survey, "MOST_EXACT", 0)
    normal = rank_family(table)
    np.testing.assert_allclose(normal.p, counted.p, atol=1e-2)
    assert counted.rank[7] == 1
    assert counted.q[7] < 1e-6 < counted.p[np.arange(50) != 7].min()


def test_a_cell_without_numbers_is_outside_the_family() -> None:
    table = np.array([[3.0, np.nan, 1.0, 2.0], [2.0, 5.0, 2.0, 1.0]])
    found, without = rank_family(table), rank_family(table[:, [0, 2, 3]])
    np.testing.assert_array_equal(found.p[[0, 2, 3]], without.p)
    np.testing.assert_array_equal(found.rank, [1, 0, 2, 2])
    assert np.isnan([found.p[1], found.q[1], found.mean[1], found.p_before(1)]).all()
    assert (found.family, found.units) == (3, 2)
    assert found.p_before(0) == pytest.approx(1 / 3)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (3, 1)])
def test_a_family_of_nothing_or_of_one_has_no_p(shape: tuple[int, int]) -> None:
    found = rank_family(np.ones(shape))
    assert np.isnan(found.p).all()
    assert np.isnan(found.q).all()


def test_cells_that_are_all_alike_have_p_of_one() -> None:
    np.testing.assert_array_equal(rank_family(np.zeros((5, 6))).p, 1.0)
    np.testing.assert_array_equal(rank_family(np.zeros((200, 6))).p > 0.4, True)
