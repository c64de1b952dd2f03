"""The list of experiments that can be loaded: those that ship, the user's own, and the files of the working folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.errors import ExplorerError
from tui.widgets.table import Cell, Column, LineTable

if TYPE_CHECKING:
    from tui.state.spec_files import SpecFile

_KINDS = {"preset": "ships", "saved": "saved", "here": "this folder"}


@dataclass(frozen=True)
class ChosenSpec:
    """An experiment that was chosen: its data, its name, and the folder its relative paths start from."""

    data: dict[str, Any]
    name: str
    base: Path


class Presets(ModalScreen[ChosenSpec | None]):
    """A list with a preview; the result is None where nothing was chosen."""

    DEFAULT_CSS = """
    Presets {
        align: center middle;
        & > Vertical {
            width: 90%; max-width: 120; height: 85%; max-height: 40;
            border: round $primary; background: $surface; padding: 0 1;
        }
        & > Vertical > Horizontal { height: 1fr; }
        LineTable { width: 34; }
        VerticalScroll { width: 1fr; padding-left: 2; scrollbar-size: 1 1; }
        VerticalScroll Static { width: 1fr; }
        .-problem { color: $text-error; height: auto; display: none; }
        .-keys { color: $text-muted; height: 1; }
    }
    Presets.-narrow {
        & > Vertical { width: 100%; height: 100%; }
        & > Vertical > Horizontal { layout: vertical; }
        LineTable { width: 1fr; height: 2fr; }
        VerticalScroll { height: 3fr; padding-left: 0; border-top: solid $primary; }
    }
    """
    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-narrow"), (90, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Leave it", id="presets.leave", tooltip="Keep the experiment as it is"),
    ]

    @dataclass
    class Found(Message):
        """What can be loaded."""

        files: list[SpecFile]

    @dataclass
    class Read(Message):
        """One of them was read: its text, and why it cannot be loaded, empty where it can."""

        file: SpecFile
        text: str
        problem: str
        chosen: ChosenSpec | None
        wanted: bool

    def __init__(self) -> None:
        super().__init__()
        self._files: list[SpecFile] = []
        self._reading: SpecFile | None = None

    def compose(self) -> ComposeResult:
        """A list, a preview, a line of keys."""
        with Vertical() as box:
            box.border_title = "Experiments"
            with Horizontal():
                yield LineTable(id="specs")
                with VerticalScroll(can_focus=False):
                    yield Static("", classes="-problem", markup=False)
                    yield Static("looking for experiments ...", id="preview", markup=False)
            yield Static("enter load   j k move   esc leave", classes="-keys", markup=False)

    def on_mount(self) -> None:
        """Look for experiments."""
        table = self.query_one(LineTable)
        table.set_columns([Column("name", "experiment"), Column("kind", "from", width=11, priority=1)])
        table.focus()

        def look() -> None:
            from tui.state.spec_files import known_specs

            self.post_message(self.Found(known_specs()))

        self.run_worker(look, thread=True)

    @on(Found)
    def list_files(self, event: Found) -> None:
        """Show what was found, the first of it read."""
        self._files = event.files

        def cell(row: int, column: str) -> Cell:
            file = self._files[row]
            return file.name if column == "name" else (_KINDS[file.kind], "dim")

        table = self.query_one(LineTable)
        table.set_rows(len(self._files), cell, keys=lambda row: self._files[row].path)
        self._read(0)

    @on(LineTable.Highlighted)
    def preview(self, event: LineTable.Highlighted) -> None:
        """Read the highlighted one."""
        event.stop()
        self._read(event.row)

    @on(LineTable.Opened)
    def choose(self, event: LineTable.Opened) -> None:
        """Answer with it, once it is read and is an experiment."""
        event.stop()
        self._read(event.row, wanted=True)

    @on(Read)
    def show_file(self, event: Read) -> None:
        """Show what was read, unless another one is highlighted by now."""
        if event.file != self._reading:
            return
        if event.wanted and event.chosen is not None:
            self.dismiss(event.chosen)
            return
        problem = self.query_one(".-problem", Static)
        problem.update(event.problem)
        problem.display = bool(event.problem)
        self.query_one("#preview", Static).update(event.text)
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)

    def _read(self, row: int, *, wanted: bool = False) -> None:
        file = self._reading = self._files[row]

        def read() -> None:
            text, problem, chosen = "", "", None
            try:
                text = file.text()
                data, base = file.load()
                chosen = ChosenSpec(data, file.name, base)
            except ExplorerError as error:
                problem = str(error)
            self.post_message(self.Read(file, text, problem, chosen, wanted))

        self.run_worker(read, thread=True)
