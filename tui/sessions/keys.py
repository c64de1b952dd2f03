"""The keys of the screens of sessions, and the line and the help that tell them."""

from __future__ import annotations

from typing import Any

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from srm_explorer.tui.widgets.status import Hint

SESSION_KEYS: list[BindingType] = [
    Binding("m", "mark", "mark", id="sessions.mark", tooltip="Mark the session for a comparison, or unmark it"),
    Binding(
        "c,C", "compare", "compare", id="sessions.compare", tooltip="Compare two marked sessions, or the groups of one"
    ),
    Binding("r", "act('resume')", "resume", id="sessions.resume", tooltip="Go on with an interrupted run"),
    Binding("slash", "search", "search", id="sessions.search", tooltip="Search as you type"),
    Binding("S", "sort", "sort", id="sessions.sort", show=False, tooltip="Sort by the next column"),
    Binding("N", "act('notes')", "notes", id="sessions.notes", tooltip="Write notes, kept in the session"),
    Binding("R,f2", "act('rename')", "rename", id="sessions.rename", tooltip="Give it another name"),
    Binding("d", "act('duplicate')", "duplicate", id="sessions.duplicate", tooltip="Take its spec as a new experiment"),
    Binding("x", "act('export')", "export", id="sessions.export", tooltip="Write its runs as CSV, its vectors as .npz"),
    Binding("D,delete", "act('trash')", "trash", id="sessions.trash", tooltip="Move it to the trash folder"),
    Binding("y", "act('copy')", "copy", id="sessions.copy", show=False, tooltip="Copy the path of its file"),
    Binding("question_mark", "help", "help", id="sessions.help", tooltip="Keys and words"),
    Binding("escape,q", "leave", "back", id="sessions.leave", tooltip="Show all again, or go back"),
]

COMPARE_KEYS: list[BindingType] = [
    Binding("left,h", "turn(-1)", "turn", id="compare.back", tooltip="Turn the spotlight back by 1°"),
    Binding("right,l", "turn(1)", "turn", id="compare.on", show=False, tooltip="Turn the spotlight on by 1°"),
    Binding("shift+left,H", "turn(-10)", "", id="compare.back-10", show=False, tooltip="Turn it back by 10°"),
    Binding("shift+right,L", "turn(10)", "", id="compare.on-10", show=False, tooltip="Turn it on by 10°"),
    Binding("t", "threshold(1)", "threshold", id="compare.threshold", tooltip="Count above the next threshold"),
    Binding("T", "threshold(-1)", "", id="compare.threshold-back", show=False, tooltip="The threshold before"),
    Binding("v", "view", "view", id="compare.view", tooltip="Counts, mean, counts over the angle, dose"),
    Binding("p", "plane", "plane", id="compare.plane", tooltip="The next plane that both have"),
    Binding("tab", "part(1)", "part", id="compare.part", tooltip="The next part: chart, numbers, differences"),
    Binding("shift+tab", "part(-1)", "", id="compare.part-back", show=False, tooltip="The part before"),
    Binding("d", "subtract", "difference", id="compare.difference", tooltip="One group minus another, and back"),
    Binding("g", "pair(1)", "groups", id="compare.groups", tooltip="Subtract the next pair of groups"),
    Binding("G", "pair(-1)", "", id="compare.groups-back", show=False, tooltip="The pair before"),
    Binding("s", "swap", "swap", id="compare.swap", tooltip="Put the second session first"),
    Binding("y", "copy", "copy", id="compare.copy", tooltip="Copy the part in focus"),
    Binding(
        "X", "export", "export", id="compare.export", tooltip="Write the curves as CSV, or the chart as SVG or text"
    ),
    Binding("question_mark", "help", "help", id="compare.help", tooltip="Keys and words"),
    Binding("escape,q", "leave", "back", id="compare.leave", tooltip="Back to the sessions"),
]


_ALWAYS = frozenset({"help", "leave"})
"""What the bottom line tells however short it is."""


def hints_of(screen: Screen[Any], *first: Hint) -> tuple[Hint, ...]:
    """What the bottom line says of a screen's keys: the first key of every binding that shows, after some others."""
    from srm_explorer.tui.keys import keys_of

    keymap: dict[str, str] = getattr(screen.app, "own_keys", {})
    shown = (one for one in keys_of(screen, keymap) if one.binding.show)
    return (
        *first,
        *(Hint(one.keys.split(", ")[0], one.binding.description, one.binding.action in _ALWAYS) for one in shown),
    )


def push_help(screen: Screen[Any], title: str, *widgets: Widget) -> None:
    """Open the help over a screen: its keys and those of some of its widgets."""
    from srm_explorer.tui.keys import keys_of
    from srm_explorer.tui.widgets.help import Help

    keymap: dict[str, str] = getattr(screen.app, "own_keys", {})
    inside = [one for widget in widgets for one in keys_of(widget, keymap)]
    screen.app.push_screen(Help(title, keys_of(screen, keymap), inside))
