"""The keys of the screens of sessions, and the line and the help that tell them."""

from __future__ import annotations

from typing import Any

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from tui.widgets.status_line import Hint

SESSION_KEYS: list[BindingType] = [
    Binding("m", "mark", "mark", id="sessions.mark", tooltip="Mark the session for a comparison, or unmark it"),
    Binding("c,C", "compare", "compare", id="sessions.compare", tooltip="Compare two marked sessions"),
    Binding("r", "act('resume')", "resume", id="sessions.resume", tooltip="Go on with an interrupted run"),
    Binding("slash", "search", "search", id="sessions.search", tooltip="Search as you type"),
    Binding("N", "act('notes')", "notes", id="sessions.notes", tooltip="Write notes, kept in the session"),
    Binding("R,f2", "act('rename')", "rename", id="sessions.rename", tooltip="Give it another name"),
    Binding("d", "act('duplicate')", "duplicate", id="sessions.duplicate", tooltip="Take its spec as a new experiment"),
    Binding("x", "act('export')", "export", id="sessions.export", tooltip="Write its runs as CSV, its vectors as .npz"),
    Binding("D,delete", "act('trash')", "trash", id="sessions.trash", tooltip="Move it to the trash folder"),
    Binding("y", "act('copy')", "copy", id="sessions.copy", show=False, tooltip="Copy the path of its file"),
    Binding("question_mark", "help", "help", id="sessions.help", tooltip="Keys and words"),
    Binding("escape,q", "leave", "back", id="sessions.leave", tooltip="Show all again, or go back"),
]


def hints_of(screen: Screen[Any]) -> tuple[Hint, ...]:
    """What the bottom line says of a screen's keys: the first key of every binding that shows."""
    from tui.screens.bindings import keys_of

    keymap: dict[str, str] = getattr(screen.app, "own_keys", {})
    return tuple(
        Hint(one.keys.split(", ")[0], one.binding.description) for one in keys_of(screen, keymap) if one.binding.show
    )


def push_help(screen: Screen[Any], title: str, *widgets: Widget) -> None:
    """Open the help over a screen: its keys and those of some of its widgets."""
    from tui.screens.bindings import keys_of
    from tui.screens.help import Help

    keymap: dict[str, str] = getattr(screen.app, "own_keys", {})
    inside = [one for widget in widgets for one in keys_of(widget, keymap)]
    screen.app.push_screen(Help(title, keys_of(screen, keymap), inside))
