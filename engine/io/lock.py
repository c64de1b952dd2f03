"""Locks between processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import NO_FLOCK, as_explorer_error, make_folder, remove_empty


class LockedError(ExplorerError):
    """Another process holds the lock; `pid` says which, None where it cannot be known."""

    def __init__(self, path: Path, pid: int | None, remedy: str, host: str = "") -> None:
        self.pid = pid
        holder = f"process {pid}" if pid else "another process"
        holder += f" on {host}" if host else ""
        super().__init__(f"in use by {holder}", where=str(path), remedy=remedy)


class JoinedLock:
    """Several locks that are taken and given back as one, in the order of their files.

    Who gets one of them and not another gives it back before waiting, so that nobody waits in a circle.

    Args:
        locks: of different files.
    """

    def __init__(self, locks: Sequence[FileLock]) -> None:
        self._locks = sorted(locks, key=lambda lock: lock.path)

    @property
    def paths(self) -> list[Path]:
        """The files of the locks, in order."""
        return [lock.path for lock in self._locks]

    @property
    def held(self) -> bool:
        """Whether this object holds all of them now."""
        return all(lock.held for lock in self._locks)

    def acquire(self) -> None:
        """Take all of them, or none; errors as `FileLock`."""
        try:
            for lock in self._locks:
                lock.acquire()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give them back."""
        for lock in reversed(self._locks):
            lock.release()


class FileLock:
    """A lock between processes on a file of its own, held while the block runs; the system frees it if we die.

    The file holds the process id of the last holder. It stays, unless its holder takes it away with `discard`.

    In a folder without `flock` a second file stands for the lock, "<name>.held", which only one can make. It names host
    and process; one whose process is gone is taken over on the same host, elsewhere it must be removed by hand.

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
        self._made: list[Path] = []
        self._mark = ""

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def paths(self) -> list[Path]:
        """Its file, listed as a `JoinedLock` lists its own."""
        return [self.path]

    @property
    def held(self) -> bool:
        """Whether this object holds the lock now."""
        return self._descriptor is not None

    @property
    def lock_file(self) -> Path:
        """The file that stands for the lock in a folder without `flock`."""
        return self.path.with_name(f"{self.path.name}.held")

    @property
    def by_file(self) -> bool:
        """Whether it is held by `lock_file`, since the folder has no `flock`."""
        return self.held and bool(self._mark)

    def acquire(self) -> None:
        """Take the lock; `with` does it by itself."""
        if self.held:
            raise RuntimeError(f"the lock {self.path} is taken twice by one object")
        give_up = None if self._timeout is None else time.monotonic() + self._timeout
        while not self.held:
            is_new = not paths.is_there(self.path)
            descriptor = -1
            try:
                self._made = [*make_folder(self.path.parent), *self._made]
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                self._take(descriptor, give_up)
                if _is_at(descriptor, self.path):
                    self._descriptor, descriptor = descriptor, -1
                elif self._mark:
                    self._mark = ""
                    self.lock_file.unlink(missing_ok=True)
            except OSError as error:
                if is_new and descriptor >= 0:
                    with contextlib.suppress(OSError):
                        self.path.unlink()
                remove_empty(self._made)
                raise as_explorer_error(error, self.path) from error
            finally:
                if descriptor >= 0:
                    os.close(descriptor)

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if not self._mark:
            # Unlocked by hand, since a forked child may still share the open file.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        elif self._mark == _own_mark():
            with contextlib.suppress(OSError):
                self.lock_file.unlink()
        self._mark = ""
        os.close(descriptor)

    def discard(self) -> None:
        """Take a lock that is held away with its file, and the folders that were made for it where they are empty."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.release()
        remove_empty(self._made)

    def holder(self) -> int | None:
        """The process that holds the lock at this instant; None where there is none, 0 where it cannot be named."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # Shared, so that two who look do not see each other.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(descriptor) or 0
        except OSError as error:
            return self._named(self._in_lock_file()) if error.errno in NO_FLOCK else None
        finally:
            os.close(descriptor)
        return None

    def is_taken(self) -> bool:
        """Whether another holds the lock at this instant."""
        return self.holder() is not None

    def _take(self, descriptor: int, give_up: float | None) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in NO_FLOCK and self._make_lock_file():
                    break
                if error.errno not in (*NO_FLOCK, errno.EAGAIN, errno.EWOULDBLOCK):
                    raise
                if give_up is not None and time.monotonic() >= give_up:
                    raise self._taken(descriptor, by_file=error.errno in NO_FLOCK) from None
            time.sleep(0.02)
        # Who holds it is a courtesy to the next one: a full disk must not stop a run that needs no more space.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def _taken(self, descriptor: int, *, by_file: bool) -> LockedError:
        if not by_file:
            return LockedError(self.path, _holder(descriptor), self._remedy)
        host, _, pid = self._in_lock_file().rpartition(" ")
        remedy = f"{self._remedy}; remove {self.lock_file.name} only where that process is gone"
        return LockedError(self.path, int(pid) if pid.isdigit() else None, remedy, host)

    def _make_lock_file(self) -> bool:
        """Make the file that stands for the lock, after taking away one whose process is gone; False where it is."""
        mark = _own_mark()
        for _ in range(2):
            try:
                descriptor = os.open(self.lock_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                left = self._in_lock_file()
                if left and self._named(left) is None:
                    self._remove_left(left)
                    continue
                return False
            try:
                os.write(descriptor, f"{mark}\n".encode())
            except BaseException:
                self.lock_file.unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)
            self._mark = mark
            return True
        return False

    def _remove_left(self, left: str) -> None:
        """Take away the file of a process that is gone, aside first: another may have done so and made its own."""
        aside = self.path.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(6)}")
        with contextlib.suppress(OSError):
            self.lock_file.rename(aside)
            if aside.read_text(encoding="utf-8", errors="replace").strip() != left:
                os.link(aside, self.lock_file)
            aside.unlink()

    def _in_lock_file(self) -> str:
        """Host and process that stand in it; empty where it is not there, or not written yet."""
        try:
            return self.lock_file.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def _named(self, mark: str) -> int | None:
        """The process of a lock file as `holder` gives it: None where it is gone, 0 where it is on another host."""
        host, _, pid = mark.rpartition(" ")
        if not mark and not self.lock_file.exists():
            return None
        if host != platform.node() or not pid.isdigit():
            return 0
        return int(pid) if is_alive(int(pid)) else None


def is_alive(pid: int) -> bool:
    """Whether a process of this host is there, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _own_mark() -> str:
    return f"{platform.node()} {os.getpid()}"


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has its name, so that nobody else can lock another of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
