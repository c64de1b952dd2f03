"""Textual's themes, with colours in which every text can be read on everything it stands on."""

from __future__ import annotations

import dataclasses

from textual.theme import BUILTIN_THEMES, Theme

NAMES = {"dark": "textual-dark", "light": "textual-light", "terminal": "ansi-dark"}
"""The theme of a setting; those of the terminal's own colours cannot know what they lie on."""

_CHANGES: dict[str, dict[str, str]] = {
    "textual-dark": {"primary": "#3B93E5"},
    "textual-light": {
        "text-warning": "#754200",
        "text-accent": "#754200",
        "text-success": "#1F5A31",
        "foreground-muted": "#1F1F1FC0",
        # What is under the cursor, and lines around panes.
        "primary-muted": "#C9D8E4",
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
