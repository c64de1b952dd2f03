"""Paints the threshold chart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len

from srm_explorer.engine.figures import Curve, ThresholdFigure
from srm_explorer.tui.charts.axes import band_outlines, framed_pane, horizontal_ticks, straight_chance
from srm_explorer.tui.charts.canvas import SOLID, Canvas, Pane, Stroke, Trace, trace
from srm_explorer.tui.charts.labels import (
    CurveLabel,
    Part,
    fit,
    fit_title,
    label_curves,
    legend_lines,
    one_line,
    warning_lines,
    write_block,
)
from srm_explorer.tui.charts.palette import BOLD, DASH, FRAME, GRID, GroupStyle, styles_of
from srm_explorer.tui.charts.picture import PLAIN, Picture

SMALLEST = (24, 9)
ANGLES = (0.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0)
# Title and axis captions above the frame.
ROWS_ABOVE = 2
# Rows from which more than the legend may stand below the frame.
ROOMY = 16


def paint_thresholds(figure: ThresholdFigure, width: int, height: int, *, cursor_row: bool = False) -> Picture:
    """Paint counts on the left axis and, dotted, the mean on the right one; thresholds are named on their curves.

    Curves that are 0 at every angle are named in one line below, not on the axis where they all lie.

    `cursor_row` leaves a row free above the frame for the numbers at a cursor.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return one_line("too small for a threshold chart", width, height)
    canvas = Canvas(width, height)
    canvas.text(0, 0, fit_title(figure.title, width), BOLD)
    right_caption = fit(f"{figure.right_label} (dotted)", width // 2) if figure.right else ""
    canvas.text(0, 1, fit(figure.dark or figure.left_label, width - cell_len(right_caption) - 1), FRAME)
    canvas.text(width - cell_len(right_caption), 1, right_caption, FRAME)

    styles = styles_of(figure.legend)
    lines, warnings = _below(figure, width, height)
    below = len(lines) + len(warnings)
    pane = framed_pane(canvas, _area(width, height, below, cursor_row), (0.0, 360.0), figure.left, figure.right)
    if pane is None:
        return one_line("too small for a threshold chart", width, height)
    horizontal_ticks(canvas, pane, ANGLES, [f"{angle:.0f}°" for angle in ANGLES], pane.row + pane.height + 1)

    right = figure.right or figure.left
    other = Pane(pane.col, pane.row, pane.width, pane.height, 0.0, 360.0, right.low, right.high)
    traces: list[tuple[Curve, Trace]] = []
    for curve in (*figure.means, *figure.counts):
        dash = (1, 3) if curve.dotted else DASH if curve.dashed else SOLID
        traces.append((curve, trace(other if curve.dotted else pane, curve.x, curve.y, dash=dash)))
    strokes = [Stroke(line, styles[curve.label].style) for curve, line in traces]
    if figure.left.low < 0 < figure.left.high:
        strokes.insert(0, Stroke(trace(pane, [0.0, 360.0], [0.0, 0.0], dash=(1, 3)), GRID))
    # By themselves first: a cell that a curve goes through then shows the curve alone.
    canvas.draw(pane, straight_chance(pane, figure.bands))
    canvas.draw(pane, band_outlines(pane, figure.bands, styles))
    canvas.draw(pane, strokes)
    label_curves(canvas, pane, _labels(traces, styles, pane, other))
    if not any(len(line.dots) for _, line in traces):
        canvas.text_middle(pane, fit("no finite run to draw", pane.width), BOLD)
    write_block(canvas, 0, height - below, lines, warnings)
    return canvas.picture()


def threshold_pane(figure: ThresholdFigure, width: int, height: int, *, cursor_row: bool = False) -> Pane | None:
    """The pane of the counts as it stands in a chart of a size; None where the chart is too small to have one."""
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return None
    area = _area(width, height, sum(map(len, _below(figure, width, height))), cursor_row)
    return framed_pane(Canvas(width, height), area, (0.0, 360.0), figure.left, figure.right)


def flat_lines(curves: Sequence[Curve], styles: dict[str, GroupStyle], width: int, most: int) -> list[list[Part]]:
    """Name the curves that are 0 throughout, a marker for each group and its tags: "0 throughout: ○ .7 .5 · ● .7"."""
    tags: dict[str, list[str]] = {}
    for curve in curves:
        if _is_flat(curve) and not curve.dashed:
            tags.setdefault(curve.label, []).append(curve.tag)
    if not tags or most < 1:
        return []
    line: list[Part] = []
    room = width
    for label, tagged in tags.items():
        named = " ".join([styles[label].marker, *filter(None, tagged)])
        for text, style in ((" · " if line else "0 throughout: ", PLAIN), (named, styles[label].style)):
            line.append((fit(text, room), style))
            room -= cell_len(line[-1][0])
    return [line]


def _below(figure: ThresholdFigure, width: int, height: int) -> tuple[list[list[Part]], list[str]]:
    styles = styles_of(figure.legend)
    lines = legend_lines(figure.legend, styles, width, max(1, (height - ROWS_ABOVE) // 4))
    lines += flat_lines(figure.counts, styles, width, 1 if height >= ROOMY else 0)
    return lines, warning_lines(figure.warnings, width, 2 if height >= ROOMY else 1)


def _area(width: int, height: int, below: int, cursor_row: bool) -> Pane:
    above = ROWS_ABOVE + (1 if cursor_row else 0)
    return Pane(0, above, width, height - above - below)


def _labels(
    traces: Sequence[tuple[Curve, Trace]], styles: dict[str, GroupStyle], pane: Pane, other: Pane
) -> list[CurveLabel]:
    """One label for each line that can be seen: curves of one group that coincide share it."""
    shared: dict[tuple[str, bool, bytes], list[Curve]] = {}
    for curve, line in traces:
        if not _is_flat(curve) and not curve.dashed:
            shared.setdefault((curve.label, curve.dotted, line.dots.tobytes()), []).append(curve)
    labels: list[CurveLabel] = []
    for curves in shared.values():
        curve = curves[0]
        # On the axis, where all counts lie now and then, a label would tell nothing.
        y = curve.y if curve.dotted else np.where(curve.y == 0, np.nan, curve.y)
        style = styles[curve.label]
        text = style.marker + " ".join(curve.tag for curve in curves)
        labels.append(CurveLabel(trace(other if curve.dotted else pane, curve.x, y), text, style.style))
    return labels


def _is_flat(curve: Curve) -> bool:
    return not curve.dotted and curve.y.size > 0 and not curve.y.any()
