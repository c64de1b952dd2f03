from __future__ import annotations

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.curves import Role, SweptGroup
from srm_explorer.engine.figures.dose import DoseStep, dose_figure
from srm_explorer.engine.figures.polar import polar_counts, polar_mean
from srm_explorer.engine.figures.thresholds import threshold_figure
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates

THRESHOLDS = (0.7, 0.3, 0.1)


def swept(label: str, role: Role, xy: np.ndarray, norm: np.ndarray | None = None, prompts: int = 50) -> SweptGroup:
    length = np.ones(len(xy)) if norm is None else norm
    return SweptGroup(label, role, spotlight_sweep(unit_coordinates(xy, length), THRESHOLDS, 360), prompts, len(xy))


@pytest.fixture
def groups() -> list[SweptGroup]:
    rng = np.random.default_rng(0)
    return [
        swept("baseline", "baseline", rng.uniform(-0.4, 0.4, (50, 2))),
        swept("clamped", "pooled", np.concatenate([rng.uniform(-0.6, 0.6, (549, 2)), [[0.0, 0.0]]])),
    ]


def test_every_polar_value_lies_between_the_centre_and_the_outer_ring(groups: list[SweptGroup]) -> None:
    figures = [polar_mean(groups, "n373", "n2202"), *(polar_counts(groups, "n373", "n2202", t) for t in THRESHOLDS)]
    for figure in figures:
        for curve in figure.curves:
            assert curve.y.min() >= figure.low
            assert curve.y.max() <= figure.high * (1 + 1e-9)
            assert curve.y[0] == curve.y[-1]
            assert (curve.x[0], curve.x[-1]) == (0, 360)
        values = [ring.value for ring in figure.rings]
        assert values == sorted(values)
        assert values[-1] == figure.high
        assert [spoke.name for spoke in figure.spokes] == ["+n373", "+n2202", "−n373", "−n2202"]


def test_counts_are_shares_of_each_group_and_never_beyond_one(groups: list[SweptGroup]) -> None:
    everywhere = swept("clamped", "pooled", np.tile([1.0, 0.0], (7, 1)))
    figure = polar_counts([everywhere], "n1", "n2", 0.7)
    assert figure.high == 1.0
    assert figure.curves[0].y[0] == 1.0
    assert figure.curves[0].y[180] == 0.0
    assert polar_counts(groups, "n1", "n2", 0.1).radius_label == "radius: share of runs with cosine > .1"


def test_the_mean_has_one_bold_ring_and_it_is_zero(groups: list[SweptGroup]) -> None:
    figure = polar_mean(groups, "n1", "n2")
    assert [ring.value for ring in figure.rings if ring.bold] == [0.0]
    assert figure.low == -figure.high


def test_the_legend_says_amplitude_phase_prompts_and_runs(groups: list[SweptGroup]) -> None:
    aligned = swept("clamped", "pooled", np.tile([0.0, -0.011], (550, 1)), norm=np.ones(550))
    (entry,) = polar_mean([aligned], "n1", "n2").legend
    assert entry.details == ("A .0110  φ 270°", "50 prompts · 550 runs")
    one = swept("clamped", "pooled", np.zeros((1, 2)), norm=np.zeros(1), prompts=1)
    assert polar_mean([one], "n1", "n2").legend[0].details == ("A 0  φ –", "1 prompt · 1 run")


def test_warnings_name_runs_and_put_the_left_out_ones_first(groups: list[SweptGroup]) -> None:
    xy = np.array([[0, 0], [np.nan, 0], [0.5, 0.5]])
    figure = threshold_figure([*groups, swept("+20", "value", xy, norm=np.array([0.0, 1, 1]))])
    assert figure.warnings[0] == "1 run not finite, left out: 1"
    assert figure.warnings[1].startswith("1 zero vector, counted in N")


def test_an_unswept_threshold_is_refused_with_the_swept_ones(groups: list[SweptGroup]) -> None:
    with pytest.raises(ExplorerError, match=r"\.5.*\.7, \.3, \.1"):
        polar_counts(groups, "n1", "n2", 0.5)


def test_counts_become_shares_exactly_where_groups_differ_in_size(groups: list[SweptGroup]) -> None:
    mixed = threshold_figure(groups)
    alone = threshold_figure(groups[1:])
    assert mixed.left_label == "share of runs with cosine > .7, .3, .1"
    assert alone.left_label == "runs with cosine > .7, .3, .1"
    np.testing.assert_allclose(mixed.counts[3].y * 550, alone.counts[0].y)
    assert threshold_figure(groups, share=False).left_label == "runs with cosine > .7, .3, .1"
    assert [curve.tag for curve in alone.counts] == [".7", ".3", ".1"]
    for figure in (mixed, alone):
        assert figure.right is not None
        assert all(figure.left.low <= curve.y.min() <= curve.y.max() <= figure.left.high for curve in figure.counts)
        assert all(figure.right.low <= curve.y.min() <= curve.y.max() <= figure.right.high for curve in figure.means)


def test_a_dose_figure_is_ordered_by_value_and_leaves_undefined_phases_out() -> None:
    def step(value: float, x: float) -> DoseStep:
        return DoseStep(value, swept(f"{value:+g}", "value", np.array([[x, 0.0]])), 2 + abs(value))

    figure = dose_figure([step(6, 0.8), step(-6, -0.5), step(0, 0.0)], 0.3, baseline=None)
    amplitude, phase, share, norm = figure.panels
    np.testing.assert_array_equal(amplitude.curve.x, [-6, 0, 6])
    np.testing.assert_allclose(amplitude.curve.y, [0.5, 0, 0.8])
    np.testing.assert_allclose(phase.curve.y, [180, np.nan, 0])
    np.testing.assert_array_equal(share.curve.y, [1, 0, 1])
    np.testing.assert_array_equal(norm.curve.y, [8, 2, 8])
    assert not phase.connected
    assert amplitude.baseline is None
    assert figure.legend[0].details == ("50 prompts · 3 runs",)


def test_two_groups_of_one_label_are_refused(groups: list[SweptGroup]) -> None:
    with pytest.raises(ValueError, match="differ"):
        polar_mean([groups[0], groups[0]], "n1", "n2")


def test_groups_without_a_finite_run_leave_a_figure_with_finite_ranges() -> None:
    broken = swept("clamped", "pooled", np.full((3, 2), np.nan))
    for figure in (polar_mean([broken], "a", "b"), polar_counts([broken], "a", "b", 0.7)):
        assert np.isfinite([figure.low, figure.high]).all()
        assert figure.low < figure.high
    figure = threshold_figure([broken])
    assert figure.left.low < figure.left.high
    assert figure.right is not None
    assert figure.right.low < figure.right.high
