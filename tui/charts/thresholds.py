"""Paints the threshold chart."""

from __future__ import annotations

from rich.cells import cell_len

from engine.figures.curves import Curve
from engine.figures.thresholds import ThresholdFigure
from tui.charts.canvas import Canvas, Stroke
from tui.charts.frame import framed_pane, horizontal_ticks
from tui.charts.labels import CurveLabel, fit, label_curves, legend_lines, warning_lines, write_block
from tui.charts.message import one_line
from tui.charts.palette import BOLD, FRAME, styles_of
from tui.charts.trace import Pane, Trace, trace

SMALLEST = (24, 9)
ANGLES = (0.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0)
# Title and axis captions above the frame.
ROWS_ABOVE = 2


def paint_thresholds(figure: ThresholdFigure, width: int, height: int, *, colour: bool = True) -> str:
    """Paint counts on the left axis and, dotted, the mean on the right one; thresholds are named on their curves.

    Args:
        figure: what to show.
        width: columns, none is exceeded.
        height: rows of the returned text.
        colour: False for plain text: groups are then told apart by marker.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return one_line("too small for a threshold chart", width, height)
    canvas = Canvas(width, height)
    canvas.text(0, 0, fit(figure.title, width), BOLD)
    right_caption = fit(f"{figure.right_label} (dotted)", width // 2)
    canvas.text(0, 1, fit(figure.left_label, width - cell_len(right_caption) - 1), FRAME)
    canvas.text(width - cell_len(right_caption), 1, right_caption, FRAME)

    styles = styles_of(figure.legend)
    most = max(1, (height - ROWS_ABOVE) // 4)
    lines = legend_lines(figure.legend, styles, width, most)
    warnings = warning_lines(figure.warnings, width, 1)
    below = len(lines) + len(warnings)
    area = Pane(0, ROWS_ABOVE, width, height - ROWS_ABOVE - below)
    pane = framed_pane(canvas, area, (0.0, 360.0), figure.left, figure.right)
    if pane is None:
        return one_line("too small for a threshold chart", width, height)
    horizontal_ticks(canvas, pane, ANGLES, [f"{angle:.0f}°" for angle in ANGLES], pane.row + pane.height + 1)

    other = Pane(pane.col, pane.row, pane.width, pane.height, 0.0, 360.0, figure.right.low, figure.right.high)
    traces: list[tuple[Curve, Trace]] = []
    for curve in (*figure.means, *figure.counts):
        on, off = (1, 3) if curve.dotted else (5, 3) if styles[curve.label].dashed else (1, 0)
        traces.append((curve, trace(other if curve.dotted else pane, curve.x, curve.y, on=on, off=off)))
    canvas.strokes(pane, [Stroke(line, styles[curve.label].ink) for curve, line in traces])
    label_curves(
        canvas,
        pane,
        [CurveLabel(line, styles[curve.label].marker + curve.tag, styles[curve.label].ink) for curve, line in traces],
    )
    if not any(len(line.dots) for _, line in traces):
        text = fit("no finite run to draw", pane.width)
        canvas.text(pane.col + (pane.width - len(text)) // 2, pane.row + pane.height // 2, text, BOLD)
    write_block(canvas, 0, height - below, lines, warnings)
    return canvas.string(colour=colour)
