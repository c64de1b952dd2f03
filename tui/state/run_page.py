"""Everything that is told of one run: its texts beside the baseline's, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.figures.captions import coordinate_caption, plane_captions
from engine.figures.numbers import count_of, short, three_digits
from engine.session import RunRecord, Session
from engine.session.controls import controls_of
from engine.session.fields import DamagedError
from tui.state.run_rows import RunRows
from tui.state.run_texts import Stretch, aligned

if TYPE_CHECKING:
    from tui.state.results import ResultsState

Fact = tuple[str, str]
FINISHES = {"length": "the asked length", "eos": "an end of text", "none": "nothing was generated"}


@dataclass(frozen=True)
class RunPage:
    """What the screen of a run shows.

    Attributes:
        title: which run of which session it is.
        prompt: the prompt.
        name: what its own continuation is called: "+20".
        own: its continuation, cut where it differs.
        base: the baseline's; None where there is none, or for the baseline itself.
        comparison: how the two compare, in words.
        facts: lines of (name, value).
        row: its place in the session.
        base_row: the baseline's; None where there is none.
    """

    title: str
    prompt: str
    name: str
    own: tuple[Stretch, ...]
    base: tuple[Stretch, ...] | None
    comparison: str
    facts: tuple[tuple[Fact, ...], ...]
    row: int
    base_row: int | None

    def text(self) -> str:
        """The page as plain text, to be copied."""
        parts = [self.title, f"prompt: {self.prompt}", f"{self.name}: {_joined(self.own)}"]
        if self.base is not None:
            parts.append(f"baseline: {_joined(self.base)}")
        parts.append(self.comparison)
        parts += [" · ".join(f"{name} {value}" for name, value in line) for line in self.facts]
        return "\n".join(parts) + "\n"


def run_page(state: ResultsState, rows: RunRows, row: int) -> RunPage:
    """Tell everything of a run; `rows` are those of the state's session and plane."""
    session = rows.session
    run, condition = session.runs[row], rows.conditions[row]
    other = rows.baseline_of(row)
    own: list[Stretch] = [Stretch(run.text, "shared")] if run.text else []
    base: list[Stretch] | None = None
    if other is not None and other != row:
        own, base = aligned(run.text, session.runs[other].text)
    return RunPage(
        title=f"run {run.index} · {row + 1:,} of {count_of(len(rows), 'run')} · {session.name} · {condition.label}",
        prompt=session.prompts[run.prompt].text,
        name=condition.label,
        own=tuple(own),
        base=None if base is None else tuple(base),
        comparison=_comparison(rows, row, other),
        facts=_facts(state, rows, row),
        row=row,
        base_row=other,
    )


def _comparison(rows: RunRows, row: int, other: int | None) -> str:
    if other == row:
        return "this is the baseline"
    if other is None:
        return "the baseline of this prompt is not finished"
    first = rows.first_change(row)
    if first is None:
        return "the same tokens as the baseline"
    runs = rows.session.runs
    told = f"the first token that differs from the baseline is token {first}"
    return told if runs[row].text != runs[other].text else f"{told}, though the texts read the same"


def _facts(state: ResultsState, rows: RunRows, row: int) -> tuple[tuple[Fact, ...], ...]:
    session, record = rows.session, rows.record
    run = session.runs[row]
    prompt = session.prompts[run.prompt]
    named = [("value", _value(session, run)), ("set", prompt.set), *prompt.factors.items()]
    stands = _control_neurons(session, run)
    if stands:
        named.append(("in place of", stands))
    if session.spec.generation.samples > 1:
        named.append(("sample", str(run.sample + 1)))
    place: list[Fact] = []
    if record is not None:
        a, b = plane_captions(record)
        numbers = zip((a, b, "norm"), (record.x[row], record.y[row], record.norm[row]), strict=True)
        place = [(name, three_digits(value)) for name, value in numbers]
        cosine, lit = float(state.cosines()[row]), bool(state.lit()[row])
        compared = f"{'lit, above' if lit else 'not above'} {short(state.threshold)}"
        place.append((f"cos at {state.theta}°", f"{three_digits(cosine)} ({compared})"))
    metrics = [(name, three_digits(value)) for name, value in run.metrics.items() if name != "first_change"]
    written = [
        ("tokens", f"{len(run.token_ids)} (prompt {run.prompt_tokens})"),
        ("ended by", FINISHES[run.finish]),
        ("smallest margin", three_digits(run.min_margin)),
        *metrics,
    ]
    return tuple(tuple(line) for line in (named, place, written) if line)


def _control_neurons(session: Session, run: RunRecord) -> str:
    """Which neurons a control has in place of the target's: "n373: n294"; empty for any other run."""
    number = session.conditions[run.condition].control
    try:
        controls = controls_of(session)
    except DamagedError:
        return ""
    if number is None or controls is None:
        return ""
    pairs = [
        f"{coordinate_caption(match.site, match.target)}: {coordinate_caption(match.site, match.neurons[number - 1])}"
        for match in controls.matches
    ]
    return ", ".join(pairs) or "the direction: a random one"


def _value(session: Session, run: RunRecord) -> str:
    """The condition's name, with the raw values where they are others: "+10σ (raw 4.55)"."""
    condition = session.conditions[run.condition]
    row = session.resolved[run.condition] if run.condition < len(session.resolved) else ()
    raw = [three_digits(value) for values in row if values is not None for value in values]
    units = {one.unit for one in session.spec.interventions}
    if not raw or units == {"raw"} or condition.kind == "baseline":
        return condition.label
    return f"{condition.label} (raw {', '.join(raw)})"


def _joined(stretches: tuple[Stretch, ...]) -> str:
    return "".join(one.text for one in stretches)


def place_of(session: Session, index: int) -> int | None:
    """Where the run with an index among all planned ones stands in a session; None while it is not finished."""
    indices = np.array([run.index for run in session.runs], np.int64)
    found = np.flatnonzero(indices == index)
    return int(found[0]) if found.size else None
