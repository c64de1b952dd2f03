"""Paints the polar chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style

from srm_explorer.engine.figures import CompassFigure, PolarFigure
from srm_explorer.tui.charts.axes import band_outlines, polar_chance
from srm_explorer.tui.charts.canvas import COLUMNS, ROWS, SOLID, Canvas, Pane, Stroke, trace
from srm_explorer.tui.charts.disc import (
    MOST_WARNED,
    SMALLEST,
    Disc,
    DiscFigure,
    Layout,
    draw_grid,
    label_rings,
    layout_of,
    name_spokes,
)
from srm_explorer.tui.charts.labels import (
    CurveLabel,
    fit,
    fit_title,
    label_curves,
    legend_lines,
    one_line,
    warning_lines,
    write_block,
)
from srm_explorer.tui.charts.palette import BOLD, DASH, FRAME, GroupStyle, styles_of
from srm_explorer.tui.charts.picture import BITS, FIRST, Picture
from srm_explorer.tui.text import wrapped


def paint_polar(figure: PolarFigure, width: int, height: int) -> Picture:
    """Paint rings, the plane's two directions, one curve per group, and the legend beside or below.

    A circle is as wide as it is high, for cells twice as high as wide; `disc.disc_of` tells where it stands.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return one_line("too small for a polar chart", width, height)
    canvas = Canvas(width, height)
    layout = layout_of(figure, width, height)

    disc = Disc(layout.circle, figure.low, figure.high)
    draw_grid(canvas, disc, figure, polar_chance(disc, figure.bands))
    name_spokes(canvas, layout.circle, figure.spokes, layout.side)

    styles = styles_of(figure.legend)
    traces = [
        trace(disc.pane, curve.x, curve.y, dash=DASH if curve.dashed else SOLID, project=disc.project)
        for curve in figure.curves
    ]
    # By themselves first: a cell that a curve goes through then shows the curve alone.
    canvas.draw(layout.circle, band_outlines(disc.pane, figure.bands, styles, disc.project_inside))
    canvas.draw(
        layout.circle,
        [Stroke(line, styles[curve.label].style) for line, curve in zip(traces, figure.curves, strict=True)],
    )
    covered = {(col, row) for line in traces for col, row in line.cells.tolist()}
    used = label_rings(canvas, disc, figure.rings, covered)
    label_curves(
        canvas,
        layout.circle,
        [
            CurveLabel(line, styles[curve.label].marker, styles[curve.label].style, times=4)
            for line, curve in zip(traces, figure.curves, strict=True)
            if not curve.dashed
        ],
        used,
    )
    return _finish(canvas, layout, figure, is_empty=not covered)


def _finish(canvas: Canvas, layout: Layout, figure: DiscFigure, *, is_empty: bool) -> Picture:
    canvas.text(0, 0, fit_title(figure.title, canvas.width), BOLD)
    canvas.text(0, 1, fit(figure.radius_label, canvas.width), FRAME)
    said = "no finite run to draw" if is_empty else figure.dark if isinstance(figure, PolarFigure) else ""
    if said:
        _say(canvas, layout.circle, said)
    # A warning cut short warns of nothing; of the legend, the names alone would do.
    most = min(MOST_WARNED, max(layout.legend_rows // 2, layout.legend_rows - len(figure.legend)))
    warnings = warning_lines(figure.warnings, layout.legend_width, most)
    styles = styles_of(figure.legend)
    lines = legend_lines(figure.legend, styles, layout.legend_width, layout.legend_rows - len(warnings))
    write_block(canvas, layout.legend_col, layout.legend_row, lines, warnings)
    return canvas.picture()


INNER = 0.75
"""Part of a disc's radius that words in place of curves may take; the spotlight is then seen beyond it alone."""


def _say(canvas: Canvas, circle: Pane, text: str) -> None:
    """Write over the middle of a disc, a clause a line where it is wider than that."""
    room = max(2, int(INNER * circle.width))
    clauses = [text] if cell_len(text) <= room else text.split("; ")
    lines = [line for clause in clauses for line in wrapped(clause, room)]
    top = circle.row + (circle.height - len(lines)) // 2
    for row, line in enumerate(lines, top):
        canvas.text(circle.col + (circle.width - cell_len(line)) // 2, row, line, BOLD)


# An arrow of fewer dots has no direction that could be seen.
SHORTEST = 3.0
# Runs on one dot from which it is bright, and from which it is bold.
FEW, MANY = 2, 4
HEADS = "→↗↑↖←↙↓↘"

Head = tuple[int, int, str, Style]
"""Column, row, text and style of an arrow's head."""


@dataclass(frozen=True, eq=False)
class PointCells:
    """The dots of a compass that runs lie on, and their cells.

    Attributes:
        runs: [point] index of each point's run.
        cell: [point] its cell, as an index of `cells`.
        bit: [point] its dot, as a bit of a braille character.
        group: [point] index of its group in the figure.
        cells: [cell, 2] column and row on the canvas.
        styles: of the groups.
    """

    runs: NDArray[np.int64]
    cell: NDArray[np.int64]
    bit: NDArray[np.int64]
    group: NDArray[np.int64]
    cells: NDArray[np.int64]
    styles: tuple[GroupStyle, ...]

    @cached_property
    def characters(self) -> list[str]:
        """[cell] the braille character of all dots on which a run lies."""
        bits = np.full(len(self.cells), FIRST, np.int64)
        np.bitwise_or.at(bits, self.cell, self.bit)
        return [chr(code) for code in bits.tolist()]

    @cached_property
    def most(self) -> list[int]:
        """[cell] how many runs lie on one of its dots at most."""
        dots, counts = np.unique(self.cell * 256 + self.bit, return_counts=True)
        most = np.zeros(len(self.cells), np.int64)
        np.maximum.at(most, dots // 256, counts)
        return most.tolist()

    def strongest(self, chosen: NDArray[np.bool_]) -> list[tuple[int, GroupStyle]]:
        """Each cell that holds a chosen point, and the style of the group with most of them there.

        `chosen` tells [point] which ones count.
        """
        if not chosen.any():
            return []
        width = len(self.styles)
        tally = np.bincount(self.cell[chosen] * width + self.group[chosen], minlength=len(self.cells) * width)
        table = tally.reshape(-1, width)
        some = np.flatnonzero(table.any(axis=1))
        best = table[some].argmax(axis=1)
        return [(cell, self.styles[group]) for cell, group in zip(some.tolist(), best.tolist(), strict=True)]

    def at(self, cell: int) -> tuple[int, int]:
        """Column and row of a cell."""
        col, row = self.cells[cell].tolist()
        return col, row


def shade(style: GroupStyle, runs: int) -> Style:
    """How a dot looks on which so many runs lie: brighter where there are more."""
    return style.band if runs < FEW else style.style if runs < MANY else style.style + BOLD


def paint_compass(figure: CompassFigure, width: int, height: int) -> Picture:
    """Paint rings, the plane's two directions, a dot for every run, arrows to the groups' means, and the legend.

    Where several runs share a dot it is brighter; a cell has the colour of the group with most runs in it.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return one_line("too small for a compass", width, height)
    canvas = Canvas(width, height)
    layout = layout_of(figure, width, height)
    disc = Disc(layout.circle, figure.low, figure.high)
    draw_grid(canvas, disc, figure)
    name_spokes(canvas, layout.circle, figure.spokes, layout.side)

    styles = styles_of(figure.legend)
    points = point_cells(figure, disc)
    heads = _draw_arrows(canvas, disc, figure, styles)
    covered: set[tuple[int, int]] = set()
    for cell, style in points.strongest(np.ones(len(points.runs), np.bool_)):
        col, row = points.at(cell)
        canvas.text(col, row, points.characters[cell], shade(style, points.most[cell]))
        covered.add((col, row))
    for col, row, text, head_style in (*heads, *_markers(points, heads)):
        canvas.text(col, row, text, head_style)
        covered |= {(col + offset, row) for offset in range(len(text))}
    label_rings(canvas, disc, figure.rings, covered)
    return _finish(canvas, layout, figure, is_empty=not len(points.runs))


def _markers(points: PointCells, heads: Sequence[Head]) -> list[Head]:
    """A marker for each group of which no arrow carries one, on its fullest cell: colours may be missing."""
    used = {(col + offset, row) for col, row, text, _ in heads for offset in range(len(text))}
    carried = "".join(text for _, _, text, _ in heads)
    markers: list[Head] = []
    for index, style in enumerate(points.styles):
        if style.marker in carried:
            continue
        tally = np.bincount(points.cell[points.group == index], minlength=len(points.cells))
        for cell in np.argsort(-tally, kind="stable").tolist():
            col, row = points.at(cell)
            if tally[cell] and (col, row) not in used:
                used.add((col, row))
                markers.append((col, row, style.marker, style.style + BOLD))
                break
    return markers


def point_cells(figure: CompassFigure, disc: Disc) -> PointCells:
    """Find the dot of every run; points outside the disc's pane have none."""
    styles = styles_of(figure.legend)
    xy = np.concatenate([np.zeros((0, 2)), *(group.xy for group in figure.groups)])
    runs = np.concatenate([np.zeros(0, np.int64), *(group.runs for group in figure.groups)])
    groups = np.repeat(np.arange(len(figure.groups)), [len(group.runs) for group in figure.groups])
    limits = np.array([disc.pane.dots_wide, disc.pane.dots_high])
    dots = np.rint(disc.project_plane(xy[:, 0], xy[:, 1]))
    inside = np.isfinite(dots).all(axis=1) & (dots >= 0).all(axis=1) & (dots < limits).all(axis=1)
    dots = dots[inside].astype(np.int64)
    flat = (disc.pane.height - 1 - dots[:, 1] // ROWS) * disc.pane.width + dots[:, 0] // COLUMNS
    cells, cell = np.unique(flat, return_inverse=True)
    return PointCells(
        runs=runs[inside],
        cell=cell,
        bit=np.array(BITS)[dots[:, 0] % COLUMNS, ROWS - 1 - dots[:, 1] % ROWS],
        group=groups[inside],
        cells=np.stack([disc.pane.col + cells % disc.pane.width, disc.pane.row + cells // disc.pane.width], axis=1),
        styles=tuple(styles[group.label] for group in figure.groups),
    )


def _draw_arrows(canvas: Canvas, disc: Disc, figure: CompassFigure, styles: dict[str, GroupStyle]) -> list[Head]:
    strokes = [
        Stroke(trace(disc.pane, region.x, region.y, project=disc.project_plane), styles[region.label].style)
        for region in figure.regions
    ]
    heads: list[Head] = []
    used: set[tuple[int, int]] = set()
    for arrow in figure.arrows:
        ends = np.array([arrow.tail, arrow.tip])
        length = math.hypot(*(ends[1] - ends[0]).tolist())
        too_far = math.hypot(*arrow.tip) > figure.high or math.hypot(*arrow.tail) > figure.high
        if not math.isfinite(length) or too_far or length / figure.high * disc.reach < SHORTEST:
            continue
        group = styles[arrow.label]
        style = group.style if arrow.dashed else group.style + BOLD
        angle = math.degrees(math.atan2(ends[1, 1] - ends[0, 1], ends[1, 0] - ends[0, 0]))
        dash = DASH if arrow.dashed else SOLID
        line = trace(disc.pane, ends[:, 0], ends[:, 1], dash=dash, project=disc.project_plane)
        strokes.append(Stroke(line, style))
        col, row = trace(disc.pane, ends[1:, 0], ends[1:, 1], project=disc.project_plane).cells[0].tolist()
        head = HEADS[round(angle / 45) % 8]
        text, start = (f"{head}{group.marker}", col) if arrow.tip[0] >= 0 else (f"{group.marker}{head}", col - 1)
        span = {(start, row), (start + 1, row)}
        if span & used:
            text, start, span = head, col, {(col, row)}
        used |= span
        heads.append((start, row, text, style))
    canvas.draw(disc.pane, strokes)
    return heads
