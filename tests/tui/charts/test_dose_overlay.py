from __future__ import annotations

import dataclasses
import math

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.engine.figures.curves import LegendEntry, SweptGroup
from srm_explorer.engine.figures.dose import DoseFigure, DosePanel, DoseSeries, DoseStep, dose_figure
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates
from srm_explorer.tui.charts.dose import paint_dose

numbers = st.floats(allow_nan=True, allow_infinity=True)


def a_figure(values: list[float], coordinates: list[tuple[float, float]], has_baseline: bool) -> DoseFigure:
    # A vector is at least as long as its shadow in the plane.
    points = unit_coordinates(coordinates, [math.hypot(x, y) for x, y in coordinates])
    sweep = spotlight_sweep(points, (0.5,))
    steps = [
        DoseStep(value, SweptGroup(f"v{at}", "value", sweep, 1, len(coordinates)), abs(value))
        for at, value in enumerate(values)
    ]
    baseline = DoseStep(0.0, SweptGroup("baseline", "baseline", sweep, 1, len(coordinates)), 1.0)
    return dose_figure(steps, 0.5, baseline if has_baseline else None)


def together(one: DoseFigure, other: DoseFigure, note: str = "") -> DoseFigure:
    """Two sessions' panels: those of the first hold both, those of the second stand beside, over their own values."""

    def named(panel: DosePanel, name: str) -> DosePanel:
        curve = dataclasses.replace(panel.curve, label=name)
        return dataclasses.replace(panel, curve=curve, others=(), bands=(), baseline_label=name, note=note)

    first = [named(panel, "a") for panel in one.panels]
    second = [named(panel, "b") for panel in other.panels]
    both = [
        dataclasses.replace(panel, others=(DoseSeries(its.curve, its.baseline, "b"),))
        for panel, its in zip(first, second, strict=False)
    ]
    own = [dataclasses.replace(panel, values=other.values, value_label="scale") for panel in second]
    legend = tuple(LegendEntry(name, "pooled", (), session=at) for at, name in enumerate("ab"))
    return dataclasses.replace(one, panels=(*both, *own), legend=legend)


figures = st.builds(
    a_figure,
    st.lists(numbers, max_size=5),
    st.lists(st.tuples(numbers, numbers), max_size=4).map(lambda rows: rows or [(math.nan, 0.0)]),
    st.booleans(),
)


@given(figures, figures, st.integers(1, 130), st.integers(1, 50), st.text(max_size=40))
def test_any_two_sessions_are_painted_on_one_chart(
    one: DoseFigure, other: DoseFigure, width: int, height: int, note: str
) -> None:
    painted = paint_dose(together(one, other, note), width, height).text()
    lines = painted.split("\n")
    assert len(lines) == height
    assert all(cell_len(line) <= width for line in lines)


def test_every_session_is_drawn_with_its_own_mark_on_every_panel() -> None:
    one = a_figure([1.0, 2.0], [(0.8, 0.1)], True)
    other = a_figure([1.25, 1.75], [(0.2, 0.9)], True)
    painted = paint_dose(together(one, other), 160, 48).text()
    panels, _, legend = painted.rpartition("● a")
    assert "▲ b" in legend
    shown = min(len(one.panels), len(other.panels))
    assert panels.count("▲") == 2 * shown + 2 * len(other.panels)
    assert panels.count("by scale") == len(other.panels)
