"""What scripts say of vectors that save one a run: the keys, and the metadata in a file beside them."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import UNKNOWN, Site
from srm_explorer.engine.io.files import parse_json, read_text

BASELINE = "baseline"

_NAMED = re.compile(r"(?:^|_)(core_id|prompt_id|[A-Za-z][A-Za-z0-9-]*)=")
"""A marker of a key; those that hold an underscore are known by name, and values may hold any."""


def has_markers(key: str) -> bool:
    """Whether a key says anything in the form "name=value"."""
    return _NAMED.search(key) is not None


def key_cells(
    key: str, row: int | None = None, *, of_file: Mapping[str, str] | None = None, alone: bool = False
) -> dict[str, str]:
    """What a key says, by the names of `session_from`; what stands before the first marker tells the prompt.

    Args:
        row: of a table of runs.
        of_file: what the name of its file says, where the key has no marker.
        alone: whether no other key is in its file, so that it tells no prompt from another there.
    """
    marks = list(_NAMED.finditer(key))
    if not marks and of_file:
        return {**of_file, **({} if alone else {"prompt_id": key if row is None else f"{key}[{row}]"})}
    first = marks[0].start() if marks else len(key)
    cells: dict[str, str] = {}
    if key[:first] or row is not None:
        cells["prompt_id"] = key[:first] + ("" if row is None else f"[{row}]")
    for mark, after in itertools.zip_longest(marks, marks[1:]):
        cells[mark[1]] = key[mark.end() : after.start() if after else None]
    if "sweep" in cells:
        cells["sweep"] = condition_of(cells["sweep"])
    return cells


def condition_of(cell: str) -> str:
    """A condition as `sweep` reads it: what is empty, or none, is the baseline."""
    return BASELINE if cell.strip().casefold() in ("", "none", BASELINE) else cell


METADATA = "run_metadata*.json"
"""What the scripts that write vectors one at a time call the file that says how."""
METADATA_FOLDER = "metadata"
"""Where some keep it, beside the folder of the vectors."""
SITE_SAID = "capture_hook"
"""The entry of it that says where vectors were captured."""
CLAMPED_SAID = "intervention_hook", "target_neuron"
"""Those that say where a neuron was clamped, and which."""


@dataclass
class Metadata:
    """What lies beside files and says how they were made; a file that cannot be read is named in `unread`."""

    read: dict[Path, Any] = field(default_factory=dict[Path, Any])
    unread: list[str] = field(default_factory=list[str])
    sites: dict[str, Path] = field(default_factory=dict[str, Path])

    def beside(self, file: Path) -> list[Path]:
        """The files of the nearest place that has any: the folder, its folder of metadata, one beside it."""
        folder = file.parent
        for near in (folder, folder / METADATA_FOLDER, folder.parent / METADATA_FOLDER):
            if listed := sorted(near.glob(METADATA)):
                break
        else:
            return []
        for path in listed:
            if path not in self.read:
                self.read[path] = None
                try:
                    self.read[path] = parse_json(read_text(path), str(path))
                except ExplorerError as error:
                    self.unread.append(str(error))
        return [path for path in listed if self.read[path] is not None]

    def site(self, file: Path, *, has_vectors: bool = True) -> str:
        """Where a file's vectors were captured, as far as all that is said of it agrees."""
        said: dict[str, Path] = {}
        for path in self.beside(file):
            entry = self.read[path].get(SITE_SAID) if isinstance(self.read[path], dict) else None
            if isinstance(entry, str):
                said.setdefault(entry, path)
        if len(said) == 1:
            ((site, path),) = said.items()
            try:
                Site.parse(site)
            except SpecValueError:
                return UNKNOWN
            if has_vectors:
                self.sites.setdefault(site, path)
            return site
        return UNKNOWN

    def clamped(self, files: Sequence[Path]) -> tuple[str, int, str] | None:
        """The site and neuron that were clamped, where all that is said beside the files agrees, and what says so."""
        said: dict[tuple[str, int], str] = {}
        for path in (path for file in files for path in self.beside(file)):
            entry: dict[str, Any] = self.read[path] if isinstance(self.read[path], dict) else {}
            site, neuron = (entry.get(name) for name in CLAMPED_SAID)
            if isinstance(site, str) and isinstance(neuron, int):
                said.setdefault((site, neuron), path.name)
        if len(said) != 1:
            return None
        (((site, neuron), name),) = said.items()
        try:
            is_neuron = Site.parse(site).is_mlp and neuron >= 0
        except SpecValueError:
            is_neuron = False
        return (site, neuron, name) if is_neuron else None

    def of(self, files: Sequence[Path]) -> dict[str, Any]:
        """By name of the file, by its path where the name stands twice."""
        paths_ = list(dict.fromkeys(path for file in files for path in self.beside(file)))
        names = Counter(path.name for path in paths_)
        return {path.name if names[path.name] == 1 else str(path): self.read[path] for path in paths_}

    def notes(self, agreed: bool) -> list[str]:
        """What came of the sites that were said."""
        if agreed:
            return [f"the site is {site}: {path.name} says so ({SITE_SAID})" for site, path in self.sites.items()]
        lines = [
            f"{path.name} says that the site is {site}, of other files nothing does"
            for site, path in self.sites.items()
        ]
        return [f"{line}: it is left unknown, and --site names it" for line in lines]
