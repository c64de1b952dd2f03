"""Experiments as files: the list of those that can be loaded, with a preview, and writing one."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.experiment import Experiment, available_presets, read_experiment
from srm_explorer.engine.experiment.directions import FileVector, direction_of
from srm_explorer.engine.io.files import write_atomic
from srm_explorer.engine.prompts import is_path
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.widgets.help import push_help
from srm_explorer.tui.widgets.status import StatusLine
from srm_explorer.tui.widgets.table import Cell, Column, LineTable

_MOST_FILES = 500
_LARGEST = 1_000_000
"""Bytes of a file beyond which it is taken for something else than an experiment."""


@dataclass(frozen=True)
class SpecFile:
    """An experiment that can be loaded.

    Attributes:
        name: of the preset, or of the file without its ending.
        kind: what ships, what the user saved, or a file of the working folder.
        path: the file.
    """

    name: str
    kind: Literal["preset", "saved", "here"]
    path: Path

    def text(self) -> str:
        """The file as it is written; ExplorerError where it cannot be read."""
        try:
            return self.path.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            what = f"cannot be read: {(error.strerror or str(error)).lower()}"
            raise ExplorerError(what, where=self.path.name, remedy="check the file") from None

    def load(self) -> tuple[dict[str, Any], Path]:
        """The experiment as plain data, and the folder its relative paths start from; errors as `read_experiment`."""
        experiment, source = read_experiment(self.name if self.kind == "preset" else str(paths.absolute(self.path)))
        return experiment.to_dict(), source.base


def specs_folder() -> Path:
    return paths.config_folder() / "specs"


def known_specs() -> list[SpecFile]:
    """What can be loaded: presets, then what the user saved, then what lies in the working folder."""
    presets = [SpecFile(name, "preset", paths.presets_folder() / f"{name}.toml") for name in available_presets()]
    saved = [SpecFile(path.stem, "saved", path) for path in _toml_files(specs_folder())]
    here: list[SpecFile] = []
    # A screen goes on where its working folder is gone; what lies there is gone too.
    with contextlib.suppress(ExplorerError):
        here = [SpecFile(path.stem, "here", path) for path in _toml_files(paths.working_folder()) if _may_be_spec(path)]
    return [*presets, *saved, *here]


def name_problem(name: str) -> str:
    word = name.strip()
    if not word:
        return "write a name"
    if "/" in word or word.startswith((".", "-")) or not word.isprintable():
        return f"a file cannot be named {word[:40]!r}; use letters, digits, - and _"
    if len(os.fsencode(word)) > 200:
        return "it is longer than 200 bytes; choose a shorter one"
    return ""


def spec_path(name: str) -> Path:
    return specs_folder() / f"{name.strip().removesuffix('.toml')}.toml"


def write_spec(name: str, experiment: Experiment, base: Path) -> Path:
    """Write to the user's folder, paths made absolute, over an old file; ExplorerError where it cannot be written."""
    path = spec_path(name)
    write_atomic(path, Experiment.from_dict(anchored(experiment.to_dict(), base)).to_toml().encode())
    return path


def anchored(data: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """An experiment's data with every path, relative to a base, made absolute, so that it means the same elsewhere."""
    new = copy.deepcopy(dict(data))

    def absolute(path: str) -> str:
        return str(paths.absolute(base) / paths.expanded(path))

    def prompt_set(word: str) -> str:
        return absolute(word) if is_path(word) else word

    prompts = new["prompts"]
    prompts["sets"] = [prompt_set(word) for word in prompts["sets"]]
    if prompts.get("omit"):
        prompts["omit"] = {prompt_set(word): numbers for word, numbers in prompts["omit"].items()}
    where = prompts.get("where") or {}
    prompts["where"] = {prompt_set(name) if isinstance(of, dict) else name: of for name, of in where.items()}
    for intervention in new["interventions"]:
        if intervention["direction"] is not None:
            file, hash_sign, name = intervention["direction"].rpartition("#")
            intervention["direction"] = f"{absolute(file)}{hash_sign}{name}"
    for plane in new["planes"]:
        for key in ("a", "b"):
            vector = direction_of(plane[key])
            if isinstance(vector, FileVector):
                plane[key] = f"{absolute(vector.file)}#{vector.name}"
    if new["stats"] is not None and ("/" in new["stats"] or new["stats"].endswith(".json")):
        new["stats"] = absolute(new["stats"])
    model = new["model"]["name"]
    if model != "demo" and paths.is_folder(base / paths.expanded(model)):
        new["model"]["name"] = absolute(model)
    return new


def _toml_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob("*.toml") if path.is_file())[:_MOST_FILES]
    except OSError:
        return []


def _may_be_spec(path: Path) -> bool:
    """Whether a TOML file has the tables that every experiment has; other programs' files are no concern of ours."""
    try:
        if path.stat().st_size > _LARGEST:
            return False
        lines = {line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()}
    except OSError:
        return False
    return {"[model]", "[capture]"} <= {line.partition("#")[0].strip() for line in lines}


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
        Binding("question_mark,f1", "help", "help", id="presets.help", tooltip="Keys and words"),
        Binding("escape,q", "leave", "Leave it", id="presets.leave", tooltip="Keep the experiment as it is"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._files: list[SpecFile] = []
        self._background = Background(self.call_later)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "Experiments"
            with Horizontal():
                yield LineTable(id="specs", opens=True)
                with VerticalScroll(can_focus=False):
                    yield Static("", classes="-problem", markup=False)
                    yield Static("looking for experiments ...", id="preview", markup=False)
        yield StatusLine()

    def on_mount(self) -> None:
        table = self.query_one(LineTable)
        table.set_columns([Column("name", "experiment"), Column("kind", "from", width=11, priority=1)])
        table.focus()
        self._background.run(known_specs, self._list)

    def on_unmount(self) -> None:
        self._background.close()

    def _list(self, files: list[SpecFile] | ExplorerError) -> None:
        if isinstance(files, ExplorerError):
            raise files
        self._files = files

        def cell(row: int, column: str) -> Cell:
            file = self._files[row]
            return file.name if column == "name" else (_KINDS[file.kind], "dim")

        table = self.query_one(LineTable)
        table.set_rows(len(self._files), cell, keys=lambda row: self._files[row].path)
        self._read(0)

    @on(LineTable.Highlighted)
    def preview(self, event: LineTable.Highlighted) -> None:
        event.stop()
        self._read(event.row)

    @on(LineTable.Opened)
    def choose(self, event: LineTable.Opened) -> None:
        event.stop()
        self._read(event.row, take=True)

    def action_help(self) -> None:
        push_help(self, "the list of experiments")

    def action_leave(self) -> None:
        self.dismiss(None)

    def _read(self, row: int, *, take: bool = False) -> None:
        file = self._files[row]

        def read() -> tuple[str, ChosenSpec | ExplorerError]:
            text = file.text()
            try:
                data, base = file.load()
            except ExplorerError as error:
                return text, error
            return text, ChosenSpec(data, file.name, base)

        self._background.run(read, functools.partial(self._show_file, take), key="read")

    def _show_file(self, take: bool, result: tuple[str, ChosenSpec | ExplorerError] | ExplorerError) -> None:
        text, chosen = ("", result) if isinstance(result, ExplorerError) else result
        if take and isinstance(chosen, ChosenSpec):
            self.dismiss(chosen)
            return
        problem = self.query_one(".-problem", Static)
        problem.display = isinstance(chosen, ExplorerError)
        problem.update(str(chosen) if isinstance(chosen, ExplorerError) else "")
        self.query_one("#preview", Static).update(text)
        self.query_one(VerticalScroll).scroll_home(animate=False)
