"""A run or a study where it can be had: at the living worker, else in this process; the wish to stop passed on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.directions import Vector, file_vectors, missing_weights, weights_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, ModelSpec
from srm_explorer.engine.figures.table import cell_text
from srm_explorer.engine.launch.watch import Watch, holding, stoppable
from srm_explorer.engine.runs import JournalReader, Meter, Outcome, Progress, Stopped, StopSignal
from srm_explorer.engine.runs.survey_journal import survey_standing
from srm_explorer.engine.session import Session, load_session
from srm_explorer.engine.session.standing import Standing, kept_words
from srm_explorer.engine.worker import ENDED, Client, JobState, WorkerGoneError, find_worker, submission

_TICK = 0.1
"""Seconds between two looks at whether a stop is wished."""


def start_run(
    experiment: Experiment, base: Path, path: Path, watch: Watch, *, restart: bool, ends: bool = True
) -> Outcome:
    """Run an experiment at the living worker, which has the model at hand, or in this process; follow it to its end.

    Args:
        watch: shows how far it is; ctrl+c, or a notebook's stop button, is heard while the run goes on.
        ends: whether this process ends after the run, as a command's does.

    Returns:
        what came of it; interrupted where it was stopped, also before its first batch.

    Raises:
        ExplorerError: what the run itself would raise, or the worker is gone.
    """
    try:
        worker = usable_worker(watch)
        if worker is not None:
            # A hang-up is no wish to stop here: the worker outlives this terminal.
            with stoppable(watch, hears_hangup=False, ends=ends) as stop:
                return run_at_worker(worker, experiment, base, path, restart=restart, watch=watch, stop=stop)
        with stoppable(watch, ends=ends) as stop:
            with holding(watch, stop):
                # Here, since torch takes seconds to import and a run at the worker needs none of it.
                from srm_explorer.engine.execution.run import run_experiment

            return run_experiment(
                experiment,
                base,
                path,
                restart=restart,
                listener=watch.show,
                stop=stop,
                on_resume=lambda done, runs: watch.say(resuming(path, done, runs)),
            )
    except KeyboardInterrupt:
        return Outcome(None, path, "interrupted")


def run_at_worker(
    client: Client, experiment: Experiment, base: Path, path: Path, *, restart: bool, watch: Watch, stop: StopSignal
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


def _follow(client: Client, job: str, watch: Watch, stop: StopSignal) -> JobState:
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
        if stop.level > passed_on:
            passed_on = stop.level
            times: Literal[1, 2] = 1 if passed_on == 1 else 2
            client.cancel(job, times=times)
    if last is None:
        raise WorkerGoneError
    return last


def resuming(path: Path, done: int, runs: int) -> str:
    """Say that a run goes on from what an earlier start finished."""
    standing: Standing | None = None
    # A worker that has just finished it has taken the folder away.
    with contextlib.suppress(ExplorerError):
        journal = JournalReader(paths.run_folder(path))
        journal.poll()
        standing = survey_standing(journal)
    return f"resuming {path.stem}: {kept_words(done, runs, standing)} are finished"


def outcome_line(outcome: Outcome, seconds: float, tokens: int, *, again: str = "the same command") -> str:
    """What came of a run, in a line.

    Args:
        seconds: that this start took.
        tokens: that it generated.
        again: what goes on with an interrupted one.
    """
    session, name = outcome.session, outcome.path.stem
    if session is None:
        return f"stopped before a batch was finished; nothing is lost, and {again} starts it again"
    runs = session.kept
    if outcome.status == "shown":
        return f"{name} is finished already: {runs}, saved {cell_text(session.saved, 'time')}"
    if outcome.status == "interrupted":
        kept = f"{runs} are saved"
        if len(session.runs) == session.planned_runs and not session.spec.survey:
            kept = f"all {session.planned_runs:,} runs are saved, their means at common lengths not yet all"
        return f"{name} is interrupted: {kept}; {again} goes on"
    if session.spec.survey:
        # Neither what was scored nor what was written under neurons is among the tokens that are counted.
        return f"{name} is finished: {runs}; {'the rest' if outcome.resumed else 'all'} in {seconds:.0f} s"
    resumed = f", {outcome.resumed:,} of them from an earlier start" if outcome.resumed else ""
    return f"{name} is finished: {runs}{resumed}; {tokens:,} tokens in {seconds:.0f} s"


def _outcome(state: JobState) -> Outcome:
    if state.fault is not None:
        raise ExplorerError(state.fault.what, where=state.fault.where, remedy=state.fault.remedy)
    path = Path(state.session)
    status: Literal["finished", "interrupted", "shown"] = "interrupted"
    if state.state in ("finished", "shown"):
        status = "finished" if state.state == "finished" else "shown"
    session = load_session(path) if state.saved else None
    return Outcome(session, path, status, state.resumed[0] if state.resumed else 0, state.told)


def usable_worker(watch: Watch, *, free: bool = False) -> Client | None:
    """Find the worker; None where there is none, and with a line that says why where it takes nothing.

    Args:
        watch: says it.
        free: whether it must have no experiment to run either, since a study would wait for that.

    Raises:
        ExplorerError: it is there and does not answer.
    """
    worker = find_worker()
    if worker is None:
        return None
    why = ""
    if worker.welcome.limited:
        why = "is of another version (`srm-explorer worker restart` replaces it)"
    else:
        state = worker.status()
        if state.draining:
            why = "is about to end"
        elif free and any(job.state not in ENDED for job in state.jobs):
            why = "runs an experiment"
    if why:
        watch.say(f"the worker (process {worker.welcome.pid}) {why}; running in this process")
    return None if why else worker


_LOOK = 0.5
"""Seconds between two looks at how far the worker is."""


def model_findings(
    name: str,
    arguments: Mapping[str, Any],
    *,
    session: Path | None = None,
    model: ModelSpec | None = None,
    quiet: bool,
    ends: bool = True,
) -> dict[str, Any]:
    """Run a study that needs a model: at a worker that is free, which has the model at hand, or in this process.

    Args:
        name: as `srm_explorer.engine.analyses` lists it.
        arguments: plain data, as the study takes it; relative paths start from the working folder.
        session: path of the session it is about; None where it is about a model alone.
        model: the model; None for the session's own.
        quiet: show nothing of how far it is.
        ends: whether this process ends after it, as a command's does.

    Returns:
        what the study found.

    Raises:
        ExplorerError: what the study refuses, or the worker is gone.
        KeyboardInterrupt: it was stopped.
    """
    base = paths.working_folder()
    doing = _DOING.get(name, name)
    with Watch(quiet=quiet, study=doing) as watch, stoppable(watch, first="stopping", ends=ends) as stop:
        try:
            worker = usable_worker(watch, free=True)
            if worker is not None:
                return worker.study(
                    name, arguments, session=session, model=model, base=base, is_wanted=_looking(worker, watch, stop)
                )
            with holding(watch, stop):
                # Here, since torch takes seconds to import and a study at the worker needs none of it.
                from srm_explorer.engine.model_analyses.run import run_model_study

            meter = Meter([watch.show], stop)
            return run_model_study(name, arguments, session=session, model=model, base=base, meter=meter)
        except (Stopped, KeyboardInterrupt):
            watch.stopped()
            raise KeyboardInterrupt from None


def outside_vectors(
    session: Session, site: str, directions: Sequence[str], *, quiet: bool = False, ends: bool = True
) -> dict[str, Vector]:
    """Vectors that directions name and the session does not hold: of files, and of its model, which is asked for them.

    Args:
        directions: as experiment files have them: a neuron's number, "pc1", "w_out(4.20)", "file.npz#name".
        quiet: show nothing of how far it is.
        ends: whether this process ends after it, as a command's does.

    Raises:
        ExplorerError: a text that is no direction, a file or neuron that is not there, another model than the one of
            the session.
    """
    vectors = file_vectors(directions, paths.working_folder())
    missing = missing_weights(session, site, directions)
    if missing:
        asked = {"directions": missing}
        vectors |= weights_in(model_findings("directions", asked, session=session.path, quiet=quiet, ends=ends))
    return vectors


_DOING = {
    "score": "scoring",
    "tokens": "scoring of tokens",
    "neuron": "the neuron's card",
    "weights": "reading weights",
    "directions": "reading directions",
    "weighted-pairs": "pairing with W_out",
}
"""What is said of a study under way; its name where it is not listed."""


def _looking(worker: Client, watch: Watch, stop: StopSignal) -> Callable[[], bool]:
    due = time.monotonic() + _LOOK

    def is_wanted() -> bool:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _LOOK
            try:
                progress = Progress.from_dict(worker.status().errand_progress)
            except ExplorerError:
                # Whatever is wrong, the study itself will tell.
                progress = None
            if progress is not None:
                watch.show(progress)
        return not stop.level

    return is_wanted
