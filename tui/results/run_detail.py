"""What is shown of one run: its texts beside the baseline's, its numbers, and its activations token by token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.figures import coordinate_caption, count_of, plane_captions, short, site_caption, three_digits
from srm_explorer.engine.figures.stretches import Stretch, aligned
from srm_explorer.engine.io.vectors import read_columns
from srm_explorer.engine.session import RunRecord, Session, captured_at
from srm_explorer.engine.session.codec import DamagedError
from srm_explorer.engine.session.controls import controls_of
from srm_explorer.tui.results.runs_rows import RunRows
from srm_explorer.tui.results.state import ResultsState

Fact = tuple[str, str]
FINISHES = {
    "length": "the asked length",
    "eos": "an end of text",
    "none": "nothing was generated",
    "unknown": "unknown",
}


@dataclass(frozen=True)
class RunPage:
    """What the screen of a run shows.

    Attributes:
        title: which run of which session it is.
        prompt: the prompt.
        name: what its continuation is called: "+20".
        continuation: cut where it differs from the baseline's.
        baseline: the baseline's continuation; None where there is none, or for the baseline itself.
        comparison: how the two compare, in words.
        facts: lines of (name, value).
        row: its index in the session.
        baseline_row: the baseline's; None where there is none.
    """

    title: str
    prompt: str
    name: str
    continuation: tuple[Stretch, ...]
    baseline: tuple[Stretch, ...] | None
    comparison: str
    facts: tuple[tuple[Fact, ...], ...]
    row: int
    baseline_row: int | None

    def text(self) -> str:
        parts = [self.title, f"prompt: {self.prompt}", f"{self.name}: {_joined(self.continuation)}"]
        if self.baseline is not None:
            parts.append(f"baseline: {_joined(self.baseline)}")
        parts.append(self.comparison)
        parts += [" · ".join(f"{name} {value}" for name, value in line) for line in self.facts]
        return "\n".join(parts) + "\n"


def run_page(state: ResultsState, rows: RunRows, row: int) -> RunPage:
    """Tell everything of a run; `rows` are those of the state's session and plane."""
    session = rows.session
    run, condition = session.runs[row], rows.conditions[row]
    other = rows.baseline_of(row)
    continuation: list[Stretch] = [Stretch(run.text, "shared")] if run.text else []
    baseline: list[Stretch] | None = None
    if other is not None and other != row:
        continuation, baseline = aligned(run.text, session.runs[other].text)
    return RunPage(
        title=f"run {run.index} · {row + 1:,} of {count_of(len(rows), 'run')} · {session.name} · {condition.label}",
        prompt=session.prompts[run.prompt].text,
        name=condition.label,
        continuation=tuple(continuation),
        baseline=None if baseline is None else tuple(baseline),
        comparison=_comparison(rows, row, other),
        facts=_facts(state, rows, row),
        row=row,
        baseline_row=other,
    )


def _comparison(rows: RunRows, row: int, other: int | None) -> str:
    if other == row:
        return "this is the baseline"
    if other is None:
        return (
            "this prompt has no baseline" if rows.session.is_imported else "the baseline of this prompt is not finished"
        )
    if rows.session.is_unknown("texts"):
        return "what either wrote is unknown"
    if rows.session.is_unknown("tokens"):
        return "another text than the baseline's" if rows.changed[row] else "the same text as the baseline's"
    first = rows.first_change(row)
    if first is None:
        return "the same tokens as the baseline"
    runs = rows.session.runs
    difference = f"the first token that differs from the baseline is token {first}"
    return difference if runs[row].text != runs[other].text else f"{difference}, though the texts read the same"


def _facts(state: ResultsState, rows: RunRows, row: int) -> tuple[tuple[Fact, ...], ...]:
    session, record = rows.session, rows.record
    run = session.runs[row]
    prompt = session.prompts[run.prompt]
    named = [("value", _value(session, run)), ("set", prompt.set), *prompt.factors.items()]
    replaced = _control_neurons(session, run)
    if replaced:
        named.append(("in place of", replaced))
    if session.spec.generation.samples > 1:
        named.append(("sample", str(run.sample + 1)))
    coordinates: list[Fact] = []
    if record is not None:
        a, b = plane_captions(record)
        numbers = zip((a, b, "norm"), (record.x[row], record.y[row], record.norm[row]), strict=True)
        coordinates = [(name, three_digits(value)) for name, value in numbers]
        cosine, lit = float(state.cosines()[row]), bool(state.lit()[row])
        compared = f"{'lit, above' if lit else 'not above'} {short(state.threshold)}"
        coordinates.append((f"cos at {state.theta}°", f"{three_digits(cosine)} ({compared})"))
    metrics = [(name, three_digits(value)) for name, value in run.metrics.items() if name != "first_change"]
    written = [
        ("tokens", "unknown" if session.is_unknown("tokens") else f"{len(run.token_ids)} (prompt {run.prompt_tokens})"),
        ("ended by", FINISHES[run.finish]),
        ("smallest margin", three_digits(run.min_margin)),
        *metrics,
    ]
    return tuple(tuple(line) for line in (named, coordinates, written) if line)


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
    units = {edit.unit for edit in session.spec.interventions}
    if not raw or units == {"raw"} or condition.kind == "baseline":
        return condition.label
    return f"{condition.label} (raw {', '.join(raw)})"


def _joined(stretches: tuple[Stretch, ...]) -> str:
    return "".join(stretch.text for stretch in stretches)


def row_of(session: Session, index: int) -> int | None:
    """Where the run with an index among all planned ones stands in a session; None while it is not finished."""
    return next((row for row, run in enumerate(session.runs) if run.index == index), None)


@dataclass(frozen=True)
class Coordinate:
    """One coordinate of a captured site."""

    site: str
    index: int

    @property
    def caption(self) -> str:
        """How it is called: "n373 · L11 hook_post"."""
        return f"{coordinate_caption(self.site, self.index)} · {site_caption(self.site)}"


@dataclass(frozen=True)
class FedToken:
    """A token as it was fed.

    Attributes:
        position: among the prompt's tokens, or among the generated ones, from 1.
        generated: whether the model wrote it.
        token_id: what was fed.
    """

    position: int
    generated: bool
    token_id: int

    @property
    def caption(self) -> str:
        """How it is called: "token 7", "prompt token 3"."""
        return f"{'' if self.generated else 'prompt '}token {self.position}"


@dataclass(frozen=True, eq=False)
class TokenSeries:
    """The activation of a coordinate along a run.

    Attributes:
        coordinate: whose.
        fed: [token] the tokens it was captured at.
        values: [token] the activation when that token was fed.
        baseline: the baseline's tokens and values at the same positions; empty for a baseline, or where it is missing.
    """

    coordinate: Coordinate
    fed: tuple[FedToken, ...]
    values: NDArray[np.float64]
    baseline_fed: tuple[FedToken, ...]
    baseline: NDArray[np.float64]


def coordinates_of(session: Session) -> tuple[Coordinate, ...]:
    """Those intervened on, then those of the planes; ExplorerError where the session kept no tokens of them."""
    if session.spec.capture.reduce != "tokens":
        what = "the activations were kept as one vector a run"
        raise ExplorerError(what, remedy="set capture to tokens and run again to see every token")
    if session.sidecar is None:
        what = "the session was saved without its vectors"
        raise ExplorerError(what, remedy="run it again under another name to have them")
    widths = session.sidecar.sites
    named = [(edit.site, neuron) for edit in session.spec.interventions for neuron in edit.neurons]
    named += [(plane.site, index) for plane in session.planes for index in plane.coordinates]
    captured = [Coordinate(site, index) for site, index in dict.fromkeys(named) if index < widths.get(site, 0)]
    if not captured:
        raise ExplorerError("no neuron of the experiment was captured", remedy="capture the site it lies at")
    return tuple(captured)


def series_of(session: Session, vectors: Path, row: int, other: int | None, coordinate: Coordinate) -> TokenSeries:
    """Read a run's activations, and its baseline's.

    Args:
        session: the run's.
        vectors: the file that `Session.vectors_path` has checked.
        row: the run's index in the session.
        other: the baseline's; None for none.
        coordinate: one of `coordinates_of`.

    Raises:
        ExplorerError: the file is missing or damaged.
    """
    fed, values = _read(session, vectors, row, coordinate)
    if other is None or other == row:
        return TokenSeries(coordinate, fed, values, (), np.empty(0))
    return TokenSeries(coordinate, fed, values, *_read(session, vectors, other, coordinate))


def fed_tokens(session: Session, row: int) -> tuple[FedToken, ...]:
    """The tokens of a run that its capture covers, in the order they were fed; ExplorerError where it does not say."""
    run = session.runs[row]
    prompt = [FedToken(at + 1, False, token) for at, token in enumerate(session.prompts[run.prompt].token_ids)]
    written = [FedToken(at + 1, True, token) for at, token in enumerate(run.token_ids)]
    positions = captured_at(session, run.prompt)
    match positions:
        case RowPositions():
            fed = dict(enumerate((*prompt, *written)))
            onward = range(len(fed) if positions.start is None else positions.start, len(fed))
            return tuple(fed[at] for at in (*positions.at, *onward) if at in fed)
        case "last":
            return tuple(prompt[-1:])
        case "generated":
            return tuple(written)
        case "predicting":
            return (*prompt[-1:], *written)
        case "prompt":
            return tuple(prompt)
        case "all":
            return (*prompt, *written)


def _read(
    session: Session, vectors: Path, row: int, coordinate: Coordinate
) -> tuple[tuple[FedToken, ...], NDArray[np.float64]]:
    values = read_columns(vectors, coordinate.site, row, [coordinate.index])[:, 0].astype(np.float64)
    fed = fed_tokens(session, row)
    if len(fed) != len(values):
        what = f"run {session.runs[row].index} has {len(fed)} captured tokens, its vectors {len(values)}"
        raise ExplorerError(what, where=str(vectors), remedy="restore the file from a copy")
    return fed, values
