"""What is edited, kept on disk as it is edited."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background

SOON = 0.2
"""Seconds from the first change that is not written; what comes in between is written with it."""

T = TypeVar("T")


class AutoSaver(Generic[T]):
    """Writes the newest of what it is given, in threads, and tells when that fails.

    Args:
        write: writes content; raises ExplorerError.
        failed: takes the error, in the thread that writes; called once until a write succeeds again.
        delay: seconds from the first change to its write.
    """

    def __init__(
        self, write: Callable[[T], None], failed: Callable[[ExplorerError], object], delay: float = SOON
    ) -> None:
        self._write, self._failed, self._delay = write, failed, delay
        self._background = Background()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: list[T] = []
        self._is_due = False
        self._closed = threading.Event()
        self._has_failed = False

    def save(self, content: T) -> None:
        """Have this written soon."""
        with self._lock:
            self._waiting = [content]
            begins, self._is_due = not self._is_due and not self._closed.is_set(), True
        if begins:
            self._background.run(self._write_soon)

    def drop(self, also: Callable[[], object]) -> None:
        """Write what waits no more, and do something while nothing is being written."""
        with self._writing:
            with self._lock:
                self._waiting = []
            also()

    def close(self) -> str:
        """Write what waits, now; return why it could not be written, empty where it was."""
        self._closed.set()
        return self._flush()

    def _write_soon(self) -> None:
        self._closed.wait(self._delay)
        self._flush()

    def _flush(self) -> str:
        with self._writing:
            with self._lock:
                waiting, self._waiting, self._is_due = self._waiting, [], False
            for content in waiting:
                try:
                    self._write(content)
                except ExplorerError as error:
                    if not self._has_failed:
                        self._has_failed = True
                        self._failed(error)
                    return str(error)
                self._has_failed = False
            return ""
