"""Notes on a session: Markdown, kept as it is typed, and saved into the session."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import TextArea

from engine.errors import ExplorerError
from tui.screens.session_keys import hints_of
from tui.widgets.status_line import StatusLine

if TYPE_CHECKING:
    from engine.session import Session
    from tui.state.notes_draft import NotesDraft


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
        Binding("escape", "leave", "save and go back", id="notes.leave", tooltip="Save the notes and go back"),
        Binding("f2,ctrl+s", "save", "save", id="notes.save", tooltip="Save the notes into the session"),
        Binding("f4", "drop", "drop the changes", id="notes.drop", tooltip="Go back to the notes as they were saved"),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._session: Session | None = None
        self._draft: NotesDraft | None = None
        self._told: str | None = None
        self._leaving = False
        self._saving = threading.Lock()

    def compose(self) -> ComposeResult:
        """One text, and the keys."""
        area = TextArea("", id="notes", soft_wrap=True, show_line_numbers=False)
        area.border_title = f"Notes on {self._path.stem}"
        area.disabled = True
        yield area
        yield StatusLine()

    def on_mount(self) -> None:
        """Read the session."""
        line = self.query_one(StatusLine)
        line.hints = hints_of(self)
        line.said = ("reading", "plain")
        self.run_worker(self._read, thread=True)

    def on_unmount(self) -> None:
        """Give the draft to whoever opens the notes next."""
        if self._draft is not None:
            self._draft.close()

    def _read(self) -> None:
        from engine.session import load_session
        from tui.state.notes_draft import NotesDraft

        try:
            session = load_session(self._path)
            draft = NotesDraft(self._path)
        except ExplorerError as error:
            self.app.call_from_thread(self._fail, error)
        else:
            self.app.call_from_thread(self._take, session, draft)

    def _take(self, session: Session, draft: NotesDraft) -> None:
        self._session, self._draft = session, draft
        area = self.query_one(TextArea)
        kept = draft.text
        unsaved = kept is not None and kept != session.notes
        with self.prevent(TextArea.Changed):
            area.load_text(kept if kept is not None and unsaved else session.notes)
        area.move_cursor(area.document.end)
        area.disabled = False
        area.focus()
        told = "these notes were not saved when the screen was closed: f2 saves them, f4 drops them"
        self.query_one(StatusLine).said = (told, "warning") if unsaved else ("", "plain")

    def _fail(self, error: ExplorerError) -> None:
        self.query_one(StatusLine).said = (str(error), "error")
        if self._leaving:
            self._leaving = False

    @on(TextArea.Changed)
    def keep(self) -> None:
        """Keep what is typed."""
        if self._draft is not None:
            self._draft.keep(self.query_one(TextArea).text)
            self.query_one(StatusLine).said = ("", "plain")

    def action_drop(self) -> None:
        """Go back to the notes as they were saved; undo brings the others back."""
        if self._session is not None and self._draft is not None:
            self.query_one(TextArea).text = self._session.notes
            self.query_one(StatusLine).said = ("as saved", "plain")

    def action_leave(self) -> None:
        """Save what was changed and go back."""
        if self._session is None or self.query_one(TextArea).text == self._session.notes:
            if self._draft is not None:
                self._draft.forget()
            self.dismiss(self._told)
            return
        self._leaving = True
        self.action_save()

    def action_save(self) -> None:
        """Save the notes into the session, in a thread; another's changes are never overwritten."""
        session, text = self._session, self.query_one(TextArea).text
        if session is None or not self._saving.acquire(blocking=False):
            return

        def work() -> None:
            from engine.session import save_session

            try:
                saved = save_session(session.changed(notes=text), self._path)
            except ExplorerError as error:
                self.app.call_from_thread(self._fail, error)
            else:
                self.app.call_from_thread(self._saved, saved.session, saved.told)
            finally:
                self._saving.release()

        self.run_worker(work, thread=True)

    def _saved(self, session: Session, told: str) -> None:
        self._session = session
        self._path = session.path or self._path
        area = self.query_one(TextArea)
        area.border_title = f"Notes on {session.name}"
        self._told = told or f"notes saved in {session.name}"
        self.query_one(StatusLine).said = (self._told, "warning" if told else "good")
        if self._draft is not None and area.text == session.notes:
            self._draft.forget()
        if self._leaving:
            self.dismiss(self._told)
