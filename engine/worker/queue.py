"""The worker's queue: what waits, what runs, what ended lately."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.runs.manage import is_there, whereabouts
from srm_explorer.engine.runs.progress import Progress, StopSignal
from srm_explorer.engine.runs.trash import created_by
from srm_explorer.engine.session.store import created_in
from srm_explorer.engine.worker.protocol import ENDED, Fault, JobStage, JobState, Submit


@dataclass
class Job:
    """An experiment on its way; changed only through the `JobQueue`.

    Attributes:
        created: when the experiment began that it goes on with, by which that is known under any name; empty of a new
            one.
    """

    id: str
    submitted: Submit
    experiment: Experiment
    session: str
    created: str = ""
    stop: StopSignal = field(default_factory=StopSignal)
    state: JobStage = "queued"
    progress: Progress | None = None
    resumed: tuple[int, int] | None = None
    saved: bool = False
    notes: tuple[str, ...] = ()
    fault: Fault | None = None
    version: int = 0
    reported_at: float = 0.0

    def to_state(self, ahead: int) -> JobState:
        """Tell how far it is; `ahead` jobs come before it."""
        return JobState(
            job=self.id,
            session=self.session,
            state=self.state,
            progress=self.progress.to_dict() if self.progress else None,
            resumed=self.resumed,
            ahead=ahead,
            saved=self.saved,
            told=self.notes,
            fault=self.fault,
        )


@dataclass
class ModelTask:
    """Something that must be done where the model is, between two jobs.

    Attributes:
        title: what to call it while it takes its time; empty where it takes none.
        progress: how far it is.
    """

    function: Callable[[StopSignal], Any]
    result: Future[Any]
    stop: StopSignal
    title: str = ""
    progress: Progress | None = None


def ending() -> ExplorerError:
    """The error for what comes too late."""
    return ExplorerError("the worker takes no more jobs: it is about to end", remedy="try again in a moment")


KEPT = 50
"""Ended jobs that are still listed."""

_REPORT_EVERY = 0.1
"""Seconds between two progresses that followers are woken for, where no run was finished between them."""


class JobQueue:
    """The jobs, shared by the thread that runs them and the threads that answer for them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._tasks: list[ModelTask] = []
        self._task: ModelTask | None = None
        self._ids = itertools.count(1)
        # Another worker's jobs, asked for by an old id, must not be taken for ours.
        self._mark = secrets.token_hex(3)
        self._touched = time.monotonic()
        self.draining = False
        self.closed = False

    def submit(self, message: Submit) -> tuple[JobState, bool]:
        """Queue an experiment; where the same one waits or runs under the same name, that job is joined.

        Raises:
            ExplorerError: the experiment is none, another one has the name, or no more jobs are taken.
        """
        experiment = Experiment.from_dict(message.experiment)
        path = Path(message.session)
        created = "" if message.restart else created_by(paths.run_folder(path)) or created_in(path)
        with self._changed:
            self._check_open()
            self._follow_names()
            for job in self._jobs.values():
                if job.session != message.session or job.state in ENDED or job.stop.level:
                    continue
                if job.submitted.model_copy(update={"place": message.place, "session": job.session}) == message:
                    return self._state_of(job), True
                raise ExplorerError(
                    "another experiment is on its way under this name",
                    where=message.session,
                    remedy="choose another name with --session, or cancel that one",
                )
            job = Job(f"{self._mark}-{next(self._ids)}", message, experiment, message.session, created)
            self._jobs[job.id] = job
            self._changed.notify_all()
            return self._state_of(job), False

    def run_model_task(
        self, function: Callable[[StopSignal], Any], title: str = "", stop: StopSignal | None = None
    ) -> Future[Any]:
        """Have something done where the model is; the function is given the signal to stop.

        Args:
            function: what is to be done.
            title: what to call it while it takes its time.
            stop: the signal, where the caller gives it.

        Raises:
            ExplorerError: a job runs or waits, or the worker is about to end.
        """
        with self._changed:
            self._check_open()
            if self._active():
                raise ExplorerError("the worker is running an experiment", remedy="ask again when the queue is empty")
            task = ModelTask(function, Future(), stop or StopSignal(), title)
            self._tasks.append(task)
            self._changed.notify_all()
            return task.result

    def next(self, timeout: float) -> Job | ModelTask | None:
        """Take what is to be done next, a job being marked as running; None after a time-out in seconds."""
        with self._changed:
            if not self._tasks and not self._waiting():
                self._changed.wait(timeout)
            self._task = self._tasks.pop(0) if self._tasks else None
            if self._task:
                return self._task
            if self.closed or not (waiting := self._waiting()):
                return None
            job = waiting[0]
            job.state = "running"
            self._grew(job)
            return job

    def task_progress(self, progress: Progress) -> None:
        """Note how far the task under way is, from its own thread."""
        if self._task is not None:
            self._task.progress = progress

    def model_task(self) -> ModelTask | None:
        """The task under way that has a title, if there is one."""
        task = self._task
        return task if task is not None and task.title and not task.result.done() else None

    def progress(self, job: Job, progress: Progress) -> None:
        """Note how far a job is."""
        last, now = job.progress, time.monotonic()
        job.progress = progress
        same = last is not None and (last.stage, last.runs_done, last.part) == (
            progress.stage,
            progress.runs_done,
            progress.part,
        )
        if same and now < job.reported_at + _REPORT_EVERY:
            return
        with self._changed:
            job.reported_at = now
            self._grew(job)

    def follow_name(self, job: Job) -> None:
        """Look for what a job goes on with where it was renamed while the job waited."""
        path = Path(job.session)
        found = whereabouts(path, job.created)[0] if job.created and not is_there(path) else None
        if found is not None:
            with self._changed:
                job.session = str(found)
                self._grew(job)

    def _follow_names(self) -> None:
        for job in self._waiting():
            self.follow_name(job)

    def resumes(self, job: Job, done: int, runs: int) -> None:
        """Note what an earlier start had finished."""
        with self._changed:
            job.resumed = (done, runs)
            self._grew(job)

    def end(
        self,
        job: Job,
        state: JobStage,
        *,
        session: str | None = None,
        saved: bool = False,
        notes: tuple[str, ...] = (),
        fault: Fault | None = None,
    ) -> None:
        """Note how a job ended, and forget the oldest of those that ended long ago."""
        with self._changed:
            job.state, job.saved, job.notes, job.fault = state, saved, notes, fault
            job.session = session or job.session
            self._touched = time.monotonic()
            self._grew(job)
            ended = [listed.id for listed in self._jobs.values() if listed.state in ENDED]
            for old in ended[:-KEPT]:
                del self._jobs[old]

    def cancel(self, job_id: str, times: int) -> None:
        """Stop a job: one that waits ends at once, one that runs after its batch (once) or now (twice)."""
        with self._changed:
            job = self._job(job_id)
            if job.state == "queued":
                self.end(job, "interrupted")
            elif job.state == "running":
                job.stop.level = max(job.stop.level + 1, times)
                self._grew(job)

    def prune(self, job_id: str) -> None:
        """Take a job off the queue; ExplorerError where it does not wait in it."""
        with self._changed:
            job = self._job(job_id)
            if job.state != "queued":
                raise ExplorerError(f"the job is {job.state}", where=job_id, remedy="cancel it, if it still runs")
            self.end(job, "interrupted")

    def states(self) -> tuple[JobState, ...]:
        """List the jobs: the one that runs, those that wait in their order, those that ended, the latest first."""
        with self._changed:
            self._follow_names()
            running = [job for job in self._jobs.values() if job.state == "running"]
            ended = [job for job in self._jobs.values() if job.state in ENDED]
            return tuple(self._state_of(job) for job in (*running, *self._waiting(), *reversed(ended)))

    def follow(self, job_id: str, seen: int, timeout: float) -> tuple[JobState, int]:
        """Wait until a job went on from what was seen, or a time-out; return its state and what to pass next.

        Raises:
            ExplorerError: there is no such job.
        """
        with self._changed:
            job = self._job(job_id)
            self._changed.wait_for(lambda: job.version != seen, timeout)
            return self._state_of(job), job.version

    def touch(self) -> None:
        """Note a request: the worker is not idle."""
        self._touched = time.monotonic()

    def idle(self) -> float:
        """Seconds without a job and without a request."""
        with self._changed:
            return 0.0 if self._active() else time.monotonic() - self._touched

    def drain(self) -> None:
        """Take no more jobs; once there is none left, `close_if` says so."""
        with self._changed:
            self.draining = True
            self._changed.notify_all()

    def close_if(self, idle_exit: float) -> bool:
        """Tell whether nothing is left to do, for so many seconds or because no more is taken; then nothing comes."""
        with self._changed:
            if not self._active() and not self._tasks and (self.draining or self.idle() > idle_exit):
                self.closed = True
            return self.closed

    def close(self) -> None:
        """Take nothing more, have the job that runs stop now, and end those that wait."""
        with self._changed:
            self.closed = True
            for job in self._active():
                if job.state == "queued":
                    self.end(job, "interrupted")
                else:
                    job.stop.level += 2
            if self._task:
                self._task.stop.level += 2
            for task in self._tasks:
                task.result.set_exception(ending())
            self._tasks.clear()
            self._changed.notify_all()

    def _check_open(self) -> None:
        if self.draining or self.closed:
            raise ending()

    def _active(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state not in ENDED]

    def _waiting(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state == "queued"]

    def _grew(self, job: Job) -> None:
        job.version += 1
        self._changed.notify_all()

    def _job(self, job_id: str) -> Job:
        if job_id not in self._jobs:
            raise ExplorerError("there is no such job", where=job_id, remedy="list the jobs, or submit it again")
        return self._jobs[job_id]

    def _state_of(self, job: Job) -> JobState:
        return job.to_state(self._active().index(job) if job.state == "queued" else 0)
