"""Copying a session under another name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine import paths
from engine.errors import ExplorerError
from engine.session import Saved, Session, save_session
from tui.desk.names import name_problem
from tui.screens.ask import Ask

if TYPE_CHECKING:
    from tui.screens.explorer import ExplorerScreen


def ask_and_copy(screen: ExplorerScreen, session: Session, then: Callable[[Session, Path], None]) -> None:
    """Ask for a name, copy the session with its vectors to it in a thread, and go on with the copy.

    Args:
        screen: where the question is asked and the answer is said.
        session: a saved one.
        then: takes the copy and its file.
    """

    def named(name: str | None) -> None:
        if name is not None:
            path = paths.session_path(name)
            screen.in_thread(lambda: save_session(session.changed(revision=0), path), saved)

    def saved(found: Saved | ExplorerError) -> None:
        if isinstance(found, ExplorerError):
            screen.refuse(found)
        else:
            then(found.session, found.path)
            screen.say(found.told or f"saved as {found.path}", "good")

    screen.app.push_screen(Ask("save a copy of the session as", f"{session.name}-2", check=name_problem), named)
