"""All sessions there are: the saved ones, those a run is writing, and those a run has left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.runs.journal import is_run_folder, known_runs
from srm_explorer.engine.runs.journal_reader import EVENTS, JournalReader
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session import load_session
from srm_explorer.tui.cli.output import file_size
from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.sessions.summary import Summary, SummaryCache, describe, model_of, read_summary
from srm_explorer.tui.widgets.status import clock

Kind = Literal["reading", "finished", "interrupted", "running", "damaged"]


@dataclass(frozen=True)
class FoundRun:
    """The folder of a run that is not over, or whose writer is gone.

    Attributes:
        alive: whether a process writes it.
        done: finished runs.
        planned: all runs.
        progress: as its writer last told; None before it has.
    """

    alive: bool
    done: int
    planned: int
    progress: Progress | None


@dataclass(frozen=True)
class Row:
    """One session in the list.

    Attributes:
        path: its .json file; it need not exist where there is only a run.
        name: as it shows: bare in the sessions folder, with its folder elsewhere.
        size: bytes of everything that belongs to it.
        modified: when it changed last, seconds since the epoch.
        saved: whether there is a session file.
        summary: what its file or run folder says; None until it has been read.
        run: its run folder; None where there is none that matters.
    """

    path: Path
    name: str
    size: int
    modified: float
    saved: bool
    summary: Summary | None = None
    run: FoundRun | None = None

    @property
    def kind(self) -> Kind:
        """The state in one word."""
        if self.run is not None and self.run.alive:
            return "running"
        if self.summary is None:
            return "reading"
        if self.summary.problem:
            return "damaged"
        return "finished" if self.summary.state == "finished" else "interrupted"

    @property
    def runs(self) -> tuple[int, int]:
        """Finished and planned runs, (0, 0) where they are not known."""
        if self.run is not None and (self.run.alive or not self.saved):
            return self.run.done, self.run.planned
        return (self.summary.runs, self.summary.planned) if self.summary is not None else (0, 0)


class SessionList:
    """Finds sessions; it reads files, so use it from a thread.

    Args:
        folder: where sessions with a bare name live; by default the sessions folder.
        cache: what is known from before.
    """

    def __init__(self, folder: Path | None = None, cache: SummaryCache | None = None) -> None:
        self.folder = folder or paths.sessions_folder()
        self._cache = cache or SummaryCache()
        self._readers: dict[Path, JournalReader] = {}

    def scan(self) -> tuple[Row, ...]:
        """All sessions as far as they are known without reading a session file; first those that run, then by time."""
        sizes, files = _files(self.folder)
        runs = self._run_folders()
        outside = [_session_of(run) for run in runs if run.parent != self.folder]
        rows = [self._row(path, sizes) for path in dict.fromkeys([*files, *outside]) if path.is_file()]
        by_path = {row.path: row for row in rows}
        for folder in runs:
            path = _session_of(folder)
            row = by_path.get(path)
            if row is not None and row.summary is not None and row.summary.state == "finished":
                continue
            found = self._with_run(folder, path, row)
            if found is not None:
                by_path[path] = found
        return tuple(sorted(by_path.values(), key=lambda row: (row.kind != "running", -row.modified, row.name)))

    def read(self, row: Row) -> Row:
        """The row with what its session file says."""
        try:
            stat = row.path.stat()
        except OSError:
            return row
        summary = read_summary(row.path)
        self._cache.put(row.path, stat.st_mtime_ns, stat.st_size, summary)
        return dataclasses.replace(row, summary=summary)

    def remember(self) -> None:
        """Keep what was read for the next start."""
        self._cache.save()

    def _row(self, path: Path, sizes: dict[str, int]) -> Row:
        name = path.stem if path.parent == self.folder else _short(path.with_suffix(""))
        try:
            stat = path.stat()
        except OSError as error:
            return Row(path, name, 0, 0.0, saved=True, summary=Summary(problem=f"{path}: {error.strerror}"))
        beside = sizes.get(f"{path.stem}.safetensors", 0) if path.parent == self.folder else 0
        known = self._cache.get(path, stat.st_mtime_ns, stat.st_size)
        return Row(path, name, stat.st_size + beside, stat.st_mtime, saved=True, summary=known)

    def _with_run(self, folder: Path, path: Path, row: Row | None) -> Row | None:
        size, modified = _folder_size(folder)
        try:
            reader = self._readers.get(folder) or JournalReader(folder)
            self._readers[folder] = reader
            reader.poll()
        except ExplorerError as error:
            self._readers.pop(folder, None)
            name = folder.stem if folder.parent == self.folder else _short(folder.with_suffix(""))
            return row or Row(path, name, size, modified, saved=False, summary=Summary(problem=str(error)))
        planned = sum(len(batch) for batch in reader.layout.get("batches", []))
        told = Progress.from_dict(reader.progress())
        run = FoundRun(reader.writer_pid() is not None, len(reader.run_indices), planned, told)
        if row is not None:
            return dataclasses.replace(row, run=run, size=row.size + size, modified=max(row.modified, modified))
        name = folder.stem if folder.parent == self.folder else _short(folder.with_suffix(""))
        summary = Summary(model_of(reader), describe(reader.experiment), "interrupted")
        return Row(path, name, size, modified, saved=False, summary=summary, run=run)

    def _run_folders(self) -> list[Path]:
        found: list[Path] = []
        with contextlib.suppress(OSError):
            found = sorted(self.folder.glob("*.run"))
        return [folder for folder in dict.fromkeys([*found, *known_runs()]) if is_run_folder(folder)]


def experiment_at(path: Path) -> Experiment:
    """The experiment of a session, or of the run that has its name and is not saved yet.

    Raises:
        ExplorerError: neither is there, or it cannot be read.
    """
    folder = paths.run_folder(path)
    if not path.exists() and is_run_folder(folder):
        return JournalReader(folder).experiment
    return load_session(path).spec


def matching(rows: Sequence[Row], typed: str) -> tuple[Row, ...]:
    """The rows in which every word that was typed occurs: in the name, the model, what was done, or the state."""
    words = typed.casefold().split()

    def fits(row: Row) -> bool:
        own = row.summary or Summary()
        text = " ".join((row.name, own.model, own.intervention, row.kind, own.problem)).casefold()
        return all(word in text for word in words)

    return tuple(row for row in rows if fits(row))


def moment(row: Row, now: datetime | None = None) -> str:
    """When a session was saved, as people say it: "today 10:42", "yesterday 9:05", "2026-11-20"."""
    told = row.summary.saved if row.summary is not None else ""
    try:
        then = datetime.fromisoformat(told).astimezone() if told else datetime.fromtimestamp(row.modified).astimezone()
    except (ValueError, OverflowError, OSError):
        return ""
    days = ((now or datetime.now().astimezone()).date() - then.date()).days
    if days in (0, 1):
        return f"{'yesterday' if days else 'today'} {then:%H:%M}"
    return f"{then:%Y-%m-%d}"


def _files(folder: Path) -> tuple[dict[str, int], list[Path]]:
    """Sizes of all files of a folder, and its files that may be sessions."""
    sizes: dict[str, int] = {}
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if not entry.name.startswith(".") and entry.is_file():
                    sizes[entry.name] = entry.stat().st_size
    return sizes, [folder / name for name in sizes if name.endswith(".json")]


def _folder_size(folder: Path) -> tuple[int, float]:
    """Bytes of a run folder, and when a batch came to it last."""
    size, modified = 0, 0.0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        modified = folder.stat().st_mtime
        for entry in entries:
            with contextlib.suppress(OSError):
                size += entry.stat().st_size
    with contextlib.suppress(OSError):
        modified = (folder / EVENTS).stat().st_mtime
    return size, modified


def _session_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name.removesuffix('.run')}.json")


def _short(path: Path) -> str:
    home = str(Path.home())
    text = str(path)
    return f"~{text[len(home) :]}" if text.startswith(f"{home}/") else text


Cell = str | tuple[str, str]


def cell_of(row: Row, key: str, signs: Glyphs) -> Cell:
    """One cell: a text, and the name of its look where it has one."""
    told = row.summary
    if key == "name":
        return (row.name, "bold") if row.kind == "running" else row.name
    if key == "model":
        return told.model if told is not None else ""
    if key == "done":
        if told is None:
            return ""
        return (told.problem.partition(": ")[2] or told.problem, "bad") if told.problem else told.intervention
    if key == "runs":
        done, planned = row.runs
        return "" if not planned else f"{done:,}" if done == planned else f"{done:,} / {planned:,}"
    if key == "state":
        return _state(row, signs)
    if key == "saved":
        return "" if row.kind == "running" else (moment(row), "dim")
    return file_size(row.size)


def facts_of(row: Row) -> str:
    """A session in one line for a question: its runs and its size."""
    done, _ = row.runs
    return f"{count_of(done, 'run')}, {file_size(row.size)}"


def _state(row: Row, signs: Glyphs) -> Cell:
    run = row.run
    if row.kind == "running" and run is not None:
        progress = run.progress
        if progress is None:
            return "running", "good"
        if progress.stage not in ("running", "saving"):
            return f"running: {progress.stage}", "good"
        share = f"running {100 * progress.share:.0f} %"
        left = progress.seconds_left
        if left is None:
            return share, "good"
        return f"{share} {signs.separator} {clock(left)} left", "good"
    if row.kind == "reading":
        return signs.ellipsis, "dim"
    if row.kind == "damaged":
        return "cannot be read", "bad"
    if row.kind == "interrupted":
        return ("interrupted" if run is not None else "interrupted, run gone"), "warn"
    return "finished"


LARGEST_FIRST = frozenset({"runs", "saved", "size"})
"""Columns of which the largest is looked for first."""
_STATES: tuple[Kind, ...] = ("running", "interrupted", "finished", "damaged", "reading")


def sorted_rows(rows: Sequence[Row], column: str, descending: bool) -> tuple[Row, ...]:
    """Sort sessions by a column of their table; those that are equal in it stay in order, those without come last."""
    if not column:
        return tuple(rows)
    value = _VALUES[column]
    known = [row for row in rows if value(row) is not None]
    rest = [row for row in rows if value(row) is None]
    return (*sorted(known, key=value, reverse=descending), *rest)


def _done(row: Row) -> str | None:
    return row.summary.intervention.casefold() if row.summary is not None and not row.summary.problem else None


_VALUES: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: row.name.casefold(),
    "model": lambda row: row.summary.model.casefold() or None if row.summary is not None else None,
    "done": _done,
    "runs": lambda row: row.runs if row.runs[1] else None,
    "state": lambda row: _STATES.index(row.kind),
    "saved": lambda row: row.modified,
    "size": lambda row: row.size,
}
