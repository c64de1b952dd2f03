"""Which neuron of a session a study is about, and what is known of its weights."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.errors import ExplorerError
from engine.session import Session
from engine.spec import Site
from engine.studies.captured import check_captured

W_OUT = "w_out"
"""In a session's provenance: by MLP site and neuron, the row of W_out of each neuron that was changed."""

_STREAM = ("hook_resid_post", "hook_resid_mid", "hook_resid_pre", "hook_mlp_out", "hook_attn_out")


def chosen_neuron(session: Session, site: str | None, neuron: int | None) -> tuple[str, int]:
    """The site and coordinate that were asked for.

    By default those of the first intervention on coordinates of a captured site, else those of the first plane.

    Raises:
        ExplorerError: the site was not captured, or nothing tells which neuron is meant.
    """
    if site is not None:
        check_captured(session, site)
    planes = [(plane.site, plane.a) for plane in session.planes]
    named = [(one.site, one.neurons[0]) for one in session.spec.interventions if one.neurons]
    known = [
        (at, index)
        for at, index in (*named, *planes)
        if at in session.spec.capture.sites and isinstance(index, int) and site in (None, at)
    ]
    if neuron is not None:
        default = known[0][0] if known else session.spec.capture.sites[0]
        return site or default, neuron
    if not known:
        what = "no neuron of a captured site was changed, and no plane shows one"
        raise ExplorerError(what, where=session.name, remedy="name a neuron, and its site")
    return known[0]


def residual_site(session: Session, site: str) -> str | None:
    """The captured site of the residual stream nearest to an MLP's site: after it, then of its layer; None without."""
    own = Site.parse(site)
    if not own.is_mlp:
        return None
    others = [Site.parse(one) for one in session.spec.capture.sites]
    stream = [one for one in others if not one.is_mlp]
    if not stream:
        return None
    return str(
        min(stream, key=lambda one: (one.layer < own.layer, abs(one.layer - own.layer), _STREAM.index(one.kind)))
    )


def known_rows(session: Session, site: str) -> dict[int, NDArray[np.float64]]:
    """Rows of W_out that the session holds, by neuron of an MLP's site: those of neurons that were changed."""
    stored: object = session.provenance.get(W_OUT)
    own = cast("dict[str, Any]", stored).get(site) if isinstance(stored, dict) else None
    if not isinstance(own, dict):
        return {}
    return {int(neuron): np.array(row, np.float64) for neuron, row in cast("dict[str, Any]", own).items()}
