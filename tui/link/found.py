"""Runs whose folders are there: under way, or left by a program that was killed or cancelled."""

from __future__ import annotations

from pathlib import Path

from engine.errors import ExplorerError
from engine.runner.collect import grid_of
from engine.runner.journal_reader import JournalReader, writer_pid
from engine.runner.registry import known_runs
from tui.link.events import FoundRun


class Finder:
    """Looks for runs; a folder that was read before is read on."""

    def __init__(self) -> None:
        self._journals: dict[Path, JournalReader] = {}

    def look(self) -> tuple[FoundRun, ...]:
        """List the runs, the newest first; folders that cannot be read are left out."""
        found: list[FoundRun] = []
        folders = known_runs()
        for folder in folders:
            try:
                found.append(self._read(folder))
            except (ExplorerError, KeyError, TypeError):
                self._journals.pop(folder, None)
        self._journals = {folder: self._journals[folder] for folder in folders if folder in self._journals}
        return tuple(found)

    def _read(self, folder: Path) -> FoundRun:
        journal = self._journals.get(folder)
        if journal is None:
            journal = self._journals[folder] = JournalReader(folder)
        journal.poll()
        path = folder.with_name(f"{folder.name.removesuffix('.run')}.json")
        runs = len(grid_of(journal.experiment, len(journal.extra["prompts"])))
        return FoundRun(path, len(journal.run_indices), runs, alive=writer_pid(folder) is not None)
