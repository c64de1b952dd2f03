"""The warm background process: `python -P -m srm_explorer.engine.worker`."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.lock import FileLock, LockedError
from srm_explorer.engine.io.runtime import make_folder
from srm_explorer.engine.runs.resume import Outcome
from srm_explorer.engine.worker.endpoint import Endpoint, build, here, listen
from srm_explorer.engine.worker.log import WorkerLog
from srm_explorer.engine.worker.protocol import Fault, as_fault, in_context
from srm_explorer.engine.worker.queue import Job, JobQueue, ModelTask
from srm_explorer.engine.worker.spool import drain_spool

IDLE_EXIT = 30 * 60.0
"""Seconds without a job and without a request."""

READY, TAKEN = "ready", "taken"
"""What the starter reads on standard output: it listens, or another one does."""

_LOOK = 0.25
"""Seconds between two looks at whether to end."""


class Worker:
    """Runs the jobs of a queue, one at a time, in the thread that made it.

    Args:
        queue: the jobs.
        run_experiment: the function of that name, with the model that it keeps.
        yield_device: gives the device up where another process has its turn, and tells whether it did.
        log: takes a line.
    """

    def __init__(
        self,
        queue: JobQueue,
        run_experiment: Callable[..., Outcome],
        yield_device: Callable[[], bool],
        log: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._yield_device = yield_device
        self._run_experiment = run_experiment
        self._log = log
        self._current: Job | ModelTask | None = None
        self._asked_to_end = False

    def ask_to_end(self, number: int, frame: FrameType | None) -> None:
        """Have the job stop and save what is finished; a signal handler, which takes no lock."""
        self._asked_to_end = True
        if self._current is not None:
            self._current.stop.level += 2

    def work(self, idle_exit: float) -> None:
        """Run jobs until it is asked to end, drained, or idle for so many seconds."""
        while True:
            if self._asked_to_end:
                self._queue.close()
            self._current = self._queue.next(_LOOK)
            if self._current is None:
                if self._yield_device():
                    self._log("unloaded the model: another program has the device")
                if self._queue.close_if(idle_exit):
                    return
                continue
            if self._asked_to_end:
                self._current.stop.level += 2
            if isinstance(self._current, Job):
                self._run(self._current)
            else:
                self._run_task(self._current)
            self._current = None

    def _run(self, job: Job) -> None:
        self._queue.follow_name(job)
        self._log(f"began {job.id}: {job.session}")
        try:
            with in_context(job.submitted.place):
                outcome = self._run_experiment(
                    job.experiment,
                    Path(job.submitted.base),
                    Path(job.session),
                    restart=job.submitted.restart,
                    listener=partial(self._queue.progress, job),
                    stop=job.stop,
                    on_resume=partial(self._queue.resumes, job),
                )
        except ExplorerError as error:
            self._log(f"failed {job.id}: {error}")
            self._queue.end(job, "failed", fault=as_fault(error))
        except BaseException as error:
            # Nobody knows what state it left the model or the device in: this worker ends, the next one is fresh.
            first = (str(error).strip().splitlines() or [""])[0][:200]
            what = f"the worker failed: {type(error).__name__}: {first}"
            self._queue.end(job, "failed", fault=Fault(what=what, remedy="see `srm-explorer worker logs`"))
            raise
        else:
            self._log(f"{outcome.status} {job.id}")
            self._queue.end(
                job, outcome.status, session=str(outcome.path), saved=outcome.session is not None, notes=outcome.notes
            )

    def _run_task(self, task: ModelTask) -> None:
        try:
            task.result.set_result(task.function(task.stop))
        except ExplorerError as error:
            task.result.set_exception(error)
        except BaseException as error:
            what = f"the worker failed: {type(error).__name__}"
            task.result.set_exception(ExplorerError(what, remedy="see `srm-explorer worker logs`"))
            raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the worker of this environment until it is idle; return the exit status."""
    parser = argparse.ArgumentParser(prog="srm_explorer.engine.worker")
    parser.add_argument("--idle", type=float, default=IDLE_EXIT, help="seconds without work after which it ends")
    idle_exit: float = parser.parse_args(arguments).idle
    endpoint = here()
    try:
        make_folder(endpoint.folder)
        with FileLock(endpoint.lock):
            return _serve(endpoint, idle_exit)
    except LockedError:
        _tell(TAKEN)
        return 0
    except ExplorerError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _serve(endpoint: Endpoint, idle_exit: float) -> int:
    # The name of this version is that of the files as they are now, not as an upgrade leaves them.
    build()
    with contextlib.suppress(OSError):
        os.setsid()
    os.chdir("/")
    log = WorkerLog(endpoint.log)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Everything is imported before anyone can ask for it: an upgrade must not mix two versions in one process. What
    # is imported stays, so looking through it for garbage, while it comes and later, is time lost: a quarter of it.
    gc.disable()
    from srm_explorer.engine.execution.run import run_experiment
    from srm_explorer.engine.model import WarmModel
    from srm_explorer.engine.runs.device_lock import yield_device
    from srm_explorer.engine.worker.models import Answers
    from srm_explorer.engine.worker.server import Service

    gc.freeze()
    gc.enable()
    queue, warm = JobQueue(), WarmModel()
    for message in drain_spool(endpoint):
        try:
            log.write(f"queued {queue.submit(message)[0].job}, which was left: {message.session}")
        except ExplorerError as error:
            log.write(f"refused what was left: {error}")
    worker = Worker(queue, partial(run_experiment, warm=warm), partial(yield_device, warm), log.write)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.ask_to_end)
    listener = listen(endpoint)
    service = Service(listener, queue, Answers(queue, warm), idle_exit, log.write)
    service.start()
    log.write(f"listening as process {os.getpid()}, {build()}")
    _tell(READY)
    log.take_over_output()
    try:
        worker.work(idle_exit)
    finally:
        queue.close()
        endpoint.socket.unlink(missing_ok=True)
        service.close()
        log.write("ended")
    return 0


def _tell(word: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{word}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
