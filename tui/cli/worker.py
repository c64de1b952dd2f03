"""`srm-explorer worker`: look at the background process and its queue, end it, start it anew, read its log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.worker import (
    ENDED,
    JobState,
    WorkerState,
    environment,
    find_or_start_worker,
    find_worker,
    here,
    last_lines,
    other_workers,
)
from srm_explorer.tui.cli.output import count, fields, note, say, say_json, table, table_width, visible

_NONE = "no worker lives in this environment"
_SECONDS = 60.0
"""How long `stop` waits for the process to end: a batch may have to reach its next token, and be saved."""


def status_command(as_json: bool) -> int:
    """Say what the worker is doing; that there is none is no failure."""
    client = find_worker()
    state = client.status() if client else None
    if as_json:
        others = [other.model_dump() for other in other_workers()]
        known = state.model_dump() if state else {}
        say_json({"alive": state is not None, "log": here().log, **known, "others": others}, "worker")
    else:
        say(*(_lines(state) if state else [_NONE]), *_elsewhere())
    return 0


def queue_command(as_json: bool) -> int:
    """List the worker's jobs; that there is no worker is no failure."""
    client = find_worker()
    # Of the requests that list jobs this is the one that a worker of another version answers.
    jobs = client.status().jobs if client else ()
    if as_json:
        say_json({"alive": client is not None, "jobs": [job.model_dump() for job in jobs]}, "jobs")
    elif client is None:
        say(_NONE, *_elsewhere())
    else:
        say(*(_jobs(jobs) if jobs else ["there are no jobs"]))
    return 0


def prune_command(jobs: Sequence[str], as_json: bool) -> int:
    """Take jobs that wait off the queue, all of them or, where one does not wait, those before it."""
    client = find_worker()
    if client is None:
        raise ExplorerError(_NONE, remedy="; ".join(_elsewhere()) or "nothing waits")
    for job in jobs:
        client.prune(job)
    if as_json:
        say_json({"pruned": list(jobs)}, "pruned")
    else:
        say(f"{count(len(jobs), 'job')} taken off the queue")
    return 0


def restart_command(as_json: bool) -> int:
    """Have the worker finish its queue and end, then start a new one; ctrl+c stops the waiting alone."""
    client = find_worker()
    if client is not None:
        client.drain()
        waiting = sum(job.state not in ENDED for job in client.status().jobs)
        if waiting and not as_json:
            note(f"waiting until process {client.welcome.pid} has finished {count(waiting, 'job')}")
        while not client.wait_until_gone(1.0):
            pass
    fresh = find_or_start_worker()
    if as_json:
        say_json(
            {"alive": True, "pid": fresh.welcome.pid, "replaced": client.welcome.pid if client else None}, "restarted"
        )
    else:
        say(f"the worker is process {fresh.welcome.pid}")
    return 0


def stop_command(as_json: bool) -> int:
    """Have the worker stop now and save what is finished; one of another version finishes its queue first."""
    client = find_worker()
    if client is None:
        _tell_stopped(as_json, alive=False, message="; ".join([_NONE, *_elsewhere()]))
        return 0
    if client.welcome.limited:
        client.drain()
        _tell_stopped(as_json, alive=True, message="it is of another version: it ends once its queue is empty")
        return 0
    client.stop()
    if not client.wait_until_gone(_SECONDS):
        raise ExplorerError(
            f"process {client.welcome.pid} has not ended after {_SECONDS:.0f} s",
            remedy="wait for it, or end it with `kill`; what is finished is kept",
        )
    _tell_stopped(as_json, alive=False, message=f"process {client.welcome.pid} has ended")
    return 0


def logs_command(lines: int, as_json: bool) -> int:
    log = here().log
    last = last_lines(log, lines)
    if as_json:
        say_json({"log": log, "lines": last}, "log")
    elif last:
        say(*(visible(line) for line in last))
    else:
        say(f"there is no log yet ({visible(str(log))})")
    return 0


def _elsewhere() -> list[str]:
    """A line for each worker of another environment: its process, and what is otherwise there."""
    return [
        visible(f"process {state.pid} is one of another environment: {_differs(state)}") for state in other_workers()
    ]


def _differs(state: WorkerState) -> str:
    ours, theirs = environment(), state.environment
    names = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    told = [f"{name} is {theirs.get(name, 'not set')} there, {ours.get(name, 'not set')} here" for name in names]
    return ", ".join(told) if theirs and told else "of another version, or with another token"


def _tell_stopped(as_json: bool, *, alive: bool, message: str) -> None:
    if as_json:
        say_json({"alive": alive, "told": message}, "stopped")
    else:
        say(message)


def _lines(state: WorkerState) -> list[str]:
    active = [job for job in state.jobs if job.state not in ENDED]
    ends = "once its queue is empty" if state.draining else f"after {_time(state.idle_exit)} without work"
    doing = count(len(active), "job") if active else f"idle for {_time(state.idle)}"
    if state.errand:
        progress = Progress.from_dict(state.errand_progress)
        far = f", {progress.runs_done:,} of {progress.runs:,}" if progress is not None and progress.runs else ""
        doing = f"works on: {state.errand}{far}" + (f", then {doing}" if active else "")
    rows = [
        ("process", f"{state.pid}, for {_time(state.uptime)}"),
        ("version", state.build),
        ("model", f"{visible(state.model)} on {state.device}" if state.model else "none is loaded"),
        ("doing", doing),
        ("ends", ends),
    ]
    lines = fields(rows, width=table_width())
    return [*lines, "", *_jobs(state.jobs)] if state.jobs else lines


def _jobs(jobs: Sequence[JobState]) -> list[str]:
    return table(("job", "state", "runs", "session"), [_row(job) for job in jobs], width=table_width())


def _row(job: JobState) -> tuple[str, str, str, str]:
    progress = Progress.from_dict(job.progress)
    done = "" if progress is None else progress.cell(is_over=job.state != "running")
    session = visible(str(Path(job.session)))
    return job.job, job.state, done, f"{session}: {visible(job.fault.what)}" if job.fault else session


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
