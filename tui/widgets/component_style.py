"""How a part that a widget draws by hand looks, where colours let what lies under them shine through."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget


def component_style(widget: Widget, name: str) -> Style:
    """What a component class alone sets, to be added to another style.

    A muted colour is a part of what lies under it: taken alone it would be plain white or black.
    """
    own = widget.get_component_rich_style(name, partial=True)
    whole = widget.get_component_rich_style(name)
    return own + Style(color=own.color and whole.color, bgcolor=own.bgcolor and whole.bgcolor)
