"""What the keys of the prompts pane do, and the line at its bottom in which texts are typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widgets import Input

from engine.errors import ExplorerError
from tui.state.prompt_tokens import TokenBook
from tui.widgets.prompt_choice import PromptChoice
from tui.widgets.prompt_early_keys import EarlyKeys
from tui.widgets.prompt_editor import edit_file
from tui.widgets.prompt_error_rows import ErrorRows
from tui.widgets.prompt_files import PromptFiles
from tui.widgets.prompt_line import PromptLine, Typing
from tui.widgets.prompt_lines import Tone, about_new
from tui.widgets.prompt_rows import PromptRows, RowsView, SetRows
from tui.widgets.prompt_table import PromptTable

if TYPE_CHECKING:
    from engine.prompts import Prompt
    from tui.state.prompt_catalogue import ListedSet


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
