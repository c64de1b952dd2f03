"""What lies in the trash: brought back where it came from, or deleted for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Static

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.lines import file_size
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.sessions.row import day_and_time
from srm_explorer.tui.sessions.table import LONGEST_NAME
from srm_explorer.tui.widgets.dialogs import Ask, Confirm
from srm_explorer.tui.widgets.help import push_help
from srm_explorer.tui.widgets.status import StatusLine, Tone
from srm_explorer.tui.widgets.table import Column, LineTable

if TYPE_CHECKING:
    from srm_explorer.engine.runs.trash import Trashed

# The engine's trash needs pydantic and numpy, which the list of sessions does without: it is imported in threads.

TICK = 2.0
"""Seconds between two looks at what other terminals have done."""

COLUMNS = (
    Column("name", "name", least=16, share=2),
    Column("when", "thrown away", width=16),
    Column("holds", "holds", width=22, priority=2),
    Column("size", "size", width=7, align="right", priority=1),
    Column("origin", "from", least=12),
)


def bring_back(background: Background, screen: Screen[Any], entry: Trashed | None, say: Say) -> None:
    """Bring a session back, the last that was thrown away by default; where its name is taken, ask for another.

    Args:
        background: moves the files.
        screen: where it is asked.
        entry: what is brought back; None for the last.
        say: takes the line, its tone, and the session's .json file.
    """

    def act(name: str | None) -> tuple[Trashed, Path | ExplorerError]:
        from srm_explorer.engine.runs.trash import NameTakenError, restore_session, trashed_sessions

        chosen = entry or next(iter(trashed_sessions()), None)
        if chosen is None:
            raise ExplorerError("the trash is empty", remedy="nothing is left to bring back")
        try:
            return chosen, restore_session(chosen, name)
        except NameTakenError as error:
            return chosen, error

    def take(result: tuple[Trashed, Path | ExplorerError] | ExplorerError) -> None:
        if isinstance(result, ExplorerError):
            say(str(result), "error", None)
            return
        chosen, restored = result
        if isinstance(restored, ExplorerError):
            ask(chosen, restored)
        else:
            say(f"{restored.stem} is back", "good", restored)

    def ask(chosen: Trashed, error: ExplorerError) -> None:
        from srm_explorer.engine.runs import is_there
        from srm_explorer.engine.session.store import renamed_path

        def problem(typed: str) -> str:
            try:
                target = renamed_path(chosen.path, typed)
            except ExplorerError as refused:
                return str(refused)
            return f"there is another '{target.stem}'" if is_there(target) else ""

        def named(typed: str | None) -> None:
            if typed is not None:
                background.run(lambda: act(typed), take)

        screen.app.push_screen(Ask(f"{error.what}: bring it back as", f"{chosen.name}-2", check=problem), named)

    background.run(lambda: act(None), take)


Say = Callable[[str, Tone, "Path | None"], object]


class TrashScreen(Screen[Path | None]):
    """The trash as a list; the result is the session that was brought back last, None where none was."""

    DEFAULT_CSS = """
    TrashScreen {
        background: $surface;
        & > Vertical { border: round $primary; border-title-style: bold; border-subtitle-color: $text-muted; }
        #empty { display: none; width: 1fr; height: 1fr; padding: 1 2; color: $text-muted; }
        .-none #empty { display: block; }
        .-none LineTable { height: 0; }
        LineTable { height: 1fr; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "restore", "bring back", id="trash.restore", tooltip="Bring it back where it came from"),
        Binding("D,delete", "delete", "delete", id="trash.delete", tooltip="Delete it for good, when confirmed"),
        Binding("E", "empty", "empty", id="trash.empty", tooltip="Delete all of it for good, when confirmed"),
        Binding("y", "copy", "copy", id="trash.copy", show=False, tooltip="Copy the path of its folder"),
        Binding("question_mark,f1", "help", "help", id="trash.help", tooltip="Keys and words"),
        Binding("escape,q,T", "leave", "back", id="trash.leave", tooltip="Back to the sessions"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._entries: tuple[Trashed, ...] = ()
        self._read = False
        self._restored: Path | None = None
        self._background = Background(self.call_later)

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Trash"
        with box:
            yield Static("", id="empty", markup=False)
            yield LineTable()
        yield StatusLine()

    def on_mount(self) -> None:
        self.query_one(LineTable).focus()
        self._show()
        self.look()
        self.set_interval(TICK, self.look)

    def on_unmount(self) -> None:
        self._background.close()

    def look(self) -> None:
        """Look anew at what lies there, in a thread."""

        def read() -> tuple[Trashed, ...]:
            from srm_explorer.engine.runs.trash import trashed_sessions

            return trashed_sessions()

        def take(entries: tuple[Trashed, ...] | ExplorerError) -> None:
            if isinstance(entries, ExplorerError):
                self.say(str(entries), "error")
            elif entries != self._entries or not self._read:
                self._entries, self._read = entries, True
                self._show()

        if not self._background.is_running("look"):
            self._background.run(read, take, key="look")

    def say(self, line: str, tone: Tone = "plain", restored: Path | None = None) -> None:
        self.query_one(StatusLine).said = (line, tone)
        self._restored = restored or self._restored
        self._background.cancel("look")
        self.look()

    @on(LineTable.Opened)
    def action_restore(self) -> None:
        if (entry := self._entry) is not None:
            bring_back(self._background, self, entry, self.say)

    def action_delete(self) -> None:
        if (entry := self._entry) is not None:
            detail = f"{_holds(entry)}, {file_size(entry.size)}\nfrom {entry.origin}"
            self._delete(f"Delete {entry.name} for good?", detail, (entry,))

    def action_empty(self) -> None:
        entries = self._entries
        if entries:
            names = ", ".join(entry.name for entry in entries[:8]) + (", ..." if len(entries) > 8 else "")
            total = file_size(sum(entry.size for entry in entries))
            self._delete(f"Delete all {len(entries)} for good?", f"{names}\n{total}", entries)

    def action_copy(self) -> None:
        if (entry := self._entry) is not None:
            self.app.copy_to_clipboard(str(entry.folder))
            self.say(f"copied {entry.folder}", "good")

    def action_help(self) -> None:
        push_help(self, "the trash")

    def action_leave(self) -> None:
        self.dismiss(self._restored)

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something now."""
        return action in ("help", "leave") or bool(self._entries)

    @property
    def _entry(self) -> Trashed | None:
        at = self.query_one(LineTable).cursor
        return self._entries[at] if at < len(self._entries) else None

    def _delete(self, question: str, detail: str, entries: tuple[Trashed, ...]) -> None:
        def act() -> str:
            from srm_explorer.engine.runs.trash import delete_trashed

            delete_trashed(entries)
            return f"{entries[0].name if len(entries) == 1 else f'all {len(entries)}'} deleted for good"

        def take(result: str | ExplorerError) -> None:
            self.say(str(result), "error" if isinstance(result, ExplorerError) else "good")

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                self._background.run(act, take)

        self.app.push_screen(Confirm(question, detail=detail, yes="delete it", no="keep it"), answered)

    def _show(self) -> None:
        entries = self._entries
        self.query_one(Vertical).set_class(not entries, "-none")
        told = "the trash is empty: D in the list of sessions moves one here" if self._read else "reading the trash"
        self.query_one("#empty", Static).update(told)
        self.query_one(Vertical).border_subtitle = f"{len(entries)} · {file_size(sum(entry.size for entry in entries))}"
        now = datetime.now().astimezone()

        def cell(at: int, key: str) -> str:
            entry = entries[at]
            if key == "when":
                return day_and_time(entry.when, now)
            if key == "holds":
                return _holds(entry)
            return file_size(entry.size) if key == "size" else str(getattr(entry, key))

        longest = max((cell_len(entry.name) for entry in entries), default=0)
        name = replace(COLUMNS[0], least=min(max(COLUMNS[0].least, longest), LONGEST_NAME))
        table = self.query_one(LineTable)
        table.set_columns((name, *COLUMNS[1:]))
        table.set_rows(len(entries), cell, lambda at: entries[at].folder)
        self.refresh_bindings()


def _holds(entry: Trashed) -> str:
    """What lies there, in words: "session, vectors"."""
    words = {".json": "session", ".safetensors": "vectors", ".jsonl": "ledger"}
    kinds = dict.fromkeys(words.get(file.suffix, "run") for file in reversed(entry.files))
    return ", ".join(kinds)
