"""A painted histogram keeps to its size, and its bars and marks stand where the figure has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.engine.figures.histogram import histogram_figure
from srm_explorer.tui.charts.histogram import paint_histogram

MARKS = [(-20.0, "−20"), (0.0, "0"), (1.5, "+1.5"), (20.0, "+20")]


@given(st.integers(1, 140), st.integers(1, 40), st.integers(0, 2**32), st.booleans())
@settings(max_examples=40)
def test_no_row_or_column_too_many(width: int, height: int, seed: int, marked: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_t(2, size=rng.integers(1, 400)) * 10 ** rng.uniform(-8, 8)
    painted = paint_histogram(histogram_figure(values, MARKS if marked else []), width, height).text()
    lines = painted.split("\n")
    assert len(lines) == height
    assert max(map(cell_len, lines)) <= width


def test_the_tallest_bar_stands_where_most_values_are_and_a_gap_stays_empty() -> None:
    values = np.concatenate([np.zeros(900), np.full(9, 2.0)])
    figure = histogram_figure(values)
    lines = paint_histogram(figure, 60, 20).text().split("\n")
    bars = [line.partition("┤")[2] or line.partition("│")[2] for line in lines[2:16]]
    heights = [sum(bar[column : column + 1].strip() != "" for bar in bars) for column in range(57)]
    filled = [column for column, height in enumerate(heights) if height]
    assert filled[0] == 0
    assert heights[0] == max(heights)
    assert heights[filled[-1]] < heights[0]
    assert not any(heights[5:50])


def test_marks_in_view_are_lines_and_those_beyond_it_are_told() -> None:
    values = np.linspace(0, 1, 200)
    lines = paint_histogram(histogram_figure(values, MARKS), 80, 24).text().split("\n")
    top = lines[1]
    assert "+1.5" in top
    assert "20" not in top
    column = top.index("+1.5") + 2
    assert all(line[column] == "│" for line in lines[2:8])
    told = "\n".join(lines)
    assert "← −20: below all 200 measured" in told
    assert "→ +20: above all 200 measured, 20.0 × the largest (1.00)" in told


@pytest.mark.parametrize("size", [(10, 30), (60, 4)])
def test_too_small_a_pane_says_so(size: tuple[int, int]) -> None:
    assert "too small"[: size[0]] in paint_histogram(histogram_figure(np.ones(3)), *size).text()
