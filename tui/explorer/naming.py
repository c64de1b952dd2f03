"""Names of sessions: which are free, and what to do about one that is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.resume import TakenError
from srm_explorer.engine.session import Saved, Session, save_session
from srm_explorer.tui.widgets.dialogs import Ask, Choose

if TYPE_CHECKING:
    from srm_explorer.tui.explorer.screen import ExplorerScreen


def name_problem(name: str) -> str:
    """What is wrong with a session's name; empty where nothing is."""
    try:
        taken = paths.session_path(name).exists()
    except ExplorerError as error:
        return str(error)
    return f"there is another '{name}'" if taken else ""


def ask_name(
    screen: ExplorerScreen, path: Path, error: TakenError, begin: Callable[[Path], None], replace: Callable[[], None]
) -> None:
    """Ask what to do where the name of a run belongs to another experiment.

    Args:
        screen: where it is asked.
        path: the session that is there.
        error: how the two differ.
        begin: runs under another name.
        replace: moves the old one to the trash, and runs.
    """

    def chosen(key: str | None) -> None:
        if key == "m":
            replace()
        elif key == "n":
            screen.app.push_screen(Ask("name of the session", f"{path.stem}-2", check=name_problem), named)

    def named(name: str | None) -> None:
        if name is not None:
            begin(paths.session_path(name))

    choices = [("n", "run it under another name"), ("m", "move the old one to the trash, and run")]
    screen.app.push_screen(Choose(f"{path.stem}: {error.what}", choices), chosen)


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
            screen.background.run(lambda: save_session(session.changed(revision=0), path), saved)

    def saved(found: Saved | ExplorerError) -> None:
        if isinstance(found, ExplorerError):
            screen.refuse(found)
        else:
            then(found.session, found.path)
            screen.say(found.told or f"saved as {found.path}", "good")

    screen.app.push_screen(Ask("save a copy of the session as", f"{session.name}-2", check=name_problem), named)
