from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.engine.figures.dose import DoseFigure, DoseStep, dose_figure, overlaid
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates
from srm_explorer.tui.charts.dose import paint_dose

numbers = st.floats(allow_nan=True, allow_infinity=True)


def a_figure(values: list[float], coordinates: list[tuple[float, float]], has_baseline: bool) -> DoseFigure:
    points = unit_coordinates(coordinates, [1.0] * len(coordinates))
    sweep = spotlight_sweep(points, (0.5,))
    steps = [
        DoseStep(value, SweptGroup(f"v{at}", "value", sweep, 1, len(coordinates)), abs(value))
        for at, value in enumerate(values)
    ]
    baseline = DoseStep(0.0, SweptGroup("baseline", "baseline", sweep, 1, len(coordinates)), 1.0)
    return dose_figure(steps, 0.5, baseline if has_baseline else None)


figures = st.builds(
    a_figure,
    st.lists(numbers, max_size=5),
    st.lists(st.tuples(numbers, numbers), max_size=4).map(lambda rows: rows or [(math.nan, 0.0)]),
    st.booleans(),
)


@given(figures, figures, st.integers(1, 130), st.integers(1, 50))
def test_any_two_dose_charts_are_painted_over_one_another(
    one: DoseFigure, other: DoseFigure, width: int, height: int
) -> None:
    painted = paint_dose(overlaid(one, other, ("a", "b")), width, height).text()
    lines = painted.split("\n")
    assert len(lines) == height
    assert all(cell_len(line) <= width for line in lines)


def test_both_series_and_both_baselines_are_drawn_with_marks_of_their_own() -> None:
    one = a_figure([1.0, 2.0], [(0.8, 0.1)], True)
    other = a_figure([3.0, 4.0], [(0.2, 0.9)], True)
    painted = paint_dose(overlaid(one, other, ("a", "b")), 120, 40).text()
    panels, _, legend = painted.rpartition("○ a · baseline")
    assert "● a · clamped" in legend
    assert panels.count("●") == panels.count("▲") == 2 * 4
    assert "△ b · baseline" in legend
    assert "▲ b · clamped" in legend
