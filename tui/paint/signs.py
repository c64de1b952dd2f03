"""Stand-ins for the braille and the markers of a chart where a terminal's font lacks them."""

from __future__ import annotations

from typing import Literal

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
