from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.comparison import (
    compare,
    compared_dose,
    compared_groups,
    compared_numbers,
    compared_polar,
    compared_thresholds,
)
from srm_explorer.engine.figures.dose import dose_from_session
from srm_explorer.engine.figures.groups import points_of
from srm_explorer.engine.session import Session, load_session
from tests.example import EXAMPLE as FILE

EXAMPLE = load_session(FILE)


def turned(session: Session, degrees: float) -> Session:
    """The same session with every vector turned in its planes."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    planes = tuple(
        dataclasses.replace(plane, x=tuple((plane.xy @ turn)[:, 0]), y=tuple((plane.xy @ turn)[:, 1]))
        for plane in session.planes
    )
    return session.changed(name="turned", planes=planes)


def respecified(session: Session, **parts: object) -> Session:
    return session.changed(name="other", spec=session.spec.model_copy(update=parts))


def test_a_session_differs_in_nothing_from_itself() -> None:
    same = compare(EXAMPLE, EXAMPLE)
    assert same.differences == ()
    assert same.notes == ()
    assert len(same.planes) == len(EXAMPLE.planes)
    assert same.names[0] != same.names[1]
    groups = compared_groups(same)
    numbers = compared_numbers(groups, 17, same.thresholds()[0])
    half = len(numbers) // 2
    assert half * 2 == len(numbers) > 0
    for own, its in zip(numbers[:half], numbers[half:], strict=True):
        assert dataclasses.replace(own, label="") == dataclasses.replace(its, label="")


@given(theta=st.integers(-400, 400), level=st.sampled_from(EXAMPLE.spec.spotlight.thresholds))
def test_numbers_are_those_that_the_runs_themselves_give(theta: int, level: float) -> None:
    both = compare(EXAMPLE, turned(EXAMPLE, 40))
    by_label = {one.label: one for one in compared_numbers(compared_groups(both), theta, level)}
    kinds = [EXAMPLE.conditions[run.condition].kind for run in EXAMPLE.runs]
    for name, session in zip(both.names, both.sessions, strict=True):
        points = points_of(session.planes[0])
        cosines = points.xy @ [np.cos(np.deg2rad(theta % 360)), np.sin(np.deg2rad(theta % 360))]
        for kind, label in (("baseline", "baseline"), ("sweep", "clamped")):
            own = cosines[[one == kind for one in kinds]]
            told = by_label[f"{name} · {label}"]
            assert told.total == len(own)
            assert told.mean == pytest.approx(own.mean(), abs=1e-12)
            assert abs(told.lit - np.count_nonzero(own > level + 1e-12)) <= np.count_nonzero(abs(own - level) < 1e-9)


def test_a_turned_session_has_its_phase_turned_and_its_amplitude_kept() -> None:
    groups = compared_groups(compare(EXAMPLE, turned(EXAMPLE, 40)))
    half = len(groups) // 2
    for own, its in zip(groups[:half], groups[half:], strict=True):
        assert its.sweep.amplitude == pytest.approx(own.sweep.amplitude)
        assert own.sweep.phase_deg is not None
        assert its.sweep.phase_deg == pytest.approx((own.sweep.phase_deg + 40) % 360)


def test_every_curve_has_its_own_look_and_the_first_baseline_the_usual_one() -> None:
    from srm_explorer.tui.charts.palette import FIXED, styles_of

    both = compare(EXAMPLE, turned(EXAMPLE, 40))
    level = both.thresholds()[-1]
    groups = compared_groups(both)
    legends = [
        compared_polar(both, groups, "mean", level).legend,
        compared_polar(both, groups, "counts", level).legend,
        compared_thresholds(both, groups, level).legend,
        compared_dose(both, level).legend,
    ]
    assert all(styles_of(legend) == styles_of(legends[0]) for legend in legends)
    for legend in legends:
        assert {entry.label for entry in legend} == {group.label for group in groups}
        styles = styles_of(legend)
        assert len({(style.style, style.marker) for style in styles.values()}) == len(legend)
        assert styles["example · baseline"] == FIXED["baseline"]
        assert styles["example · clamped"] == FIXED["pooled"]


def test_a_dose_chart_of_both_holds_what_each_alone_shows() -> None:
    other = turned(EXAMPLE, 40)
    level = EXAMPLE.spec.spotlight.thresholds[0]
    figure = compared_dose(compare(EXAMPLE, other), level)
    alone = [dose_from_session(session, session.planes[0], level) for session in (EXAMPLE, other)]
    assert [panel.label for panel in figure.panels] == [panel.label for panel in alone[0].panels]
    for at, panel in enumerate(figure.panels):
        (its,) = panel.others
        np.testing.assert_array_equal(panel.curve.y, alone[0].panels[at].curve.y)
        np.testing.assert_array_equal(its.curve.y, alone[1].panels[at].curve.y)
        assert (panel.baseline, its.baseline) == (alone[0].panels[at].baseline, alone[1].panels[at].baseline)
        for y in (*panel.curve.y, *its.curve.y):
            assert np.isnan(y) or panel.axis.low <= y <= panel.axis.high


def test_thresholds_and_angles_of_either_experiment_are_compared_at_whole_degrees() -> None:
    spotlight = EXAMPLE.spec.spotlight.model_copy(update={"angles": 7, "thresholds": (0.25,)})
    both = compare(EXAMPLE, respecified(EXAMPLE, spotlight=spotlight))
    assert both.thresholds() == tuple(sorted({*EXAMPLE.spec.spotlight.thresholds, 0.25}, reverse=True))
    for group in compared_groups(both):
        assert group.sweep.counts.shape == (len(both.thresholds()), 360)
    assert any(line.startswith("spotlight.angles: 360 -> 7") for line in both.differences)
    assert both.swapped().differences != both.differences


def test_other_planes_are_told_and_the_difference_still_stands() -> None:
    moved = tuple(dataclasses.replace(plane, b=plane.b + 1) for plane in EXAMPLE.planes)
    generation = EXAMPLE.spec.generation.model_copy(update={"tokens": 3})
    both = compare(EXAMPLE, respecified(EXAMPLE, generation=generation).changed(planes=moved))
    assert both.planes == ()
    assert "no plane in common: example has n" in both.notes[0]
    assert any(line.startswith("generation.tokens:") for line in both.differences)
    with pytest.raises(ExplorerError, match="example and other have no plane in common"):
        compared_groups(both)


def test_other_models_and_other_units_are_told() -> None:
    model = EXAMPLE.spec.model.model_copy(update={"name": "gpt2"})
    (one,) = EXAMPLE.spec.interventions
    unit = "raw" if one.unit != "raw" else "sigma"
    other = respecified(EXAMPLE, model=model, interventions=(one.model_copy(update={"unit": unit}),))
    both = compare(EXAMPLE, other)
    assert "the same index does not mean the same neuron" in both.notes[0]
    assert both.notes[0] in compared_polar(both, compared_groups(both), "mean", 0.5).warnings
    with pytest.raises(ExplorerError, match="their values are different quantities"):
        compared_dose(both, 0.5)
