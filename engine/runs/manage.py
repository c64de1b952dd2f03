"""Renaming sessions, never under the hands of a writer, and finding one again that was moved by whomever."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.lock import FileLock
from srm_explorer.engine.runs.journal import forget_run, known_runs, register_run
from srm_explorer.engine.runs.trash import created_by, trashed_sessions, unwritten
from srm_explorer.engine.session import Session
from srm_explorer.engine.session.store import (
    created_in,
    folder_lock,
    follow_file,
    moved_to,
    rename_files,
    renamed_path,
    settle_rename,
    stem_of,
)


def rename_session(path: Path, new_name: str) -> Path:
    """Give a session, or a run that is not saved yet, another name in its folder: file, vectors, ledger, run folder.

    Killed at any instant, nothing is lost: the same again goes on with it.

    Returns:
        The new .json file; `path` where the name stays the same.

    Raises:
        LockedError: a run is being written there.
        ExplorerError: the name is none or is taken, the session is missing or damaged, or something cannot be moved.
    """
    path = paths.absolute(path)
    folder = paths.run_folder(path)
    target = renamed_path(path, new_name)
    listed = folder in known_runs()
    is_done = settle_rename(path) == target
    with unwritten(folder):
        if listed and target != path:
            # A run that cannot be listed is still found in the sessions folder.
            with contextlib.suppress(ExplorerError):
                register_run(paths.run_folder(target))
        if not is_done:
            rename_files(path, new_name)
    _move_notes(path, target)
    if listed and target != path:
        with contextlib.suppress(ExplorerError):
            register_run(paths.run_folder(target))
        forget_run(folder)
    return target


def whereabouts(path: Path, created: str, saved: str = "") -> tuple[Path | None, str]:
    """Find out what became of a session, saved or not, that is not under its name any more.

    Args:
        path: the .json file it was.
        created: when its experiment began, by which it is known under any name.
        saved: when it was saved last, by which it is told from copies.

    Returns:
        its .json file (where a run alone is left, that file is not there), None where it is nowhere to be seen; and in
        that case where it went, for people: "in the trash" or "gone".
    """
    folders = dict.fromkeys((path.parent, paths.sessions_folder()))
    for folder in folders if created else ():
        found = moved_to(folder / path.name, created, saved)
        if found is not None:
            return found, ""
    runs = [run for folder in folders for run in sorted(folder.glob("*.run"))] + known_runs()
    for run in dict.fromkeys(runs) if created else ():
        if created_by(run) == created:
            return run.with_name(f"{run.name.removesuffix('.run')}.json"), ""
    # By what lies there, not by the name alone: another session may have had it.
    trashed = any(
        entry.name == path.stem and (not created or created_in(entry.folder / f"{entry.name}.json") in ("", created))
        for entry in trashed_sessions()
    )
    return None, "in the trash" if trashed else "gone"


def followed(session: Session) -> Path | None:
    """The .json file of a session that is not under its name any more; None where it is, or is nowhere to be seen."""
    path = session.path
    if path is None or (is_there(path) and created_in(path) in ("", session.created)):
        return None
    return whereabouts(path, session.created, session.saved)[0]


def bring_along(path: Path, found: Path) -> None:
    """Have follow what a session left under its old name whose file alone was renamed: ledger, vectors, run folder.

    Of one that was moved to another folder, notes alone follow that were typed and not saved; nothing happens while
    somebody writes there.

    Args:
        path: the .json file it was.
        found: the one it is.
    """
    _move_notes(path, found)
    run, renamed = paths.run_folder(path), paths.run_folder(found)
    left = paths.ledger_file(path), path.with_name(f"{stem_of(path)}.safetensors")
    if found.parent != path.parent or not any(map(os.path.lexists, (*left, run))):
        return
    with contextlib.suppress(ExplorerError, OSError), unwritten(run), folder_lock(path.parent):
        if os.path.lexists(path) or not found.is_file():
            return
        if any(map(os.path.lexists, left)):
            follow_file(path, found)
        if run.is_dir() and not os.path.lexists(renamed) and created_by(run) == created_in(found):
            run.rename(renamed)
            register_run(renamed)
            forget_run(run)


def _move_notes(path: Path, target: Path) -> None:
    """Notes that were typed and not saved go with their session, but those that a screen has open."""
    folder, stem = paths.notes_drafts(path)
    _, renamed = paths.notes_drafts(target)
    for file in folder.glob(f"{stem}-*.md") if target != path else ():
        with contextlib.suppress(ExplorerError, OSError), FileLock(file.with_suffix(".lock")):
            to = file.with_name(f"{renamed}{file.name.removeprefix(stem)}")
            if not to.exists():
                file.rename(to)


def is_there(path: Path) -> bool:
    """Whether a session, or a run that is not saved yet, has this name."""
    return os.path.lexists(path) or paths.run_folder(path).is_dir()
