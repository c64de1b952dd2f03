"""The experiment in the making: where it comes from, its edits and the way back, kept as it is typed."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.experiment import Experiment, read_experiment
from srm_explorer.engine.experiment.conditions import leaves
from srm_explorer.engine.experiment.load import stem_for
from srm_explorer.engine.io.files import open_regular, write_atomic
from srm_explorer.engine.io.lock import FileLock, LockedError
from srm_explorer.engine.prompts import name_of
from srm_explorer.engine.runs.journal import is_run_folder
from srm_explorer.engine.runs.journal_reader import JournalReader
from srm_explorer.engine.session import Session, load_session
from srm_explorer.tui.backend.autosave import AutoSaver
from srm_explorer.tui.experiment.parsing import numbers_forms, site_text, sites_text
from srm_explorer.tui.explorer.startup import LaunchOptions

_ORPHANS_KEPT = 5


@dataclass
class Draft:
    """An experiment in the making, and where the eye was.

    Attributes:
        data: the experiment as plain data.
        name: what the experiment came as: the preset's name, or its file's.
        base: the folder that relative paths in the experiment start from.
        typed: by field, a text that was being typed and is not part of the experiment yet.
        session: path of the session that was open; None for none.
        tab: the results tab in view; empty for the first.
        plane, theta, threshold, view, by: where the spotlight stood; None for the threshold, and an empty view,
            where nothing was chosen.
        named_for: the model that the experiment came with; empty where that is not known.
        session_created, session_saved: by which the session is known under any name; empty before its run has begun.
    """

    data: dict[str, Any] = field(default_factory=dict[str, Any])
    name: str = ""
    base: str = ""
    typed: dict[str, str] = field(default_factory=dict[str, str])
    session: str | None = None
    tab: str = ""
    plane: int = 0
    theta: int = 0
    threshold: float | None = None
    view: str = ""
    by: tuple[str, ...] = ()
    named_for: str = ""
    session_created: str = ""
    session_saved: str = ""

    def to_json(self) -> bytes:
        """The draft as it is kept."""
        return json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "surrogatepass")

    @classmethod
    def from_json(cls, content: bytes) -> Draft | None:
        """Read what `to_json` wrote; None where it is something else, a field of another kind has its default."""
        try:
            parsed = json.loads(content.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            return None
        if not isinstance(parsed, dict) or not isinstance(cast("dict[str, Any]", parsed).get("data"), dict):
            return None
        table = cast("dict[str, Any]", parsed)
        draft = cls()
        for name in (known.name for known in fields(cls)):
            value = table.get(name)
            if _fits(name, value):
                setattr(draft, name, tuple(cast("list[str]", value)) if name == "by" else value)
        return draft


class DraftFile:
    """The file of one living screen.

    Another start cannot take it while this one lives: it is locked, and the system unlocks it whatever becomes of us.

    Args:
        folder: where drafts are; in the state folder by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or paths.state_folder() / "drafts"
        self._lock: FileLock | None = None
        self.path: Path | None = None

    def open(self, *, fresh: bool = False, good: Callable[[Draft], bool] = lambda draft: True) -> Draft | None:
        """Take the newest draft whose screen is gone, else a new file; None where there is nothing to go on with.

        Args:
            fresh: take a new file in any case.
            good: tells whether a draft can be gone on with; others are left where they are.

        Raises:
            ExplorerError: the folder cannot be written; the screen works without it, and its draft is not kept.
        """
        with FileLock(self._folder / ".lock", timeout=5, remedy="another screen is starting; try again"):
            orphans = self._orphans()
            taken: Draft | None = None
            for path, lock in orphans:
                draft = _read(path) if taken is None and not fresh else None
                if draft is not None and good(draft):
                    taken, self.path, self._lock = draft, path, lock
                else:
                    lock.release()
            rest = [path for path, _ in orphans if path != self.path]
            for path in rest[_ORPHANS_KEPT:]:
                _remove(path)
            if self.path is None:
                self.path = self._folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}.json"
                self._lock = _lock_of(self.path)
                self._lock.acquire()
        return taken

    def save(self, draft: Draft) -> None:
        """Write the draft whole or not at all.

        Raises:
            ExplorerError: it cannot be written.
        """
        self.write(draft.to_json())

    def write(self, content: bytes) -> None:
        """Write what `Draft.to_json` gave, on any thread; errors as `save`."""
        if self.path is not None:
            write_atomic(self.path, content)

    def close(self) -> None:
        """Let the next start have it."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _orphans(self) -> list[tuple[Path, FileLock]]:
        """Drafts whose screen is gone, the newest first, each locked by us."""
        orphans: list[tuple[float, Path, FileLock]] = []
        for path in self._folder.glob("*.json"):
            lock = _lock_of(path)
            with contextlib.suppress(LockedError, OSError):
                changed = path.stat().st_mtime
                lock.acquire()
                orphans.append((changed, path, lock))
        return [(path, lock) for _, path, lock in sorted(orphans, key=lambda orphan: orphan[0], reverse=True)]


def _fits(name: str, value: object) -> bool:
    if name in ("name", "named_for", "base", "tab", "view"):
        return isinstance(value, str)
    if name in ("plane", "theta"):
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1_000_000
    if name == "threshold":
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1
    if name.startswith("session"):
        return isinstance(value, str)
    if name == "by":
        return isinstance(value, list) and all(isinstance(name, str) for name in cast("list[object]", value))
    if name == "typed":
        return isinstance(value, dict) and all(
            isinstance(item, str) for item in cast("dict[str, object]", value).values()
        )
    return isinstance(value, dict)


def _read(path: Path) -> Draft | None:
    try:
        with open_regular(path) as file:
            return Draft.from_json(file.read())
    except OSError:
        return None


def _lock_of(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"), timeout=0, remedy="another screen has it")


def _remove(path: Path) -> None:
    for file in (path, path.with_suffix(".lock")):
        with contextlib.suppress(OSError):
            file.unlink()


Data = dict[str, Any]

_LONGEST = 200


class History:
    """What an experiment was before each edit, and what was taken back.

    Data that goes in or comes out is copied, so that nobody edits the past.
    """

    def __init__(self) -> None:
        self._past: list[Data] = []
        self._future: list[Data] = []
        self._now: Data | None = None

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    @property
    def now(self) -> Data | None:
        """The experiment as it stands; None before the first."""
        return copy.deepcopy(self._now)

    def push(self, data: Data) -> bool:
        """Take note of the experiment as it now stands; False where nothing changed.

        What was taken back before is then forgotten, and beyond 200 edits the oldest.
        """
        if data == self._now:
            return False
        if self._now is not None:
            self._past = [*self._past[1 - _LONGEST :], self._now]
        self._now = copy.deepcopy(data)
        self._future = []
        return True

    def undo(self) -> Data | None:
        """Go back to the experiment before the last edit; None where there is none."""
        if not self._past or self._now is None:
            return None
        self._future.append(self._now)
        self._now = self._past.pop()
        return copy.deepcopy(self._now)

    def redo(self) -> Data | None:
        """Go forward to what was taken back last; None where there is none."""
        if not self._future or self._now is None:
            return None
        self._past.append(self._now)
        self._now = self._future.pop()
        return copy.deepcopy(self._now)


FIRST = "demo"
"""The preset of the first start ever, so that `r` does something at once."""

_DIGEST = re.compile(r"-[0-9a-f]{6}$")


_NAMED, _LETTERS = 3, 22
"""Fields that are named of a change, and letters of a value."""


def change_caption(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What an edit changes, in few words: "values -30 0 30 → 1 2 3", "layer, site and 2 more"; empty for nothing."""
    for table in ("interventions", "planes"):
        fewer, more = len(before[table]), len(after[table])
        if fewer != more:
            many = f"an {table[:-1]}" if table == "interventions" else f"a {table[:-1]}"
            return f"{many} {'added' if more > fewer else 'removed'}: {fewer} → {more}"
    old, new = leaves(before), leaves(after)
    changed = [path for path in [*old, *(path for path in new if path not in old)] if old.get(path) != new.get(path)]
    names = list(dict.fromkeys("model" if path == "model.name" else path.rpartition(".")[2] for path in changed))
    if len(changed) == 1:
        (path,) = changed
        return f"{names[0]} {_value_caption(names[0], old.get(path))} → {_value_caption(names[0], new.get(path))}"
    if len(names) > _NAMED:
        names = [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _value_caption(name: str, value: Any) -> str:
    forms: Sequence[str] = (str(value),)
    if value is None or value in ("", [], {}):
        forms = ("none",)
    elif isinstance(value, bool):
        forms = ("yes" if value else "no",)
    elif isinstance(value, list):
        items = cast("list[Any]", value)
        is_numbers = all(isinstance(item, int | float) for item in items)
        forms = numbers_forms(items) if is_numbers else (sites_text([str(item) for item in items]),)
    elif name == "site":
        forms = (site_text(str(value)),)
    text = next((form for form in forms if len(form) <= _LETTERS), forms[-1])
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


class DraftEditor:
    """The draft of this screen, as it is edited.

    Args:
        draft: what to begin with.
        file: where it is kept.
        failed: takes the error where it cannot be kept, in another thread.
    """

    def __init__(self, draft: Draft, file: DraftFile, failed: Callable[[ExplorerError], object]) -> None:
        self.draft = draft
        self._file = file
        self._history = History()
        self._history.push(self._whole())
        self._saver = AutoSaver(file.write, failed)
        self._parsed: tuple[dict[str, Any], Experiment] | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The experiment as plain data, a copy."""
        return copy.deepcopy(self.draft.data)

    @property
    def base(self) -> Path:
        """The folder that the experiment's relative paths start from."""
        return Path(self.draft.base)

    @property
    def stem(self) -> str:
        """The stem of a session's default name: what the experiment came as, and the model that runs."""
        model: str = self.draft.data["model"]["name"]
        return stem_for(self.draft.name, self.draft.named_for or model, model)

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to be taken back."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is an edit to be made again."""
        return self._history.can_redo

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
        self.draft.named_for = data["model"]["name"]
        self.edit(data)
        self.keep()

    def undo(self) -> str:
        """Take the last edit back; what it changed, empty where there is none."""
        return self._go(self._history.undo())

    def redo(self) -> str:
        """Make the edit again that was taken back last; what it changes, empty where there is none."""
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
        self._saver.save(self.draft.to_json())

    def close(self) -> str:
        """Write what waits and let another screen have the draft; return why that failed, empty where it did not."""
        problem = self._saver.close()
        self._file.close()
        return problem

    def _whole(self) -> dict[str, Any]:
        draft = self.draft
        return {"data": draft.data, "name": draft.name, "named_for": draft.named_for, "base": draft.base}

    def _go(self, whole: dict[str, Any] | None) -> str:
        if whole is None:
            return ""
        draft, before = self.draft, self._whole()
        draft.data, draft.name, draft.base = whole["data"], whole["name"], whole["base"]
        draft.named_for, draft.typed = whole["named_for"], {}
        self.keep()
        if (before["name"], before["base"]) != (whole["name"], whole["base"]):
            return f"the experiment is '{draft.name}'"
        return change_caption(before["data"], whole["data"]) or "what its name is made of"


def initial_draft(start: LaunchOptions, file: DraftFile) -> tuple[Draft, list[ExplorerError]]:
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
        if draft is not None:
            # An older version knew fewer fields.
            draft.data = Experiment.from_dict(draft.data).to_dict()
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
        draft.session, draft.session_created, draft.session_saved = str(start.session), "", ""
    sets: list[str] = draft.data["prompts"]["sets"]
    sets += [name for name in set_names(start) if name not in sets]
    return draft, problems


def set_names(start: LaunchOptions) -> list[str]:
    """What an experiment has the files of prompts by that a screen was started with, each once."""
    files = [paths.absolute(paths.expanded(file)) for file in start.prompts]
    return list(dict.fromkeys(name_of(file, paths.prompt_folders()) for file in files))


def as_draft(session: Session) -> tuple[dict[str, Any], str, Path]:
    """A session's experiment as a new draft: its data, the stem of its name, and where its paths start.

    Raises:
        ExplorerError: it came from elsewhere, and what was done is not known well enough to be done again.
    """
    if session.is_imported:
        what = "it came from elsewhere, without an experiment that could be run again"
        raise ExplorerError(what, where=session.name, remedy="edit another, and look at this one")
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
    return _as_draft(journal.experiment, path.stem, journal.start.provenance)


def _as_draft(experiment: Experiment, name: str, provenance: Any) -> tuple[dict[str, Any], str, Path]:
    base = provenance.get("base") if isinstance(provenance, Mapping) else None  # pyright: ignore
    return experiment.to_dict(), _DIGEST.sub("", name), Path(base) if isinstance(base, str) else paths.working_folder()


def _of_spec(spec: str) -> Draft:
    experiment, source = read_experiment(spec)
    return Draft(experiment.to_dict(), source.name, str(source.base), named_for=experiment.model.name)


def _of_session(path: Path | None) -> Draft | None:
    if path is None:
        return None
    try:
        data, name, base = as_draft(load_session(path))
    except ExplorerError:
        return None
    return Draft(data, name, str(base), named_for=data["model"]["name"])


def _is_whole(draft: Draft) -> bool:
    try:
        Experiment.from_dict(draft.data)
    except ExplorerError:
        return False
    return bool(draft.name and draft.base)
