"""A painted chart as cells, so that what moves over it can be merged in without painting it again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from rich.cells import cell_len
from rich.color import Color, ColorSystem
from rich.style import Style

Cell = tuple[str, Style]
"""A character and how it looks; the second cell of a wide character holds an empty one."""

PLAIN = Style()
BLANK: Cell = (" ", PLAIN)
_CODES = re.compile(r"\x1b\[([0-9;]*)m")
_ATTRIBUTES = {"1": "bold", "2": "dim", "3": "italic", "4": "underline", "7": "reverse"}


@dataclass(frozen=True, eq=False)
class Picture:
    """Rows of cells, all of one width.

    Attributes:
        width: columns.
        rows: top down.
    """

    width: int
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def cell(self, col: int, row: int) -> Cell:
        """One cell; a blank outside the picture."""
        return self.rows[row][col] if 0 <= row < len(self.rows) and 0 <= col < self.width else BLANK

    def text(self) -> str:
        """The characters alone, without trailing blanks."""
        return "\n".join("".join(character for character, _ in row).rstrip() for row in self.rows)

    def ansi(self) -> str:
        """The characters with SGR codes for 256 colours, without trailing blanks."""
        lines: list[str] = []
        for row in self.rows:
            last = max(
                (at for at, (character, style) in enumerate(row) if character != " " or style.reverse), default=-1
            )
            parts = [
                style.render("".join(character for character, _ in group), color_system=ColorSystem.EIGHT_BIT)
                for style, group in groupby(row[: last + 1], key=lambda cell: cell[1])
            ]
            lines.append("".join(parts))
        return "\n".join(lines)

    @classmethod
    def blank(cls, width: int, height: int) -> Picture:
        """Nothing but blanks."""
        return cls(width, ((BLANK,) * width,) * height)

    @classmethod
    def from_ansi(cls, text: str, width: int, height: int) -> Picture:
        """Read text with SGR codes (colours and attributes; no others), padded or cut to a size.

        Args:
            text: lines, as the painters of `srm_explorer.tui.charts` return them; a style lasts until it is changed.
            width: columns.
            height: rows.
        """
        rows: list[tuple[Cell, ...]] = []
        style = PLAIN
        for line in text.split("\n")[:height]:
            cells: list[Cell] = []
            for index, part in enumerate(_CODES.split(line)):
                if index % 2:
                    style = style_of(part, style)
                else:
                    _append(cells, part, style)
            if len(cells) > width:
                cells = cells[:width] if cells[width][0] else [*cells[: width - 1], BLANK]
            rows.append((*cells, *[BLANK] * (width - len(cells))))
        rows += [(BLANK,) * width] * (height - len(rows))
        return cls(width, tuple(rows))


def style_of(codes: str, before: Style = PLAIN) -> Style:
    """The style after an SGR sequence: 0, bold to reverse, the 16, 256 and 16 million colours; others are left out."""
    key = (codes, before)
    found = _styles.get(key)
    if found is None:
        found = _styles[key] = _read(codes, before)
    return found


_styles: dict[tuple[str, Style], Style] = {}


def _read(codes: str, before: Style) -> Style:
    style = before
    parts = [part or "0" for part in codes.split(";")]
    while parts:
        code = parts.pop(0)
        if code == "0":
            style = PLAIN
        elif code in _ATTRIBUTES:
            style += Style.parse(_ATTRIBUTES[code])
        elif code in ("38", "48"):
            colour = _colour(parts)
            if colour is not None:
                style += Style(color=colour) if code == "38" else Style(bgcolor=colour)
        elif code in ("39", "49"):
            style += Style(color="default") if code == "39" else Style(bgcolor="default")
        elif code.isdigit() and int(code) // 10 in (3, 4, 9, 10) and int(code) % 10 < 8:
            number = int(code) % 10 + (8 if int(code) >= 90 else 0)
            colour = Color.from_ansi(number)
            style += Style(color=colour) if int(code) // 10 in (3, 9) else Style(bgcolor=colour)
    return style


def _colour(parts: list[str]) -> Color | None:
    """Take the colour that follows 38 or 48 from the codes; None where it is no colour."""
    kind = parts.pop(0) if parts else ""
    wanted = {"5": 1, "2": 3}.get(kind, 0)
    numbers = [int(part) for part in parts[:wanted] if part.isdigit() and int(part) < 256]
    del parts[:wanted]
    if not wanted or len(numbers) < wanted:
        return None
    return Color.from_ansi(numbers[0]) if wanted == 1 else Color.from_rgb(*numbers)


def _append(cells: list[Cell], text: str, style: Style) -> None:
    for character in text:
        columns = 1 if character.isascii() or "─" <= character <= "⣿" else cell_len(character)
        if columns == 0:
            if cells:
                cells[-1] = (cells[-1][0] + character, cells[-1][1])
            continue
        cells.append((character, style))
        if columns == 2:
            cells.append(("", style))


Mode = Literal["braille", "block", "ascii"]

FIRST = 0x2800
# The bits of a braille character by (column, row) of its dots, top down.
BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
# Quadrant blocks by their filled quarters: upper left 1, upper right 2, lower left 4, lower right 8.
_QUADRANTS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
# What is drawn where chance reaches: two dots that no curve makes by itself.
CHANCE = BITS[0][0] | BITS[1][2]
_ASCII = {
    **dict.fromkeys("○◯∘□△▽◇◁▷", "o"),
    **dict.fromkeys("●•■▲▼◆", "*"),
    **dict.fromkeys("─╌━═", "-"),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("└┘┌┐├┤┴┬┼╭╮╰╯", "+"),
    **dict.fromkeys("←↖↙", "<"),
    **dict.fromkeys("→↗↘", ">"),
    "↑": "^",
    "↓": "v",
    "…": "~",
    "−": "-",
    "–": "-",
    "·": ".",
    "×": "x",
    "⚠": "!",
    "°": "d",
    "φ": "p",
    "θ": "t",
    "σ": "s",
    "∞": "i",
    "░": ",",
    "┆": ":",
}
# Each group keeps a sign of its own: colours may be missing where braille is.
_ASCII_MARKERS = dict(zip("○●◇╌▲■▼◆△□▽◁▷", "o*?-^#v+ABVCD", strict=True))


def dot(x: int, y: int) -> int:
    """The bit of one dot of a cell: x 0 or 1 from the left, y 0 to 3 from the top."""
    return BITS[x][y]


def sign(character: str, mode: Mode) -> str:
    """The character that stands for another one in a mode; of the same width."""
    if mode == "braille" or character.isascii():
        return character
    if len(character) == 1 and FIRST <= ord(character) < FIRST + 256:
        return _TABLES[mode][ord(character) - FIRST]
    if mode == "block":
        return character
    return _ASCII_MARKERS.get(character) or _ASCII.get(character, character)


def _block(bits: int) -> str:
    if bits == CHANCE:
        return "░"
    left, right = BITS
    quarters = (
        (left[0] | left[1], 1),
        (right[0] | right[1], 2),
        (left[2] | left[3], 4),
        (right[2] | right[3], 8),
    )
    return _QUADRANTS[sum(value for mask, value in quarters if bits & mask)]


def _ascii(bits: int) -> str:
    if bits == CHANCE:
        return ","
    count = bits.bit_count()
    if count == 0:
        return " "
    upper = bits & (BITS[0][0] | BITS[1][0] | BITS[0][1] | BITS[1][1])
    if count <= 2:
        return "'" if upper == bits else "." if not upper else ":"
    if bits in (sum(BITS[0]), sum(BITS[1])):
        return "|"
    return ":" if count <= 4 else "%"


_TABLES = {
    "block": tuple(_block(bits) for bits in range(256)),
    "ascii": tuple(_ascii(bits) for bits in range(256)),
}
