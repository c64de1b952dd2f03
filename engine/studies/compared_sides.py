"""Two sessions on the same axes: whether their runs can be shown in one plane, and where they lie there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from engine.analysis.planes import Plane, coordinates, neuron_plane
from engine.errors import ExplorerError
from engine.figures.captions import model_caption, plane_title, site_caption
from engine.figures.group_choice import GroupChoice
from engine.session import PlaneRecord, Session
from engine.spec.direction import FileVector, NeuronWeights, RandomDirection
from engine.spec.direction_text import direction_of
from engine.spec.reach import is_centred
from engine.studies.captured import check_captured
from engine.studies.directions import SiteRuns, as_rows, known_directions, plane_through
from engine.vectors import read_vectors


@dataclass(frozen=True, eq=False)
class Side:
    """One of two groups.

    Attributes:
        session: whose runs.
        plane: where they lie, [run] of the session.
        group: which of them.
    """

    session: Session
    plane: PlaneRecord
    group: GroupChoice


def same_axes(one: Session, other: Session, plane: PlaneRecord) -> PlaneRecord:
    """The second session's runs in a plane of the first's.

    As it was saved with, where both name the same coordinates; else projected from its vectors.

    Raises:
        ExplorerError: another site or width, another convention, or the vectors that it takes are not there.
    """
    site = plane.site
    if one.path is not None and one.path == other.path and one.revision == other.revision:
        return plane
    if not any(own.site == site for own in other.planes) and site not in other.spec.capture.sites:
        captured = ", ".join(site_caption(own) for own in other.spec.capture.sites)
        raise ExplorerError(
            f"{one.name} was captured at {site_caption(site)}, {other.name} at {captured}",
            remedy="compare sessions that captured the same site",
        )
    widths = [_width(session, site) for session in (one, other)]
    if None not in widths and widths[0] != widths[1]:
        raise ExplorerError(
            f"{site_caption(site)} has {widths[0]} coordinates in {one.name}, {widths[1]} in {other.name}",
            remedy="compare sessions of one model",
        )
    if is_centred(one.spec, site) != is_centred(other.spec, site):
        raise ExplorerError(
            "one session has the mean over coordinates taken out of its residual stream, the other has not",
            where=f"{one.name} and {other.name}",
            remedy="capture both with the same capture.residual",
        )
    fixed = all(_is_fixed(one, other, along) for along in (plane.a, plane.b))
    stored = next((own for own in other.planes if own.key == plane.key), None) if fixed else None
    if stored is not None:
        return stored
    basis = _basis(one, plane)
    check_captured(other, site)
    rows = as_rows(read_vectors(other.vectors_path(), runs=len(other.runs), sites=(site,))[site])
    return PlaneRecord.of(site, plane.a, plane.b, *coordinates(rows, basis), plane.raw_angle_deg)


def other_models(one: Session, other: Session) -> str:
    """What to say where two sessions' models are not the same; empty where they are."""
    if _weights(one) == _weights(other) and one.spec.model.name == other.spec.model.name:
        return ""
    known = [_weights(session) for session in (one, other)]
    if known[0] is not None and known[0] == known[1]:
        return ""
    return (
        f"other models, {model_caption(one)} and {model_caption(other)}: the same index need not be the same neuron, "
        "unless one was trained further from the other"
    )


def _is_fixed(one: Session, other: Session, along: int | str) -> bool:
    """Whether a direction's text means the same vector in both sessions."""
    direction = direction_of(along)
    if isinstance(direction, int | RandomDirection):
        return True
    if not isinstance(direction, FileVector | NeuronWeights):
        return False
    own, its = (known_directions(session.provenance).get(str(along)) for session in (one, other))
    return own is not None and its is not None and np.array_equal(own, its)


def _basis(session: Session, plane: PlaneRecord) -> Plane:
    if isinstance(plane.a, int) and isinstance(plane.b, int):
        width = _width(session, plane.site)
        if width is not None:
            return neuron_plane(width, plane.a, plane.b)
    try:
        read = read_vectors(session.vectors_path(), runs=len(session.runs), sites=(plane.site,))
    except ExplorerError as error:
        what = f"the plane {plane_title(plane)} cannot be laid through the other session: {error.what}"
        raise ExplorerError(what, where=session.name, remedy=error.remedy) from None
    return plane_through(plane.a, plane.b, SiteRuns.of(session, plane.site, read[plane.site]))


def _width(session: Session, site: str) -> int | None:
    """The site's width, from the vectors' list or what is told of the model; None where neither is known."""
    if session.sidecar is not None and site in session.sidecar.sites:
        return int(session.sidecar.sites[site])
    told: object = session.provenance.get("model")
    model = cast("dict[str, object]", told) if isinstance(told, dict) else {}
    width = model.get("d_mlp" if site.endswith("mlp.hook_post") else "d_model")
    return width if isinstance(width, int) else None


def _weights(session: Session) -> object:
    told: object = session.provenance.get("model")
    return cast("dict[str, object]", told).get("weights_sha256") if isinstance(told, dict) else None
