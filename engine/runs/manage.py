"""Renaming sessions and throwing them away, never under the hands of a writer."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import FileLock
from srm_explorer.engine.runs.journal import forget_run, known_runs, register_run
from srm_explorer.engine.runs.journal_reader import LOCK
from srm_explorer.engine.session import rename_session, trash_session


def rename(path: Path, new_name: str) -> Path:
    """Rename a session, or a run that is not saved yet, as `rename_session` does; the list of runs follows.

    Raises:
        LockedError: a run is being written there.
        ExplorerError: as `rename_session`.
    """
    path = paths.absolute(path)
    folder = paths.run_folder(path)
    listed = folder in known_runs()
    with _unwritten(folder):
        target = rename_session(path, new_name)
    if listed and target != path:
        # A run that cannot be listed is still found in the sessions folder.
        with contextlib.suppress(ExplorerError):
            register_run(paths.run_folder(target))
        forget_run(folder)
    return target


def trash(path: Path) -> Path:
    """Move a session, its vectors and its run folder to the trash; the folder they went to is returned.

    Raises:
        LockedError: a run is being written there.
        ExplorerError: nothing is there, or it cannot be moved.
    """
    path = paths.absolute(path)
    folder = paths.run_folder(path)
    if not path.is_file() and not folder.is_dir():
        raise ExplorerError("it is gone already", where=str(path), remedy="nothing is left to do")
    with _unwritten(folder):
        trashed = trash_session(path)
    forget_run(folder)
    return trashed


@contextlib.contextmanager
def _unwritten(folder: Path) -> Generator[None]:
    """Hold a run folder, where there is one, so that nobody begins to write it meanwhile."""
    if not folder.is_dir():
        yield
        return
    with FileLock(folder / LOCK, timeout=0.5, remedy="wait for it, or stop it first"):
        yield
