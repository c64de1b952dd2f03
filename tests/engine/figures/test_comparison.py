from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.comparison import (
    compare,
    compared_groups,
    compared_numbers,
    compared_polar,
    compared_thresholds,
)
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


def test_a_session_has_one_colour_on_every_chart_and_its_groups_have_marks_of_their_own() -> None:
    from srm_explorer.tui.charts.palette import session_style, styles_of

    all_of = compare(EXAMPLE, *(turned(EXAMPLE, 40 * at).changed(name=f"turned {at}") for at in range(1, 8)))
    level = all_of.thresholds()[-1]
    for baselines in (True, False):
        groups = compared_groups(all_of, baselines=baselines)
        assert {group.role for group in groups} == ({"baseline", "pooled"} if baselines else {"pooled"})
        legends = [
            compared_polar(all_of, groups, "mean", level).legend,
            compared_polar(all_of, groups, "counts", level).legend,
            compared_thresholds(all_of, groups, level).legend,
        ]
        for legend in legends:
            styles = styles_of(legend)
            assert [entry.label for entry in legend] == [group.label for group in groups]
            for group in groups:
                assert styles[group.label] == session_style(group.session or 0, group.role)
            assert len({(style.style, style.marker) for style in styles.values()}) == len(groups)
            assert len({style.style for style in styles.values()}) == 8


def test_sessions_without_a_common_plane_lie_each_in_its_own() -> None:
    moved = [
        EXAMPLE.changed(
            name=f"moved {at}", planes=tuple(dataclasses.replace(plane, b=plane.b + at) for plane in EXAMPLE.planes)
        )
        for at in (1, 2)
    ]
    bare = EXAMPLE.changed(name="bare", planes=())
    all_of = compare(EXAMPLE, *moved, bare)
    assert all_of.own
    assert all_of.common(0) is None
    assert [None if plane is None else plane.b for plane in all_of.planes[0]] == [
        *(EXAMPLE.planes[0].b + at for at in range(3)),
        None,
    ]
    assert "no plane in common: each session is drawn in its own" in all_of.notes
    assert any(note.startswith("bare has no plane") for note in all_of.notes)
    groups = compared_groups(all_of, baselines=False)
    assert [group.session for group in groups] == [0, 1, 2]
    figure = compared_polar(all_of, groups, "mean", 0.5)
    assert [spoke.name for spoke in figure.spokes[:2]] == ["+1st direction", "+2nd direction"]
    assert all(f"n{moved[0].planes[0].b}" in detail for detail in figure.legend[1].details[1:2])
    with pytest.raises(ExplorerError, match="has a plane and a run"):
        compared_groups(compare(bare, bare.changed(name="bare too")))


def test_what_differs_is_told_of_every_session() -> None:
    generation = [EXAMPLE.spec.generation.model_copy(update={"tokens": tokens}) for tokens in (3, 50)]
    others = [respecified(EXAMPLE, generation=each).changed(name=f"other {at}") for at, each in enumerate(generation)]
    spotlight = EXAMPLE.spec.spotlight.model_copy(update={"angles": 7})
    last = respecified(EXAMPLE, spotlight=spotlight)
    fields = {row[0]: row[1:] for row in compare(EXAMPLE, *others, last).fields()}
    tokens = str(EXAMPLE.spec.generation.tokens)
    assert fields["generation.tokens"] == (tokens, "3", "50", tokens)
    assert fields["spotlight.angles"] == ("360", "360", "360", "7")


@pytest.mark.parametrize("count", [1, 9])
def test_one_session_and_nine_are_refused(count: int) -> None:
    with pytest.raises(ExplorerError, match="choose two to 8"):
        compare(*[EXAMPLE] * count)


def test_thresholds_and_angles_of_either_experiment_are_compared_at_whole_degrees() -> None:
    spotlight = EXAMPLE.spec.spotlight.model_copy(update={"angles": 7, "thresholds": (0.25,)})
    both = compare(EXAMPLE, respecified(EXAMPLE, spotlight=spotlight))
    assert both.thresholds() == tuple(sorted({*EXAMPLE.spec.spotlight.thresholds, 0.25}, reverse=True))
    for group in compared_groups(both):
        assert group.sweep.counts.shape == (len(both.thresholds()), 360)
    assert any(line.startswith("spotlight.angles: 360 -> 7") for line in both.differences)
    assert both.swapped().differences != both.differences


def test_other_models_are_told() -> None:
    model = EXAMPLE.spec.model.model_copy(update={"name": "gpt2"})
    both = compare(EXAMPLE, respecified(EXAMPLE, model=model))
    assert "the same index does not mean the same neuron" in both.notes[0]
    assert both.notes[0] in compared_polar(both, compared_groups(both), "mean", 0.5).warnings
