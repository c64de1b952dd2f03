"""`srm-explorer run`: an experiment from its file to a saved session."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, read_experiment
from srm_explorer.engine.paths import session_path
from srm_explorer.engine.runs import Outcome, already_finished, default_path, preflight, read_inputs
from srm_explorer.engine.session import Session
from srm_explorer.tui.cli.at_worker import resuming, run_at_worker, usable_worker
from srm_explorer.tui.cli.output import note, say, say_json
from srm_explorer.tui.cli.watch import Watch, holding, stoppable
from srm_explorer.tui.experiment.cost import Cost, estimate, keep_pace, known_pace

INTERRUPTED = 130


def run_command(spec: str, overrides: Sequence[str], session: str | None, restart: bool, as_json: bool) -> int:
    """Run an experiment, or go on with it, or show that it is finished; return the exit status."""
    outcome, seconds, tokens = run_watched(spec, overrides, session, restart=restart, quiet=as_json)
    if as_json:
        say_json(_summary(outcome, seconds, tokens))
    else:
        say(*_lines(outcome, seconds, tokens))
    return INTERRUPTED if outcome.status == "interrupted" else 0


def run_watched(
    spec: str, overrides: Sequence[str], session: str | None, *, restart: bool, quiet: bool
) -> tuple[Outcome, float, int]:
    """Run an experiment under the eyes of a watch; return what came of it, seconds and tokens of this start."""
    experiment, source = read_experiment(spec, overrides=overrides)
    path = default_path(experiment, source.name) if session is None else session_path(session)
    began = time.monotonic()
    watch = Watch(quiet=quiet, opening=source.note)
    outcome = None if restart else already_finished(preflight(experiment, source.base, path, restart=False), path)
    if outcome is None:
        outcome = _run(experiment, source.base, path, watch, restart=restart)
    watch.open()
    if not quiet:
        for line in outcome.notes:
            note(line)
    keep_pace(experiment.model.name, watch.last.rate)
    if source.note and quiet:
        outcome = dataclasses.replace(outcome, notes=(source.note, *outcome.notes))
    return outcome, time.monotonic() - began, watch.last.tokens


def _run(experiment: Experiment, base: Path, path: Path, watch: Watch, *, restart: bool) -> Outcome:
    cost = price_before(experiment, base) if sys.stderr.isatty() else ""
    with watch:
        try:
            if cost:
                watch.say(cost)
            worker = usable_worker(watch)
            if worker is None:
                return _run_here(experiment, base, path, watch, restart=restart)
            # A hang-up is no wish to stop here: the worker outlives this terminal.
            with stoppable(watch, hears_hangup=False) as stop:
                return run_at_worker(worker, experiment, base, path, restart=restart, watch=watch, stop=stop)
        except KeyboardInterrupt:
            return Outcome(None, path, "interrupted")


def _run_here(experiment: Experiment, base: Path, path: Path, watch: Watch, *, restart: bool) -> Outcome:
    with stoppable(watch) as stop:
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


def _lines(outcome: Outcome, seconds: float, tokens: int) -> list[str]:
    session, name = outcome.session, outcome.path.stem
    if session is None:
        return ["stopped before a batch was finished; nothing is lost, and the same command starts it again"]
    runs = f"{len(session.runs):,} of {session.planned_runs:,} runs"
    if outcome.status == "shown":
        lines = [f"{name} is finished already: {runs}, saved {session.saved}"]
    elif outcome.status == "interrupted":
        lines = [f"{name} is interrupted: {runs} are saved; the same command goes on"]
    else:
        resumed = f", {outcome.resumed:,} of them from an earlier start" if outcome.resumed else ""
        lines = [f"{name} is finished: {runs}{resumed}; {tokens:,} tokens in {seconds:.0f} s"]
    if is_demo(session):
        lines.append("demo model: a small model that ships with the program; its results show how it works, no more")
    return [*lines, f"saved as {outcome.path}", f"look at it: srm-explorer show {shown_name(outcome)}"]


def is_demo(session: Session) -> bool:
    return bool(session.provenance.get("model", {}).get("is_demo"))


def shown_name(outcome: Outcome) -> str:
    """Name a session as the other commands take it: bare where it lies in the sessions folder, else its path."""
    return outcome.path.stem if session_path(outcome.path.stem) == outcome.path else str(outcome.path)


def _summary(outcome: Outcome, seconds: float, tokens: int) -> dict[str, Any]:
    session = outcome.session
    return {
        "session": outcome.path,
        "name": outcome.path.stem,
        "how": outcome.status,
        "state": session.state if session else None,
        "runs": len(session.runs) if session else 0,
        "planned": session.planned_runs if session else None,
        "resumed": outcome.resumed,
        "tokens": tokens,
        "seconds": round(seconds, 3),
        "is_demo": is_demo(session) if session else None,
        "notes": list(outcome.notes),
    }


def price(cost: Cost, rate: float | None) -> str:
    """What an experiment costs, on one line, and what its time is estimated from."""
    facts = " · ".join(cost.facts())
    facts += f" (at the last run's {rate:,.0f} tok/s)" if rate and cost.seconds is not None else ""
    return (
        f"{facts}; where texts of a prompt differ in length, the longer are fed again" if cost.may_feed_again else facts
    )


def price_before(experiment: Experiment, base: Path) -> str:
    """What is said before an experiment runs; empty where its prompts cannot be counted, which the run itself tells."""
    try:
        prompts = len(read_inputs(experiment, base).prompts)
    except ExplorerError:
        return ""
    rate = known_pace(experiment.model.name)
    return price(estimate(experiment, prompts, rate, None), rate)
