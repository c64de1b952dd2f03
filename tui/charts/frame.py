"""The frame of a chart with two straight axes: lines, ticks and their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from rich.cells import cell_len

from engine.figures.numbers import Axis
from tui.charts.canvas import Canvas
from tui.charts.palette import FRAME, PLAIN
from tui.charts.trace import Pane


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
