"""Running a session again, and saying what came out differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.directions import direction_of_run
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.batches import same_rows
from srm_explorer.engine.execution.bench import Bench, Subject
from srm_explorer.engine.execution.lengths import LengthPass
from srm_explorer.engine.execution.provenance import Provenance, versions
from srm_explorer.engine.execution.rows import as_saved, check_directions
from srm_explorer.engine.execution.survey_replay import SavedParts, SurveyAgain
from srm_explorer.engine.experiment import Site, check_against, targets_of
from srm_explorer.engine.io.vectors import Matrix
from srm_explorer.engine.model import (
    DEMO,
    LoadedModel,
    RowResult,
    decode,
    device_key,
    load_model,
    self_test,
    set_threads,
    settings_given_back,
)
from srm_explorer.engine.runs.collect import grid_of
from srm_explorer.engine.runs.device_lock import device_lock
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.runs.progress import Meter, Progress, StopSignal
from srm_explorer.engine.runs.units import check_resolved
from srm_explorer.engine.session import DamagedError, RunRecord, Session, read_record
from srm_explorer.engine.session.controls import controls_of


@dataclass(frozen=True)
class Recorded:
    """What replaying needs to know.

    Args:
        source: folder or name the model was loaded from.
        weights_sha256: hash of its parameters.
        threads: of the processor, which decide how sums are split.
        base: the folder that relative paths started from.
        layout: the batches as they were run.
    """

    source: str
    weights_sha256: str
    threads: int
    base: Path
    layout: Layout

    def check_ids(self, session: Session, model: LoadedModel) -> None:
        """Refuse prompts that the model cannot be fed.

        Raises:
            ExplorerError: a prompt without tokens, too long, or with ids the model does not have.
        """
        vocabulary: int = model.bridge.cfg.d_vocab
        for number, prompt in enumerate(session.prompts):
            ids = prompt.token_ids
            fits = 0 < len(ids) <= model.shape.n_ctx - session.spec.generation.tokens
            if not fits or not all(0 <= token < vocabulary for token in ids):
                raise _damaged(session, f"prompts[{number}].token_ids cannot be fed to this model")
        chosen = controls_of(session)
        for match in chosen.matches if chosen else ():
            if any(neuron >= model.shape.width(Site.parse(match.site)) for neuron in match.neurons):
                raise _damaged(session, f"a control of {match.site} is no neuron of this model")


def recorded_in(session: Session) -> Recorded:
    """Read what a session says about its run.

    Raises:
        ExplorerError: something is missing or makes no sense.
    """
    if session.is_imported:
        what = "it came from elsewhere, and its model and tokens are unknown"
        raise ExplorerError(what, where=session.name, remedy="run its experiment here to have one that can be replayed")
    try:
        provenance = read_record(Provenance, session.provenance)
        recorded = Recorded(
            source=provenance.model.source,
            weights_sha256=provenance.model.weights_sha256,
            threads=provenance.threads,
            base=Path(provenance.base),
            layout=_layout(session),
        )
        if session.resolved or any(run.condition for run in session.runs):
            check_resolved(session.spec, session.resolved)
        _check_controls(session)
    except DamagedError as error:
        raise _damaged(session, str(error)) from None
    if not 1 <= recorded.threads <= 1024:
        raise _damaged(session, f"it says that {recorded.threads} threads were used")
    return recorded


def _layout(session: Session) -> Layout:
    try:
        layout = read_record(Layout, session.layout)
    except DamagedError:
        raise DamagedError("layout does not say which runs shared a batch") from None
    laid_out = [index for batch in layout.batches for index in batch]
    total = len(grid_of(session.spec, len(session.prompts)))
    if sorted(laid_out) != [run.index for run in session.runs] or not all(0 <= index < total for index in laid_out):
        raise DamagedError("layout holds other runs than the session")
    return layout


def _check_controls(session: Session) -> None:
    if "control" not in session.kinds:
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
        runs_equal: every token, and every number of every vector where they are kept, is the same.
        compared_vectors: whether the session's vectors were there to compare with.
        why_not: what was wrong with them; empty where nothing was.
        survey: what came of the parts of its survey; None where none is finished.
        changed: what differs from where the session was made, "torch: 2.12 -> 2.13"; bit-equality is owed only
            where nothing does.
    """

    runs: int
    deviations: tuple[Deviation, ...]
    vectors: dict[str, float]
    runs_equal: bool
    compared_vectors: bool
    why_not: str
    survey: SurveyAgain | None
    changed: tuple[str, ...]

    @property
    def bit_equal(self) -> bool:
        """Whether the runs are the same, and every number of every table of a survey where they are kept."""
        return self.runs_equal and (self.survey is None or self.survey.bit_equal)

    @property
    def is_whole(self) -> bool:
        """Whether all that was kept of the session was there to compare with."""
        return self.compared_vectors and not (self.survey and self.survey.why_not)


@settings_given_back()
def replay(
    session: Session, base: Path, *, listener: Callable[[Progress], None] | None = None, stop: StopSignal | None = None
) -> Replay:
    """Run a session's runs again, in its batch layout, with its token ids and raw values; then its survey's parts.

    Args:
        session: finished or interrupted; what it holds is replayed.
        base: the folder that relative paths of its spec start from.
        listener: told how far it is.
        stop: asked after every step.

    Raises:
        ExplorerError: the model or a direction is not there, or is another one; nothing to replay; a session that does
            not say what replaying needs.
        Stopped: it was asked to stop.
    """
    if not session.runs:
        raise ExplorerError("the session has no runs", where=session.name, remedy="choose another")
    recorded = recorded_in(session)
    parts = _parts_of(session)
    meter = Meter([listener] if listener else [], stop or StopSignal())
    with device_lock(device_key(session.spec.model, base), meter):
        return _replayed(session, base, recorded, parts, meter)


def _parts_of(session: Session) -> SavedParts | SurveyAgain | None:
    """The finished parts of a survey, or why they cannot be done again; None without one."""
    try:
        return SavedParts.of(session)
    except DamagedError as error:
        raise _damaged(session, str(error)) from None
    except ExplorerError as error:
        return SurveyAgain(why_not=str(error))


def _replayed(
    session: Session, base: Path, recorded: Recorded, parts: SavedParts | SurveyAgain | None, meter: Meter
) -> Replay:
    meter.stage("loading")
    directions = same_directions(session, recorded, base)
    model = _same_model(session, recorded, base)
    meter.weigh = model.placement.used_bytes
    check_against(session.spec, model.shape)
    check_directions(session.spec, directions, model)
    recorded.check_ids(session, model)
    if isinstance(parts, SavedParts):
        try:
            parts.check_fits(model)
        except DamagedError as error:
            raise _damaged(session, str(error)) from None
    set_threads(recorded.threads)
    meter.stage("testing")
    self_test(model, partial(meter.part, "testing"))
    saved: dict[str, Matrix | list[Matrix]] = {}
    why_not = ""
    shorter: dict[str, list[Matrix]] = {}
    try:
        saved, shorter = session.vectors(), session.shorter_means()
    except ExplorerError as error:
        why_not = str(error)
    meter.runs, meter.steps = len(session.runs), session.spec.generation.tokens
    bench = Bench(model, Subject(session.spec, session.prompts, directions))
    again = dict(_results(session, recorded.layout, bench, meter))
    deviations, worst = _compared(session, again, saved)
    if shorter and not deviations:
        _compare_means(session, recorded.layout, bench, meter, shorter, worst)
    if isinstance(parts, SavedParts):
        parts = SurveyAgain(why_not=why_not) if why_not else parts.replay(bench, saved, meter)
    return Replay(
        runs=len(session.runs),
        deviations=deviations,
        vectors=worst,
        runs_equal=not deviations and not any(worst.values()),
        compared_vectors=bool(saved),
        why_not=why_not,
        survey=parts,
        changed=_changes(session, model),
    )


def _results(session: Session, layout: Layout, bench: Bench, meter: Meter) -> Iterator[tuple[int, RowResult]]:
    maker = bench.maker
    captures = [capture for _, capture in maker.captures()]
    controls = controls_of(session)
    for batch in layout.batches:
        meter.begin_batch(len(batch))
        with same_rows(len(batch), maker.model):
            rows = maker.rows(batch, session.resolved, controls)
            decoded = decode(maker.model, rows, maker.generation(), captures, on_step=meter.step)
        meter.end_batch(sum(len(row.tokens) for row in decoded.rows))
        yield from zip(batch, decoded.rows, strict=True)


def _compare_means(
    session: Session,
    layout: Layout,
    bench: Bench,
    meter: Meter,
    saved: Mapping[str, Sequence[Matrix]],
    worst: dict[str, float],
) -> None:
    """Take the means over first tokens again, and note by site where they differ more than its vectors do."""
    meter.stage("lengths")
    again = LengthPass(session.spec, bench.model.shape, layout.batches, session.runs)
    controls = controls_of(session)
    row_of = {run.index: row for row, run in enumerate(session.runs)}
    for part in again.parts:
        task = again.task(part, session.resolved, controls)
        for index, named in task.carry_out(bench, meter.halt).items():
            for site, was in saved.items():
                worst[site] = max(worst.get(site, 0.0), _difference(named[site], was[row_of[index]]))


def same_directions(session: Session, recorded: Recorded, base: Path) -> dict[str, np.ndarray]:
    """The directions that a session's interventions went along, by the text that names them.

    Those that it does not hold are read from beside it, else from where the run had them.

    Raises:
        ExplorerError: one is missing, or not the one the session was made with.
    """
    directions: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(edit.direction for edit in session.spec.interventions):
        if name is not None:
            file = paths.expanded(name.rpartition("#")[0])
            start = base if (base / file).is_file() else recorded.base
            directions[name] = direction_of_run(session, name, start)
    return directions


def _same_model(session: Session, recorded: Recorded, base: Path) -> LoadedModel:
    spec = session.spec.model
    if spec.name != DEMO and Path(recorded.source).is_dir():
        spec = spec.model_copy(update={"name": recorded.source})
    model = load_model(spec, base=base)
    if model.weights_sha256 != recorded.weights_sha256:
        raise ExplorerError(
            "the model's weights are not those the session was made with",
            where=spec.name,
            remedy=f"load the model with hash {recorded.weights_sha256[:12]}…",
        )
    return model


def _compared(
    session: Session, again: dict[int, RowResult], saved: dict[str, Matrix | list[Matrix]]
) -> tuple[tuple[Deviation, ...], dict[str, float]]:
    deviations: list[Deviation] = []
    worst = dict.fromkeys(saved, 0.0)
    for row, run in enumerate(session.runs):
        result = again[run.index]
        if result.tokens != run.token_ids:
            deviations.append(_deviation(run, result.tokens))
            continue
        for number, site in enumerate(session.spec.capture.sites):
            if site in saved:
                now = as_saved(result.captured[number])
                worst[site] = max(worst[site], _difference(now, saved[site][row]))
    return tuple(deviations), worst


def _difference(now: np.ndarray, was: np.ndarray) -> float:
    """Find the largest difference of two vectors; infinite where one has no number, or another one, to compare with."""
    if now.shape != was.shape:
        return float("inf")
    differing = ~((now == was) | (np.isnan(now) & np.isnan(was)))
    if not differing.any():
        return 0.0
    apart = np.abs(now[differing].astype(np.float64) - was[differing])
    return float(np.where(np.isnan(apart), np.inf, apart).max())


def _deviation(run: RunRecord, tokens: Sequence[int]) -> Deviation:
    shorter = min(len(run.token_ids), len(tokens))
    first = next((i for i in range(shorter) if run.token_ids[i] != tokens[i]), shorter)
    was = run.token_ids[first] if first < len(run.token_ids) else None
    return Deviation(run, first, was, tokens[first] if first < len(tokens) else None)


def _changes(session: Session, model: LoadedModel) -> tuple[str, ...]:
    was = {"device": session.provenance.get("device"), **session.told("versions")}
    now = {"device": model.placement.describe(), **versions()}
    return tuple(f"{name}: {was.get(name)} -> {value}" for name, value in now.items() if was.get(name) != value)
