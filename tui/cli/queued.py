"""A run at the living worker: submitted, followed, and the wish to stop passed on."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

from engine.errors import ExplorerError
from engine.runner.client import Client, WorkerGoneError, submission
from engine.runner.outcome import Outcome
from engine.runner.progress import Progress, Stop
from engine.runner.wire import JobState
from engine.session import load_session
from engine.spec import Experiment
from tui.cli.watch import Watch

_TICK = 0.1
"""Seconds between two looks at whether a stop is wished."""


def run_at_worker(
    client: Client, experiment: Experiment, base: Path, path: Path, *, restart: bool, watch: Watch, stop: Stop
) -> Outcome:
    """Have the worker run an experiment, and follow it to its end.

    A wish to stop is passed on as it grows. Where this process ends without one, the run goes on.

    Raises:
        ExplorerError: what the run itself would raise, or the worker is gone.
        KeyboardInterrupt: it was interrupted before the first batch; the job is cancelled.
    """
    job = ""
    try:
        accepted = client.submit(submission(experiment, base, path, restart=restart))
        job = accepted.job.job
        if accepted.joined:
            watch.say("the worker has this experiment already; following it")
        elif accepted.job.ahead:
            watch.say(f"queued at the worker, {accepted.job.ahead} before it")
        return _outcome(_follow(client, job, watch, stop))
    except KeyboardInterrupt:
        if job:
            with contextlib.suppress(ExplorerError):
                client.cancel(job, times=2)
        raise


def _follow(client: Client, job: str, watch: Watch, stop: Stop) -> JobState:
    passed_on = 0
    resumed = False
    last: JobState | None = None
    for state in client.follow(job, tick=_TICK):
        if state is not None:
            last = state
            if state.resumed and not resumed:
                resumed = True
                watch.say(resuming(Path(state.session), *state.resumed))
            watch.show(Progress.from_dict(state.progress) or Progress("waiting"))
        if stop.wishes > passed_on:
            passed_on = stop.wishes
            times: Literal[1, 2] = 1 if passed_on == 1 else 2
            client.cancel(job, times=times)
    if last is None:
        raise WorkerGoneError
    return last


def resuming(path: Path, done: int, runs: int) -> str:
    """Say that a run goes on from what an earlier start finished."""
    return f"resuming {path.stem}: {done:,} of {runs:,} runs are finished"


def _outcome(state: JobState) -> Outcome:
    if state.fault is not None:
        raise ExplorerError(state.fault.what, where=state.fault.where, remedy=state.fault.remedy)
    path = Path(state.session)
    how: Literal["finished", "interrupted", "shown"] = "interrupted"
    if state.state in ("finished", "shown"):
        how = "finished" if state.state == "finished" else "shown"
    session = load_session(path) if state.saved else None
    return Outcome(session, path, how, state.resumed[0] if state.resumed else 0, state.told)
