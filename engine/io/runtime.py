"""The folder of sockets and locks: of one user, on one machine, until that is started again."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from srm_explorer.engine.errors import ExplorerError


def runtime_folder() -> Path:
    """The folder of sockets and locks; it need not exist."""
    return Path(tempfile.gettempdir()) / f"srm-explorer-{os.getuid()}"


def make_folder(folder: Path) -> None:
    """Make the folder of sockets and locks, which no other user may enter.

    Raises:
        ExplorerError: it cannot be made, or is not ours alone.
    """
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    except OSError as error:
        what = f"cannot be made: {(error.strerror or str(error)).lower()}"
        raise ExplorerError(what, where=str(folder), remedy="set TMPDIR to a folder of your own") from None
    check_folder(folder)


def check_folder(folder: Path) -> bool:
    """Tell whether the folder is there.

    Raises:
        ExplorerError: it is, and another user owns it or may enter it.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        what = f"cannot be looked at: {(error.strerror or str(error)).lower()}"
        raise ExplorerError(what, where=str(folder), remedy="set TMPDIR to a folder of your own") from None
    if not stat.S_ISDIR(status.st_mode):
        what = "this is no folder"
    elif status.st_uid != os.getuid():
        what = "another user owns this folder"
    elif stat.S_IMODE(status.st_mode) != 0o700:
        what = f"others may enter this folder (mode {stat.S_IMODE(status.st_mode):04o}, not 0700)"
    else:
        return True
    raise ExplorerError(what, where=str(folder), remedy="remove it, or set TMPDIR to a folder of your own")
