from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from srm_explorer.engine.stats.resampling import bca_interval, unit_totals


def test_it_is_scipys_interval_but_for_students_width() -> None:
    values = np.random.default_rng(0).exponential(size=400)
    own = bca_interval(unit_totals(values, np.arange(400), 400), np.zeros(400, int), resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=1).confidence_interval
    np.testing.assert_allclose(own[:, 0], [theirs.low, theirs.high], atol=0.004)


def test_it_leans_to_the_side_of_the_long_tail() -> None:
    values = np.random.default_rng(3).lognormal(0, 1, size=40)
    low, high = bca_interval(unit_totals(values, np.arange(40), 40), np.zeros(40, int))[:, 0]
    assert high - values.mean() > 1.2 * (values.mean() - low)


def test_differences_between_strata_do_not_widen_it() -> None:
    generator = np.random.default_rng(1)
    stratum = np.repeat([0, 1], 20)
    totals = unit_totals(generator.normal(size=40) + 100 * stratum, np.arange(40), 40)
    low, high = bca_interval(totals, stratum)[:, 0]
    assert high - low < 1.0
    low, high = bca_interval(totals, np.zeros(40, int))[:, 0]
    assert high - low > 20


def test_a_difference_is_paired_and_one_unit_tells_nothing() -> None:
    values = np.random.default_rng(2).normal(size=(30, 2))
    one, other = (unit_totals(values + shift, np.arange(30), 30) for shift in ([2.0, 0.0], [0.0, 0.0]))
    np.testing.assert_allclose(bca_interval(one, np.zeros(30, int), other), [[2, 0], [2, 0]], atol=1e-12)
    assert np.isnan(bca_interval(one.only(np.arange(1)), [0])).all()


def test_few_units_get_at_least_students_interval() -> None:
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.5])
    low, high = bca_interval(unit_totals(values, np.arange(5), 5), np.zeros(5, int))[:, 0]
    student = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert low <= student[0] + 1e-12
    assert high >= student[1] - 1e-12
    assert low == pytest.approx(student[0])
    both = unit_totals(np.stack([values, -values, 1 + values**2], axis=1), np.arange(5), 5)
    ends = bca_interval(both, np.zeros(5, int))
    np.testing.assert_allclose(ends[:, 0], [low, high])
    np.testing.assert_allclose(ends[:, 1], [-high, -low], err_msg="an interval of what is mirrored is mirrored")
