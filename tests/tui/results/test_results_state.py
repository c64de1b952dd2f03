from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from srm_explorer.engine.analyses.bands import plane_bands
from srm_explorer.engine.figures import points_of, polar_from_session, swept_groups, three_digits
from srm_explorer.engine.figures.session_overlays import overlays_from_session
from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.tui.charts.polar import paint_polar
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


def drawn_in(session: Session, largest: float) -> Session:
    """The same with every run's shadow so much shorter that no cosine is larger than this."""
    planes = [
        PlaneRecord.of(plane.site, plane.a, plane.b, np.stack([plane.x, plane.y], axis=1) * largest, plane.norm)
        for plane in session.planes
    ]
    return session.changed(planes=tuple(planes))


def test_a_session_opens_on_what_shows_something(spread_session: Callable[..., Session]) -> None:
    session = spread_session(thresholds=(0.7, 0.5, 0.3))
    for largest, threshold, view in ((1.0, 0.7, "counts"), (0.62, 0.5, "counts"), (0.2, 0.3, "compass")):
        state = ResultsState()
        state.take_session(drawn_in(session, largest))
        assert (state.threshold, state.view) == (threshold, view)
        shares = [group.sweep.fraction[state.groups()[0].sweep.thresholds.index(threshold)] for group in state.groups()]
        assert (max(share.max() for share in shares) >= 0.1) == (view == "counts")


def test_what_the_user_chose_stays_until_another_session_shows_nothing_of_it(
    spread_session: Callable[..., Session],
) -> None:
    session = spread_session(thresholds=(0.7, 0.3))
    state = ResultsState()
    state.take_session(drawn_in(session, 0.5))
    assert state.threshold == 0.3
    state.next_threshold()
    state.next_view()
    # The same session, with more runs: a choice is a choice, also one of which nothing is lit.
    state.take_session(drawn_in(session, 0.5))
    assert (state.threshold, state.view) == (0.7, "mean")
    # So it is after a restart.
    again = ResultsState(threshold=state.threshold, view=state.view)
    again.take_session(drawn_in(session, 0.5))
    assert (again.threshold, again.view) == (0.7, "mean")
    for largest, threshold in ((1.0, 0.7), (0.5, 0.3)):
        state.take_session(drawn_in(session, largest).changed(name=f"other {largest}"))
        assert (state.threshold, state.view) == (threshold, "mean")


def test_the_baselines_runs_alone_decide_nothing(spread_session: Callable[..., Session]) -> None:
    session = spread_session(thresholds=(0.7, 0.3))
    kinds = [session.conditions[run.condition].kind for run in session.runs]
    for plane in session.planes:
        xy = np.stack([plane.x, plane.y], axis=1)
        xy[[kind == "baseline" for kind in kinds]] *= 0.05
        session = session.changed(planes=(PlaneRecord.of(plane.site, plane.a, plane.b, xy, plane.norm),))
    first = [at for at, kind in enumerate(kinds) if kind == "baseline"]
    plane = session.planes[0]
    begun = session.changed(
        state="running",
        runs=tuple(session.runs[at] for at in first),
        planes=(
            PlaneRecord.of(
                plane.site, plane.a, plane.b, np.stack([plane.x, plane.y], axis=1)[first], np.array(plane.norm)[first]
            ),
        ),
    )
    state = ResultsState()
    state.take_session(begun)
    assert (state.threshold, state.view) == (0.3, "compass")
    state.take_session(session)
    assert (state.threshold, state.view) == (0.7, "counts")


def test_where_no_run_is_lit_the_chart_says_so_and_draws_no_band(spread_session: Callable[..., Session]) -> None:
    session = drawn_in(spread_session(thresholds=(0.7, 0.3)), 0.49)
    groups = swept_groups(session, session.planes[0])
    largest = max(np.hypot(*points_of(session.planes[0]).xy.T))
    assert max(group.sweep.largest for group in groups) == pytest.approx(largest)
    said = f"no run above .7; the largest cosine is {three_digits(float(largest))}"
    bands = plane_bands(session, 0, (), None, resamples=50)
    overlays = overlays_from_session(session, session.planes[0], groups, (), bands)
    figure = polar_from_session(session, session.planes[0], groups, "counts", 0.7, overlays)
    assert (figure.dark, figure.bands) == (said, ())
    text = paint_polar(figure, 100, 30).text()
    assert all(part in text for part in said.split("; "))
    assert not polar_from_session(session, session.planes[0], groups, "counts", 0.3, overlays).dark
