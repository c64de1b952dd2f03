"""A run folder read by anyone at any time, while it is written or after."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.io.files import open_regular, parse_json, read_text, sha256_of
from srm_explorer.engine.io.lock import FileLock
from srm_explorer.engine.io.vectors import Matrix, read_tables, read_vectors
from srm_explorer.engine.runs.journal_records import (
    CHECKSUM,
    BatchRecord,
    EventRecord,
    JournalHead,
    MeansKept,
    RunStart,
    checksum_of,
)
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.session import DamagedError, RunRecord, read_record
from srm_explorer.engine.session.store import RUN_LOCK

SPEC, LAYOUT, EVENTS, PROGRESS, LOCK = "spec.json", "layout.json", "events.jsonl", "progress.json", RUN_LOCK
SCHEMA_VERSION = 1
PARTIAL = "partial/"
"""Begins the names of vectors that some batches hold and others do not; they are no part of the session."""


T = TypeVar("T")
E = TypeVar("E", bound=EventRecord)


class JournalReader:
    """What a run folder holds so far; `poll` reads on.

    A line is there once its newline is: one that a killed writer left unfinished is not read, and a shard without a
    line is not looked at.

    Attributes:
        start: what the run began with.
        plan: the layout it began with.
        grid: the planned runs, numbered.
        checksum: of the last line that was read; empty where the lines of an older version have none.
        has_checksums: whether the lines that it began with have them; else what they say is taken on trust.

    Raises:
        ExplorerError: there is no run, or what it began with is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        data, line = _table(folder / SPEC)
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            what = f"written by another version (schema {version!r:.20}, this one reads {SCHEMA_VERSION})"
            raise ExplorerError(what, where=str(folder / SPEC), remedy="finish the run with that version, or --restart")
        self.checksum = self._checksum(line, SPEC, "")
        head = self._read(JournalHead, data, SPEC)
        self.experiment = Experiment.from_dict(head.spec, where=str(folder / SPEC))
        self.start = head.extra or RunStart()
        self.has_checksums = bool(self.checksum)
        layout, line = _table(folder / LAYOUT)
        self.checksum = self._checksum(line, LAYOUT, self.checksum)
        if bool(self.checksum) != self.has_checksums:
            raise _lost(folder / LAYOUT, "its checksum is missing")
        self.plan = self._read(Layout, layout, LAYOUT)
        samples = self.experiment.generation.samples
        self.grid = Grid(len(self.start.prompts), samples, len(conditions(self.experiment)))
        if not self.grid or not self.start.created:
            raise _lost(folder / SPEC, "it does not say which prompts the run began with, and when")
        try:
            self.plan.check_holds(len(self.grid))
        except DamagedError as error:
            raise _lost(folder / LAYOUT, f"this is not what was written: {error}") from None
        self._places = {index: number for number, batch in enumerate(self.plan.batches) for index in batch}
        self.batches: list[BatchRecord] = []
        self.events: list[dict[str, Any]] = []
        self.run_indices: set[int] = set()
        self.offset = 0

    def events_of(self, kind: type[E]) -> list[E]:
        """Events of one kind.

        Raises:
            ExplorerError: one of them is not what was written.
        """
        return [self._read(kind, event, EVENTS) for event in self.events if event["event"] == kind.EVENT]

    @property
    def in_order(self) -> list[BatchRecord]:
        """The finished batches as they were laid out, whoever was done first; parts of one in the order of its runs."""
        place = {index: number for number, index in enumerate(itertools.chain(*self.plan.batches))}
        return sorted(self.batches, key=lambda batch: place[batch.runs[0].index])

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
            with open_regular(self.folder / EVENTS) as file:
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
            try:
                event, checksum = _event(line), checksum_of(line, self.checksum)
                if event is None and number == len(lines) - 1:
                    break  # A power cut can leave a last line that has its length but not its content.
                if event is None:
                    raise DamagedError("it is no JSON")
                if checksum is None and self.has_checksums:
                    raise DamagedError("it has no checksum, as an older version writes")
                self._take(event)
            except DamagedError as error:
                what = f"line {len(self.events) + 1} is damaged: {error}"
                raise _lost(self.folder / EVENTS, what) from None
            self.checksum = checksum or self.checksum
            self.offset += len(line) + 1
            grown.append(event)
        return grown

    def progress(self) -> dict[str, Any] | None:
        """How far the batch in flight is, as last told; None where nothing was."""
        try:
            with open_regular(self.folder / PROGRESS) as file:
                data = json.load(file)
        except (OSError, ValueError, RecursionError):
            return None
        return cast("dict[str, Any]", data) if isinstance(data, dict) else None

    def writer_pid(self) -> int | None:
        """The process that is writing the folder now; None where there is none, 0 where it cannot be named."""
        return writer_pid(self.folder)

    def read_event(self, kind: type[E], event: Mapping[str, Any]) -> E:
        """One event as what it was written from; errors as `events_of`."""
        return self._read(kind, event, EVENTS)

    def tables(self, shard: str, sha256: str) -> dict[str, NDArray[Any]]:
        """The arrays of one file, of whatever shape, by name.

        Raises:
            ExplorerError: it is missing or damaged.
        """
        return read_tables(self._shard(shard, sha256), "")

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
        return read_vectors(self._shard(batch.shard, batch.sha256), runs=len(batch.runs))

    def shorter_means(self) -> dict[int, dict[str, Matrix]]:
        """Means over the first tokens, [mark, d] by index of the run and by name, as far as they are there.

        Raises:
            ExplorerError: they are missing or damaged.
        """
        means: dict[int, dict[str, Matrix]] = {}
        for event in self.events_of(MeansKept):
            kept = read_vectors(self._shard(event.shard, event.sha256), runs=len(event.runs))
            for row, index in enumerate(event.runs):
                means[index] = {name: arrays[row] for name, arrays in kept.items()}
        return means

    def _shard(self, name: str, sha256: str) -> Path:
        """A file of vectors, checked by its hash."""
        path = self.folder / Path(name).name
        try:
            if sha256_of(path) != sha256:
                raise _lost(path, "the vectors of a finished batch are damaged")
        except OSError:
            raise _lost(path, "the vectors of a finished batch are missing") from None
        return path

    def _read(self, kind: type[T], data: object, file: str) -> T:
        try:
            return read_record(kind, data)
        except DamagedError as error:
            raise _lost(self.folder / file, f"this is not what was written: {error}") from None

    def _checksum(self, line: bytes, file: str, before: str) -> str:
        try:
            return checksum_of(line, before) or ""
        except DamagedError as error:
            raise _lost(self.folder / file, f"this is not what was written: {error}") from None

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "batch":
            batch = read_record(BatchRecord, event)
            self._check(batch)
            self.batches.append(batch)
            self.run_indices.update(run.index for run in batch.runs)
        self.events.append(event)

    def _check(self, batch: BatchRecord) -> None:
        """Make sure that a batch holds runs of its own, each the run that its number says, and its own shard."""
        if batch.shard != shard_name(len(self.batches) + 1):
            raise DamagedError("its shard is that of another line")
        indices = {run.index for run in batch.runs}
        if not indices or len(indices) < len(batch.runs) or indices & self.run_indices:
            raise DamagedError("it holds no run, or one that is there already")
        for run in batch.runs:
            if self._places.get(run.index) != batch.batch_index:
                raise DamagedError(f"run {run.index} belongs to another batch")
            place = (self.grid.prompt(run.index), self.grid.sample(run.index), self.grid.condition(run.index))
            if (run.prompt, run.sample, run.condition) != place:
                raise DamagedError(f"run {run.index} has another prompt, sample or condition")
            if min(run.token_ids, default=0) < 0:
                raise DamagedError(f"run {run.index} has a token below 0")


def shard_name(number: int) -> str:
    """The file with the vectors of a batch line, numbered from 1."""
    return f"shard-{number:05d}.safetensors"


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
        missing = set(journal.experiment.capture.sites) - set(vectors)
        if missing or (whole and set(vectors) != set(whole)):
            raise _lost(journal.folder / batch.shard, "a finished batch holds other sites than it should")
        for site, array in vectors.items():
            if not _put(whole, site, array, rows, len(runs)):
                raise _lost(journal.folder / batch.shard, f"the vectors of {site} are of another shape")
    return runs, whole


def _put(
    whole: dict[str, Matrix | list[Matrix]], site: str, vectors: Matrix | list[Matrix], rows: Sequence[int], count: int
) -> bool:
    """Put the vectors of some runs in their rows; False where they are of another shape than those before."""
    if isinstance(vectors, np.ndarray):
        # Every row is written once; NaN would tell one that is not, where memory as it was would look like a vector.
        target = whole.setdefault(site, np.full((count, vectors.shape[1]), np.nan, dtype=np.float32))
        if not isinstance(target, np.ndarray) or target.shape[1] != vectors.shape[1]:
            return False
        target[rows] = vectors
        return True
    listed = whole.setdefault(site, [np.zeros((0, 0), dtype=np.float32)] * count)
    if not isinstance(listed, list):
        return False
    for row, array in zip(rows, vectors, strict=True):
        listed[row] = array
    return True


def _event(line: bytes) -> dict[str, Any] | None:
    """A line as data, without its checksum; None where it is no JSON, DamagedError where it is no event."""
    try:
        data = json.loads(line)
    except ValueError:
        return None
    except RecursionError:
        raise DamagedError("it is too deeply nested") from None
    event = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if not isinstance(event.get("event"), str):
        raise DamagedError("it is no event")
    event.pop(CHECKSUM, None)
    return event


def _table(path: Path) -> tuple[dict[str, Any], bytes]:
    """A file that holds a table on one line: as data, and the line."""
    text = read_text(path, missing="start the run again with --restart")
    data = parse_json(text, str(path))
    if not isinstance(data, dict):
        raise _lost(path, "this is not what was written: it is no table")
    return cast("dict[str, Any]", data), text.removesuffix("\n").encode()


def _lost(path: Path, what: str) -> ExplorerError:
    return ExplorerError(what, where=str(path), remedy="start the run again with --restart")
