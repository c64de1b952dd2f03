"""The way to the worker: found, started where none lives, waited for where it is about to end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.errors import ExplorerError
from engine.runner.client import Client, WorkerGoneError, find_worker
from engine.runner.endpoint import here
from engine.runner.post import post
from engine.runner.starting import find_or_start_worker
from engine.runner.wire import ENDED, JobState, Submit

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

    def taking_worker(self) -> Client:
        """Return a worker that takes work.

        Raises:
            ExplorerError: it does not start, or is of another version.
        """
        client = self.worker()
        if client.welcome.limited:
            raise ExplorerError("the worker is of another version", remedy="W lets it finish and starts a new one")
        return client

    def submit(self, message: Submit, is_wanted: Callable[[], bool]) -> tuple[JobState, bool, Client] | None:
        """Submit something to a worker; one that must be started has it also if we end before it listens.

        Args:
            message: what `submission` made.
            is_wanted: asked once there is a worker.

        Returns:
            the job, whether somebody else had asked for it, and the worker; None where it was not wanted any more.

        Raises:
            ExplorerError: the worker does not start, is of another version, or refuses.
        """
        posted = None if _takes_work() else post(here(), message)
        try:
            client = self.taking_worker()
            if posted is not None and not posted.withdraw():
                taken = next((job for job in client.status().jobs if job.session == message.session), None)
                if taken is not None:
                    return taken, False, client
            if not is_wanted():
                return None
            try:
                accepted = client.submit(message)
            except WorkerGoneError:
                # It was idle for too long, just now.
                client = self.worker()
                accepted = client.submit(message)
        finally:
            # Whoever closed the link leaves it for the worker that is starting.
            if posted is not None and not self._closed.is_set():
                posted.withdraw()
        return accepted.job, accepted.joined, client

    def is_busy(self) -> bool:
        """Whether there is a worker that has jobs which run or wait, or that is of another version."""
        try:
            client = find_worker()
            if client is None or client.welcome.limited:
                return client is not None
            return any(job.state not in ENDED for job in client.status().jobs)
        except ExplorerError:
            return False


def _takes_work() -> bool:
    client = find_worker()
    return client is not None and not client.welcome.limited and not _ends(client)


def _ends(client: Client) -> bool:
    try:
        return client.status().draining
    except WorkerGoneError:
        return True
