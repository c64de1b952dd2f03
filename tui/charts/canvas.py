"""The canvas: a grid of cells that series, drawn in braille by plotext, and plain text are put on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len
from rich.style import Style

from srm_explorer.tui.charts.picture import BLANK, PLAIN, Cell, Picture
from srm_explorer.tui.text import JOINING

# Dots beyond this lie off every screen; where exactly no longer matters, the arithmetic must not overflow.
FAR = 1e6
COLUMNS, ROWS = 2, 4
"""Dots of a cell."""

Projection = Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]
"""From coordinates [point] and [point] to dots [point, 2]."""
Dash = tuple[int, int]
"""Dots drawn, then dots left out."""
SOLID: Dash = (1, 0)


@dataclass(frozen=True)
class Pane:
    """A rectangle of cells and the view it shows: each cell is 2 dots wide and 4 high.

    The view's ends lie on the middle of the first and the last dot.
    """

    col: int
    row: int
    width: int
    height: int
    x_low: float = 0.0
    x_high: float = 1.0
    y_low: float = 0.0
    y_high: float = 1.0

    @property
    def dots_wide(self) -> int:
        return COLUMNS * self.width

    @property
    def dots_high(self) -> int:
        return ROWS * self.height

    def project(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Dots [point, 2] of points [point], from the left and from the bottom; NaN stays NaN."""
        dots = np.empty((np.size(x), 2))
        with np.errstate(over="ignore", invalid="ignore"):
            for axis, (values, low, high, count) in enumerate(
                ((x, self.x_low, self.x_high, self.dots_wide), (y, self.y_low, self.y_high, self.dots_high))
            ):
                # Halves keep the span of the widest floats finite.
                span = high / 2 - low / 2
                share = (np.asarray(values, np.float64) / 2 - low / 2) / span if span > 0 else np.full(np.size(x), 0.5)
                dots[:, axis] = share * (count - 1)
        return dots

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Column and row, on the whole canvas, of the cell that holds a point of the view."""
        dot_x, dot_y = np.clip(np.nan_to_num(self.project([x], [y])[0]), 0, [self.dots_wide - 1, self.dots_high - 1])
        return self.col + round(dot_x) // COLUMNS, self.row + self.height - 1 - round(dot_y) // ROWS


@dataclass(frozen=True, eq=False)
class Trace:
    """Dots along one series, in order.

    Attributes:
        pane: where they are.
        dots: [dot, 2] integers from the left and from the bottom of the pane, all inside it.
    """

    pane: Pane
    dots: NDArray[np.int64]

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """[dot, 2] column and row on the whole canvas of each dot."""
        x, y = self.dots[:, 0], self.dots[:, 1]
        return np.stack([self.pane.col + x // COLUMNS, self.pane.row + self.pane.height - 1 - y // ROWS], axis=1)


def trace(pane: Pane, x: ArrayLike, y: ArrayLike, *, dash: Dash = SOLID, project: Projection | None = None) -> Trace:
    """Walk a series through the pane: finite runs only, clipped to the view.

    Args:
        pane: where, and the view.
        x: [point] any numbers.
        y: [point] any numbers.
        dash: dots drawn, then dots left out, repeated along the way.
        project: maps (x, y) to dots [point, 2] where that isn't `pane.project`, as for polar coordinates.
    """
    points = np.asarray((project or pane.project)(x, y), np.float64)
    finite = np.isfinite(points).all(axis=1)
    # Infinite dots of finite numbers lie off the screen; those of NaN and infinite numbers interrupt the line.
    drawable = np.isfinite(np.asarray(x, np.float64)) & np.isfinite(np.asarray(y, np.float64))
    points = np.where((drawable & ~finite)[:, None], np.nan_to_num(points, nan=FAR, posinf=FAR, neginf=-FAR), points)
    points = np.clip(points, -FAR, FAR)
    breaks = np.flatnonzero(np.diff(drawable.astype(np.int8)))
    parts = [
        _walk(pane, points[run])
        for run in np.split(np.arange(len(points)), breaks + 1)
        if run.size and drawable[run[0]]
    ]
    dots = np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)
    return Trace(pane, dots[np.arange(len(dots)) % sum(dash) < dash[0]])


def _walk(pane: Pane, points: NDArray[np.float64]) -> NDArray[np.int64]:
    limits = np.array([pane.dots_wide - 1, pane.dots_high - 1], np.float64)
    if len(points) == 1:
        steps = points
    else:
        starts, ends = _clip(points[:-1], points[1:], limits + 0.499)
        counts = np.maximum(np.ceil(np.abs(ends - starts).max(axis=1, initial=0)), 1).astype(np.int64)
        # Each segment contributes its dots from the start up to, not including, its end; the last point closes.
        segment = np.repeat(np.arange(len(starts)), counts + 1)
        along = np.arange(len(segment)) - np.repeat(np.cumsum(counts + 1) - counts - 1, counts + 1)
        steps = starts[segment] + (ends - starts)[segment] * (along / counts[segment])[:, None]
    rounded = np.rint(steps)
    inside = ((rounded >= 0) & (rounded <= limits)).all(axis=1)
    dots = rounded[inside].astype(np.int64)
    moved = np.ones(len(dots), np.bool_)
    moved[1:] = (np.diff(dots, axis=0) != 0).any(axis=1)
    return dots[moved]


def _clip(
    starts: NDArray[np.float64], ends: NDArray[np.float64], limits: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Liang and Barsky: the share of each segment that lies within the dots; segments that miss it are dropped.
    delta = ends - starts
    enter, leave = np.zeros(len(starts)), np.ones(len(starts))
    missed = np.zeros(len(starts), np.bool_)
    for axis in (0, 1):
        for sign, bound in ((-1.0, 0.499), (1.0, limits[axis])):
            speed = sign * delta[:, axis]
            room = bound - sign * starts[:, axis]
            missed |= (speed == 0) & (room < 0)
            with np.errstate(over="ignore"):  # an almost parallel segment meets the bound infinitely far away
                share = np.divide(room, speed, out=np.zeros_like(room), where=speed != 0)
            enter = np.where(speed < 0, np.maximum(enter, share), enter)
            leave = np.where(speed > 0, np.minimum(leave, share), leave)
    kept = ~missed & (enter <= leave)
    return (starts[kept] + delta[kept] * enter[kept, None], starts[kept] + delta[kept] * leave[kept, None])


# plotext keeps what it draws with in one place for the whole process; charts are painted in several threads.
_DRAWING = Lock()
_SGR = re.compile(r"\x1b\[([0-9;]*)m")


@dataclass(frozen=True, eq=False)
class Stroke:
    """A trace and how it looks; where two share a cell, the later one gives the colour."""

    trace: Trace
    style: Style


class Canvas:
    """Cells that are written over and over, then become a picture."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._characters = [[" "] * width for _ in range(height)]
        self._styles = [[PLAIN] * width for _ in range(height)]

    def text(self, col: int, row: int, text: str, style: Style = PLAIN) -> None:
        """Write one line of text; what lies outside the canvas is left out, control characters become "?"."""
        if not 0 <= row < self.height:
            return
        for character in text:
            if character in JOINING:
                continue
            if not character.isprintable():
                character = "?"
            columns = cell_len(character)
            if columns == 0 and 0 < col <= self.width:
                # A combining mark belongs to the character before it.
                self._characters[row][col - 1] += character
            elif columns and col >= 0 and col + columns <= self.width:
                self._put(col, row, character, columns, style)
            col += columns

    def text_middle(self, pane: Pane, text: str, style: Style = PLAIN) -> None:
        self.text(max(0, pane.col + (pane.width - len(text)) // 2), pane.row + pane.height // 2, text, style)

    def _put(self, col: int, row: int, character: str, columns: int, style: Style) -> None:
        line = self._characters[row]
        # The second cell of a wide character is empty: whoever covers one half blanks the other.
        if line[col] == "" and col > 0:
            line[col - 1] = " "
        if col + columns < self.width and line[col + columns] == "":
            line[col + columns] = " "
        line[col : col + columns] = [character, *[""] * (columns - 1)]
        self._styles[row][col : col + columns] = [style] * columns

    def draw(self, pane: Pane, strokes: Sequence[Stroke]) -> None:
        """Draw strokes in braille; a cell they touch loses what it held before."""
        strokes = [stroke for stroke in strokes if len(stroke.trace.dots)]
        if not strokes or pane.width < 1 or pane.height < 1:
            return
        with _DRAWING:
            text = _braille(pane, strokes)
        # plotext gives back the colour alone; the first stroke of that colour knows the rest.
        styles = {_colour_of(stroke.style): stroke.style for stroke in reversed(strokes)}
        for row, line in enumerate(text.split("\n")[: pane.height], pane.row):
            col, style = pane.col, PLAIN
            for index, part in enumerate(_SGR.split(line)):
                if index % 2:
                    style = styles.get(int(part[5:]) if part.startswith("38;5;") else None, PLAIN)
                    continue
                for character in part:
                    if character != " " and 0 <= row < self.height and 0 <= col < self.width:
                        self._put(col, row, character, 1, style)
                    col += 1

    def picture(self) -> Picture:
        """The cells as they stand now; a blank takes the style before it, so that few styles follow one another."""
        rows: list[tuple[Cell, ...]] = []
        for characters, styles in zip(self._characters, self._styles, strict=True):
            last = max((col for col, character in enumerate(characters) if character != " "), default=-1)
            cells: list[Cell] = []
            current = PLAIN
            for character, style in zip(characters[: last + 1], styles, strict=False):
                current = style if character.strip() else current
                cells.append((character, current))
            rows.append((*cells, *[BLANK] * (self.width - last - 1)))
        return Picture(self.width, tuple(rows))


def _braille(pane: Pane, strokes: Iterable[Stroke]) -> str:
    # Imported on first use: it costs 0.3 s that a screen should not wait for before its first paint.
    import plotext
    from plotext._plotter.plot import plot_class

    plotext.terminal.limit(False, False)
    figure: Any = plot_class(parent=plotext.terminal)
    figure.theme("simple")
    figure.canvas("default")
    figure.axes(False)
    figure.plot_size(pane.width, pane.height)
    figure.ruler("x").lim(0, pane.width).alignment(lim="edge")
    figure.ruler("y").lim(0, pane.height).alignment(lim="edge")
    for axis in ("x", "y"):
        for side in (0, 1):
            figure.ruler(axis, side).frequency(0)
    for stroke in strokes:
        # Integers inside the pane, never connected: a connected series that holds a NaN would abort the process,
        # and one that leaves the view would be walked to its end.
        x = ((stroke.trace.dots[:, 0] + 0.5) / COLUMNS).tolist()
        y = ((stroke.trace.dots[:, 1] + 0.5) / ROWS).tolist()
        marker = plotext.marker("braille", pixel=plotext.pixel(_colour_of(stroke.style)))
        # What `figure.draw` does but for its walk over every point to keep a colour cycle that is not used here.
        figure._signals._add(figure.signal(x, y, marker=marker))
    return figure.build().string()


def _colour_of(style: Style) -> int | None:
    return None if style.color is None else style.color.number
