"""What the list of sessions does to one of them: each question in a box, each deed in a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.widgets.dialogs import Ask, Choose, Confirm

if TYPE_CHECKING:
    from srm_explorer.tui.sessions.list_model import Row
    from srm_explorer.tui.sessions.screen import SessionsScreen


def do(screen: SessionsScreen, row: Row, deed: str) -> None:
    """Do one of `DEEDS` to a session, or say why it cannot be done."""
    refusal = _refusal(row, deed)
    if refusal:
        screen.say(screen.Said(f"{row.name}: {refusal}", "warning"))
    else:
        DEEDS[deed](screen, row)


def compare(screen: SessionsScreen, rows: Sequence[Row]) -> None:
    """Compare two sessions, or the groups of a marked one, or say why that cannot be done."""
    unfit = next((row for row in rows if not row.saved or row.kind == "damaged"), None)
    if len(rows) == 1 and rows[0].path in screen.table.marks:
        rows = [rows[0], rows[0]]
    if len(rows) < 2:
        screen.say(screen.Said("mark a session with m, then go to another one and press c", "warning"))
    elif unfit is not None:
        why = "cannot be read" if unfit.kind == "damaged" else "is not saved yet"
        screen.say(screen.Said(f"{unfit.name} {why}, so it cannot be compared", "warning"))
    else:
        from srm_explorer.tui.compare.screen import CompareScreen

        screen.app.push_screen(CompareScreen(rows[0].path, rows[1].path))


def _refusal(row: Row, deed: str) -> str:
    """Why it cannot be done to this session; empty where it can."""
    if deed == "copy":
        return ""
    if row.kind == "damaged" and deed != "trash":
        return "it cannot be read, so it is left as it is"
    if row.kind == "reading":
        return "it is still being read"
    if row.kind == "running" and deed in ("rename", "trash", "notes"):
        return "a run is writing it; wait for it, or follow it with enter and cancel it there"
    if deed == "resume":
        if row.kind == "running":
            return "it is running; enter follows it"
        if row.kind == "finished":
            return "it is finished; d takes its spec as a new experiment"
        if row.run is None:
            return "its run folder is gone, so it cannot go on; d takes its spec as a new experiment"
    if deed in ("export", "notes") and not row.saved:
        return "it is not saved yet; r goes on with it"
    return ""


def _resume(screen: SessionsScreen, row: Row) -> None:
    screen.dismiss(screen.Chosen("resume", row.path))


def _duplicate(screen: SessionsScreen, row: Row) -> None:
    screen.dismiss(screen.Chosen("duplicate", row.path))


def _copy(screen: SessionsScreen, row: Row) -> None:
    screen.app.copy_to_clipboard(str(row.path))
    screen.say(screen.Said(f"copied {row.path}", "good"))


def _notes(screen: SessionsScreen, row: Row) -> None:
    from srm_explorer.tui.sessions.notes import NotesScreen

    def told(line: str | None) -> None:
        if line is not None:
            screen.post_message(screen.Said(line, look_for=row.path))

    screen.app.push_screen(NotesScreen(row.path), told)


def _rename(screen: SessionsScreen, row: Row) -> None:
    from srm_explorer.engine.runs.manage import rename
    from srm_explorer.engine.session.rename import refuse_taken, renamed_path

    def problem(typed: str) -> str:
        try:
            target = renamed_path(row.path, typed)
            if target != row.path:
                refuse_taken(target)
        except ExplorerError as error:
            return str(error)
        return ""

    def take(typed: str | None) -> None:
        if typed is None or renamed_path(row.path, typed) == row.path:
            return

        def act() -> tuple[str, Path | None]:
            target = rename(row.path, typed)
            return f"{row.path.stem} is now {target.stem}", target

        _in_thread(screen, act)

    screen.app.push_screen(Ask("New name", row.path.stem, check=problem), take)


def _trash(screen: SessionsScreen, row: Row) -> None:
    from srm_explorer.engine import paths
    from srm_explorer.engine.runs.manage import trash
    from srm_explorer.tui.sessions.list_model import facts_of

    def take(wanted: bool | None) -> None:
        if not wanted:
            return

        def act() -> tuple[str, Path | None]:
            return f"{row.name} lies in {trash(row.path)}", row.path

        _in_thread(screen, act)

    names = [row.path.name] if row.saved else []
    beside = row.path.with_suffix(".safetensors")
    names += [beside.name] if beside.exists() else []
    names += [f"{row.path.stem}.run"] if paths.run_folder(row.path).is_dir() else []
    detail = f"{', '.join(names)} ({facts_of(row)})\nin {row.path.parent}\ngo to {paths.trash_folder()}"
    question = Confirm(f"Move {row.name} to the trash?", detail=detail, yes="move it", no="keep it")
    screen.app.push_screen(question, take)


def _export(screen: SessionsScreen, row: Row) -> None:
    choices = (("c", "its runs as CSV"), ("n", "its vectors as .npz, one a run"))

    def chosen(kind: str | None) -> None:
        if kind is None:
            return
        ending = "csv" if kind == "c" else "npz"

        def named(typed: str | None) -> None:
            if typed is None:
                return
            file = Path(typed).expanduser()
            if file.exists():
                screen.app.push_screen(
                    Confirm(f"{file} is there already", yes="replace it", no="keep it"),
                    lambda wanted: _write(screen, row, file, ending) if wanted else None,
                )
            else:
                _write(screen, row, file, ending)

        default = str(Path.cwd() / f"{row.path.stem}.{ending}")
        screen.app.push_screen(Ask(f"Write {row.name} to", default, check=_no_file), named)

    screen.app.push_screen(Choose(f"Export {row.name}", choices), chosen)


def _no_file(typed: str) -> str:
    """Why a text names no file that can be written; empty where it does."""
    if not typed.strip():
        return "name a file"
    try:
        file = Path(typed).expanduser()
        return f"{file} is a folder; name a file" if file.is_dir() else ""
    except (OSError, RuntimeError, ValueError) as error:
        return f"this is no file: {error}"


def _write(screen: SessionsScreen, row: Row, file: Path, kind: str) -> None:
    def act() -> tuple[str, Path | None]:
        from srm_explorer.engine.figures.numbers import count_of
        from srm_explorer.engine.io.files import write_atomic
        from srm_explorer.engine.io.npz import write_npz
        from srm_explorer.engine.session import load_session
        from srm_explorer.engine.session.export import chosen_site, exported, run_vectors, runs_csv

        session = load_session(row.path)
        if kind == "csv":
            write_atomic(file, runs_csv(session).encode("utf-8", "backslashreplace"))
            return f"{count_of(exported(session), 'run')} written to {file}", None
        site = chosen_site(session, None)
        write_npz(file, run_vectors(session, site))
        return f"{count_of(exported(session), 'vector')} of {site} written to {file}", None

    _in_thread(screen, act)


def _in_thread(screen: SessionsScreen, act: Callable[[], tuple[str, Path | None]]) -> None:
    """Do what may take long, then tell the line it returns, or what went wrong."""

    def work() -> None:
        try:
            line, path = act()
        except ExplorerError as error:
            screen.post_message(screen.Said(str(error), "error"))
        else:
            screen.post_message(screen.Said(line, "good", path))

    screen.run_worker(work, thread=True, group="deeds")


DEEDS: dict[str, Callable[[SessionsScreen, Row], None]] = {
    "copy": _copy,
    "duplicate": _duplicate,
    "export": _export,
    "notes": _notes,
    "rename": _rename,
    "resume": _resume,
    "trash": _trash,
}
