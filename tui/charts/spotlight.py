"""Where the spotlight falls on a painted chart: a ray, a chord, a cursor, as braille dots."""

from __future__ import annotations

import math

import numpy as np

from tui.charts.disc import Disc
from tui.charts.trace import COLUMNS, ROWS, Pane, Trace, trace

Dots = list[tuple[int, int, int, int]]
"""Column and row of a cell, then the dot in it: 0 or 1 from the left, 0 to 3 from the top."""


def ray(disc: Disc, theta: float, start: float | None = None) -> Dots:
    """A dotted line along the spotlight, from a value of the radius (the centre by default) to the rim."""
    begin = disc.low if start is None else min(max(start, -disc.high), disc.high)
    step = np.linspace(begin, disc.high, 2)
    return _dots(trace(disc.pane, np.full(2, theta), step, on=1, off=1, place=disc.place))


def chord(disc: Disc, theta: float, threshold: float) -> Dots:
    """The line across a unit disc whose points have the threshold as their cosine with the spotlight."""
    if not -1 <= threshold <= 1:
        return []
    half = math.sqrt(1 - threshold**2)
    angle = math.radians(theta)
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    ends = np.array([[threshold * along[i] + side * half * across[i] for i in (0, 1)] for side in (-1, 1)])
    return _dots(trace(disc.pane, ends[:, 0], ends[:, 1], place=disc.place_xy))


def cursor(pane: Pane, theta: float) -> Dots:
    """A vertical dotted line through a pane at the spotlight's angle."""
    return _dots(trace(pane, [theta, theta], [pane.y_low, pane.y_high], on=1, off=1))


def _dots(line: Trace) -> Dots:
    return [
        (col, row, x % COLUMNS, ROWS - 1 - y % ROWS)
        for (x, y), (col, row) in zip(line.dots.tolist(), line.cells.tolist(), strict=True)
    ]
