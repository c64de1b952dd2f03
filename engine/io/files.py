"""Files that are written whole or not at all, and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from srm_explorer.engine.errors import ExplorerError

try:
    import fcntl
except ImportError:
    raise ExplorerError(
        "Windows has none of the file locks and sockets that this needs", remedy="run it under WSL, Linux or macOS"
    ) from None

_REMEDIES = {
    errno.ENOSPC: "free some space, or save to another disk",
    errno.EDQUOT: "free some space, or save to another disk",
    errno.EFBIG: "files may not grow that large here; save to another disk",
    errno.EACCES: "check the permissions, or save to another folder",
    errno.EPERM: "check the permissions, or save to another folder",
    errno.EROFS: "the disk is read-only; save to another folder",
    errno.ENOTDIR: "a file stands where a folder is needed; save to another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


_LEFTOVER_AGE = 86_400.0
"""Seconds after which no save can still be in flight."""


class LockedError(ExplorerError):
    """Another process holds the lock; `pid` says which, None where it cannot be known."""

    def __init__(self, path: Path, pid: int | None, remedy: str) -> None:
        self.pid = pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"in use by {holder}", where=str(path), remedy=remedy)


def write_atomic(path: Path, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Replace a file by another in one step: at any instant the name shows the old content or the new, whole.

    The content goes to a temporary name in the same folder, is synced, renamed, and the folder synced. A link is
    followed; a new file gets the usual permissions, an old one keeps its own.

    Args:
        path: the file; missing folders are made.
        content: the bytes, or a function that writes them.

    Raises:
        ExplorerError: no space, no permission and the like; the old file is untouched and nothing is left behind.
    """
    try:
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, content)
    except OSError as error:
        raise as_explorer_error(error, path) from error


def as_explorer_error(error: OSError, path: Path) -> ExplorerError:
    """Tell what the system refused while a file was written, and what to do about it."""
    what = f"cannot be written: {(error.strerror or str(error)).lower()}"
    return ExplorerError(what, where=str(path), remedy=_REMEDIES.get(error.errno or 0, "save to another folder"))


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made, or that cannot be made itself; nothing is left behind.

    Raises:
        ExplorerError: what the system says, for the folder or the nearest one above it that is there.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        # Permissions alone say nothing of a read-only or a full file system, or to the superuser.
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise as_explorer_error(error, folder) from error


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; OSError as `open` raises it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileLock:
    """A lock between processes on a file of its own, held while the block runs; the system frees it if we die.

    The file holds the process id of the last holder and is never removed, since removing it would let two in.

    Args:
        path: the lock's file; missing folders are made.
        timeout: seconds to wait for another holder; 0 does not wait, None waits forever.
        remedy: what to tell someone who finds it taken.

    Raises:
        LockedError: on entering, when it is still held after the time-out.
        ExplorerError: on entering, when the file cannot be made.
    """

    def __init__(self, path: Path, *, timeout: float | None = 0, remedy: str = "wait for it, or stop it") -> None:
        self.path = path
        self._timeout = timeout
        self._remedy = remedy
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def held(self) -> bool:
        """Whether this object holds the lock now."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock; `with` does it by itself."""
        if self.held:
            raise RuntimeError(f"the lock {self.path} is taken twice by one object")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise as_explorer_error(error, self.path) from error
        try:
            self._wait_for(descriptor)
            # Who holds it is a courtesy to the next one: a full disk must not stop a run that needs no more space.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # Unlocked by hand, since a forked child may still share the open file.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def holder(self) -> int | None:
        """The process that holds the lock at this instant; None where there is none, 0 where it cannot be named."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # Shared, so that two who look do not see each other.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(descriptor) or 0
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return None

    def is_taken(self) -> bool:
        """Whether another holds the lock at this instant."""
        return self.holder() is not None

    def _wait_for(self, descriptor: int) -> None:
        give_up = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if give_up is not None and time.monotonic() >= give_up:
                    raise LockedError(self.path, _holder(descriptor), self._remedy) from None
                time.sleep(0.02)
            except OSError as error:
                raise as_explorer_error(error, self.path) from error


def _holder(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _replace(target: Path, content: bytes | Callable[[BinaryIO], None]) -> None:
    # A short name of its own: the target's may already be as long as the file system allows.
    temporary = target.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(6)}")
    _remove_leftovers(target.parent)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), target.stat().st_mode & 0o7777)
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_folder(target.parent)


def _remove_leftovers(folder: Path) -> None:
    """Remove what a process left that was killed while it saved; a day old, so that no save in flight is meant."""
    for leftover in folder.glob(".tmp-*-*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_AGE:
                leftover.unlink()


LARGEST_FILE = 1 << 30
"""Bytes; a larger file is none of ours."""


def read_text(path: Path, *, missing: str = "check the path") -> str:
    """Read a whole UTF-8 file.

    Args:
        path: the file.
        missing: the remedy where there is no such file.

    Raises:
        ExplorerError: missing, a folder, unreadable, larger than 1 GiB, or not UTF-8 (with the line).
    """
    try:
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise ExplorerError("the file is larger than 1 GiB", where=str(path), remedy="is it the right one?")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = f"byte {error.object[error.start]:#04x} is not UTF-8"
        raise ExplorerError(what, where=f"{path}, line {line}", remedy="save the file as UTF-8") from None
    except FileNotFoundError:
        raise ExplorerError("there is no such file", where=str(path), remedy=missing) from None
    except (OSError, ValueError) as error:
        what = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        remedy = "name a file, not a folder" if getattr(error, "errno", 0) == errno.EISDIR else "check the path"
        raise ExplorerError(f"cannot be read: {what.lower()}", where=str(path), remedy=remedy) from None


def parse_json(text: str, where: str) -> Any:
    """Read JSON into plain data.

    Raises:
        ExplorerError: broken JSON, with its line and column.
    """
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        location = f"line {error.lineno}, column {error.colno}"
        remedy = "it may be cut short or not be a JSON file at all"
        raise ExplorerError(
            f"broken JSON: {error.msg}", where=f"{where}, {location}" if where else location, remedy=remedy
        ) from None
    except (RecursionError, ValueError) as error:
        what = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise ExplorerError(f"broken JSON: {what}", where=where, remedy="it may not be a file of ours at all") from None
