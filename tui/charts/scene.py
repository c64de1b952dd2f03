"""A painted chart that knows where the spotlight falls on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from srm_explorer.tui.charts.overlay import Overlay, Position
from srm_explorer.tui.charts.palette import CHANCE, FRAME, GRID
from srm_explorer.tui.charts.picture import PLAIN, Cell, Picture, cells_of
from srm_explorer.tui.text import wrapped

Table = list[list[str]]
"""Rows of cells as a CSV file holds them."""

FAINT = frozenset({CHANCE, GRID, FRAME, PLAIN})
"""The greys, which give way to the spotlight."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A chart as it was painted, and what moves over it.

    Attributes:
        picture: the chart without the spotlight.
        moving: what the spotlight adds at an angle in degrees, with a threshold.
        warnings: everything a reader should know, the gravest first.
        table: the numbers behind the chart, the header first, with the spotlight at an angle, with a threshold.
        angle_at: the spotlight's angle that a cell (column, row) stands for, in degrees; None where it has none.
    """

    picture: Picture
    moving: Callable[[int, float], Overlay] = lambda theta, threshold: Overlay()
    warnings: tuple[str, ...] = ()
    table: Callable[[int, float], Table] = lambda theta, threshold: []
    angle_at: Callable[[int, int], int | None] = lambda col, row: None

    def over(self, theta: int, threshold: float) -> Mapping[Position, Cell]:
        """The cells that differ from the picture."""
        return self.moving(theta, threshold).over(self.picture, FAINT)

    def shown(self, theta: int, threshold: float) -> Picture:
        """The picture with the spotlight on it."""
        return self.picture.with_cells(self.over(theta, threshold))

    @classmethod
    def message(cls, text: str, width: int, height: int) -> Scene:
        """Words in place of a chart, wrapped, in the middle."""
        room = max(8, min(width - 2, 72))
        lines = [line for part in text.split("\n") for line in wrapped(part, room, hyphens=True) or [""]]
        top = max(0, (height - len(lines)) // 2)
        rows = [cells_of(" " * max(0, (width - len(line)) // 2) + line) for line in lines]
        return cls(Picture.of([*[[]] * top, *rows], width, height))
