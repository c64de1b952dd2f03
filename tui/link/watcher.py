"""What state the worker is in, looked at now and then."""

from __future__ import annotations

from pathlib import Path

from engine.errors import ExplorerError
from engine.runner.client import Client, WorkerGoneError, find_worker
from engine.runner.endpoint import here, is_alive
from engine.runner.progress import Progress
from engine.runner.wire import ENDED, WorkerState
from tui.link.events import WorkerSeen

NONE = WorkerSeen("no worker", 0, "none")
STARTING = WorkerSeen("starting", 0, "starting")
OLDER = "older version: W drains and restarts"


class Watcher:
    """Looks at the worker; a look costs one short conversation, and does not keep an idle worker from ending."""

    def __init__(self) -> None:
        self._endpoint = here()
        self._client: Client | None = None

    def look(self) -> WorkerSeen:
        """Return its state as it is now.

        Raises:
            ExplorerError: the folder of sockets is not ours alone, or the worker does not answer.
        """
        if not is_alive(self._endpoint):
            self._client = None
            return NONE
        try:
            self._client = self._client or find_worker(self._endpoint)
            # Its lock is held and nobody listens yet: it imports its libraries.
            return STARTING if self._client is None else _seen(self._client, self._client.status())
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
        return WorkerSeen(f"working: {state.errand}{share}", queue, "busy")
    if state.draining:
        return WorkerSeen(f"{words}, ending", queue, "draining")
    return WorkerSeen(words, queue, "busy" if queue else "warm")
