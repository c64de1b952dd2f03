"""Paints a histogram, and the values that lie on its scale."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from srm_explorer.engine.figures import Axis, HistogramFigure, HistogramMark, count_of
from srm_explorer.tui.charts.axes import framed_pane, horizontal_ticks
from srm_explorer.tui.charts.canvas import Canvas, Pane, Stroke, trace
from srm_explorer.tui.charts.labels import fit, fit_title, one_line
from srm_explorer.tui.charts.palette import BOLD, FIXED, FRAME
from srm_explorer.tui.charts.picture import Picture

SMALLEST = (24, 9)
BARS, MARKS = FIXED["baseline"].style, FIXED["pooled"].style
# Part of the rows that may say where marks lie.
MARK_SHARE = 3


def paint_histogram(figure: HistogramFigure, width: int, height: int) -> Picture:
    """Paint how many values lie in each bin, on a logarithmic scale, with the marks as upright lines.

    Marks beyond the view stand in lines below it, as do quantiles, as far as there is room.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return one_line("too small for a histogram", width, height)
    canvas = Canvas(width, height)
    canvas.text(0, 0, fit_title(figure.title, width), BOLD)
    lines = _mark_lines(figure, width, height // MARK_SHARE)
    x = figure.axis(max(3, min(9, width // 10)))
    area = Pane(0, 2, width, height - 4 - len(lines))
    pane = framed_pane(canvas, area, (figure.low, figure.high), _log_axis(max(figure.counts, default=0)))
    if pane is None:
        return one_line("too small for a histogram", width, height)
    ticks = [(tick, label) for tick, label in zip(x.ticks, x.labels, strict=True) if _inside(figure, tick)]
    horizontal_ticks(canvas, pane, [t for t, _ in ticks], [label for _, label in ticks], pane.row + pane.height + 1)
    _paint_bars(canvas, pane, figure)
    _paint_marks(canvas, pane, figure.marks)
    what = f"{figure.value_label} of {count_of(figure.n, figure.noun)}, {figure.noun}s a bin (log scale)"
    canvas.text(pane.col, pane.row + pane.height + 2, fit(what, width - pane.col), FRAME)
    for offset, line in enumerate(lines):
        canvas.text(0, height - len(lines) + offset, line)
    return canvas.picture()


def _log_axis(most: int) -> Axis:
    """Counts as log10(1 + count), so that one position among thousands is seen."""
    counts = [0, *(10**power for power in range(max(1, math.ceil(math.log10(most + 1)))))]
    ticks = [(math.log10(1 + count), f"{count:,}") for count in counts if count <= max(most, 1)]
    high = max(math.log10(1 + most), ticks[-1][0])
    return Axis(0.0, high, tuple(tick for tick, _ in ticks), tuple(label for _, label in ticks))


def _paint_bars(canvas: Canvas, pane: Pane, figure: HistogramFigure) -> None:
    heights = np.log10(1 + np.array(figure.counts, np.float64))
    at = np.linspace(figure.low, figure.high, pane.dots_wide)
    half = (at[1] - at[0]) / 2 if len(at) > 1 else 0.0
    edges = np.array(figure.edges)
    xs: list[float] = []
    ys: list[float] = []
    for x in at.tolist():
        height = _tallest(heights, edges, x - half, x + half)
        if height > 0:
            # What is not a number parts one upright from the next.
            xs += [x, x, math.nan]
            ys += [0.0, height, math.nan]
    canvas.draw(pane, [Stroke(trace(pane, xs, ys), BARS)])


def _tallest(heights: NDArray[np.float64], edges: NDArray[np.float64], low: float, high: float) -> float:
    """The highest bin that a stretch of the axis touches; 0 beyond all bins."""
    if high < edges[0] or low > edges[-1]:
        return 0.0
    first = int(np.clip(np.searchsorted(edges, low, side="right") - 1, 0, len(heights) - 1))
    last = int(np.clip(np.searchsorted(edges, high, side="left") - 1, first, len(heights) - 1))
    return float(heights[first : last + 1].max())


def _paint_marks(canvas: Canvas, pane: Pane, marks: tuple[HistogramMark, ...]) -> None:
    end = 0
    for mark in marks:
        if not pane.x_low <= mark.value <= pane.x_high:
            continue
        col, _ = pane.cell(mark.value, pane.y_low)
        for row in range(pane.row, pane.row + pane.height):
            canvas.text(col, row, "│", MARKS)
        start = min(max(col - cell_len(mark.label) // 2, 0), canvas.width - cell_len(mark.label))
        if start >= end:
            canvas.text(start, pane.row - 1, mark.label, MARKS)
            end = start + cell_len(mark.label) + 1


def _mark_lines(figure: HistogramFigure, width: int, most: int) -> list[str]:
    """Where the marks lie, those that are out of sight first; then what a reader must know."""
    hidden = [mark for mark in figure.marks if not _inside(figure, mark.value)]
    shown = [mark for mark in figure.marks if _inside(figure, mark.value)]
    lines = [f"← {mark.label}: {mark.told}" for mark in hidden if mark.beyond < 0]
    lines += [f"→ {mark.label}: {mark.told}" for mark in hidden if mark.beyond > 0]
    lines += [f"│ {mark.label}: {mark.told}" for mark in shown]
    lines += figure.notes
    if len(lines) > most > 0:
        lines = [*lines[: most - 1], f"… and {len(lines) - most + 1} more lines in the table"]
    return [fit(line, width) for line in lines[:most]]


def _inside(figure: HistogramFigure, value: float) -> bool:
    return figure.low <= value <= figure.high
