"""`srm-explorer replay`: a session run again and compared."""

from __future__ import annotations

from typing import Any

from engine.paths import session_path
from engine.runner.progress import Stopped
from engine.runner.replay import Deviation, Replay, replay
from engine.session import load_session
from tui.cli.output import say, say_json
from tui.cli.watch import Watch, stoppable

_MOST_SHOWN = 10


def replay_command(session: str, as_json: bool) -> int:
    """Run a session again and report whether it comes out the same; return the exit status.

    The status is 0 when the session was replayed, whether bit-equal or not, and 130 when it was stopped.
    """
    path = session_path(session)
    saved = load_session(path)
    with Watch(quiet=as_json) as watch, stoppable(watch) as stop:
        try:
            found = replay(saved, path.parent, listener=watch.show, stop=stop)
        except Stopped:
            return 130
    if as_json:
        say_json(_summary(found))
    else:
        say(*_lines(found))
    return 0


def _lines(found: Replay) -> list[str]:
    lines = [f"{found.runs:,} runs replayed: " + ("bit-equal" if found.bit_equal else "not bit-equal")]
    if not found.compared_vectors:
        lines[0] += " in every token" if found.bit_equal else ""
        lines.append(f"the vectors were not compared: {found.why_not}")
    if found.deviations:
        lines.append(f"{len(found.deviations):,} runs have other tokens:")
        lines += [f"  {_deviation(one)}" for one in found.deviations[:_MOST_SHOWN]]
        if len(found.deviations) > _MOST_SHOWN:
            lines.append(f"  and {len(found.deviations) - _MOST_SHOWN:,} more (--json lists all)")
    lines += [f"largest difference at {site}: {worst:.3g}" for site, worst in found.vectors.items() if worst]
    lines += [f"changed since: {change}" for change in found.changed]
    return lines


def _deviation(one: Deviation) -> str:
    margin = "" if one.margin is None else f"; smallest top-2 margin {one.margin:.3g}"
    near = " (a near-tie)" if one.margin is not None and one.margin < 1e-3 else ""
    return f"run {one.run.index}: token {one.first} was {one.was}, is {one.now}{margin}{near}"


def _summary(found: Replay) -> dict[str, Any]:
    return {
        "runs": found.runs,
        # Null where tokens are equal and the vectors were not there to tell.
        "bit_equal": found.bit_equal if found.compared_vectors or not found.bit_equal else None,
        "tokens_equal": not found.deviations,
        "compared_vectors": found.compared_vectors,
        "why_not": found.why_not,
        "largest_difference": found.vectors,
        "deviations": [
            {
                "run": one.run.index,
                "prompt": one.run.prompt,
                "condition": one.run.condition,
                "sample": one.run.sample,
                "first": one.first,
                "was": one.was,
                "now": one.now,
                "margin": one.margin,
            }
            for one in found.deviations
        ],
        "changed": list(found.changed),
    }
