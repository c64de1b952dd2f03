"""Small multiples over the value: a panel a quantity, its bands, baselines, and the curves of single units."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from srm_explorer.engine.figures.curves import CurveBand, LegendEntry
from srm_explorer.engine.figures.dose import PHASE_AXIS, DoseFigure, DosePanel, DoseSeries, phase_pieces
from srm_explorer.engine.figures.numbers import Axis
from srm_explorer.engine.figures.paper.painter import Painter
from srm_explorer.engine.figures.paper.style import FAINT, WIDTHS, Look, Ruler, plain

PANEL, BETWEEN = 1.0, 0.22
"""Inches that a panel's axes are high, and between two columns."""
MOST_ROWS = 6
"""Panels that stand under one another on a single column of text; of more, two stand side by side."""
MOST_MARKED = 15
"""Values beyond which a curve has no marker at each."""
LEAST = 0.12
"""Inches between the names of two values, at least; of numbers some are left out, other names stand on end."""


class PanelsPainter(Painter[DoseFigure]):
    """Draws panels under one another, in two columns where there is room, or where they are many."""

    def handle(self, look: Look, entry: LegendEntry) -> dict[str, Any]:
        is_base = entry.role == "baseline"
        marker = "" if is_base else look.marker(entry.label)
        joined = any(panel.connected for panel in self.shown.panels)
        return {"linestyle": look.line_of(entry.label) if joined or is_base else "none", "marker": marker}

    def height(self, width: float) -> float:
        return sum(self._rows(width)) + 0.04

    def paint(self, made: Any, look: Look, area: tuple[float, float, float, float]) -> None:
        left, bottom, width, height = area
        page, tall = made.get_size_inches()
        columns, rows = self._columns(page), self._rows(page)
        across = (width - BETWEEN * (columns - 1)) / columns
        ticks = Ruler("medium")
        labels = [label for panel in self.shown.panels for label in panel.axis.labels]
        margin = max(map(ticks.width, labels), default=0.0) + 0.1
        for at, panel in enumerate(self.shown.panels):
            row, column = divmod(at, columns)
            title = _title(panel, across)
            top = bottom + height - sum(rows[:row])
            x = left + column * (across + BETWEEN)
            below = Ruler("small").height(title) + 0.08
            axes = made.add_axes(
                ((x + margin) / page, (top - below - PANEL) / tall, (across - margin - 0.1) / page, PANEL / tall)
            )
            made.text(x / page, (top - 0.02) / tall, title, fontsize="small", va="top", ha="left", linespacing=1.15)
            self._panel(axes, look, panel, across - margin - 0.1)
            is_last = at + columns >= len(self.shown.panels)
            if is_last or panel.values is not None:
                axes.set_xlabel(panel.value_label or self.shown.value_label)
            else:
                axes.tick_params(labelbottom=False)

    def _columns(self, width: float) -> int:
        return 1 if width < WIDTHS["double"] and len(self.shown.panels) <= MOST_ROWS else 2

    def _rows(self, width: float) -> list[float]:
        """Inches of each row of panels."""
        columns, panels = self._columns(width), self.shown.panels
        across = (width - 0.12 - BETWEEN * (columns - 1)) / columns
        small, medium = Ruler("small"), Ruler("medium")
        rows: list[float] = []
        for start in range(0, len(panels), columns):
            here = panels[start : start + columns]
            over = max(small.height(_title(panel, across)) for panel in here)
            named = [
                panel for at, panel in enumerate(here, start) if panel.values is not None or at + columns >= len(panels)
            ]
            under = 0.12
            if named:
                names = [label for panel in named for label in (panel.values or self.shown.values).labels]
                on_end = self.shown.named and _is_crowded(self.shown.values, across - 0.6)
                under = medium.line + 0.14 + (max(map(medium.width, names), default=0) if on_end else medium.line)
            rows.append(over + 0.08 + PANEL + under + 0.06)
        return rows

    def _values(self, panel: DosePanel, across: float) -> Axis:
        """The horizontal axis, with fewer numbers where they have no room beside one another."""
        axis = panel.values or self.shown.values
        if self.shown.named or not _is_crowded(axis, across):
            return axis
        # The first, the middle and the last, where there is a middle.
        every = max(1, (len(axis.ticks) - 1) // 2) if len(axis.ticks) % 2 else len(axis.ticks) - 1
        return replace(axis, ticks=axis.ticks[::every], labels=axis.labels[::every])

    def _panel(self, axes: Any, look: Look, panel: DosePanel, across: float) -> None:
        shown = self.shown
        base = next((entry.label for entry in shown.legend if entry.role == "baseline"), "")
        series = (DoseSeries(panel.curve, panel.baseline, panel.baseline_label or base), *panel.others)
        colour = look.colour(panel.curve.label)
        if panel.units is not None:
            axes.plot(panel.curve.x, panel.units.T, color=colour, linewidth=0.4, alpha=0.25, zorder=1)
        several = len(panel.bands) > 1
        for band in panel.bands:
            _band(axes, look, band, joined=panel.connected, faint=several, is_phase=panel.axis == PHASE_AXIS)
        for each in reversed(series):
            curve = each.curve
            joined = look.line(curve) if panel.connected else "none"
            marked = not curve.dashed or not panel.connected
            marker = (look.marker(curve.label) or "_") if marked and len(curve.x) <= MOST_MARKED else ""
            marker = "." if not marker and not panel.connected else marker
            axes.plot(
                curve.x, curve.y, color=look.colour(curve.label), linestyle=joined, marker=marker, markersize=3.5,
                zorder=3, clip_on=False,
            )  # fmt: skip
            if each.baseline is not None and math.isfinite(each.baseline):
                level = look.colour(each.baseline_label) if each.baseline_label else FAINT
                axes.axhline(each.baseline, color=level, linewidth=0.8, zorder=2)
        values = self._values(panel, across)
        axes.set_xlim(values.low, values.high)
        on_end = shown.named and _is_crowded(values, across)
        axes.set_xticks(values.ticks, [plain(label) for label in values.labels], rotation=90 if on_end else 0)
        axes.set_ylim(panel.axis.low, panel.axis.high)
        axes.set_yticks(panel.axis.ticks, panel.axis.labels)
        axes.spines[["top", "right"]].set_visible(False)


def _band(axes: Any, look: Look, band: CurveBand, *, joined: bool, faint: bool, is_phase: bool) -> None:
    """Where a curve may lie: filled between its values, and a bar at each; of what is not joined, bars alone."""
    colour = look.colour(band.label)
    if joined:
        axes.fill_between(
            band.x, band.low, band.high, color=colour, alpha=0.12 if faint else 0.25, linewidth=0, zorder=1
        )
        if len(band.x) <= MOST_MARKED:
            axes.vlines(band.x, band.low, band.high, color=colour, linewidth=0.6, zorder=2, clip_on=False)
        return
    for x, low, high in zip(band.x.tolist(), band.low.tolist(), band.high.tolist(), strict=True):
        for first, last in phase_pieces(low, high) if is_phase else [(low, high)]:
            axes.vlines([x], first, last, color=colour, linewidth=0.8, zorder=2, clip_on=False)


def _title(panel: DosePanel, across: float) -> str:
    """What a panel shows, and what is not known of it."""
    return Ruler("small").wrap(f"{panel.label} ({panel.note})" if panel.note else panel.label, across - 0.05)


def _is_crowded(axis: Axis, across: float) -> bool:
    """Whether the names of values have no room beside one another."""
    if len(axis.ticks) < 2:
        return False
    step = across * min(np.diff(axis.ticks)) / (axis.high - axis.low)
    return max(map(Ruler("medium").width, axis.labels)) + LEAST > step
