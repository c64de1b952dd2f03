"""The frame of a chart with two straight axes, its ticks and their labels; bands, as outlines and dots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from srm_explorer.engine.figures import Axis, CurveBand
from srm_explorer.tui.charts.canvas import COLUMNS, ROWS, Canvas, Pane, Projection, Stroke, Trace, trace
from srm_explorer.tui.charts.disc import Disc
from srm_explorer.tui.charts.palette import CHANCE, FRAME, GroupStyle


def framed_pane(
    canvas: Canvas, area: Pane, x: tuple[float, float], left: Axis, right: Axis | None = None
) -> Pane | None:
    """Draw the frame inside an area and return the pane for the curves, its view on the left axis.

    Args:
        canvas: to draw on.
        area: its cells; the row below the frame holds the horizontal labels.
        x: the horizontal range.
        left: labelled outside the left edge.
        right: labelled outside the right edge.

    Returns:
        The pane between the lines; None where no room is left for it.
    """
    before = max(map(cell_len, left.labels), default=0)
    after = max(map(cell_len, right.labels), default=0) if right else 0
    width, height = area.width - before - after - 2, area.height - 2
    if width < 4 or height < 2:
        return None
    col, row = area.col + before + 1, area.row
    pane = Pane(col, row, width, height, *x, left.low, left.high)
    bottom = row + height
    canvas.text(col - 1, bottom, "└" + "─" * width + ("┘" if right else "─"), FRAME)
    for line in range(row, bottom):
        canvas.text(col - 1, line, "│", FRAME)
        if right:
            canvas.text(col + width, line, "│", FRAME)
    _vertical_ticks(canvas, pane, left, col - 1, "┤", lambda label: col - 1 - cell_len(label))
    if right:
        other = Pane(col, row, width, height, *x, right.low, right.high)
        _vertical_ticks(canvas, other, right, col + width, "├", lambda label: col + width + 1)
    return pane


def horizontal_ticks(canvas: Canvas, pane: Pane, ticks: Sequence[float], labels: Sequence[str], row: int) -> None:
    """Mark ticks on the frame's lower line and label as many as fit apart, each second, third, ... one if need be.

    Args:
        canvas: to draw on.
        pane: between the frame's lines.
        ticks: values within the view, ascending.
        labels: their texts.
        row: where the labels go.
    """
    columns = [pane.cell(tick, pane.y_low)[0] for tick in ticks]
    for stride in range(1, len(ticks) + 1):
        chosen = list(zip(columns, labels, strict=True))[::stride]
        spans: list[tuple[int, int, int, str]] = []
        for col, label in chosen:
            # The first and last label may be pushed inwards; their tick stays in place.
            start = min(max(col - cell_len(label) // 2, 0), canvas.width - cell_len(label))
            spans.append((col, start, start + cell_len(label), label))
        if all(before[2] < after[1] for before, after in pairwise(spans)):
            for col, start, _, label in spans:
                canvas.text(col, pane.row + pane.height, "┴", FRAME)
                canvas.text(start, row, label)
            return


def _vertical_ticks(
    canvas: Canvas, pane: Pane, axis: Axis, line: int, mark: str, start_of: Callable[[str], int]
) -> None:
    used: set[int] = set()
    # From the ends inwards: where rows are short, the range's ends matter most.
    order = sorted(range(len(axis.ticks)), key=lambda index: min(index, len(axis.ticks) - 1 - index))
    for index in order:
        _, row = pane.cell(pane.x_low, axis.ticks[index])
        if row in used:
            continue
        used.add(row)
        canvas.text(line, row, mark, FRAME)
        canvas.text(start_of(axis.labels[index]), row, axis.labels[index])


OUTLINE = (1, 2)
"""Dots of a band's outline, and of the gap after each: fainter than the curve inside it."""
DOTTED = (1, 1)


def bar(pane: Pane, x: float, low: float, high: float, project: Projection | None = None) -> list[Trace]:
    """A dotted line, and both its ends whatever the dots leave out."""
    return [
        trace(pane, [x, x], [low, high], dash=DOTTED, project=project),
        *(trace(pane, [x], [end], project=project) for end in (low, high)),
    ]


def band_outlines(
    pane: Pane, bands: Sequence[CurveBand], styles: dict[str, GroupStyle], project: Projection | None = None
) -> list[Stroke]:
    """Both ends of each band but chance's, in the fainter colour of its group."""
    return [
        Stroke(trace(pane, band.x, end, dash=OUTLINE, project=project), styles[band.label].band)
        for band in bands
        if not band.chance
        for end in (band.low, band.high)
    ]


def polar_chance(disc: Disc, bands: Sequence[CurveBand]) -> list[Stroke]:
    """What chance draws in a disc: dots between the two ends, and the ends themselves, dotted."""
    x, y = _two_dots_a_cell(disc.pane)
    across, up = x - (disc.pane.dots_wide - 1) / 2, y - (disc.pane.dots_high - 1) / 2
    radius = np.hypot(across, up) / disc.reach
    angle = np.degrees(np.arctan2(up, across)) % 360.0
    inside = radius <= 1.0
    value = disc.low + radius * (disc.high - disc.low)
    return _chance(disc.pane, bands, (x[inside], y[inside]), (angle[inside], value[inside]), disc.project)


def straight_chance(pane: Pane, bands: Sequence[CurveBand]) -> list[Stroke]:
    x, y = _two_dots_a_cell(pane)
    angle = pane.x_low + x / max(1, pane.dots_wide - 1) * (pane.x_high - pane.x_low)
    value = pane.y_low + y / max(1, pane.dots_high - 1) * (pane.y_high - pane.y_low)
    return _chance(pane, bands, (x, y), (angle, value), pane.project)


Columns = tuple[NDArray[np.float64], NDArray[np.float64]]


def _chance(
    pane: Pane, bands: Sequence[CurveBand], dots: Columns, points: Columns, project: Projection
) -> list[Stroke]:
    strokes: list[Stroke] = []
    for band in bands:
        if not band.chance:
            continue
        angle, value = points
        with np.errstate(invalid="ignore"):
            inside = value >= np.interp(angle, band.x, band.low)
            inside &= value <= np.interp(angle, band.x, band.high)
        strokes.append(Stroke(Trace(pane, np.stack(dots, axis=1)[inside].astype(np.int64)), CHANCE))
        for ends in (band.low, band.high):
            strokes.append(Stroke(trace(pane, band.x, ends, dash=(1, 3), project=project), CHANCE))
    return strokes


def _two_dots_a_cell(pane: Pane) -> Columns:
    """In a pattern that no curve makes: the upper left one, and the third on the right."""
    x, y = np.meshgrid(np.arange(pane.dots_wide), np.arange(pane.dots_high))
    down = pane.dots_high - 1 - y
    left, right = (x % COLUMNS == 0) & (down % ROWS == 0), (x % COLUMNS == 1) & (down % ROWS == 2)
    chosen = left | right
    return x[chosen].astype(np.float64), y[chosen].astype(np.float64)
