"""Paints the polar chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len

from engine.figures.polar import PolarFigure, Spoke
from tui.charts.canvas import Canvas, Stroke
from tui.charts.labels import CurveLabel, fit, label_curves, legend_lines, warning_lines, write_block
from tui.charts.message import one_line
from tui.charts.palette import BOLD, FRAME, GRID, PLAIN, Ink, styles_of
from tui.charts.trace import Pane, Trace, trace

SMALLEST = (24, 9)
GAP = 2
# Title, radius label, and the two labels above and below the circle.
ROWS_AROUND = 4
NAME_WIDTH = 14
# Directions a ring's labels may stand along, the ones far from the spokes first.
LABEL_ANGLES = (45.0, 135.0, 315.0, 225.0, 67.5, 22.5, 112.5, 157.5)


@dataclass(frozen=True)
class Layout:
    """Where the circle and the legend go."""

    circle: Pane
    legend_col: int
    legend_row: int
    legend_width: int
    legend_rows: int


def paint_polar(figure: PolarFigure, width: int, height: int, *, colour: bool = True) -> str:
    """Paint rings, the plane's two directions, one curve per group, and the legend beside or below.

    A circle is as wide as it is high, for cells twice as high as wide.

    Args:
        figure: what to show.
        width: columns, none is exceeded.
        height: rows of the returned text.
        colour: False for plain text: groups are then told apart by marker.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return one_line("too small for a polar chart", width, height)
    canvas = Canvas(width, height)
    layout = _layout(figure, width, height)
    canvas.text(0, 0, fit(figure.title, width), BOLD)
    canvas.text(0, 1, fit(figure.radius_label, width), FRAME)

    disc = _Disc(layout.circle, figure.low, figure.high)
    _draw_grid(canvas, disc, figure)
    _name_spokes(canvas, layout.circle, figure.spokes)

    styles = styles_of(figure.legend)
    traces: list[Trace] = []
    for curve in figure.curves:
        on, off = (5, 3) if styles[curve.label].dashed else (1, 0)
        traces.append(trace(layout.circle, curve.x, curve.y, on=on, off=off, place=disc.place))
    canvas.strokes(
        layout.circle,
        [Stroke(line, styles[curve.label].ink) for line, curve in zip(traces, figure.curves, strict=True)],
    )
    covered = {(col, row) for line in traces for col, row in line.cells.tolist()}
    taken = _label_rings(canvas, disc, figure, covered)
    label_curves(
        canvas,
        layout.circle,
        [
            CurveLabel(line, styles[curve.label].marker, styles[curve.label].ink, times=4)
            for line, curve in zip(traces, figure.curves, strict=True)
        ],
        taken,
    )
    if not covered:
        _say_empty(canvas, layout.circle)

    # A warning cut short warns of nothing; of the legend, the names alone would do.
    most = max(layout.legend_rows // 2, layout.legend_rows - len(figure.legend))
    warnings = warning_lines(figure.warnings, layout.legend_width, most)
    lines = legend_lines(figure.legend, styles, layout.legend_width, layout.legend_rows - len(warnings))
    write_block(canvas, layout.legend_col, layout.legend_row, lines, warnings)
    return canvas.string(colour=colour)


@dataclass(frozen=True)
class _Disc:
    """Polar coordinates on the dots of a square pane."""

    pane: Pane
    low: float
    high: float

    def place(self, angle_deg: ArrayLike, value: ArrayLike) -> NDArray[np.float64]:
        reach = (min(self.pane.dots_wide, self.pane.dots_high) - 1) / 2
        middle = (np.array([self.pane.dots_wide, self.pane.dots_high]) - 1) / 2
        with np.errstate(over="ignore", invalid="ignore"):
            radius = (np.asarray(value, np.float64) - self.low) / (self.high - self.low) * reach
            radians = np.deg2rad(np.asarray(angle_deg, np.float64))
            return middle + np.stack([radius * np.cos(radians), radius * np.sin(radians)], axis=1)

    def cell(self, angle_deg: float, value: float) -> tuple[int, int]:
        x, y = np.rint(self.place([angle_deg], [value])[0]).astype(int).tolist()
        return self.pane.col + x // 2, self.pane.row + self.pane.height - 1 - y // 4


def _layout(figure: PolarFigure, width: int, height: int) -> Layout:
    side = max(_name_width(figure.spokes[0]), _name_width(figure.spokes[2])) + 1
    styles = styles_of(figure.legend)
    # Beside: every part of an entry on a line of its own.
    parts = [f"  {text}" for entry in figure.legend for text in (entry.label, *entry.details)]
    beside = min(max(map(cell_len, parts), default=0), width // 2)
    rows = min(height - ROWS_AROUND, (width - 2 * side - beside - GAP) // 2)

    most = max(2, (height - ROWS_AROUND) // 3)
    warnings = len(warning_lines(figure.warnings, width, most))
    below = min(most, len(legend_lines(figure.legend, styles, width, most)) + warnings)
    rows_below = min(height - ROWS_AROUND - below, (width - 2 * side) // 2)
    if figure.legend and rows >= rows_below and beside >= 12:
        space = width - beside - GAP - 2 * side - 2 * rows
        circle = Pane(side + max(0, space // 2), 3, 2 * rows, rows)
        col = circle.col + circle.width + side + GAP
        return Layout(circle, col, 3, width - col, height - 3)
    rows = max(1, rows_below)
    circle = Pane(max(0, (width - 2 * rows) // 2), 3, 2 * rows, rows)
    # One blank row between the circle and the legend where there is room.
    row = min(circle.row + rows + 2, height - below)
    return Layout(circle, 0, row, width, below)


def _name_width(spoke: Spoke) -> int:
    return max(cell_len(spoke.angle_label), min(cell_len(spoke.name), NAME_WIDTH))


def _draw_grid(canvas: Canvas, disc: _Disc, figure: PolarFigure) -> None:
    turn = np.linspace(0, 360, 721)
    ends = np.array([figure.low, figure.high])
    thin: list[Stroke] = []
    bold: list[Stroke] = []
    for spoke in figure.spokes:
        thin.append(Stroke(trace(disc.pane, np.full(2, spoke.angle_deg), ends, on=1, off=3, place=disc.place), GRID))
    for ring in figure.rings:
        outer = ring is figure.rings[-1]
        on, off = (1, 0) if ring.bold else (1, 1) if outer else (1, 3)
        line = trace(disc.pane, turn, np.full(turn.shape, ring.value), on=on, off=off, place=disc.place)
        (bold if ring.bold else thin).append(Stroke(line, Ink(FRAME.colour, bold=True) if ring.bold else GRID))
    canvas.strokes(disc.pane, [*thin, *bold])


def _name_spokes(canvas: Canvas, circle: Pane, spokes: Sequence[Spoke]) -> None:
    right, top, left, bottom = spokes
    middle_row = circle.row + (circle.height - 1) // 2
    middle_col = circle.col + circle.width // 2
    for spoke, row in ((top, circle.row - 1), (bottom, circle.row + circle.height)):
        text = fit(f"{spoke.angle_label} {spoke.name}", canvas.width)
        canvas.text(max(0, middle_col - cell_len(text) // 2), row, text, PLAIN)
    for offset, text in enumerate((right.angle_label, fit(right.name, NAME_WIDTH))):
        canvas.text(circle.col + circle.width + 1, middle_row + offset, text, PLAIN)
    for offset, text in enumerate((left.angle_label, fit(left.name, NAME_WIDTH))):
        canvas.text(max(0, circle.col - 1 - cell_len(text)), middle_row + offset, text, PLAIN)


def _label_rings(
    canvas: Canvas, disc: _Disc, figure: PolarFigure, covered: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Put the rings' values along the direction where they hide the least of the curves; return their cells."""
    best: list[tuple[int, int, str]] = []
    fewest: tuple[int, int] | None = None
    for angle in LABEL_ANGLES:
        placed: list[tuple[int, int, str]] = []
        cells: set[tuple[int, int]] = set()
        for ring in reversed(figure.rings):
            col, row = disc.cell(angle, ring.value)
            start = col - len(ring.label) // 2
            wanted = {(start + offset, row) for offset in range(-1, len(ring.label) + 1)}
            if start >= 0 and start + len(ring.label) <= canvas.width and not wanted & cells:
                placed.append((start, row, ring.label))
                cells |= wanted
        cost = (len(cells & covered), -len(placed))
        if fewest is None or cost < fewest:
            fewest, best = cost, placed
    taken: set[tuple[int, int]] = set()
    for start, row, label in best:
        span = {(start + offset, row) for offset in range(len(label))}
        if not span & covered:
            canvas.text(start, row, label, FRAME)
            taken |= span
    return taken


def _say_empty(canvas: Canvas, circle: Pane) -> None:
    text = fit("no finite run to draw", canvas.width)
    canvas.text(max(0, circle.col + (circle.width - len(text)) // 2), circle.row + circle.height // 2, text, BOLD)
