"""The map of a survey: a row a layer, a column a neuron or a stretch of them, how much each moved the texts as a shade.

Shades are signs as well as colours: the map is read without colour too.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style

from srm_explorer.engine.figures import SurveyMapFigure, count_of, three_digits
from srm_explorer.tui.charts.canvas import Canvas
from srm_explorer.tui.charts.labels import fit, fit_title, one_line
from srm_explorer.tui.charts.palette import BOLD, FIXED, FRAME, GRID, foreground
from srm_explorer.tui.charts.picture import Picture

SMALLEST = (24, 7)
SIGNS = "·░▒▓█"
_ORANGE, _MARK = foreground(136), FIXED["baseline"].style + BOLD
STYLES: tuple[Style, ...] = (GRID, FRAME, _ORANGE, _ORANGE, FIXED["pooled"].style)
"""From the faintest shade to the darkest."""
MARK = "◆"
MOST_WIDE, MOST_HIGH = 4, 3
"""Cells that a neuron may take."""
FOLDS = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Neurons in a row of a single layer."""


def paint_survey_map(figure: SurveyMapFigure, width: int, height: int) -> Picture:
    """Paint the map: of neurons that share a cell the one that moved the texts most, so that none is lost.

    Marked neurons stand on it as signs, and below it with their numbers, as far as there is room.
    """
    labels = max(map(cell_len, figure.rows), default=0) + 1
    columns = width - labels
    notes = _lines(figure)
    # A title, the columns' numbers, the scale; of the notes as many as leave most of the room to the map.
    room = height - 4
    notes = notes[: max(0, min(len(notes), room - min(len(figure.rows), room // 2)))]
    lines = room - len(notes)
    figure = _refolded(figure, columns, lines)
    labels = max(map(cell_len, figure.rows), default=0) + 1
    columns = width - labels
    if width < SMALLEST[0] or height < SMALLEST[1] or columns < 8 or lines < 1:
        return one_line("too small for a map", width, height)
    canvas = Canvas(width, height)
    canvas.text(0, 0, fit_title(figure.title, width), BOLD)
    across = figure.binned(columns)
    every = max(1, math.ceil(len(figure.rows) / lines))
    down = np.arange(0, len(figure.rows), every)
    effects = np.fmax.reduceat(across, down, axis=0)
    high = min(MOST_HIGH, lines // len(down))
    named = _room_of_name(figure)
    wide = max(1, min(max(MOST_WIDE, named), columns // across.shape[1]))
    _paint_cells(canvas, labels, effects, figure.shades(effects), wide, high)
    for at, row in enumerate(down.tolist()):
        canvas.text(labels - 1 - cell_len(figure.rows[row]), 1 + at * high, figure.rows[row], FRAME)
    # Where two marks share a cell, the first is seen.
    for row, column, _ in reversed(figure.marks):
        at = int(np.searchsorted(_starts(figure, across.shape[1]), column, side="right")) - 1
        canvas.text(labels + at * wide, 1 + row // every * high, MARK, _MARK)
    below = 1 + len(down) * high
    are_named = named > 0 and wide >= named and every == 1
    if figure.columns and are_named:
        for at, neuron in enumerate(figure.columns):
            canvas.text(labels + at * wide, below, f"{neuron:,}", FRAME)
    elif figure.numbers and not figure.columns:
        for at, numbers in enumerate(figure.numbers if are_named else ()):
            for column, neuron in enumerate(numbers):
                if neuron >= 0:
                    # After its first sign, which tells its shade where it is one line high.
                    canvas.text(labels + column * wide + 1, 1 + at * high, f"{neuron:,}")
        canvas.text(labels, below, fit(figure.column_label, columns), FRAME)
    else:
        _paint_numbers(canvas, figure, labels, below, across.shape[1] * wide)
    stretch = math.ceil(figure.effects.shape[1] / across.shape[1]) * every
    told = f" · the most of {stretch} neurons a sign" if stretch > 1 else ""
    canvas.text(0, below + 1, fit(f"{figure.value_label}{told}", width), FRAME)
    _paint_scale(canvas, figure, below + 2)
    for at, line in enumerate(notes, below + 3):
        canvas.text(0, at, fit(line, width))
    return canvas.picture()


def _refolded(figure: SurveyMapFigure, columns: int, lines: int) -> SurveyMapFigure:
    """A map of one layer with rows of another length: where there is room, every neuron has a sign of its own."""
    named = figure.effects.shape[1] * _room_of_name(figure) if figure.columns else 0
    if len(set(figure.layers)) != 1 or columns < FOLDS[0] or lines < 1 or 0 < named <= columns:
        return figure
    width = figure.effects.shape[1]
    flat = figure.effects.reshape(-1)
    flat = flat[: int(np.flatnonzero(~np.isnan(flat)).max(initial=0)) + 1]
    fits = [fold for fold in FOLDS if fold <= columns]
    fold = next((fold for fold in fits if math.ceil(len(flat) / fold) <= lines), fits[-1])
    count = math.ceil(len(flat) / fold)
    effects = np.concatenate([flat, np.full(count * fold - len(flat), np.nan)]).reshape(count, fold)
    first = tuple(figure.neuron(*divmod(fold * row, width))[1] for row in range(count))
    every = [number for row in figure.numbers for number in row][: len(flat)]
    every += [-1] * (count * fold - len(every))
    numbers = tuple(tuple(every[at : at + fold]) for at in range(0, len(every), fold)) if figure.numbers else ()
    marks = tuple((*divmod(row * width + column, fold), name) for row, column, name in figure.marks)
    names = tuple(f"{at:,}" for at in first)
    return replace(
        figure, effects=effects, rows=names, layers=figure.layers[:1] * count, first=first, numbers=numbers, marks=marks
    )


def _room_of_name(figure: SurveyMapFigure) -> int:
    """Cells that a neuron's number takes below its column, or between two signs in its cell; 0 where it has none."""
    widest = max((len(f"{neuron:,}") for row in figure.numbers for neuron in row), default=0)
    return widest + (1 if figure.columns else 2) if widest else 0


def _starts(figure: SurveyMapFigure, columns: int) -> NDArray[np.int64]:
    """[column] the first neuron, from the row's first, of each column of the picture, as `binned` has them."""
    return (np.arange(columns) * figure.effects.shape[1]) // columns


def _paint_cells(
    canvas: Canvas, left: int, effects: NDArray[np.float64], shades: NDArray[np.float64], wide: int, high: int
) -> None:
    levels = np.clip(np.nan_to_num(shades) * len(SIGNS), 0, len(SIGNS) - 1).astype(np.int64)
    for row in range(len(effects)):
        for column in np.flatnonzero(~np.isnan(effects[row])).tolist():
            level = int(levels[row, column])
            for line in range(high):
                canvas.text(left + column * wide, 1 + row * high + line, SIGNS[level] * wide, STYLES[level])


def _paint_numbers(canvas: Canvas, figure: SurveyMapFigure, left: int, row: int, columns: int) -> None:
    """The numbers of the first column and the last, and, where there is room, of one between."""
    total = figure.effects.shape[1]
    end = left - 1
    for share in (0.0, 0.5, 1.0):
        neuron = round(share * (total - 1))
        text = f"{figure.neuron(0, neuron)[1]:,}" if not figure.folded else f"+{neuron:,}"
        col = left + min(round(share * columns), columns - 1)
        col = min(max(left, col - (cell_len(text) - 1 if share == 1 else 0)), canvas.width - cell_len(text))
        if col > end:
            canvas.text(col, row, text, FRAME)
            end = col + cell_len(text)


def _paint_scale(canvas: Canvas, figure: SurveyMapFigure, row: int) -> None:
    """Each sign with the effect from which it stands."""
    if not figure.high > figure.low:
        canvas.text(0, row, f"{SIGNS[-1]} {three_digits(figure.high)}", FRAME)
        return
    col = 0
    for level, (sign, style) in enumerate(zip(SIGNS, STYLES, strict=True)):
        text = f"from {three_digits(_least(figure, level))}" if level else f"below {three_digits(_least(figure, 1))}"
        if col + 2 + cell_len(text) > canvas.width:
            return
        canvas.text(col, row, sign, style)
        canvas.text(col + 2, row, text, FRAME)
        col += 4 + cell_len(text)


def _least(figure: SurveyMapFigure, level: int) -> float:
    """The effect from which a shade stands."""
    share = level / len(SIGNS)
    if figure.logarithmic and figure.low > 0:
        return figure.low * (figure.high / figure.low) ** share
    return figure.low + (figure.high - figure.low) * share


def _lines(figure: SurveyMapFigure) -> list[str]:
    """What the marks are, then what a reader must know."""
    known = figure.effects[np.isfinite(figure.effects)]
    lines: list[str] = []
    for row, column, name in figure.marks:
        effect = float(figure.effects[row, column])
        above = int((known > effect).sum())
        lines.append(f"{MARK} {name}: {three_digits(effect)}, rank {above + 1:,} of {count_of(len(known), 'neuron')}")
    return [*lines, *figure.warnings]
