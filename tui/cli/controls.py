"""`srm-explorer controls`: the target of a session among its controls, or what controls would cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.errors import ExplorerError
from engine.figures.numbers import count_of
from engine.paths import session_path
from engine.runner.inputs import read_inputs
from engine.session import load_session
from engine.spec import Experiment, available_presets, read_experiment
from engine.studies.controls import controls_study, least_p
from engine.studies.study import tables_in
from tui.cli.output import note, say, say_json
from tui.cli.tables import say_tables
from tui.state.cost import Cost, estimate
from tui.state.pace import known_pace


def controls_command(session: str, by: str, csv_file: Path | None, as_json: bool) -> None:
    """Print how the target of a session ranks among its controls, and which those are."""
    opened = load_session(session_path(session))
    found = controls_study(opened, {"by": by})
    say_tables(
        tables_in(found), form="json" if as_json else "text", file=csv_file, further={"session": opened.name, "by": by}
    )
    if csv_file is not None and not as_json:
        note(f"both tables written to {csv_file}")


def plan_command(named: str, neurons: int | None, overrides: Sequence[str], as_json: bool) -> None:
    """Print what an experiment with controls would cost, and run nothing.

    Args:
        named: a preset, an experiment file, or a session by name or path.
        neurons: how many controls; None for those of the experiment.
        overrides: fields to set, each "key.path=value".
        as_json: print one JSON object on standard output and nothing else.
    """
    spec = _spec_of(named)
    wanted = [*overrides, *([] if neurons is None else [f"controls.neurons={neurons}"])]
    experiment, source = read_experiment(spec, overrides=wanted)
    if source.note and not as_json:
        note(source.note)
    prompts = len(read_inputs(experiment, source.base).prompts)
    rate = known_pace(experiment.model.name)
    cost = estimate(experiment, prompts, rate, None)
    count = experiment.controls.neurons
    if as_json:
        say_json(
            {
                "prompts": prompts,
                "controls": count,
                "runs": cost.runs - cost.control_runs,
                "control_runs": cost.control_runs,
                "tokens": cost.tokens,
                "seconds": cost.seconds,
                "tokens_per_second": rate,
                "least_p": 1 / (count + 1) if count else None,
            }
        )
        return
    say(price(cost, rate))
    if count:
        say(f"with {count_of(count, 'control')} no p-value is below {least_p(count)}")
        say(f"run it: srm-explorer run {spec} {' '.join(f'--set {one}' for one in wanted)} --session NAME".strip())
    else:
        say("it has no controls; --neurons 19 plans the fewest that can give p = .05")


def price(cost: Cost, rate: float | None) -> str:
    """What an experiment costs, on one line, and what its time is estimated from."""
    told = " · ".join(cost.facts())
    return f"{told} (at the last run's {rate:,.0f} tok/s)" if rate and cost.seconds is not None else told


def price_before(experiment: Experiment, base: Path) -> str:
    """What is said before an experiment runs; empty where its prompts cannot be counted, which the run itself tells."""
    try:
        prompts = len(read_inputs(experiment, base).prompts)
    except ExplorerError:
        return ""
    rate = known_pace(experiment.model.name)
    return price(estimate(experiment, prompts, rate, None), rate)


def _spec_of(named: str) -> str:
    """A session's name as the path of its file; anything else as it is."""
    if "/" in named or named.endswith((".toml", ".json")) or named in available_presets():
        return named
    path = session_path(named)
    return str(path) if path.exists() else named
