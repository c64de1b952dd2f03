from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from srm_explorer.engine.session import Session
from srm_explorer.tui.results.state import ResultsState

STRICT = 1e-12


def cosines(session: Session, plane: int, theta: int) -> np.ndarray:
    """Every run's cosine with the spotlight, by its definition."""
    record = session.planes[plane]
    radians = np.deg2rad(theta)
    raw = np.array(record.x) * np.cos(radians) + np.array(record.y) * np.sin(radians)
    return raw / np.array(record.norm)


def swept(session: Session) -> np.ndarray:
    return np.array([session.conditions[run.condition].kind == "sweep" for run in session.runs])


@pytest.mark.parametrize("threshold", [0.7, 0.5, -0.2])
def test_the_readout_counts_what_a_look_at_every_run_counts(
    spread_session: Callable[..., Session], threshold: float
) -> None:
    session = spread_session(broken=(1, 17))
    state = ResultsState(threshold=threshold)
    state.take_session(session)
    assert state.threshold == threshold
    for theta in range(0, 360, 7):
        state.turn(theta - state.theta)
        told = state.readout()
        assert told is not None
        seen = cosines(session, 0, theta)
        finite = np.isfinite(seen)
        is_swept = swept(session)
        lit = seen > threshold + STRICT
        assert (told.lit, told.total) == (np.sum(lit & is_swept), np.sum(finite & is_swept))
        assert (told.baseline_lit, told.baseline_total) == (np.sum(lit & ~is_swept), np.sum(finite & ~is_swept))
        assert told.mean == pytest.approx(seen[finite & is_swept].mean(), abs=1e-12)
        assert told.baseline_mean == pytest.approx(seen[finite & ~is_swept].mean(), abs=1e-12)
        np.testing.assert_array_equal(state.lit(), lit)
        pooled = next(group for group in state.groups() if group.role == "pooled")
        row = pooled.sweep.thresholds.index(threshold)
        assert told.lit == pooled.sweep.counts[row, theta]


def test_a_run_exactly_on_the_threshold_is_dark(spread_session: Callable[..., Session]) -> None:
    session = spread_session(prompts=1, values=(1, 2))
    x, y = [0.5, 0.5, 0.5], [np.sqrt(0.75), -np.sqrt(0.75), 0.0]
    record = session.planes[0].of(session.planes[0].site, 3, 5, np.array([x, y]).T, np.ones(3))
    state = ResultsState(threshold=0.5)
    state.take_session(session.changed(planes=(record,)))
    assert not state.lit().any()
    state.turn(60)
    assert state.lit().tolist() == [True, False, False]


def test_turning_keeps_the_version_and_everything_else_changes_it(spread_session: Callable[..., Session]) -> None:
    state = ResultsState()
    state.take_session(spread_session(planes=2))
    version = state.version
    groups = state.groups()
    state.turn(725)
    assert (state.theta, state.version) == (5, version)
    state.next_threshold()
    state.next_view()
    assert state.version == version
    assert state.groups() is groups
    for change in (state.next_plane, state.next_grouping, lambda: state.take_session(spread_session(seed=4))):
        before = state.version
        change()
        assert state.version > before


def test_keys_go_round(spread_session: Callable[..., Session]) -> None:
    state = ResultsState()
    state.take_session(spread_session(planes=3))
    thresholds, ways, views, planes = [], [], [], []
    for _ in range(8):
        thresholds.append(state.threshold)
        ways.append(state.by)
        views.append(state.view)
        planes.append(state.plane)
        state.next_threshold()
        state.next_grouping()
        state.next_view()
        state.next_plane()
    assert set(thresholds[:4]) == {0.7, 0.5, 0.3, -0.2}
    assert thresholds[:4] == thresholds[4:]
    assert ways[:3] == [(), ("condition",), ("type",)]
    assert ways[3] == ()
    assert views[:4] == ["counts", "mean", "compass", "counts"]
    assert planes[:4] == [0, 1, 2, 0]


def test_a_growing_session_moves_nothing(spread_session: Callable[..., Session]) -> None:
    state = ResultsState()
    state.take_session(spread_session(finished=5))
    state.turn(40)
    state.next_grouping()
    threshold, by = state.threshold, state.by
    for finished in (10, 25, 50, None):
        state.take_session(spread_session(finished=finished))
        assert (state.theta, state.threshold, state.by) == (40, threshold, by)
        told = state.readout()
        assert told is not None
        assert told.total + told.baseline_total == (finished or 50)


def test_another_session_keeps_only_what_it_has(spread_session: Callable[..., Session]) -> None:
    state = ResultsState(threshold=0.3, plane=2)
    state.take_session(spread_session(planes=3))
    assert (state.threshold, state.plane) == (0.3, 2)
    state.take_session(spread_session(thresholds=(0.9, 0.25), name="other"))
    assert state.threshold in (0.9, 0.25)
    assert state.plane == 0
    state.take_session(None)
    assert state.readout() is None
    assert state.groups() == ()
    assert state.lit().size == 0


def test_a_session_without_a_run_or_a_plane_shows_nothing(spread_session: Callable[..., Session]) -> None:
    for session in (spread_session(finished=0), spread_session().changed(planes=())):
        state = ResultsState()
        state.take_session(session)
        assert state.record() is None
        assert state.readout() is None
        state.next_grouping()
        state.next_plane()
        state.next_threshold()
