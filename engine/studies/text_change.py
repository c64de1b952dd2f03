"""What changed text did to vectors: how far runs lie from where arithmetic alone would have put them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import ExplorerError
from engine.figures.editing import SiteEdits, segment_tokens
from engine.studies.captured import Captured
from engine.studies.pair_ways import holds_writes

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def observed_and_predicted(caught: Captured, site: str, runs: Places) -> tuple[Floats, Floats, Places]:
    """Vectors of length 1 as they are, and as arithmetic makes them of the baseline's where the text is the same.

    Args:
        caught: with the site.
        site: that the experiment intervenes on itself.
        runs: places among the captured runs.

    Returns:
        [run, k] and [run, k], and those of the runs that could be predicted.

    Raises:
        ExplorerError: the site's vectors alone do not tell what arithmetic predicts there.
    """
    session = caught.session
    edits = SiteEdits.of(session.spec, site)
    base = caught.baseline()
    exact = edits.exact(session, rows_known=False)[caught.condition]
    runs = runs[exact[runs] & (base[runs] >= 0)]
    if edits.needs_own or edits.directions or len(edits.neurons) or edits.centred or not runs.size:
        what = f"what arithmetic predicts at {site} is not told by its vectors"
        remedy = "choose the site that is clamped itself, or criterion=separation"
        raise ExplorerError(what, where=session.name, remedy=remedy)
    observed = caught.vectors[site][runs].astype(np.float64)
    predicted = caught.vectors[site][base[runs]].astype(np.float64)
    tokens = segment_tokens(session.spec, [session.runs[int(caught.rows[base[run]])] for run in runs])
    own = predicted[:, edits.columns]
    nothing = np.zeros((len(runs), 3, 0)), np.zeros((0, len(edits.columns)))
    moves = edits.moves(session, caught.condition[runs], tokens, tokens[..., None] * own[:, None], *nothing)
    predicted[:, edits.columns] = own + moves
    return _unit(observed), _unit(predicted), runs


def by_text_alone(caught: Captured, site: str, rows: dict[str, dict[int, Floats]]) -> Floats:
    """[run, k] vectors of a site without what neurons that were changed write there by construction.

    Args:
        caught: with the site, and the sites of those neurons.
        site: any.
        rows: rows of W_out by site and neuron, as the site takes them.

    Raises:
        ExplorerError: a row, or the vectors of a neuron's site, are not at hand.
    """
    values = caught.vectors[site].astype(np.float64)
    written = [one for one in caught.session.spec.interventions if one.site != site and holds_writes(one.site, site)]
    for home, neuron in dict.fromkeys((one.site, neuron) for one in written for neuron in one.neurons):
        row = rows.get(home, {}).get(neuron)
        if row is None or home not in caught.vectors:
            what = f"{site} holds value × W_out of neuron {neuron} by construction, and that row is not at hand"
            remedy = "choose the MLP's site, or capture both and run the experiment again with this version"
            raise ExplorerError(what, where=caught.session.name, remedy=remedy)
        values -= caught.vectors[home][:, neuron, None].astype(np.float64) * row
    return values


def _unit(vectors: Floats) -> Floats:
    length = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    return vectors / np.where(length > 0, length, 1.0)
