"""The session in view: opened, watched as it grows, copied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.session import Session, load_session
from srm_explorer.tui.explorer.dialogs import ask_and_copy
from srm_explorer.tui.explorer.draft import DraftEditor
from srm_explorer.tui.explorer.view import ExplorerView


class SessionInView:
    """Which session the results show.

    Attributes:
        session: what is shown; None for nothing.
        path: the file of the session that was chosen, which is not there before its run has begun.

    Args:
        view: shows it.
        editor: keeps its name for the next start.
        changed: is called where the header has something else to tell.
    """

    def __init__(self, view: ExplorerView, editor: DraftEditor, changed: Callable[[], object]) -> None:
        self._view, self._editor, self._changed = view, editor, changed
        self.session: Session | None = None
        self.path: Path | None = None
        self._shown: Path | None = None

    @property
    def chosen(self) -> Session | None:
        """What there is of the session that was chosen; None while another one is still shown in its place."""
        return self.session if self._shown == self.path else None

    def look_at(self, path: Path) -> None:
        """From now on this session is in view; its runs are shown as they come."""
        if path != self.path:
            self._choose(path)

    def look_away(self, path: Path) -> None:
        """A run that came to nothing is in view no more, but the session whose chart is there."""
        if path == self.path and path != self._shown:
            self._choose(self._shown)

    def looks_at(self, path: Path | None) -> bool:
        """Whether this session is in view."""
        return path is not None and path == self.path

    def take(self, session: Session | None, path: Path | None = None) -> None:
        """Show a session, saved or growing."""
        self.session = session
        if session is not None and path is not None:
            self._shown = path
            self.look_at(path)
        self._view.results.take_session(session)
        self._changed()

    def open(self, path: Path) -> None:
        """Show a saved session."""

        def opened(session: Session | ExplorerError) -> None:
            if isinstance(session, ExplorerError):
                self._view.refuse(session)
            else:
                self.take(session, path)

        self._view.background.run(lambda: load_session(path), opened, key="open session")

    def save_as(self) -> None:
        """Ask for another name, and copy the session to it."""
        session = self.session
        if session is None or session.path is None:
            self._view.say("there is no saved session in view" + ("; this one still runs" if session else ""))
        else:
            ask_and_copy(self._view, session, self.take)

    def _choose(self, path: Path | None) -> None:
        self.path = path
        self._editor.draft.session = str(path) if path is not None else None
        self._editor.keep()
        self._changed()
