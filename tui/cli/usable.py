"""The living worker, where it can take what a command asks for."""

from __future__ import annotations

from engine.runner.client import Client, find_worker
from engine.runner.wire import ENDED
from tui.cli.watch import Watch


def usable_worker(watch: Watch, *, free: bool = False) -> Client | None:
    """Find the worker; None where there is none, and with a line that says why where it takes nothing.

    Args:
        watch: says it.
        free: whether it must have no experiment to run either, since a study would wait for that.

    Raises:
        ExplorerError: it is there and does not answer.
    """
    worker = find_worker()
    if worker is None:
        return None
    why = ""
    if worker.welcome.limited:
        why = "is of another version (`srm-explorer worker restart` replaces it)"
    else:
        state = worker.status()
        if state.draining:
            why = "is about to end"
        elif free and any(job.state not in ENDED for job in state.jobs):
            why = "runs an experiment"
    if why:
        watch.say(f"the worker (process {worker.welcome.pid}) {why}; running in this process")
    return None if why else worker
