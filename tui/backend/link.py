"""The screen's line to the worker, and to runs that go on without one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.fields import Bos
from srm_explorer.engine.prompts import Turns
from srm_explorer.engine.runs.journal_reader import JournalReader
from srm_explorer.engine.worker.client import find_worker, submission
from srm_explorer.engine.worker.protocol import ENDED
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.backend.events import (
    FoundRun,
    LinkEvent,
    QueueSeen,
    RunEnded,
    RunFailed,
    RunsFound,
    Said,
    Submitted,
    WorkerSeen,
)
from srm_explorer.tui.backend.model_questions import ModelQuestions
from srm_explorer.tui.backend.run_follower import RunFinder, RunFollower
from srm_explorer.tui.backend.worker_access import LOOK, NONE, STARTING, WorkerConnector, WorkerWatcher


class WorkerLink:
    """Has experiments run by the worker, follows runs, and tells events in its threads; no call waits for anything."""

    def __init__(self, tell: Callable[[LinkEvent], object]) -> None:
        self._tell_screen = tell
        self._closed = threading.Event()
        self._followers: dict[Path, RunFollower] = {}
        self._connector = WorkerConnector(self._closed)
        self._background = Background()
        self._questions = ModelQuestions(self._connector, self._background, self._tell)

    def open(self) -> None:
        """Begin to watch: tells `WorkerSeen` and `RunsFound`, at first and whenever they change."""
        self._background.run(self._watch)

    def close(self) -> None:
        """Tell nothing more; the worker and its runs go on."""
        self._closed.set()
        for follower in list(self._followers.values()):
            follower.stop()
        self._background.close(is_last=True)

    def describe(self, model: dict[str, Any], base: Path) -> None:
        """Ask for a model's shape, which loads it; tells `Described` or `DescribeFailed`.

        Where the worker is busy with another model, it tells the failure and asks again once the queue is empty. A
        question that still waits when a newer one comes is dropped.
        """
        self._questions.describe(model, base)

    def tokenize(
        self,
        model: dict[str, Any],
        base: Path,
        texts: Sequence[str | Turns],
        prepend_bos: Bos = "auto",
        *,
        chat_template: bool = False,
        system: str | None = None,
        tag: Hashable = None,
    ) -> None:
        """Ask for the tokens of prompts; tells `Tokenized`, in parts if they are many, and `Said` what is wrong."""
        self._questions.tokenize(model, base, texts, prepend_bos, chat_template, system, tag)

    def study(
        self,
        name: str,
        session: str,
        model: Mapping[str, Any],
        arguments: Mapping[str, Any],
        base: Path,
        tag: object = None,
    ) -> None:
        """Have a study done that needs a model; tells `Studied` or `StudyFailed`, with the tag.

        One of the same study that is under way, or waits, is given up. Where the worker runs an experiment, it tells
        the failure and asks again once the queue is empty.

        Args:
            name: as `srm_explorer.engine.analyses` lists it.
            session: path of the session it is about; empty where it is about a model alone.
            model: the `[model]` table; empty for the session's own.
            arguments: plain data, as the study takes it.
            base: the folder that relative paths start from.
            tag: comes back with the answer.
        """
        self._questions.study(name, session, model, arguments, base, tag)

    def stop_study(self, name: str) -> None:
        """Give up a study that is under way or waits; nothing more is told of it."""
        self._questions.end_study(name)

    def submit(self, experiment: Experiment, base: Path, session: Path, restart: bool = False) -> None:
        """Have an experiment run, and follow it; tells `Submitted` and how it goes on, or `RunFailed`."""
        follower = self._follower(session)
        self._background.run(lambda: self._run(follower, experiment, base, restart=restart))

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

        self._background.run(follow)

    def resume(self, session: Path) -> None:
        """Go on with an interrupted run, as its folder has it; tells what `submit` tells."""
        follower = self._follower(session)

        def resume() -> None:
            try:
                journal = JournalReader(paths.run_folder(session))
                base = journal.start.base
                if base is None:
                    raise ExplorerError("this is not what was written", where=session.stem, remedy="run it anew")
            except ExplorerError as error:
                self._tell(RunFailed(error, session))
            else:
                folder = Path(journal.start.folder) if journal.start.folder else None
                self._run(follower, journal.experiment, base, folder=folder if folder and folder.is_dir() else None)

        self._background.run(resume)

    def cancel(self, times: Literal[1, 2] = 1, session: Path | None = None) -> None:
        """Stop a run, by default the one that was asked for last: once, after its batch; twice, now."""
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

        self._background.run(cancel)

    def prune(self, job: str) -> None:
        """Take a waiting job off the queue; tells `QueueSeen`."""

        def prune() -> None:
            if (client := find_worker()) is not None:
                client.prune(job)
                self._tell(QueueSeen(client.status().jobs))

        self._background.run(prune, self._report)

    def queue(self) -> None:
        """Ask for the worker's jobs; tells `QueueSeen`."""

        def look() -> None:
            client = find_worker()
            self._tell(QueueSeen(client.status().jobs if client else ()))

        self._background.run(look, self._report)

    def drain_and_restart(self) -> None:
        """Have the worker finish its queue and end, then start a new one."""

        def drain() -> None:
            if (client := find_worker()) is not None:
                client.drain()
                self._tell(Said("the worker finishes its queue, then a new one starts"))
                while not client.wait_until_gone(LOOK):
                    if self._closed.is_set():
                        return
            self._connector.worker()

        self._background.run(drain, self._report)

    def _watch(self) -> None:
        watcher, finder = WorkerWatcher(), RunFinder()
        seen: WorkerSeen | None = None
        known: tuple[FoundRun, ...] | None = None
        wrong = ""
        while not self._closed.is_set():
            try:
                now = watcher.look()
            except ExplorerError as error:
                now = NONE
                if str(error) != wrong:
                    wrong = str(error)
                    self._tell(Said(wrong))
            now = STARTING if now == NONE and self._connector.is_starting else now
            if now != seen:
                seen = now
                self._tell(now)
            if now.kind == "warm":
                self._questions.ask_again()
            runs = finder.look()
            if known is None or {(run.path, run.alive) for run in runs} != {(run.path, run.alive) for run in known}:
                known = runs
                self._tell(RunsFound(runs))
            self._closed.wait(LOOK)

    def _run(
        self,
        follower: RunFollower,
        experiment: Experiment,
        base: Path,
        *,
        restart: bool = False,
        folder: Path | None = None,
    ) -> None:
        try:
            message = submission(experiment, base, follower.path, restart=restart, folder=folder)
            submitted = self._connector.submit(message, lambda: not follower.wishes)
        except ExplorerError as error:
            self._tell(RunFailed(error, follower.path))
            return
        if submitted is None:
            notes = ("stopped before it was begun",)
            self._tell(RunEnded(follower.path, None, "interrupted", notes, asked=follower.path))
            return
        job, joined, client = submitted
        self._tell(Submitted(job.job, follower.path, joined))
        follower.follow_job(client, job.job, anew=restart)

    def _follower(self, session: Path) -> RunFollower:
        old = self._followers.pop(session, None)
        if old is not None:
            old.stop()
        follower = self._followers[session] = RunFollower(session, self._tell)
        return follower

    def _report(self, result: ExplorerError | None) -> None:
        if result is not None:
            self._tell(Said(str(result)))

    def _tell(self, event: LinkEvent) -> None:
        if not self._closed.is_set():
            self._tell_screen(event)
