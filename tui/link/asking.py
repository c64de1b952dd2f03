"""Questions about models: asked one at a time in a thread, of which only the newest of its kind matters or all do."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Asking:
    """A thread that runs tasks in order; daemonic, so that a long answer keeps no program from ending.

    Args:
        newest_only: whether a task that waits is dropped when a newer one comes.
    """

    def __init__(self, *, newest_only: bool) -> None:
        self._tasks: deque[Callable[[], None]] = deque(maxlen=1 if newest_only else None)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, task: Callable[[], None]) -> None:
        """Have a task run."""
        with self._changed:
            if self._closed:
                return
            self._tasks.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="link-asking", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Run no more tasks."""
        with self._changed:
            self._closed = True
            self._tasks.clear()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._tasks)
                if self._closed:
                    return
                task = self._tasks.popleft()
            task()
