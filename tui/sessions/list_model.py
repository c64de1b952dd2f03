"""All sessions there are: the saved ones, those a run is writing, and those a run has left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.runs import Progress, is_run_folder, known_runs
from srm_explorer.engine.runs.journal import sweep_removed
from srm_explorer.engine.runs.journal_reader import EVENTS, JournalReader
from srm_explorer.engine.runs.survey_journal import survey_standing
from srm_explorer.engine.session.store import settle_renames, settle_saves
from srm_explorer.tui.sessions.row import FoundRun, Row, Summary, newest_first
from srm_explorer.tui.sessions.summary import SummaryCache, describe, mark_of, model_of, read_summary


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
        files = _files(self.folder)
        runs = self._run_folders()
        found = {self.folder / name: stat for name, stat in files.items() if name.endswith(".json")}
        for path in (_session_of(run) for run in runs if run.parent != self.folder):
            with contextlib.suppress(OSError):
                found[path] = path.stat()
        vectors = {name: stat.st_size for name, stat in files.items() if name.endswith(".safetensors")}
        rows = [self._row(path, stat, vectors) for path, stat in found.items() if S_ISREG(stat.st_mode)]
        by_path = {row.path: row for row in rows}
        for folder in runs:
            path = _session_of(folder)
            row = by_path.get(path)
            if row is not None and row.summary is not None and row.summary.state == "finished":
                continue
            with_run = self._with_run(folder, path, row)
            if with_run is not None:
                by_path[path] = with_run
        return newest_first(by_path.values())

    def rows(self) -> tuple[Row, ...]:
        """All sessions, those read that were not known; what was read is remembered."""
        rows = tuple(self.read(row) if row.summary is None else row for row in self.scan())
        self.remember()
        return newest_first(rows)

    def read(self, row: Row) -> Row:
        try:
            stat = row.path.stat()
        except OSError:
            return row
        summary = read_summary(row.path)
        self._cache.put(row.path, mark_of(stat), summary)
        return dataclasses.replace(row, summary=summary)

    def remember(self) -> None:
        self._cache.save()

    def _row(self, path: Path, stat: os.stat_result, vectors: Mapping[str, int]) -> Row:
        is_here = path.parent == self.folder
        name = path.stem if is_here else _short(path.with_suffix(""))
        size = stat.st_size + (vectors.get(f"{path.stem}.safetensors", 0) if is_here else 0)
        return Row(path, name, size, stat.st_mtime, saved=True, summary=self._cache.get(path, mark_of(stat)))

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
        progress = Progress.from_dict(reader.progress())
        done, standing = len(reader.run_indices), survey_standing(reader)
        run = FoundRun(reader.writer_pid() is not None, done, len(reader.grid), progress, standing)
        if row is not None:
            return dataclasses.replace(row, run=run, size=row.size + size, modified=max(row.modified, modified))
        name = folder.stem if folder.parent == self.folder else _short(folder.with_suffix(""))
        summary = Summary(model_of(reader), describe(reader.experiment), "interrupted")
        return Row(path, name, size, modified, saved=False, summary=summary, run=run)

    def _run_folders(self) -> list[Path]:
        folders: list[Path] = []
        with contextlib.suppress(OSError):
            folders = sorted(self.folder.glob("*.run"))
        return [folder for folder in dict.fromkeys([*folders, *known_runs()]) if is_run_folder(folder)]


def _files(folder: Path) -> dict[str, os.stat_result]:
    """Files of a folder by name; what a killed process left half done is finished."""
    files: dict[str, os.stat_result] = {}
    hidden: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.startswith("."):
                    hidden.append(entry.name)
                elif entry.is_file():
                    files[entry.name] = entry.stat()
    sweep_removed(folder, hidden)
    settle_saves(folder, hidden)
    settle_renames(folder, hidden)
    return files


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
