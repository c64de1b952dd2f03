"""The pane in which prompt sets and their prompts are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.prompts.catalogue import TokenBook
from srm_explorer.tui.prompts.files import PromptFiles, edit_file
from srm_explorer.tui.prompts.messages import (
    Told,
    Tone,
    about_new,
    about_nothing,
    about_prompt,
    about_selection,
    about_set,
    about_view,
    as_content,
)
from srm_explorer.tui.prompts.model import PromptChoice
from srm_explorer.tui.prompts.rows import ErrorRows, PromptRows, PromptTable, RowsView, SetRows

if TYPE_CHECKING:
    from srm_explorer.engine.prompts import Prompt
    from srm_explorer.tui.prompts.catalogue import ListedSet


Typing: TypeAlias = Literal["search", "add", "limit"]


class PromptLine(Input):
    """Takes a search, a new prompt, or a number.

    Args:
        what: which of them.
        text: to begin with.
        placeholder: shown while it is empty.
    """

    DEFAULT_CSS = """
    PromptLine { height: 1; padding: 0 1; }
    """

    def __init__(self, what: Typing, text: str, placeholder: str) -> None:
        super().__init__(text, placeholder=placeholder, compact=True, select_on_focus=False)
        self.what = what
        self.cursor_position = len(text)


_OPENS_LINE = ("search", "add", "limit")
"""Actions after which letters are text."""

_LATEST = 1.0
"""Seconds within which such an action is run."""


class EarlyKeys(Widget):
    """Keeps letters for a line that is about to open, so that none of them acts as a key.

    Attributes:
        line: the line at the bottom; None while nothing is typed.
        early: what was typed for a line that is not there yet; None where no line is about to open.
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.line: PromptLine | None = None
        self.early: str | None = None

    def on_key(self, event: events.Key) -> None:
        """Take letters that were on their way to the table when the line was opened; it lets none pass itself."""
        is_late = self.line is not None and self.screen.focused is self.line
        if event.character is not None and event.is_printable and (is_late or self.early is not None):
            event.stop()
            event.prevent_default()
            if is_late and self.line is not None:
                self.line.insert_text_at_cursor(event.character)
            else:
                self.early = (self.early or "") + event.character
            return
        active = self.screen.active_bindings.get(event.key)
        if active is not None and active.node is self and active.enabled and active.binding.action in _OPENS_LINE:
            # The screen runs the action only after later keys have passed here.
            self.early = ""
            self.set_timer(_LATEST, self.forget_early)

    def forget_early(self) -> None:
        """No line opens."""
        self.early = None


class PromptKeys(EarlyKeys):
    """Actions of the prompts pane; how it looks is in the class built on this one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "choose", "choose", id="prompts.toggle", tooltip="Choose the row, or leave it out"),
        Binding("A", "choose_shown", "all", id="prompts.all", show=False, tooltip="Choose all rows shown, or none"),
        Binding("slash", "search", "search", id="prompts.search", tooltip="Show only rows that hold a text"),
        Binding("x", "levels", "factors", id="prompts.factors", tooltip="Choose the levels of factors that are used"),
        Binding("n", "add", "new", id="prompts.new", tooltip="Write a new prompt into the set's file"),
        Binding("e", "edit", "edit", id="prompts.edit", tooltip="Edit the set's file in $EDITOR"),
        Binding(
            "f", "limit", "first", id="prompts.first", show=False, tooltip="Use the first prompts of the list only"
        ),
        Binding("right,l", "open", "open", id="prompts.open", show=False, tooltip="Open the highlighted set"),
        Binding(
            "escape,left,h", "back", "back", id="prompts.back", tooltip="Drop the search, then go back to the sets"
        ),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.files = PromptFiles(
            lambda work: self.run_worker(work, thread=True, group="prompt files"), self.post_message
        )
        self.choice = PromptChoice(self.files, TokenBook())
        self.base = Path()
        self.rows: RowsView = ErrorRows((), "")
        self._behind_levels: object = None

    @property
    def table(self) -> PromptTable:
        """The rows."""
        return self.query_one(PromptTable)

    def redraw(self, highlight: object = None) -> None:
        """Show what is there now, with the row of a key, or a number, highlighted."""
        raise NotImplementedError

    def say(self, line: str, tone: Tone = "plain") -> None:
        """Say a line until another row is highlighted."""
        raise NotImplementedError

    def take_edit(self, is_changed: bool) -> None:
        """Tell of an edit, where there was one, and show it."""
        raise NotImplementedError

    def ask_tokens(self) -> None:
        """Ask for the tokens of what is in view."""
        raise NotImplementedError

    def look(self) -> None:
        """Look for sets and for files that have changed."""
        opened = (self.choice.opened,) if self.choice.opened else ()
        self.files.look(self.choice.chosen, self.base, opened)

    @on(Input.Changed)
    def take_typed(self, message: Input.Changed) -> None:
        """Search as it is typed."""
        message.stop()
        line = self.line
        if line is message.input and line is not None and line.what == "search" and self.choice.search != message.value:
            self.choice.search = message.value
            self.redraw(0)

    @on(Input.Submitted)
    def take_submitted(self, message: Input.Submitted) -> None:
        """Keep the search, write the prompt, or set the limit."""
        message.stop()
        what = self.line.what if self.line is not None else ""
        if what == "add" and self.choice.one is not None:
            text, like = message.value, self._like()
            self._with_own_file(lambda own: self.files.add(own, text, like))
        elif what == "limit":
            self._take_limit(message.value.strip().replace(",", ""))
        else:
            self.close_line()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what makes sense where we are."""
        choice = self.choice
        if action == "back":
            return bool(self.line or choice.search or choice.view != "sets")
        if action == "open":
            return choice.view == "sets"
        return choice.view != "levels" if action in ("levels", "add", "edit", "limit") else True

    def action_choose(self) -> None:
        """Choose the highlighted row, or leave it out."""
        self.take_edit(self.choice.toggle(self.rows, self.table.cursor))

    def action_choose_shown(self) -> None:
        """Choose all rows shown, or none."""
        self.take_edit(self.choice.toggle_shown(self.rows))

    def action_open(self) -> None:
        """Show the prompts of the highlighted set."""
        name = self.table.key
        if self.choice.view == "sets" and isinstance(name, str):
            self.choice.open_set(name)
            self.redraw(0)
            self.look()
            self.choice.book.retry()
            self.ask_tokens()

    def action_back(self) -> None:
        """Close the line at the bottom, drop the search, or go back."""
        before = self.choice.opened if self.choice.view == "prompts" else self._behind_levels
        if self.line is not None or self.choice.search:
            if self.line is None or self.line.what == "search":
                self.choice.search = ""
            self.close_line()
            self.redraw()
        elif self.choice.back():
            self.redraw(before)

    def action_search(self) -> None:
        """Show only rows that hold a text."""
        self._type("search", self.choice.search, "search")

    def action_levels(self) -> None:
        """Show the levels of factors."""
        if self.files.is_listed:
            self._behind_levels = self.table.key
            self.choice.open_levels()
            self.redraw(0)

    def action_limit(self) -> None:
        """Ask how many prompts of the list are used."""
        limit = self.choice.table.get("limit")
        self._type("limit", "" if limit is None else str(limit), "how many of the whole list; empty: all")

    def action_add(self) -> None:
        """Ask for a new prompt of the set; it goes into a copy of one that ships."""
        if self.choice.view == "sets":
            self.action_open()
        one = self.choice.one
        if one is not None and (one.error is not None or (one.fatal and one.found is not None and one.found.prompts)):
            self.say(one.error_lines()[0], "error")
        elif one is not None and one.is_read:
            self._type_prompt(one)
        self.forget_early()

    def action_edit(self) -> None:
        """Edit the file of the set, in a copy of one that ships."""
        self._with_own_file(self._edit)

    def close_line(self) -> None:
        """Take the line at the bottom away."""
        if self.line is not None:
            self.line.remove()
            self.line = None
            self.table.focus(scroll_visible=False)
        self.refresh_bindings()

    def _with_own_file(self, then: Callable[[ListedSet], None]) -> None:
        rows = self.rows
        named = self.table.key if isinstance(rows, SetRows) else self.choice.opened
        one = self.files.sets.get(str(named))
        if one is None or one.path is None:
            remedy = "write the prompts into a file, say prompts/mine.txt"
            self.say(str(one.error if one and one.error else ExplorerError("no set is there", remedy=remedy)), "error")
        elif one.origin == "shipped":
            self.files.copy(one, then)
        else:
            then(one)

    def _edit(self, one: ListedSet) -> None:
        if one.path is None:
            return
        like = self._like()
        line = one.fatal[0].line if one.fatal else like.line if like is not None else 1
        try:
            edit_file(self.app, one.path, line)
        except ExplorerError as error:
            self.say(str(error), "error")
        self.look()

    def _type_prompt(self, one: ListedSet) -> None:
        like = self._like()
        is_grid = one.found is not None and one.found.format == "grid"
        self._type("add", f"{like.factors.get('type', '')}: " if like is not None and is_grid else "", "a new prompt")
        self.say(about_new(one, like))

    def _like(self) -> Prompt | None:
        """The highlighted prompt."""
        rows, row = self.rows, self.table.cursor
        return rows.prompt(row) if isinstance(rows, PromptRows) and row < rows.count else None

    def _type(self, what: Typing, text: str, placeholder: str) -> None:
        if self.line is not None:
            self.line.remove()
        self.line = PromptLine(what, text + (self.early or ""), placeholder)
        self.forget_early()
        self.mount(self.line)
        # At once, and not when the queue comes to it: the next key may be there already.
        self.screen.set_focus(self.line, scroll_visible=False)
        self.refresh_bindings()

    def _take_limit(self, typed: str) -> None:
        if typed and not (typed.isascii() and typed.isdecimal() and 1 <= int(typed) < 2**53):
            self.say(f"{typed!r} is not a whole number from 1; leave it empty for all", "error")
            return
        self.close_line()
        self.take_edit(self.choice.limit(int(typed) if typed else None))


_FOOT = ((20, 5), (14, 4), (9, 3), (0, 1))  # from so many lines of the pane on, so many for the highlighted row


class PromptsPane(PromptKeys):
    """Chooses prompt sets, prompts and levels of factors for an experiment."""

    DEFAULT_CSS = """
    PromptsPane {
        layout: vertical; width: 1fr; height: 1fr;
        & > #prompts-head { height: 1; color: $text-muted; padding: 0 1; }
        & > PromptTable { height: 1fr; }
        & > #prompts-foot { height: 3; padding: 0 1; overflow: hidden; }
    }
    """

    @dataclass
    class Changed(Message):
        """The selection that is now wanted: the experiment's table of prompts."""

        prompts: dict[str, Any]

    @dataclass
    class TokensWanted(Message):
        """Texts whose tokens the model in use should count."""

        texts: tuple[str, ...]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._said: tuple[Told, object] | None = None

    def compose(self) -> ComposeResult:
        """A line saying where we are, the rows, and what is to be known of the highlighted one."""
        yield Static(id="prompts-head", markup=False)
        yield PromptTable(id="prompts-table")
        yield Static(id="prompts-foot", markup=False)

    def show(self, prompts: dict[str, Any], model: dict[str, Any], base: Path) -> None:
        """Show the draft's table of prompts.

        Args:
            prompts: as `Experiment.to_dict()` has it.
            model: the table of the model whose tokens are counted.
            base: the folder that relative paths start from.
        """
        before = self.choice.table
        self.choice.edits.take(prompts)
        self.choice.book.use((model.get("name"), model.get("revision"), prompts.get("prepend_bos"), str(base)))
        if base != self.base or set(prompts.get("sets") or ()) - set(before.get("sets") or ()):
            self.base = base
            if self.is_mounted:
                self.look()
        self.redraw()
        self.ask_tokens()

    def take_tokens(self, counts: Mapping[str, int]) -> None:
        """Take the tokens of texts that were asked for; an empty answer says that they could not be counted."""
        self.choice.book.take(counts)
        self.redraw()
        self.ask_tokens()

    def take_room(self, room: int | None) -> None:
        """Take the most tokens a prompt may have: the model's context less what is generated; None: not known."""
        self.choice.room = room
        self.redraw()

    def copy_text(self) -> str:
        """The highlighted prompt, the name of the set, the level, or what is wrong with the file."""
        row = self.table.cursor
        if isinstance(self.rows, ErrorRows):
            return "\n".join(self.choice.one.error_lines()) if self.choice.one is not None else ""
        if row >= self.rows.count:
            return ""
        if isinstance(self.rows, PromptRows):
            return self.rows.prompt(row).text
        key = self.rows.key(row)
        return key if isinstance(key, str) else str(self.rows.cell(row, "level"))

    def on_mount(self) -> None:
        """Begin to read."""
        self.look()
        self.redraw()

    def on_descendant_focus(self) -> None:
        """Look whether files have changed."""
        if self.line is None and self.files.is_listed:
            self.look()

    def on_resize(self) -> None:
        """Give the lines that can be spared to the highlighted row."""
        self._foot.styles.height = next(lines for height, lines in _FOOT if self.size.height >= height)
        self.redraw()

    @on(PromptFiles.Listed)
    def take_listed(self, message: PromptFiles.Listed) -> None:
        """Show the sets that were found."""
        if self.files.take_listed(message):
            self.redraw()

    @on(PromptFiles.Read)
    def take_read(self, message: PromptFiles.Read) -> None:
        """Show what a file holds."""
        is_moved = self.choice.take_read(message.one)
        if message.added is not None:
            self.close_line()
        self.take_edit(is_moved)
        if message.added is not None:
            self._highlight_text(message.added)
            self.say(f"written to {message.one.path}")
        self.ask_tokens()

    @on(PromptFiles.Copied)
    def take_copied(self, message: PromptFiles.Copied) -> None:
        """Go on with the copy of a set that ships."""
        one = message.one
        self.choice.take_read(one)
        self.take_edit(self.choice.replace(message.old, one.name))
        if self.choice.view == "sets":
            self.redraw(one.name)
        self.say(f"{message.old!r} ships and stays as it is; this is your copy {one.name!r}: {one.path}")
        message.then(one)

    @on(PromptFiles.Failed)
    def take_failure(self, message: PromptFiles.Failed) -> None:
        """Say what could not be written; what was typed stays."""
        self.say(str(message.error), "error")

    @on(PromptTable.Opened)
    def take_opened(self, message: PromptTable.Opened) -> None:
        """Open a set, or choose a level."""
        message.stop()
        if self.choice.view == "levels":
            self.action_choose()
        else:
            self.action_open()

    @on(PromptTable.Highlighted)
    def take_highlighted(self, message: PromptTable.Highlighted) -> None:
        """Tell about another row."""
        message.stop()
        self._redraw_foot()

    @on(PromptTable.MarkPressed)
    def take_mark(self, message: PromptTable.MarkPressed) -> None:
        """Choose the row whose mark was clicked."""
        message.stop()
        self.take_edit(self.choice.toggle(self.rows, message.row))

    def take_edit(self, is_changed: bool) -> None:
        """Tell of an edit, where there was one, and show it."""
        if is_changed:
            self._said = None
            self.post_message(self.Changed(self.choice.table))
        self.redraw()

    def say(self, line: str, tone: Tone = "plain") -> None:
        """Say a line until another row is highlighted."""
        self._said = ((line, tone), self.table.key)
        self._redraw_foot()

    def ask_tokens(self) -> None:
        """Ask for the tokens of the opened set."""
        one = self.choice.one
        if one is not None and one.is_usable:
            texts = self.choice.book.ask(prompt.text for prompt in one.prompts)
            if texts:
                self.post_message(self.TokensWanted(texts))

    def redraw(self, highlight: object = None) -> None:
        """Show what is there now, with the row of a key, or a number, highlighted."""
        if not self.query(PromptTable):
            return
        table, signs = self.table, glyphs_of(self.app)
        self.rows = rows = self.choice.rows(max(8, table.size.width - 4), signs)
        table.set_columns(rows.columns)
        marks = None if isinstance(rows, ErrorRows) else rows.mark
        table.set_rows(rows.count, rows.cell, rows.key, marks, mark_width=len(signs.checked))
        if highlight is not None:
            table.cursor = next((row for row in range(rows.count) if rows.key(row) == highlight), 0)
            table.scroll_to_cursor()
        self._redraw_head()
        self._redraw_foot()
        self.refresh_bindings()

    @property
    def _foot(self) -> Static:
        return self.query_one("#prompts-foot", Static)

    def _highlight_text(self, text: str) -> None:
        rows = self.rows
        if isinstance(rows, PromptRows):
            # In a grid the text was typed after its type.
            for row in reversed(range(rows.count)):
                if text.strip().endswith(rows.prompt(row).text):
                    return self.redraw(rows.key(row))
        return None

    def _redraw_head(self) -> None:
        head, signs = self.query_one("#prompts-head", Static), glyphs_of(self.app)
        parts = about_view(self.choice, self.rows, signs)
        head.display = bool(parts)
        head.update(as_content([(f" {signs.separator} ".join(parts), "dim")]))

    def _redraw_foot(self) -> None:
        rows, row, choice, signs = self.rows, self.table.cursor, self.choice, glyphs_of(self.app)
        told: list[Told] = []
        if self._said is not None and self._said[1] == self.table.key:
            told.append(self._said[0])
        for fault in self.files.faults:
            told.append((f"{signs.warning} {fault}", "error"))
        if isinstance(rows, PromptRows):
            told += about_prompt(rows, row, choice.table.get("limit")) if row < rows.count else about_nothing(choice)
        elif choice.view == "levels" and not rows.count:
            told += about_nothing(choice)
        elif self.files.is_listed:
            told += about_selection(choice.table, choice.selected(), choice.too_long(), choice.room, signs)
            if isinstance(rows, SetRows) and row < rows.count:
                told += about_set(rows.sets[row], str(Path.cwd()), signs)
        self._foot.update(as_content(told))
