"""`srm-explorer run`: an experiment from its file to a saved session, or what it would cost and could see."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srm_explorer.engine.analyses import spreads_before
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, ModelSpec, SpecSource, available_presets, read_experiment
from srm_explorer.engine.figures import count_of, three_digits, unseen_caption
from srm_explorer.engine.launch.start import outcome_line, start_run, usable_worker
from srm_explorer.engine.launch.watch import Watch
from srm_explorer.engine.paths import session_path, sessions_folder
from srm_explorer.engine.runs import Outcome, already_finished, default_path, preflight, read_inputs
from srm_explorer.engine.runs.pace import Pace, is_here, known_pace
from srm_explorer.engine.runs.progress import Meter, Stopped, StopSignal
from srm_explorer.engine.session import Session
from srm_explorer.engine.stats.equivalence import ALPHA, EFFECTS, POWER, units_needed
from srm_explorer.tui.cli.output import note, say, say_json, table, table_width, visible
from srm_explorer.tui.experiment.cost import Cost, estimate_here

INTERRUPTED = 130


@dataclasses.dataclass(frozen=True)
class Ran:
    """What came of a run under the eyes of a watch.

    Attributes:
        seconds: that this start took.
        tokens: that it generated.
    """

    outcome: Outcome
    seconds: float
    tokens: int

    @property
    def status(self) -> int:
        """The exit status."""
        return INTERRUPTED if self.outcome.status == "interrupted" else 0

    def lines(self) -> list[str]:
        """What came of it, where it is, and how to look at it."""
        session, lines = self.outcome.session, [outcome_line(self.outcome, self.seconds, self.tokens)]
        if session is None:
            return lines
        if is_demo(session):
            what = "demo model: a small model that ships with the program; its results show how it works, no more"
            lines.append(what)
        look = "survey" if session.spec.survey else "show"
        return [*lines, f"saved as {self.outcome.path}", f"look at it: srm-explorer {look} {shown_name(self.outcome)}"]

    def summary(self) -> dict[str, Any]:
        """The same, as plain data."""
        outcome, session = self.outcome, self.outcome.session
        return {
            "session": outcome.path,
            "name": outcome.path.stem,
            "how": outcome.status,
            "state": session.state if session else None,
            "runs": len(session.runs) if session else 0,
            "planned": session.planned_runs if session else None,
            "neurons": session.standing.to_dict() if session and session.standing else None,
            "resumed": outcome.resumed,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 3),
            "is_demo": is_demo(session) if session else None,
            "notes": list(outcome.notes),
        }

    def say(self, as_json: bool) -> None:
        """Print it."""
        if as_json:
            say_json(self.summary(), "outcome")
        else:
            say(*self.lines())


def run_command(spec: str, overrides: Sequence[str], session: str | None, restart: bool, as_json: bool) -> int:
    """Run an experiment, or go on with it, or show that it is finished; return the exit status."""
    ran = run_watched(spec, overrides, session, restart=restart, quiet=as_json)
    ran.say(as_json)
    return ran.status


def run_watched(spec: str, overrides: Sequence[str], session: str | None, *, restart: bool, quiet: bool) -> Ran:
    """Run an experiment under the eyes of a watch."""
    experiment, source = read_experiment(spec, overrides=overrides)
    path = default_path(experiment, source.name) if session is None else session_path(session)
    return run_experiment_watched(experiment, source, path, restart=restart, quiet=quiet)


def run_experiment_watched(
    experiment: Experiment, source: SpecSource, path: Path, *, restart: bool, quiet: bool
) -> Ran:
    """The same of an experiment that was read.

    Args:
        path: where its session is saved.
    """
    began = time.monotonic()
    notes = tuple(filter(None, [source.note, unseen_caption(experiment)]))
    watch = Watch(quiet=quiet, opening=notes)
    outcome = None if restart else already_finished(preflight(experiment, source.base, path, restart=False), path)
    if outcome is None:
        outcome = _run(experiment, source.base, path, watch, restart=restart)
    watch.open()
    if not quiet:
        for line in outcome.notes:
            if line not in notes:
                note(line)
    if quiet:
        outcome = dataclasses.replace(outcome, notes=tuple(dict.fromkeys((*notes, *outcome.notes))))
    return Ran(outcome, time.monotonic() - began, watch.last.tokens)


def _run(experiment: Experiment, base: Path, path: Path, watch: Watch, *, restart: bool) -> Outcome:
    cost = price_before(experiment, base) if sys.stderr.isatty() else ""
    with watch:
        if cost:
            watch.say(cost)
        return start_run(experiment, base, path, watch, restart=restart)


def is_demo(session: Session) -> bool:
    return bool(session.told("model").get("is_demo"))


def shown_name(outcome: Outcome) -> str:
    """Name a session as the other commands take it: bare where it lies in the sessions folder, else its path."""
    return outcome.path.stem if session_path(outcome.path.stem) == outcome.path else str(outcome.path)


def spec_of(named: str) -> str:
    """A session's name as the path of its file; anything else as it is."""
    if "/" in named or named.endswith((".toml", ".json")) or named in available_presets():
        return named
    path = session_path(named)
    return str(path) if path.exists() else named


def price(cost: Cost, pace: Pace) -> str:
    """What an experiment costs, on one line, and what its time is estimated from."""
    facts = " · ".join(cost.facts())
    if cost.seconds is not None:
        whose = "the last run's" if pace.is_learned else "a measured"
        facts += f" (at {whose} {pace.rate:,.0f} tok/s)"
    return (
        f"{facts}; where texts of a prompt differ in length, the longer are fed again" if cost.may_feed_again else facts
    )


def price_before(experiment: Experiment, base: Path) -> str:
    """What is said before an experiment runs; empty where its prompts cannot be counted, which the run itself tells."""
    try:
        inputs = read_inputs(experiment, base)
    except ExplorerError:
        return ""
    return price(*estimate_here(experiment, base, len(inputs.prompts), inputs.units, inputs.prompt_tokens))


def measure_here(model: ModelSpec, base: Path) -> None:
    """Load a model once to learn its sizes and how fast it is on this machine, unless that is known.

    A model that would have to be downloaded first, or whose device is in use, is left for later, and that is said.
    """
    if known_pace(model, base).is_whole:
        return
    why = "it is not on this machine yet"
    if is_here(model.name, base):
        note(f"measuring once how fast {model.name} is here")
        try:
            worker = usable_worker(Watch(quiet=True), free=True)
            if worker is not None:
                worker.describe(model, base)
                return
            # Here, since it imports torch, which takes seconds and is needed once.
            from srm_explorer.engine.model import WarmModel
            from srm_explorer.engine.worker.models import describe_here

            warm = WarmModel()
            try:
                describe_here(model, base, Meter([], StopSignal(1)), warm)
            finally:
                warm.unload()
        except ExplorerError as error:
            why = str(error)
        except Stopped:
            why = "another process has its device"
        else:
            return
    note(f"time and memory of {model.name} are not known: {why}; a run tells them")


def plan_run(spec: str, overrides: Sequence[str], interest: float | None, as_json: bool) -> None:
    """Print what a run would cost, what its prompts can see and how many a change takes; run nothing."""
    if interest is not None and not (math.isfinite(interest) and interest > 0):
        remedy = "give a number above 0, in the units of the chart"
        raise ExplorerError(f"the smallest change of interest is {interest}", remedy=remedy)
    experiment, source = read_experiment(spec, overrides=overrides)
    if source.note and not as_json:
        note(source.note)
    say_plan(experiment, source.base, interest, as_json)


def say_plan(experiment: Experiment, base: Path, interest: float | None, as_json: bool) -> None:
    """Print what an experiment would cost and find; its paths start at `base`."""
    inputs = read_inputs(experiment, base)
    measure_here(experiment.model, base)
    cost, pace = estimate_here(experiment, base, len(inputs.prompts), inputs.units, inputs.prompt_tokens)
    warnings = inputs.warnings(experiment)
    told = _spread(experiment, cost, interest)
    if as_json:
        say_json(
            {
                "prompts": len(inputs.prompts),
                "units": inputs.units,
                "runs": cost.runs,
                "control_runs": cost.control_runs,
                "tokens": cost.tokens,
                "seconds": cost.seconds,
                "tokens_per_second": pace.rate or None,
                "memory": cost.memory,
                "power": POWER,
                "alpha": round(ALPHA, 6),
                "detectable_sd": cost.detectable,
                "units_needed": {f"{effect:g}": units_needed(effect) for effect in EFFECTS},
                "interest": interest,
                "spread": told,
                "warnings": list(warnings),
            },
            "plan",
        )
        return
    say(price(cost, pace), *(visible(f"⚠ {warning}") for warning in warnings))
    say(*_power_lines(cost, len(inputs.prompts)))
    say(*_spread_lines(told, cost, interest))


def _power_lines(cost: Cost, prompts: int) -> list[str]:
    units = count_of(cost.units or 0, "unit") + ("" if cost.units == prompts else f" ({count_of(prompts, 'prompt')})")
    needed = ", ".join(f"{units_needed(effect):,} for {effect:g}".replace("0.", ".") for effect in EFFECTS)
    seen = f"{units} are too few for a p or an interval"
    if cost.detectable is not None:
        often = f"in {POWER * 100:.0f} of 100 such experiments (two-sided {three_digits(ALPHA)})"
        seen = f"{units} find a mean of {three_digits(cost.detectable)} standard deviations of units, {often}"
    return [seen, f"units that it takes: {needed} standard deviations"]


def _spread(experiment: Experiment, cost: Cost, interest: float | None) -> dict[str, Any] | None:
    """What the newest session of the same kind tells of units' spread."""
    before = spreads_before(experiment, sessions_folder()) if experiment.planes else None
    if before is None:
        return None
    session, spreads = before
    return {
        "session": session.name,
        "units": max(spread.units for spread in spreads),
        "quantities": [
            {
                "quantity": spread.quantity,
                "spread": spread.spread,
                "detectable": spread.detectable(cost.units or 0),
                "change": spread.change,
                "units_needed": spread.needed(spread.change if interest is None else interest),
            }
            for spread in spreads
        ],
    }


def _spread_lines(told: dict[str, Any] | None, cost: Cost, interest: float | None) -> list[str]:
    if told is None:
        return [
            "the units' spread is unknown: no session here is like this but for its prompts; so effects are in"
            " standard deviations of units"
        ]
    what = "its change" if interest is None else f"{three_digits(interest)}"
    units = count_of(told["units"], "unit")
    lines = [f"by the spread of {units} of session {visible(told['session'])}, which differs in its prompts at most:"]
    header = ["change over the values", "sd", f"{cost.units:,} units find", "its change", f"units for {what}"]
    rows = [
        [
            row["quantity"],
            three_digits(row["spread"]),
            three_digits(row["detectable"]),
            three_digits(row["change"]),
            "–" if row["units_needed"] is None else f"{row['units_needed']:,}",
        ]
        for row in told["quantities"]
    ]
    return [*lines, *table(header, rows, right=range(1, len(header)), width=table_width())]
