"""Paints the dose chart."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len

from srm_explorer.engine.figures import DoseFigure, DosePanel, DoseSeries
from srm_explorer.engine.figures.dose import phase_pieces
from srm_explorer.tui.charts.axes import band_outlines, bar, framed_pane, horizontal_ticks
from srm_explorer.tui.charts.canvas import SOLID, Canvas, Pane, Stroke, trace
from srm_explorer.tui.charts.labels import fit, fit_title, legend_lines, one_line, warning_lines, write_block
from srm_explorer.tui.charts.palette import BOLD, DASH, FRAME, GRID, WARNING, GroupStyle, styles_of
from srm_explorer.tui.charts.picture import Picture
from srm_explorer.tui.text import wrapped

SMALLEST = (24, 9)
PANEL = (20, 7)
GAP = 2
# Rows from which a warning may take two of them.
ROOMY = 20


def paint_dose(figure: DoseFigure, width: int, height: int) -> Picture:
    """Paint the panels against the value, as many of them as find room, in their order.

    The baseline is a dotted line; markers stand where a value was run.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return one_line("too small for a dose chart", width, height)
    canvas = Canvas(width, height)
    canvas.text(0, 0, fit_title(figure.title, width), BOLD)
    styles = styles_of(figure.legend)
    lines = legend_lines(figure.legend, styles, width, max(2, height // 8))
    warnings = warning_lines(figure.warnings, width, 2 if height >= ROOMY else 1)
    room = height - 1 - len(lines) - len(warnings)
    across, down = _grid(len(figure.panels), width, room)
    shown = figure.panels[: across * down]
    panel_width = (width - GAP * (across - 1)) // across
    for index, panel in enumerate(shown):
        row, column = divmod(index, across)
        top = 1 + row * room // down
        area = Pane(column * (panel_width + GAP), top, panel_width, 1 + (row + 1) * room // down - top)
        _paint_panel(canvas, area, figure, panel, styles)
    if len(shown) < len(figure.panels):
        text = f" +{len(figure.panels) - len(shown)} panels in a larger window"
        canvas.text(width - len(text), 0, text, FRAME)
    write_block(canvas, 0, height - len(lines) - len(warnings), lines, warnings)
    return canvas.picture()


def _grid(panels: int, width: int, rows: int) -> tuple[int, int]:
    """Panels across and down: the fewest columns that show them all, else as many as find room."""
    most = max(1, (width + GAP) // (PANEL[0] + GAP))
    for across in range(min(2, most), most + 1):
        down = max(1, min(rows // PANEL[1], -(-panels // across)))
        if across * down >= panels:
            return across, down
    return most, max(1, min(rows // PANEL[1], -(-panels // most)))


def _paint_panel(
    canvas: Canvas, area: Pane, figure: DoseFigure, panel: DosePanel, styles: dict[str, GroupStyle]
) -> None:
    whole = f"{panel.label} by {panel.value_label or figure.value_label}"
    # Panels of one quantity can do without its name, those of several are told apart by it.
    is_short = cell_len(whole) <= area.width or panel.value_label
    canvas.text(area.col, area.row, fit(whole if is_short else panel.label, area.width), FRAME)
    inner = Pane(area.col, area.row + 1, area.width, area.height - 1)
    if panel.note and not panel.curve.x.size:
        for offset, line in enumerate(wrapped(panel.note, area.width)[: inner.height]):
            canvas.text(area.col, inner.row + inner.height // 3 + offset, line, BOLD)
        return
    values = panel.values or figure.values
    pane = framed_pane(canvas, inner, (values.low, values.high), panel.axis)
    if pane is None:
        return
    horizontal_ticks(canvas, pane, values.ticks, values.labels, pane.row + pane.height + 1)
    baseline = next((entry.label for entry in figure.legend if entry.role == "baseline"), "")
    series = (DoseSeries(panel.curve, panel.baseline, panel.baseline_label or baseline), *panel.others)
    strokes = [Stroke(trace(pane, panel.curve.x, line), GRID) for line in (() if panel.units is None else panel.units)]
    connected = panel.bands if panel.connected else ()
    strokes += band_outlines(pane, connected, styles)
    # What the outline's gaps leave out: the ends where a value was run.
    strokes += [
        Stroke(trace(pane, [x], [end]), styles[band.label].band)
        for band in connected
        for ends in (band.low, band.high)
        for x, end in zip(band.x.tolist(), ends.tolist(), strict=True)
    ]
    # Phases are not connected, nor is where they may lie.
    strokes += [
        Stroke(line, styles[band.label].band)
        for band in (() if panel.connected else panel.bands)
        for x, low, high in zip(band.x.tolist(), band.low.tolist(), band.high.tolist(), strict=True)
        for piece in phase_pieces(low, high)
        for line in bar(pane, x, *piece)
    ]
    for shown in series:
        curve = shown.curve
        if shown.baseline is not None:
            ends, level = np.array([values.low, values.high]), np.full(2, shown.baseline)
            style = styles[shown.baseline_label].style if shown.baseline_label in styles else GRID
            strokes.append(Stroke(trace(pane, ends, level, dash=(1, 2)), style))
        if panel.connected:
            line = trace(pane, curve.x, curve.y, dash=DASH if curve.dashed else SOLID)
            strokes.append(Stroke(line, styles[curve.label].style))
    canvas.draw(pane, strokes)
    drawn = False
    # Reversed, so that what was observed hides a prediction's mark and not the other way round.
    for curve in (shown.curve for shown in reversed(series)):
        if curve.dashed and panel.connected:
            continue
        group = styles[curve.label]
        for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
            if np.isfinite(x) and values.low <= x <= values.high and panel.axis.low <= y <= panel.axis.high:
                canvas.text(*pane.cell(x, y), group.marker, group.style)
                drawn = True
    for offset, line in enumerate(wrapped(panel.note, pane.width)[: min(2, pane.height)] if panel.note else ()):
        canvas.text(pane.col, pane.row + offset, fit(line, pane.width), WARNING)
    if not drawn:
        canvas.text_middle(pane, fit("no finite value", pane.width), BOLD)
