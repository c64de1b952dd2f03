"""Running a session again, and saying what came out differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine.errors import ExplorerError
from engine.model.decode import RowResult, decode
from engine.model.load import LoadedModel, load_model, model_source
from engine.model.selftest import self_test
from engine.runner.collect import grid_of
from engine.runner.inputs import read_direction
from engine.runner.plan import Layout
from engine.runner.progress import Meter, Progress, Stop
from engine.runner.provenance import describe_device, versions
from engine.runner.rows import RowMaker
from engine.session import RunRecord, Session
from engine.vectors import Matrix


@dataclass(frozen=True)
class Deviation:
    """A run whose tokens came out differently.

    Args:
        run: as it was saved.
        first: index of the first token that differs.
        was: the token that was saved there; None past its end.
        now: the token that came now; None past its end.
        margin: the run's smallest top-2 logit margin as saved: a near-tie explains a flip.
    """

    run: RunRecord
    first: int
    was: int | None
    now: int | None

    @property
    def margin(self) -> float | None:
        """Smallest top-2 logit margin of the saved run."""
        return self.run.min_margin


@dataclass(frozen=True)
class Replay:
    """What came of running a session again.

    Args:
        runs: runs that were replayed.
        deviations: runs whose tokens differ.
        vectors: largest absolute difference of a vector by site, over runs with equal tokens; empty without vectors.
        bit_equal: every token, and every number of every vector where they are kept, is the same.
        compared_vectors: whether the session's vectors were there to compare with.
        changed: what differs from where the session was made, "torch: 2.12 -> 2.13"; bit-equality is owed only
            where nothing does.
    """

    runs: int
    deviations: tuple[Deviation, ...]
    vectors: dict[str, float]
    bit_equal: bool
    compared_vectors: bool
    changed: tuple[str, ...]


def replay(
    session: Session,
    base: Path,
    *,
    listener: Callable[[Progress], None] | None = None,
    stop: Stop | None = None,
) -> Replay:
    """Run a session's runs again, in its batch layout, with its token ids and raw values.

    Args:
        session: finished or interrupted; what it holds is replayed.
        base: the folder that relative paths of its spec start from.
        listener: told how far it is.
        stop: asked after every step.

    Raises:
        ExplorerError: the model is not there, or is another one; nothing to replay.
        Stopped: it was asked to stop.
    """
    if not session.runs:
        raise ExplorerError("the session has no runs", where=session.name, remedy="choose another")
    meter = Meter([listener] if listener else [], stop or Stop())
    meter.stage("loading")
    recorded = session.provenance
    model = _same_model(session, base)
    torch.set_num_threads(int(recorded.get("threads", torch.get_num_threads())))
    meter.stage("testing")
    self_test(model)
    try:
        saved = session.vectors()
    except ExplorerError:
        saved = {}
    meter.runs, meter.steps = len(session.runs), session.spec.generation.tokens
    again: dict[int, RowResult] = dict(_results(session, model, base, meter))
    return _compared(session, again, saved, _changes(session, model))


def _results(session: Session, model: LoadedModel, base: Path, meter: Meter) -> Iterator[tuple[int, RowResult]]:
    directions = {
        one.direction: read_direction(one.direction, base)
        for one in session.spec.interventions
        if one.direction is not None
    }
    grid = grid_of(session.spec, len(session.prompts))
    maker = RowMaker(session.spec, grid, session.prompts, directions, model)
    captures = [capture for _, capture in maker.captures()]
    for batch in Layout.from_dict(session.layout).batches:
        meter.begin_batch(len(batch))
        rows = [maker.row(index, session.resolved) for index in batch]
        decoded = decode(model, rows, maker.generation(), captures, on_step=meter.step)
        meter.end_batch()
        yield from zip(batch, decoded.rows, strict=True)


def _same_model(session: Session, base: Path) -> LoadedModel:
    spec = session.spec.model
    recorded = session.provenance["model"]
    source = recorded.get("source", spec.name)
    if spec.name != "demo" and Path(source).is_dir() and not Path(model_source(spec.name, base)).is_dir():
        spec = spec.model_copy(update={"name": source})
    model = load_model(spec, base=base)
    if model.weights_sha256 != recorded["weights_sha256"]:
        raise ExplorerError(
            "the model's weights are not those the session was made with",
            where=spec.name,
            remedy=f"load the model with hash {recorded['weights_sha256'][:12]}…",
        )
    return model


def _compared(
    session: Session,
    again: dict[int, RowResult],
    saved: dict[str, Matrix | list[Matrix]],
    changed: tuple[str, ...],
) -> Replay:
    deviations: list[Deviation] = []
    worst = dict.fromkeys(saved, 0.0)
    for place, run in enumerate(session.runs):
        result = again[run.index]
        if result.tokens != run.token_ids:
            deviations.append(_deviation(run, result.tokens))
            continue
        for number, site in enumerate(session.spec.capture.sites):
            if site in saved:
                now = result.captured[number].astype(np.float32)
                was = saved[site][place]
                # Where a value is not finite on both sides alike, there is no difference to measure.
                same = np.array_equal(now, was, equal_nan=True)
                worst[site] = max(worst[site], 0.0 if same else float(np.abs(now - was).max()))
    return Replay(
        runs=len(session.runs),
        deviations=tuple(deviations),
        vectors=worst,
        bit_equal=not deviations and not any(worst.values()),
        compared_vectors=bool(saved),
        changed=changed,
    )


def _deviation(run: RunRecord, tokens: Sequence[int]) -> Deviation:
    shorter = min(len(run.token_ids), len(tokens))
    first = next((i for i in range(shorter) if run.token_ids[i] != tokens[i]), shorter)
    was = run.token_ids[first] if first < len(run.token_ids) else None
    return Deviation(run, first, was, tokens[first] if first < len(tokens) else None)


def _changes(session: Session, model: LoadedModel) -> tuple[str, ...]:
    recorded = session.provenance
    was = {"device": recorded.get("device"), **recorded.get("versions", {})}
    now = {"device": describe_device(model.device), **versions()}
    return tuple(f"{name}: {was.get(name)} -> {value}" for name, value in now.items() if was.get(name) != value)
