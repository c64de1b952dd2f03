"""What moves over a picture: braille dots that are merged into its cells, and characters that replace them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rich.style import Style

from srm_explorer.tui.charts.picture import BITS, FIRST, Cell, Picture, is_braille

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
        characters: what replaces a cell.
    """

    style: Style = field(default_factory=lambda: Style(bold=True))
    dots: dict[Position, int] = field(default_factory=dict[Position, int])
    characters: dict[Position, Cell] = field(default_factory=dict[Position, Cell])

    @classmethod
    def of(cls, dots: Iterable[Dot]) -> Overlay:
        """Nothing but dots."""
        overlay = cls()
        overlay.add_dots(dots)
        return overlay

    def add_dots(self, dots: Iterable[Dot]) -> None:
        """Add dots to those that are there."""
        for col, row, x, y in dots:
            self.dots[col, row] = self.dots.get((col, row), 0) | BITS[x][y]

    def add_text(self, col: int, row: int, text: str, style: Style) -> None:
        """Write text of narrow characters over the picture."""
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
            elif is_braille(below):
                merged[col, row] = (chr(ord(below) | bits), self.style if style in faint else style)
        for (col, row), cell in self.characters.items():
            if 0 <= col < picture.width and 0 <= row < picture.height:
                merged[col, row] = cell
        return merged
