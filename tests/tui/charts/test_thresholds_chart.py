from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.engine.figures.curves import Curve, LegendEntry
from srm_explorer.engine.figures.numbers import round_axis
from srm_explorer.engine.figures.thresholds import ThresholdFigure
from srm_explorer.tui.charts.palette import styles_of
from srm_explorer.tui.charts.thresholds import flat_lines, paint_thresholds

ANGLES = np.arange(0.0, 361.0)
PEAK = 10 * np.exp(-(((ANGLES - 180) / 40) ** 2)).round(1)
ZERO = np.zeros(361)
LEGEND = (LegendEntry("baseline", "baseline", ("A .1",)), LegendEntry("clamped", "pooled", ("A .2",)))
WARNING = "clamps symmetric around 0: the phase of their pooled mean turns to ±90° by arithmetic"


def figure(counts: list[tuple[str, str, np.ndarray]], warnings: tuple[str, ...] = ()) -> ThresholdFigure:
    return ThresholdFigure(
        title="t",
        left_label="runs",
        right_label="mean cosine",
        counts=tuple(Curve(label, ANGLES, y, tag=tag) for label, tag, y in counts),
        means=tuple(Curve(e.label, ANGLES, np.cos(ANGLES / 57.3), tag="mean", dotted=True) for e in LEGEND),
        left=round_axis([0.0, 10.0]),
        right=round_axis([-1.0, 1.0]),
        legend=LEGEND,
        warnings=warnings,
    )


def painted(counts: list[tuple[str, str, np.ndarray]], width: int = 80, height: int = 24) -> str:
    return paint_thresholds(figure(counts), width, height).text()


def test_curves_that_are_zero_throughout_are_named_once_and_not_on_the_axis() -> None:
    text = painted(
        [("baseline", ".7", ZERO), ("baseline", ".5", ZERO), ("clamped", ".7", ZERO), ("clamped", ".5", PEAK)]
    )
    assert "0 throughout: ○ .7 .5 · ● .7" in text.split("\n")
    assert re.findall(r"[○●]\.\d", text) == ["●.5"]


def test_a_label_stands_where_its_curve_is_above_the_axis() -> None:
    lines = painted([("clamped", ".5", np.where(ANGLES > 350, PEAK.max(), 0.0)), ("clamped", ".7", PEAK)]).split("\n")
    (axis,) = (row for row, line in enumerate(lines) if line.lstrip().startswith("0┤"))
    placed = {tag: row for row, line in enumerate(lines) for tag in re.findall(r"●(\.\d)", line)}
    assert set(placed) == {".5", ".7"}
    assert all(row < axis for row in placed.values())


def test_nothing_is_said_of_zeros_where_there_are_none_or_no_run() -> None:
    assert "throughout" not in painted([("clamped", ".5", PEAK)])
    assert "throughout" not in painted([("clamped", ".5", np.full(361, np.nan))])


def test_curves_of_a_group_that_coincide_share_one_label() -> None:
    text = painted([("clamped", ".7", PEAK), ("clamped", ".5", PEAK.copy()), ("baseline", ".5", PEAK.copy())])
    assert text.count("●.7 .5") == 1
    assert text.count("○.5") == 1


def test_without_a_mean_there_is_no_second_axis() -> None:
    bare = ThresholdFigure(
        "t", "runs", "mean cosine", figure([("clamped", "", PEAK)]).counts, (), round_axis([0, 10.0]), None, LEGEND, ()
    )
    text = paint_thresholds(bare, 80, 24).text()
    assert "mean" not in text
    assert "├" not in text
    assert "●" in text


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_warning_stands_whole_below_the_chart(width: int) -> None:
    text = paint_thresholds(figure([("clamped", ".5", PEAK)], (WARNING, "another")), width, 23).text()
    assert f"⚠ {WARNING} (+ 1 more)" in " ".join(text.split())


@given(
    width=st.integers(0, 60),
    tags=st.lists(st.tuples(st.sampled_from(["baseline", "clamped"]), st.text("x.7", max_size=9)), max_size=12),
)
@settings(max_examples=60)
def test_the_line_of_zeros_fits_any_width(width: int, tags: list[tuple[str, str]]) -> None:
    curves = [Curve(label, ANGLES, ZERO, tag=tag) for label, tag in tags]
    for line in flat_lines(curves, styles_of(LEGEND), width, 1):
        assert sum(cell_len(text) for text, _ in line) <= width
