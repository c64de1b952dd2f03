"""From the sums of a scoring to what a session keeps of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.errors import ExplorerError
from engine.model.load import LoadedModel
from engine.model.token_scores import top_tokens
from engine.runner.provenance import describe_device, versions
from engine.runner.scoring import Scoring, rounded
from engine.session import Session
from engine.session.effect_records import MovedToken, Moves
from engine.studies.directions import as_rows

MOST_MOVED = 10
"""Token ids of each list of a condition."""

Floats = NDArray[np.float64]


def moves_of(scoring: Scoring, model: LoadedModel) -> tuple[Moves, ...]:
    """List the token ids that each condition moves most, by log-probability and by probability."""
    found: list[Moves] = []
    for (name, condition), (shift, mass) in scoring.shift.items():
        tokens, untouched = max(1, scoring.tokens[name, condition]), scoring.untouched[name, condition]
        promoted, suppressed = top_tokens(shift, MOST_MOVED)
        gained, lost = top_tokens(mass - untouched, MOST_MOVED)
        wanted = {"promoted": promoted, "suppressed": suppressed, "gained": gained, "lost": lost}
        means = np.stack([shift, mass, untouched]) / tokens
        lists = {key: tuple(_moved(one, means, model) for one in ids) for key, ids in wanted.items()}
        found.append(Moves(name, condition, tokens, lists))
    return tuple(sorted(found, key=lambda one: (one.text, one.condition)))


def _moved(token: int, means: Floats, model: LoadedModel) -> MovedToken:
    return MovedToken(token, model.tokenizer.decode([token]), *map(rounded, means[:, token].tolist()))


def vectors_of(session: Session, scoring: Scoring) -> dict[str, Floats]:
    """Lay out every vector that is known, a row a run: [run, d] by "<site>/<cell>", NaN where there is none."""
    place_of = {run.index: place for place, run in enumerate(session.runs)}
    found: dict[str, Floats] = {}
    for index, site, name, vector in scoring.cells():
        table = found.setdefault(f"{site}/{name}", np.full((len(session.runs), len(vector)), np.nan))
        table[place_of[index]] = vector
    return found


def reproduced_in(session: Session, vectors: Mapping[str, Floats]) -> dict[str, float]:
    """Compare the free runs as they were scored with those that were saved, where those are at hand."""
    try:
        saved = session.vectors()
    except ExplorerError:
        return {}
    found: dict[str, float] = {}
    for site, own in saved.items():
        scored = vectors.get(f"{site}/edited_on_own")
        if scored is None:
            continue
        there = np.isfinite(scored).all(axis=1)
        kept = as_rows(own)[there]
        if kept.size and np.isfinite(kept).all():
            scale = max(float(np.abs(kept).max()), 1e-12)
            found[site] = rounded(float(np.abs(kept - scored[there]).max()) / scale)
    return found


def origin_of(session: Session, model: LoadedModel) -> dict[str, str]:
    """State what a scoring was made with."""
    return {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "tokenizer_sha256": model.tokenizer.sha256(),
        "device": describe_device(model.device),
        "dtype": session.spec.model.dtype,
        **versions(),
    }
