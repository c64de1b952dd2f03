"""What the list of sessions does to one of them: each question in a box, what takes long beside the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textual.screen import Screen

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.sessions.row import Row
from srm_explorer.tui.sessions.table import facts_of
from srm_explorer.tui.widgets.dialogs import Ask, Choose, Confirm, file_problem, named_here, refusal, typed_file
from srm_explorer.tui.widgets.status import Tone

if TYPE_CHECKING:
    from srm_explorer.engine.runs import Packed

Action = Literal["open", "duplicate", "resume", "follow", "score"]
Say = Callable[[str, Tone, "Path | None"], object]
"""Takes a line, its tone, and the session to look for in the list."""


EXPORTS = {
    "c": ("csv", "its runs as CSV"),
    "q": ("parquet", "its runs as Parquet"),
    "n": ("npz", "its vectors as .npz, one a run"),
    "f": ("csv", "its texts by core_id, type, level and sweep, as CSV"),
    "v": ("npz", "its vectors by core_id, type, level and sweep, as .npz"),
    "r": ("html", "a report of it, as one HTML page"),
    "s": ("py", "a Python script that repeats it"),
    "p": ("srm.zip", "all of it as one checked file, to be sent or kept"),
}
"""By its key: the ending of a file that a session can be written to, and what it is."""


@dataclass(frozen=True)
class Chosen:
    """What the explorer is asked to do with a session.

    Attributes:
        action: "open" a saved one, take its spec as a new draft ("duplicate"), go on with an interrupted one
            ("resume"), attach to one that is not saved yet ("follow"), or go where one is scored ("score").
        path: its .json file, which need not exist for "follow", "resume" and "duplicate".
    """

    action: Action
    path: Path


class SessionActions:
    """Does things to sessions of a list.

    Args:
        screen: the list; its result is what is chosen.
        background: runs what takes long.
        say: tells what was done.
    """

    def __init__(self, screen: Screen[Chosen | None], background: Background, say: Say) -> None:
        self._screen, self._background, self._say = screen, background, say
        self._actions: dict[str, Callable[[Row], None]] = {
            "copy": self._copy,
            "duplicate": lambda row: self._choose("duplicate", row),
            "export": self._export,
            "notes": self._notes,
            "rename": self._rename,
            "resume": lambda row: self._choose("resume", row),
            "trash": self._trash,
        }

    def can(self, row: Row, action: str) -> bool:
        """Whether something can be done to a session."""
        return not _refusal(row, action)

    def do(self, row: Row, action: str) -> None:
        refusal = _refusal(row, action)
        if refusal:
            self._say(f"{row.name}: {refusal}", "warning", None)
        else:
            self._actions[action](row)

    def compare(self, rows: list[Row]) -> None:
        unfit = next((row for row in rows if not row.saved or row.kind == "damaged"), None)
        if len(rows) < 2:
            self._say("mark a session with m, then go to another one and press c", "warning", None)
        elif unfit is not None:
            why = "cannot be read" if unfit.kind == "damaged" else "is not saved yet"
            self._say(f"{unfit.name} {why}, so it cannot be compared", "warning", None)
        else:
            from srm_explorer.tui.compare.screen import CompareScreen

            def take(path: Path | None) -> None:
                if path is not None:
                    self._screen.dismiss(Chosen("score", path))

            self._push(CompareScreen(*(row.path for row in rows)), take)

    def _choose(self, action: Action, row: Row) -> None:
        self._screen.dismiss(Chosen(action, row.path))

    def _copy(self, row: Row) -> None:
        self._screen.app.copy_to_clipboard(str(row.path))
        self._say(f"copied {row.path}", "good", None)

    def _notes(self, row: Row) -> None:
        from srm_explorer.tui.sessions.notes import NotesScreen

        def take(line: str | None) -> None:
            if line is not None:
                self._say(line, "plain", row.path)

        self._push(NotesScreen(row.path), take)

    def _rename(self, row: Row) -> None:
        from srm_explorer.engine.runs import rename_session
        from srm_explorer.engine.session.store import refuse_taken, renamed_path

        def check(typed: str) -> None:
            target = renamed_path(row.path, typed)
            if target != row.path:
                refuse_taken(target)

        def act(typed: str) -> tuple[str, Path]:
            target = rename_session(row.path, typed)
            return f"{row.path.stem} is now {target.stem}", target

        def take(typed: str | None) -> None:
            if typed is not None and renamed_path(row.path, typed) != row.path:
                self._act(lambda: act(typed))

        self._push(Ask("New name", row.path.stem, check=lambda typed: refusal(lambda: check(typed))), take)

    def _trash(self, row: Row) -> None:
        from srm_explorer.engine.runs import trash_session

        def act() -> tuple[str, Path]:
            trash_session(row.path)
            return f"{row.name} is in the trash: u brings it back", row.path

        def take(confirmed: bool | None) -> None:
            if confirmed:
                self._act(act)

        vectors = row.path.with_suffix(".safetensors")
        names = [row.path.name] if row.saved else []
        names += [vectors.name] if vectors.exists() else []
        names += [ledger.name] if (ledger := paths.ledger_file(row.path)).exists() else []
        names += [f"{row.path.stem}.run"] if paths.run_folder(row.path).is_dir() else []
        detail = f"{', '.join(names)} ({facts_of(row)})\nin {row.path.parent}\ngo to {paths.trash_folder()}"
        self._push(Confirm(f"Move {row.name} to the trash?", detail=detail, yes="move it", no="keep it"), take)

    def _export(self, row: Row) -> None:
        def choose(kind: str | None) -> None:
            if kind is not None:
                ending, _ = EXPORTS[kind]
                default = named_here(f"{row.path.stem}.{ending}")

                def problem(typed: str) -> str:
                    is_taken = kind == "p" and not file_problem(typed) and paths.is_there(typed_file(typed))
                    return "there is such a file already; name another one" if is_taken else file_problem(typed)

                self._push(
                    Ask(f"Write {row.name} to", default, check=problem),
                    lambda typed: self._export_to(row, typed, kind),
                )

        choices = tuple((key, meaning) for key, (_, meaning) in EXPORTS.items())
        self._push(Choose(f"Export {row.name}", choices), choose)

    def _export_to(self, row: Row, typed: str | None, kind: str) -> None:
        if typed is None:
            return
        file = Path(typed.strip()).expanduser()
        if paths.is_there(file) and kind != "p":
            self._push(
                Confirm(f"{file} is there already", yes="replace it", no="keep it"),
                lambda confirmed: self._begin_writing(row, file, kind) if confirmed else None,
            )
        else:
            self._begin_writing(row, file, kind)

    def _begin_writing(self, row: Row, file: Path, kind: str) -> None:
        """Write a file beside the screen, and say how far it is: a large session takes its time."""

        def told(what: str, share: float) -> None:
            line = f"writing {file}: {what}, {share:.0%} done"
            self._background.deliver(lambda: self._say(line, "plain", None))

        self._say(f"writing {file}", "plain", None)
        self._act(lambda: _write(row, file, kind, told))

    def unpack(self, folder: Path | None) -> None:
        """Ask for a packed session and save it in a folder, under another name where its own is taken."""

        def problem(typed: str) -> str:
            return file_problem(typed) or ("" if paths.is_file(typed_file(typed)) else "there is no such file")

        def take(typed: str | None) -> None:
            if typed is not None:
                self._unpack(typed_file(typed), folder, None)

        self._push(Ask("Unpack which file, that `sessions pack` wrote?", named_here(""), check=problem), take)

    def _unpack(self, file: Path, folder: Path | None, name: str | None) -> None:
        def act() -> Packed:
            from srm_explorer.engine.runs import unpack_session

            target = None if name is None else (folder or paths.sessions_folder()) / f"{name}.json"
            return unpack_session(file, target, folder=folder)

        def named(typed: str | None) -> None:
            if typed is not None:
                self._unpack(file, folder, typed.strip())

        def problem(typed: str) -> str:
            from srm_explorer.engine.session.store import refuse_taken, renamed_path

            here = (folder or paths.sessions_folder()) / "session.json"
            return refusal(lambda: refuse_taken(renamed_path(here, typed)))

        def take(result: Packed | ExplorerError) -> None:
            from srm_explorer.engine.runs import NameTakenError

            if isinstance(result, NameTakenError):
                self._push(Ask("Unpack it under which name?", detail=result.what, check=problem), named)
            elif isinstance(result, ExplorerError):
                self._say(str(result), "error", None)
            else:
                told = "; ".join((f"{result.session.name} is unpacked, every hash right", *result.notes))
                self._say(told, "good", result.path)

        self._background.run(act, take)

    def _push(self, box: Screen[Any], take: Callable[[Any], None] | None = None) -> None:
        self._screen.app.push_screen(box, take)

    def _act(self, act: Callable[[], tuple[str, Path | None]]) -> None:
        """Do what may take long, then tell the line it returns, or what went wrong."""

        def take(result: tuple[str, Path | None] | ExplorerError) -> None:
            if isinstance(result, ExplorerError):
                self._say(str(result), "error", None)
            else:
                self._say(result[0], "good", result[1])

        self._background.run(act, take)


def _refusal(row: Row, action: str) -> str:
    """Why it cannot be done to this session; empty where it can."""
    if action == "copy":
        return ""
    if row.kind == "damaged" and action != "trash":
        return "it cannot be read, so it is left as it is"
    if row.kind == "reading":
        return "it is still being read"
    if row.kind == "running" and action in ("rename", "trash", "notes"):
        return "a run is writing it; wait for it, or follow it with enter and cancel it there"
    if action == "resume":
        if row.kind == "running":
            return "it is running; enter follows it"
        if row.kind == "finished":
            return "it is finished; d takes its spec as a new experiment"
        if row.run is None:
            return "its run folder is gone, so it cannot go on; d takes its spec as a new experiment"
    if action in ("export", "notes") and not row.saved:
        return "it is not saved yet; r goes on with it"
    return ""


def _write(row: Row, file: Path, kind: str, told: Callable[[str, float], object]) -> tuple[str, None]:
    """Write what a key of `EXPORTS` stands for, and say what was written; what has stages tells them."""
    from srm_explorer.engine.figures import count_of
    from srm_explorer.engine.io.files import write_atomic
    from srm_explorer.engine.session import load_session
    from srm_explorer.engine.session.export import chosen_site, export

    if kind == "p":
        from srm_explorer.engine.runs import pack_session

        packed = pack_session(row.path, file)
        return "; ".join((f"{row.name} is packed into {packed.path}", *packed.notes)), None
    session = load_session(row.path)
    if kind == "r":
        from srm_explorer.engine.report.report import report_of

        made = report_of(session, told=told)
        write_atomic(file, made.content())
        return "; ".join((f"report written to {file}", *made.left_out)), None
    if kind == "s":
        from srm_explorer.engine.report.script import script

        write_atomic(file, script(session).encode("utf-8", "backslashreplace"))
        return f"script written to {file}", None
    keys = "factors" if kind in ("f", "v") else None
    if kind in ("n", "v"):
        site = chosen_site(session, None)
        return f"{count_of(export(session, npz=file, keys=keys), 'vector')} of {site} written to {file}", None
    written = export(session, parquet=file) if kind == "q" else export(session, csv=file, keys=keys)
    return f"{count_of(written, 'run')} written to {file}", None
