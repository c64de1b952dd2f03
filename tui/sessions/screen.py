"""The list of sessions: search, open, compare, rename, resume, throw away."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Static

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.sessions.actions import Chosen, SessionActions
from srm_explorer.tui.sessions.preview import SessionPreview
from srm_explorer.tui.sessions.row import Row, matching
from srm_explorer.tui.sessions.table import MOST_MARKS, SessionTable
from srm_explorer.tui.sessions.trash import TrashScreen, bring_back
from srm_explorer.tui.widgets.help import push_help
from srm_explorer.tui.widgets.status import StatusLine, Tone
from srm_explorer.tui.widgets.table import LineTable
from srm_explorer.tui.widgets.table_render import one_line

if TYPE_CHECKING:
    from srm_explorer.tui.sessions.list_model import SessionList
    from srm_explorer.tui.sessions.summary import Hit, TextIndex


TICK = 1.0
"""Seconds between two looks at what runs."""
SAY_EVERY = 0.2
"""Seconds between two lines that say how far a search is."""
PIECE = 16
"""Session files read between two updates of the list."""


class SessionsScreen(Screen[Chosen | None]):
    """All sessions; the result is what was chosen, None after escape.

    Args:
        folder: where sessions with a bare name live; by default the sessions folder.
    """

    DEFAULT_CSS = """
    SessionsScreen {
        background: $surface;
        & > Vertical { border: round $primary; border-title-style: bold; border-subtitle-color: $text-muted; }
        #search { display: none; }
        #search.-open { display: block; }
        #empty { display: none; width: 1fr; height: 1fr; padding: 1 2; color: $text-muted; }
        .-none #empty { display: block; }
        .-none SessionPreview { display: none; }
        LineTable { height: 1fr; }
        .-none LineTable { height: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "mark", "mark", id="sessions.mark", tooltip="Mark the session for a comparison, or unmark it"),
        Binding(
            "c,C",
            "compare",
            "compare",
            id="sessions.compare",
            tooltip="Compare the marked sessions, two to eight, or the groups of one",
        ),
        Binding("r", "act('resume')", "resume", id="sessions.resume", tooltip="Go on with an interrupted run"),
        Binding("slash", "search", "search", id="sessions.search", tooltip="Search as you type"),
        Binding("S", "sort", "sort", id="sessions.sort", show=False, tooltip="Sort by the next column"),
        Binding("N", "act('notes')", "notes", id="sessions.notes", tooltip="Write notes, kept in the session"),
        Binding("R,f2", "act('rename')", "rename", id="sessions.rename", tooltip="Give it another name"),
        Binding(
            "d", "act('duplicate')", "duplicate", id="sessions.duplicate", tooltip="Take its spec as a new experiment"
        ),
        Binding(
            "x",
            "act('export')",
            "export",
            id="sessions.export",
            tooltip="Write its runs, its vectors, a report or a script, or pack all of it into one file",
        ),
        Binding("U", "unpack", "unpack", id="sessions.unpack", show=False, tooltip="Unpack a session that was packed"),
        Binding(
            "i",
            "import",
            "import",
            id="sessions.import",
            tooltip="Make a session of vectors and texts that other programs saved",
        ),
        Binding("D,delete", "act('trash')", "trash", id="sessions.trash", tooltip="Move it to the trash"),
        Binding("u", "undelete", "undelete", id="sessions.undelete", tooltip="Bring back what was thrown away last"),
        Binding(
            "T", "trash", "trash list", id="sessions.show-trash", tooltip="List the trash: bring back, delete for good"
        ),
        Binding("y", "act('copy')", "copy", id="sessions.copy", show=False, tooltip="Copy the path of its file"),
        Binding("question_mark,f1", "help", "help", id="sessions.help", tooltip="Keys and words"),
        Binding("escape,q", "leave", "back", id="sessions.leave", tooltip="Show all again, or go back"),
    ]

    @dataclass
    class Listed(Message):
        """The list as it is now."""

        rows: tuple[Row, ...]

    @dataclass
    class Searched(Message):
        """How far a search is.

        Attributes:
            typed: what is searched for.
            hits: the sessions that have all of it, and where.
            done: sessions that were looked through.
            count: all of them.
        """

        typed: str
        hits: dict[Path, Hit]
        done: int
        count: int

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self._folder = folder
        self._texts: TextIndex | None = None
        self._found = self.Searched("", {}, 0, 0)
        self._typed = ""
        self._stamps: dict[Path, tuple[str, str]] = {}
        self._lost: Path | None = None
        self._hit: tuple[str, Tone] = ("", "plain")
        self._sessions: SessionList | None = None
        self._rows: tuple[Row, ...] = ()
        self._look_for: Path | None = None
        self._said_of: object = None
        self._titles = ("", "")
        self._over = threading.Event()
        self._background = Background(self.call_later)
        self._actions = SessionActions(self, self._background, self.say)

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Sessions"
        with box:
            yield Input(
                placeholder="search names, models, what was done, notes, prompts, texts", compact=True, id="search"
            )
            yield Static("reading the sessions", id="empty", markup=False)
            yield SessionTable()
            yield SessionPreview()
        yield StatusLine()

    def on_mount(self) -> None:
        self.table.focus()
        self._show()
        self.look()
        self.set_interval(TICK, self.look)

    def on_unmount(self) -> None:
        self._over.set()
        self._background.close()

    @property
    def table(self) -> SessionTable:
        return self.query_one(SessionTable)

    def look(self) -> None:
        """Look anew at what there is, in a thread; while one looks, no other does."""
        if not self._background.is_running("look"):
            self._background.run(self._look, key="look")

    def _look(self) -> None:
        from srm_explorer.tui.sessions.list_model import SessionList

        try:
            sessions = self._sessions = self._sessions or SessionList(self._folder)
        except ExplorerError as error:
            self.app.call_from_thread(self.say, str(error), "error")
            return
        rows = list(sessions.scan())
        self.post_message(self.Listed(tuple(rows)))
        unread = [at for at, row in enumerate(rows) if row.summary is None]
        for count, at in enumerate(unread, start=1):
            if self._over.is_set():
                break
            rows[at] = sessions.read(rows[at])
            if count % PIECE == 0 or count == len(unread):
                self.post_message(self.Listed(tuple(rows)))
        if unread:
            sessions.remember()

    @on(Listed)
    def take_rows(self, message: Listed) -> None:
        """Show the list as it is now, the highlight on the same session."""
        changed = [(row.path, row.modified) for row in message.rows] != [(row.path, row.modified) for row in self._rows]
        self._rows = message.rows
        self._follow_renames()
        if changed and self._typed:
            self._search()
        self._show()
        if self._look_for is not None and self.table.go_to(self._look_for):
            self._look_for = None
        self._said_of = self.table.key

    def _follow_renames(self) -> None:
        """Keep the marks and the highlight on sessions that another terminal has renamed: by when they were saved."""
        told = {row.path: (row.summary.created, row.summary.saved) for row in self._rows if row.summary is not None}
        now = {stamps: path for path, stamps in told.items() if stamps[0]}
        there, reads = {row.path for row in self._rows}, len(told) < len(self._rows)

        def follow(path: Path) -> Path | None:
            known = path if path in there else now.get(self._stamps.get(path, ("", "")))
            # What has come since may be it: nothing is known of that before it is read.
            return known or (path if reads else None)

        self.table.marks = tuple(path for path in map(follow, self.table.marks) if path is not None)
        if isinstance(self.table.key, Path) and self.table.key not in there:
            self._lost = self.table.key
        if self._lost is not None:
            found = follow(self._lost)
            if found != self._lost:
                self._look_for, self._lost = self._look_for or found, None
        self._stamps |= told

    def say(self, line: str, tone: Tone = "plain", look_for: Path | None = None) -> None:
        self.query_one(StatusLine).said = (line, tone)
        self._said_of = self.table.key
        if look_for is not None:
            self._look_for = look_for
            self.look()

    @on(Input.Changed, "#search")
    def narrow(self) -> None:
        self._typed = self.query_one("#search", Input).value
        if self._typed:
            self._search()
        self._show_narrowed()
        self._tell_hit()

    def _show_narrowed(self) -> None:
        """Show what is left, the first of it highlighted where what was is not."""
        before = self.table.key
        self._show()
        if self.table.key != before:
            self.table.cursor = 0

    def _search(self) -> None:
        """Look through notes, prompts and texts, in a thread, for what is typed; read them before anything is."""
        typed, rows = self._typed, self._rows

        def look() -> None:
            # It needs numpy and pydantic, which the first frame does without.
            from srm_explorer.tui.sessions.summary import TextIndex

            index = self._texts = self._texts or TextIndex()
            hits: dict[Path, Hit] = {}
            told = time.monotonic()
            for count, row in enumerate(rows):
                if self._over.is_set() or typed != self._typed:
                    return
                if time.monotonic() > told + SAY_EVERY:
                    self.post_message(self.Searched(typed, dict(hits), count, len(rows)))
                    told = time.monotonic()
                if not typed:
                    index.texts(row)
                elif (hit := index.find(row, typed.casefold().split())) is not None:
                    hits[row.path] = hit
            self.post_message(self.Searched(typed, hits, len(rows), len(rows)))

        self._background.run(look, key="search")

    @on(Searched)
    def take_found(self, message: Searched) -> None:
        """Show what was found so far, and say how far the search is."""
        if message.typed == self._typed:
            self._found = message
            self._show_narrowed()
            self._tell_hit()

    def _tell_hit(self) -> None:
        """Say where the highlighted session has what is searched for, unless the list shows it."""
        row = self.table.row
        hit = self._found.hits.get(row.path) if row is not None and self._found.typed == self._typed else None
        line = self.query_one(StatusLine)
        if not line.said[0] or line.said == self._hit:
            told = f"in its {hit.place}: {hit.excerpt}" if hit is not None and hit.place else ""
            line.said = self._hit = (told, "plain")

    @on(Input.Submitted, "#search")
    def leave_search(self) -> None:
        self.table.focus()

    @on(LineTable.Highlighted)
    def preview(self) -> None:
        if self.table.key != self._said_of:
            self.query_one(StatusLine).said = ("", "plain")
        self._tell_hit()
        self.query_one(SessionPreview).show(self.table.row)
        self.refresh_bindings()

    @on(LineTable.Opened)
    def open(self) -> None:
        row = self.table.row
        if row is None:
            return
        if row.kind == "damaged" and row.summary is not None:
            self.say(row.summary.problem, "error")
        elif row.kind == "running" or not row.saved:
            self.dismiss(Chosen("follow", row.path))
        else:
            self.dismiss(Chosen("open", row.path))

    @on(LineTable.HeaderPressed)
    def sort_by_title(self, event: LineTable.HeaderPressed) -> None:
        """Sort by the column whose title was pressed; pressed again, the other way round."""
        self.table.sort_by(event.column_key)
        self._show()

    def action_sort(self) -> None:
        self.table.sort_by_next()
        self._show()

    def action_leave(self) -> None:
        """Show all again where something was searched, else go back with nothing chosen."""
        search = self.query_one("#search", Input)
        if search.has_class("-open"):
            search.value = ""
            search.remove_class("-open")
            self.table.focus()
        else:
            self.dismiss(None)

    def action_search(self) -> None:
        search = self.query_one("#search", Input)
        search.add_class("-open")
        search.focus()
        self._search()

    def action_mark(self) -> None:
        if not self.table.toggle_mark():
            self.say(f"{MOST_MARKS} are marked, as many as can be compared: m on one of them unmarks it", "warning")
            return
        count = len(self.table.marks)
        self.say(f"{count} marked: c compares them" if count > 1 else "", "plain")
        self.refresh_bindings()

    def action_compare(self) -> None:
        self._actions.compare(self._compared())

    def _compared(self) -> list[Row]:
        """The marked sessions, or a marked one and that in focus; a marked one alone is compared with itself."""
        row, marks = self.table.row, self.table.marks
        chosen = list(marks)
        if len(marks) < 2 and row is not None and row.path not in marks:
            chosen.append(row.path)
        rows = [row for path in chosen for row in self._rows if row.path == path]
        return [*rows, *rows] if len(rows) == 1 and rows[0].path in marks else rows

    def action_undelete(self) -> None:
        bring_back(self._background, self, None, self.say)

    def action_trash(self) -> None:
        def back(restored: Path | None) -> None:
            self._look_for = restored or self._look_for
            self.look()

        self.app.push_screen(TrashScreen(), back)

    def action_unpack(self) -> None:
        self._actions.unpack(self._folder)

    def action_import(self) -> None:
        from srm_explorer.tui.sessions.importing import ImportScreen

        def opened(path: Path | None) -> None:
            if path is not None:
                self.dismiss(Chosen("open", path))

        self.app.push_screen(ImportScreen(), opened)

    def action_act(self, action: str) -> None:
        if self.table.row is not None:
            self._actions.do(self.table.row, action)

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something now, and not only say why it cannot."""
        row = self.table.row
        match action:
            case "mark":
                return row is not None
            case "act":
                return row is not None and self._actions.can(row, str(parameters[0]))
            case "compare":
                return len(self._compared()) > 1
            case "search" | "sort":
                return bool(self._rows)
            case _:
                return True

    def action_help(self) -> None:
        push_help(self, "the list of sessions")

    def _show(self) -> None:
        shown = self._matching()
        box, found = self.query_one(Vertical), self._found
        box.set_class(not shown, "-none")
        title = "Sessions"
        if self._typed and self._rows:
            title += f": {len(shown):,} of {len(self._rows):,}"
            if self._searches:
                title += f", searching the texts, {found.done if found.typed == self._typed else 0:,} done"
        titles = title, "" if self._sessions is None else one_line(str(self._sessions.folder))
        if titles != self._titles:
            # Each of the two draws the box anew, with all that it holds; the list is shown every second.
            self._titles = titles
            box.border_title, box.border_subtitle = map(Content, titles)
        if not shown:
            self.query_one("#empty", Static).update(self._why_empty())
        self.table.show(shown)
        self._divide()
        self.query_one(SessionPreview).show(self.table.row)
        self.refresh_bindings()

    def on_resize(self) -> None:
        self._divide()

    def _divide(self) -> None:
        """Let the preview have the lines that the list does not need: one is for its titles, two for the frame."""
        self.query_one(SessionPreview).take_lines(self.size.height - 1 - 2 - 1, len(self._rows))

    @property
    def _searches(self) -> bool:
        """Whether what is typed was not looked for everywhere yet."""
        return self._found.typed != self._typed or self._found.done < self._found.count

    def _matching(self) -> tuple[Row, ...]:
        """What the list itself says it of, and what was found; while more is typed, what had the words before."""
        told = {row.path for row in matching(self._rows, self._typed)}
        if self._typed.startswith(self._found.typed) and self._found.typed:
            told |= self._found.hits.keys()
        return tuple(row for row in self._rows if row.path in told)

    def _why_empty(self) -> str:
        if self._rows:
            if self._searches:
                return f"searching the notes, prompts and texts of {len(self._rows):,} sessions for '{self._typed}'"
            return f"nothing matches '{self._typed}': esc shows all"
        if self._sessions is None:
            return "reading the sessions"
        return (
            f"no session in {self._sessions.folder} yet: esc, then r runs the experiment that is set up; i imports one"
        )
