"""Files that are written whole or not at all, and read with a word on what is wrong with them."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import os
import re
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from srm_explorer.engine import paths
from srm_explorer.engine.errors import NO_WINDOWS, ExplorerError

try:
    import fcntl
except ImportError:
    raise ExplorerError(NO_WINDOWS[0], remedy=NO_WINDOWS[1]) from None

WRITE_REMEDIES = {
    errno.ENOSPC: "free some space, or save to another disk",
    errno.EDQUOT: "free some space, or save to another disk",
    errno.EFBIG: "files may not grow that large here; save to another disk",
    errno.EACCES: "check the permissions, or save to another folder",
    errno.EPERM: "check the permissions, or save to another folder",
    errno.EROFS: "the disk is read-only; save to another folder",
    errno.ENOTDIR: "a file stands where a folder is needed; save to another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}
"""By what the system says where a file cannot be written: what to do about it."""


LEFTOVER_AGE = 86_400.0
"""Seconds after which no save can still be in flight."""


def write_atomic(path: Path, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Replace a file by another in one step: at any instant the name shows the old content or the new, whole.

    The content goes to a `Draft` in the same folder, is synced, renamed, and the folder synced. A link is followed; a
    new file gets the usual permissions, an old one keeps its own.

    Args:
        path: the file; missing folders are made.
        content: the bytes, or a function that writes them.

    Raises:
        ExplorerError: no space, no permission and the like, or the name of a folder, a pipe or a device; the old file
            is untouched and nothing is left behind.
    """
    if str(path) == "-":
        raise ExplorerError("- is standard output elsewhere, and a file is written", where="-", remedy="name a file")
    path = paths.absolute(path)
    made: list[Path] = []
    try:
        # Of the name itself: what /dev/stdout leads to has none.
        if path.exists() and not path.is_file():
            what = "a folder has this name" if path.is_dir() else f"cannot be replaced: {NOT_REGULAR}"
            raise ExplorerError(what, where=str(path), remedy="name a file")
        target = path.resolve()
        made = make_folder(target.parent)
        _replace(target, content)
    except BaseException as error:
        remove_empty(made)
        if isinstance(error, OSError):
            raise as_explorer_error(error, path) from error
        raise


_PATIENCE = 2.0
"""Seconds to wait for another writer at the end of a file."""


def append_whole(path: Path, content: bytes) -> None:
    """Add lines at the end of a file to which many processes write; a line that one left torn stays by itself.

    A reader drops what is torn: what was appended is there whole, or was never told to be there.

    Args:
        path: the file, made where it is missing; its folder is there.
        content: whole lines, each with its end.

    Raises:
        ExplorerError: no space, no permission and the like, or no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, NOT_REGULAR)
            _lock_patiently(descriptor)
            end = os.fstat(descriptor).st_size
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                content = b"\n" + content
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise as_explorer_error(error, path) from error


NO_FLOCK = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What systems say whose folder has no `flock`: Lustre without `-o flock`, some NFS and FUSE."""


def _lock_patiently(descriptor: int) -> None:
    """Lock an open file until it is closed, where its folder has `flock`; a holder that was stopped is not awaited."""
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_FLOCK:
                return
            time.sleep(0.01)
        else:
            return


def as_explorer_error(error: OSError, path: Path) -> ExplorerError:
    """Tell what the system refused while a file was written, and what to do about it."""
    what = f"cannot be written: {(error.strerror or str(error)).lower()}"
    return ExplorerError(what, where=str(path), remedy=WRITE_REMEDIES.get(error.errno or 0, "save to another folder"))


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and those above it; return the missing ones, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not paths.is_there(path)]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders in their order, as far as nothing is in them."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made, or that cannot be made itself; nothing is left behind.

    Raises:
        ExplorerError: what the system says, for the folder or the nearest one above it that is there.
    """
    there = next(path for path in (folder, *folder.parents) if paths.is_there(path))
    try:
        # Permissions alone say nothing of a read-only or a full file system, or to the superuser.
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise as_explorer_error(error, folder) from error


def has_flock(folder: Path) -> bool:
    """Whether `flock` works in a folder; True also where nothing can be written, which is another matter."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in NO_FLOCK
    return True


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
    """The SHA-256 of a file's bytes, in hexadecimal; OSError as `open_regular` raises it."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Draft:
    """A file that is written before it has a name: a process that is killed amid it leaves nothing.

    Where the system has no such files, as on network disks and outside Linux, it has a name of its own meanwhile.

    Attributes:
        file: to write to.

    Args:
        folder: where it will be, which is there; what was left of others there, a day ago, is removed.
    """

    def __init__(self, folder: Path) -> None:
        _remove_leftovers(folder)
        # A short name: that of the file may already be as long as the file system allows.
        self._temporary = folder / f".tmp-{os.getpid()}-{secrets.token_hex(6)}"
        self._is_named = False
        try:
            descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except (AttributeError, OSError):
            # Whatever else keeps it from being made is told of the name.
            descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            self._is_named = True
        self.file: BinaryIO = os.fdopen(descriptor, "wb")

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.file.close()
        finally:
            if self._is_named:
                self._temporary.unlink(missing_ok=True)

    def finish(self) -> Path:
        """Have what was written on the disk whole, under a name of its own that is to be linked or renamed at once."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if not self._is_named:
            self._is_named = True
            descriptor = self.file.fileno()
            try:
                # Python follows the link in /proc, as it has to, where it is told a folder too, which is not used.
                os.link(f"/proc/self/fd/{descriptor}", self._temporary, src_dir_fd=descriptor, follow_symlinks=True)
            except OSError:
                self._copy()
        return self._temporary

    def _copy(self) -> None:
        """Write it anew with a name: no /proc is there, or no link to what has no name is allowed."""
        descriptor = self.file.fileno()
        with self._temporary.open("xb") as copy:
            os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(descriptor).st_mode))
            at = 0
            while block := os.pread(descriptor, 1 << 20, at):
                at += copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())


def _replace(target: Path, content: bytes | Callable[[BinaryIO], None]) -> None:
    with Draft(target.parent) as draft:
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(draft.file.fileno(), target.stat().st_mode & 0o7777)
        if callable(content):
            content(draft.file)
        else:
            draft.file.write(content)
        draft.finish().replace(target)
    sync_folder(target.parent)


def _remove_leftovers(folder: Path) -> None:
    """Remove what a process left that was killed while it saved; a day old, so that no save in flight is meant."""
    for leftover in folder.glob(".tmp-*-*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE:
                leftover.unlink()


NOT_REGULAR = "not a regular file"


def open_regular(path: Path) -> BufferedReader:
    """Open a file of the user's to read it.

    Raises:
        OSError: as `open`; also for a pipe, a socket or a device, of which nobody knows when, or whether, it ends.
    """
    check_regular(path)
    return path.open("rb")


def check_regular(path: Path) -> None:
    """Refuse what is no regular file, for those who open it otherwise; errors as `open_regular`."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, NOT_REGULAR)


def is_listed(path: Path) -> bool:
    """Whether a file begins as sessions do, so that it is listed among them; who asks this loads nothing to read it."""
    try:
        with open_regular(path) as file:
            return b'"schema_version"' in file.read(256)
    except OSError:
        return False


def sessions_in(folder: Path) -> list[Path]:
    """The session files of a folder, those that were changed last first."""
    sessions: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        for path in folder.glob("*.json"):
            with contextlib.suppress(OSError):
                if is_listed(path):
                    sessions.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(sessions, reverse=True)]


LARGEST_FILE = 1 << 30
"""Bytes; a larger file is none of ours."""


def read_text(path: Path, *, missing: str = "check the path") -> str:
    """Read a whole UTF-8 file.

    Args:
        path: the file.
        missing: the remedy where there is no such file.

    Raises:
        ExplorerError: missing, no regular file, unreadable, larger than 1 GiB, or not UTF-8 (with the line).
    """
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > LARGEST_FILE:
                raise ExplorerError("the file is larger than 1 GiB", where=str(path), remedy="is it the right one?")
            return file.read().decode("utf-8")
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


@contextlib.contextmanager
def long_fields() -> Generator[None]:
    """Lift the csv module's limit of 128 KiB a field, a setting of the whole process, for as long as a file is read."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


_LABEL = re.compile(r"[+-][0-9.][\w.,%×+\- ]*")
"""A text that begins with a sign and is a number, or some with their units: "+20", "-2σ, +1"."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters but line breaks and tabs."""


class CsvWriter:
    """Writes rows as CSV for people, who open it in a spreadsheet: no text of theirs becomes a formula or a control.

    A text that begins with `=`, `+`, `-` or `@` and is no number gets an apostrophe before it; control characters but
    line breaks and tabs are written as their codes.
    """

    def __init__(self, file: TextIO, mark: str = ",") -> None:
        self._writer = csv.writer(file, delimiter=mark, lineterminator="\n")

    def writerow(self, row: Iterable[object]) -> None:
        self._writer.writerow([csv_cell(cell) if isinstance(cell, str) else cell for cell in row])

    def writerows(self, rows: Iterable[Iterable[object]]) -> None:
        for row in rows:
            self.writerow(row)


def csv_cell(text: str) -> str:
    """A text as a cell, as `CsvWriter` has it; `text_of_cell` reads it."""
    text = _CONTROL.sub(lambda character: f"\\x{ord(character[0]):02x}", text)
    return f"'{text}" if _is_formula(text.lstrip("'")) else text


def text_of_cell(cell: str) -> str:
    """The text that `csv_cell` made a cell of, but for control characters, whose codes stay."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell.lstrip("'")) else cell


def _is_formula(text: str) -> bool:
    if not text.startswith(("=", "+", "-", "@", "\t")) or _LABEL.fullmatch(text):
        return False
    with contextlib.suppress(ValueError):
        float(text)
        return False
    return True
