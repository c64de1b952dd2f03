"""Notes on a session: Markdown, kept as it is typed, and saved into the session."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import TextArea

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.io.lock import FileLock, LockedError
from srm_explorer.tui.backend.autosave import AutoSaver
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.widgets.help import push_help
from srm_explorer.tui.widgets.status import StatusLine
from srm_explorer.tui.widgets.table_render import one_line

if TYPE_CHECKING:
    from srm_explorer.engine.session import Saved, Session


class NotesScreen(Screen[str | None]):
    """Edits the notes of a saved session; the result says what became of them, None where nothing was changed.

    Args:
        path: the session's .json file.
    """

    DEFAULT_CSS = """
    NotesScreen {
        background: $surface;
        TextArea { height: 1fr; border: round $primary; border-title-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "help", id="notes.help", tooltip="Keys"),
        Binding("escape", "leave", "save and go back", id="notes.leave", tooltip="Save the notes and go back"),
        Binding("f2,ctrl+s", "save", "save", id="notes.save", tooltip="Save the notes into the session"),
        Binding("f4", "drop", "drop the changes", id="notes.drop", tooltip="Go back to the notes as they were saved"),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._session: Session | None = None
        self._draft: NotesDraft | None = None
        self._summary: str | None = None
        self._leaving = False
        self._background = Background(self.call_later)

    def compose(self) -> ComposeResult:
        area = TextArea("", id="notes", soft_wrap=True, show_line_numbers=False)
        area.cursor_blink = False
        area.border_title = Content(f"Notes on {one_line(self._path.stem)}")
        area.disabled = True
        yield area
        yield StatusLine()

    def on_mount(self) -> None:
        self.query_one(StatusLine).said = ("reading", "plain")
        self._background.run(self._read, self._take)

    def on_unmount(self) -> None:
        """Give the draft to whoever opens the notes next."""
        self._background.close()
        if self._draft is not None:
            self._draft.close()

    def _read(self) -> tuple[Session, NotesDraft]:
        # It needs pydantic and numpy, which the first frame does without.
        from srm_explorer.engine.session import load_session

        return load_session(self._path), NotesDraft(self._path)

    def _take(self, result: tuple[Session, NotesDraft] | ExplorerError) -> None:
        if isinstance(result, ExplorerError):
            self._fail(result)
            return
        session, draft = self._session, self._draft = result
        area = self.query_one(TextArea)
        kept = draft.text
        unsaved = kept is not None and kept != session.notes
        with self.prevent(TextArea.Changed):
            area.load_text(kept if kept is not None and unsaved else session.notes)
        area.move_cursor(area.document.end)
        area.disabled = False
        area.focus()
        message = "these notes were not saved when the screen was closed: f2 saves them, f4 drops them"
        self.query_one(StatusLine).said = (message, "warning") if unsaved else ("", "plain")

    def _fail(self, error: ExplorerError) -> None:
        self.query_one(StatusLine).said = (str(error), "error")
        self._leaving = False

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something: what is saved already is neither saved again nor dropped."""
        return action in ("leave", "help") or (self._session is not None and self._text != self._session.notes)

    @property
    def _text(self) -> str:
        return self.query_one(TextArea).text

    @on(TextArea.Changed)
    def keep(self) -> None:
        self.refresh_bindings()
        if self._draft is not None:
            self._draft.keep(self._text)
            self.query_one(StatusLine).said = ("", "plain")

    def action_help(self) -> None:
        push_help(self, "notes")

    def action_drop(self) -> None:
        if self._session is not None and self._draft is not None:
            with self.prevent(TextArea.Changed):
                self.query_one(TextArea).text = self._session.notes
            self._draft.forget()
            self.query_one(StatusLine).said = ("as saved", "plain")
            self.refresh_bindings()

    def action_leave(self) -> None:
        if self._session is None or self._text == self._session.notes:
            if self._draft is not None:
                self._draft.forget()
            self.dismiss(self._summary)
            return
        self._leaving = True
        self.action_save()

    def action_save(self) -> None:
        """Save the notes into the session, in a thread; another's changes are never overwritten."""
        session, text = self._session, self._text
        if session is None or self._background.is_running("save"):
            return

        def save() -> Saved:
            from srm_explorer.engine.session import save_session

            return save_session(session.changed(notes=text), self._path)

        self._background.run(save, self._take_saved, key="save")

    def _take_saved(self, result: Saved | ExplorerError) -> None:
        if isinstance(result, ExplorerError):
            self._fail(result)
            return
        session, message = result.session, result.note
        self._session = session
        self.refresh_bindings()
        self._path = session.path or self._path
        area = self.query_one(TextArea)
        area.border_title = Content(f"Notes on {one_line(session.name)}")
        self._summary = message or f"notes saved in {session.name}"
        self.query_one(StatusLine).said = (self._summary, "warning" if message else "good")
        if self._draft is not None and area.text == session.notes:
            self._draft.forget()
        # What stands on it, such as the palette, would be closed in its stead.
        if self._leaving and self.is_active:
            self.dismiss(self._summary)
        self._leaving = False


DRAFTS = 9
"""Screens that may write notes on one session at once."""


class NotesDraft:
    """What was typed and not saved: a file for each screen, which the next one takes over when that screen is gone.

    Attributes:
        text: what an earlier screen left; None where it left nothing.

    Args:
        session: the session's .json file.

    Raises:
        ExplorerError: the state folder cannot be written, or too many screens write notes on this session.
    """

    def __init__(self, session: Path) -> None:
        folder, stem = paths.notes_drafts(session)
        self.text: str | None = None
        held: list[tuple[FileLock, Path]] = []
        try:
            for number in range(1, DRAFTS + 1):
                lock = FileLock(folder / f"{stem}-{number}.lock", remedy="close one of them")
                try:
                    lock.acquire()
                except LockedError:
                    if number == DRAFTS and not held:
                        raise
                    continue
                held.append((lock, folder / f"{stem}-{number}.md"))
                # The first number that is free, unless a later one holds what a killed screen has left.
                if held[-1][1].is_file() or not (folder / f"{stem}-{number + 1}.lock").exists():
                    break
            chosen = next((pair for pair in reversed(held) if pair[1].is_file()), held[0])
        except BaseException:
            for lock, _ in held:
                lock.release()
            raise
        for lock, _ in held:
            if lock is not chosen[0]:
                lock.release()
        self._lock, self._file = chosen
        with contextlib.suppress(OSError, UnicodeDecodeError):
            self.text = self._file.read_text("utf-8")
        # Its mistakes are nobody's concern: what was typed stands on the screen, and is saved by a key.
        self._saver = AutoSaver(self._write, lambda error: None, delay=0)

    def keep(self, text: str) -> None:
        self._saver.save(text)

    def forget(self) -> None:
        self._saver.drop(self._remove)

    def close(self) -> None:
        """Write what waits and let another screen have the file."""
        self._saver.close()
        self._lock.release()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._file.unlink()

    def _write(self, text: str) -> None:
        # Not synced: it must outlive this process, not the machine, and it is written at every key.
        draft = self._file.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            draft.write_text(text, "utf-8", errors="replace", newline="")
            draft.replace(self._file)
