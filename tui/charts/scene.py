"""What moves over a picture, and a painted chart that knows where the spotlight falls on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.style import Style

from srm_explorer.tui.charts.palette import CHANCE, FRAME, GRID
from srm_explorer.tui.charts.picture import BITS, FIRST, PLAIN, Cell, Picture, cells_of, is_braille
from srm_explorer.tui.text import wrapped

if TYPE_CHECKING:
    # Scenes of words are shown before numpy is loaded.
    from srm_explorer.engine.figures.paper import Drawn

Position = tuple[int, int]
"""Column and row."""
Dot = tuple[int, int, int, int]
"""Column and row of a cell, then the dot in it: 0 or 1 from the left, 0 to 3 from the top."""


@dataclass(eq=False)
class Overlay:
    """Dots and characters by cell.

    Attributes:
        style: of the dots, where they do not share a cell with a curve.
        dots: braille bits by cell; a cell that holds text keeps its text.
        beneath: whether dots leave alone a cell that holds anything but a grid.
        characters: what replaces a cell.
    """

    style: Style = field(default_factory=lambda: Style(bold=True))
    dots: dict[Position, int] = field(default_factory=dict[Position, int])
    characters: dict[Position, Cell] = field(default_factory=dict[Position, Cell])
    beneath: bool = False

    @classmethod
    def of(cls, dots: Iterable[Dot]) -> Overlay:
        overlay = cls()
        overlay.add_dots(dots)
        return overlay

    def add_dots(self, dots: Iterable[Dot]) -> None:
        for col, row, x, y in dots:
            self.dots[col, row] = self.dots.get((col, row), 0) | BITS[x][y]

    def add_text(self, col: int, row: int, text: str, style: Style) -> None:
        for offset, character in enumerate(text):
            self.characters[col + offset, row] = (character, style)

    def over(self, picture: Picture, faint: frozenset[Style]) -> Mapping[Position, Cell]:
        """Merge with a picture.

        Args:
            picture: what lies below.
            faint: styles, as of a grid, that give way to the dots' own; a curve's cells keep its colour.

        Returns:
            The cells that differ from the picture; none outside it.
        """
        merged: dict[Position, Cell] = {}
        for (col, row), bits in self.dots.items():
            if not (0 <= col < picture.width and 0 <= row < picture.height):
                continue
            below, style = picture.rows[row][col]
            if below == " ":
                merged[col, row] = (chr(FIRST | bits), self.style)
            elif is_braille(below) and (style in faint or not self.beneath):
                merged[col, row] = (chr(ord(below) | bits), self.style if style in faint else style)
        for (col, row), cell in self.characters.items():
            if 0 <= col < picture.width and 0 <= row < picture.height:
                merged[col, row] = cell
        return merged


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
        angle_at: the spotlight's angle that a cell (column, row) stands for, in degrees, or a place in it (a whole
            number is its middle), also (True) beyond what is drawn; None where it has none.
        figure: what it shows, for who draws that in another way; None for words.
    """

    picture: Picture
    moving: Callable[[int, float], Overlay] = lambda theta, threshold: Overlay()
    warnings: tuple[str, ...] = ()
    table: Callable[[int, float], Table] = lambda theta, threshold: []
    angle_at: Callable[[float, float, bool], int | None] = lambda col, row, beyond: None
    figure: Drawn | None = None

    def over(self, theta: int, threshold: float) -> Mapping[Position, Cell]:
        return self.moving(theta, threshold).over(self.picture, FAINT)

    def shown(self, theta: int, threshold: float) -> Picture:
        return self.picture.with_cells(self.over(theta, threshold))

    @classmethod
    def message(cls, text: str, width: int, height: int) -> Scene:
        """Words in place of a chart, wrapped, in the middle."""
        room = max(8, min(width - 2, 72))
        lines = [line for part in text.split("\n") for line in wrapped(part, room, hyphens=True) or [""]]
        top = max(0, (height - len(lines)) // 2)
        rows = [cells_of(" " * max(0, (width - len(line)) // 2) + line) for line in lines]
        return cls(Picture.of([*[[]] * top, *rows], width, height))
