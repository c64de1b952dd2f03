"""Writing a draft soon after it changed, off the screen's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.errors import ExplorerError

SOON = 0.2
"""Seconds after the first unsaved change; what comes in between is written with it."""


class Saver:
    """Writes the newest of what it is given, and tells when that fails.

    Args:
        write: writes content; raises ExplorerError.
        failed: takes the error, in the saver's thread; called once until a write succeeds again.
    """

    def __init__(self, write: Callable[[bytes], None], failed: Callable[[ExplorerError], None]) -> None:
        self._write, self._failed = write, failed
        self._waiting: bytes | None = None
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._ended = False
        self._told = False
        self._thread: threading.Thread | None = None

    def mark(self, content: bytes) -> None:
        """Have this written within `SOON`."""
        with self._changed:
            self._waiting = content
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="draft saver", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> str:
        """Write what waits, now; return why it could not be written, empty where it was."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        return self._flush()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._ended)
                if not self._ended:
                    self._changed.wait_for(lambda: self._ended, timeout=SOON)
                if self._ended:
                    return
            self._flush()

    def _flush(self) -> str:
        with self._writing:
            with self._changed:
                content, self._waiting = self._waiting, None
            if content is None:
                return ""
            try:
                self._write(content)
            except ExplorerError as error:
                if not self._told:
                    self._told = True
                    self._failed(error)
                return str(error)
            self._told = False
            return ""
