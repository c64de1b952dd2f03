"""Scoring the texts of a session under every condition, and keeping what came of it in the session."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses import Arguments, Findings, SiteRuns, basis_of_record, effects_study
from srm_explorer.engine.errors import ExplorerError, SpecValueError, did_you_mean
from srm_explorer.engine.execution.provenance import check_same_model, versions
from srm_explorer.engine.execution.replay import recorded_in, same_directions
from srm_explorer.engine.execution.rows import RowMaker, check_directions
from srm_explorer.engine.experiment import Site, check_against
from srm_explorer.engine.io.arrays import write_npz
from srm_explorer.engine.io.vectors import as_rows
from srm_explorer.engine.model import (
    Capture,
    Forced,
    GivenText,
    LoadedModel,
    score_texts,
    top_tokens,
)
from srm_explorer.engine.model_analyses.accumulate import Scoring, rounded, texts_of
from srm_explorer.engine.runs.collect import grid_of
from srm_explorer.engine.runs.progress import Meter, Stopped, StopSignal
from srm_explorer.engine.session import PlaneRecord, RunRecord, Saved, Session, save_session
from srm_explorer.engine.session.effects import TEXT_NAMES, Effects, MovedToken, Moves, RunEffects, TextName
from srm_explorer.engine.session.session import now
from srm_explorer.engine.stats.planes import Plane, neuron_plane


def maker_of(session: Session, model: LoadedModel) -> RowMaker:
    """Check that the session and the model belong together, and know how to turn a run into its edits."""
    check_same_model(session, model)
    known = session.told("tokenizer").get("sha256")
    if known and known != model.tokenizer.sha256():
        raise ExplorerError(
            f"{model.name} has not the tokenizer that session {session.name} was made with",
            where=model.name,
            remedy=f"use the one with hash {str(known)[:12]}…",
        )
    recorded = recorded_in(session)
    recorded.check_ids(session, model)
    directions = same_directions(session, recorded, (session.path or Path()).parent)
    check_against(session.spec, model.shape)
    check_directions(session.spec, directions, model)
    return RowMaker(session.spec, grid_of(session.spec, len(session.prompts)), session.prompts, directions, model)


def captures_of(session: Session, maker: RowMaker, sites: Sequence[str] | None) -> dict[str, Capture]:
    """List what is kept of every row, by site: the captured positions, all tokens; errors for a site that is none."""
    capture = session.spec.capture
    captures: dict[str, Capture] = {}
    for site in capture.sites if sites is None else sites:
        try:
            centred = Site.parse(site).is_stream and capture.residual == "centred"
        except SpecValueError as error:
            raise ExplorerError(error.what, where="sites", remedy=error.remedy) from None
        captures[site] = Capture(site, "tokens", maker.captured, centred)
    maker.model.check_sites(list(captures))
    return captures


def planes_of(
    session: Session, model: LoadedModel, captures: Mapping[str, Capture]
) -> dict[str, tuple[list[tuple[str, str]], list[Plane]]]:
    """List the planes of the session whose coordinates are kept, by site: their names, and they themselves.

    A plane of directions that are made of the runs is left out where the session's vectors are not at hand.
    """
    by_site: dict[str, tuple[list[tuple[str, str]], list[Plane]]] = {}
    for record in session.planes:
        if record.site not in captures:
            continue
        try:
            plane = _plane(session, record, model)
        except ExplorerError:
            continue
        named, planes = by_site.setdefault(record.site, ([], []))
        named.append((str(record.a), str(record.b)))
        planes.append(plane)
    return by_site


def _plane(session: Session, record: PlaneRecord, model: LoadedModel) -> Plane:
    if isinstance(record.a, int) and isinstance(record.b, int):
        return neuron_plane(model.shape.width(Site.parse(record.site)), record.a, record.b)
    return basis_of_record(record, SiteRuns.of(session, record.site, session.vectors()[record.site]))


MOST_MOVED = 10
"""Token ids of each list of a condition."""

Floats = NDArray[np.float64]


def moves_of(scoring: Scoring, model: LoadedModel) -> tuple[Moves, ...]:
    """List the token ids that each condition moves most, by log-probability and by probability."""
    moves: list[Moves] = []
    for (name, condition), (shift, mass) in scoring.shift.items():
        tokens, untouched = max(1, scoring.tokens[name, condition]), scoring.untouched[name, condition]
        promoted, suppressed = top_tokens(shift, MOST_MOVED)
        gained, lost = top_tokens(mass - untouched, MOST_MOVED)
        token_ids = {"promoted": promoted, "suppressed": suppressed, "gained": gained, "lost": lost}
        means = np.stack([shift, mass, untouched]) / tokens
        lists = {key: tuple(_moved(token, means, model) for token in ids) for key, ids in token_ids.items()}
        moves.append(Moves(name, condition, tokens, lists))
    return tuple(sorted(moves, key=lambda moved: (moved.text, moved.condition)))


def _moved(token: int, means: Floats, model: LoadedModel) -> MovedToken:
    return MovedToken(token, model.tokenizer.piece(token), *map(rounded, means[:, token].tolist()))


def vectors_of(session: Session, scoring: Scoring) -> dict[str, Floats]:
    """Lay out every vector that is known, a row a run: [run, d] by "<site>/<cell>", NaN where there is none."""
    row_of = {run.index: row for row, run in enumerate(session.runs)}
    tables: dict[str, Floats] = {}
    for index, site, name, vector in scoring.cells():
        table = tables.setdefault(f"{site}/{name}", np.full((len(session.runs), len(vector)), np.nan))
        table[row_of[index]] = vector
    return tables


def reproduced_in(session: Session, vectors: Mapping[str, Floats]) -> dict[str, float]:
    """Compare the free runs as they were scored with those that were saved, where those are at hand."""
    try:
        saved = session.vectors()
    except ExplorerError:
        return {}
    differences: dict[str, float] = {}
    for site, rows in saved.items():
        scored = vectors.get(f"{site}/edited_on_own")
        if scored is None:
            continue
        there = np.isfinite(scored).all(axis=1)
        kept = as_rows(rows)[there]
        if kept.size and np.isfinite(kept).all():
            scale = max(float(np.abs(kept).max()), 1e-12)
            differences[site] = rounded(float(np.abs(kept - scored[there]).max()) / scale)
    return differences


def origin_of(session: Session, model: LoadedModel) -> dict[str, str]:
    """State what a scoring was made with."""
    return {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "tokenizer_sha256": model.tokenizer.sha256(),
        "device": model.placement.describe(),
        "dtype": session.spec.model.dtype,
        **versions(),
    }


_SCORE_ARGUMENTS = ("texts", "given", "sites", "controls")
"""Arguments of the study "score" that `score_effects` takes."""


@dataclass(frozen=True, eq=False)
class ScoredSession:
    """What came of a scoring.

    Attributes:
        session: with what was found, not saved yet.
        vectors: the vectors of every run in its order, by "<site>/<cell>", see `accumulate.CELLS`: [run, d],
            NaN where one was not scored; empty unless they were asked for.
    """

    session: Session
    vectors: dict[str, NDArray[np.float64]]


def score_effects(
    session: Session,
    model: LoadedModel,
    *,
    texts: Sequence[TextName] = ("baseline", "condition"),
    given: str = "",
    sites: Sequence[str] | None = None,
    controls: bool = False,
    keep_vectors: bool = False,
    rows: int | None = None,
    meter: Meter | None = None,
) -> ScoredSession:
    """Score the texts of a session's runs, untouched and under their conditions.

    Args:
        session: whose recorded token ids and raw values are used.
        model: the one the session was made with.
        texts: which: the baselines' continuations under every condition, and the conditions' own, untouched and under
            their condition. Both are needed for what goes through the text.
        given: a text to put after every prompt, and to score under every condition; empty for none.
        sites: where vectors are compared; the captured ones by default.
        controls: whether runs of control neurons are scored too.
        keep_vectors: whether the full vectors are returned.
        rows: the most rows of a pass; None plans it from free memory.
        meter: told how far it is, and asked whether it should go on.

    Raises:
        ExplorerError: another model or tokenizer than the session's, a site that does not exist, no text to score.
        Stopped: it was asked to stop.
    """
    meter = meter or Meter([], StopSignal())
    names = _names(texts, given)
    maker = maker_of(session, model)
    captures = captures_of(session, maker, sites)
    ids = model.tokenizer.encode(given, prepend_bos=False) if given else []
    scored_texts = texts_of(session, maker, names, ids, controls=controls)
    if not any(scored.text.tokens for scored in scored_texts):
        raise ExplorerError(
            "there is no text to score", where=session.name, remedy="generate tokens, or give a text with --text"
        )
    named_planes = planes_of(session, model, captures)
    planes = {site: spanned for site, (_, spanned) in named_planes.items()}
    scoring = Scoring(session, captures, session.spec.capture.reduce, planes)
    scored_texts = [scored for scored in scored_texts if scored.text.tokens]
    given_texts = [scored.text for scored in scored_texts]
    for index, results in forced(model, given_texts, list(captures.values()), meter, rows=rows):
        scoring.take(scored_texts[index], results)
    kept = vectors_of(session, scoring) if keep_vectors or session.sidecar else {}
    effects = Effects(
        scored=now(),
        texts=names,
        given=given,
        sites=tuple(captures),
        planes=tuple((site, *plane) for site, (named, _) in named_planes.items() for plane in named),
        origin=origin_of(session, model),
        reproduced=reproduced_in(session, kept),
        runs=scoring.results(),
        moves=moves_of(scoring, model),
        means=scoring.means(),
    )
    # As it will be read from the file, so that a session in memory is the same as the one on disk.
    plain = cast("Mapping[str, Any]", effects.to_dict())
    runs = tuple(_with_metrics(run, effects.runs.get(run.index)) for run in session.runs)
    return ScoredSession(session.changed(effects=plain, runs=runs), kept if keep_vectors else {})


def score_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Score a session, save it, and return the tables of the effects study; the home of the study "score".

    Args:
        session: as it is on disk.
        arguments: `texts`, `given`, `sites` and `controls` as `score_effects`; `npz`, a path to write the full vectors
            to; and those of the effects study.
        model: the session's.
        meter: told how far it is, and asked whether it should go on.

    Raises:
        ExplorerError: as `score_effects`, without a session, and where it cannot be saved.
        Stopped: it was asked to stop; nothing is saved.
    """
    if session is None:
        raise ExplorerError("the texts to score are those of a session", remedy="name one")
    settings = {name: arguments[name] for name in _SCORE_ARGUMENTS if arguments.get(name) is not None}
    file = arguments.get("npz")
    scored = score_effects(session, model, **settings, keep_vectors=file is not None, meter=meter)
    meter.stage("saving")
    if file is not None:
        indices = np.array([run.index for run in scored.session.runs])
        write_npz(Path(file), {**scored.vectors, "run": indices}.items())
    saved = save_scored(scored.session)
    rest = {name: value for name, value in arguments.items() if name not in (*_SCORE_ARGUMENTS, "npz")}
    return {**effects_study(saved.session, rest), "session": str(saved.path), "told": saved.note}


def save_scored(session: Session) -> Saved:
    """Save a session where it was read from; under another name where it was changed there meanwhile."""
    if session.path is None:
        raise ExplorerError("this session is not saved yet", where=session.name, remedy="save it first")
    return save_session(session, session.path)


def forced(
    model: LoadedModel,
    texts: Sequence[GivenText],
    captures: Sequence[Capture],
    meter: Meter,
    *,
    watched: Sequence[int] = (),
    rows: int | None = None,
) -> Iterator[tuple[int, list[Forced]]]:
    """Score texts as `score_texts` does, and tell a meter of every pass; raises Stopped where that is wished."""
    meter.runs, meter.runs_done = sum(1 + len(text.settings) for text in texts), 0
    meter.steps = max(len(text.tokens) for text in texts)

    def on_pass(count: int, tokens: int) -> None:
        meter.end_pass(min(count, meter.runs - meter.runs_done), tokens)
        if meter.stop.level:
            raise Stopped

    meter.begin_batch(0)
    yield from score_texts(model, texts, captures, watched=watched, rows=rows, on_pass=on_pass)


def _names(texts: Sequence[str], given: str) -> tuple[TextName, ...]:
    for name in texts:
        if name not in TEXT_NAMES or name == "given":
            raise ExplorerError(f"there is no text '{name}'", remedy=did_you_mean(name, TEXT_NAMES[:2]))
    return tuple(name for name in TEXT_NAMES if name in texts or (name == "given" and given))


def _with_metrics(run: RunRecord, effects: RunEffects | None) -> RunRecord:
    """Note what one number says of a run, so that runs can be sorted and filtered by it."""
    if effects is None:
        return run
    metrics = {name: value for name, value in run.metrics.items() if name not in ("perplexity", "kl")}
    if effects.perplexity is not None:
        metrics["perplexity"] = effects.perplexity
    if "baseline" in effects.texts and effects.texts["baseline"].kl:
        metrics["kl"] = rounded(float(np.mean(effects.texts["baseline"].kl)))
    return dataclasses.replace(run, metrics={name: value for name, value in metrics.items() if math.isfinite(value)})
