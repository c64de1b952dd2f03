"""The canvas: a grid of cells that plotext's braille and plain text are put on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len

from srm_explorer.tui.charts.palette import PLAIN, Ink

# Dots beyond this lie off every screen; the exact place no longer matters, the arithmetic must not overflow.
FAR = 1e6
COLUMNS, ROWS = 2, 4


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
        """Dots from left to right."""
        return COLUMNS * self.width

    @property
    def dots_high(self) -> int:
        """Dots from bottom to top."""
        return ROWS * self.height

    def dots(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Place points [point] on the dot grid: [point, 2], from the left and from the bottom; NaN stays NaN."""
        placed = np.empty((np.size(x), 2))
        with np.errstate(over="ignore", invalid="ignore"):
            for axis, (values, low, high, count) in enumerate(
                ((x, self.x_low, self.x_high, self.dots_wide), (y, self.y_low, self.y_high, self.dots_high))
            ):
                # Halves keep the span of the widest floats finite.
                span = high / 2 - low / 2
                share = (np.asarray(values, np.float64) / 2 - low / 2) / span if span > 0 else np.full(np.size(x), 0.5)
                placed[:, axis] = share * (count - 1)
        return placed

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Column and row, on the whole canvas, of the cell that holds a point of the view."""
        dot_x, dot_y = np.clip(np.nan_to_num(self.dots([x], [y])[0]), 0, [self.dots_wide - 1, self.dots_high - 1])
        return self.col + round(dot_x) // COLUMNS, self.row + self.height - 1 - round(dot_y) // ROWS


@dataclass(frozen=True, eq=False)
class Trace:
    """Dots along one series, in order.

    Attributes:
        dots: [dot, 2] integers from the left and from the bottom of the pane, all inside it.
        cells: [dot, 2] column and row on the whole canvas of each dot.
    """

    dots: NDArray[np.int64]
    cells: NDArray[np.int64]


def trace(
    pane: Pane, x: ArrayLike, y: ArrayLike, *, on: int = 1, off: int = 0, place: Callable[..., ArrayLike] | None = None
) -> Trace:
    """Walk a series through the pane: finite runs only, clipped to the view.

    Args:
        pane: where, and the view.
        x: [point] any numbers.
        y: [point] any numbers.
        on: dots drawn, then
        off: dots left out, repeated along the way.
        place: maps (x, y) to dots [point, 2] where that isn't `pane.dots`, as for polar coordinates.
    """
    points = np.asarray((place or pane.dots)(x, y), np.float64)
    finite = np.isfinite(points).all(axis=1)
    # Infinite places of finite numbers lie off the screen; those of NaN and infinite numbers interrupt the line.
    given = np.isfinite(np.asarray(x, np.float64)) & np.isfinite(np.asarray(y, np.float64))
    points = np.where((given & ~finite)[:, None], np.nan_to_num(points, nan=FAR, posinf=FAR, neginf=-FAR), points)
    points = np.clip(points, -FAR, FAR)
    breaks = np.flatnonzero(np.diff(given.astype(np.int8)))
    parts = [
        _walk(pane, points[run]) for run in np.split(np.arange(len(points)), breaks + 1) if run.size and given[run[0]]
    ]
    dots = np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)
    if off:
        dots = dots[np.arange(len(dots)) % (on + off) < on]
    cells = np.stack([pane.col + dots[:, 0] // COLUMNS, pane.row + pane.height - 1 - dots[:, 1] // ROWS], axis=1)
    return Trace(dots=dots, cells=cells)


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
    return (
        starts[kept] + delta[kept] * enter[kept, None],
        starts[kept] + delta[kept] * leave[kept, None],
    )


# plotext keeps what it draws with in one place for the whole process; charts are painted in several threads.
DRAWING = Lock()
COLOURED = re.compile(r"\x1b\[([0-9;]*)m")
RESET = "\x1b[0m"


@dataclass(frozen=True, eq=False)
class Stroke:
    """A trace and its ink; where two share a cell, the later one gives the colour."""

    trace: Trace
    ink: Ink


class Canvas:
    """Cells of one character each, written over and over, then printed once."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._cells = [[" "] * width for _ in range(height)]
        self._inks = [[PLAIN] * width for _ in range(height)]

    def text(self, col: int, row: int, text: str, ink: Ink = PLAIN) -> None:
        """Write one line of text; what lies outside the canvas is left out, control characters become "?"."""
        if not 0 <= row < self.height:
            return
        for character in text:
            if not character.isprintable():
                character = "?"
            columns = cell_len(character)
            if columns == 0 and 0 < col <= self.width:
                # A combining mark belongs to the character before it.
                self._cells[row][col - 1] += character
            elif columns and col >= 0 and col + columns <= self.width:
                self._put(col, row, character, columns, ink)
            col += columns

    def _put(self, col: int, row: int, character: str, columns: int, ink: Ink) -> None:
        line = self._cells[row]
        # The second cell of a wide character is empty: whoever covers one half blanks the other.
        if line[col] == "" and col > 0:
            line[col - 1] = " "
        if col + columns < self.width and line[col + columns] == "":
            line[col + columns] = " "
        line[col : col + columns] = [character, *[""] * (columns - 1)]
        self._inks[row][col : col + columns] = [ink] * columns

    def strokes(self, pane: Pane, strokes: Sequence[Stroke]) -> None:
        """Draw strokes in braille; a cell they touch loses what it held before."""
        drawn = [stroke for stroke in strokes if len(stroke.trace.dots)]
        if not drawn or pane.width < 1 or pane.height < 1:
            return
        with DRAWING:
            text = _braille(pane, drawn)
        for row, line in enumerate(text.split("\n")[: pane.height]):
            col = 0
            ink = PLAIN
            for index, part in enumerate(COLOURED.split(line)):
                if index % 2:
                    ink = _ink(part, drawn)
                    continue
                for character in part:
                    if character != " ":
                        self.text(pane.col + col, pane.row + row, character, ink)
                    col += 1

    def string(self, *, colour: bool) -> str:
        """Join the rows: exactly `height` lines of at most `width` columns, without trailing blanks."""
        return "\n".join(
            _styled(cells, inks) if colour else "".join(cells).rstrip()
            for cells, inks in zip(self._cells, self._inks, strict=True)
        )


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
        marker = plotext.marker("braille", pixel=plotext.pixel(stroke.ink.colour))
        # What `figure.draw` does but for its walk over every point to keep a colour cycle that is not used here.
        figure._signals._add(figure.signal(x, y, marker=marker))
    return figure.build().string()


def _ink(codes: str, strokes: Sequence[Stroke]) -> Ink:
    # plotext gives back the colour alone; the stroke it came from knows the rest.
    parts = codes.split(";")
    if parts[:2] != ["38", "5"]:
        return next((stroke.ink for stroke in strokes if stroke.ink.colour is None), PLAIN)
    colour = int(parts[2])
    return next((stroke.ink for stroke in strokes if stroke.ink.colour == colour), Ink(colour=colour))


def _styled(cells: Sequence[str], inks: Sequence[Ink]) -> str:
    last = max((index for index, cell in enumerate(cells) if cell != " "), default=-1)
    out: list[str] = []
    current = PLAIN
    for cell, ink in zip(cells[: last + 1], inks[: last + 1], strict=True):
        # A blank looks alike in every ink: keeping the current one saves codes.
        if cell.strip() and ink != current:
            out.append(_code(ink))
            current = ink
        out.append(cell)
    if current != PLAIN:
        out.append(RESET)
    return "".join(out)


def _code(ink: Ink) -> str:
    parts = ["0"]
    if ink.bold:
        parts.append("1")
    if ink.dim:
        parts.append("2")
    if ink.colour is not None:
        parts.append(f"38;5;{ink.colour}")
    return f"\x1b[{';'.join(parts)}m"
