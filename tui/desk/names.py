"""Names of sessions: which are free, and what to do about one that is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine import paths
from engine.errors import ExplorerError
from engine.runner.life import TakenError
from tui.screens.ask import Ask
from tui.screens.confirm import Choose

if TYPE_CHECKING:
    from tui.screens.explorer import ExplorerScreen


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
