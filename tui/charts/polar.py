"""Paints the polar chart."""

from __future__ import annotations

from engine.figures.polar import PolarFigure
from tui.charts.bands import polar_bands, polar_chance
from tui.charts.canvas import Canvas, Stroke
from tui.charts.disc import MOST_WARNED, SMALLEST, Disc, draw_grid, label_rings, layout_of, name_spokes, say_empty
from tui.charts.labels import CurveLabel, fit, label_curves, legend_lines, warning_lines, write_block
from tui.charts.message import one_line
from tui.charts.palette import BOLD, DASH, FRAME, styles_of
from tui.charts.trace import Trace, trace


def paint_polar(figure: PolarFigure, width: int, height: int, *, colour: bool = True) -> str:
    """Paint rings, the plane's two directions, one curve per group, and the legend beside or below.

    A circle is as wide as it is high, for cells twice as high as wide; `disc.disc_of` tells where it stands.

    Args:
        figure: what to show.
        width: columns, none is exceeded.
        height: rows of the returned text.
        colour: False for plain text: groups are then told apart by marker.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return one_line("too small for a polar chart", width, height)
    canvas = Canvas(width, height)
    layout = layout_of(figure, width, height)
    canvas.text(0, 0, fit(figure.title, width), BOLD)
    canvas.text(0, 1, fit(figure.radius_label, width), FRAME)

    disc = Disc(layout.circle, figure.low, figure.high)
    draw_grid(canvas, disc, figure, polar_chance(disc, figure.bands))
    name_spokes(canvas, layout.circle, figure.spokes)

    styles = styles_of(figure.legend)
    traces: list[Trace] = []
    for curve in figure.curves:
        on, off = DASH if curve.dashed else (1, 0)
        traces.append(trace(layout.circle, curve.x, curve.y, on=on, off=off, place=disc.place))
    canvas.strokes(
        layout.circle,
        [
            *polar_bands(disc, figure.bands, styles),
            *(Stroke(line, styles[curve.label].ink) for line, curve in zip(traces, figure.curves, strict=True)),
        ],
    )
    covered = {(col, row) for line in traces for col, row in line.cells.tolist()}
    taken = label_rings(canvas, disc, figure.rings, covered)
    label_curves(
        canvas,
        layout.circle,
        [
            CurveLabel(line, styles[curve.label].marker, styles[curve.label].ink, times=4)
            for line, curve in zip(traces, figure.curves, strict=True)
            if not curve.dashed
        ],
        taken,
    )
    if not covered:
        say_empty(canvas, layout.circle)

    # A warning cut short warns of nothing; of the legend, the names alone would do.
    most = min(MOST_WARNED, max(layout.legend_rows // 2, layout.legend_rows - len(figure.legend)))
    warnings = warning_lines(figure.warnings, layout.legend_width, most)
    lines = legend_lines(figure.legend, styles, layout.legend_width, layout.legend_rows - len(warnings))
    write_block(canvas, layout.legend_col, layout.legend_row, lines, warnings)
    return canvas.string(colour=colour)
