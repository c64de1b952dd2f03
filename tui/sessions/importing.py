"""A box that makes a session of files which other programs wrote, beside the screen."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.widgets.dialogs import BOX, Completion, about_completion, complete
from srm_explorer.tui.widgets.help import push_help
from srm_explorer.tui.widgets.status import StatusLine

if TYPE_CHECKING:
    from srm_explorer.engine.session.source_files import Progress

SAY_EVERY = 0.1
"""Seconds between two lines that say how far it is."""

ENDINGS = (".npz", ".npy", ".safetensors", ".csv", ".tsv", ".parquet")
"""Of files that tab goes on to; the engine, which knows them too, is loaded when an import begins."""

PROGRAM = (sys.executable, "-P", "-c", "from srm_explorer.tui.cli import main; raise SystemExit(main())")
SAID = "srm-explorer: "
"""Begins each line that it writes on standard error."""

_LINES = (
    ("files", "files and folders, parted by spaces; tab completes"),
    ("session", "its name; that of the first file where there is none"),
    ("site", "where vectors were captured, blocks.11.mlp.hook_post; unknown"),
    ("neuron", "that was clamped there; unknown"),
    ("reduce", "mean or last: one vector of each [token, d]"),
    ("tokenizer", "of a model, parts texts; without it repetitions are of words"),
)


class FilesLine(Input):
    """Takes paths, which a key completes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete", id="import.complete", tooltip="Complete the path that is typed"),
    ]

    class CompletionWanted(Message):
        """The path at the end of the line is to be completed."""

    def action_complete(self) -> None:
        self.post_message(self.CompletionWanted())


@dataclass(frozen=True)
class _Imported:
    """What was made: the session's file, and lines about it, of which the first is no trouble."""

    path: Path
    lines: tuple[str, ...]


class _StopImportError(Exception):
    """Ends the reading of files that nobody wants any more."""


class ImportScreen(ModalScreen[Path | None]):
    """Asks for files, makes a session of them and saves it; the result is its file, None where there is none."""

    DEFAULT_CSS = f"""
    ImportScreen {{
        {BOX}
        & > Vertical {{ width: 78; max-width: 100%; }}
        Horizontal {{ height: 1; }}
        .-label {{ width: 11; color: $text-muted; }}
        Input {{ width: 1fr; }}
        VerticalScroll {{ height: auto; max-height: 8; margin-top: 1; }}
        #said.-problem {{ color: $text-error; }}
    }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "help", id="import.help", tooltip="Keys"),
        Binding("escape", "leave", "leave it", id="import.leave", tooltip="Cancel the import, or close the box"),
        Binding(
            "enter", "start", "import or open", id="import.start", tooltip="Import the files, then open the session"
        ),
        Binding("down", "step(1)", "next line", id="import.next", tooltip="Go to the next line"),
        Binding("up", "step(-1)", "line before", id="import.before", show=False, tooltip="Go to the line before"),
    ]

    @dataclass
    class Progressed(Message):
        """How far an import is."""

        at: Progress

    def __init__(self) -> None:
        super().__init__()
        self._stop = threading.Event()
        self._made: _Imported | None = None
        self._background = Background(self.call_later)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("Import vectors and texts that other programs saved", markup=False)
            for name, hint in _LINES:
                with Horizontal():
                    yield Static(name, classes="-label", markup=False)
                    kind = FilesLine if name == "files" else Input
                    yield kind(placeholder=hint, compact=True, select_on_focus=False, id=name)
            with VerticalScroll(can_focus=False):
                yield Static("", id="said", markup=False)
            yield Static("", id="keys", classes="-choices", markup=False)
        yield StatusLine()

    def on_mount(self) -> None:
        self.query_one("#files", Input).focus()
        self._tell_keys("enter  import them", "leave it")

    def on_unmount(self) -> None:
        self._stop.set()
        self._background.close()

    @on(FilesLine.CompletionWanted)
    def complete_path(self) -> None:
        head, word = _last_path(self.query_one("#files", Input).value)
        self._background.run(
            lambda: complete(word, lambda name: name.lower().endswith(ENDINGS), "file to import"),
            lambda completion: self._take_completion(head, completion),
            key="complete",
        )

    def _take_completion(self, head: str, completion: Completion | ExplorerError) -> None:
        line = self.query_one("#files", Input)
        if isinstance(completion, ExplorerError) or _last_path(line.value) != (head, completion.typed):
            return
        # A name's spaces part no files.
        line.value = head + completion.text.replace("\\", "\\\\").replace(" ", "\\ ")
        line.cursor_position = len(line.value)
        several = len(completion.names) > 1
        self._say(about_completion(completion.names, 3 * self.size.width) if several else completion.problem)

    @on(Input.Submitted)
    def submit(self) -> None:
        self.action_start()

    @on(Input.Changed)
    def forget_problem(self) -> None:
        self._say("")

    def action_step(self, by: int) -> None:
        self.focus_next(Input) if by > 0 else self.focus_previous(Input)

    def action_help(self) -> None:
        push_help(self, "the import")

    def action_start(self) -> None:
        """Import what is typed; open what was made."""
        if self._made is not None:
            self.dismiss(self._made.path)
        elif not self._background.is_running("import"):
            self._import()

    def action_leave(self) -> None:
        """Cancel what goes on, else close the box; what was made is in the list."""
        if self._background.is_running("import"):
            self._stop.set()
            self._background.cancel("import")
            self._end("cancelled: nothing was saved", is_problem=False)
        else:
            self.dismiss(None)

    def _import(self) -> None:
        typed = {name: self.query_one(f"#{name}", Input).value.strip() for name, _ in _LINES}
        try:
            work = _work(typed, self._stop, lambda at: self.post_message(self.Progressed(at)))
            command = _command(typed) if typed["tokenizer"] else ()
        except ExplorerError as error:
            self._say(str(error), is_problem=True)
            return
        self._stop.clear()
        for line in self.query(Input):
            line.disabled = True
        self._tell_keys("", "cancel")
        if command:
            # A tokenizer needs torch, which this process never loads.
            self._say(f"reading, and parting texts by the tokenizer of {typed['tokenizer']}")
            self._background.run_process(
                command, read, self._take, key="import", name="the import", environment=_environment()
            )
        else:
            self._say("reading")
            self._background.run(work, self._take, key="import")

    @on(Progressed)
    def show_progress(self, message: Progressed) -> None:
        if self._background.is_running("import"):
            at = message.at
            held = f"{at.vectors:,} vectors, {at.texts:,} texts so far"
            self._say(f"file {at.number:,} of {at.files:,}: {at.file.name}\n{held}")

    def _take(self, result: _Imported | ExplorerError) -> None:
        if isinstance(result, ExplorerError):
            self._end(str(result), is_problem=True)
        elif len(result.lines) == 1 and self.is_active:
            self.dismiss(result.path)
        else:
            self._made = result
            self._say("\n".join(result.lines))
            self._tell_keys("enter  open it", "leave it in the list")
            # Its keys scroll what may be longer than the box.
            scroll = self.query_one(VerticalScroll)
            scroll.can_focus = True
            scroll.focus()

    def _end(self, line: str, *, is_problem: bool) -> None:
        for each in self.query(Input):
            each.disabled = False
        self.query_one("#files", Input).focus()
        self._say(line, is_problem=is_problem)
        self._tell_keys("enter  import them", "leave it")

    def _say(self, line: str, *, is_problem: bool = False) -> None:
        said = self.query_one("#said", Static)
        said.update(line)
        said.set_class(is_problem, "-problem")

    def _tell_keys(self, enter: str, escape: str) -> None:
        self.query_one("#keys", Static).update("\n".join(filter(None, (enter, f"  esc  {escape}"))))
        self.refresh_bindings()

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something now."""
        if action in ("step", "complete"):
            return self._made is None and not self._background.is_running("import")
        return action != "start" or not self._background.is_running("import")


def _work(typed: dict[str, str], stop: threading.Event, tell: Callable[[Progress], object]) -> Callable[[], _Imported]:
    """What makes a session of the lines that were typed; ExplorerError where they make no sense."""
    files = _paths(typed["files"])
    if typed["neuron"] and not typed["neuron"].isdecimal():
        raise ExplorerError(f"{typed['neuron']!r} is no neuron", where="neuron", remedy="type its number, or nothing")
    if typed["reduce"] not in ("", "mean", "last"):
        raise ExplorerError(f"{typed['reduce']!r} makes no vector", where="reduce", remedy="type mean, last or nothing")
    neuron = int(typed["neuron"]) if typed["neuron"] else None
    site = typed["site"] or None
    reduce = cast('Literal["mean", "last"] | None', typed["reduce"] or None)

    def work() -> _Imported:
        # They need numpy and pydantic, which the first frame does without.
        from srm_explorer.engine.session import save_session
        from srm_explorer.engine.session.source_files import clamped, import_session, session_name

        last = 0.0

        def told(at: Progress) -> None:
            nonlocal last
            if stop.is_set():
                raise _StopImportError
            if time.monotonic() > last + SAY_EVERY:
                last = time.monotonic()
                tell(at)

        path = paths.session_path(typed["session"] or session_name(files))
        done = import_session(
            files, name=path.stem, site=site, reduce=reduce, interventions=clamped(site, neuron), told=told
        )
        if stop.is_set():
            raise _StopImportError
        saved = save_session(done.session, path)
        notes = [saved.note] if saved.note else []
        return _Imported(saved.path, (done.summary(), *notes, *done.remarks()))

    return work


def _command(typed: dict[str, str]) -> tuple[str, ...]:
    """`srm-explorer import` of the lines that were typed, from any working folder; ExplorerError as for `_paths`."""
    given = [f"--{name}={typed[name]}" for name in ("site", "neuron", "reduce") if typed[name]]
    if typed["session"]:
        given.append(f"--session={paths.session_path(typed['session'])}")
    own = paths.absolute(paths.expanded(typed["tokenizer"]))
    given.append(f"--tokenizer={own if paths.is_there(own) else typed['tokenizer']}")
    files = [str(paths.absolute(paths.expanded(file))) for file in _paths(typed["files"])]
    return (*PROGRAM, "import", "--json", *given, "--", *files)


def _environment() -> dict[str, str]:
    from srm_explorer.engine.worker.client import child_environment

    return {**child_environment(), "SRM_EXPLORER_SESSIONS": str(paths.absolute(paths.sessions_folder()))}


def read(done: subprocess.CompletedProcess[bytes]) -> _Imported:
    """What `srm-explorer import --json` made; ExplorerError for its line where it made nothing."""
    from srm_explorer.engine.session.source_files import imported_line

    said = done.stderr.decode("utf-8", "replace").splitlines()
    lines = [line.removeprefix(SAID) for line in said if line.startswith(SAID)]
    if not done.stdout:
        raise ExplorerError(
            lines[-1] if lines else "the import failed", remedy="" if lines else "try `srm-explorer import`"
        )
    made = json.loads(done.stdout)
    counts = (made["runs"], made["prompts"], len(made["conditions"]))
    return _Imported(
        Path(made["session"]), (imported_line(*counts, len(made["files"]), len(made["not_imported"])), *lines)
    )


def _paths(typed: str) -> list[Path]:
    """The files of a line, parted by spaces as in a shell; a line that is one path as it stands is that."""
    if not typed:
        raise ExplorerError("no file is named", remedy="type a path; tab completes it")
    try:
        whole = Path(typed).expanduser()
        if whole.exists():
            return [whole]
        return [Path(word) for word in shlex.split(typed)]
    except (OSError, RuntimeError, ValueError) as error:
        raise ExplorerError(f"this names no files: {str(error).lower()}", remedy="close the quotes") from None


def _last_path(typed: str) -> tuple[str, str]:
    """What stands before the path at the end of a line, and that path as it is, without the signs before its spaces."""
    begin = next(
        (at + 1 for at in range(len(typed) - 1, -1, -1) if typed[at] == " " and not typed[:at].endswith("\\")), 0
    )
    return typed[:begin], typed[begin:].replace("\\ ", " ").replace("\\\\", "\\")
