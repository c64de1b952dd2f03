"""Colours and markers: what makes a group the same on every chart, on every background, and without colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.color import Color
from rich.style import Style

if TYPE_CHECKING:
    # Scenes need the colours before numpy is loaded.
    from srm_explorer.engine.figures import LegendEntry, Role


PLAIN = Style()


@dataclass(frozen=True)
class GroupStyle:
    """How one group looks: colour, marker, whether its line is dashed, and the fainter colour of its band."""

    style: Style
    marker: str
    dashed: bool = False
    band: Style = PLAIN


def foreground(number: int) -> Style:
    """A colour of the 256-colour palette, which reaches every terminal over SSH."""
    return Style(color=Color.from_ansi(number))


BOLD = Style(bold=True)
LIT = Style(bold=True, reverse=True)
DASH = (3, 9)
"""Dots of a dash, and of the gap after it: longer, so that a curve under it keeps its colour."""

# What is painted does not know what it lies on: its colours are readable on black and on white, and are exchanged for
# those of a dark or a light background where that is known. No colour stands for two inks.
GRID, FRAME, CHANCE = foreground(242) + Style(dim=True), foreground(243), foreground(241)
WARNING = foreground(131) + BOLD
_BLUE, _VERMILLION, _GREEN, _PINK, _ORANGE = (32, 25), (166, 130), (29, 28), (168, 132), (136, 94)
_TEAL, _INDIGO, _OLIVE, _PURPLE = (30, 66), (61, 60), (64, 58), (133, 96)
_CYCLE = (_GREEN, _PINK, _ORANGE, _TEAL, _INDIGO, _OLIVE, _PURPLE)
"""Colours of a group and of its band."""
BANDS = frozenset(band for _, band in (_BLUE, _VERMILLION, *_CYCLE))
"""Colours of bands alone."""
ON_BACKGROUND: dict[int, tuple[int, int]] = {
    242: (238, 249),
    243: (246, 240),
    241: (242, 243),
    131: (214, 58),
    32: (39, 25),
    25: (32, 27),
    166: (208, 124),
    130: (130, 130),
    133: (176, 90),
    96: (96, 97),
    29: (35, 22),
    28: (28, 28),
    168: (204, 126),
    132: (132, 132),
    136: (172, 88),
    94: (136, 130),
    30: (37, 23),
    66: (30, 30),
    61: (141, 57),
    60: (62, 62),
    64: (142, 58),
    58: (64, 94),
}
"""By the colour of an ink, its colours on a dark and on a light background."""


def on_background(style: Style, *, dark: bool) -> Style:
    """A style of a chart as it looks on a background that is known to be dark, or light."""
    number = None if style.color is None else style.color.number
    if number not in ON_BACKGROUND:
        return style
    return style + Style(color=Color.from_ansi(ON_BACKGROUND[number][not dark]), dim=False)


def _group(colours: tuple[int, int], marker: str) -> GroupStyle:
    return GroupStyle(foreground(colours[0]), marker, band=foreground(colours[1]))


# Blue and vermillion are told apart with every common colour vision.
FIXED: dict[Role, GroupStyle] = {
    "baseline": _group(_BLUE, "○"),
    "pooled": _group(_VERMILLION, "●"),
    "reference": _group(_PURPLE, "◇"),
    "arithmetic": GroupStyle(FRAME, "╌", dashed=True, band=CHANCE),
    "chance": GroupStyle(CHANCE, "░", band=CHANCE),
}
# Another length than the colours', so that a pair repeats only after their product.
CYCLE_MARKERS = ("▲", "■", "▼", "◆", "△", "□", "▽", "◁", "▷")


# Shapes of the levels of a factor: a level's baseline is hollow, what was done at it is filled.
HOLLOW = ("△", "□", "▽", "◇", "○", "◁", "▷")
FILLED = ("▲", "■", "▼", "◆", "●")


SESSION_COLOURS = (_VERMILLION, _GREEN, _INDIGO, _PINK, _TEAL, _PURPLE, _OLIVE, _ORANGE)
"""A session has the same colour on every chart and in every table: the place it has among those compared."""
SESSION_MARKERS = ("●", "▲", "■", "▼", "◆", "◀", "▶", "★")
_SESSION_BASES = ("○", "△", "□", "▽", "◇", "◁", "▷", "☆")


def session_style(session: int, role: Role = "pooled") -> GroupStyle:
    """How one of up to eight sessions looks: its colour, the marker filled, and hollow where nothing was done.

    A reference, which is neither, has a marker of its own.
    """
    at = session % len(SESSION_COLOURS)
    markers = _SESSION_BASES if role in ("baseline", "baseline of") else SESSION_MARKERS
    return _group(SESSION_COLOURS[at], "╳" if role == "reference" else markers[at])


def session_look(session: int) -> str:
    """The colour of a session as the look of a table's cell."""
    return f"color({SESSION_COLOURS[session % len(SESSION_COLOURS)][0]})"


def styles_of(legend: Sequence[LegendEntry]) -> dict[str, GroupStyle]:
    """Give each legend entry its style, by its session where it has one, else by role, then by order among its kind.

    Every baseline has the baseline's colour and a hollow marker, so that leaving them out changes no other style. What
    arithmetic predicts is always dashed: grey, or in the colour of its group where there are several predictions.
    """
    styles: dict[str, GroupStyle] = {}
    bases = levels = others = 0
    given_out: set[Role] = set()
    several = sum(entry.role == "arithmetic" for entry in legend) > 1
    for entry in legend:
        if entry.session is not None:
            styles[entry.label] = session_style(entry.session, entry.role)
            continue
        if entry.role == "arithmetic":
            fixed = FIXED["arithmetic"]
            style = styles[entry.of].style if several and entry.of in styles else fixed.style
            styles[entry.label] = GroupStyle(style, fixed.marker, dashed=True)
            continue
        fixed = FIXED.get(entry.role)
        if fixed is not None and (entry.role == "baseline" or entry.role not in given_out):
            styles[entry.label] = fixed
            given_out.add(entry.role)
        elif entry.role == "baseline of":
            styles[entry.label] = _group(_BLUE, HOLLOW[bases % len(HOLLOW)])
            bases += 1
        else:
            is_level = entry.role == "level"
            number, markers = (levels, FILLED) if is_level else (others, CYCLE_MARKERS)
            styles[entry.label] = _group(_CYCLE[number % len(_CYCLE)], markers[number % len(markers)])
            levels, others = levels + is_level, others + (not is_level)
    return styles
