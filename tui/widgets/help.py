"""Help for what is in focus: its keys, the keys that work everywhere, the words, and what to be careful about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from srm_explorer.tui.keys import KeyOf, keys_of
from srm_explorer.tui.widgets.table import LineTable

Words = Sequence[tuple[str, str]]
"""Words and what they mean. The glossary is loaded when help is asked for: the first frame has no use for it."""


class Help(ModalScreen[None]):
    """Keys, words and warnings; any of escape, `?` and `q` closes it.

    Args:
        title: what is in focus.
        here: its keys.
        everywhere: the keys that work anywhere.
        warnings: what the reader of the chart in view should know.
        notes: how the table in view is read.
        words: what its headings, or the words of the chart in view, mean.
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
        words: Words = (),
    ) -> None:
        super().__init__()
        self._title, self._here, self._everywhere = title, here, everywhere
        self._warnings, self._notes, self._words = warnings, notes, words

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
            if self._words:
                yield _section("Words in view", list(self._words))
            yield _section("Words", list(words_of_section("Words")))

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


def words_of_section(section: str) -> Words:
    """A section of the glossary."""
    from srm_explorer.engine.figures.glossary import section_terms

    return section_terms(section)


def words_of(names: Iterable[str]) -> Words:
    """What some names mean, those that have a meaning."""
    from srm_explorer.engine.figures.glossary import column_words
    from srm_explorer.engine.figures.table import TableColumn

    return column_words(TableColumn(name, name) for name in names)


def words_in_view(node: Widget | Screen[Any]) -> Words:
    """What the headings of the tables below a node mean."""
    from srm_explorer.engine.figures.glossary import column_words
    from srm_explorer.engine.figures.table import TableColumn

    tables = [table for table in node.query(LineTable) if table.is_on_screen]
    return column_words(TableColumn(column.key, column.title) for table in tables for column in table.columns)


def push_help(
    screen: Screen[Any], title: str, *widgets: Widget, words: Words = (), warnings: Sequence[str] = ()
) -> None:
    """Open the help over a screen: its keys and those of some of its widgets, and the words in view.

    Args:
        words: those that are no headings of tables.
        warnings: all of those that stand under a chart in part.
    """
    keymap: dict[str, str] = getattr(screen.app, "user_keys", {})
    inside = [key for widget in widgets for key in keys_of(widget, keymap)]
    words = (*words_in_view(screen), *words)
    screen.app.push_screen(Help(title, keys_of(screen, keymap), inside, tuple(warnings), words=words))
