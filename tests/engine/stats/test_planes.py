from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats.planes import coordinates, neuron_plane, plane_from_vectors


@given(seed=st.integers(0, 10_000), d=st.integers(2, 60), tilt=st.floats(1e-4, 10))
@settings(max_examples=60, deadline=None)
def test_gram_schmidt_gives_an_orthonormal_basis_with_both_directions_inside(seed: int, d: int, tilt: float) -> None:
    rng = np.random.default_rng(seed)
    u = rng.normal(size=d) * 10 ** rng.uniform(-3, 3)
    along = u / np.linalg.norm(u)
    aside = rng.normal(size=d)
    aside -= (aside @ along) * along
    v = 5 * along + tilt * aside / np.linalg.norm(aside)
    plane = plane_from_vectors(u, v)
    np.testing.assert_allclose(plane.basis @ plane.basis.T, np.eye(2), atol=1e-12)
    for vector in (u, v):
        inside = plane.basis.T @ (plane.basis @ vector)
        np.testing.assert_allclose(inside, vector, atol=1e-9 * np.linalg.norm(vector))
    assert plane.basis[0] @ u > 0
    assert plane.basis[1] @ v > 0


def test_the_raw_angle_is_the_one_between_the_directions_as_given() -> None:
    for degrees in (0.01, 30.0, 90.0, 150.0, 179.99):
        v = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0.0])
        assert plane_from_vectors([2.0, 0, 0], 7 * v).raw_angle_deg == pytest.approx(degrees, abs=1e-9)


@pytest.mark.parametrize(
    ("u", "v"),
    [
        ([1.0, 2, 3], [2.0, 4, 6]),
        ([1.0, 2, 3], [-1.0, -2, -3]),
        ([0.0, 0, 0], [1.0, 0, 0]),
        ([1.0, 0, 0], [np.nan, 1, 0]),
        ([1.0, 0, 0], [np.inf, 1, 0]),
        ([1.0, 0, 0], [1.0, 0]),
        ([1.0], [2.0]),
    ],
)
def test_directions_without_a_plane_are_refused(u: list[float], v: list[float]) -> None:
    with pytest.raises(ExplorerError):
        plane_from_vectors(u, v)


def test_a_neuron_outside_the_site_is_refused_with_the_range() -> None:
    with pytest.raises(ExplorerError, match=r"2202 is out of range \(width 1536\); choose 0 to 1535"):
        neuron_plane(1536, 373, 2202)
    with pytest.raises(ExplorerError):
        neuron_plane(1536, -1, 3)
    with pytest.raises(ExplorerError):
        neuron_plane(1536, 3, 3)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_neuron_plane_reads_off_the_two_entries_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(40, 30)).astype(np.float32)
    a, b = rng.choice(30, size=2, replace=False).tolist()
    xy, norm = coordinates(vectors, neuron_plane(30, a, b))
    np.testing.assert_array_equal(xy, vectors[:, [a, b]].astype(np.float64))
    np.testing.assert_allclose(norm, np.linalg.norm(vectors.astype(np.float64), axis=1), rtol=1e-14)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(1000, 7))
    plane = plane_from_vectors(np.arange(7.0), np.ones(7))
    whole = coordinates(vectors, plane)
    monkeypatch.setattr("srm_explorer.engine.stats.planes.CHUNK_ELEMENTS", 50)
    for one, other in zip(whole, coordinates(vectors, plane), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


def test_norms_survive_where_squares_overflow_or_vanish() -> None:
    vectors = np.array([[3e200, 4e200], [3e-200, 4e-200], [0, 0], [np.nan, 1], [np.inf, 1], [3, 4]])
    _, norm = coordinates(vectors, neuron_plane(2, 0, 1))
    np.testing.assert_allclose(norm[[0, 1, 2, 5]], [5e200, 5e-200, 0, 5], rtol=1e-14)
    assert not np.isfinite(norm[[3, 4]]).any()


def test_tables_that_do_not_fit_the_plane_are_refused() -> None:
    plane = neuron_plane(4, 0, 1)
    for wrong in (np.zeros((3, 5)), np.zeros(4), np.zeros((3, 4), complex), np.array([["a"] * 4])):
        with pytest.raises(ExplorerError):
            coordinates(wrong, plane)


def test_no_runs_give_no_coordinates() -> None:
    xy, norm = coordinates(np.zeros((0, 4), np.float32), neuron_plane(4, 0, 1))
    assert xy.shape == (0, 2)
    assert norm.shape == (0,)
