from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.figures.compass import compass_figure, compass_from_session
from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.engine.figures.difference import difference_from_session
from srm_explorer.engine.figures.groups import swept_groups
from srm_explorer.engine.session import Session
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates
from srm_explorer.tui.charts.canvas import COLUMNS, ROWS
from srm_explorer.tui.charts.disc import disc_of
from srm_explorer.tui.charts.picture import BITS, FIRST, is_braille
from srm_explorer.tui.charts.polar import paint_compass, point_cells
from srm_explorer.tui.charts.scenes import Subject, chord, cursor, polar_scene, ray
from srm_explorer.tui.charts.thresholds import paint_thresholds, threshold_pane
from srm_explorer.tui.results.state import ResultsState


@given(theta=st.integers(0, 359), threshold=st.floats(-0.999, 0.999))
def test_every_dot_of_the_chord_has_the_threshold_as_its_cosine(theta: int, threshold: float) -> None:
    figure = compass_figure([], {}, unit_coordinates(np.zeros((0, 2)), np.zeros(0)), "a", "b")
    disc = disc_of(figure, 100, 40)
    assert disc is not None
    dots = [
        (COLUMNS * (col - disc.pane.col) + x, ROWS * (disc.pane.row + disc.pane.height - 1 - row) + ROWS - 1 - y)
        for col, row, x, y in chord(disc, theta, threshold)
    ]
    assert dots
    middle = (np.array([disc.pane.dots_wide, disc.pane.dots_high]) - 1) / 2
    xy = (np.array(dots) - middle) / disc.reach
    cosines = xy @ [np.cos(np.deg2rad(theta)), np.sin(np.deg2rad(theta))]
    assert np.abs(cosines - threshold).max() <= 1 / disc.reach
    assert np.hypot(*xy.T).max() <= 1 + 1 / disc.reach
    # From rim to rim.
    assert np.hypot(*np.ptp(xy, axis=0)) == pytest.approx(2 * np.sqrt(1 - threshold**2), abs=3 / disc.reach)


@pytest.mark.parametrize("by", [(), ("condition",), ("type",)])
def test_the_cells_that_stand_out_are_those_of_the_lit_runs(
    spread_session: Callable[..., Session], by: tuple[str, ...]
) -> None:
    session = spread_session(broken=(4,))
    state = ResultsState(view="compass", by=by, threshold=-0.2)
    state.take_session(session)
    record = session.planes[0]
    subject = Subject(session, record, state.by, True, state.groups)
    scene = polar_scene(subject, "compass", state.threshold, 100, 40)
    figure = compass_from_session(session, record, state.groups(), state.by)
    disc = disc_of(figure, 100, 40)
    assert disc is not None
    points = point_cells(figure, disc)
    assert sorted(points.runs.tolist()) == [run for run in range(len(session.runs)) if run != 4]
    for threshold in (0.7, 0.3, -0.2):
        for theta in range(0, 360, 23):
            state.theta, state.threshold = theta, threshold
            lit = state.lit()
            wanted = {tuple(points.cells[points.cell[at]]) for at, run in enumerate(points.runs) if lit[run]}
            over = scene.over(theta, threshold)
            assert {place for place, (_, style) in over.items() if style.reverse} == wanted
    unlit = scene.over(0, 1.0)
    assert not any(style.reverse for _, style in unlit.values())
    said = "".join(character for (_, row), (character, _) in sorted(unlit.items()) if row == 1)
    assert said.startswith("no run above 1; the largest cosine is .")


@pytest.mark.parametrize("largest", [1.0, 0.3])
def test_every_run_is_a_dot_of_its_own_as_far_as_dots_differ(
    spread_session: Callable[..., Session], largest: float
) -> None:
    session = spread_session(prompts=70, values=(-20, -5, 5, 20))
    plane = session.planes[0]
    # A few of them thrice on one spot.
    xy = np.stack([plane.x, plane.y], axis=1) / np.array(plane.norm)[:, None] * largest
    xy[1:3], xy[11:13] = xy[0], xy[10]
    record = plane.of(plane.site, plane.a, plane.b, xy, np.ones(len(xy)))
    session = session.changed(planes=(record,))
    figure = compass_from_session(session, record, swept_groups(session, record))
    assert figure.high == pytest.approx(largest)
    disc = disc_of(figure, 120, 50)
    assert disc is not None
    points = point_cells(figure, disc)
    assert len(points.runs) == len(xy) == 350
    middle = (np.array([disc.pane.dots_wide, disc.pane.dots_high]) - 1) / 2
    placed = np.rint(middle + disc.reach * xy / figure.high).astype(int)
    rows = paint_compass(figure, 120, 50).rows
    shown: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for x, y in placed.tolist():
        cell = disc.pane.col + x // COLUMNS, disc.pane.row + disc.pane.height - 1 - y // ROWS
        shown.setdefault(cell, set()).add((x % COLUMNS, ROWS - 1 - y % ROWS))
    distinct = {tuple(dot) for dot in placed.tolist()}
    assert sum(map(len, shown.values())) == len(distinct) > 300
    covered = 0
    for (col, row), dots in shown.items():
        character, _ = rows[row][col]
        if not is_braille(character):
            # The head of an arrow, its marker, or the marker of a group without one.
            covered += 1
            continue
        assert ord(character) - FIRST == sum(BITS[x][y] for x, y in dots)
    assert covered <= 6
    # Brighter where more runs lie on a dot.
    looks = {points.at(cell): points.most[cell] for cell in range(len(points.cells))}
    colours = {most: {rows[row][col][1] for (col, row), n in looks.items() if n == most} for most in (1, 3)}
    assert colours[3]
    assert not colours[1] & colours[3]


def test_the_chord_of_a_drawn_in_compass_is_where_the_threshold_is() -> None:
    points = unit_coordinates(np.array([[0.1, 0.0], [0.0, 0.12]]), np.ones(2))
    sweep = spotlight_sweep(points, (0.5,))
    figure = compass_figure([SweptGroup("clamped", "pooled", sweep, 2, 2)], {"clamped": [0, 1]}, points, "a", "b")
    assert figure.high == pytest.approx(0.15)
    disc = disc_of(figure, 100, 40)
    assert disc is not None
    assert chord(disc, 0, 0.2) == []
    columns = {COLUMNS * (col - disc.pane.col) + x for col, _, x, _ in chord(disc, 0, 0.05)}
    assert columns == {round((disc.pane.dots_wide - 1) / 2 + disc.reach * 0.05 / 0.15)}


def test_groups_are_told_apart_by_marker_alone_and_the_baseline_is_always_the_same(
    spread_session: Callable[..., Session],
) -> None:
    session = spread_session(prompts=3)
    record = session.planes[0]
    for by in ((), ("condition",)):
        groups = swept_groups(session, record, by)
        figure = compass_from_session(session, record, groups, by)
        disc = disc_of(figure, 160, 60)
        assert disc is not None
        points = point_cells(figure, disc)
        assert points.styles[0].marker == "○"
        assert points.styles[0].style.color.number == 32
        assert len({style.marker for style in points.styles}) == len(groups)
        text = paint_compass(figure, 160, 60).text()
        for style in points.styles:
            assert text.count(style.marker) >= 1 + 1


def test_an_arrow_ends_at_the_mean() -> None:
    xy = np.array([[0.6, 0.6], [0.8, 0.4]])
    points = unit_coordinates(xy, np.ones(2))
    sweep = spotlight_sweep(points, (0.5,))
    figure = compass_figure([SweptGroup("clamped", "pooled", sweep, 2, 2)], {"clamped": [0, 1]}, points, "a", "b")
    disc = disc_of(figure, 100, 40)
    assert disc is not None
    col, row = disc.cell(float(np.degrees(np.arctan2(0.5, 0.7))), float(np.hypot(0.7, 0.5)))
    lines = paint_compass(figure, 100, 40).text().split("\n")
    assert lines[row][col : col + 2] == "↗●"


def test_a_cursor_and_a_ray_point_where_they_should(spread_session: Callable[..., Session]) -> None:
    session = spread_session()
    groups = swept_groups(session, session.planes[0])
    figure = compass_from_session(session, session.planes[0], groups)
    disc = disc_of(figure, 80, 24)
    assert disc is not None
    up = ray(disc, 90)
    assert len({col for col, *_ in up}) == 1
    assert min(row for _, row, *_ in up) == disc.pane.row
    assert disc.angle_at(*up[-1][:2]) in range(80, 101)
    difference = difference_from_session(session, session.planes[0], groups)
    pane = threshold_pane(difference, 80, 24)
    assert pane is not None
    columns = [{col for col, *_ in cursor(pane, theta)} for theta in (0, 90, 359)]
    assert columns[0] == {pane.col}
    assert abs(columns[1].pop() - (pane.col + pane.width / 4)) <= 1
    assert columns[2] == {pane.col + pane.width - 1}


def test_the_difference_is_the_share_minus_the_baseline_s(spread_session: Callable[..., Session]) -> None:
    session = spread_session()
    for by in ((), ("condition",), ("type",)):
        groups = {group.label: group for group in swept_groups(session, session.planes[0], by)}
        figure = difference_from_session(session, session.planes[0], list(groups.values()), by, 0.3)
        for curve in figure.counts:
            level = float(curve.tag.replace("−", "-") or 0.3)
            row = session.spec.spotlight.thresholds.index(level)
            suffix = f" · {curve.label.partition(' · ')[2]}" if by == ("type",) else ""
            base = groups[f"baseline{suffix}"].sweep.fraction[row]
            np.testing.assert_allclose(curve.y[:-1], groups[curve.label].sweep.fraction[row] - base)
        assert not any(entry.label.startswith("baseline") for entry in figure.legend)
        text = paint_thresholds(figure, 120, 40).text()
        assert any(ord(character) > FIRST for character in text)
