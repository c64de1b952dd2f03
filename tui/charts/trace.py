"""Traces: a series of points as the braille dots it passes through, whatever the series holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
