"""Help for what is in focus: what its keys do, what the words on the screen mean, and what to be careful about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from srm_explorer.tui.keys import KeyOf, keys_to_tell
from srm_explorer.tui.keywords import group_of, group_titles
from srm_explorer.tui.widgets.status import StatusLine
from srm_explorer.tui.widgets.table import LineTable

Words = Sequence[tuple[str, str]]
"""Words and what they mean. The glossary is loaded when help is asked for: the first frame has no use for it."""


class Help(ModalScreen[None]):
    """Keys by what they do, words and warnings; any of escape, `?` and `q` closes it.

    Args:
        title: what is in focus.
        keys: those that act there, and those that do on other pages of it.
        warnings: what the reader of the chart in view should know.
        notes: how the table in view is read.
        words: what stands on the screen, and what it means.
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
            scrollbar-size: 1 1;
            border: round $primary;
            background: $surface;
            color: $foreground;
        }
        Static { height: auto; margin-bottom: 1; padding-right: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "words", "words", id="help.words", tooltip="Go to the words that stand on the screen"),
        Binding("j,down", "scroll(1)", "down", id="help.down", tooltip="Scroll a line down"),
        Binding("k,up", "scroll(-1)", "up", id="help.up", show=False, tooltip="Scroll a line up"),
        Binding("pagedown,space", "page(1)", "page down", id="help.page-down", show=False, tooltip="A page down"),
        Binding("pageup", "page(-1)", "page up", id="help.page-up", show=False, tooltip="A page up"),
        Binding("escape,question_mark,f1,q", "leave", "close", id="help.leave", tooltip="Close the help"),
    ]

    def __init__(
        self,
        title: str,
        keys: Sequence[KeyOf],
        warnings: Sequence[str] = (),
        notes: Sequence[str] = (),
        words: Words = (),
    ) -> None:
        super().__init__()
        self.title = title
        self.keys, self.words = tuple(keys), tuple(words)
        self._warnings, self._notes = warnings, notes

    def compose(self) -> ComposeResult:
        box = VerticalScroll()
        box.border_title = f"Help: {self.title}"
        with box:
            if self._warnings:
                yield _section("To be careful about", [("⚠", warning) for warning in self._warnings], 1)
            if self._notes:
                yield _section("How the table is read", [(str(at), note) for at, note in enumerate(self._notes, 1)], 1)
            for title, keys in grouped(self.keys):
                yield _section(title, [(key.keys, key.binding.tooltip or key.binding.description) for key in keys])
            if self.words:
                yield _section("Words on this screen", self.words, id="help-words")
        yield StatusLine()

    def on_mount(self) -> None:
        self._box.focus()

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change what is seen."""
        down = self._box.max_scroll_y > self._box.scroll_y
        return {"words": bool(self.words) and down, "scroll": down}.get(action, True)

    def action_words(self) -> None:
        if self.words:
            self._box.scroll_to_widget(self.query_one("#help-words"), top=True, animate=False)

    def action_scroll(self, lines: int) -> None:
        self._box.scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        self._box.scroll_relative(y=pages * max(1, self._box.size.height - 1), animate=False)

    def action_leave(self) -> None:
        self.dismiss(None)

    @property
    def _box(self) -> VerticalScroll:
        return self.query_one(VerticalScroll)


NOT_NOW = "Not on this page, or not now"
"""The heading of keys that mean something elsewhere in the pane, or at another time."""


def grouped(keys: Sequence[KeyOf]) -> list[tuple[str, list[KeyOf]]]:
    """Keys under what they do, those that do nothing now at the end."""
    under: dict[str, list[KeyOf]] = {title: [] for title in (*group_titles(), NOT_NOW)}
    for key in keys:
        under[group_of(key.id) if key.acts else NOT_NOW].append(key)
    return [(title, listed) for title, listed in under.items() if listed]


def _section(title: str, rows: Words, least: int = 14, *, id: str | None = None) -> Static:  # noqa: A002
    # A table of rich, imported when help is asked for, wraps the second column by itself.
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(min_width=least, max_width=24)
    grid.add_column()
    for name, text in rows:
        grid.add_row(Text(name, "bold"), Text(text))
    return Static(Group(Text(title, "bold underline"), grid), id=id)


def words_of_screen(screen: Screen[Any], *more: tuple[str, str]) -> Words:
    """The words that stand on a screen, with what they mean, each meaning once.

    Args:
        screen: in view.
        more: words that mean something on this screen alone, and headings.
    """
    from srm_explorer.engine.figures.glossary import terms_in

    width, height = screen.size
    strips = screen._compositor.render_strips()  # pyright: ignore[reportPrivateUsage]
    lines = ["".join(segment.text for segment in strip)[:width] for strip in strips[:height]]
    meanings = {meaning: word for word, meaning in more}
    for term in terms_in("\n".join(lines), ("On the charts", "Words")):
        meanings.setdefault(term.meaning, term.word)
    return tuple((word, meaning) for meaning, word in meanings.items())


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
    screen: Screen[Any],
    title: str,
    *,
    words: Words = (),
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Open the help over a screen: what its keys do where the focus is, and the words that stand on it.

    Args:
        words: that mean something on this screen alone, and are no headings of tables.
        warnings: all of those that stand under a chart in part.
        notes: all of those that stand under a table in part.
    """
    keymap: dict[str, str] = getattr(screen.app, "user_keys", {})
    told = words_of_screen(screen, *words, *words_in_view(screen))
    screen.app.push_screen(Help(title, keys_to_tell(screen, keymap), warnings, notes, told))
