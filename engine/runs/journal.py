"""The append-only run folder: whatever happens to the writer, the batches it finished are there, each whole.

spec.json  layout.json      written once, before the first batch
events.jsonl                a line for each finished batch and for whatever else happened, synced; every line ends with
                            a checksum of itself and of the line before
shard-00001.safetensors     the vectors of one batch, in place before its line is
tables-00007.safetensors    arrays that one event names, by its line: the plan of a survey, or a part of it
means-00001.safetensors     means over the first tokens of some runs, where texts of one prompt differ in length
progress.json               how far the batch in flight is, at most 4 times a second, never synced
lock                        held by the writer; anyone may read

The user's state folder lists the run folders, wherever they are.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.io.files import as_explorer_error, remove_empty, sha256_of, write_atomic
from srm_explorer.engine.io.lock import FileLock
from srm_explorer.engine.io.vectors import Vectors, write_vectors
from srm_explorer.engine.runs.journal_reader import (
    EVENTS,
    LAYOUT,
    LOCK,
    PROGRESS,
    SCHEMA_VERSION,
    SPEC,
    JournalReader,
    shard_name,
)
from srm_explorer.engine.runs.journal_records import (
    EventRecord,
    LockedByFile,
    MeansKept,
    NotListed,
    RunStart,
    checksum_of,
    event_table,
    with_checksum,
)
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.session import RunRecord
from srm_explorer.engine.session.codec import json_line

_PROGRESS_EVERY = 0.25
"""Seconds between two writings of the progress file, at least."""


def register_run(folder: Path) -> None:
    """List a run folder.

    Raises:
        ExplorerError: the state folder cannot be written.
    """
    write_atomic(_entry(folder), os.fsencode(paths.absolute(folder)))


def forget_run(folder: Path) -> None:
    """Take a run folder off the list; nothing happens where it is not on it."""
    with contextlib.suppress(OSError):
        _entry(folder).unlink()


def known_runs() -> list[Path]:
    """The listed run folders that are still there, the newest first; those that vanished are taken off the list.

    One that vanished may have another name in its folder, by hand or by a renaming that was cut short: runs that are
    there are listed in its stead.
    """
    runs: dict[Path, float] = {}
    with contextlib.suppress(OSError):
        for entry in [*_list_folder().glob("*.path")]:
            with contextlib.suppress(OSError, ExplorerError):
                folder = Path(os.fsdecode(entry.read_bytes()))
                if folder.is_dir():
                    runs[folder] = entry.stat().st_mtime
                    continue
                for other in filter(is_run_folder, folder.parent.glob("*.run")):
                    if not _entry(other).exists():
                        register_run(other)
                        runs[other] = _entry(other).stat().st_mtime
                sweep_beside(folder)
                entry.unlink()
    return sorted(runs, key=lambda folder: (runs[folder], folder), reverse=True)


_REMOVED = re.compile(r"\..+\.run\.done(-\d+)?")


def sweep_removed(folder: Path, names: Iterable[str]) -> None:
    """Remove what is left of run folders whose session is saved, and whose removal was cut short.

    Args:
        names: of folders in the folder.
    """
    for name in names:
        if _REMOVED.fullmatch(name) and not (folder / name).is_symlink():
            shutil.rmtree(folder / name, ignore_errors=True)


def sweep_beside(folder: Path) -> None:
    """Sweep what is left of a run folder that had this name."""
    sweep_removed(folder.parent, [path.name for path in folder.parent.glob(f".{glob.escape(folder.name)}.done*")])


def _list_folder() -> Path:
    return paths.state_folder() / "runs"


def _entry(folder: Path) -> Path:
    return _list_folder() / f"{hashlib.sha256(os.fsencode(paths.absolute(folder))).hexdigest()[:16]}.path"


class JournalWriter:
    """The one process that appends to a run folder: `create` or `open_existing` make it, `close` or `with` close it."""

    def __init__(self, folder: Path, lock: FileLock, reader: JournalReader) -> None:
        self.folder = folder
        self.reader = reader
        self._lock = lock
        self._progress_due = 0.0
        self._events = _open_for_append(folder / EVENTS, reader.offset)

    @classmethod
    def create(
        cls,
        folder: Path,
        experiment: Experiment,
        *,
        layout: Layout | Mapping[str, Any],
        extra: RunStart | Mapping[str, Any] | None = None,
    ) -> Self:
        """Begin a run folder; one whose making was cut short is begun anew.

        Args:
            folder: `paths.run_folder` of the session to be.

        Raises:
            ExplorerError: the folder already holds a run, another process is writing it, or it cannot be written.
        """
        lock = _locked(folder)
        try:
            # Whatever it is, batches that belong to a layout are not swept away.
            if os.path.lexists(folder / LAYOUT):
                raise ExplorerError("there is a run already", where=str(folder), remedy="resume it, or use --restart")
            for leftover in (*folder.glob("shard-*"), folder / EVENTS, folder / PROGRESS):
                leftover.unlink(missing_ok=True)
            head = {"schema_version": SCHEMA_VERSION, "spec": experiment.to_dict(), "extra": extra or {}}
            spec = with_checksum(json_line(head), "")
            write_atomic(folder / SPEC, spec + b"\n")
            # Last, since the folder counts as a run once it has a layout.
            write_atomic(folder / LAYOUT, with_checksum(json_line(layout), checksum_of(spec, "") or "") + b"\n")
            writer = cls(folder, lock, JournalReader(folder))
        except BaseException as error:
            if os.path.lexists(folder / LAYOUT):
                lock.release()
            else:
                # No run was begun: nothing of it stays.
                with contextlib.suppress(OSError):
                    (folder / SPEC).unlink(missing_ok=True)
                lock.discard()
                remove_empty([folder])
            if isinstance(error, OSError):
                raise as_explorer_error(error, folder) from error
            raise
        writer._register()
        return writer

    @classmethod
    def open_existing(cls, folder: Path) -> Self:
        """Go on with a run folder: what a killed writer left half written is dropped, all finished batches stay.

        Raises:
            ExplorerError: no run is there, another process (it is named) is writing it, or a finished batch is damaged.
        """
        if not is_run_folder(folder):
            raise ExplorerError("there is no run to go on with", where=str(folder), remedy="start it again")
        lock = _locked(folder)
        try:
            reader = JournalReader(folder)
            reader.poll()
            reader.check_shards()
            writer = cls(folder, lock, reader)
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError):
                raise as_explorer_error(error, folder) from error
            raise
        writer._register()
        return writer

    def append_batch(
        self,
        batch_index: int,
        runs: Sequence[RunRecord],
        vectors: Vectors,
        *,
        receipt: Mapping[str, Any],
        by: str = "",
        device: str = "",
    ) -> None:
        """Add a finished batch; when this returns, it survives whatever happens.

        Args:
            batch_index: its number in the layout; `reader.done` holds it from now on, so a batch that was halved is
                appended once, when all of it is there.
            vectors: by site, rows in the order of `runs`: [run, d], or a list of [token, d].
            by: who had it; empty for this process.
            device: that it ran on, where another process had it.

        Raises:
            ExplorerError: the disk is full and the like; the batches before it are untouched.
        """
        known = self.reader.run_indices
        repeated = [run.index for run in runs if run.index in known]
        if repeated or len({run.index for run in runs}) != len(runs):
            raise ValueError(f"runs {repeated} of batch {batch_index} are in the journal already")
        wrong = [site for site, rows in vectors.items() if len(rows) != len(runs)]
        if wrong:
            raise ValueError(f"batch {batch_index} has {len(runs)} runs, but other numbers of vectors at {wrong}")
        shard = self.folder / shard_name(len(self.reader.batches) + 1)
        write_atomic(shard, lambda file: write_vectors(file, vectors))
        self._append(
            {
                "event": "batch",
                "batch": batch_index,
                "shard": shard.name,
                "sha256": sha256_of(shard),
                "receipt": dict(receipt),
                "runs": runs,
                **({"by": by, "device": device} if by else {}),
            }
        )

    def append_means(self, runs: Sequence[int], means: Vectors) -> None:
        """Add means over the first tokens of runs; errors as `append_batch`.

        Args:
            runs: their indices.
            means: by name, a list with a [mark, d] array for each.
        """
        shard = self.folder / f"means-{len(self.reader.events_of(MeansKept)) + 1:05d}.safetensors"
        write_atomic(shard, lambda file: write_vectors(file, means))
        self.event(MeansKept(shard.name, sha256_of(shard), tuple(runs)))

    def append_tables(self, tables: Mapping[str, NDArray[Any]], event: Callable[[str, str], EventRecord]) -> None:
        """Add arrays of whatever shape, and the event that names them; errors as `append_batch`.

        Args:
            tables: by name.
            event: made of the name of their file and its SHA-256.
        """
        shard = self.folder / f"tables-{len(self.reader.events) + 1:05d}.safetensors"
        write_atomic(shard, lambda file: write_vectors(file, tables))
        self.event(event(shard.name, sha256_of(shard)))

    def event(self, event: EventRecord | Mapping[str, Any]) -> None:
        """Add something that happened, plain JSON with its kind under "event"; errors as `append_batch`."""
        if not isinstance(event, Mapping):
            event = event_table(event)
        if not isinstance(event.get("event"), str) or event["event"] == "batch":
            raise ValueError(f"an event needs a kind of its own under 'event': {dict(event)}")
        self._append(event)

    def progress(self, progress: Mapping[str, Any]) -> None:
        """Tell how far the batch in flight is; told too often, it is left out, as it is when it cannot be written."""
        if time.monotonic() < self._progress_due:
            return
        self._progress_due = time.monotonic() + _PROGRESS_EVERY
        draft = self.folder / f".{PROGRESS}"
        try:
            draft.write_bytes(json_line(progress))
            draft.replace(self.folder / PROGRESS)
        except OSError:
            return

    def close(self) -> None:
        if self._events >= 0:
            os.close(self._events)
            self._events = -1
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _register(self) -> None:
        """List the folder for other terminals; a run does not fail because it cannot be listed."""
        if self._lock.by_file:
            self.event(LockedByFile(self._lock.lock_file.name))
        try:
            register_run(self.folder)
        except ExplorerError as error:
            self.event(NotListed(str(error)))

    def _append(self, event: Mapping[str, Any]) -> None:
        if self._events < 0:
            raise ValueError("the journal is closed")
        begin = os.fstat(self._events).st_size
        line = memoryview(with_checksum(json_line({**event, "at": time.time()}), self.reader.checksum) + b"\n")
        try:
            while line:
                line = line[os.write(self._events, line) :]
        except BaseException as error:
            # Without its newline the line does not exist for anyone yet, also where it cannot be taken back.
            with contextlib.suppress(OSError):
                os.ftruncate(self._events, begin)
            if isinstance(error, OSError):
                raise as_explorer_error(error, self.folder / EVENTS) from error
            raise
        self.reader.poll()
        try:
            os.fsync(self._events)
        except OSError as error:
            raise as_explorer_error(error, self.folder / EVENTS) from error


def is_run_folder(folder: Path) -> bool:
    """Whether a run was begun there, so that it can be read and gone on with."""
    return (folder / SPEC).is_file() and (folder / LAYOUT).is_file()


def _locked(folder: Path) -> FileLock:
    # A reader that looks whether a writer lives holds the lock for an instant.
    lock = FileLock(folder / LOCK, timeout=0.5, remedy="wait for it, or stop it first")
    lock.acquire()
    return lock


def _open_for_append(path: Path, good: int) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    os.ftruncate(descriptor, good)
    os.fsync(descriptor)
    return descriptor
