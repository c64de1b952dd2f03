"""Scoring the texts of a session under every condition, and keeping what came of it in the session."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.errors import ExplorerError
from engine.model.capture import Capture
from engine.model.forcing import score_texts
from engine.model.load import LoadedModel
from engine.npz import write_npz
from engine.runner.progress import Meter, Stop, Stopped
from engine.runner.scored_texts import ScoredText, texts_of
from engine.runner.scoring import Scoring, rounded
from engine.runner.scoring_inputs import captures_of, maker_of, planes_of
from engine.runner.scoring_results import moves_of, origin_of, reproduced_in, vectors_of
from engine.session import RunRecord, Saved, Session, save_session
from engine.session.effect_records import TEXT_NAMES, TextName
from engine.session.effects import Effects, RunEffects
from engine.session.fields import json_line
from engine.session.session import now
from engine.spec.refusal import did_you_mean
from engine.studies.effects import effects_study
from engine.studies.study import Arguments, Findings

_OWN = ("texts", "given", "sites", "controls")
"""Arguments of the study "score" that `score_effects` takes."""


@dataclass(frozen=True, eq=False)
class ScoredSession:
    """What came of a scoring.

    Attributes:
        session: with what was found, not saved yet.
        vectors: the vectors of every run in its order, by "<site>/<cell>", see `engine.runner.scoring.CELLS`: [run, d],
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
    meter = meter or Meter([], Stop())
    names = _names(texts, given)
    maker = maker_of(session, model)
    captures = captures_of(session, model, sites)
    ids = model.tokenizer.encode(given, prepend_bos=False) if given else []
    wanted = texts_of(session, maker, names, ids, controls=controls)
    if not any(one.text.tokens for one in wanted):
        raise ExplorerError(
            "there is no text to score", where=session.name, remedy="generate tokens, or give a text with --text"
        )
    planes = planes_of(session, model, captures)
    scoring = Scoring(session, captures, session.spec.capture.reduce, {site: own for site, (_, own) in planes.items()})
    _score(model, wanted, captures, scoring, rows, meter)
    kept = vectors_of(session, scoring) if keep_vectors or session.sidecar else {}
    effects = Effects(
        scored=now(),
        texts=names,
        given=given,
        sites=tuple(captures),
        planes=tuple((site, *plane) for site, (named, _) in planes.items() for plane in named),
        origin=origin_of(session, model),
        reproduced=reproduced_in(session, kept),
        runs=scoring.results(),
        moves=moves_of(scoring, model),
        means=scoring.means(),
    )
    # As it will be read from the file, so that a session in memory is the same as the one on disk.
    plain = cast("Mapping[str, Any]", json.loads(json_line(effects.to_dict())))
    runs = tuple(_with_metrics(run, effects.runs.get(run.index)) for run in session.runs)
    return ScoredSession(session.changed(effects=plain, runs=runs), kept if keep_vectors else {})


def score_study(session: Session, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Score a session, save it, and return the tables of the effects study; the home of the study "score".

    Args:
        session: as it is on disk.
        arguments: `texts`, `given`, `sites` and `controls` as `score_effects`; `npz`, a path to write the full vectors
            to; and those of the effects study.
        model: the session's.
        meter: told how far it is, and asked whether it should go on.

    Raises:
        ExplorerError: as `score_effects`, and where the session cannot be saved.
        Stopped: it was asked to stop; nothing is saved.
    """
    own = {name: arguments[name] for name in _OWN if arguments.get(name) is not None}
    file = arguments.get("npz")
    scored = score_effects(session, model, **own, keep_vectors=file is not None, meter=meter)
    meter.stage("saving")
    if file is not None:
        indices = np.array([run.index for run in scored.session.runs])
        write_npz(Path(file), {**scored.vectors, "run": indices}.items())
    saved = save_scored(scored.session)
    rest = {name: value for name, value in arguments.items() if name not in (*_OWN, "npz")}
    return {**effects_study(saved.session, rest), "session": str(saved.path), "told": saved.told}


def save_scored(session: Session) -> Saved:
    """Save a session where it was read from; under another name where it was changed there meanwhile."""
    if session.path is None:
        raise ExplorerError("this session is not saved yet", where=session.name, remedy="save it first")
    return save_session(session, session.path)


def _score(
    model: LoadedModel,
    wanted: Sequence[ScoredText],
    captures: Mapping[str, Capture],
    scoring: Scoring,
    rows: int | None,
    meter: Meter,
) -> None:
    scored = [one for one in wanted if one.text.tokens]
    meter.runs = sum(1 + len(one.text.settings) for one in scored)
    meter.steps = max(len(one.text.tokens) for one in scored)

    def heard(count: int, tokens: int) -> None:
        meter.begin_batch(min(count, meter.runs - meter.runs_done))
        meter.end_batch(tokens)
        if meter.stop.wishes:
            raise Stopped

    meter.begin_batch(0)
    found = score_texts(model, [one.text for one in scored], list(captures.values()), rows=rows, on_pass=heard)
    for place, results in found:
        scoring.take(scored[place], results)


def _names(texts: Sequence[str], given: str) -> tuple[TextName, ...]:
    for name in texts:
        if name not in TEXT_NAMES or name == "given":
            raise ExplorerError(f"there is no text '{name}'", remedy=did_you_mean(name, TEXT_NAMES[:2]))
    return tuple(name for name in TEXT_NAMES if name in texts or (name == "given" and given))


def _with_metrics(run: RunRecord, found: RunEffects | None) -> RunRecord:
    """Note what one number says of a run, so that runs can be sorted and filtered by it."""
    if found is None:
        return run
    told = {name: value for name, value in run.metrics.items() if name not in ("perplexity", "kl")}
    if found.perplexity is not None:
        told["perplexity"] = found.perplexity
    if "baseline" in found.texts and found.texts["baseline"].kl:
        told["kl"] = rounded(float(np.mean(found.texts["baseline"].kl)))
    return dataclasses.replace(run, metrics={name: value for name, value in told.items() if math.isfinite(value)})
