"""A painted chart as cells: what moves over it is merged in cell by cell; text, ANSI and SVG are written from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Literal

from rich.cells import cell_len
from rich.color import ColorType
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from srm_explorer.tui.charts.palette import on_background
from srm_explorer.tui.text import JOINING

Cell = tuple[str, Style]
"""A character and how it looks; the second cell of a wide character holds an empty one."""

PLAIN = Style()
BLANK: Cell = (" ", PLAIN)


def cells_of(text: str, style: Style = PLAIN) -> list[Cell]:
    cells: list[Cell] = []
    for character in text:
        columns = cell_len(character)
        if character in JOINING:
            continue
        if columns:
            cells += [(character, style), *[("", style)] * (columns - 1)]
        elif cells:
            # A combining mark belongs to the character before it.
            cells[-1] = (cells[-1][0] + character, style)
    return cells


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
        return len(self.rows)

    def text(self) -> str:
        """The characters alone, without trailing blanks."""
        return "\n".join("".join(character for character, _ in row).rstrip() for row in self.rows)

    def ansi(self) -> str:
        """The characters with SGR codes for 256 colours, without trailing blanks."""
        return "\n".join(map(_ansi_row, self.rows))

    def with_cells(self, cells: Mapping[tuple[int, int], Cell]) -> Picture:
        rows = [list(row) for row in self.rows]
        for (col, row), cell in cells.items():
            rows[row][col] = cell
        return Picture(self.width, tuple(map(tuple, rows)))

    @classmethod
    def blank(cls, width: int, height: int) -> Picture:
        return cls(width, ((BLANK,) * width,) * height)

    @classmethod
    def of(cls, rows: Sequence[Sequence[Cell]], width: int, height: int) -> Picture:
        """Cells that are padded or cut to a size; a wide character is never cut in half."""
        fitted: list[tuple[Cell, ...]] = []
        for row in rows[:height]:
            cells = [*row[:width], *[BLANK] * (width - len(row))]
            if len(row) > width > 0 and not row[width][0]:
                cells[-1] = BLANK
            fitted.append(tuple(cells))
        return cls(width, (*fitted, *[(BLANK,) * width] * (height - len(fitted))))


def _ansi_row(row: Iterable[Cell]) -> str:
    cells = list(row)
    while cells and cells[-1][0] == " " and not cells[-1][1].reverse:
        cells.pop()
    out: list[str] = []
    current = PLAIN
    for character, style in cells:
        # A blank looks alike in every colour: keeping the current one saves codes.
        if style != current and (character.strip() or style.reverse or current.reverse):
            out.append(_sgr(style))
            current = style
        out.append(character)
    if current != PLAIN:
        out.append(_sgr(PLAIN))
    return "".join(out)


@lru_cache(1024)
def _sgr(style: Style) -> str:
    attributes = ((style.bold, "1"), (style.dim, "2"), (style.underline, "4"), (style.reverse, "7"))
    codes = ["0", *(code for is_set, code in attributes if is_set)]
    if style.color is not None:
        codes += style.color.get_ansi_codes()
    return f"\x1b[{';'.join(codes)}m"


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
    "φ": "f",
    "θ": "t",
    "σ": "s",
    "∞": "i",
    "░": ",",
    "▒": ":",
    "▓": "x",
    "█": "#",
    "┆": ":",
}
# Each group keeps a character to itself: colours may be missing where braille is.
_ASCII_MARKERS = dict(zip("○●◇╌▲■▼◆△□▽◁▷", "o*?-^#v+ABVCD", strict=True))


def is_braille(character: str) -> bool:
    """Whether a cell's character is a braille pattern, into which dots can be merged."""
    return len(character) == 1 and FIRST <= ord(character) < FIRST + 256


def glyph(character: str, mode: Mode, *, faint: bool = False) -> str:
    """The character that stands for another one in a mode; of the same width.

    Args:
        faint: whether it is part of a grid, which must not look like a curve where dots are not what is drawn.
    """
    if mode == "braille" or character.isascii():
        return character
    if is_braille(character):
        if faint:
            return "." if mode == "ascii" else "·"
        return _TABLES[mode][ord(character) - FIRST]
    if mode == "block":
        return character
    return _ASCII_MARKERS.get(character) or _ASCII.get(character, character)


def _block(bits: int) -> str:
    if bits == CHANCE:
        return "░"
    left, right = BITS
    quarters = ((left[0] | left[1], 1), (right[0] | right[1], 2), (left[2] | left[3], 4), (right[2] | right[3], 8))
    return _QUADRANTS[sum(value for mask, value in quarters if bits & mask)]


def _ascii(bits: int) -> str:
    if bits == CHANCE:
        return ","
    count = bits.bit_count()
    if count == 0:
        return " "
    upper = bits & (BITS[0][0] | BITS[1][0] | BITS[0][1] | BITS[1][1])
    if count <= 2:
        return "'" if upper == bits else "_" if not upper else ":"
    if bits in (sum(BITS[0]), sum(BITS[1])):
        return "|"
    return ":" if count <= 4 else "%"


_TABLES = {"block": tuple(_block(bits) for bits in range(256)), "ascii": tuple(_ascii(bits) for bits in range(256))}


WIDTH, HEIGHT = 8.4, 16.8
"""Of a cell, in pixels: half as wide as high, as terminals have it."""
MARGIN = 12
RADIUS = 1.05
BASELINE = 0.76
FONT = "'DejaVu Sans Mono', Menlo, Consolas, ui-monospace, monospace"
TEXT, PAPER = "#1c1c1c", "#ffffff"


def svg_of(picture: Picture, caption: str = "") -> str:
    """Draw every cell; dark on white, the groups in their colours."""
    rows = picture.height + (2 if caption else 0)
    width, height = picture.width * WIDTH + 2 * MARGIN, rows * HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.1f} {height:.1f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="{FONT}" font-size="{HEIGHT * 0.78:.1f}">',
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
    ]
    for y, row in enumerate(picture.rows):
        parts += _row(row, MARGIN + y * HEIGHT)
    if caption:
        parts.append(_text(caption, 0, MARGIN + (picture.height + 1) * HEIGHT, TEXT, PLAIN, len(caption)))
    return "\n".join([*parts, "</svg>", ""])


def _row(row: tuple[Cell, ...], top: float) -> list[str]:
    parts: list[str] = []
    col = 0
    while col < len(row):
        character, style = row[col]
        end = col + 1
        has_dots = is_braille(character)
        # Runs of one style are one element; each character keeps the place that its cell has.
        while end < len(row) and row[end][1] == style and row[end][0] not in ("", " ") and not is_braille(row[end][0]):
            if has_dots or character in ("", " ") or len(row[end][0]) != 1 or len(character) != 1:
                break
            end += 1
        colour = _colour(style)
        if style.reverse:
            left, wide = MARGIN + col * WIDTH, (end - col) * WIDTH
            parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{HEIGHT}" fill="{colour}"/>')
            colour = PAPER
        if has_dots:
            parts.append(_dots(ord(character) - FIRST, col, top, colour))
        elif character.strip():
            text = "".join(cell[0] for cell in row[col:end])
            parts.append(_text(text, col, top, colour, style, end - col))
        col = end
    return parts


def _text(text: str, col: int, top: float, colour: str, style: Style, columns: int) -> str:
    weight = ' font-weight="bold"' if style.bold else ""
    length = f' textLength="{columns * WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"' if columns > 1 else ""
    x, y = MARGIN + col * WIDTH, top + BASELINE * HEIGHT
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{weight}{length} xml:space="preserve">{escape(text)}</text>'


def _dots(bits: int, col: int, top: float, colour: str) -> str:
    circles = "".join(
        f"M{MARGIN + (col + 0.25 + 0.5 * x) * WIDTH - RADIUS:.2f},{top + (y + 0.5) / 4 * HEIGHT:.2f}"
        f"a{RADIUS},{RADIUS} 0 1 0 {2 * RADIUS},0a{RADIUS},{RADIUS} 0 1 0 {-2 * RADIUS},0"
        for x, column in enumerate(BITS)
        for y, bit in enumerate(column)
        if bits & bit
    )
    return f'<path d="{circles}" fill="{colour}"/>' if circles else ""


def _colour(style: Style) -> str:
    colour = on_background(style, dark=False).color
    if colour is None or colour.type is ColorType.DEFAULT:
        return TEXT
    return colour.get_truecolor(DEFAULT_TERMINAL_THEME).hex
