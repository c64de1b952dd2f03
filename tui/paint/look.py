"""How text of a group looks on the screen."""

from __future__ import annotations

from rich.style import Style

from tui.charts.palette import GroupStyle
from tui.paint.picture import style_of


def group_look(style: GroupStyle, attributes: str) -> Style:
    """The colour of a group with SGR attributes: "1" bold, "1;7" bold and reversed."""
    colour = "" if style.ink.colour is None else f";38;5;{style.ink.colour}"
    return style_of(f"0;{attributes}{colour}")
