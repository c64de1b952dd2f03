"""What the doctor says of the worker, and of what may end it."""

from __future__ import annotations

import getpass
import os

from engine.errors import ExplorerError
from engine.runner.client import find_worker
from engine.runner.endpoint import LONGEST_PATH, here, is_alive
from engine.runner.journal_reader import writer_pid
from engine.runner.registry import known_runs
from engine.runner.wire import ENDED
from tui.cli.finding import Finding
from tui.cli.logout import at_logout
from tui.cli.output import count


def worker_findings() -> list[Finding]:
    """Tell the worker's state, where it is reached, what would end it, and the runs it may be needed for."""
    return [_worker(), _socket(), _runs(), Finding("logout", at_logout(_user()))]


def _worker() -> Finding:
    endpoint = here()
    try:
        client = find_worker(endpoint)
        if client is None:
            told = "starting" if is_alive(endpoint) else "none lives; the full screen starts one"
            return Finding("worker", told)
        state = client.status()
    except ExplorerError as error:
        # Locks of devices lie in the same folder: without it no experiment runs.
        return Finding("worker", str(error), problem=True)
    waiting = sum(job.state not in ENDED for job in state.jobs)
    parts = [
        f"process {state.pid}",
        f"{state.model} warm on {state.device}" if state.model else "no model loaded",
        count(waiting, "job") if waiting else "idle",
        *(["of another version: `srm-explorer worker restart`"] if client.welcome.limited else []),
        *(["about to end"] if state.draining else []),
    ]
    return Finding("worker", " · ".join(parts))


def _socket() -> Finding:
    endpoint = here()
    length = len(os.fsencode(endpoint.socket))
    told = f"{endpoint.socket}"
    if length > LONGEST_PATH:
        told += f": {length} bytes are too long for a socket; set TMPDIR to a shorter folder, such as /tmp"
    return Finding("socket", told)


def _runs() -> Finding:
    folders = known_runs()
    alive = sum(writer_pid(folder) is not None for folder in folders)
    left = len(folders) - alive
    told = f"{alive} under way, {left} unfinished" if folders else "none under way or unfinished"
    return Finding("runs", f"{told}; the full screen offers to resume them" if left else told)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
