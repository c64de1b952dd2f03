"""The experiment in the making: where it comes from, its edits and the way back, kept as it is typed."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import ExplorerError
from engine.runner.journal import is_run_folder
from engine.runner.journal_reader import JournalReader
from engine.session import Session, load_session
from engine.spec import Experiment, read_experiment
from tui.desk.saving import Saver
from tui.desk.start import Start
from tui.state.draft import Draft, DraftFile
from tui.state.history import History

FIRST = "demo"
"""The preset of the first start ever, so that `r` does something at once."""

_DIGEST = re.compile(r"-[0-9a-f]{6}$")


class Drafting:
    """The draft of this screen.

    Args:
        draft: what to begin with.
        file: where it is kept.
        failed: takes the error where it cannot be kept, in another thread.
    """

    def __init__(self, draft: Draft, file: DraftFile, failed: Callable[[ExplorerError], None]) -> None:
        self.draft = draft
        self._file = file
        self._history = History()
        self._history.push(self._whole())
        self._saver = Saver(file.write, failed)
        self._parsed: tuple[dict[str, Any], Experiment] | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The experiment as plain data, a copy."""
        return copy.deepcopy(self.draft.data)

    @property
    def base(self) -> Path:
        """The folder that the experiment's relative paths start from."""
        return Path(self.draft.base)

    def experiment(self) -> Experiment:
        """The experiment; ExplorerError names the first problem."""
        if self._parsed is None or self._parsed[0] != self.draft.data:
            self._parsed = (self.data, Experiment.from_dict(self.data))
        return self._parsed[1]

    def edit(self, data: dict[str, Any]) -> bool:
        """Take an edited experiment; False where nothing changed."""
        before, self.draft.data = self.draft.data, copy.deepcopy(data)
        if not self._history.push(self._whole()):
            self.draft.data = before
            return False
        self.keep()
        return True

    def replace(self, data: dict[str, Any], name: str, base: Path) -> None:
        """Begin with another experiment; the one before can be had back with `undo`."""
        self.draft.name, self.draft.base, self.draft.typed = name, str(base), {}
        self.edit(data)
        self.keep()

    def undo(self) -> bool:
        """Take the last edit back; False where there is none."""
        return self._go(self._history.undo())

    def redo(self) -> bool:
        """Make the edit again that was taken back last; False where there is none."""
        return self._go(self._history.redo())

    def typing(self, field: str, text: str | None) -> None:
        """Keep what is being typed in a field; None once it is part of the experiment, or was given up."""
        if text is None:
            self.draft.typed.pop(field, None)
        else:
            self.draft.typed[field] = text
        self.keep()

    def keep(self) -> None:
        """Have the draft written soon."""
        self._saver.mark(self.draft.to_json())

    def close(self) -> str:
        """Write what waits and let another screen have the draft; return why that failed, empty where it did not."""
        problem = self._saver.close()
        self._file.close()
        return problem

    def _whole(self) -> dict[str, Any]:
        return {"data": self.draft.data, "name": self.draft.name, "base": self.draft.base}

    def _go(self, whole: dict[str, Any] | None) -> bool:
        if whole is None:
            return False
        self.draft.data, self.draft.name, self.draft.base = whole["data"], whole["name"], whole["base"]
        self.draft.typed = {}
        self.keep()
        return True


def begin(start: Start, file: DraftFile) -> tuple[Draft, list[ExplorerError]]:
    """Find what a screen begins with: what it was started with, else where the last one ended, else the preset `demo`.

    Args:
        start: as the command line says.
        file: is opened, and holds the draft from now on.

    Returns:
        the draft, and what went wrong on the way.
    """
    problems: list[ExplorerError] = []
    draft: Draft | None = None
    try:
        draft = file.open(fresh=start.spec is not None, good=_is_whole)
    except ExplorerError as error:
        problems.append(error)
    if start.spec is not None:
        try:
            draft = _of_spec(start.spec)
        except ExplorerError as error:
            problems.append(error)
    if draft is None:
        draft = _of_session(start.session) or _of_spec(FIRST)
    if start.session is not None:
        draft.session = str(start.session)
    for name in start.prompts:
        path = str(Path(name).expanduser().absolute())
        sets: list[str] = draft.data["prompts"]["sets"]
        if path not in sets:
            sets.append(path)
    return draft, problems


def as_draft(session: Session) -> tuple[dict[str, Any], str, Path]:
    """A session's experiment as a new draft: its data, the stem of its name, and where its paths start."""
    return _as_draft(session.spec, session.name, session.provenance)


def draft_at(path: Path) -> tuple[dict[str, Any], str, Path]:
    """The experiment of a session, or of a run that is not saved yet, as `as_draft` gives it.

    Raises:
        ExplorerError: neither is there, or it cannot be read.
    """
    folder = paths.run_folder(path)
    if path.exists() or not is_run_folder(folder):
        return as_draft(load_session(path))
    journal = JournalReader(folder)
    return _as_draft(journal.experiment, path.stem, journal.extra.get("provenance"))


def _as_draft(experiment: Experiment, name: str, provenance: Any) -> tuple[dict[str, Any], str, Path]:
    base = provenance.get("base") if isinstance(provenance, Mapping) else None  # pyright: ignore
    return experiment.to_dict(), _DIGEST.sub("", name), Path(base if isinstance(base, str) else Path.cwd())


def _of_spec(spec: str) -> Draft:
    experiment, source = read_experiment(spec)
    return Draft(experiment.to_dict(), source.name, str(source.base))


def _of_session(path: Path | None) -> Draft | None:
    if path is None:
        return None
    try:
        data, name, base = as_draft(load_session(path))
    except ExplorerError:
        return None
    return Draft(data, name, str(base))


def _is_whole(draft: Draft) -> bool:
    try:
        Experiment.from_dict(draft.data)
    except ExplorerError:
        return False
    return bool(draft.name and draft.base)
