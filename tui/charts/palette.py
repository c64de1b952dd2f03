"""Colours and markers: what makes a group the same on every chart, with and without colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style

from srm_explorer.engine.figures.curves import LegendEntry, Role
from srm_explorer.tui.charts.picture import style_of


@dataclass(frozen=True)
class Ink:
    """How text or dots look; colours from the 256-colour palette, which reaches every terminal over SSH."""

    colour: int | None = None
    bold: bool = False
    dim: bool = False


@dataclass(frozen=True)
class GroupStyle:
    """How one group looks: colour, marker, and whether its line is dashed."""

    ink: Ink
    marker: str
    dashed: bool = False


PLAIN = Ink()
BOLD = Ink(bold=True)
DASH = (6, 6)
"""Dots of a dash, and of the gap after it: as long, so that a curve under it keeps its colour every other time."""
# Middle greys and middle tones stay readable on a dark and on a light background.
GRID = Ink(colour=242)
FRAME = Ink(colour=244)
CHANCE = Ink(colour=240)
WARNING = Ink(colour=172, bold=True)

# Blue and vermillion are told apart with every common colour vision.
FIXED: dict[Role, GroupStyle] = {
    "baseline": GroupStyle(Ink(colour=32), "○"),
    "pooled": GroupStyle(Ink(colour=166), "●"),
    "reference": GroupStyle(Ink(colour=133), "◇"),
    "arithmetic": GroupStyle(Ink(colour=244), "╌", dashed=True),
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
    seen: set[Role] = set()
    several = sum(entry.role == "arithmetic" for entry in legend) > 1
    for entry in legend:
        if entry.role == "arithmetic":
            plain = FIXED["arithmetic"]
            ink = styles[entry.of].ink if several and entry.of in styles else plain.ink
            styles[entry.label] = GroupStyle(ink, plain.marker, dashed=True)
            continue
        fixed = FIXED.get(entry.role)
        if fixed is not None and (entry.role == "baseline" or entry.role not in seen):
            styles[entry.label] = fixed
            seen.add(entry.role)
        elif entry.role == "baseline of":
            styles[entry.label] = GroupStyle(FIXED["baseline"].ink, HOLLOW[bases % len(HOLLOW)])
            bases += 1
        else:
            is_level = entry.role == "level"
            number, markers = (levels, FILLED) if is_level else (others, CYCLE_MARKERS)
            ink = Ink(colour=CYCLE_COLOURS[number % len(CYCLE_COLOURS)])
            styles[entry.label] = GroupStyle(ink, markers[number % len(markers)])
            levels, others = levels + is_level, others + (not is_level)
    return styles


def group_look(style: GroupStyle, attributes: str) -> Style:
    """The colour of a group with SGR attributes: "1" bold, "1;7" bold and reversed."""
    colour = "" if style.ink.colour is None else f";38;5;{style.ink.colour}"
    return style_of(f"0;{attributes}{colour}")
