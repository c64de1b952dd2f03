"""A picture as SVG: braille as real dots, so that no font is needed for it, text as text."""

from __future__ import annotations

from html import escape

from rich.color import ColorType
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from srm_explorer.tui.charts.picture import BITS, FIRST, PLAIN, Cell, Picture, is_braille

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
    colour = style.color
    if colour is None or colour.type is ColorType.DEFAULT:
        return TEXT
    return colour.get_truecolor(DEFAULT_TERMINAL_THEME).hex
