"""The canvas: a grid of cells that plotext's braille and plain text are put on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from rich.cells import cell_len

from tui.charts.palette import PLAIN, Ink
from tui.charts.trace import COLUMNS, ROWS, Pane, Trace

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
