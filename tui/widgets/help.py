"""Help for what is in focus: its keys, the keys that work everywhere, the words, and what to be careful about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from srm_explorer.tui.keys import KeyOf, keys_of

WORDS = (
    ("prompt set", "a named list of prompts; their factors, such as type or level, can group the runs"),
    ("run", "one prompt continued once under one condition; its vector is the layer's mean over new tokens"),
    ("baseline", "the model went on with each prompt, untouched"),
    ("clamped", "one or more neurons were held at a value while the model wrote, once for every value"),
    ("σ", "the spread of a neuron at baseline: values can be counted in it"),
    ("plane", "two directions, mostly two neurons: 0° lies on the first, 90° on the second"),
    ("spotlight", "a direction that turns through the plane; a run is lit where its cosine is above the threshold"),
    ("cosine", "of a run's vector with the spotlight: 1 along, 0 across, −1 against"),
    ("A, φ", "the mean cosine is largest at the angle φ, where it is A; in brackets how far φ is known"),
    ("arithmetic", "what the clamp alone draws, whatever the model does; only what differs from it is a finding"),
    ("chance", "the dim band: where a curve would lie without a preference"),
    ("unit", "what statistics resample: prompts that share a core count as one"),
)


class Help(ModalScreen[None]):
    """Keys, words and warnings; any of escape, `?` and `q` closes it.

    Args:
        title: what is in focus.
        here: its keys.
        everywhere: the keys that work anywhere.
        warnings: what the reader of the chart in view should know.
        notes: how the table in view is read.
    """

    DEFAULT_CSS = """
    Help {
        align: center middle;
        & > VerticalScroll {
            width: 96;
            max-width: 96%;
            height: auto;
            max-height: 94%;
            padding: 0 1;
            border: round $primary;
            border-subtitle-color: $text-muted;
            background: $surface;
            color: $foreground;
        }
        Static { height: auto; margin-bottom: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "leave", "Close", id="help.leave", tooltip="Close the help"),
        Binding("j", "scroll('down')", "Down", show=False),
        Binding("k", "scroll('up')", "Up", show=False),
    ]

    def __init__(
        self,
        title: str,
        here: Sequence[KeyOf],
        everywhere: Sequence[KeyOf],
        warnings: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._title, self._here, self._everywhere = title, here, everywhere
        self._warnings, self._notes = warnings, notes

    def compose(self) -> ComposeResult:
        box = VerticalScroll()
        box.border_title = "Help"
        box.border_subtitle = "j k scroll   esc close"
        with box:
            if self._warnings:
                yield _section("To be careful about", [("⚠", warning) for warning in self._warnings])
            if self._notes:
                yield _section("How the table is read", [(str(at), note) for at, note in enumerate(self._notes, 1)])
            yield _section(f"Keys in {self._title}", [_row(key) for key in self._here])
            yield _section("Keys everywhere", [_row(key) for key in self._everywhere])
            yield _section("Words", list(WORDS))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def action_scroll(self, way: str) -> None:
        box = self.query_one(VerticalScroll)
        box.scroll_relative(y=1 if way == "down" else -1, animate=False)

    def action_leave(self) -> None:
        self.dismiss(None)


def _row(key: KeyOf) -> tuple[str, str]:
    binding = key.binding
    description = binding.tooltip or binding.description
    return key.keys, f"{description}   ({binding.id})"


def _section(title: str, rows: Sequence[tuple[str, str]]) -> Static:
    # A table of rich, imported when help is asked for, wraps the second column by itself.
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, min_width=14)
    grid.add_column()
    for name, text in rows:
        description, bracket, binding = text.partition("   (")
        grid.add_row(
            Text(name, "bold"), Text.assemble(description, (f"  {binding.removesuffix(')')}" if bracket else "", "dim"))
        )
    return Static(Group(Text(title, "bold underline"), grid))


def push_help(screen: Screen[Any], title: str, *widgets: Widget) -> None:
    """Open the help over a screen: its keys and those of some of its widgets."""
    keymap: dict[str, str] = getattr(screen.app, "user_keys", {})
    inside = [key for widget in widgets for key in keys_of(widget, keymap)]
    screen.app.push_screen(Help(title, keys_of(screen, keymap), inside))
