"""A screen as far as its link can tell: it keeps what it is told."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from srm_explorer.engine.worker.client import find_worker
from srm_explorer.tui.backend.events import LinkEvent, RunGrew
from srm_explorer.tui.backend.link import WorkerLink
from tests.waiting import PATIENCE

from .warm import WarmServer

SHORT, LONG = "generation.tokens=4", "generation.tokens=40"
E = TypeVar("E")


class Screen:
    """Keeps what a link tells."""

    def __init__(self) -> None:
        self.told: list[LinkEvent] = []
        self._changed = threading.Condition()
        self.link = WorkerLink(self.take)

    def take(self, event: LinkEvent) -> None:
        with self._changed:
            self.told.append(event)
            self._changed.notify_all()

    def wait(self, kind: type[E], fits: Callable[[E], bool] = lambda _: True, seconds: float = PATIENCE) -> E:
        """The first event of a kind, told already or to come."""

        def found() -> E | None:
            return next((one for one in self.told if isinstance(one, kind) and fits(one)), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, seconds), self.told[-5:]
            event = found()
        assert event is not None
        return event

    def all(self, kind: type[E]) -> list[E]:
        return [one for one in self.told if isinstance(one, kind)]


def worker_pid() -> int:
    client = find_worker()
    assert client is not None
    return client.welcome.pid


def workers(server: WarmServer) -> set[int]:
    """The living workers of this environment, forked from warm libraries or started by a program."""
    pids = server.workers(tempfile.gettempdir())
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"srm_explorer.engine.worker" in words and f"TMPDIR={tempfile.gettempdir()}".encode() in (
                process / "environ"
            ).read_bytes().split(b"\0"):
                pids.add(int(process.name))
    return pids


def is_partial(event: RunGrew) -> bool:
    return event.session is not None and event.session.state == "interrupted"


def end_the_worker() -> None:
    """Have none live."""
    client = find_worker()
    if client is not None:
        client.stop()
        assert client.wait_until_gone(PATIENCE)
