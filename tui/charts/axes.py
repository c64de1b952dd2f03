"""The frame of a chart with two straight axes: lines, ticks and their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len

from srm_explorer.engine.figures.curves import CurveBand
from srm_explorer.engine.figures.numbers import Axis
from srm_explorer.tui.charts.canvas import COLUMNS, ROWS, Canvas, Pane, Stroke, Trace, trace
from srm_explorer.tui.charts.disc import Disc
from srm_explorer.tui.charts.palette import CHANCE, FRAME, PLAIN, GroupStyle


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
    places = [pane.cell(tick, pane.y_low)[0] for tick in ticks]
    for stride in range(1, len(ticks) + 1):
        chosen = list(zip(places, labels, strict=True))[::stride]
        spans: list[tuple[int, int, int, str]] = []
        for place, label in chosen:
            # The first and last label may be pushed inwards; their tick stays in place.
            start = min(max(place - cell_len(label) // 2, 0), canvas.width - cell_len(label))
            spans.append((place, start, start + cell_len(label), label))
        if all(one[2] < other[1] for one, other in pairwise(spans)):
            for place, start, _, label in spans:
                canvas.text(place, pane.row + pane.height, "┴", FRAME)
                canvas.text(start, row, label, PLAIN)
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
        canvas.text(start_of(axis.labels[index]), row, axis.labels[index], PLAIN)


BAR_STEP = 15.0
"""Degrees between the bars of a curve."""
DOTTED = (1, 1)
"""Dots of a bar, and of the gap after each: a curve's flank has none."""

Place = Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]


def polar_bands(disc: Disc, bands: Sequence[CurveBand], styles: dict[str, GroupStyle]) -> list[Stroke]:
    """Bars of the groups in a disc."""
    return _strokes(disc.pane, bands, styles, disc.place)


def polar_chance(disc: Disc, bands: Sequence[CurveBand]) -> list[Stroke]:
    """What chance draws in a disc: dots between the two ends, and the ends themselves, dotted."""
    strokes: list[Stroke] = []
    for band in (band for band in bands if band.chance):
        x, y = _dots(disc.pane)
        middle = (np.array([disc.pane.dots_wide, disc.pane.dots_high]) - 1) / 2
        across, up = x - middle[0], y - middle[1]
        radius = np.hypot(across, up) / disc.reach
        angle = np.degrees(np.arctan2(up, across)) % 360.0
        value = disc.low + radius * (disc.high - disc.low)
        inside = _within(band, angle, value) & (radius <= 1.0)
        strokes += [Stroke(_chosen(disc.pane, x[inside], y[inside]), CHANCE), *_ends(disc.pane, band, disc.place)]
    return strokes


def straight_bands(pane: Pane, bands: Sequence[CurveBand], styles: dict[str, GroupStyle]) -> list[Stroke]:
    """Bars of the groups over the angle."""
    return _strokes(pane, bands, styles, pane.dots)


def straight_chance(pane: Pane, bands: Sequence[CurveBand]) -> list[Stroke]:
    """What chance draws over straight axes."""
    strokes: list[Stroke] = []
    for band in (band for band in bands if band.chance):
        x, y = _dots(pane)
        at = pane.x_low + x / max(1, pane.dots_wide - 1) * (pane.x_high - pane.x_low)
        value = pane.y_low + y / max(1, pane.dots_high - 1) * (pane.y_high - pane.y_low)
        inside = _within(band, at, value)
        strokes += [Stroke(_chosen(pane, x[inside], y[inside]), CHANCE), *_ends(pane, band, pane.dots)]
    return strokes


def bar(pane: Pane, x: float, low: float, high: float) -> list[Trace]:
    """One bar over straight axes."""
    return _bar(pane, x, low, high, pane.dots)


def _strokes(pane: Pane, bands: Sequence[CurveBand], styles: dict[str, GroupStyle], place: Place) -> list[Stroke]:
    strokes: list[Stroke] = []
    for band in (band for band in bands if not band.chance):
        angles = np.arange(0.0, 360.0, BAR_STEP)
        ends = [np.interp(angles, band.x, end).tolist() for end in (band.low, band.high)]
        for angle, low, high in zip(angles.tolist(), *ends, strict=True):
            strokes += [Stroke(one, styles[band.label].ink) for one in _bar(pane, angle, low, high, place)]
    return strokes


def _bar(pane: Pane, x: float, low: float, high: float, place: Place) -> list[Trace]:
    """A dotted line, and both its ends whatever the dots leave out."""
    on, off = DOTTED
    return [
        trace(pane, [x, x], [low, high], on=on, off=off, place=place),
        *(trace(pane, [x], [end], place=place) for end in (low, high)),
    ]


def _ends(pane: Pane, band: CurveBand, place: Place) -> list[Stroke]:
    return [Stroke(trace(pane, band.x, ends, on=1, off=3, place=place), CHANCE) for ends in (band.low, band.high)]


def _within(band: CurveBand, x: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return (value >= np.interp(x, band.x, band.low)) & (value <= np.interp(x, band.x, band.high))


def _dots(pane: Pane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two dots of every cell, in a pattern that no curve makes: the upper left one, and the third on the right."""
    x, y = np.meshgrid(np.arange(pane.dots_wide), np.arange(pane.dots_high))
    down = pane.dots_high - 1 - y
    left, right = (x % COLUMNS == 0) & (down % ROWS == 0), (x % COLUMNS == 1) & (down % ROWS == 2)
    chosen = left | right
    return x[chosen].astype(np.float64), y[chosen].astype(np.float64)


def _chosen(pane: Pane, x: NDArray[np.float64], y: NDArray[np.float64]) -> Trace:
    dots = np.stack([x, y], axis=1).astype(np.int64)
    cells = np.stack([pane.col + dots[:, 0] // COLUMNS, pane.row + pane.height - 1 - dots[:, 1] // ROWS], axis=1)
    return Trace(dots=dots, cells=cells)
