"""What a session says about the run it came from, as far as replaying needs it; a session may come from anyone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import ExplorerError
from engine.model.load import LoadedModel
from engine.runner.collect import grid_of
from engine.runner.plan import Layout
from engine.session import Session
from engine.session.controls import controls_of
from engine.session.fields import DamagedError, take, take_table, take_texts
from engine.spec import Site, conditions, targets_of


@dataclass(frozen=True)
class Recorded:
    """What replaying needs to know.

    Args:
        source: folder or name the model was loaded from.
        weights_sha256: hash of its parameters.
        threads: of the processor, which decide how sums are split.
        base: the folder that relative paths started from.
        inputs: hashes of what was read, by name.
        layout: the batches as they were run.
    """

    source: str
    weights_sha256: str
    threads: int
    base: Path
    inputs: Mapping[str, str]
    layout: Layout

    def check_ids(self, session: Session, model: LoadedModel) -> None:
        """Refuse prompts that the model cannot be fed.

        Raises:
            ExplorerError: a prompt without tokens, too long, or with ids the model does not have.
        """
        vocabulary: int = model.bridge.cfg.d_vocab
        for place, prompt in enumerate(session.prompts):
            ids = prompt.token_ids
            fits = 0 < len(ids) <= model.shape.n_ctx - session.spec.generation.tokens
            if not fits or not all(0 <= one < vocabulary for one in ids):
                raise _damaged(session, f"prompts[{place}].token_ids cannot be fed to this model")
        chosen = controls_of(session)
        for match in chosen.matches if chosen else ():
            if any(neuron >= Site.parse(match.site).width(model.shape) for neuron in match.neurons):
                raise _damaged(session, f"a control of {match.site} is no neuron of this model")


def recorded_in(session: Session) -> Recorded:
    """Read what a session says about its run.

    Raises:
        ExplorerError: something is missing or makes no sense.
    """
    provenance = session.provenance
    try:
        model = take_table(provenance, "model")
        recorded = Recorded(
            source=take(model, "source", str),
            weights_sha256=take(model, "weights_sha256", str),
            threads=take(provenance, "threads", int),
            base=Path(take({"base": "", **provenance}, "base", str)),
            inputs=take_texts(provenance, "inputs"),
            layout=_layout(session),
        )
        _check_values(session)
        _check_controls(session)
    except DamagedError as error:
        raise _damaged(session, str(error)) from None
    if not 1 <= recorded.threads <= 1024:
        raise _damaged(session, f"it says that {recorded.threads} threads were used")
    return recorded


def _layout(session: Session) -> Layout:
    data: Mapping[str, Any] = session.layout
    try:
        layout = Layout.from_dict(data)
    except (KeyError, TypeError, ValueError):
        raise DamagedError("layout does not say which runs shared a batch") from None
    laid_out = [index for batch in layout.batches for index in batch]
    total = len(grid_of(session.spec, len(session.prompts)))
    if sorted(laid_out) != [run.index for run in session.runs] or not all(0 <= index < total for index in laid_out):
        raise DamagedError("layout holds other runs than the session")
    return layout


def _check_values(session: Session) -> None:
    if not session.resolved and not any(run.condition for run in session.runs):
        return
    widths = [0 if one.op == "zero" else max(len(one.neurons), 1) for one in session.spec.interventions]
    expected = [
        [None if value is None else width for value, width in zip(condition.values, widths, strict=True)]
        for condition in conditions(session.spec)
    ]
    if [[None if one is None else len(one) for one in row] for row in session.resolved] != expected:
        raise DamagedError("resolved does not fit the conditions")


def _check_controls(session: Session) -> None:
    kinds = [condition.kind for condition in session.conditions]
    if not any(kinds[run.condition] == "control" for run in session.runs):
        return
    controls = controls_of(session)
    if controls is None or controls.count != session.spec.controls.neurons:
        raise DamagedError("controls are missing")
    if set(targets_of(session.spec.interventions)) - {(match.site, match.target) for match in controls.matches}:
        raise DamagedError("controls do not stand for every neuron")


def _damaged(session: Session, what: str) -> ExplorerError:
    return ExplorerError(
        f"the session does not say how to replay it: {what}",
        where=session.name,
        remedy="restore it from a copy, or run its experiment again",
    )
