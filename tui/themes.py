"""Textual's themes, with colours in which every text can be read on everything it stands on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from rich.color import Color as Ink
from rich.style import Style
from textual.app import App
from textual.color import Color, rgb_to_lab
from textual.theme import BUILTIN_THEMES, Theme

from srm_explorer.tui.charts.palette import BANDS, CHANCE, GRID, ON_BACKGROUND, on_background

NAMES = {"dark": "textual-dark", "light": "textual-light", "terminal": "ansi-dark"}
"""The theme of a setting; those of the terminal's own colours cannot know what they lie on."""

_CHANGES: dict[str, dict[str, str]] = {
    "textual-dark": {
        "primary": "#3B93E5",
        # What is under the cursor, with the keys or without them.
        "primary-muted": "#0C304C",
        "block-cursor-blurred-background": "#12385A",
        "text-disabled": "auto 60%",
    },
    "textual-light": {
        "text-warning": "#754200",
        "text-accent": "#754200",
        "text-success": "#1F5A31",
        "foreground-muted": "#1F1F1FC0",
        "primary-muted": "#C9D8E4",
        "block-cursor-blurred-background": "#C9D8E4",
        "text-disabled": "auto 65%",
        # Lines around panes.
        "panel-lighten-2": "#8C8C8C",
    },
    # A terminal's yellow is a colour for a black background alone.
    "ansi-dark": {"text-warning": "ansi_default"},
}


READABLE: dict[str, Theme] = {
    name: dataclasses.replace(
        BUILTIN_THEMES[name],
        primary=changes.get("primary", BUILTIN_THEMES[name].primary),
        variables={**BUILTIN_THEMES[name].variables, **changes},
    )
    for name, changes in _CHANGES.items()
}
"""The themes of all settings, by the names that Textual knows them by."""


TEXT, GRAPHICS, LINE, FAINT = 4.5, 3.0, 2.0, 1.4
"""Contrasts that texts and curves, bands, frames and grids have at least; the first two are those of WCAG 2.2, success
criteria 1.4.3 and 1.4.11."""
_DIM = 0.66
"""What Textual leaves of a dim text's colour."""
_ROUNDING = 0.2
"""Of contrast: what mixing with what lies beneath, done by Textual in whole numbers, may take."""
_TEXTS = ("text-primary", "text-secondary", "text-accent", "text-warning", "text-error", "text-success")
_STEPS = 20


@functools.cache
def readable(name: str) -> Theme:
    """A theme by the name Textual has for it, in colours that can be read; KeyError where there is none."""
    theme = READABLE.get(name, BUILTIN_THEMES[name])
    if name in READABLE or theme.ansi:
        return theme
    colours = theme.to_color_system().generate()
    background, surface = Color.parse(colours["background"]), Color.parse(colours["surface"])
    # What is under the cursor; texts in any colour stand on it.
    cursor = background.blend(Color.parse(colours["primary"]), 0.12)
    beneath = [background, surface, Color.parse(colours["panel"]), cursor]
    foreground = _lifted(Color.parse(colours["foreground"]), beneath, TEXT)
    while min(contrast(below.blend(foreground, _DIM), below) for below in beneath[:2]) < TEXT:
        foreground = _lifted(foreground, beneath, _least(foreground, beneath) + _ROUNDING)
    muted = next(alpha for alpha in range(60, 101) if _auto_contrast(beneath, alpha) >= TEXT + _ROUNDING)
    lifted = {name: _lifted(Color.parse(colours[name]), beneath, TEXT).hex for name in (*_TEXTS, "primary", "accent")}
    changes = {
        **lifted,
        "foreground-muted": _lifted(background.blend(foreground, 0.6), beneath, TEXT).hex,
        "text-muted": f"auto {muted}%",
        "text-disabled": f"auto {muted}%",
        "footer-key-foreground": lifted["accent"],
        "primary-muted": cursor.hex,
        "block-cursor-blurred-background": cursor.hex,
        # Lines around panes.
        "panel-lighten-2": _lifted(Color.parse(colours["panel-lighten-2"]), beneath[:2], LINE).hex,
    }
    return dataclasses.replace(
        theme,
        primary=lifted["primary"],
        accent=lifted["accent"],
        foreground=foreground.hex,
        variables={**theme.variables, **changes},
    )


def contrast(first: Color, other: Color) -> float:
    """Of two opaque colours, 1 to 21: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    low, high = sorted((_luminance(first), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Color) -> float:
    """Relative luminance: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    shares = (part / 255 for part in colour.rgb)
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _least(colour: Color, beneath: Sequence[Color]) -> float:
    return min(contrast(colour, below) for below in beneath)


def _lifted(colour: Color, beneath: Sequence[Color], least: float) -> Color:
    """A colour, lighter or darker by as little as makes it readable on all that lies beneath it."""
    ends = Color(255, 255, 255), Color(0, 0, 0)
    end = max(ends, key=lambda end: _least(end, beneath))
    steps = (colour.blend(end, step / _STEPS) for step in range(_STEPS + 1))
    return next((lifted for lifted in steps if _least(lifted, beneath) >= least), end)


def _auto_contrast(beneath: Sequence[Color], alpha: int) -> float:
    """Of what Textual writes in `auto` of so many hundredths."""
    return min(contrast(below.blend(below.get_contrast_text(1), alpha / 100), below) for below in beneath)


@functools.cache
def inks_of(name: str) -> Mapping[int, int]:
    """By the colour of an ink of a chart, the one of the 256 that stands for it in a theme.

    Ours have their own. In others it is the nearest to what it is on a dark or a light background that can be read
    there, and that no other ink has taken.
    """
    theme = readable(name)
    if name in READABLE or theme.ansi:
        return {number: inks[not theme.dark] for number, inks in ON_BACKGROUND.items()}
    colours = theme.to_color_system().generate()
    beneath = [Color.parse(colours[below]) for below in ("background", "surface", "primary-muted")]
    palette = {number: Color(*Ink.from_ansi(number).get_truecolor()) for number in range(16, 256)}
    labs = {number: rgb_to_lab(colour) for number, colour in palette.items()}
    contrasts = {number: _least(colour, beneath) for number, colour in palette.items()}
    faint, weak = {GRID.color and GRID.color.number}, {*BANDS, CHANCE.color and CHANCE.color.number}
    taken: dict[int, int] = {}
    # Curves choose first, then what is fainter than they are.
    for number in sorted(ON_BACKGROUND, key=lambda number: (number in weak, number in faint)):
        least = FAINT if number in faint else GRAPHICS if number in weak else TEXT
        most = 2 * FAINT if number in faint else 21.0
        here = labs[ON_BACKGROUND[number][not theme.dark]]
        fitting = [ink for ink in palette if least <= contrasts[ink] <= most and ink not in taken.values()]
        taken[number] = min(fitting, key=lambda ink: _distance(labs[ink], here))
    return taken


def _distance(first: Any, other: Any) -> float:
    """Of two colours in CIELAB, squared."""
    return (first.L - other.L) ** 2 + (first.a - other.a) ** 2 + (first.b - other.b) ** 2


def themed_style(app: App[Any], style: Style) -> Style:
    """A style of a chart in the app's theme; as it was painted where the background is the terminal's own."""
    theme = app.current_theme
    if theme.ansi or theme.name in READABLE or theme.name not in BUILTIN_THEMES:
        return style if theme.ansi else on_background(style, dark=theme.dark)
    ink = None if style.color is None else inks_of(theme.name).get(style.color.number or 0)
    return style if ink is None else style + Style(color=Ink.from_ansi(ink), dim=False)
