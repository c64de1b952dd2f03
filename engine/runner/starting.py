"""Starting the worker where none lives."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

from engine.errors import ExplorerError
from engine.files import as_explorer_error
from engine.runner.client import Client, find_worker
from engine.runner.endpoint import Endpoint, here, make_folder
from engine.runner.worker_log import last_lines

PATIENCE = 180.0
"""Seconds a worker may take to start, on a slow disk."""


def find_or_start_worker(*, idle_exit: float | None = None, patience: float = PATIENCE) -> Client:
    """Return the worker of this environment, started if there is none; of two who start one at once, one does.

    Args:
        idle_exit: seconds without work after which a worker started here ends; 30 minutes by default.
        patience: seconds to wait for it.

    Raises:
        ExplorerError: it does not start; the last line of its log is in the message.
    """
    endpoint = here()
    make_folder(endpoint.folder)
    until = time.monotonic() + patience
    while True:
        client = find_worker(endpoint)
        if client is not None:
            return client
        left = until - time.monotonic()
        if left <= 0:
            raise _not_started(endpoint, "it does not answer")
        _start(endpoint, idle_exit, left)
        time.sleep(0.05)


def child_environment() -> dict[str, str]:
    """Our own, with a path on which a child finds this same program from another working folder."""
    root = Path(__file__).resolve().parents[2]
    search = [str(Path(one).absolute()) for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    if root.name not in ("site-packages", "dist-packages") and str(root) not in search:
        search.insert(0, str(root))
    return {**os.environ, **({"PYTHONPATH": os.pathsep.join(search)} if search else {})}


def _start(endpoint: Endpoint, idle_exit: float | None, seconds: float) -> None:
    """Start a process and wait for its first line; one that finds another at the place ends by itself."""
    command = [sys.executable, "-P", "-m", "engine.runner.worker"]
    command += [] if idle_exit is None else ["--idle", str(idle_exit)]
    try:
        endpoint.log.parent.mkdir(parents=True, exist_ok=True)
        log = endpoint.log.open("ab")
    except OSError as error:
        raise as_explorer_error(error, endpoint.log) from error
    with log:
        told_before = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            env=child_environment(),
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout:
        readable, _, _ = select.select([process.stdout], [], [], seconds)
        word = process.stdout.readline() if readable else b""
    if not readable:
        process.terminate()
        raise _not_started(endpoint, f"not ready after {seconds:.0f} s")
    if not word:
        status = process.wait()
        silent = endpoint.log.stat().st_size <= told_before if endpoint.log.exists() else True
        # What stands in the log from an earlier worker is no reason why this one ended.
        lines = [] if silent else last_lines(endpoint.log, 1)
        ended = f"signal {-status} ended it" if status < 0 else "it said nothing"
        raise _not_started(endpoint, (lines or [ended])[0])


def _not_started(endpoint: Endpoint, why: str) -> ExplorerError:
    what = f"the worker did not start: {why}"
    return ExplorerError(what, where=str(endpoint.log), remedy="run `srm-explorer doctor`")
