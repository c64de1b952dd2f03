"""The list of run folders, kept in the state folder so that a run is found from any working folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from engine import paths
from engine.files import write_atomic


def register_run(folder: Path) -> None:
    """List a run folder.

    Raises:
        ExplorerError: the state folder cannot be written.
    """
    write_atomic(_entry(folder), os.fsencode(folder.absolute()))


def forget_run(folder: Path) -> None:
    """Take a run folder off the list; nothing happens where it is not on it."""
    with contextlib.suppress(OSError):
        _entry(folder).unlink()


def known_runs() -> list[Path]:
    """The listed run folders that are still there, the newest first; those that vanished are taken off the list."""
    found: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        for entry in _list_folder().glob("*.path"):
            with contextlib.suppress(OSError):
                folder = Path(os.fsdecode(entry.read_bytes()))
                if folder.is_dir():
                    found.append((entry.stat().st_mtime, folder))
                else:
                    entry.unlink()
    return [folder for _, folder in sorted(found, reverse=True)]


def _list_folder() -> Path:
    return paths.state_folder() / "runs"


def _entry(folder: Path) -> Path:
    return _list_folder() / f"{hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]}.path"
