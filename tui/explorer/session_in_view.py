"""The session in view: opened, watched as it grows, copied and exported."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.runs.manage import bring_along, is_there, whereabouts
from srm_explorer.engine.session import Saved, Session, load_session, save_session, sessions_in
from srm_explorer.engine.session.store import created_in
from srm_explorer.tui.explorer.draft import DraftEditor
from srm_explorer.tui.explorer.view import ExplorerView
from srm_explorer.tui.results.export import EXPORTS, ExportKind, ask_for_figure, write_new
from srm_explorer.tui.widgets.dialogs import Ask, Choose, file_problem, named_here, typed_file


@dataclass(frozen=True)
class Moved:
    """What became of a session that is not under its name any more.

    Attributes:
        session: what is to be shown: the same one, or the last that there is; None for none.
        path: its file.
        line: says so.
        is_same: whether it is the same session, under another name.
    """

    session: Session | None
    path: Path | None
    line: str
    is_same: bool = False


def look_for(path: Path, created: str, saved: str, session: Session | None = None) -> Moved | None:
    """Look whether a session is still under its name; None where it is, else what is to be shown in its place.

    Args:
        path: its .json file, which need not exist where its run is not over.
        created, saved: by which it is known, of the session as it was read.
        session: as it is in view, where its runs are all that there is of it.
    """
    if is_there(path) and created_in(path) in ("", created):
        return None
    found, went = whereabouts(path, created, saved)
    if found is not None:
        bring_along(path, found)
        line = f"{path.stem} is now {found.stem if found.parent == path.parent else found}"
        if found.exists():
            return Moved(load_session(found), found, line, is_same=True)
        return Moved(session and session.changed(name=found.stem), found, line, is_same=True)
    went = f"{path.stem} is {went}"
    with contextlib.suppress(ExplorerError):
        for other in dict.fromkeys([*sessions_in(paths.sessions_folder()), *sessions_in(path.parent)]):
            with contextlib.suppress(ExplorerError):
                return Moved(load_session(other), other, f"{went}: this is {other.stem}, the last one there is")
    return Moved(None, None, f"{went}, and no other session is there")


class SessionInView:
    """Which session the results show.

    Attributes:
        session: what is shown; None for nothing.
        path: the file of the session that was chosen, which is not there before its run has begun.
        on_move: takes the old name and the new one of a session that was renamed.

    Args:
        view: shows it.
        editor: keeps its name for the next start.
        changed: is called where the header has something else to tell.
    """

    def __init__(self, view: ExplorerView, editor: DraftEditor, changed: Callable[[], object]) -> None:
        self._view, self._editor, self._changed = view, editor, changed
        self.session: Session | None = None
        self.path: Path | None = None
        self.on_move: Callable[[Path, Path], object] = lambda old, new: None
        self._shown: Path | None = None
        self._opening: Path | None = None
        self._looks_for_runs = True

    @property
    def shown(self) -> Path | None:
        """The file of the session whose charts are there; before the first of them, of the one that was chosen."""
        return self.path if self.session is None else self._shown

    def looked_for_runs(self) -> None:
        """From now on it is known what runs there are."""
        self._looks_for_runs = False
        self._tell_wait()

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
        # First what there is: nothing must be said to be missing in between.
        self._view.results.take_session(session)
        if session is not None and path is not None:
            self.look_at(path)
        self._remember()
        self._tell_wait()
        self._changed()

    def open(self, path: Path) -> None:
        """Show a saved session."""

        def opened(session: Session | ExplorerError) -> None:
            self._opening = None
            if isinstance(session, ExplorerError):
                self._view.refuse(session)
                self._tell_wait()
            else:
                self.take(session, path)
                if session.spec.survey and self._view.results.tab == "Polar":
                    # Where there would be the baseline alone.
                    self._view.results.open_tab("Survey")

        self._opening = path
        self._tell_wait()
        self._view.background.run(lambda: load_session(path), opened, key="open session")

    def reopen(self) -> None:
        """Show the session of the last screen, under whatever name it has by now, else the last that there is."""
        draft, view = self._editor.draft, self._view
        if draft.session is None:
            return
        path = Path(draft.session)
        if paths.is_there(path) and created_in(path) in ("", draft.session_created or created_in(path)):
            self.open(path)
        elif draft.session_created:
            self._opening = path
            self._tell_wait()
            search = functools.partial(look_for, path, draft.session_created, draft.session_saved)
            view.background.run(search, functools.partial(self._take_moved, path), key="open session")

    def look(self) -> None:
        """Look whether the session in view still has its name; it is followed where another terminal renamed it."""
        session, path, view = self.session, self._shown, self._view
        if session is not None and path is not None and not view.background.is_running("look for session"):
            search = functools.partial(look_for, path, session.created, session.saved, session)
            view.background.run(search, functools.partial(self._take_moved, path), key="look for session")

    def _take_moved(self, path: Path, moved: Moved | ExplorerError | None) -> None:
        self._opening = None
        if isinstance(moved, ExplorerError):
            self._view.refuse(moved)
            self._tell_wait()
        elif moved is not None and self._shown in (None, path):
            was_chosen = self.path in (None, path)
            if moved.is_same and moved.path is not None:
                self.on_move(path, moved.path)
            self.session, self._shown = moved.session, moved.path
            self._view.results.take_session(moved.session)
            if was_chosen:
                self._choose(moved.path)
            self._view.say(moved.line, "plain" if moved.is_same else "warning")

    def save_as(self) -> None:
        """Ask for another name, copy the session with its vectors to it, and show the copy."""
        session, view = self.session, self._view
        if session is None or session.path is None:
            view.say("there is no saved session in view" + ("; this one still runs" if session else ""))
            return

        def named(name: str | None) -> None:
            if name is not None:
                path = paths.session_path(name)
                view.background.run(lambda: save_session(session.changed(revision=0), path), saved)

        def saved(copy: Saved | ExplorerError) -> None:
            if isinstance(copy, ExplorerError):
                view.refuse(copy)
            else:
                self.take(copy.session, copy.path)
                view.say(copy.note or f"saved as {copy.path}", "good")

        view.ask(Ask("save a copy of the session as", f"{session.name}-2", check=name_problem), named)

    def export(self) -> None:
        """Ask for a format and a file, and write the chart or table in view to it."""
        view = self._view
        try:
            stem, kinds = view.results.exports()
        except ExplorerError as error:
            view.refuse(error)
            return

        def chosen(key: str | None) -> None:
            if key is not None:
                kind, ending, _ = EXPORTS[key]
                if kind in ("single", "double"):
                    ask_for_figure(view.ask, view.background, view.say, stem, kind, view.results.figure())
                    return
                view.ask(Ask("write it to", f"{stem}.{ending}", check=_file_problem), lambda name: write(kind, name))

        def write(kind: ExportKind, name: str | None) -> None:
            if name is None:
                return
            try:
                written = view.results.export(kind, typed_file(name))
            except ExplorerError as error:
                view.refuse(error)
            else:
                view.say(f"written to {written}", "good")

        choices = [(key, what) for key, (kind, _, what) in EXPORTS.items() if kind in kinds]
        view.ask(Choose(f"export the {'chart' if 'single' in kinds else 'table'} in view as", choices), chosen)

    def write_report(self) -> None:
        """Ask for a file, and write a report of the session in view to it, as one HTML page."""

        def made(session: Session, file: Path) -> str:
            # Jinja and the analyses, which the screen does without.
            from srm_explorer.engine.report.report import report_of

            report = report_of(session)
            return "; ".join((f"report written to {write_new(file, report.content())}", *report.left_out))

        self._write("html", made)

    def write_script(self) -> None:
        """Ask for a file, and write a Python script to it that repeats the session in view."""

        def made(session: Session, file: Path) -> str:
            from srm_explorer.engine.report.script import script  # as above

            return f"script written to {write_new(file, script(session).encode('utf-8', 'backslashreplace'))}"

        self._write("py", made)

    def _write(self, ending: str, made: Callable[[Session, Path], str]) -> None:
        session, view = self.session, self._view
        if session is None:
            view.say("there is no session in view")
            return

        def written(line: str | ExplorerError) -> None:
            if isinstance(line, ExplorerError):
                view.refuse(line)
            else:
                view.say(line, "good")

        def named(name: str | None) -> None:
            if name is not None:
                file = typed_file(name)
                view.say(f"writing {file.name}")
                view.background.run(lambda: made(session, file), written)

        view.ask(Ask("write it to", named_here(f"{session.name}.{ending}"), check=_file_problem), named)

    def _choose(self, path: Path | None) -> None:
        self.path = path
        self._editor.draft.session = str(path) if path is not None else None
        self._remember()
        self._editor.keep()
        self._tell_wait()
        self._changed()

    def _remember(self) -> None:
        """Keep by what the session is known under any name; nothing of one whose run has not begun."""
        draft, session = self._editor.draft, self.session if self._shown == self.path else None
        stamps = ("", "") if session is None else (session.created, session.saved)
        if stamps != (draft.session_created, draft.session_saved):
            draft.session_created, draft.session_saved = stamps
            self._editor.keep()

    def _tell_wait(self) -> None:
        """Say what is on its way where nothing is in view yet."""
        line = ""
        if self.session is not None:
            pass
        elif self._opening is not None:
            line = f"opening {self._opening.stem}"
        elif self.path is not None:
            line = f"No run of {self.path.stem} is finished yet\n\nruns are drawn as they come"
        elif self._looks_for_runs:
            line = "looking for runs that are under way"
        self._view.results.wait(line)


def name_problem(name: str) -> str:
    """What is wrong with a session's name; empty where nothing is."""
    try:
        taken = paths.is_there(paths.session_path(name))
    except ExplorerError as error:
        return str(error)
    return f"there is another '{name}'" if taken else ""


def _file_problem(name: str) -> str:
    return file_problem(name) or (f"'{name}' is there already" if paths.is_there(typed_file(name)) else "")
