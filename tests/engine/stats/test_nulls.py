"""What chance draws: planes that keep one direction, isotropic ones, and those of the baseline's second moment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.stats.nulls import (
    draw_partners,
    isotropic_planes,
    null_curves,
    partner_coordinates,
    plane_coordinates,
    second_moment_planes,
)
from srm_explorer.engine.stats.planes import coordinates, neuron_plane, plane_from_vectors
from srm_explorer.engine.stats.spotlight import count_above, counts_above, spotlight_sweep, unit_coordinates

RNG = np.random.default_rng(3)
VECTORS = RNG.normal(size=(40, 30)).astype(np.float32)
NORM = np.linalg.norm(VECTORS.astype(np.float64), axis=1)


@given(
    st.integers(0, 5), st.integers(0, 9), st.sampled_from([0.0, 0.5, -0.3, 1.0, -1.0]), st.sampled_from([5, 8, 90, 91])
)
def test_many_planes_at_once_are_counted_as_one_by_one(planes: int, runs: int, threshold: float, angles: int) -> None:
    xy = np.random.default_rng(planes * 10 + runs).uniform(-0.7, 0.7, size=(planes, runs, 2))
    xy[..., 0] = np.round(xy[..., 0], 1)
    one_by_one = [count_above(own, threshold, angles) for own in xy]
    np.testing.assert_array_equal(counts_above(xy, threshold, angles), np.reshape(one_by_one, (planes, angles)))


def test_partners_are_drawn_without_replacement_and_never_an_excluded_one() -> None:
    drawn = draw_partners(300, [7, 9], 200, seed=1)
    assert len(set(drawn.tolist())) == 200
    assert not {7, 9} & set(drawn.tolist())
    np.testing.assert_array_equal(drawn, draw_partners(300, [7, 9], 200, seed=1))
    np.testing.assert_array_equal(draw_partners(6, [2], 200), [0, 1, 3, 4, 5])
    # Every one is as likely: over many draws of 3 of 5 each stands in three fifths.
    often = np.bincount(np.concatenate([draw_partners(6, [2], 3, seed) for seed in range(2_000)]), minlength=6)
    assert often[2] == 0
    np.testing.assert_allclose(often[[0, 1, 3, 4, 5]] / 2_000, 0.6, atol=4 * np.sqrt(0.24 / 2_000))


def test_partner_planes_are_the_planes_of_the_direction_and_each_partner() -> None:
    direction = np.zeros(30)
    direction[4] = 1.0
    partners = draw_partners(30, [4, 11])
    found = partner_coordinates(VECTORS, NORM, VECTORS[:, 4] / NORM, direction, partners)
    for place, partner in enumerate(partners.tolist()):
        expected = unit_coordinates(*coordinates(VECTORS, neuron_plane(30, 4, partner))).xy
        np.testing.assert_allclose(found[place], expected, atol=1e-12)
    slanted = RNG.normal(size=30)
    slanted /= np.linalg.norm(slanted)
    found = partner_coordinates(VECTORS, NORM, VECTORS @ slanted / NORM, slanted, partners)
    for place, partner in enumerate(partners.tolist()):
        plane = plane_from_vectors(slanted, np.eye(30)[partner], "a", "b")
        np.testing.assert_allclose(found[place], unit_coordinates(*coordinates(VECTORS, plane)).xy, atol=1e-6)


def test_the_band_holds_the_middle_of_the_planes_curves_at_every_angle() -> None:
    bases = isotropic_planes(30, 60, seed=2)
    np.testing.assert_allclose(bases @ bases.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (60, 2, 2)), atol=1e-12)
    xy = plane_coordinates(VECTORS, NORM, bases)
    null = null_curves(xy, (0.2,), 36, level=0.9)
    sweeps = [spotlight_sweep(unit_coordinates(own, np.ones(40)), (0.2,), 36) for own in xy]
    means, counts = np.array([one.mean for one in sweeps]), np.array([one.counts[0] for one in sweeps])
    np.testing.assert_allclose(null.mean, np.quantile(means, [0.05, 0.95], axis=0), atol=1e-12)
    np.testing.assert_allclose(null.counts[0.2], np.quantile(counts, [0.05, 0.95], axis=0))
    assert null.planes == 60


def test_planes_of_the_second_moment_lie_where_the_baseline_lies() -> None:
    loud = np.zeros((20, 50))
    loud[:, :3] = RNG.normal(size=(20, 3))
    loud[0], loud[1] = 0.0, np.nan
    planes = second_moment_planes(loud, 40, seed=4)
    np.testing.assert_allclose((planes[:, :, :3] ** 2).sum(axis=(1, 2)), 2.0, atol=1e-9)
    assert (isotropic_planes(50, 40)[:, :, :3] ** 2).sum(axis=(1, 2)).mean() < 0.3


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_runs_that_are_not_finite_are_left_out_and_zero_vectors_count(broken: float) -> None:
    xy = RNG.uniform(-0.5, 0.5, size=(9, 12, 2))
    xy[:, 3] = broken
    xy[:, 5] = 0.0
    null = null_curves(xy, (0.1,), 24)
    kept = null_curves(np.delete(xy, 3, axis=1), (0.1,), 24)
    np.testing.assert_allclose(null.mean, kept.mean)
    np.testing.assert_allclose(null.counts[0.1], kept.counts[0.1])
    nothing = null_curves(np.full((4, 2, 2), broken), (0.1,), 24)
    assert np.isnan(nothing.mean).all()


def test_planes_of_the_second_moment_added_up_some_runs_at_a_time_are_the_plain_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = np.random.default_rng(2).normal(size=(57, 9)).astype(np.float32)
    vectors[3], vectors[20] = 0.0, np.nan
    usable = np.delete(vectors, (3, 20), axis=0).astype(float)
    unit = usable / np.linalg.norm(usable, axis=1, keepdims=True)
    first, second = np.moveaxis(np.random.default_rng(6).normal(size=(40, 2, 55)) @ unit, 1, 0)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = second - (second * first).sum(axis=1, keepdims=True) * first
    expected = np.stack([first, second / np.linalg.norm(second, axis=1, keepdims=True)], axis=1)
    for elements in (100, 8_000_000):
        monkeypatch.setattr("srm_explorer.engine.stats.nulls.CHUNK_ELEMENTS", elements)
        np.testing.assert_allclose(second_moment_planes(vectors, 40, seed=6), expected, atol=1e-12)
