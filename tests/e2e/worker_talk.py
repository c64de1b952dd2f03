"""Talking to a worker, as the tests of several files do."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

from srm_explorer.engine.session import Session
from srm_explorer.engine.worker.client import Client, find_worker, submission
from srm_explorer.engine.worker.protocol import JobState, read_reply
from tests.waiting import PATIENCE, until

from .conftest import Bench
from .warm import WarmProcess

SHORT = ("generation.tokens=4",)
LONG = ("generation.tokens=40",)
"""Several batches; where something is done in their middle, the test holds them there."""


def submit(client: Client, bench: Bench, name: str, *overrides: str) -> str:
    return client.submit(submission(bench.experiment(*overrides), bench.folder, bench.session_path(name))).job.job


def states(client: Client, job: str) -> list[JobState]:
    return [state for state in client.follow(job) if state is not None]


def when_batches(client: Client, job: str, runs: int = 1) -> None:
    """Wait until a job has finished some runs."""
    for state in client.follow(job):
        assert state is not None
        assert state.state in ("queued", "running"), state
        if state.progress and state.progress["runs_done"] >= runs:
            return


def gone(client: Client, seconds: float = PATIENCE) -> bool:
    return client.wait_until_gone(seconds) and find_worker() is None


def without_time(session: Session) -> dict[str, Any]:
    provenance = json.loads(json.dumps(session.provenance))
    del provenance["self_test"]["seconds"]
    return provenance


def start_line(bench: Bench, name: str, *overrides: str) -> WarmProcess:
    sets = [part for one in overrides for part in ("--set", one)]
    return bench.start(*bench.command(name, *sets))


def job_of(client: Client, bench: Bench, name: str) -> str:
    path = str(bench.session_path(name))
    return until(lambda: next((job.job for job in client.jobs() if job.session == path), ""), "what the line submits")


@contextlib.contextmanager
def raw(client: Client) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as talk:
        talk.settimeout(PATIENCE)
        talk.connect(str(client.endpoint.socket))
        yield talk


def answers(talk: socket.socket, count: int) -> list[Any]:
    whole = b""
    while whole.count(b"\n") < count:
        more = talk.recv(65536)
        assert more, whole
        whole += more
    return [read_reply(line) for line in whole.splitlines()[:count]]
