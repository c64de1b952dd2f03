"""Notes as they are typed, kept in the state folder until they are saved."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path

from engine import paths
from engine.files import FileLock, LockedError

PLACES = 9
"""Screens that may write notes on one session at once."""


class NotesDraft:
    """What was typed and not saved: a file for each screen, which the next one takes over when that screen is gone.

    Attributes:
        text: what an earlier screen left; None where it left nothing.

    Args:
        session: the session's .json file.

    Raises:
        ExplorerError: the state folder cannot be written, or too many screens write notes on this session.
    """

    def __init__(self, session: Path) -> None:
        folder = paths.state_folder() / "notes"
        stem = hashlib.sha256(os.fsencode(session.absolute())).hexdigest()[:16]
        self.text: str | None = None
        held: list[tuple[FileLock, Path]] = []
        try:
            for place in range(1, PLACES + 1):
                lock = FileLock(folder / f"{stem}-{place}.lock", remedy="close one of them")
                try:
                    lock.acquire()
                except LockedError:
                    if place == PLACES and not held:
                        raise
                    continue
                held.append((lock, folder / f"{stem}-{place}.md"))
                # The first place that is free, unless a later one holds what a killed screen has left.
                if held[-1][1].is_file() or not (folder / f"{stem}-{place + 1}.lock").exists():
                    break
            chosen = next((one for one in reversed(held) if one[1].is_file()), held[0])
        except BaseException:
            for lock, _ in held:
                lock.release()
            raise
        for lock, _ in held:
            if lock is not chosen[0]:
                lock.release()
        self._lock, self._file = chosen
        with contextlib.suppress(OSError, UnicodeDecodeError):
            self.text = self._file.read_text("utf-8")
        self._waiting: str | None = None
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="notes", daemon=True)
        self._thread.start()

    def keep(self, text: str) -> None:
        """Write this at once, in a thread; it survives a killed program."""
        with self._changed:
            self._waiting = text
            self._changed.notify_all()

    def forget(self) -> None:
        """Remove the draft: it is saved."""
        with self._writing:
            with self._changed:
                self._waiting = None
            with contextlib.suppress(OSError):
                self._file.unlink()

    def close(self) -> None:
        """Write what waits and let another screen have the place."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=1)
        self._lock.release()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                if self._waiting is None:
                    return
            with self._writing:
                with self._changed:
                    text, self._waiting = self._waiting, None
                if text is not None:
                    self._write(text)

    def _write(self, text: str) -> None:
        # Not synced: it must outlive this process, not the machine, and it is written at every key.
        draft = self._file.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            draft.write_text(text, "utf-8", errors="replace", newline="")
            draft.replace(self._file)
