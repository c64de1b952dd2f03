"""Experiments as files: those that can be loaded, writing one, and one as text for an editor."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine import paths
from engine.errors import ExplorerError
from engine.files import write_atomic
from engine.spec import Experiment, available_presets, read_experiment
from engine.spec.direction import FileVector
from engine.spec.direction_text import direction_of

_PROMPT_FILES = (".txt", ".csv", ".tsv", ".jsonl")
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
        """The file as it is written.

        Raises:
            ExplorerError: it cannot be read.
        """
        try:
            return self.path.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            what = f"cannot be read: {(error.strerror or str(error)).lower()}"
            raise ExplorerError(what, where=self.path.name, remedy="check the file") from None

    def load(self) -> tuple[dict[str, Any], Path]:
        """The experiment as plain data, and the folder its relative paths start from; errors as `read_experiment`."""
        experiment, source = read_experiment(self.name if self.kind == "preset" else str(self.path.absolute()))
        return experiment.to_dict(), source.base


def specs_folder() -> Path:
    """Where the user's own experiment files are."""
    return paths.config_folder() / "specs"


def known_specs() -> list[SpecFile]:
    """What can be loaded: presets, then what the user saved, then what lies in the working folder."""
    presets = [SpecFile(name, "preset", paths.presets_folder() / f"{name}.toml") for name in available_presets()]
    saved = [SpecFile(path.stem, "saved", path) for path in _toml_files(specs_folder())]
    here = [SpecFile(path.stem, "here", path) for path in _toml_files(Path.cwd()) if _may_be_spec(path)]
    return [*presets, *saved, *here]


def name_problem(name: str) -> str:
    """What is wrong with a name for an experiment file; empty where nothing is."""
    word = name.strip()
    if not word:
        return "write a name"
    if "/" in word or word.startswith((".", "-")) or not word.isprintable():
        return f"a file cannot be named {word[:40]!r}; use letters, digits, - and _"
    if len(os.fsencode(word)) > 200:
        return "it is longer than 200 bytes; choose a shorter one"
    return ""


def spec_path(name: str) -> Path:
    """The file that an experiment of that name is written to."""
    return specs_folder() / f"{name.strip().removesuffix('.toml')}.toml"


def write_spec(name: str, experiment: Experiment, base: Path) -> Path:
    """Write an experiment to the user's folder, its relative paths made absolute; an old file is replaced.

    Raises:
        ExplorerError: it cannot be written.
    """
    path = spec_path(name)
    write_atomic(path, Experiment.from_dict(anchored(experiment.to_dict(), base)).to_toml().encode())
    return path


def anchored(data: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """An experiment's data with every path absolute, so that it means the same from another folder.

    Args:
        data: as `Experiment.to_dict` gives it.
        base: the folder that its relative paths start from.
    """
    new = copy.deepcopy(dict(data))

    def absolute(path: str) -> str:
        return str(base.absolute() / Path(path).expanduser())

    def prompt_set(word: str) -> str:
        return absolute(word) if "/" in word or word.endswith(_PROMPT_FILES) else word

    prompts = new["prompts"]
    prompts["sets"] = [prompt_set(word) for word in prompts["sets"]]
    if prompts.get("omit"):
        prompts["omit"] = {prompt_set(word): numbers for word, numbers in prompts["omit"].items()}
    for one in new["interventions"]:
        if one["direction"] is not None:
            file, hash_sign, name = one["direction"].rpartition("#")
            one["direction"] = f"{absolute(file)}{hash_sign}{name}"
    for plane in new["planes"]:
        for key in ("a", "b"):
            vector = direction_of(plane[key])
            if isinstance(vector, FileVector):
                plane[key] = f"{absolute(vector.file)}#{vector.name}"
    if new["stats"] is not None and ("/" in new["stats"] or new["stats"].endswith(".json")):
        new["stats"] = absolute(new["stats"])
    model = new["model"]["name"]
    if model != "demo" and (base / Path(model).expanduser()).is_dir():
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
