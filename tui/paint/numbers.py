"""The numbers behind a chart, as rows of a CSV file."""

from __future__ import annotations

from collections.abc import Sequence

from engine.figures.compass import CompassFigure
from engine.figures.curves import SweptGroup
from engine.figures.dose import DoseFigure
from engine.figures.thresholds import ThresholdFigure
from engine.session import Session
from tui.paint.scene import Table
from tui.state.spotlight import is_lit, spotlight


def sweep_table(groups: Sequence[SweptGroup]) -> Table:
    """Mean cosine and counts of every group at every angle."""
    levels = groups[0].sweep.thresholds if groups else ()
    rows: Table = [["group", "n", "angle_deg", "mean_cosine", *(f"count_above_{level!r}" for level in levels)]]
    for group in groups:
        sweep = group.sweep
        for index, angle in enumerate(sweep.angles_deg.tolist()):
            counts = [str(count) for count in sweep.counts[:, index].tolist()]
            rows.append([group.label, str(sweep.n), repr(angle), repr(float(sweep.mean[index])), *counts])
    return rows


def curves_table(figure: ThresholdFigure) -> Table:
    """Every curve of a chart over the angle, point by point."""
    rows: Table = [["group", "quantity", "angle_deg", "value"]]
    for curve in (*figure.counts, *figure.means):
        quantity = curve.tag or figure.left_label
        for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
            rows.append([curve.label, quantity, repr(x), repr(y)])
    return rows


def compass_table(session: Session, figure: CompassFigure, theta: int, threshold: float) -> Table:
    """Every run's cosines with the two directions and with the spotlight, and whether it is lit."""
    rows: Table = [["run", "group", "cosine_a", "cosine_b", "angle_deg", "cosine", "threshold", "lit"]]
    cos, sin = spotlight(theta)
    for group in figure.groups:
        for run, (x, y) in zip(group.runs.tolist(), group.xy.tolist(), strict=True):
            cosine = x * cos + y * sin
            lit = "1" if is_lit(cosine, threshold) else "0"
            index = str(session.runs[run].index)
            rows.append([index, group.label, repr(x), repr(y), str(theta), repr(cosine), repr(threshold), lit])
    return rows


def dose_table(figure: DoseFigure) -> Table:
    """Every quantity by the value, the baseline's in a row of its own."""
    rows: Table = [["value", *(panel.label for panel in figure.panels)]]
    bases = ["" if panel.baseline is None else repr(panel.baseline) for panel in figure.panels]
    if any(bases):
        rows.append(["baseline", *bases])
    values = figure.panels[0].curve.x.tolist() if figure.panels else []
    for index, value in enumerate(values):
        rows.append([repr(value), *(repr(float(panel.curve.y[index])) for panel in figure.panels)])
    return rows
