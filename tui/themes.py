"""Textual's themes, with colours in which every text can be read on everything it stands on."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.style import Style
from textual.app import App
from textual.theme import BUILTIN_THEMES, Theme

from srm_explorer.tui.charts.palette import on_background

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


def themed_style(app: App[Any], style: Style) -> Style:
    """A style of a chart in the app's theme; as it was painted where the background is the terminal's own."""
    theme = app.current_theme
    return style if theme.ansi else on_background(style, dark=theme.dark)
