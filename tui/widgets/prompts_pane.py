"""The pane in which prompt sets and their prompts are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import Static

from tui.state.glyphs import glyphs_of
from tui.widgets.prompt_error_rows import ErrorRows
from tui.widgets.prompt_files import PromptFiles
from tui.widgets.prompt_keys import PromptKeys
from tui.widgets.prompt_lines import (
    Told,
    Tone,
    about_nothing,
    about_prompt,
    about_selection,
    about_set,
    about_view,
    as_content,
)
from tui.widgets.prompt_rows import PromptRows, SetRows
from tui.widgets.prompt_table import PromptTable

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
