"""No series at any size ends the process; plotext would abort it for one NaN in a connected line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[3]
SIZES = [(10, 4), (24, 9), (40, 12), (80, 24), (300, 100)]
BATTERY = """
import sys
import warnings
import numpy as np
from hypothesis import example, given, settings, strategies as st
from srm_explorer.engine.stats.spotlight import unit_coordinates, spotlight_sweep
from srm_explorer.engine.figures.compass import Arrow, CompassFigure, CompassGroup, compass_figure
from srm_explorer.engine.figures.curves import Curve, SweptGroup
from srm_explorer.engine.figures.difference import difference_figure
from srm_explorer.engine.figures.dose import DoseStep, dose_figure
from srm_explorer.engine.figures.polar import polar_counts, polar_mean, spokes_of
from srm_explorer.engine.figures.thresholds import threshold_figure
from srm_explorer.tui.charts.polar import paint_compass, point_cells
from srm_explorer.tui.charts.disc import disc_of
from srm_explorer.tui.charts.dose import paint_dose
from srm_explorer.tui.charts.polar import paint_polar
from srm_explorer.tui.charts.scenes import chord, cursor, ray
from srm_explorer.tui.charts.thresholds import paint_thresholds, threshold_pane

WIDTH, HEIGHT = map(int, sys.argv[1:])
warnings.simplefilter("error")
strange = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 5e-324, 1e-310, 1e5, 1e300, -1e300, 1.7e308, 0.5, -0.5])
rows = st.one_of(
    st.just([]),
    st.lists(st.tuples(strange, strange, strange), max_size=12),
    st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.just(2.0)), min_size=1, max_size=12),
    st.builds(lambda row, n: [row] * n, st.tuples(strange, strange, strange), st.integers(1, 9)),
)

def group(label, role, told):
    table = np.array(told, dtype=np.float64).reshape(-1, 3)
    points = unit_coordinates(table[:, :2], table[:, 2])
    return SweptGroup(label, role, spotlight_sweep(points, (0.7, 0.0, -0.5)), len(table), len(table)), points, table

def check(picture):
    assert picture.ansi().count("\\n") == HEIGHT - 1

nan, inf, huge = np.nan, np.inf, 1e300
@settings(max_examples=6 if WIDTH < 200 else 1, derandomize=True, deadline=None, database=None)
@example(base=[(nan, 0.5, 1.0), (0.5, inf, 1.0), (0.5, 0.5, -inf)], swept=[(huge, -huge, 1.0)] * 3, theta=0)
@example(base=[], swept=[(0.5, 0.5, 1.0)], theta=45)
@example(base=[(0.5, 0.5, 1.0)] * 4, swept=[(0.1, nan, 1.0), (0.2, 0.1, 1.0), (huge, 0.0, 5e-324)], theta=180)
@given(base=rows, swept=rows, theta=st.integers(0, 359))
def survives(base, swept, theta):
    one, _, _ = group("baseline", "baseline", base)
    other, points, table = group("clamped", "pooled", swept)
    groups = [one, other]
    for figure in (polar_counts(groups, "a", "b", 0.0), polar_mean(groups, "a", "b")):
        check(paint_polar(figure, WIDTH, HEIGHT))
    for figure in (threshold_figure(groups), difference_figure([(other, one)], (0.7, -0.5))):
        check(paint_thresholds(figure, WIDTH, HEIGHT, cursor_row=True))
        pane = threshold_pane(figure, WIDTH, HEIGHT, cursor_row=True)
        if pane is not None:
            cursor(pane, theta)
    steps = [DoseStep(value, group(f"{value}", "value", swept)[0], value) for value in (np.nan, np.inf, 1e300, -20.0)]
    steps = [step for step in steps if np.isfinite(step.value)] or steps
    check(paint_dose(dose_figure(steps, 0.0, DoseStep(0.0, one, np.nan)), WIDTH, HEIGHT))
    compass = compass_figure([other], {"clamped": np.arange(len(table))}, points, "a", "b")
    mean = tuple(table[0, :2]) if len(table) else (nan, nan)
    raw = CompassGroup("clamped", "pooled", np.arange(len(table)), table[:, :2])
    arrows = (Arrow("clamped", mean), Arrow("clamped", (0.1, 0.2), mean, dashed=True))
    outline = (Curve("clamped", table[:, 0], table[:, 1]),)
    wild = CompassFigure("t", "r", (raw,), compass.rings, spokes_of("a", "b"), compass.legend, (), arrows, outline)
    for figure in (compass, wild):
        check(paint_compass(figure, WIDTH, HEIGHT))
        disc = disc_of(figure, WIDTH, HEIGHT)
        if disc is not None:
            cells = point_cells(figure, disc)
            cells.strongest(np.ones(len(cells.runs), bool))
            for threshold in (-1.0, 0.0, 0.3, 1.0):
                chord(disc, theta, threshold), ray(disc, theta, threshold)

survives()
print("survived")
"""


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_no_series_ends_the_process(width: int, height: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BATTERY, str(width), str(height)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-3000:]}"
    assert done.stdout.strip() == "survived"
