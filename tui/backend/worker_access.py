"""The way to the worker: found, started where none lives, waited for where it is about to end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.worker.client import Client, WorkerGoneError, find_or_start_worker, find_worker
from srm_explorer.engine.worker.endpoint import here, is_alive
from srm_explorer.engine.worker.protocol import ENDED, JobState, Submit, WorkerState
from srm_explorer.engine.worker.spool import spool_job
from srm_explorer.tui.backend.events import WorkerSeen

LOOK = 0.5
"""Seconds between two looks at the worker: one that was killed is known in less than two."""


class WorkerConnector:
    """Leads threads to the worker until `closed` is set; of those who need one started, one starts it."""

    def __init__(self, closed: threading.Event) -> None:
        self._closed = closed
        self._one_starts = threading.Lock()
        self._waiting: set[int] = set()

    @property
    def is_starting(self) -> bool:
        return bool(self._waiting)

    def worker(self) -> Client:
        """Return a worker, though one of another version takes no work; ExplorerError where it does not start."""
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
        """Return a worker that takes work; ExplorerError where it does not start, or is of another version."""
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
        posted = None if _takes_work() else spool_job(here(), message)
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


NONE = WorkerSeen("no worker", 0, "none")
STARTING = WorkerSeen("starting", 0, "starting")
OLDER = "older version: W drains and restarts"


class WorkerWatcher:
    """Looks at the worker; a look costs one short conversation, and does not keep an idle worker from ending."""

    def __init__(self) -> None:
        self._endpoint = here()
        self._client: Client | None = None

    def look(self) -> WorkerSeen:
        """Return its state now; ExplorerError where the folder of sockets is not ours alone, or it does not answer."""
        if not is_alive(self._endpoint):
            self._client = None
            return NONE
        try:
            client = self._client or find_worker(self._endpoint)
            if client is not None and client.status().pid != client.welcome.pid:
                # Another took its place between two looks.
                client = find_worker(self._endpoint)
            self._client = client
            # Where its lock is held and nobody listens yet, it imports its libraries.
            return STARTING if client is None else _seen(client, client.status())
        except WorkerGoneError:
            self._client = None
            return STARTING if is_alive(self._endpoint) else NONE
        except ExplorerError:
            self._client = None
            raise


def _seen(client: Client, state: WorkerState) -> WorkerSeen:
    queue = sum(job.state not in ENDED for job in state.jobs)
    if client.welcome.limited:
        return WorkerSeen(OLDER, queue, "older")
    model = Path(state.model).name if state.model else ""
    words = f"warm {model} · {state.device}" if model else "warm"
    if state.errand:
        progress = Progress.from_dict(state.errand_progress)
        share = f" {progress.share:.0%}" if progress is not None and progress.share else ""
        return WorkerSeen(f"working: {state.errand}{share}", queue, "busy", state.errand, progress)
    if state.draining:
        return WorkerSeen(f"{words}, ending", queue, "draining")
    return WorkerSeen(words, queue, "busy" if queue else "warm")
