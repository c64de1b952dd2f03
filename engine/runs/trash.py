"""The trash: sessions that were moved there whole, with where they came from; brought back, or deleted for good.

<trash>/storm 2026-11-29T225555.123456/    an entry: whatever was moved there at once, under the names it had
    .origin.json                           the folder it came from, and when; written first
    storm.json  storm.safetensors  storm.ledger.jsonl  storm.run/

Moved by renaming, the session's file first into the trash and last out of it: whatever happens to the process, what
was not moved yet lies where it was, and the same again goes on with it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.io.files import (
    LEFTOVER_AGE,
    as_explorer_error,
    remove_empty,
    sha256_of,
    sync_folder,
    write_atomic,
)
from srm_explorer.engine.io.lock import FileLock
from srm_explorer.engine.runs.journal import forget_run, is_run_folder, register_run
from srm_explorer.engine.runs.journal_reader import LOCK, JournalReader
from srm_explorer.engine.session.session import now
from srm_explorer.engine.session.store import (
    created_in,
    folder_lock,
    keep_ledger,
    load_session,
    renamed_path,
    stem_of,
    waiting,
)

_ORIGIN = ".origin.json"
_DRAFT = ".moving "
"""Begins the name of a copy to another file system while it is not whole."""
_HALF = (_DRAFT, ".tmp-")
"""Begin the names of what a process that was killed has left half written."""
_DELETED = ".deleted "
"""Begins the name of an entry that is being deleted."""
_STAMPED = re.compile(r"(.+) (\d{4}-\d\d-\d\dT)(\d\d)(\d\d)(\d\d)\.(\d{6})(-\d+)?")


class NameTakenError(ExplorerError):
    """A session cannot be brought back under its name, which another has by now."""


@dataclass(frozen=True)
class Trashed:
    """What was moved to the trash at once.

    Attributes:
        name: of the session.
        folder: where it lies in the trash.
        origin: the folder it came from.
        when: it was moved there, ISO 8601; empty where that is not known.
        size: bytes of all its files.
        is_session: whether a saved session is among them, not a run alone that was not saved yet.
    """

    name: str
    folder: Path
    origin: Path
    when: str
    size: int
    is_session: bool

    @property
    def path(self) -> Path:
        """The .json file it would be brought back as."""
        return self.origin / f"{self.name}.json"

    @property
    def files(self) -> tuple[Path, ...]:
        """What lies in the trash, the session's own file last."""
        return _files(self.folder)


def trash_session(path: Path) -> Path:
    """Move a session, its vectors, its ledger and its run folder to a new folder in the trash, which is returned.

    Where that was cut short after the session's file was there, what is left follows it.

    Raises:
        LockedError: a run is being written there.
        ExplorerError: nothing is there, or it cannot be moved.
    """
    path = paths.absolute(path)
    run = paths.run_folder(path)
    vectors = path.with_name(f"{stem_of(path)}.safetensors")
    when = now()
    entry = _free(paths.trash_folder(), f"{stem_of(path)} {when.replace(':', '').replace('+0000', '')}")
    begun = go_on(path)
    if begun is not None:
        return begun
    _refuse_gone(path)
    try:
        if any(waiting(vectors)):
            # Where a save was cut short, the vectors get their name first.
            with contextlib.suppress(ExplorerError):
                load_session(path)
        with unwritten(run), folder_lock(path.parent):
            _refuse_gone(path)
            write_atomic(entry / _ORIGIN, json.dumps({"folder": str(path.parent), "when": when}).encode("ascii"))
            for file in (path, vectors, *waiting(vectors), paths.ledger_file(path), run):
                if os.path.lexists(file):
                    _move(file, entry / file.name)
            sync_folder(path.parent)
    except BaseException as error:
        if not _files(entry):
            with contextlib.suppress(OSError):
                (entry / _ORIGIN).unlink(missing_ok=True)
            remove_empty([entry])
        if isinstance(error, OSError):
            raise as_explorer_error(error, entry) from error
        raise
    forget_run(run)
    return entry


def go_on(path: Path) -> Path | None:
    """Go on with a move to the trash that was cut short after the session's file was there.

    Returns:
        the session's folder in the trash; None where nothing of a session that lies there is left.

    Raises:
        LockedError: a run is being written there.
        ExplorerError: it cannot be moved.
    """
    path = paths.absolute(path)
    if os.path.lexists(path) or not path.parent.is_dir():
        return None
    run, vectors = paths.run_folder(path), path.with_name(f"{stem_of(path)}.safetensors")
    for entry in trashed_sessions():
        if not entry.is_session or entry.path != path:
            continue
        try:
            with unwritten(run), folder_lock(path.parent):
                left = [
                    file
                    for file in (vectors, *waiting(vectors), paths.ledger_file(path), run)
                    if os.path.lexists(file) and _belongs(file, entry)
                ]
                for file in left:
                    _move(file, entry.folder / file.name)
                sync_folder(path.parent)
        except OSError as error:
            raise as_explorer_error(error, entry.folder) from error
        if left:
            if run in left:
                forget_run(run)
            return entry.folder
    return None


def _belongs(file: Path, entry: Trashed) -> bool:
    """Whether a file, or a run folder, is of the session that lies in the trash, and is not there itself."""
    if os.path.lexists(entry.folder / file.name):
        return False
    if file.is_dir():
        return created_by(file) == created_in(entry.files[-1])
    if file.suffix != ".safetensors":
        # A ledger says with each line whose it is.
        return True
    with contextlib.suppress(ExplorerError, OSError):
        sidecar = load_session(entry.files[-1]).sidecar
        return sidecar is not None and sha256_of(file) == sidecar.sha256
    return False


def trashed_sessions() -> tuple[Trashed, ...]:
    """What lies in the trash, the last that was moved there first.

    What is left of deleted ones is removed; so are folders in which nothing lies, where a move was cut short: a day
    old, so that no move in flight is meant.
    """
    entries: list[Trashed] = []
    with contextlib.suppress(OSError):
        for folder in paths.trash_folder().iterdir():
            if folder.name.startswith(_DELETED):
                shutil.rmtree(folder, ignore_errors=True)
            elif not folder.name.startswith(".") and folder.is_dir():
                entry = _entry(folder)
                if entry is not None:
                    entries.append(entry)
                elif time.time() - folder.stat().st_mtime > LEFTOVER_AGE:
                    shutil.rmtree(folder, ignore_errors=True)
    return tuple(sorted(entries, key=lambda entry: (entry.when, entry.folder.name), reverse=True))


def find_trashed(name: str) -> Trashed:
    """What was moved to the trash last under a name, or lies there in a folder of that name.

    Raises:
        ExplorerError: nothing; the nearest name is in the remedy.
    """
    entries = trashed_sessions()
    for entry in entries:
        stamped = _STAMPED.fullmatch(entry.folder.name)
        # Also by the name it had, where it was being brought back under another.
        if name in (entry.name, stamped and stamped[1], entry.folder.name, str(entry.folder)):
            return entry
    known = [entry.name for entry in entries]
    remedy = did_you_mean(name, known) if known else "the trash is empty"
    raise ExplorerError("nothing of that name is in the trash", where=repr(name), remedy=remedy)


def restore_session(entry: Trashed, name: str | None = None) -> Path:
    """Bring a session back to where it came from, with everything that was moved with it.

    Args:
        entry: what is brought back.
        name: another name than it had.

    Returns:
        Its .json file; where a run alone was moved, that file need not be there.

    Raises:
        NameTakenError: another has its name; all of it stays in the trash.
        ExplorerError: it is not in the trash any more, or something cannot be moved; what is not back then stays there.
    """
    target = entry.path if name is None else renamed_path(entry.path, name)
    with _trash_lock():
        if not entry.files:
            remedy = "`srm-explorer sessions` and `srm-explorer sessions trash` list what is where"
            raise ExplorerError("it is not in the trash any more", where=entry.name, remedy=remedy)
        try:
            with folder_lock(target.parent):
                files = {file: _kept_as(file, target) for file in entry.files}
                _refuse_taken(files, target)
                if target != entry.path:
                    # Cut short, it goes on under this name.
                    record = {"folder": str(entry.origin), "when": entry.when, "name": stem_of(target)}
                    write_atomic(entry.folder / _ORIGIN, json.dumps(record).encode("ascii"))
                run = paths.run_folder(target)
                if run in files.values():
                    _register(run)
                for file, to in files.items():
                    if to == paths.ledger_file(target):
                        keep_ledger(file, to)
                        file.unlink()
                    else:
                        _move(file, to)
                sync_folder(target.parent)
            for ours in _OURS:
                (entry.folder / ours).unlink(missing_ok=True)
            remove_empty([entry.folder])
        except OSError as error:
            raise as_explorer_error(error, target) from error
    if is_run_folder(paths.run_folder(target)):
        # Who looked meanwhile took off the list what was not there yet.
        _register(paths.run_folder(target))
    return target


def _register(run: Path) -> None:
    """List a run; one that cannot be listed is still found in the sessions folder."""
    with contextlib.suppress(ExplorerError):
        register_run(run)


def delete_trashed(entries: Sequence[Trashed]) -> None:
    """Delete what lies in the trash, for good.

    Raises:
        ExplorerError: it cannot be deleted.
    """
    with _trash_lock():
        for entry in entries:
            # Aside first, so that what is half deleted is never offered again.
            aside = _free(entry.folder.parent, f"{_DELETED}{entry.folder.name}")
            try:
                entry.folder.rename(aside)
            except FileNotFoundError:
                continue
            except OSError as error:
                what = f"cannot be deleted: {(error.strerror or str(error)).lower()}"
                raise ExplorerError(what, where=str(entry.folder), remedy="check its permissions") from error
        for left in paths.trash_folder().glob(f"{_DELETED}*"):
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def unwritten(run: Path) -> Generator[None]:
    """Hold a run folder, where there is one, so that nobody begins to write it meanwhile.

    Raises:
        LockedError: a run is being written there.
    """
    if not run.is_dir():
        yield
        return
    with FileLock(run / LOCK, timeout=0.5, remedy="wait for it, or stop it first"):
        yield


def created_by(run: Path) -> str:
    """When the experiment of a run folder began, as its session has it; empty where it cannot be read."""
    with contextlib.suppress(ExplorerError, OSError, KeyError, TypeError):
        return JournalReader(run).start.created
    return ""


def _trash_lock() -> FileLock:
    remedy = "another program is moving sessions there; try again"
    return FileLock(paths.trash_folder() / ".lock", timeout=30, remedy=remedy)


def _refuse_gone(path: Path) -> None:
    if not os.path.lexists(path) and not paths.run_folder(path).is_dir():
        raise ExplorerError(
            "it is gone already", where=str(path), remedy="`srm-explorer sessions trash` lists the trash"
        )


def _entry(folder: Path) -> Trashed | None:
    """A folder in the trash; None where nothing lies in it. Those of earlier versions say nothing of their origin."""
    files = _files(folder)
    if not files:
        return None
    stamped = _STAMPED.fullmatch(folder.name)
    name, when, origin = folder.name, "", paths.sessions_folder()
    if stamped is not None:
        name, day, *clock = stamped.groups()[:6]
        when = f"{day}{':'.join(clock[:3])}.{clock[3]}+00:00"
    is_session = files[-1].name.endswith(".json")
    if is_session:
        name = stem_of(files[-1])
    elif files[0].name.endswith(".run") or is_run_folder(folder):
        name = _RUN.sub("", files[0].name)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record: dict[str, Any] = json.loads((folder / _ORIGIN).read_bytes())
        origin, when = Path(str(record["folder"])), str(record["when"])
        name = str(record.get("name", name))
    return Trashed(name, folder, origin, when, sum(map(_size, files)), is_session)


_OURS = (_ORIGIN, ".srm-explorer.lock", ".srm-explorer.lock.held")
_RUN = re.compile(r"\.run(-\d+)?$")
_KINDS = (".ledger.jsonl", ".safetensors", ".json")


def _files(folder: Path) -> tuple[Path, ...]:
    """What was moved to a folder of the trash, a session's own file last; an older one is a run folder itself."""
    if is_run_folder(folder):
        return (folder,)
    with contextlib.suppress(OSError):
        moved = [path for path in folder.iterdir() if path.name not in _OURS and not path.name.startswith(_HALF)]
        return tuple(sorted(moved, key=lambda path: (path.suffix == ".json", path.name)))
    return ()


def _size(path: Path) -> int:
    size = 0
    with contextlib.suppress(OSError):
        for file in (path, *(path.rglob("*") if path.is_dir() else ())):
            size += file.stat().st_size if file.is_file() else 0
    return size


def _kept_as(file: Path, target: Path) -> Path:
    """What a file of a session is called where that is `target`; vectors in waiting keep the name they wait under."""
    if file.name.startswith("."):
        return target.with_name(file.name)
    if _RUN.search(file.name):
        return paths.run_folder(target)
    kind = next((kind for kind in _KINDS if file.name.endswith(kind)), None)
    return target.with_name(file.name if kind is None else f"{stem_of(target)}{kind}")


def _refuse_taken(files: dict[Path, Path], target: Path) -> None:
    """Refuse a name that something else has; parts of the same session, left by a move that was cut short, are not.

    Raises:
        NameTakenError: says which file has it.
    """
    run = paths.run_folder(target)
    for file, to in files.items():
        if os.path.lexists(to) and to != paths.ledger_file(target) and not _are_same(file, to):
            raise _taken(target, to)
    session = next((file for file, to in files.items() if to == target), None)
    journal = next((file for file, to in files.items() if to == run), None)
    created = created_in(session) if session is not None else ""
    if journal is not None:
        created = created or created_by(journal)
    if os.path.lexists(target) and target not in files.values() and created_in(target) != created:
        raise _taken(target, target)
    if os.path.lexists(run) and run not in files.values() and created_by(run) != created:
        raise _taken(target, run)


def _taken(target: Path, file: Path) -> NameTakenError:
    what = f"the name '{stem_of(target)}' is taken by {file.name}"
    return NameTakenError(what, where=str(file.parent), remedy="bring it back under another name")


def _are_same(old: Path, new: Path) -> bool:
    """Whether a move was cut short after all was copied: both hold the same."""
    if old.is_dir():
        held = [file for file in old.rglob("*") if file.is_file()]
        return new.is_dir() and all(_are_same(file, new / file.relative_to(old)) for file in held)
    return new.is_file() and sha256_of(old) == sha256_of(new)


def _move(old: Path, new: Path) -> None:
    """Move a file or a folder so that it is whole under its old name or its new one at any instant."""
    if os.path.lexists(new):
        _remove(old)
        return
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        old.rename(new)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    draft = new.with_name(f"{_DRAFT}{new.name}")
    if os.path.lexists(draft):
        _remove(draft)
    if old.is_dir() and not old.is_symlink():
        shutil.copytree(old, draft, symlinks=True)
    else:
        shutil.copy2(old, draft, follow_symlinks=False)
    draft.rename(new)
    sync_folder(new.parent)
    _remove(old)


def _remove(path: Path) -> None:
    """Remove a file, or a folder in one step: aside first, under the name that removed run folders have."""
    if path.is_dir() and not path.is_symlink():
        aside = _free(path.parent, f".{path.name}.done")
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _free(folder: Path, name: str) -> Path:
    path, number = folder / name, 1
    while os.path.lexists(path):
        number += 1
        path = folder / f"{name}-{number}"
    return path
