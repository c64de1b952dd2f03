"""The screen's line to the worker, and to runs that go on without one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from engine import paths
from engine.errors import ExplorerError
from engine.runner.client import Client, WorkerGoneError, find_worker
from engine.runner.journal_reader import JournalReader
from engine.runner.model_table import read_model
from engine.runner.starting import find_or_start_worker
from engine.runner.wire import ENDED, Accepted
from engine.spec import Experiment
from tui.link.asking import Asking
from tui.link.events import (
    Described,
    DescribeFailed,
    FoundRun,
    LinkEvent,
    QueueSeen,
    RunEnded,
    RunFailed,
    RunsFound,
    Said,
    Submitted,
    Tokenized,
    WorkerSeen,
)
from tui.link.follower import Follower
from tui.link.found import Finder
from tui.link.watcher import NONE, STARTING, Watcher

LOOK = 0.5
"""Seconds between two looks at the worker: one that was killed is known in less than two."""

_TEXTS = 1000
"""Texts whose tokens are counted at a time, so that a message stays small."""


class WorkerLink:
    """Has experiments run by the worker, follows runs, and tells what happens; no call waits for anything.

    Args:
        tell: takes every event, in threads of the link.
    """

    def __init__(self, tell: Callable[[LinkEvent], None]) -> None:
        self._tell_screen = tell
        self._closed = threading.Event()
        self._start_one = threading.Lock()
        self._waiting_for_start: set[int] = set()
        self._followers: dict[Path, Follower] = {}
        self._describing = Asking(newest_only=True)
        self._counting = Asking(newest_only=False)
        self._unanswered: Callable[[], None] | None = None

    def open(self) -> None:
        """Begin to watch: tells `WorkerSeen` and `RunsFound`, at first and whenever they change."""
        self._in_thread(self._watch)

    def close(self) -> None:
        """Tell nothing more; the worker and its runs go on."""
        self._closed.set()
        self._describing.close()
        self._counting.close()
        for follower in list(self._followers.values()):
            follower.stop()

    def describe(self, model: dict[str, Any], base: Path) -> None:
        """Ask for a model's shape, which loads it; tells `Described` or `DescribeFailed`.

        Where the worker is busy with another model, it tells the failure and asks again once the queue is empty. A
        question that still waits when a newer one comes is dropped.
        """

        def ask() -> None:
            self._unanswered = None
            try:
                client = self._worker()
                self._tell(Described(model, client.describe(read_model(model), base)))
            except ExplorerError as error:
                if self._is_busy():
                    self._unanswered = ask
                self._tell(DescribeFailed(model, error))

        self._describing.put(ask)

    def count_tokens(
        self, model: dict[str, Any], base: Path, texts: Sequence[str], prepend_bos: bool | Literal["auto"] = "auto"
    ) -> None:
        """Ask how many tokens texts have; tells `Tokenized`, in parts where there are many, or `Said` what is wrong."""
        wanted = tuple(dict.fromkeys(texts))

        def ask() -> None:
            try:
                client = self._worker()
                spec = read_model(model)
                for start in range(0, len(wanted), _TEXTS):
                    part = wanted[start : start + _TEXTS]
                    tokens = client.tokenize(spec, base, part, prepend_bos)
                    self._tell(Tokenized({text: len(ids) for text, ids in zip(part, tokens.ids, strict=True)}))
            except ExplorerError as error:
                self._tell(Said(f"tokens are not counted: {error}"))

        self._counting.put(ask)

    def submit(self, experiment: Experiment, base: Path, session: Path, restart: bool = False) -> None:
        """Have an experiment run, and follow it; tells `Submitted` and how it goes on, or `RunFailed`."""
        follower = self._follower(session)
        self._in_thread(lambda: self._run(follower, experiment, base, restart))

    def follow(self, session: Path) -> None:
        """Follow a run that others have begun; tells `RunGrew`, then `RunEnded`, `WorkerLost` or `RunLost`."""
        follower = self._follower(session)

        def follow() -> None:
            try:
                client = find_worker()
                jobs = client.status().jobs if client else ()
            except ExplorerError:
                # The folder tells what there is, whatever is wrong with the worker.
                client, jobs = None, ()
            job = next((job for job in jobs if job.session == str(session) and job.state not in ENDED), None)
            if client is not None and job is not None:
                follower.follow_job(client, job.job)
            else:
                follower.follow_folder()

        self._in_thread(follow)

    def resume(self, session: Path) -> None:
        """Go on with an interrupted run, as its folder has it; tells what `submit` tells."""
        follower = self._follower(session)

        def resume() -> None:
            try:
                journal = JournalReader(paths.run_folder(session))
                base = Path(str(journal.extra["provenance"]["base"]))
            except ExplorerError as error:
                self._tell(RunFailed(error, session))
            except (KeyError, TypeError):
                error = ExplorerError("this is not what was written", where=session.stem, remedy="run it anew")
                self._tell(RunFailed(error, session))
            else:
                self._run(follower, journal.experiment, base, restart=False)

        self._in_thread(resume)

    def cancel(self, times: Literal[1, 2] = 1, session: Path | None = None) -> None:
        """Stop a run: once, after its batch; twice, now.

        Args:
            times: how urgent it is.
            session: which run; None is the one that was asked for last.
        """
        path = session or next(reversed(self._followers), None)
        follower = self._followers.get(path) if path else None
        if follower is None:
            self._tell(Said("there is no run to cancel"))
            return

        def cancel() -> None:
            try:
                follower.cancel(times)
            except ExplorerError as error:
                self._tell(RunFailed(error, path))

        self._in_thread(cancel)

    def prune(self, job: str) -> None:
        """Take a waiting job off the queue; tells `QueueSeen`."""

        def prune() -> None:
            if (client := find_worker()) is not None:
                client.prune(job)
                self._tell(QueueSeen(client.status().jobs))

        self._in_thread(lambda: self._said(prune))

    def queue(self) -> None:
        """Ask for the worker's jobs; tells `QueueSeen`."""

        def look() -> None:
            client = find_worker()
            self._tell(QueueSeen(client.status().jobs if client else ()))

        self._in_thread(lambda: self._said(look))

    def drain_and_restart(self) -> None:
        """Have the worker finish its queue and end, then start a new one."""

        def drain() -> None:
            if (client := find_worker()) is not None:
                client.drain()
                self._tell(Said("the worker finishes its queue, then a new one starts"))
                while not client.wait_until_gone(LOOK):
                    if self._closed.is_set():
                        return
            self._worker()

        self._in_thread(lambda: self._said(drain))

    def _watch(self) -> None:
        watcher, finder = Watcher(), Finder()
        seen: WorkerSeen | None = None
        found: tuple[FoundRun, ...] | None = None
        wrong = ""
        while not self._closed.is_set():
            try:
                now = watcher.look()
            except ExplorerError as error:
                now = NONE
                if str(error) != wrong:
                    wrong = str(error)
                    self._tell(Said(wrong))
            now = STARTING if now == NONE and self._waiting_for_start else now
            if now != seen:
                seen = now
                self._tell(now)
            if now.kind == "warm" and (again := self._unanswered) is not None:
                self._unanswered = None
                self._describing.put(again)
            runs = finder.look()
            if found is None or {(run.path, run.alive) for run in runs} != {(run.path, run.alive) for run in found}:
                found = runs
                self._tell(RunsFound(runs))
            self._closed.wait(LOOK)

    def _run(self, follower: Follower, experiment: Experiment, base: Path, restart: bool) -> None:
        try:
            accepted, client = self._submit(experiment, base, follower, restart)
        except ExplorerError as error:
            self._tell(RunFailed(error, follower.path))
            return
        if accepted is None:
            told = ("stopped before it was begun",)
            self._tell(RunEnded(follower.path, None, "interrupted", told))
            return
        self._tell(Submitted(accepted.job.job, follower.path, accepted.joined))
        follower.follow_job(client, accepted.job.job, anew=restart)

    def _submit(
        self, experiment: Experiment, base: Path, follower: Follower, restart: bool
    ) -> tuple[Accepted | None, Client]:
        tries = 2
        while True:
            client = self._worker()
            if client.welcome.limited:
                raise ExplorerError("the worker is of another version", remedy="drain and restart it (W)")
            if follower.wishes:
                return None, client
            try:
                return client.submit(experiment, base, follower.path, restart=restart), client
            except WorkerGoneError:
                # It was idle for too long, just now.
                tries -= 1
                if not tries:
                    raise

    def _worker(self) -> Client:
        """Return a worker that takes work, started if need be; one that is about to end is waited for."""
        self._waiting_for_start.add(threading.get_ident())
        try:
            with self._start_one:
                client = find_or_start_worker()
                while not client.welcome.limited and client.status().draining and not self._closed.is_set():
                    client.wait_until_gone(LOOK)
                    client = find_or_start_worker()
                return client
        finally:
            self._waiting_for_start.discard(threading.get_ident())

    def _is_busy(self) -> bool:
        try:
            client = find_worker()
            return client is not None and any(job.state not in ENDED for job in client.status().jobs)
        except ExplorerError:
            return False

    def _follower(self, session: Path) -> Follower:
        """Make the one that follows a run from now on, the latest of all."""
        old = self._followers.pop(session, None)
        if old is not None:
            old.stop()
        follower = self._followers[session] = Follower(session, self._tell)
        return follower

    def _said(self, task: Callable[[], None]) -> None:
        try:
            task()
        except ExplorerError as error:
            self._tell(Said(str(error)))

    def _in_thread(self, task: Callable[[], None]) -> None:
        threading.Thread(target=task, name="link", daemon=True).start()

    def _tell(self, event: LinkEvent) -> None:
        if not self._closed.is_set():
            self._tell_screen(event)
