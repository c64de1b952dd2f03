from __future__ import annotations

import warnings
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from srm_explorer.engine.stats.pairings import MORE, Method, Pairing, pair, row_cosines
from srm_explorer.engine.stats.permutation import Blocks, matched_blocks


def of_units(units: int, slots: int = 1) -> Blocks:
    unit, slot = np.repeat(np.arange(units), slots), np.tile(np.arange(slots), units)
    return matched_blocks(unit.tolist(), slot.tolist(), [0] * (units * slots))


def one(x: np.ndarray, y: np.ndarray, blocks: Blocks, *, method: Method = "pearson", **how: Any) -> Pairing:
    return pair(x, y, blocks, methods=[method], **how)[method]


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_correlations_are_those_of_scipy_one_by_one(method: Method) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=30), rng.integers(0, 6, size=(30, 7)).astype(float)
    label = np.repeat(np.arange(3), 10)
    one_by_one = stats.pearsonr if method == "pearson" else stats.spearmanr
    found = one(x, y, of_units(30), method=method, permutations=0)
    np.testing.assert_allclose(found.r, [one_by_one(x, column)[0] for column in y.T], atol=1e-12)
    assert np.isnan(found.p).all()  # not one permutation was asked for
    within = one(x, y, of_units(30), labels=label.tolist(), scale="each", method=method, permutations=0)
    each = [[one_by_one(x[label == k], column[label == k])[0] for column in y.T] for k in range(3)]
    np.testing.assert_allclose(within.each, each, atol=1e-12)
    np.testing.assert_allclose(within.r, np.mean(each, axis=0), atol=1e-12)
    partial = one(x, y, of_units(30), labels=label.tolist(), method=method, permutations=0)
    rest_x, rest_y = (v - np.stack([v[label == k].mean(axis=0) for k in range(3)])[label] for v in (x, y))
    np.testing.assert_allclose(partial.r, [one_by_one(rest_x, column)[0] for column in rest_y.T], atol=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_p_is_the_share_of_all_permutations_that_go_as_far(tied: bool) -> None:
    rng = np.random.default_rng(2)
    units, slots = 6, 2
    x, y = rng.normal(size=units * slots), rng.normal(size=(units * slots, 5))
    if tied:
        x = np.repeat([1.0, 0.0], [2, 10])  # every sixth permutation is the data again
    y[:, 0] += 2 * x
    found = one(x, y, of_units(units, slots), permutations=4000)
    every = np.array([x.reshape(units, slots)[list(order)].ravel() for order in permutations(range(units))])
    r = np.array([[np.corrcoef(row, column)[0, 1] for column in y.T] for row in every])
    far = np.abs(r - r.mean(axis=0))
    exact = (far >= far[0] - 1e-9).mean(axis=0)
    np.testing.assert_allclose(found.p, exact, atol=4 * np.sqrt(0.25 / 4000))


def test_a_planted_partner_is_found_among_thousands() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=50), rng.normal(size=(50, 3000))
    y[:, 1234] = 0.8 * x + 0.6 * y[:, 1234]
    found = one(x, y, of_units(50))
    assert found.p.argmin() == 1234
    assert found.p[1234] == pytest.approx(1 / (1 + 2000 * (1 + MORE)), rel=1e-6)
    low, high = np.tanh(np.arctanh(found.r[1234]) + np.array([-1.96, 1.96]) / np.sqrt(47))
    assert low < 0.8 < high


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_nothing_planted_gives_no_more_small_p_than_chance(method: Method) -> None:
    # Samples of a unit share what they are, and neurons are heavy-tailed: both would fool a plain t test.
    rng = np.random.default_rng(4)
    units, samples, partners = 50, 2, 50
    p: list[np.ndarray] = []
    for experiment in range(40):
        x = rng.standard_t(3, units).repeat(samples) + 0.1 * rng.normal(size=units * samples)
        y = rng.standard_t(3, (units, partners)).repeat(samples, axis=0) + 0.1 * rng.normal(size=(100, partners))
        p.append(one(x, y, of_units(units, samples), method=method, permutations=200, seed=experiment).p)
    found = np.concatenate(p)
    for a in (0.01, 0.05, 0.1, 0.5):
        assert (found <= a).mean() <= a + 3 * np.sqrt(a * (1 - a) / len(found))
    assert stats.kstest(found, "uniform").pvalue > 0.001


def test_what_only_prompt_sets_share_is_no_pairing() -> None:
    rng = np.random.default_rng(5)
    sets = np.repeat([0, 1], 25)
    x, y = rng.normal(size=50) + 4 * sets, rng.normal(size=(50, 400)) + 4 * sets[:, None]
    blocks = matched_blocks(list(range(50)), [0] * 50, sets.tolist())
    found = one(x, y, blocks, permutations=500)
    assert found.r.min() > 0.6
    assert 0.02 < (found.p <= 0.05).mean() < 0.09


def test_constant_columns_have_no_correlation_and_no_p() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=12), rng.normal(size=(12, 4))
    # The mean of equal float32 numbers is off by rounding, which must not pass for variation.
    y[:, 1], y[:, 2] = 0.0, np.float32(123.4567) + np.float32(7.7e-6) * np.arange(12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in ("pearson", "spearman"):
            found = one(x, y, of_units(12), method=method, permutations=50)
            assert np.isnan(found.r).tolist() == [False, True, True, False]
            assert np.isnan(found.p).tolist() == [False, True, True, False]
            nothing = one(np.full(12, 7.0), y, of_units(12), method=method, permutations=50)
            assert np.isnan(nothing.r).all()
            assert np.isnan(nothing.p).all()


def test_a_label_in_which_a_partner_is_constant_counts_for_nothing() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=20), rng.normal(size=(20, 2))
    y[:10, 0] = 3.0
    found = one(x, y, _two_values(10), labels=[0] * 10 + [1] * 10, scale="each")
    assert np.isnan(found.each[0, 0])
    assert found.r[0] == pytest.approx(np.corrcoef(x[10:], y[10:, 0])[0, 1])


def _two_values(units: int) -> Blocks:
    return matched_blocks(list(range(units)) * 2, [0] * units + [1] * units, [0] * (2 * units))


def test_values_held_alike_by_every_unit_have_no_p_between_units_but_one_within() -> None:
    rng = np.random.default_rng(8)
    unit, value = np.repeat(np.arange(20), 4), np.tile(np.array([-2.0, -1, 1, 2]), 20)
    y = rng.normal(size=(80, 3))
    y[:, 0] += value
    between = one(value, y, of_units(20, 4), permutations=100)
    assert np.isnan(between.p).all()
    within = matched_blocks(list(range(80)), [0] * 80, unit.tolist())
    found = one(value, y, within, labels=unit.tolist(), permutations=500)
    assert found.p[0] < 1e-3
    assert found.p[1:].min() > 0.01


def test_cosines_of_rows() -> None:
    weights = np.array([[1.0, 0], [2, 0], [0, 3], [-1, 0], [0, 0]])
    np.testing.assert_allclose(row_cosines(weights, 0), [1, 1, 0, -1, np.nan])


@pytest.mark.parametrize(("scale", "nested"), [("whole", False), ("whole", True), ("each", False)])
def test_the_interval_of_r_is_that_of_leaving_out_a_unit_at_a_time(scale: str, nested: bool) -> None:
    rng = np.random.default_rng(8)
    unit = np.repeat(np.arange(7), 6)
    labels = unit.copy() if nested else np.tile([0, 1, 2], 14)
    x = rng.normal(size=42) + unit
    y = rng.normal(size=(42, 2)) + 0.5 * x[:, None]
    blocks = matched_blocks([], [], [])

    def r_of(kept: np.ndarray) -> np.ndarray:
        known = np.unique(labels[kept], return_inverse=True)[1].tolist()
        return pair(x[kept], y[kept], blocks, labels=known, scale=scale, methods=["pearson"], permutations=0)[  # type: ignore[arg-type]
            "pearson"
        ].r

    found = pair(x, y, blocks, labels=labels.tolist(), scale=scale, unit=unit, methods=["pearson"], permutations=0)  # type: ignore[arg-type]
    left_out = np.arctanh([r_of(unit != u) for u in range(7)])
    error = np.sqrt(6 / 7 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    reach = stats.t.isf(0.025, 6) * error
    z = np.arctanh(found["pearson"].r)
    np.testing.assert_allclose(found["pearson"].ends, np.tanh([z - reach, z + reach]))


def test_intervals_of_r_hold_the_truth_though_the_runs_of_a_unit_hang_together() -> None:
    rng = np.random.default_rng(9)
    unit = np.repeat(np.arange(24), 5)
    shared = rng.standard_t(5, (2, 24, 1000))
    a, b = shared[0], 0.5 * shared[0] + np.sqrt(0.75) * shared[1]
    rest = 0.3 * rng.normal(size=(2, 120, 1000))
    held = []
    for at in range(1000):
        x, y = a[unit, at] + rest[0, :, at], b[unit, at] + rest[1, :, at]
        ends = pair(x, y[:, None], matched_blocks([], [], []), unit=unit, methods=["pearson"], permutations=0)[
            "pearson"
        ].ends
        truth = 0.5 * (5 / 3) / (5 / 3 + 0.09)
        held.append(ends[0, 0] <= truth <= ends[1, 0])
    assert 0.92 - 0.02 <= np.mean(held) <= 0.97
