"""A run folder read by anyone at any time, while it is written or after."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.io.files import FileLock, parse_json, read_text, sha256_of
from srm_explorer.engine.io.vectors import Matrix, read_vectors
from srm_explorer.engine.runs.journal_records import BatchRecord, EventRecord, RunStart
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.session import DamagedError, RunRecord, read_record

SPEC, LAYOUT, EVENTS, PROGRESS, LOCK = "spec.json", "layout.json", "events.jsonl", "progress.json", "lock"
SCHEMA_VERSION = 1
PARTIAL = "partial/"
"""Begins the names of vectors that some batches hold and others do not; they are no part of the session."""


T = TypeVar("T")
E = TypeVar("E", bound=EventRecord)


class JournalReader:
    """What a run folder holds so far; `poll` reads on.

    A line is there once its newline is: one that a killed writer left unfinished is not read, and a shard without a
    line is not looked at.

    Raises:
        ExplorerError: there is no run, or its spec or layout is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        head = _table(folder / SPEC)
        if head.get("schema_version") != SCHEMA_VERSION:
            what = f"written by another version (schema {head.get('schema_version')}, this one reads {SCHEMA_VERSION})"
            raise ExplorerError(what, where=str(folder / SPEC), remedy="finish the run with that version, or --restart")
        self.experiment = Experiment.from_dict(head.get("spec"), where=str(folder / SPEC))
        self.extra: dict[str, Any] = head.get("extra") or {}
        self.layout = _table(folder / LAYOUT)
        self.batches: list[BatchRecord] = []
        self.events: list[dict[str, Any]] = []
        self.run_indices: set[int] = set()
        self.offset = 0

    @functools.cached_property
    def start(self) -> RunStart:
        """What the run began with.

        Raises:
            ExplorerError: it is not what was written.
        """
        return self._read(RunStart, self.extra, SPEC)

    @functools.cached_property
    def plan(self) -> Layout:
        """The layout it began with; errors as `start`."""
        return self._read(Layout, self.layout, LAYOUT)

    @property
    def planned_runs(self) -> int:
        """All runs, those of the layout; 0 where it does not say."""
        try:
            return sum(map(len, read_record(list[list[Any]], self.layout.get("batches"))))
        except DamagedError:
            return 0

    def events_of(self, kind: type[E]) -> list[E]:
        """Events of one kind.

        Raises:
            ExplorerError: one of them is not what was written.
        """
        return [self._read(kind, event, EVENTS) for event in self.events if event["event"] == kind.EVENT]

    @property
    def runs(self) -> list[RunRecord]:
        """The finished runs by rising index."""
        return sorted((run for batch in self.batches for run in batch.runs), key=lambda run: run.index)

    @property
    def done(self) -> set[int]:
        """Numbers of the finished batches."""
        return {batch.batch_index for batch in self.batches}

    def poll(self) -> list[dict[str, Any]]:
        """Read the lines that came since the last time; they are in `batches` and `events`, and returned.

        Raises:
            ExplorerError: a line is damaged.
        """
        try:
            with (self.folder / EVENTS).open("rb") as file:
                file.seek(self.offset)
                content = file.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            raise ExplorerError(what, where=str(self.folder / EVENTS), remedy="check its permissions") from None
        lines = content.split(b"\n")[:-1]
        grown: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            event = _event(line)
            if event is None:
                if number == len(lines) - 1:
                    break  # A power cut can leave a last line that has its length but not its content.
                raise ExplorerError(
                    "a line is damaged", where=str(self.folder / EVENTS), remedy="start the run again with --restart"
                )
            self._take(event)
            self.offset += len(line) + 1
            grown.append(event)
        return grown

    def progress(self) -> dict[str, Any] | None:
        """How far the batch in flight is, as last told; None where nothing was."""
        try:
            data = json.loads((self.folder / PROGRESS).read_bytes())
        except (OSError, ValueError):
            return None
        return cast("dict[str, Any]", data) if isinstance(data, dict) else None

    def writer_pid(self) -> int | None:
        """The process that is writing the folder now; None where there is none, 0 where it cannot be named."""
        return writer_pid(self.folder)

    def check_shards(self) -> None:
        """Make sure that the vectors of every finished batch are there; ExplorerError names the first that are not."""
        for batch in self.batches:
            path = self.folder / batch.shard
            if not path.is_file():
                raise _lost(path, "the vectors of a finished batch are missing")

    def batch_vectors(self, batch: BatchRecord) -> dict[str, Matrix | list[Matrix]]:
        """The vectors of a finished batch by site, rows in the order of its runs.

        Raises:
            ExplorerError: they are missing or damaged.
        """
        path = self.folder / batch.shard
        try:
            if sha256_of(path) != batch.sha256:
                raise _lost(path, "the vectors of a finished batch are damaged")
        except OSError:
            raise _lost(path, "the vectors of a finished batch are missing") from None
        return read_vectors(path, runs=len(batch.runs))

    def _read(self, kind: type[T], data: object, file: str) -> T:
        try:
            return read_record(kind, data)
        except DamagedError as error:
            what, remedy = f"this is not what was written: {error}", "start again with --restart"
            raise ExplorerError(what, where=str(self.folder / file), remedy=remedy) from None

    def _take(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["event"] != "batch":
            return
        try:
            batch = read_record(BatchRecord, event)
        except DamagedError as error:
            what = f"a finished batch is damaged: {error}"
            raise ExplorerError(what, where=str(self.folder / EVENTS), remedy="start again with --restart") from None
        self.batches.append(dataclasses.replace(batch, shard=Path(batch.shard).name))
        self.run_indices.update(run.index for run in batch.runs)


def writer_pid(folder: Path) -> int | None:
    """The process that is writing a run folder now, also one that cannot be read; None and 0 as the method has them."""
    return FileLock(folder / LOCK).holder()


def compact(journal: JournalReader) -> tuple[list[RunRecord], dict[str, Matrix | list[Matrix]]]:
    """All finished runs by rising index, and their vectors by site in the same order, those of some batches left out.

    Returns:
        the runs; by site one [run, d] array, or a list with a [token, d] array a run.

    Raises:
        ExplorerError: the vectors of a batch are missing or damaged.
    """
    runs = journal.runs
    row = {run.index: number for number, run in enumerate(runs)}
    whole: dict[str, Matrix | list[Matrix]] = {}
    for batch in journal.batches:
        rows = [row[run.index] for run in batch.runs]
        held = journal.batch_vectors(batch)
        vectors = {site: array for site, array in held.items() if not site.startswith(PARTIAL)}
        if whole and set(vectors) != set(whole):
            raise _lost(journal.folder / batch.shard, "a finished batch holds other sites than the one before it")
        for site, array in vectors.items():
            _put(whole, site, array, rows, len(runs))
    return runs, whole


def _put(
    whole: dict[str, Matrix | list[Matrix]], site: str, vectors: Matrix | list[Matrix], rows: Sequence[int], count: int
) -> None:
    if isinstance(vectors, np.ndarray):
        target = whole.setdefault(site, np.empty((count, vectors.shape[1]), dtype=np.float32))
        cast("Matrix", target)[rows] = vectors
        return
    listed = cast("list[Matrix]", whole.setdefault(site, [np.empty((0, 0), dtype=np.float32)] * count))
    for row, array in zip(rows, vectors, strict=True):
        listed[row] = array


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None
    event = cast("dict[str, Any]", data)
    return event if isinstance(event.get("event"), str) else None


def _table(path: Path) -> dict[str, Any]:
    data = parse_json(read_text(path, missing="start the run again with --restart"), str(path))
    if not isinstance(data, dict):
        raise ExplorerError("this is not what was written", where=str(path), remedy="start again with --restart")
    return cast("dict[str, Any]", data)


def _lost(path: Path, what: str) -> ExplorerError:
    return ExplorerError(what, where=str(path), remedy="start the run again with --restart")
