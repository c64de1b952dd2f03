"""Charts of how numbers spread: a neuron's activations, controls around their target, planes that were searched."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from srm_explorer.engine.figures.controls import CONTROLS, TARGET, ControlsFigure, ControlsPanel
from srm_explorer.engine.figures.curves import LegendEntry
from srm_explorer.engine.figures.finder import CHOSEN, TESTED, FinderFigure
from srm_explorer.engine.figures.histogram import HistogramFigure
from srm_explorer.engine.figures.numbers import axis_from_zero, decade_axis, round_axis, three_digits
from srm_explorer.engine.figures.paper.painter import Painter
from srm_explorer.engine.figures.paper.style import FAINT, GRID, WIDTHS, Look, Ruler, matplotlib
from srm_explorer.engine.figures.survey_map import SurveyMapFigure
from srm_explorer.engine.figures.table import cell_text

PANEL, BETWEEN = 0.75, 0.3
"""Inches that a panel of controls is high, and between two columns."""
TALL = 1.8
"""Inches that a histogram is high."""
ROW, APART = 0.17, 0.3
"""Inches of a plane's row, and between its two parts."""

MAP_COLOURS = "YlGnBu"
"""From light to dark, also without colour."""
MOST_DOTS = 150
"""Columns of a map an inch."""
FRAMED = 0.1
"""Inches of a cell that is wide and high enough to be framed itself where its neuron is marked."""
DARK = 0.6
"""Shade of a map from which white letters are read better than black ones."""
MOST_SHAPES = 4096
"""Cells of a map that are drawn as shapes."""


class ControlsPainter(Painter[ControlsFigure]):
    """Draws a histogram a measure: bars and ticks are controls, a line is the target."""

    def handle(self, look: Look, entry: LegendEntry) -> dict[str, Any]:
        return {"linestyle": "-", "marker": ""}

    def height(self, width: float) -> float:
        return sum(self._rows(width))

    def paint(self, made: Any, look: Look, area: tuple[float, float, float, float]) -> None:
        left, bottom, width, height = area
        page, tall = made.get_size_inches()
        columns, rows = self._columns(page), self._rows(page)
        across = (width - BETWEEN * (columns - 1)) / columns
        ruler = Ruler("medium")
        margin = ruler.width("00") + 0.1
        for at, panel in enumerate(self.shown.panels):
            row, column = divmod(at, columns)
            x, top = left + column * (across + BETWEEN), bottom + height - sum(rows[:row])
            title, said = self._titles(panel, across)
            over = Ruler("small").height(title) + Ruler("x-small").height(said) + 0.1
            made.text(x / page, (top - 0.02) / tall, title, fontsize="small", va="top", linespacing=1.15)
            made.text(
                x / page, (top - 0.04 - Ruler("small").height(title)) / tall, said, fontsize="x-small", va="top",
                color=FAINT, linespacing=1.15,
            )  # fmt: skip
            axes = made.add_axes(
                ((x + margin) / page, (top - over - PANEL) / tall, (across - margin - 0.12) / page, PANEL / tall)
            )
            _controls(axes, look, panel)

    def _columns(self, width: float) -> int:
        return 1 if width < WIDTHS["double"] else 2

    def _rows(self, width: float) -> list[float]:
        columns, panels = self._columns(width), self.shown.panels
        across = (width - 0.12 - BETWEEN * (columns - 1)) / columns
        rows: list[float] = []
        for start in range(0, len(panels), columns):
            titles = [self._titles(panel, across) for panel in panels[start : start + columns]]
            over = max(Ruler("small").height(title) + Ruler("x-small").height(said) for title, said in titles)
            rows.append(over + 0.1 + PANEL + Ruler("medium").line + 0.22)
        return rows

    def _titles(self, panel: ControlsPanel, across: float) -> tuple[str, str]:
        parts = [f"target {three_digits(panel.target)}"]
        if panel.median is not None:
            ends = f" [{three_digits(panel.low)}, {three_digits(panel.high)}]"
            parts.append(f"controls {three_digits(panel.median)}{ends}")
        if panel.p is not None:
            parts.append(f"{self.shown.p_title} {cell_text(panel.p, 'p')}")
        return Ruler("small").wrap(panel.label, across), Ruler("x-small").join(parts, across, " · ", "")


def _controls(axes: Any, look: Look, panel: ControlsPanel) -> None:
    reached = [*panel.controls, *([] if panel.target is None else [panel.target])]
    axis = round_axis(reached, most=5)
    if panel.counts:
        edges = np.array(panel.edges)
        axes.bar(
            edges[:-1], panel.counts, np.diff(edges), align="edge", color=look.colour(CONTROLS), alpha=0.6,
            edgecolor="white", linewidth=0.4, zorder=1,
        )  # fmt: skip
    most = max(panel.counts, default=1)
    axes.set_ylim(0, 1.25 * most)
    axes.plot(
        panel.controls, np.full(len(panel.controls), -0.0), linestyle="none", marker="|", markersize=5, color=FAINT,
        markeredgewidth=0.6, clip_on=False, zorder=3,
    )  # fmt: skip
    if panel.median is not None:
        axes.axvline(panel.median, color=FAINT, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=2)
    if panel.target is not None:
        axes.axvline(panel.target, color=look.colour(TARGET), linewidth=1.6, zorder=4)
    axes.set_xlim(axis.low, axis.high)
    axes.set_xticks(axis.ticks, axis.labels)
    axes.yaxis.set_major_locator(_whole_numbers())
    axes.spines[["top", "right"]].set_visible(False)


def _whole_numbers() -> Any:
    return import_module("matplotlib.ticker").MaxNLocator(nbins=2, integer=True, min_n_ticks=2)


class HistogramPainter(Painter[HistogramFigure]):
    """Draws how often a neuron was how active, and values that it was given."""

    def handle(self, look: Look, entry: LegendEntry) -> dict[str, Any]:
        return {"linestyle": look.line_of(entry.label), "marker": ""}

    def height(self, width: float) -> float:
        return TALL + 3 * Ruler("medium").line + 0.2

    def paint(self, made: Any, look: Look, area: tuple[float, float, float, float]) -> None:
        shown = self.shown
        left, bottom, width, _ = area
        page, tall = made.get_size_inches()
        ruler = Ruler("medium")
        counts = axis_from_zero(shown.counts, most=4)
        margin = max(map(ruler.width, counts.labels)) + 0.1
        under = 2 * ruler.line + 0.1
        axes = made.add_axes(
            ((left + margin) / page, (bottom + under) / tall, (width - margin - 0.15) / page, TALL / tall)
        )
        made.text(left / page, (bottom + under + TALL + 0.06) / tall, f"{shown.noun}s", fontsize="small", va="bottom")
        edges = np.array(shown.edges)
        axes.bar(edges[:-1], shown.counts, np.diff(edges), align="edge", color="#999999", linewidth=0, zorder=1)
        axis = shown.axis(5)
        for mark in shown.marks:
            if axis.low <= mark.value <= axis.high:
                axes.axvline(
                    mark.value, color=look.colour(mark.label), linestyle=look.line_of(mark.label), linewidth=1.2
                )
        axes.set_xlim(axis.low, axis.high)
        axes.set_xticks(axis.ticks, axis.labels)
        axes.set_xlabel(shown.value_label)
        axes.set_ylim(counts.low, counts.high)
        axes.set_yticks(counts.ticks, counts.labels)
        axes.spines[["top", "right"]].set_visible(False)


MOST_NAMED = 12
"""Layers whose names all stand beside a map."""
WIDEST = 0.5
"""Inches that a neuron of a map is wide, where few are on it."""


class SurveyMapPainter(Painter[SurveyMapFigure]):
    """Draws a survey's neurons as cells of a map: a row a layer, or a part of one; marked ones are framed."""

    def handle(self, look: Look, entry: LegendEntry) -> dict[str, Any]:
        return {
            "linestyle": "none", "marker": "s", "markersize": 6, "markerfacecolor": "none",
            "markeredgecolor": look.colour(entry.label), "markeredgewidth": 1.2,
        }  # fmt: skip

    def height(self, width: float) -> float:
        return self._tall(width) + 2 * Ruler("medium").line + 0.68

    def _across(self, room: float) -> float:
        """Inches of all columns: few leave some of the room."""
        return min(room, WIDEST * self.shown.effects.shape[1])

    def _tall(self, width: float) -> float:
        """Inches of the cells: square ones where there are few columns."""
        rows, columns = self.shown.effects.shape
        square = self._across(width) * rows / max(columns, 1)
        # Of few layers each has its name beside it.
        layers = rows * (Ruler("medium").line if rows <= MOST_NAMED else 0.1)
        return min(max(square if self.shown.folded else layers, 0.35), 1.2 * width, max(0.16 * rows, 1.2))

    def paint(self, made: Any, look: Look, area: tuple[float, float, float, float]) -> None:
        shown = self.shown
        left, bottom, width, _ = area
        page, high = made.get_size_inches()
        ruler, small = Ruler("medium"), Ruler("small")
        margin = max(map(ruler.width, shown.rows)) + 0.1
        tall = self._tall(page)
        room = width - margin - 0.05
        across = self._across(room)
        lower = bottom + 2 * ruler.line + 0.56
        axes = made.add_axes(((left + margin) / page, lower / high, across / page, tall / high))
        # No more columns than a printer tells apart; a neuron that stands out is in what is drawn.
        effects = shown.binned(int(across * MOST_DOTS))
        scale: Any = matplotlib().colormaps[MAP_COLOURS]
        last, total = len(shown.rows), shown.effects.shape[1]
        _cells(axes, shown.shades(effects), (-0.5, total - 0.5, last - 0.5, -0.5), scale)
        axes.set_facecolor("#EEEEEE")
        wide, line = across / total, tall / len(shown.rows)
        for row, column, name in shown.marks:
            if min(wide, line) > FRAMED:
                # Along the sides of the cell, whose number stands in it.
                x, y = np.array([-0.5, 0.5, 0.5, -0.5, -0.5]), np.array([-0.5, -0.5, 0.5, 0.5, -0.5])
                axes.plot(column + x, row + y, color=look.colour(name), linewidth=1.6, clip_on=False, zorder=4)
                continue
            axes.plot(
                [column], [row], linestyle="none", marker="s", markersize=5, markerfacecolor="none",
                markeredgecolor=look.colour(name), markeredgewidth=1.2, clip_on=False, zorder=4,
            )  # fmt: skip
        every = max(1, int(np.ceil(len(shown.rows) * ruler.line / tall)))
        axes.set_yticks(range(0, len(shown.rows), every), shown.rows[::every])
        axes.set_xticks(*self._column_ticks(wide, room - across))
        axes.set_xlabel(shown.column_label, loc="left" if across < room else "center")
        axes.tick_params(length=2)
        if shown.numbers and not shown.columns:
            self._name_cells(axes, wide, line)
        bar = made.add_axes(((left + margin) / page, (bottom + small.line + 0.12) / high, room / page, 0.07 / high))
        _cells(bar, np.linspace(0, 1, 64)[None], (0, 1, 0, 1), scale)
        bar.set_yticks([])
        bar.set_xticks(*self._scale_ticks())
        bar.tick_params(length=2, labelsize="small", pad=1)
        bar.set_title(small.wrap(shown.value_label, room), fontsize="small", pad=2)

    def _column_ticks(self, wide: float, spare: float) -> tuple[list[int], list[str]]:
        """Where numbers stand below the columns, and which: of neurons, where those are in line.

        Args:
            wide: inches of a column.
            spare: inches to their right.
        """
        shown, total, ruler = self.shown, self.shown.effects.shape[1], Ruler("medium")
        if shown.columns:
            labels = [f"{neuron:,}" for neuron in shown.columns]
            every = max(1, int(np.ceil((max(map(ruler.width, labels)) + 0.06) / wide)))
            # The last would leave the page where its column is narrow.
            room = total * wide + spare + 0.05
            kept = [at for at in range(0, total, every) if (at + 0.5) * wide + ruler.width(labels[at]) / 2 <= room]
            return kept, [labels[at] for at in kept]
        if shown.numbers:
            return [], []
        start = 0 if shown.folded else shown.first[0]
        ticks = [
            (tick - start, label)
            for tick, label in zip(*_round_ticks(start, start + total - 1), strict=True)
            if 0 <= tick - start < total
        ]
        return [tick for tick, _ in ticks], [label for _, label in ticks]

    def _name_cells(self, axes: Any, wide: float, high: float) -> None:
        """Write the number of each neuron into its cell, so many inches wide and high, where all have room."""
        shown, small = self.shown, Ruler("small")
        shades = shown.shades(shown.effects)
        names = [(row, column, f"{n:,}") for row, line in enumerate(shown.numbers) for column, n in enumerate(line)]
        names = [(row, column, name) for row, column, name in names if name != "-1"]
        if max(small.width(name) for _, _, name in names) + 0.06 > wide or small.line > high:
            return
        for row, column, name in names:
            is_dark = shades[row, column] > DARK
            axes.text(column, row, name, ha="center", va="center", fontsize="small", color="w" if is_dark else "k")

    def _scale_ticks(self) -> tuple[list[float], list[str]]:
        shown = self.shown
        if not shown.high > shown.low:
            return [1.0], [three_digits(shown.high)]
        if shown.logarithmic:
            axis = decade_axis(np.log10(shown.low), np.log10(shown.high), 5)
            ends = axis.high - axis.low
            return [(tick - axis.low) / ends for tick in axis.ticks], list(axis.labels)
        axis = round_axis((shown.low, shown.high), most=5)
        kept = [
            (tick, label) for tick, label in zip(axis.ticks, axis.labels, strict=True) if tick <= shown.high * 1.001
        ]
        return [(tick - shown.low) / (shown.high - shown.low) for tick, _ in kept], [label for _, label in kept]


def _cells(axes: Any, shades: Any, ends: tuple[float, float, float, float], scale: Any) -> None:
    """Shade a grid's cells between its left, right, lower and upper end: as shapes, as dots where they are many."""
    left, right, bottom, top = ends
    rows, columns = shades.shape
    if shades.size > MOST_SHAPES:
        axes.imshow(shades, cmap=scale, vmin=0, vmax=1, aspect="auto", interpolation="nearest", extent=ends)
        return
    x, y = np.linspace(left, right, columns + 1), np.linspace(top, bottom, rows + 1)
    known = np.ma.masked_invalid(shades)
    # Edges of the same colour, so that no page shows between two cells.
    axes.pcolormesh(x, y, known, cmap=scale, vmin=0, vmax=1, edgecolors="face", linewidth=0.2)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _round_ticks(first: int, last: int) -> tuple[list[int], list[str]]:
    axis = round_axis((first, max(last, first + 1)), most=5)
    whole = [round(tick) for tick in axis.ticks if tick == round(tick)]
    return whole, [f"{tick:,}" for tick in whole]


class FinderPainter(Painter[FinderFigure]):
    """Draws a row a plane: its statistic on either half of the units, and the differences along its directions."""

    def handle(self, look: Look, entry: LegendEntry) -> dict[str, Any]:
        return {"linestyle": "none", "marker": look.marker(entry.label), "markerfacecolor": look.face(entry.label)}

    def height(self, width: float) -> float:
        ruler = Ruler("medium")
        return sum(self._lines(width)) + 2 * ruler.line + 0.16

    def paint(self, made: Any, look: Look, area: tuple[float, float, float, float]) -> None:
        shown = self.shown
        left, bottom, width, _ = area
        page, tall = made.get_size_inches()
        ruler, small = Ruler("medium"), Ruler("small")
        lines = self._lines(page)
        names = [ruler.wrap(plane.label, self._side(page)) for plane in shown.planes]
        q = [f"q {cell_text(plane.q, 'p')}" if plane.q is not None else "" for plane in shown.planes]
        beside, behind = max(map(ruler.width, names)) + 0.1, max(map(small.width, q)) + 0.1
        under = 2 * ruler.line + 0.12
        parts = 2 if shown.directions else 1
        across = (width - beside - behind - APART * (parts - 1)) / parts
        tops = np.concatenate([[0.0], np.cumsum(lines)])
        rows = -(tops[:-1] + tops[1:]) / 2
        extent = sum(lines)

        def axes_at(number: int, label: str) -> Any:
            x = left + beside + number * (across + APART)
            axes = made.add_axes((x / page, (bottom + under) / tall, across / page, extent / tall))
            axes.set_ylim(-extent, 0)
            axes.set_yticks([])
            axes.hlines(rows, 0, 1, transform=axes.get_yaxis_transform(), color=GRID, linewidth=0.5, zorder=0)
            axes.set_xlabel(small.wrap(label, across), fontsize="small")
            axes.spines[["top", "right", "left"]].set_visible(False)
            return axes

        axes = axes_at(0, shown.statistic)
        for name, at in zip(names, rows, strict=True):
            made.text(
                (left + beside - 0.06) / page, (bottom + under + extent + at) / tall, name, ha="right", va="center",
                linespacing=1.0,
            )  # fmt: skip
        for text, at in zip(q, rows, strict=True):
            made.text(
                (left + width) / page, (bottom + under + extent + at) / tall, text, ha="right", va="center",
                fontsize="small", color=FAINT,
            )  # fmt: skip
        for name, numbers in (
            (CHOSEN, [plane.chosen for plane in shown.planes]),
            (TESTED, [plane.tested for plane in shown.planes]),
        ):
            axes.plot(
                _known(numbers), rows, linestyle="none", marker=look.marker(name), markersize=4, clip_on=False,
                color=look.colour(name), markerfacecolor=look.face(name), markeredgewidth=0.8,
            )  # fmt: skip
        reached = [number for plane in shown.planes for number in (plane.chosen, plane.tested) if number is not None]
        _horizontal(axes, reached, across)
        if shown.directions:
            beside_it = axes_at(
                1, "difference along 0° and 90°" if len(shown.directions) > 1 else "".join(shown.directions)
            )
            ends: list[float] = [0.0]
            for number, name in enumerate(shown.directions):
                cells = [_known(plane.differences[number]) for plane in shown.planes]
                value, low, high = (np.array([row[part] for row in cells]) for part in range(3))
                shift = 0.12 * ROW * (1 if number == 0 else -1) * (len(shown.directions) - 1) * 2
                beside_it.hlines(rows + shift, low, high, color=look.colour(name), linewidth=0.8, zorder=2)
                beside_it.plot(
                    value, rows + shift, linestyle="none", marker=look.marker(name), markersize=3.5,
                    color=look.colour(name), clip_on=False, zorder=3,
                )  # fmt: skip
                ends += [end for row in cells for end in row if np.isfinite(end)]
            beside_it.axvline(0, color=FAINT, linewidth=0.6, zorder=1)
            _horizontal(beside_it, ends, across)

    def _side(self, page: float) -> float:
        return 0.32 * page

    def _lines(self, page: float) -> list[float]:
        """Inches of every row."""
        ruler = Ruler("medium")
        names = [ruler.wrap(plane.label, self._side(page)) for plane in self.shown.planes]
        return [max(ROW, ruler.height(name) + 0.03) for name in names]


def _known(numbers: Sequence[float | None]) -> list[float]:
    return [np.nan if number is None else number for number in numbers]


def _horizontal(axes: Any, reached: Sequence[float], across: float) -> None:
    """A horizontal axis whose numbers have room beside one another."""
    ruler = Ruler("medium")
    axis = axis_from_zero(reached, most=5)
    for most in (5, 4, 3):
        axis = axis_from_zero(reached, most=most)
        if sum(map(ruler.width, axis.labels)) + 0.08 * len(axis.labels) <= across:
            break
    axes.set_xlim(axis.low, axis.high)
    axes.set_xticks(axis.ticks, axis.labels)
