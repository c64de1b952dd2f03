"""What is asked in front of the explorer: names of sessions, and files to write charts and tables to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.resume import TakenError
from srm_explorer.engine.session import Saved, Session, save_session
from srm_explorer.tui.explorer.view import ExplorerView
from srm_explorer.tui.results.export import ExportKind
from srm_explorer.tui.widgets.dialogs import Ask, Choose

_EXPORTS: dict[str, tuple[ExportKind, str, str]] = {
    "s": ("svg", "svg", "SVG, a picture"),
    "t": ("text", "txt", "text without colours"),
    "a": ("ansi", "ans", "text with the terminal's colours"),
    "c": ("csv", "csv", "CSV, the numbers"),
}


def name_problem(name: str) -> str:
    """What is wrong with a session's name; empty where nothing is."""
    try:
        taken = paths.session_path(name).exists()
    except ExplorerError as error:
        return str(error)
    return f"there is another '{name}'" if taken else ""


def ask_name(
    view: ExplorerView, path: Path, error: TakenError, begin: Callable[[Path], None], replace: Callable[[], None]
) -> None:
    """Ask what to do where the name of a run belongs to another experiment.

    Args:
        view: where it is asked.
        path: the session that is there.
        error: how the two differ.
        begin: runs under another name.
        replace: moves the old one to the trash, and runs.
    """

    def chosen(key: str | None) -> None:
        if key == "m":
            replace()
        elif key == "n":
            view.ask(Ask("name of the session", f"{path.stem}-2", check=name_problem), named)

    def named(name: str | None) -> None:
        if name is not None:
            begin(paths.session_path(name))

    choices = [("n", "run it under another name"), ("m", "move the old one to the trash, and run")]
    view.ask(Choose(f"{path.stem}: {error.what}", choices), chosen)


def ask_and_copy(view: ExplorerView, session: Session, then: Callable[[Session, Path], None]) -> None:
    """Ask for a name, copy the session with its vectors to it in a thread, and go on with the copy.

    Args:
        view: where the question is asked and the answer is said.
        session: a saved one.
        then: takes the copy and its file.
    """

    def named(name: str | None) -> None:
        if name is not None:
            path = paths.session_path(name)
            view.background.run(lambda: save_session(session.changed(revision=0), path), saved)

    def saved(copy: Saved | ExplorerError) -> None:
        if isinstance(copy, ExplorerError):
            view.refuse(copy)
        else:
            then(copy.session, copy.path)
            view.say(copy.told or f"saved as {copy.path}", "good")

    view.ask(Ask("save a copy of the session as", f"{session.name}-2", check=name_problem), named)


def ask_export(view: ExplorerView) -> None:
    """Ask for a format and a file, and write the chart or table in view to it."""
    try:
        stem, kinds = view.results.exports()
    except ExplorerError as error:
        view.refuse(error)
        return

    def chosen(key: str | None) -> None:
        if key is not None:
            kind, ending, _ = _EXPORTS[key]
            view.ask(Ask("write it to", f"{stem}.{ending}", check=_file_problem), lambda name: write(kind, name))

    def write(kind: ExportKind, name: str | None) -> None:
        if name is None:
            return
        try:
            written = view.results.export(kind, Path(name).expanduser().absolute())
        except ExplorerError as error:
            view.refuse(error)
        else:
            view.say(f"written to {written}", "good")

    choices = [(key, what) for key, (kind, _, what) in _EXPORTS.items() if kind in kinds]
    view.ask(Choose(f"export the {'chart' if 'svg' in kinds else 'table'} in view as", choices), chosen)


def _file_problem(name: str) -> str:
    path = Path(name).expanduser()
    if not name.strip():
        return "name a file"
    if path.is_dir():
        return "that is a folder"
    return f"'{name}' is there already" if path.exists() else ""
