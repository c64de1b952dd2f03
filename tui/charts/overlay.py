"""What moves over a picture: braille dots that are merged into its cells, and signs that take their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rich.style import Style

from srm_explorer.tui.charts.picture import FIRST, Cell, Picture, dot

Place = tuple[int, int]
"""Column and row."""


@dataclass(eq=False)
class Overlay:
    """Dots and signs by cell.

    Attributes:
        style: of the dots, where they do not share a cell with a curve.
        dots: braille bits by cell; a cell that holds text keeps its text.
        signs: what replaces a cell, or with None for the character, how the cell's own character is to look.
    """

    style: Style = field(default_factory=lambda: Style(bold=True))
    dots: dict[Place, int] = field(default_factory=dict[Place, int])
    signs: dict[Place, tuple[str | None, Style]] = field(default_factory=dict[Place, tuple[str | None, Style]])

    def add_dots(self, places: Iterable[tuple[int, int, int, int]]) -> None:
        """Add dots: column and row of the cell, then x (0, 1 from the left) and y (0 to 3 from the top) within it."""
        for col, row, x, y in places:
            self.dots[col, row] = self.dots.get((col, row), 0) | dot(x, y)

    def add_text(self, col: int, row: int, text: str, style: Style) -> None:
        """Write text of narrow characters over the picture."""
        for offset, character in enumerate(text):
            self.signs[col + offset, row] = (character, style)

    def over(self, picture: Picture, faint: frozenset[Style]) -> Mapping[Place, Cell]:
        """Merge with a picture.

        Args:
            picture: what lies below.
            faint: styles, as of a grid, that give way to the dots' own; a curve's cells keep its colour.

        Returns:
            The cells that differ from the picture; none outside it.
        """
        merged: dict[Place, Cell] = {}
        for (col, row), bits in self.dots.items():
            if not (0 <= col < picture.width and 0 <= row < picture.height):
                continue
            below, style = picture.rows[row][col]
            if below == " ":
                merged[col, row] = (chr(FIRST | bits), self.style)
            elif len(below) == 1 and FIRST <= ord(below) < FIRST + 256:
                merged[col, row] = (chr(ord(below) | bits), self.style if style in faint else style)
        for (col, row), (character, style) in self.signs.items():
            if 0 <= col < picture.width and 0 <= row < picture.height:
                below = picture.rows[row][col][0]
                merged[col, row] = (character or below, style)
        return merged
