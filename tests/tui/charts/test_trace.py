from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.tui.charts.canvas import Pane, trace

ANY = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1.0, 1e300, -1e300, 1e5])


@given(
    points=st.lists(st.tuples(ANY, ANY), max_size=12),
    width=st.integers(1, 60),
    height=st.integers(1, 30),
    low=st.floats(-1e308, 1e308),
    span=st.floats(0, 1e308),
)
@settings(max_examples=200, deadline=None)
def test_dots_lie_inside_the_pane_whatever_the_series(
    points: list[tuple[float, float]], width: int, height: int, low: float, span: float
) -> None:
    pane = Pane(3, 2, width, height, low, low + span / 2, low, low + span / 2)
    table = np.array(points).reshape(-1, 2)
    line = trace(pane, table[:, 0], table[:, 1])
    assert (line.dots >= 0).all()
    assert (line.dots < [2 * width, 4 * height]).all()
    assert (line.cells >= [3, 2]).all()
    assert (line.cells < [3 + width, 2 + height]).all()


@given(
    ends=st.tuples(*[st.floats(-0.5, 1.5)] * 4),
    width=st.integers(2, 40),
    height=st.integers(2, 20),
)
@settings(max_examples=100, deadline=None)
def test_a_line_has_no_gap_and_stays_within_a_dot_of_its_course(
    ends: tuple[float, float, float, float], width: int, height: int
) -> None:
    pane = Pane(0, 0, width, height)
    x, y = np.array(ends[:2]), np.array(ends[2:])
    dots = trace(pane, x, y).dots
    assert (np.abs(np.diff(dots, axis=0)).max(axis=1, initial=0) <= 1).all()
    start, end = pane.project(x, y)
    along = end - start
    length = np.hypot(*along)
    if length > 1e-9:
        offsets = np.abs(np.cross(np.pad(along, (0, 1)), np.pad(dots - start, ((0, 0), (0, 1))))[..., 2]) / length
        assert (offsets <= 0.75).all()


def test_a_gap_in_the_data_is_a_gap_in_the_line() -> None:
    pane = Pane(0, 0, 20, 5)
    x = np.linspace(0, 1, 9)
    y = np.full(9, 0.5)
    y[4] = np.nan
    columns = set(trace(pane, x, y).dots[:, 0].tolist())
    assert {0, 39} <= columns
    assert not columns & set(range(16, 24))


def test_a_single_point_between_gaps_is_one_dot() -> None:
    y = np.array([np.nan, 0.5, np.nan])
    assert len(trace(Pane(0, 0, 10, 5), np.array([0, 0.5, 1]), y).dots) == 1


def test_ends_of_the_view_fall_on_the_first_and_last_dot() -> None:
    pane = Pane(0, 0, 10, 5, -3, 7, 2, 4)
    np.testing.assert_array_equal(trace(pane, [-3.0], [2.0]).dots, [[0, 0]])
    np.testing.assert_array_equal(trace(pane, [7.0], [4.0]).dots, [[19, 19]])
    assert pane.cell(-3, 4) == (0, 0)
    assert pane.cell(7, 2) == (9, 4)
