"""The disc that polar charts share: where it stands, its rings and spokes, and the legend beside or below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len

from srm_explorer.engine.figures import CompassFigure, PolarFigure, Ring, Spoke
from srm_explorer.tui.charts.canvas import COLUMNS, ROWS, SOLID, Canvas, Pane, Stroke, trace
from srm_explorer.tui.charts.labels import LegendTable, fit, legend_lines, warning_lines
from srm_explorer.tui.charts.palette import BOLD, FRAME, GRID, GroupStyle, styles_of

SMALLEST = (24, 9)
GAP = 2
# Title, radius label, and the two labels above and below the circle.
ROWS_AROUND = 4
NAME_WIDTH = 14
# Part of the largest circle that must be left by a legend with all that it should tell, and by a wider one.
WORTH, LARGE = 0.7, 0.95
# Columns in which a warning can be read.
WARNED = 30
# Lines of a warning: the rest of it stands where all warnings are listed.
MOST_WARNED = 4
# Directions a ring's labels may stand along, the ones far from the spokes first.
LABEL_ANGLES = (45.0, 135.0, 315.0, 225.0, 67.5, 22.5, 112.5, 157.5)


DiscFigure = PolarFigure | CompassFigure


@dataclass(frozen=True)
class Layout:
    """Where the circle and the legend go; `side` columns are free on both sides of the circle."""

    circle: Pane
    side: int
    legend_col: int
    legend_row: int
    legend_width: int
    legend_rows: int


@dataclass(frozen=True)
class Disc:
    """Polar coordinates on the dots of a square pane; `low` lies at the centre, `high` at the rim."""

    pane: Pane
    low: float
    high: float

    @property
    def reach(self) -> float:
        """Dots from the centre to the rim."""
        return (min(self.pane.dots_wide, self.pane.dots_high) - 1) / 2

    def project(self, angle_deg: ArrayLike, value: ArrayLike) -> NDArray[np.float64]:
        """Dots [point, 2] of points given by angle in degrees and value."""
        with np.errstate(over="ignore", invalid="ignore"):
            share = (np.asarray(value, np.float64) - self.low) / (self.high - self.low)
            radians = np.deg2rad(np.asarray(angle_deg, np.float64))
            return self.project_xy(share * np.cos(radians), share * np.sin(radians))

    def project_inside(self, angle_deg: ArrayLike, value: ArrayLike) -> NDArray[np.float64]:
        """As `project`, values beyond the centre at the centre: they would go on on the other side."""
        return self.project(angle_deg, np.maximum(value, self.low))

    def project_xy(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Dots [point, 2] of points given by coordinates in which the rim is the unit circle."""
        middle = (np.array([self.pane.dots_wide, self.pane.dots_high]) - 1) / 2
        with np.errstate(over="ignore", invalid="ignore"):
            xy = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=-1)
            return middle + self.reach * xy.reshape(-1, 2)

    def project_plane(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Dots [point, 2] of points given by coordinates in which the rim is `high` away from the centre."""
        return self.project_xy(np.asarray(x, np.float64) / self.high, np.asarray(y, np.float64) / self.high)

    def cell(self, angle_deg: float, value: float) -> tuple[int, int]:
        """Column and row on the canvas of a point given by angle in degrees and value."""
        x, y = np.rint(self.project([angle_deg], [value])[0]).astype(int).tolist()
        return self.pane.col + x // 2, self.pane.row + self.pane.height - 1 - y // 4

    def angle_at(self, col: float, row: float, beyond: bool = False) -> int | None:
        """The angle in whole degrees of a cell of the disc, or of a place in it; None at its centre.

        Args:
            col, row: the cell, a whole number in its middle.
            beyond: also outside the disc, where the angle is else None too.
        """
        x = COLUMNS * (col - self.pane.col + 0.5 - self.pane.width / 2)
        y = ROWS * (self.pane.row + self.pane.height / 2 - row - 0.5)
        distance = math.hypot(x, y)
        if distance <= 1 or (distance > self.reach + ROWS and not beyond):
            return None
        return round(math.degrees(math.atan2(y, x))) % 360


def disc_of(figure: DiscFigure, width: int, height: int) -> Disc | None:
    """The disc as it stands in a chart of a size; None where the chart is too small to have one."""
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return None
    return Disc(layout_of(figure, width, height).circle, figure.low, figure.high)


def layout_of(figure: DiscFigure, width: int, height: int) -> Layout:
    """Choose the largest circle: with the legend beside it, or below it."""
    side = max(_name_width(figure.spokes[0]), _name_width(figure.spokes[2])) + 1
    styles = styles_of(figure.legend)
    beside = [
        (wide, min(height - ROWS_AROUND, (width - 2 * side - wide - GAP) // 2), worth)
        for wide, worth in _widths_beside(figure, styles, width * 11 // 20)
    ]
    largest = max(0, *(rows for _, rows, _ in beside))
    # The widest that is worth what it takes from the circle.
    legend_width, rows, _ = next((form for form in beside if form[1] >= form[2] * largest), beside[-1])
    on_one_line = max(cell_len(f"{spoke.angle_label} {spoke.name}") for spoke in (figure.spokes[0], figure.spokes[2]))
    if width - legend_width - GAP - 2 * rows >= 2 * (on_one_line + 1):
        side = on_one_line + 1

    most = max(2, (height - ROWS_AROUND) // 3)
    warnings = len(warning_lines(figure.warnings, width, min(most, MOST_WARNED)))
    below = min(most, len(legend_lines(figure.legend, styles, width, most)) + warnings)
    rows_below = min(height - ROWS_AROUND - below, (width - 2 * side) // 2)
    if figure.legend and rows >= rows_below and legend_width >= 12:
        space = width - legend_width - GAP - 2 * side - 2 * rows
        circle = Pane(side + max(0, space // 2), 3, 2 * rows, rows)
        col = circle.col + circle.width + side + GAP
        return Layout(circle, side, col, 3, width - col, height - 3)
    rows = max(1, rows_below)
    circle = Pane(max(0, (width - 2 * rows) // 2), 3, 2 * rows, rows)
    # One blank row between the circle and the legend where there is room.
    row = min(circle.row + rows + 2, height - below)
    return Layout(circle, circle.col, 0, row, width, below)


def _widths_beside(figure: DiscFigure, styles: dict[str, GroupStyle], most: int) -> list[tuple[int, float]]:
    """Widths that the legend may have beside the circle, the widest first, and the part of it that each must leave."""
    if (table := LegendTable.of(figure.legend, styles)) is not None:
        # Warnings stand below it, and need more than a narrow table.
        widths = [wide for wide in table.widths() if wide <= most] or [most]
        return [(max(wide, WARNED), WORTH if wide <= table.essential else LARGE) for wide in widths]
    # Every part of an entry on a line of its own.
    parts = [f"  {text}" for entry in figure.legend for text in (entry.label, *entry.details)]
    return [(min(max(map(cell_len, parts), default=0), most), WORTH)]


def draw_grid(canvas: Canvas, disc: Disc, figure: DiscFigure, beneath: Sequence[Stroke] = ()) -> None:
    turn = np.linspace(0, 360, 721)
    ends = np.array([figure.low, figure.high])
    thin: list[Stroke] = []
    bold: list[Stroke] = []
    for spoke in figure.spokes:
        thin.append(
            Stroke(trace(disc.pane, np.full(2, spoke.angle_deg), ends, dash=(1, 3), project=disc.project), GRID)
        )
    for ring in figure.rings:
        outer = ring is figure.rings[-1]
        dash = SOLID if ring.bold else (1, 1) if outer else (1, 3)
        line = trace(disc.pane, turn, np.full(turn.shape, ring.value), dash=dash, project=disc.project)
        (bold if ring.bold else thin).append(Stroke(line, FRAME + BOLD if ring.bold else GRID))
    canvas.draw(disc.pane, [*beneath, *thin, *bold])


def name_spokes(canvas: Canvas, circle: Pane, spokes: Sequence[Spoke], side: int) -> None:
    right, top, left, bottom = spokes
    middle_row = circle.row + (circle.height - 1) // 2
    middle_col = circle.col + circle.width // 2
    for spoke, row in ((top, circle.row - 1), (bottom, circle.row + circle.height)):
        text = fit(f"{spoke.angle_label} {spoke.name}", canvas.width)
        # The angle over its axis, the name after it.
        start = middle_col - (cell_len(spoke.angle_label) + 1) // 2
        canvas.text(max(0, min(start, canvas.width - cell_len(text))), row, text)
    # On one line with its axis where there is room, else the name below the angle.
    for spoke, is_left in ((right, False), (left, True)):
        name = fit(spoke.name, NAME_WIDTH)
        whole = f"{name} {spoke.angle_label}" if is_left else f"{spoke.angle_label} {name}"
        lines = [whole] if cell_len(whole) < side else [spoke.angle_label, name]
        for offset, text in enumerate(lines):
            col = max(0, circle.col - 1 - cell_len(text)) if is_left else circle.col + circle.width + 1
            canvas.text(col, middle_row + offset, text)


def label_rings(
    canvas: Canvas, disc: Disc, rings: Sequence[Ring], covered: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Put the rings' values along the direction where they hide the least of the curves; return their cells."""
    best: list[tuple[int, int, str]] = []
    fewest: tuple[int, int] | None = None
    for angle in LABEL_ANGLES:
        placed: list[tuple[int, int, str]] = []
        cells: set[tuple[int, int]] = set()
        for ring in reversed(rings):
            col, row = disc.cell(angle, ring.value)
            start = col - len(ring.label) // 2
            label_cells = {(start + offset, row) for offset in range(-1, len(ring.label) + 1)}
            if start >= 0 and start + len(ring.label) <= canvas.width and not label_cells & cells:
                placed.append((start, row, ring.label))
                cells |= label_cells
        cost = (len(cells & covered), -len(placed))
        if fewest is None or cost < fewest:
            fewest, best = cost, placed
    used: set[tuple[int, int]] = set()
    for start, row, label in best:
        span = {(start + offset, row) for offset in range(len(label))}
        if not span & covered:
            canvas.text(start, row, label, FRAME)
            used |= span
    return used


def _name_width(spoke: Spoke) -> int:
    return max(cell_len(spoke.angle_label), min(cell_len(spoke.name), NAME_WIDTH))
