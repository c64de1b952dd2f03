"""Where the spotlight falls on a painted chart: a ray, a chord, a cursor, as braille dots."""

from __future__ import annotations

import math

from srm_explorer.tui.charts.canvas import COLUMNS, ROWS, Pane
from srm_explorer.tui.charts.disc import Disc
from srm_explorer.tui.charts.overlay import Dot

Point = tuple[float, float]


def ray(disc: Disc, theta: float, start: float | None = None) -> list[Dot]:
    """A dotted line along the spotlight, from a value of the radius (the centre by default) to the rim."""
    begin = disc.low if start is None else min(max(start, -disc.high), disc.high)
    share = (begin - disc.low) / (disc.high - disc.low)
    x, y = math.cos(math.radians(theta)), math.sin(math.radians(theta))
    return _line(disc.pane, _on(disc, (share * x, share * y)), _on(disc, (x, y)), every=2)


def chord(disc: Disc, theta: float, threshold: float) -> list[Dot]:
    """The line across a unit disc whose points have the threshold as their cosine with the spotlight."""
    if not -1 <= threshold <= 1:
        return []
    half = math.sqrt(1 - threshold**2)
    x, y = math.cos(math.radians(theta)), math.sin(math.radians(theta))
    start = _on(disc, (threshold * x + half * y, threshold * y - half * x))
    return _line(disc.pane, start, _on(disc, (threshold * x - half * y, threshold * y + half * x)))


def cursor(pane: Pane, theta: float) -> list[Dot]:
    """A vertical dotted line through a pane at the spotlight's angle."""
    x = (theta - pane.x_low) / (pane.x_high - pane.x_low) * (pane.dots_wide - 1)
    return _line(pane, (x, 0), (x, pane.dots_high - 1), every=2)


def angle_in(pane: Pane, col: int, row: int) -> int | None:
    """The angle in whole degrees of a cell of a pane over 0 to 360 degrees; None outside it."""
    if not (pane.col <= col < pane.col + pane.width and pane.row <= row < pane.row + pane.height):
        return None
    return round(360 * (2 * (col - pane.col) + 0.5) / (pane.dots_wide - 1)) % 360


def _on(disc: Disc, point: Point) -> Point:
    """The dot of a point in the unit disc."""
    pane, reach = disc.pane, disc.reach
    return (pane.dots_wide - 1) / 2 + reach * point[0], (pane.dots_high - 1) / 2 + reach * point[1]


def _line(pane: Pane, start: Point, end: Point, every: int = 1) -> list[Dot]:
    """Walk from dot to dot; plain numbers, since this is done at every key and arrays would cost ten times as much."""
    (x, y), (to_x, to_y) = start, end
    steps = max(1, math.ceil(max(abs(to_x - x), abs(to_y - y))))
    dots: list[Dot] = []
    for step in range(0, steps + 1, every):
        dot_x = round(x + (to_x - x) * step / steps)
        dot_y = round(y + (to_y - y) * step / steps)
        if 0 <= dot_x < pane.dots_wide and 0 <= dot_y < pane.dots_high:
            col, row = pane.col + dot_x // COLUMNS, pane.row + pane.height - 1 - dot_y // ROWS
            dots.append((col, row, dot_x % COLUMNS, ROWS - 1 - dot_y % ROWS))
    return dots
