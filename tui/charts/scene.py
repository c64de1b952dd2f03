"""A painted chart that knows where the spotlight falls on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.style import Style

from srm_explorer.tui.charts.overlay import Overlay, Place
from srm_explorer.tui.charts.picture import Cell, Picture, style_of
from srm_explorer.tui.text import wrapped

Table = list[list[str]]
"""Rows of cells as a CSV file holds them."""

# The greys of chance, grids and frames, which give way to the spotlight.
FAINT = frozenset({style_of("0;38;5;240"), style_of("0;38;5;242"), style_of("0;38;5;244"), Style()})


def _nothing(theta: int, threshold: float) -> Overlay:
    return Overlay()


def _no_table(theta: int, threshold: float) -> Table:
    return []


def _nowhere(col: int, row: int) -> None:
    return None


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
    moving: Callable[[int, float], Overlay] = _nothing
    warnings: tuple[str, ...] = ()
    table: Callable[[int, float], Table] = _no_table
    angle_at: Callable[[int, int], int | None] = _nowhere

    def over(self, theta: int, threshold: float) -> Mapping[Place, Cell]:
        """The cells that differ from the picture."""
        return self.moving(theta, threshold).over(self.picture, FAINT)

    def shown(self, theta: int, threshold: float) -> Picture:
        """The picture with the spotlight on it."""
        rows = [list(row) for row in self.picture.rows]
        for (col, row), cell in self.over(theta, threshold).items():
            rows[row][col] = cell
        return Picture(self.picture.width, tuple(map(tuple, rows)))

    @classmethod
    def message(cls, text: str, width: int, height: int) -> Scene:
        """Words in place of a chart, wrapped, in the middle."""
        room = max(8, min(width - 2, 72))
        lines = [line for part in text.split("\n") for line in wrapped(part, room, hyphens=True) or [""]]
        top = max(0, (height - len(lines)) // 2)
        padded = [" " * max(0, (width - len(line)) // 2) + line for line in lines]
        return cls(Picture.from_ansi("\n".join([*[""] * top, *padded]), width, height))
