"""The way to the worker: found, started where none lives, waited for where it is about to end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.errors import ExplorerError
from engine.runner.client import Client, WorkerGoneError, find_worker
from engine.runner.starting import find_or_start_worker
from engine.runner.wire import ENDED, Accepted

LOOK = 0.5
"""Seconds between two looks at the worker: one that was killed is known in less than two."""


class Access:
    """Leads any thread of a link to the worker; of those who need one started, one starts it.

    Args:
        closed: set when nobody waits any more.
    """

    def __init__(self, closed: threading.Event) -> None:
        self._closed = closed
        self._one_starts = threading.Lock()
        self._waiting: set[int] = set()

    @property
    def is_starting(self) -> bool:
        """Whether somebody waits for a worker."""
        return bool(self._waiting)

    def worker(self) -> Client:
        """Return a worker that takes work, or one of another version, which takes none.

        Raises:
            ExplorerError: it does not start.
        """
        self._waiting.add(threading.get_ident())
        try:
            with self._one_starts:
                client = find_or_start_worker()
                while not self._closed.is_set() and not client.welcome.limited and _ends(client):
                    client.wait_until_gone(LOOK)
                    client = find_or_start_worker()
                return client
        finally:
            self._waiting.discard(threading.get_ident())

    def submit(
        self, is_wanted: Callable[[], bool], submit: Callable[[Client], Accepted]
    ) -> tuple[Accepted, Client] | None:
        """Submit something to a worker; None where it is not wanted any more once there is one.

        Raises:
            ExplorerError: the worker does not start, is of another version, or refuses.
        """
        tries = 2
        while True:
            client = self.worker()
            if client.welcome.limited:
                raise ExplorerError("the worker is of another version", remedy="drain and restart it (D)")
            if not is_wanted():
                return None
            try:
                return submit(client), client
            except WorkerGoneError:
                # It was idle for too long, just now.
                tries -= 1
                if not tries:
                    raise

    def is_busy(self) -> bool:
        """Whether a worker has jobs that run or wait."""
        try:
            client = find_worker()
            return client is not None and any(job.state not in ENDED for job in client.status().jobs)
        except ExplorerError:
            return False


def _ends(client: Client) -> bool:
    try:
        return client.status().draining
    except WorkerGoneError:
        return True
