"""The pane in which prompt sets, their prompts, and levels of factors are chosen."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import count_of
from srm_explorer.engine.prompts import Prompt, is_path, set_name
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.prompts.catalogue import Content, ListedSet, PromptFiles, TokenBook, feeding_key
from srm_explorer.tui.prompts.line import PathLine, PromptLine, Typing
from srm_explorer.tui.prompts.messages import (
    Note,
    Tone,
    about_new,
    about_nothing,
    about_path,
    about_prompt,
    about_selection,
    about_set,
    about_view,
    as_content,
)
from srm_explorer.tui.prompts.model import PromptChoice
from srm_explorer.tui.prompts.opening import free_name, make_of_lines, make_typed, open_typed
from srm_explorer.tui.prompts.rows import (
    ErrorRows,
    PositionsUse,
    PromptPositions,
    PromptRows,
    PromptTable,
    RowsView,
    SetRows,
    prompt_positions,
)
from srm_explorer.tui.terminal.editor import edit_file
from srm_explorer.tui.text import UNSURE, wrapped
from srm_explorer.tui.widgets.dialogs import Ask, Choose, Completion, about_completion, complete, named_here
from srm_explorer.tui.widgets.table_render import fit, one_line

_OPENS_LINE = ("search", "add", "limit", "open_file", "new_set")
"""Actions after which letters are text."""

_QUOTED, _LINES_QUOTED = 60, 4
"""Columns of a pasted line that are shown before it is taken, and lines."""

_LATEST = 1.0
"""Seconds within which such an action is run."""

_FOOT = ((20, 5), (14, 4), (9, 3), (0, 1))
"""From so many lines of the pane on, so many for the highlighted row."""

_FOOT_POSITIONS = 2
"""Lines more where it is shown what is edited or captured in a prompt, from the third of these heights on; and as many
as it takes, up to a third of the pane, where these choices are long."""


class PromptsPane(Widget):
    """Chooses prompt sets, prompts and levels of factors for an experiment."""

    DEFAULT_CSS = """
    PromptsPane {
        layout: vertical; width: 1fr; height: 1fr;
        & > #prompts-head { height: 1; color: $text-muted; padding: 0 1; }
        & > PromptTable { height: 1fr; }
        & > #prompts-foot { height: 3; padding: 0 1; overflow: hidden; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "choose", "choose", id="prompts.toggle", tooltip="Choose the row, or leave it out"),
        Binding("A", "choose_shown", "all", id="prompts.all", show=False, tooltip="Choose all rows shown, or none"),
        Binding("slash", "search", "search", id="prompts.search", tooltip="Show only rows that hold a text"),
        Binding(
            "x",
            "levels",
            "factors",
            id="prompts.factors",
            tooltip="Choose levels of factors: of the opened set, else of the chosen ones",
        ),
        Binding("n", "add", "new", id="prompts.new", tooltip="Write a new prompt into the set's file"),
        Binding("e", "edit", "edit", id="prompts.edit", tooltip="Edit the set's file in $EDITOR"),
        Binding("O", "open_file", "open file", id="prompts.open_file", tooltip="Open a prompt file by its path"),
        Binding("N", "new_set", "new set", id="prompts.new_set", tooltip="Make a new prompt set, and edit its file"),
        Binding(
            "f", "limit", "first", id="prompts.first", show=False, tooltip="Use the first prompts of the list only"
        ),
        Binding("right,l", "open", "open", id="prompts.open", show=False, tooltip="Open the highlighted set"),
        Binding(
            "escape,left,h", "back", "back", id="prompts.back", tooltip="Drop the search, then go back to the sets"
        ),
    ]

    @dataclass
    class Changed(Message):
        """The selection that is now wanted: the experiment's table of prompts."""

        prompts: dict[str, Any]

    @dataclass
    class TokensWanted(Message):
        """Texts that the model in use should split into tokens."""

        texts: tuple[Content, ...]

    def __init__(self) -> None:
        super().__init__()
        self._background = Background(self.call_later)
        self.files = PromptFiles(self._background.run, self.post_message)
        self.choice = PromptChoice(self.files, TokenBook())
        self.base = Path()
        self.rows: RowsView = ErrorRows((), "")
        self._line: PromptLine | None = None
        self._early: str | None = None
        """Letters typed for a line that is not there yet; None where no line is about to open."""
        self._note: tuple[Note, object] | None = None
        """What was said, and the key of the row for which it holds."""
        self._behind_levels: object = None
        self._awaited: str | None = None
        """Name of a set that is to be highlighted once it has been read."""

    def compose(self) -> ComposeResult:
        yield Static(id="prompts-head", markup=False)
        yield PromptTable(id="prompts-table")
        yield Static(id="prompts-foot", markup=False)

    def show(
        self,
        prompts: dict[str, Any],
        model: dict[str, Any],
        base: Path,
        edited: Sequence[object] = (),
        captured: object = "generated",
    ) -> None:
        """Show the draft's table of prompts, as a model's table splits them, and where they are edited and captured.

        Args:
            prompts: the table.
            model: the table.
            base: the folder that paths are relative to.
            edited: positions of each intervention, as an experiment file has them.
            captured: positions that are captured, likewise.
        """
        before = self.choice.table
        self.choice.edits.take(prompts)
        self.choice.book.use(feeding_key(prompts, model, base))
        choices: dict[PositionsUse, tuple[PromptPositions, ...]] = {
            "edited": prompt_positions(edited),
            "captured": prompt_positions([captured]),
        }
        self.choice.positions = {use: chosen for use, chosen in choices.items() if chosen}
        is_new = bool(set(prompts.get("sets") or ()) - set(before.get("sets") or ()))
        if base != self.base or is_new or prompts.get("text") != before.get("text"):
            self.base = base
            if self.is_mounted:
                self._look()
        self._redraw()
        self._ask_tokens()

    def point_at(self, name: str) -> None:
        """Highlight a set once it has been read, and tell of it."""
        self._awaited = name
        self._meet_awaited()

    def take_tokens(self, key: Hashable, pieces: Mapping[Content, tuple[str, ...]]) -> None:
        """Take the tokens of texts, for the feeding they were asked by; an empty answer says that there are none."""
        self.choice.book.take(key, pieces)
        self._redraw()
        self._ask_tokens()

    def take_room(self, room: int | None) -> None:
        """Take the most tokens a prompt may have: the model's context less what is generated; None: not known."""
        self.choice.room = room
        self._redraw()

    def copy_text(self) -> str:
        row = self.table.cursor
        if isinstance(self.rows, ErrorRows):
            listed = self.choice.opened_set
            return "\n".join(listed.error_lines()) if listed is not None else ""
        if row >= self.rows.count:
            return ""
        if isinstance(self.rows, PromptRows):
            return self.rows.prompt(row).text
        key = self.rows.key(row)
        return key if isinstance(key, str) else str(self.rows.cell(row, "level"))

    def take_lines(self, lines: Sequence[str]) -> bool:
        """Ask whether pasted lines are to be prompts, and of which set; False where one line is typed that is none."""
        if not self.files.is_listed or (self._line is not None and self._line.what != "add"):
            return False
        named = self._set_at_hand()
        choices = [("n", "of a new set")]
        if named is not None and self.choice.view != "levels":
            choices.insert(0, ("a", f"of {set_name(named.name)}, at its end"))

        def take(key: str | None) -> None:
            if key == "a":
                like = self._like()
                self._with_own_file(lambda listed: self.files.add(listed, lines, like))
            elif key == "n":
                self._ask_name(lines)

        what = f"Make {count_of(len(lines), 'prompt')} of what was pasted"
        first = [fit(one_line(line), _QUOTED) for line in lines[:_LINES_QUOTED]]
        more = [f"and {len(lines) - len(first):,} more"] if len(lines) > len(first) else []
        self.app.push_screen(Choose(f"{what}?", choices, detail="\n".join([*first, *more])), take)
        return True

    def _ask_name(self, lines: Sequence[str]) -> None:
        known = tuple(self.files.sets.values())

        def make(name: str | None) -> None:
            if name is not None:
                self.files.open(lambda sets: make_of_lines(name, lines, sets))

        question = f"Keep the {count_of(len(lines), 'prompt')} under which name?"
        self.app.push_screen(Ask(question, free_name("pasted", known)), make)

    @property
    def table(self) -> PromptTable:
        return self.query_one(PromptTable)

    def on_mount(self) -> None:
        self._look()
        self._redraw()

    def on_descendant_focus(self) -> None:
        if self._line is None and self.files.is_listed:
            self._look()

    def on_resize(self) -> None:
        self._redraw()

    @on(PromptFiles.Listed)
    def take_listed(self, message: PromptFiles.Listed) -> None:
        if self.files.take_listed(message):
            self._redraw()

    @on(PromptFiles.Read)
    def take_read(self, message: PromptFiles.Read) -> None:
        is_moved = self.choice.take_read(message.listed)
        if message.added is not None:
            self._close_line()
        self._take_edit(is_moved)
        if message.added is not None:
            self._highlight_text(message.added)
            self._say(f"written to {message.listed.path}")
        self._ask_tokens()

        self._meet_awaited()

    @on(PromptFiles.Copied)
    def take_copied(self, message: PromptFiles.Copied) -> None:
        copy = message.copy
        self.choice.take_read(copy)
        self._take_edit(self.choice.replace(message.old, copy.name))
        if self.choice.view == "sets":
            self._redraw(copy.name)
        self._say(f"{message.old!r} ships and stays as it is; this is your copy {copy.name!r}: {copy.path}")
        message.then(copy)

    @on(PromptFiles.Opened)
    def take_file(self, message: PromptFiles.Opened) -> None:
        """Show a file that was opened or made among the sets, chosen; a new one is edited at once."""
        listed = message.listed
        self._close_line()
        self.choice.take_read(listed)
        self._take_edit(self.choice.add(listed))
        self._redraw(listed.name)
        if message.is_new:
            self._say(f"{listed.path} is made: n writes a prompt into it, e edits it")
            self._edit(listed)
        else:
            self._say_chosen(listed)

    @on(PathLine.CompletionWanted)
    def complete_path(self) -> None:
        line = self._line
        if line is not None:
            typed = line.value
            self._background.run(
                lambda: complete(typed, is_path, "file of prompts"), self._take_completion, key="complete"
            )

    def _meet_awaited(self) -> None:
        listed = self.files.sets.get(self._awaited) if self._awaited is not None else None
        if listed is not None and listed.is_read and self.choice.view == "sets":
            self._awaited = None
            self._redraw(listed.name)
            self._say_chosen(listed)

    def _say_chosen(self, listed: ListedSet) -> None:
        if listed.is_usable:
            self._say(f"{set_name(listed.name)} is chosen: {count_of(len(listed.prompts), 'prompt')}, enter shows them")

    def _take_completion(self, completion: Completion | ExplorerError) -> None:
        line = self._line
        if isinstance(completion, ExplorerError) or line is None or line.value != completion.typed:
            return
        line.value = completion.text
        line.cursor_position = len(completion.text)
        if completion.problem:
            self._say(completion.problem, "error")
        elif len(completion.names) > 1:
            self._say(about_completion(completion.names, (self.size.width - 2) * (self.size.height // 2 - 1)))
        else:
            self._say(about_path(line.what))

    @on(PromptFiles.Failed)
    def take_failure(self, message: PromptFiles.Failed) -> None:
        """Say what could not be written; what was typed stays."""
        self._say(str(message.error), "error")

    @on(PromptTable.Opened)
    def take_opened(self, message: PromptTable.Opened) -> None:
        message.stop()
        if self.choice.view == "levels":
            self.action_choose()
        else:
            self.action_open()

    @on(PromptTable.Highlighted)
    def take_highlighted(self, message: PromptTable.Highlighted) -> None:
        message.stop()
        self._redraw_foot()

    @on(PromptTable.MarkPressed)
    def take_mark(self, message: PromptTable.MarkPressed) -> None:
        message.stop()
        self._take_edit(self.choice.toggle(self.rows, message.row))

    def on_key(self, event: events.Key) -> None:
        """Take letters that were on their way to the table when the line was opened; it lets none pass itself."""
        is_late = self._line is not None and self.screen.focused is self._line
        if event.character is not None and event.is_printable and (is_late or self._early is not None):
            event.stop()
            event.prevent_default()
            if is_late and self._line is not None:
                self._line.insert_text_at_cursor(event.character)
            else:
                self._early = (self._early or "") + event.character
            return
        active = self.screen.active_bindings.get(event.key)
        if active is not None and active.node is self and active.enabled and active.binding.action in _OPENS_LINE:
            # The screen runs the action only after later keys have passed here.
            self._early = ""
            self.set_timer(_LATEST, self._forget_early)

    @on(Input.Changed)
    def take_typed(self, message: Input.Changed) -> None:
        message.stop()
        line = self._line
        if line is message.input and line is not None and line.what == "search" and self.choice.search != message.value:
            self.choice.search = message.value
            self._redraw(0)

    @on(Input.Submitted)
    def take_submitted(self, message: Input.Submitted) -> None:
        message.stop()
        what = self._line.what if self._line is not None else ""
        if what == "file":
            typed, column = message.value, self.choice.table.get("text")
            self.files.open(lambda sets: open_typed(typed, sets, column))
        elif what == "set":
            typed = message.value
            self.files.open(lambda sets: make_typed(typed, sets), is_new=True)
        elif what == "add" and self.choice.opened_set is not None:
            text, like = message.value, self._like()
            self._with_own_file(lambda listed: self.files.add(listed, [text], like))
        elif what == "limit":
            self._take_limit(message.value.strip().replace(",", ""))
        else:
            self._close_line()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        choice = self.choice
        if action == "back":
            return bool(self._line or choice.search or choice.view != "sets")
        if action == "open":
            return choice.view == "sets"
        if action in ("levels", "add", "edit", "limit", "open_file", "new_set"):
            return choice.view != "levels"
        return True

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something now."""
        listed, rows = self.choice.opened_set, self.rows
        match action:
            case "choose" | "choose_shown":
                return not isinstance(rows, ErrorRows) and rows.count > 0
            case "levels" | "limit":
                return self.files.is_listed
            case "open":
                return isinstance(self.table.key, str)
            case "add":
                return isinstance(rows, SetRows) or (listed is not None and listed.is_read)
            case _:
                return True

    def action_choose(self) -> None:
        self._take_edit(self.choice.toggle(self.rows, self.table.cursor))

    def action_choose_shown(self) -> None:
        self._take_edit(self.choice.toggle_shown(self.rows))

    def action_open(self) -> None:
        name = self.table.key
        if self.choice.view == "sets" and isinstance(name, str):
            self.choice.open_set(name)
            self._redraw(0)
            self._look()
            self.choice.book.retry()
            self._ask_tokens()

    def action_back(self) -> None:
        before = self.choice.opened if self.choice.view == "prompts" else self._behind_levels
        if self._line is not None or self.choice.search:
            if self._line is None or self._line.what == "search":
                self.choice.search = ""
            self._close_line()
            self._redraw()
        elif self.choice.back():
            self._redraw(before)

    def action_search(self) -> None:
        self._type("search", self.choice.search, "search")

    def action_levels(self) -> None:
        if self.files.is_listed:
            self._behind_levels = self.table.key
            self.choice.open_levels(self.table.key)
            self._redraw(0)

    def action_limit(self) -> None:
        limit = self.choice.table.get("limit")
        self._type("limit", "" if limit is None else str(limit), "how many of the whole list; empty: all")

    def action_add(self) -> None:
        if self.choice.view == "sets":
            self.action_open()
        listed = self.choice.opened_set
        if listed is not None and listed.is_read:
            # A set without any prompts is refused too, and this is how it gets its first.
            is_empty = listed.prompt_set is not None and not listed.prompt_set.prompts
            if listed.is_usable or is_empty:
                self._type_prompt(listed)
            else:
                self._say(listed.error_lines()[0], "error")
        self._forget_early()

    def action_open_file(self) -> None:
        self._type("file", "", "the path of a file; tab completes it")
        self._say(about_path("file"))

    def action_new_set(self) -> None:
        self._type("set", "", "a name, or the path of a new file")
        self._say(about_path("set"))

    def action_edit(self) -> None:
        self._with_own_file(self._edit)

    def _take_edit(self, is_changed: bool) -> None:
        """Tell of an edit, where there was one, and show it."""
        if is_changed:
            self._note = None
            self.post_message(self.Changed(self.choice.table))
        self._redraw()

    @property
    def _row_in_view(self) -> object:
        """What a note belongs to: it goes with the row, and with the set."""
        return self.choice.view, self.choice.opened, self.table.key

    def _say(self, line: str, tone: Tone = "plain") -> None:
        self._note = ((line, tone), self._row_in_view)
        self._redraw_foot()

    def _ask_tokens(self) -> None:
        listed = self.choice.opened_set
        if listed is not None and listed.is_usable:
            texts = self.choice.book.ask(prompt.content for prompt in listed.prompts)
            if texts:
                self.post_message(self.TokensWanted(texts))

    def _redraw(self, highlight: object = None) -> None:
        if not self.query(PromptTable):
            return
        table, signs = self.table, glyphs_of(self.app)
        self.rows = rows = self.choice.rows(max(8, table.size.width - 4), signs)
        table.set_columns(rows.columns)
        marks = None if isinstance(rows, ErrorRows) else rows.mark
        table.set_rows(rows.count, rows.cell, rows.key, marks, mark_width=len(signs.checked))
        table.opens = marks is not None and self.choice.view != "prompts"
        if highlight is not None:
            table.cursor = next((row for row in range(rows.count) if rows.key(row) == highlight), 0)
            table.scroll_to_cursor()
        self._redraw_head()
        self._redraw_foot()
        self.refresh_bindings()

    def _look(self) -> None:
        opened = (self.choice.opened,) if self.choice.opened else ()
        self.files.look(self.choice.chosen, self.base, opened, self.choice.table.get("text"))

    def _close_line(self) -> None:
        if self._line is not None:
            if self._line.what in ("add", "file", "set"):
                # What stands there is about the line.
                self._note = None
                self._redraw_foot()
            self._line.remove()
            self._line = None
            self.table.focus(scroll_visible=False)
        self.refresh_bindings()

    def _forget_early(self) -> None:
        self._early = None

    def _set_at_hand(self) -> ListedSet | None:
        """The set at hand."""
        name = self.table.key if isinstance(self.rows, SetRows) else self.choice.opened
        return self.files.sets.get(str(name))

    def _with_own_file(self, then: Callable[[ListedSet], None]) -> None:
        """Go on with the set at hand, in a copy of one that ships."""
        listed = self._set_at_hand()
        if listed is None or listed.path is None:
            error = listed.error if listed is not None else None
            remedy = "write the prompts into a file, say prompts/mine.txt"
            self._say(str(error or ExplorerError("no set is there", remedy=remedy)), "error")
        elif listed.origin == "shipped":
            self.files.copy(listed, then)
        else:
            then(listed)

    def _edit(self, listed: ListedSet) -> None:
        if listed.path is None:
            return
        if listed.format in ("parquet", "dataset"):
            self._say("a table is no text that could be edited: save the set as CSV or JSONL", "error")
            return
        like = self._like()
        line = listed.fatal[0].line if listed.fatal else like.line if like is not None else 1
        try:
            if failed := edit_file(self.app, listed.path, line):
                self._say(f"{failed}; the file was read again as it is", "error")
        except ExplorerError as error:
            self._say(str(error), "error")
        self._look()

    def _type_prompt(self, listed: ListedSet) -> None:
        like = self._like()
        is_grid = listed.format == "grid"
        self._type("add", f"{like.factors.get('type', '')}: " if like is not None and is_grid else "", "a new prompt")
        self._say(about_new(listed, like))

    def _like(self) -> Prompt | None:
        rows, row = self.rows, self.table.cursor
        return rows.prompt(row) if isinstance(rows, PromptRows) and row < rows.count else None

    def _type(self, what: Typing, text: str, placeholder: str) -> None:
        if self._line is not None:
            self._line.remove()
        kind = PathLine if what in ("file", "set") else PromptLine
        self._line = kind(what, text + (self._early or ""), placeholder)
        self._forget_early()
        self.mount(self._line)
        # At once, and not when the queue comes to it: the next key may be there already.
        self.screen.set_focus(self._line, scroll_visible=False)
        # Again after a way here, as from the list of commands, that gives the focus to the table in its turn.
        self._line.focus(scroll_visible=False)
        self.refresh_bindings()

    def _take_limit(self, typed: str) -> None:
        if typed and not (typed.isascii() and typed.isdecimal() and 1 <= int(typed) < 2**53):
            self._say(f"{typed!r} is not a whole number from 1; leave it empty for all", "error")
            return
        self._close_line()
        self._take_edit(self.choice.limit(int(typed) if typed else None))

    @property
    def _foot(self) -> Static:
        return self.query_one("#prompts-foot", Static)

    def _highlight_text(self, text: str) -> None:
        rows = self.rows
        if isinstance(rows, PromptRows):
            # In a grid the text was typed after its type.
            for row in reversed(range(rows.count)):
                if text.strip().endswith(rows.prompt(row).text):
                    return self._redraw(rows.key(row))
        return None

    def _redraw_head(self) -> None:
        head, signs = self.query_one("#prompts-head", Static), glyphs_of(self.app)
        parts = about_view(self.choice, self.rows, signs)
        head.display = bool(parts)
        head.update(as_content([(f" {signs.separator} ".join(parts), "dim")]))

    def _redraw_foot(self) -> None:
        rows, row, choice, signs = self.rows, self.table.cursor, self.choice, glyphs_of(self.app)
        notes: list[Note] = []
        if self._note is not None and self._note[1] == self._row_in_view:
            notes.append(self._note[0])
        if self._line is not None and self._line.what in ("file", "set"):
            self._show_foot(notes, lines=1)
            return
        for fault in self.files.faults:
            notes.append((f"{signs.warning} {fault}", "error"))
        if isinstance(rows, PromptRows):
            notes += about_prompt(rows, row, choice.table.get("limit")) if row < rows.count else about_nothing(choice)
        elif choice.view == "levels" and not rows.count:
            notes += about_nothing(choice)
        elif self.files.is_listed:
            notes += about_selection(choice, signs)
            if isinstance(rows, SetRows) and row < rows.count:
                notes += about_set(rows.sets[row], named_here("."), signs)
        self._show_foot(notes, isinstance(rows, PromptRows) and bool(rows.positions))

    def _show_foot(self, notes: list[Note], is_grown: bool = False, lines: int = 0) -> None:
        """Show notes in as many lines as the height of the pane allows; about a path, in as many as they take."""
        width = max(2, self.size.width - 2)
        notes = [(text[: 8 * width * self.size.height], tone) for text, tone in notes]  # what the pane could show
        lines_of: list[tuple[list[str], Tone]] = [(wrapped(one_line(text), width), tone) for text, tone in notes]
        needed = sum(len(parts) for parts, _ in lines_of)
        if any(UNSURE.search(text) is not None for text, _ in notes):
            # Broken here by what terminals may make of them, and not by what most do.
            notes = [(part, tone) for parts, tone in lines_of for part in parts]
        if lines:
            lines = max(lines, min(needed, self.size.height // 2))
        else:
            lines = next(lines for height, lines in _FOOT if self.size.height >= height)
            if is_grown and self.size.height >= _FOOT[2][0]:
                lines = max(lines + _FOOT_POSITIONS, min(needed, self.size.height // 3))
        self._foot.styles.height = lines
        self._foot.update(as_content(notes))
