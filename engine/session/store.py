"""Sessions on disk: saved whole under a lock, never over another's work, opened whatever their vectors are, renamed."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.io.files import (
    append_whole,
    as_explorer_error,
    open_regular,
    parse_json,
    read_text,
    sessions_in,
    sha256_of,
    sync_folder,
    write_atomic,
)
from srm_explorer.engine.io.lock import FileLock
from srm_explorer.engine.io.vectors import Vectors, widths, write_vectors
from srm_explorer.engine.session.serialization import read_session, session_bytes
from srm_explorer.engine.session.session import SHORTER, Session, Sidecar, now, pending_sidecar
from srm_explorer.engine.session.survey import SURVEY

_LOCK = ".srm-explorer.lock"
RUN_LOCK = "lock"
"""Held in a run folder by its writer."""


@dataclass(frozen=True)
class Saved:
    """What became of a save.

    Attributes:
        note: empty, or one line that says under which other name it was saved and why.
    """

    session: Session
    path: Path
    note: str


def load_session(path: Path | str) -> Session:
    """Open a session file; its vectors are not read, but get their name where a save was cut short before that.

    Args:
        path: the file; a text is a session's name or path, as commands take it.

    Raises:
        ExplorerError: missing (with the nearest name), unreadable, no session, damaged, or of a newer version.
    """
    path = path if isinstance(path, Path) else paths.session_path(path)
    session = _read(path)
    if session.sidecar is not None:
        pending = pending_sidecar(path.with_name(session.sidecar.file), session.sidecar.sha256)
        if pending.is_file():
            settle_saves(path.parent, [pending.name])
    return session


def _read(path: Path) -> Session:
    text = read_text(path, missing="" if os.path.lexists(path) else _nearest(path))
    return read_session(parse_json(text, str(path)), str(path)).changed(name=stem_of(path), path=path)


def save_session(session: Session, path: Path, *, vectors: Vectors | None = None) -> Saved:
    """Save a session, and its vectors beside it.

    Nothing that another has saved is ever overwritten: where the file is not the one this session was read from, in the
    revision it was read, the session is saved under the next free name, "<name>-2". At any instant of the save, also if
    the process is killed, the file refers to vectors that are there: new vectors wait under a hidden name until the
    file is in place.

    Args:
        session: what to save; `revision` is the one it was read in, 0 for a new one.
        vectors: rows in the order of `session.runs`; left out, the session keeps the vectors it has or holds.

    Raises:
        ExplorerError: no space, no permission and the like; what was saved before is whole.
    """
    path = paths.absolute(path)
    with folder_lock(path.parent):
        session, path, moved = _followed(session, path)
        target, note = _free(session, path)
        note = "; ".join(filter(None, (moved, note)))
        final = target.with_name(f"{stem_of(target)}.safetensors")
        try:
            changed = _write(session, target, final, session.held if vectors is None else vectors)
        except OSError as error:
            raise as_explorer_error(error, target) from error
    return Saved(changed, target, note)


def folder_lock(folder: Path) -> FileLock:
    """The lock that everyone holds who saves, renames or removes sessions of a folder."""
    return FileLock(folder / _LOCK, timeout=30, remedy="another program is saving there; try again")


def stem_of(path: Path) -> str:
    return path.name.removesuffix(".json").removesuffix(".safetensors")


_CREATED = re.compile(rb'"(created|saved)"\s*:\s*("(?:[^"\\\n]|\\.)*")')


def created_in(path: Path) -> str:
    """When the experiment of a session file began, read off its first lines; empty where it is none."""
    return _stamps(path)[0]


def _stamps(path: Path) -> tuple[str, str]:
    """When a session was created and saved."""
    found = {"created": "", "saved": ""}
    with contextlib.suppress(OSError, ValueError):
        with open_regular(path) as file:
            head = file.read(4096)
        for name, text in reversed(_CREATED.findall(head) if b'"schema_version"' in head[:256] else []):
            found[name.decode("ascii")] = json.loads(text)
    return found["created"], found["saved"]


def moved_to(path: Path, created: str, saved: str = "") -> Path | None:
    """Where a session lies that had the name `path`, in the same folder: by when it was created and saved.

    Of copies, the one that was saved at the same time, else the one that was changed last; None where it is nowhere.
    """
    candidates: list[tuple[bool, float, Path]] = []
    for other in sessions_in(path.parent):
        stamps = _stamps(other)
        if created and stamps[0] == created:
            with contextlib.suppress(OSError):
                candidates.append((stamps[1] == saved, other.stat().st_ctime, other))
    return max(candidates)[2] if candidates else None


def _write(session: Session, target: Path, final: Path, vectors: Vectors | None) -> Session:
    sidecar, pending = _place_vectors(session, final, vectors)
    changed = session.changed(
        name=stem_of(target), path=target, revision=session.revision + 1, saved=now(), sidecar=sidecar, held=None
    )
    try:
        write_atomic(target, session_bytes(changed))
    except BaseException:
        # A rename that is done cannot be taken back, even where syncing the folder failed after it.
        if pending is not None and _taken(changed, target):
            pending.unlink(missing_ok=True)
        raise
    settle(final, sidecar)
    if session.path is not None:
        # What cannot be copied is no reason to lose the session.
        with contextlib.suppress(ExplorerError, OSError):
            keep_ledger(paths.ledger_file(session.path), paths.ledger_file(target))
    return changed


def _followed(session: Session, path: Path) -> tuple[Session, Path, str]:
    """A session that is saved where it was read from, though it was renamed or thrown away there meanwhile.

    Returns:
        the session under its new name, that name's file, and one line that says so; all as they are where it was not.

    Raises:
        ExplorerError: it lies in the trash.
    """
    if not session.revision or session.path != path or os.path.lexists(path):
        return session, path, ""
    found = moved_to(path, session.created, session.saved)
    if found is not None:
        kept, sidecar = _read(found).sidecar, session.sidecar
        if kept is not None and sidecar is not None and kept.sha256 == sidecar.sha256:
            sidecar = kept
        moved = f"'{stem_of(path)}' was renamed meanwhile: saved as '{stem_of(found)}'"
        return session.changed(path=found, sidecar=sidecar), found, moved
    for thrown in paths.trash_folder().glob(f"*/{glob.escape(path.name)}"):
        if _stamps(thrown) == (session.created, session.saved):
            what = "the session was moved to the trash meanwhile"
            remedy = f"bring it back with `srm-explorer sessions restore {stem_of(path)}`, then save again"
            raise ExplorerError(what, where=str(path), remedy=remedy)
    return session, path, ""


def keep_ledger(old: Path, new: Path) -> None:
    """Add the tests recorded under one name to those under another, where others of a session that is gone may stand.

    Raises:
        OSError, ExplorerError: it cannot be read or written.
    """
    if old != new and old.exists():
        with open_regular(old) as file:
            append_whole(new, file.read())


def _free(session: Session, path: Path) -> tuple[Path, str]:
    """Where the session may be saved, and what to say where that is not where it was to be."""
    stem, number, target = stem_of(path), 1, path
    why = ""
    while reason := _taken(session, target):
        why = why or reason
        number += 1
        target = path.with_name(f"{stem}-{number}.json")
    return target, f"{why}; saved as '{stem_of(target)}'" if why else ""


def _taken(session: Session, target: Path) -> str:
    """Why a name cannot be used for this session; empty where it can."""
    vectors = target.with_name(f"{stem_of(target)}.safetensors")
    if not os.path.lexists(target):
        return f"'{vectors.name}' belongs to no session" if os.path.lexists(vectors) else ""
    try:
        document = parse_json(read_text(target), str(target))
    except ExplorerError:
        return f"'{target.name}' holds something else"
    table = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    if "schema_version" not in table:
        return f"'{target.name}' holds something else"
    if (table.get("created"), table.get("revision")) != (session.created, session.revision):
        same = session.revision and table.get("created") == session.created
        name = f"'{stem_of(target)}'"
        return f"{name} was changed elsewhere meanwhile" if same else f"there is another {name}"
    stored = cast("Any", table.get("vectors"))
    sidecar = cast("dict[str, Any]", stored) if isinstance(stored, dict) else {}
    # A session renamed by hand, or whose renaming was cut short, still calls its vectors by the old name.
    owns = sidecar.get("file") == vectors.name or _hash_of(vectors) == sidecar.get("sha256")
    return "" if owns or not os.path.lexists(vectors) else f"'{vectors.name}' belongs to no session"


def _place_vectors(session: Session, final: Path, vectors: Vectors | None) -> tuple[Sidecar | None, Path | None]:
    """Write the vectors under the name where they wait; that name, and what the session will say of them."""
    kept = session.sidecar
    if vectors is not None:
        draft = final.with_name(f".{stem_of(final)}.{'0' * 16}.safetensors")
        write_atomic(draft, lambda file: write_vectors(file, vectors))
        sites = widths({site: rows for site, rows in vectors.items() if not site.startswith((SHORTER, SURVEY))})
    elif kept is not None and session.path is not None and session.path.parent / kept.file != final:
        try:
            source = session.vectors_path()
        except ExplorerError:
            return kept, None
        draft = final.with_name(f".{stem_of(final)}.{'0' * 16}.safetensors")
        with open_regular(source) as old:
            write_atomic(draft, lambda file: shutil.copyfileobj(old, file))
        sites = kept.sites
    else:
        return kept, None
    sidecar = Sidecar(final.name, sha256_of(draft), sites)
    pending = pending_sidecar(final, sidecar.sha256)
    draft.replace(pending)
    return sidecar, pending


def settle(final: Path, sidecar: Sidecar | None) -> None:
    """Give the vectors their name, and remove those that saves cut short have left waiting."""
    for path in waiting(final):
        if sidecar is not None and path == pending_sidecar(final, sidecar.sha256):
            path.replace(final)
        else:
            path.unlink()
    sync_folder(final.parent)


_WAITING = re.compile(r"\.(.+)\.[0-9a-f]{16}\.safetensors")


def settle_saves(folder: Path, names: Iterable[str]) -> None:
    """Finish the saves that were cut short after the session was in place: its vectors get their name.

    Nothing happens while somebody saves in the folder, where it cannot be written, or to vectors of no session.

    Args:
        names: of files in the folder.
    """
    for stem in {match[1] for name in names if (match := _WAITING.fullmatch(name))}:
        path = folder / f"{stem}.json"
        if not path.is_file():
            continue
        with contextlib.suppress(ExplorerError, OSError), FileLock(folder / _LOCK):
            sidecar = _read(path).sidecar
            final = path.with_name(f"{stem}.safetensors")
            if sidecar is not None and sidecar.file == final.name:
                settle(final, sidecar)


def _hash_of(vectors: Path) -> str:
    try:
        return sha256_of(vectors)
    except OSError:
        return ""


def _nearest(path: Path) -> str:
    known = [stem_of(other) for other in sessions_in(path.parent)]
    return did_you_mean(stem_of(path), known) if known else "`srm-explorer sessions` lists those that are there"


def waiting(final: Path) -> Iterator[Path]:
    """Vectors of a session that wait for it to be in place."""
    name = re.compile(rf"\.{re.escape(stem_of(final))}\.[0-9a-f]{{16}}\.safetensors")
    return (path for path in list(final.parent.iterdir()) if name.fullmatch(path.name))


def rename_files(path: Path, new_name: str) -> Path:
    """Give a session another name in its folder: its file, its vectors, its ledger and its run folder.

    The file goes first: it finds its vectors under their old name as well as under the new one.

    Args:
        path: the .json file; it may be missing where only a run folder has the name.

    Returns:
        The new .json file; `path` where the name stays the same.

    Raises:
        ExplorerError: the name is none or is taken, the session is missing or damaged, or something cannot be moved.
    """
    path = paths.absolute(path)
    target = renamed_path(path, new_name)
    if target == path:
        return path
    with folder_lock(path.parent):
        folder = paths.run_folder(path)
        session = load_session(path) if os.path.lexists(path) or not folder.is_dir() else None
        refuse_taken(target)
        try:
            number = folder.stat().st_ino if folder.is_dir() else 0
            record = {"to": stem_of(target), "created": "" if session is None else session.created, "run": number}
            write_atomic(_mark(path), json.dumps(record).encode("ascii"))
            if session is not None:
                _move(session, path, target)
            if folder.is_dir():
                folder.rename(paths.run_folder(target))
            _mark(path).unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise as_explorer_error(error, target) from error
    return target


def _mark(path: Path) -> Path:
    """The hidden file that says which name a session is being given."""
    return path.with_name(f".{stem_of(path)}.renaming")


_RENAMING = re.compile(r"\.(.+)\.renaming")


def settle_renames(folder: Path, names: Iterable[str]) -> None:
    """Finish renamings that were cut short, as `settle_rename` does.

    Args:
        names: of files in the folder.
    """
    for name in names:
        if match := _RENAMING.fullmatch(name):
            settle_rename(folder / f"{match[1]}.json")


def settle_rename(path: Path) -> Path | None:
    """Finish a renaming that was cut short after the session's file had its new name: what belongs to it follows.

    Nothing happens while somebody saves or renames in the folder, or where it cannot be written.

    Args:
        path: the .json file as it was called.

    Returns:
        the .json file under the new name, where it was finished; None otherwise.
    """
    if not os.path.lexists(_mark(path)):
        return None
    finished: Path | None = None
    with contextlib.suppress(ExplorerError, OSError, ValueError, KeyError, TypeError), FileLock(path.with_name(_LOCK)):
        record = cast("dict[str, Any]", json.loads(_mark(path).read_bytes()))
        target = renamed_path(path, str(record["to"]))
        if not os.path.lexists(path) and created_in(target) == record["created"]:
            if record["created"]:
                follow_file(path, target)
            run, renamed = paths.run_folder(path), paths.run_folder(target)
            # By its number: another run may have begun under the old name.
            if run.is_dir() and run.stat().st_ino == record["run"] and not os.path.lexists(renamed):
                # Never under the hands of one who went on with it.
                with FileLock(run / RUN_LOCK):
                    run.rename(renamed)
            finished = target
        _mark(path).unlink(missing_ok=True)
    return finished


def renamed_path(path: Path, new_name: str) -> Path:
    """The file that a session would be under another name.

    Raises:
        ExplorerError: that is no bare name.
    """
    if "/" in new_name:
        raise ExplorerError("a name holds no '/'", where=repr(new_name[:60]), remedy="use letters, digits, - and _")
    name = new_name.strip()
    paths.session_path(name)
    return path.with_name(f"{name.removesuffix('.json')}.json")


def refuse_taken(target: Path) -> None:
    """Refuse a name that a session, its vectors or a run has.

    Raises:
        ExplorerError: says which file has it.
    """
    for file in (target, target.with_name(f"{stem_of(target)}.safetensors"), paths.run_folder(target)):
        if os.path.lexists(file):
            what = f"the name '{stem_of(target)}' is taken by {file.name}"
            raise ExplorerError(what, remedy="choose another name")


def _move(session: Session, path: Path, target: Path) -> None:
    settle(path.with_name(f"{stem_of(path)}.safetensors"), session.sidecar)
    # Under both names, so that no instant loses it.
    keep_ledger(paths.ledger_file(path), paths.ledger_file(target))
    path.rename(target)
    follow_file(path, target, session)


def follow_file(path: Path, target: Path, session: Session | None = None) -> None:
    """Move what belongs to a session after its file: its ledger, its vectors, and the name that it calls them by.

    Hold `folder_lock` around it.

    Args:
        path: the .json file it was.
        target: the one it is.
        session: as it was read from there; read again by default.
    """
    session = session or _read(target)
    keep_ledger(paths.ledger_file(path), paths.ledger_file(target))
    paths.ledger_file(path).unlink(missing_ok=True)
    sidecar = session.sidecar
    vectors = path.with_name(f"{stem_of(path)}.safetensors")
    renamed = target.with_name(f"{stem_of(target)}.safetensors")
    if sidecar is None:
        pass
    # Vectors under yet another name may be those of the session that this file was copied from by hand.
    elif vectors.is_file() and (sidecar.file == vectors.name or _hash_of(vectors) == sidecar.sha256):
        vectors.rename(renamed)
        sidecar = dataclasses.replace(sidecar, file=renamed.name)
    elif sidecar.file == vectors.name and renamed.is_file():
        sidecar = dataclasses.replace(sidecar, file=renamed.name)
    write_atomic(target, session_bytes(session.changed(name=stem_of(target), sidecar=sidecar)))
