"""Colours and markers: what makes a group the same on every chart, with and without colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.color import Color
from rich.style import Style

if TYPE_CHECKING:
    # Scenes need the colours before numpy is loaded.
    from srm_explorer.engine.figures import LegendEntry, Role


@dataclass(frozen=True)
class GroupStyle:
    """How one group looks: colour, marker, and whether its line is dashed."""

    style: Style
    marker: str
    dashed: bool = False


def foreground(number: int) -> Style:
    """A colour of the 256-colour palette, which reaches every terminal over SSH."""
    return Style(color=Color.from_ansi(number))


BOLD = Style(bold=True)
LIT = Style(bold=True, reverse=True)
DASH = (6, 6)
"""Dots of a dash, and of the gap after it: as long, so that a curve under it keeps its colour every other time."""
# Middle greys and middle tones stay readable on a dark and on a light background.
GRID, FRAME, CHANCE = foreground(242), foreground(244), foreground(240)
WARNING = foreground(172) + BOLD

# Blue and vermillion are told apart with every common colour vision.
FIXED: dict[Role, GroupStyle] = {
    "baseline": GroupStyle(foreground(32), "○"),
    "pooled": GroupStyle(foreground(166), "●"),
    "reference": GroupStyle(foreground(133), "◇"),
    "arithmetic": GroupStyle(FRAME, "╌", dashed=True),
    "chance": GroupStyle(CHANCE, "░"),
}
CYCLE_COLOURS = (35, 168, 172, 37, 61, 100, 133)
# Another length than the colours', so that a pair repeats only after their product.
CYCLE_MARKERS = ("▲", "■", "▼", "◆", "△", "□", "▽", "◁", "▷")


# Shapes of the levels of a factor: a level's baseline is hollow, what was done at it is filled.
HOLLOW = ("△", "□", "▽", "◇", "○", "◁", "▷")
FILLED = ("▲", "■", "▼", "◆", "●")


def styles_of(legend: Sequence[LegendEntry]) -> dict[str, GroupStyle]:
    """Give each legend entry its style, by role first, then by order among those of its kind.

    Every baseline has the baseline's colour and a hollow marker, so that leaving them out changes no other style. What
    arithmetic predicts is always dashed: grey, or in the colour of its group where there are several predictions.
    """
    styles: dict[str, GroupStyle] = {}
    bases = levels = others = 0
    given_out: set[Role] = set()
    several = sum(entry.role == "arithmetic" for entry in legend) > 1
    for entry in legend:
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
            styles[entry.label] = GroupStyle(FIXED["baseline"].style, HOLLOW[bases % len(HOLLOW)])
            bases += 1
        else:
            is_level = entry.role == "level"
            number, markers = (levels, FILLED) if is_level else (others, CYCLE_MARKERS)
            colour = foreground(CYCLE_COLOURS[number % len(CYCLE_COLOURS)])
            styles[entry.label] = GroupStyle(colour, markers[number % len(markers)])
            levels, others = levels + is_level, others + (not is_level)
    return styles
