from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.linalg import expm

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats.ensembles import EnsembleSweep, PairKind, ensemble_cosines, ensemble_of, ensemble_sweep
from srm_explorer.engine.stats.planes import plane_from_vectors
from tests.engine.stats.ensemble_reference import ensemble_reference, rotation

KINDS: list[PairKind] = ["perm", "comb"]


def swept(
    vectors: ArrayLike, basis: ArrayLike, kind: PairKind, thresholds: list[float], n_angles: int = 100
) -> EnsembleSweep:
    ensemble = ensemble_of(basis, kind)
    return ensemble_sweep(ensemble_cosines(vectors, ensemble)[0], ensemble, thresholds, n_angles)


def assert_as_reference(
    vectors: ArrayLike, basis: ArrayLike, kind: PairKind, thresholds: list[float], n_angles: int
) -> None:
    found = swept(vectors, basis, kind, thresholds, n_angles)
    fraction, spread = ensemble_reference(vectors, basis, kind, thresholds, n_angles)
    np.testing.assert_allclose(found.fraction, fraction, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.spread, spread, rtol=0, atol=1e-12)


def test_the_reference_turns_as_the_exponential_of_its_generator() -> None:
    rng = np.random.default_rng(1)
    e1, e2 = plane_from_vectors(rng.normal(size=16), rng.normal(size=16)).basis
    for degrees in (0.0, 3.6, 90.0, 200.0):
        theta = np.radians(degrees)
        turned = expm(theta * (np.outer(e2, e1) - np.outer(e1, e2)))
        np.testing.assert_allclose(rotation(e1, e2, np.cos(theta), np.sin(theta)), turned, atol=1e-14)
        np.testing.assert_allclose(turned @ e1, np.cos(theta) * e1 + np.sin(theta) * e2, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_dimensions_are_swept_as_rotation_matrices_would(kind: PairKind) -> None:
    rng = np.random.default_rng(7)
    vectors = np.maximum(rng.normal(size=(300, 16)), 0) @ rng.normal(size=(16, 16))
    vectors[3] = 0
    assert_as_reference(vectors, np.eye(16)[:7], kind, [0.5, 0.1, -0.3], 100)
    assert_as_reference(vectors, rng.normal(size=(6, 16)) * 10.0 ** rng.uniform(-3, 3, (6, 1)), kind, [0.5], 37)


@given(
    seed=st.integers(0, 10_000),
    d=st.integers(2, 16),
    k=st.integers(2, 6),
    kind=st.sampled_from(KINDS),
    thresholds=st.lists(st.sampled_from([0.5, 0.0, -0.5, 1.0, -1.0, 0.7, 2**-0.5, 0.1]), min_size=1, max_size=3),
    n_angles=st.sampled_from([1, 5, 8, 12, 24, 100]),
)
@settings(max_examples=60, deadline=None)
def test_ties_fall_as_in_the_reference(
    seed: int, d: int, k: int, kind: PairKind, thresholds: list[float], n_angles: int
) -> None:
    """Small whole numbers put vectors on the axes, at 60 and 45 degrees of them, at the origin and on each other."""
    rng = np.random.default_rng(seed)
    basis = rng.integers(-2, 3, (k, d)).astype(np.float64)
    basis[~basis.any(axis=1), 0] = 1.0
    basis[0], basis[1] = 0.0, 0.0
    basis[0, 0] = basis[1, 1] = 1.0
    turns = np.radians(rng.integers(0, 24, 20) * 15)
    ring = np.zeros((20, d))
    ring[:, 0], ring[:, 1] = np.cos(turns), np.sin(turns)
    vectors = np.concatenate([ring, basis, -basis, rng.integers(-1, 2, (20, d)), np.zeros((2, d))])
    assert_as_reference(vectors, basis, kind, thresholds, n_angles)


def test_the_edge_counts() -> None:
    """cos 60 degrees reaches 0.5: 121 of 360 angles light a vector on the axis, where a strict count has 119."""
    found = swept([[1.0, 0.0]], np.eye(2), "comb", [0.5], 360)
    lit = np.flatnonzero(found.fraction[0])
    assert len(lit) == 121
    assert {60, 300} < set(lit.tolist())
    zero = swept(np.zeros((1, 2)), np.eye(2), "comb", [0.0, 1e-9], 4)
    np.testing.assert_array_equal(zero.fraction, [[1, 1, 1, 1], [0, 0, 0, 0]])


def test_nearly_collinear_pairs_keep_their_ties() -> None:
    rng = np.random.default_rng(3)
    for tilt in (3e-6, 1e-4, 5e-4, 2e-3):
        first = rng.normal(size=16)
        basis = np.stack([first, first + tilt * rng.normal(size=16), rng.normal(size=16)])
        e1, e2 = plane_from_vectors(basis[0], basis[1]).basis
        turns = np.radians(np.arange(0, 360, 15))[:, None]
        assert_as_reference(np.cos(turns) * e1 + np.sin(turns) * e2, basis, "perm", [0.5], 24)


def test_pairs_on_one_line_are_left_out_and_named() -> None:
    basis = np.array([[1.0, 0, 0], [0, 1, 0], [-3, 0, 0]])
    vectors = np.random.default_rng(0).normal(size=(40, 3))
    ensemble = ensemble_of(basis, "perm")
    assert ensemble.skipped == ((0, 2), (2, 0))
    assert len(ensemble) == 4
    found = swept(vectors, basis, "perm", [0.5])
    assert np.isfinite(found.fraction).all()
    assert found.n_planes == 4
    assert_as_reference(vectors, basis, "perm", [0.5], 60)


def test_a_planted_alignment_stands_at_its_angle() -> None:
    """Vectors along one basis vector: at 0 degrees where it comes first, at 90 where second, nowhere else."""
    basis = np.eye(5)
    vectors = np.tile(basis[2], (10, 1))
    found = swept(vectors, basis, "perm", [0.99], 360)
    np.testing.assert_allclose(found.fraction[0, [0, 90, 45, 180, 270]], [4 / 20, 4 / 20, 0, 0, 0])
    ordered = swept(vectors, basis, "comb", [0.99], 360)
    np.testing.assert_allclose(ordered.fraction[0, [0, 90]], [2 / 10, 2 / 10])
    np.testing.assert_allclose(found.spread[0, 0], np.sqrt(0.2 * 0.8))


def test_what_is_not_finite_is_left_out_and_extreme_lengths_do_not_show() -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(30, 6))
    basis = rng.normal(size=(4, 6))
    plain = swept(vectors, basis, "comb", [0.3])
    odd = np.concatenate([vectors[:10] * 1e300, vectors[10:20] * 1e-300, vectors[20:], np.full((2, 6), np.nan)])
    found = swept(odd, basis, "comb", [0.3])
    np.testing.assert_allclose(found.fraction, plain.fraction)
    assert (found.n, found.nonfinite) == (30, (30, 31))
    cosines, zero = ensemble_cosines(np.array([[0, 0, 0.0], [0, 0, 1]]), ensemble_of(np.eye(3)[:2], "comb"))
    assert zero.tolist() == [True, False]
    np.testing.assert_array_equal(cosines, 0)


@pytest.mark.parametrize(
    ("basis", "told"),
    [
        (np.ones((1, 3)), "at least two basis vectors, there is 1"),
        (np.zeros((0, 3)), "at least two basis vectors, there is none"),
        ([[1.0, 0], [0, 0]], "basis vector 2 is zero"),
        ([[np.nan, 0], [0, 1]], "basis vector 1 is not finite"),
        ([[1.0, 0], [2, 0]], "lie on one line"),
        (np.ones(3), "a basis is a table"),
    ],
)
def test_a_basis_without_planes_is_refused(basis: ArrayLike, told: str) -> None:
    with pytest.raises(ExplorerError, match=told):
        ensemble_of(basis, "comb")


def test_widths_must_agree() -> None:
    with pytest.raises(ExplorerError, match="the vectors have 4 entries, the basis vectors 3"):
        ensemble_cosines(np.ones((2, 4)), ensemble_of(np.eye(3), "comb"))


@pytest.mark.slow
def test_many_planes_take_little_memory() -> None:
    rng = np.random.default_rng(0)
    vectors, basis = rng.normal(size=(3_000, 128)), rng.normal(size=(64, 128))
    tracemalloc.start()
    found = swept(vectors, basis, "perm", [0.2], 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.n_planes == 64 * 63
    assert peak < 45e6, "half of what a number for each vector in each plane would take"
