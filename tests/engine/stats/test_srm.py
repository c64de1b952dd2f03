from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats.planes import Plane, coordinates, neuron_plane, plane_from_vectors
from srm_explorer.engine.stats.spotlight import (
    STRICT,
    Sweep,
    UnitCoordinates,
    checked_angles,
    checked_thresholds,
    directions,
    spotlight_sweep,
    sweep_from_counts,
    sweep_groups,
    unit_coordinates,
)

PROTOCOL = (0.7, 0.5, 0.3, 0.1)
THRESHOLDS = (0.7, 0.5, 0.3, 0.1, 0.0, -0.1, -0.5, 1.0, -1.0)


def points_at(radius: np.ndarray, degrees: np.ndarray) -> UnitCoordinates:
    radians = np.deg2rad(degrees)
    xy = np.stack([radius * np.cos(radians), radius * np.sin(radians)], axis=1)
    return unit_coordinates(xy, np.ones(len(xy)))


def sweep_of(vectors: np.ndarray, plane: Plane, thresholds: tuple[float, ...], n_angles: int) -> Sweep:
    return spotlight_sweep(unit_coordinates(*coordinates(vectors, plane)), thresholds, n_angles)


def assert_equal_sweeps(fast: Sweep, slow: Sweep) -> None:
    np.testing.assert_array_equal(fast.counts, slow.counts)
    np.testing.assert_array_equal(fast.signed, slow.signed)
    np.testing.assert_allclose(fast.mean, slow.mean, atol=1e-6)
    assert (fast.n, fast.zero_runs, fast.nonfinite_runs) == (slow.n, slow.zero_runs, slow.nonfinite_runs)


def spotlight_sweep_reference(
    vectors: np.ndarray, plane: Plane, thresholds: Sequence[float], n_angles: int = 360
) -> Sweep:
    """What `spotlight_sweep` does by its definition: at every angle, the cosine of every full vector [run, d]."""
    levels = checked_thresholds(thresholds)
    n_angles = checked_angles(n_angles)
    full = np.asarray(vectors, np.float64)
    norm = np.linalg.norm(full, axis=1)
    finite = np.isfinite(norm)
    zero = norm == 0
    points = UnitCoordinates(xy=np.full((len(full), 2), np.nan), zero=zero, finite=finite)
    unit = full[finite] / np.where(zero, 1.0, norm)[finite, None]
    mean = np.full(n_angles, np.nan)
    counts = np.zeros((len(levels), n_angles), np.int64)
    signed = np.zeros((len(levels), n_angles), np.int64)
    for index, (cos, sin) in enumerate(zip(*directions(n_angles), strict=True)):
        cosine = unit @ (cos * plane.basis[0] + sin * plane.basis[1])
        if len(cosine):
            mean[index] = cosine.mean()
        for row, level in enumerate(levels):
            counts[row, index] = np.count_nonzero(cosine > level + STRICT)
            signed[row, index] = counts[row, index] - np.count_nonzero(-cosine > level + STRICT)
    a, b = (unit @ plane.basis.T).mean(axis=0) if len(unit) else (np.nan, np.nan)
    return sweep_from_counts(points, np.arange(len(full)), levels, mean, (float(a), float(b)), counts, signed)


def vectors_with_everything(d: int, seed: int) -> np.ndarray:
    """Random rows, rows of exact angles and cosines in the plane (0, 1), zero rows, rows that are not finite."""
    rng = np.random.default_rng(seed)
    random = rng.normal(size=(60, d))
    random[:, :2] *= rng.uniform(0, 100, size=(60, 1))
    angles = np.deg2rad(np.arange(0, 360, 15))
    ties = np.zeros((len(angles) * 3, d))
    for row, scale in enumerate((1.0, 0.5, 7.0)):
        block = slice(row * len(angles), (row + 1) * len(angles))
        ties[block, 0] = scale * np.cos(angles)
        ties[block, 1] = scale * np.sin(angles)
    # A shadow of length exactly 0.5, 0.3: lit nowhere at those thresholds, dark nowhere at their negatives.
    tangent = np.zeros((4, d))
    tangent[:, 0] = [0.5, -0.5, 0.3, 0.0]
    tangent[:, 2] = np.sqrt(1 - tangent[:, 0] ** 2)
    broken = np.zeros((3, d))
    broken[0, 0], broken[1, 5 % d], broken[2, 1] = np.nan, np.inf, -np.inf
    return np.concatenate([random, ties, tangent, np.zeros((2, d)), broken])


@pytest.mark.parametrize("n_angles", [360, 7, 720])
def test_counts_equal_the_direct_loop_in_the_full_space(n_angles: int) -> None:
    vectors = vectors_with_everything(3072, seed=1)
    plane = neuron_plane(3072, 0, 1)
    assert_equal_sweeps(
        sweep_of(vectors, plane, THRESHOLDS, n_angles),
        spotlight_sweep_reference(vectors, plane, THRESHOLDS, n_angles),
    )


def test_counts_equal_the_direct_loop_in_a_plane_of_two_slanted_directions() -> None:
    rng = np.random.default_rng(5)
    plane = plane_from_vectors(rng.normal(size=3072), rng.normal(size=3072))
    vectors = rng.normal(size=(80, 3072)) + 40 * rng.normal(size=(80, 2)) @ plane.basis
    assert_equal_sweeps(
        sweep_of(vectors, plane, THRESHOLDS, 360), spotlight_sweep_reference(vectors, plane, THRESHOLDS, 360)
    )


RADII = st.sampled_from([0.0, 1e-300, 1e-12, 2e-12, 0.1, 0.3, 0.5, 0.5 + 1e-12, 0.5 + 2e-16, 1.0]) | st.floats(0, 1)
DEGREES = st.integers(0, 359).map(float) | st.floats(0, 360)


@given(
    polar=st.lists(st.tuples(RADII, DEGREES), max_size=30),
    threshold=st.sampled_from(THRESHOLDS) | st.floats(-1, 1),
    n_angles=st.integers(1, 40) | st.sampled_from([360, 361, 5000]),
)
@settings(max_examples=250, deadline=None)
def test_arcs_equal_the_expression_bit_for_bit(
    polar: list[tuple[float, float]], threshold: float, n_angles: int
) -> None:
    table = np.array(polar).reshape(-1, 2)
    points = points_at(table[:, 0], table[:, 1])
    sweep = spotlight_sweep(points, [threshold], n_angles)
    cos, sin = directions(n_angles)
    np.testing.assert_allclose(cos + 1j * sin, np.exp(1j * np.deg2rad(sweep.angles_deg)), atol=1e-15)
    x, y = points.xy[:, :1], points.xy[:, 1:]
    expected = (x * cos + y * sin > threshold + 1e-12).sum(axis=0)
    below = (x * cos + y * sin < -threshold - 1e-12).sum(axis=0)
    np.testing.assert_array_equal(sweep.counts[0], expected)
    np.testing.assert_array_equal(sweep.signed[0], expected - below)


def test_a_vector_exactly_on_the_threshold_is_not_counted() -> None:
    sweep = spotlight_sweep(points_at(np.array([1.0]), np.array([60.0])), [0.5], 360)
    assert np.cos(np.deg2rad(60)) > 0.5
    assert sweep.counts[0, 0] == 0
    assert sweep.counts[0, 1] == 1
    assert sweep.counts[0].sum() == 119


@given(seed=st.integers(0, 10_000), steps=st.integers(0, 359))
@settings(max_examples=40, deadline=None)
def test_turning_the_vectors_rolls_the_curves(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    radius, degrees = rng.uniform(0, 1, 50), rng.uniform(0, 360, 50)
    still = spotlight_sweep(points_at(radius, degrees), PROTOCOL, 360)
    turned = spotlight_sweep(points_at(radius, degrees + steps), PROTOCOL, 360)
    np.testing.assert_array_equal(turned.counts, np.roll(still.counts, steps, axis=1))
    np.testing.assert_allclose(turned.mean, np.roll(still.mean, steps), atol=1e-12)


@given(seed=st.integers(0, 10_000), n_angles=st.integers(1, 400))
@settings(max_examples=40, deadline=None)
def test_the_mean_is_one_sinusoid_with_its_largest_value_at_the_phase(seed: int, n_angles: int) -> None:
    rng = np.random.default_rng(seed)
    sweep = spotlight_sweep(points_at(rng.uniform(0, 1, 20), rng.uniform(0, 90, 20)), [], n_angles)
    radians = np.deg2rad(sweep.angles_deg)
    assert sweep.phase_deg is not None
    assert 0 <= sweep.phase_deg < 360
    np.testing.assert_allclose(sweep.mean, sweep.a * np.cos(radians) + sweep.b * np.sin(radians), atol=1e-14)
    np.testing.assert_allclose(sweep.mean, sweep.amplitude * np.cos(radians - np.deg2rad(sweep.phase_deg)), atol=1e-12)
    assert sweep.counts.shape == (0, n_angles)


@given(seed=st.integers(0, 10_000), n_angles=st.integers(2, 200).map(lambda half: 2 * half))
@settings(max_examples=30, deadline=None)
def test_above_here_is_below_on_the_other_side_and_counts_fall_with_the_threshold(seed: int, n_angles: int) -> None:
    rng = np.random.default_rng(seed)
    levels = np.sort(rng.uniform(-1, 1, 6))
    sweep = spotlight_sweep(points_at(rng.uniform(0, 1, 40), rng.uniform(0, 360, 40)), levels.tolist(), n_angles)
    assert (np.diff(sweep.counts, axis=0) <= 0).all()
    below = sweep.counts - sweep.signed
    np.testing.assert_array_equal(below, np.roll(sweep.counts, n_angles // 2, axis=1))
    assert sweep.counts.min() >= 0
    assert sweep.counts.max() <= sweep.n


def test_zero_vectors_count_in_n_and_broken_runs_do_not() -> None:
    xy = np.array([[3.0, 0], [0, 0], [np.nan, 0], [0, 0], [1, np.inf], [2, 0]])
    norm = np.array([3.0, 0, 5, 2, np.inf, np.inf])
    sweep = spotlight_sweep(unit_coordinates(xy, norm), [0.5, -0.5], 4)
    assert (sweep.n, sweep.zero_runs, sweep.nonfinite_runs) == (3, (1,), (2, 4, 5))
    np.testing.assert_array_equal(sweep.counts, [[1, 0, 0, 0], [3, 3, 2, 3]])
    np.testing.assert_allclose(sweep.mean, [1 / 3, 0, -1 / 3, 0], atol=1e-15)
    np.testing.assert_allclose(sweep.fraction, sweep.counts / 3)


def test_nothing_to_count_has_no_mean_and_no_phase() -> None:
    for points in (unit_coordinates(np.zeros((0, 2)), []), unit_coordinates([[np.nan, 1.0]], [1.0])):
        sweep = spotlight_sweep(points, PROTOCOL, 12)
        assert (sweep.n, sweep.phase_deg) == (0, None)
        assert np.isnan(sweep.mean).all()
        assert np.isnan(sweep.fraction).all()
        assert not sweep.counts.any()


def test_a_balanced_set_has_amplitude_zero_and_no_phase() -> None:
    sweep = spotlight_sweep(unit_coordinates([[1.0, 2.0], [-1.0, -2.0]], [3.0, 3.0]), PROTOCOL, 360)
    assert (sweep.amplitude, sweep.phase_deg) == (0.0, None)


def test_groups_take_indices_masks_and_repetitions_and_report_runs_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    xy = rng.normal(size=(12, 2))
    xy[4], xy[9] = 0, np.nan
    norm = np.where((xy == 0).all(axis=1), 0, 4.0)
    points = unit_coordinates(xy, norm)
    mask = np.arange(12) % 2 == 1
    sweeps = sweep_groups(
        points, {"odd": mask, "tail": [9, 4, 11], "twice": [0, 0, 1], "none": []}, PROTOCOL, n_angles=36
    )
    assert list(sweeps) == ["odd", "tail", "twice", "none"]
    assert (sweeps["odd"].n, sweeps["odd"].nonfinite_runs) == (5, (9,))
    assert (sweeps["tail"].n, sweeps["tail"].zero_runs, sweeps["tail"].nonfinite_runs) == (2, (4,), (9,))
    assert sweeps["twice"].n == 3
    assert sweeps["none"].n == 0
    assert sweeps["twice"].a == pytest.approx((2 * points.xy[0, 0] + points.xy[1, 0]) / 3)
    alone = unit_coordinates(xy[mask], norm[mask])
    np.testing.assert_array_equal(sweeps["odd"].counts, spotlight_sweep(alone, PROTOCOL, 36).counts)


def test_counts_of_disjoint_groups_add_up_in_every_plane() -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(50, 9))
    planes = {
        name: unit_coordinates(*coordinates(vectors, neuron_plane(9, *pair)))
        for name, pair in {"near": (0, 1), "far": (7, 3)}.items()
    }
    groups = {"first": np.arange(20), "rest": np.arange(20, 50), "all": np.arange(50)}
    for sweeps in [sweep_groups(points, groups, PROTOCOL, 90) for points in planes.values()]:
        np.testing.assert_array_equal(sweeps["first"].counts + sweeps["rest"].counts, sweeps["all"].counts)
        assert sweeps["all"].a == pytest.approx((20 * sweeps["first"].a + 30 * sweeps["rest"].a) / 50)


@pytest.mark.parametrize("threshold", [1.01, -1.01, np.nan, np.inf, 70])
def test_a_threshold_that_is_no_cosine_is_refused(threshold: float) -> None:
    with pytest.raises(ExplorerError, match="not a cosine"):
        spotlight_sweep(points_at(np.ones(1), np.ones(1)), [0.5, threshold])


@pytest.mark.parametrize("n_angles", [0, -3, 2.5, True, "360", 10**9])
def test_a_number_of_angles_that_is_none_is_refused(n_angles: object) -> None:
    with pytest.raises(ExplorerError, match="number of angles"):
        spotlight_sweep(points_at(np.ones(1), np.ones(1)), [0.5], n_angles)  # type: ignore[arg-type]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ExplorerError):
        unit_coordinates(np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(ExplorerError):
        unit_coordinates(np.zeros((3, 3)), np.zeros(3))
