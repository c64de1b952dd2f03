from __future__ import annotations

import warnings

import numpy as np
import pytest

from srm_explorer.engine.stats.comparison import added, gain, group_contrast, hotelling, paired_contrast
from srm_explorer.engine.stats.pairings import anisotropy_score, marginal_score, scan_pairs, separation_score


def slow_t2(differences: np.ndarray) -> float:
    """Hotelling's T² of [unit, 2] differences as a textbook writes it."""
    mean, n = differences.mean(axis=0), len(differences)
    return float(n * mean @ np.linalg.solve(np.cov(differences.T), mean))


def slow_gain(differences: np.ndarray) -> float:
    t = np.abs(differences.mean(axis=0)) / differences.std(axis=0, ddof=1) * np.sqrt(len(differences))
    own, dof = t.max() ** 2, len(differences) - 1
    return float((dof - 1) * (slow_t2(differences) - own) / (dof + own))


def test_t2_of_paired_differences_is_the_textbooks() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 5)) @ rng.normal(size=(5, 5)) + 0.3
    contrast = paired_contrast(values)
    for a in range(5):
        for b in range(a + 1, 5):
            rho = contrast.residual[:, a] @ contrast.residual[:, b]
            found = hotelling(contrast.t[a], contrast.t[b], rho)
            assert found == pytest.approx(slow_t2(values[:, [a, b]]), rel=1e-9)


def test_t2_of_two_groups_is_the_textbooks() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(9, 2)) @ [[1, 0.4], [0, 1]] + 0.5, rng.normal(size=(14, 2)) @ [[1, 0.4], [0, 1]]
    contrast = group_contrast(one, other)
    pooled = (8 * np.cov(one.T) + 13 * np.cov(other.T)) / 21
    gap = one.mean(axis=0) - other.mean(axis=0)
    expected = 9 * 14 / 23 * gap @ np.linalg.solve(pooled, gap)
    rho = contrast.residual[:, 0] @ contrast.residual[:, 1]
    assert hotelling(contrast.t[0], contrast.t[1], rho) == pytest.approx(expected, rel=1e-9)


def test_raos_f_is_that_of_the_regression_it_stands_for() -> None:
    # What b adds to a: the intercept's F when b's differences are regressed on a's.
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 20)) + 0.4
    contrast = paired_contrast(np.stack([a, b], axis=1))
    t2 = hotelling(*contrast.t, contrast.residual[:, 0] @ contrast.residual[:, 1])
    design = np.stack([np.ones(20), a], axis=1)
    beta, rest, *_ = np.linalg.lstsq(design, b, rcond=None)
    error = np.sqrt(rest[0] / 18 * np.linalg.inv(design.T @ design)[0, 0])
    assert added(t2, contrast.t[0], contrast.dof) == pytest.approx((beta[0] / error) ** 2, rel=1e-9)


@pytest.mark.parametrize("k", [7, 300])
def test_the_scan_of_all_pairs_equals_going_through_them_one_by_one(k: int) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(10, k)) + rng.normal(size=k) * 0.5
    values[:, 2] = 0.0
    contrast = paired_contrast(values)
    found = scan_pairs(contrast.residual, separation_score(contrast), 12, np.flatnonzero(contrast.usable))
    pairs = [(a, b) for a in range(k) for b in range(a + 1, k) if 2 not in (a, b)]
    assert found.scanned == len(pairs)
    for pair, score in zip(found.pairs, found.scores, strict=True):
        assert score == pytest.approx(slow_gain(values[:, pair]), rel=1e-9)
    if k < 100:
        scores = np.array([slow_gain(values[:, pair]) for pair in pairs])
        best = np.argsort(-scores)[:12]
        assert found.pairs.tolist() == [list(pairs[i]) for i in best]


@pytest.mark.parametrize("keep", [1, 5, 20, 100])
def test_the_best_of_many_blocks_are_the_best_of_all(keep: int) -> None:
    rng = np.random.default_rng(4)
    unit = paired_contrast(rng.normal(size=(6, 700))).residual
    found = scan_pairs(unit, anisotropy_score(unit), keep, np.arange(700))
    every = np.abs(np.triu(unit.T @ unit, 1))
    np.testing.assert_allclose(found.scores, np.sort(every.ravel())[::-1][:keep], rtol=1e-9)


def test_partners_of_one_coordinate() -> None:
    rng = np.random.default_rng(5)
    contrast = paired_contrast(rng.normal(size=(10, 40)))
    found = scan_pairs(contrast.residual, separation_score(contrast), 100, np.arange(40), 7)
    assert found.scanned == 39
    assert (found.pairs[:, 0] == 7).all()
    assert 7 not in found.pairs[:, 1]
    alone = scan_pairs(contrast.residual, marginal_score(contrast), 3, np.arange(40), 7)
    np.testing.assert_allclose(alone.scores, np.sort(np.delete(contrast.t, 7) ** 2)[::-1][:3])


def test_loud_coordinates_are_not_preferred() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(size=(16, 60)) + rng.normal(size=60) * 0.4
    loud = values * 10 ** rng.uniform(-3, 3, size=60)
    one, other = paired_contrast(values), paired_contrast(loud)
    first = scan_pairs(one.residual, separation_score(one), 20, np.arange(60))
    second = scan_pairs(other.residual, separation_score(other), 20, np.arange(60))
    assert first.pairs.tolist() == second.pairs.tolist()
    louder = np.append(1.0, 10.0 ** rng.uniform(-9, 9, size=59))
    apart = [group_contrast(each[:7], each[7:]).t for each in (values, values * louder)]
    np.testing.assert_allclose(apart[0], apart[1])


def test_constant_and_collinear_coordinates_are_in_no_pair() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=(10, 4))
    values[:, 1], values[:, 2] = np.float32(0.1), 3 * values[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        contrast = paired_contrast(values)
        found = scan_pairs(contrast.residual, separation_score(contrast), 10, np.flatnonzero(contrast.usable))
    assert {tuple(pair) for pair in found.pairs.tolist()} == {(0, 3), (2, 3)}
    assert np.isnan(gain(contrast.t[0], contrast.t[2], 1.0, contrast.dof))
