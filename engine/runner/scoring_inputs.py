"""What a scoring needs of a session: its edits, its sites, its planes, checked against the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from engine.analysis.planes import Plane, neuron_plane
from engine.errors import ExplorerError
from engine.model.capture import Capture
from engine.model.load import LoadedModel
from engine.runner.collect import grid_of
from engine.runner.recorded import recorded_in
from engine.runner.replay import same_directions
from engine.runner.rows import RowMaker, check_directions
from engine.runner.studies import check_same_model
from engine.session import PlaneRecord, Session
from engine.spec import Site, check_against
from engine.spec.refusal import RefusalError
from engine.studies.directions import SiteRuns, plane_through


def maker_of(session: Session, model: LoadedModel) -> RowMaker:
    """Check that the session and the model belong together, and know how to turn a run into its edits."""
    check_same_model(session, model)
    known = cast("Mapping[str, Any]", session.provenance.get("tokenizer") or {}).get("sha256")
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


def captures_of(session: Session, model: LoadedModel, sites: Sequence[str] | None) -> dict[str, Capture]:
    """List what is kept of every row, by site: the captured positions, all tokens; errors for a site that is none."""
    capture = session.spec.capture
    found: dict[str, Capture] = {}
    for site in capture.sites if sites is None else sites:
        try:
            centred = not Site.parse(site).is_mlp and capture.residual == "centred"
        except RefusalError as error:
            raise ExplorerError(error.what, where="sites", remedy=error.remedy) from None
        found[site] = Capture(site, "tokens", capture.positions, centred)
    model.check_sites(list(found))
    return found


def planes_of(
    session: Session, model: LoadedModel, captures: Mapping[str, Capture]
) -> dict[str, tuple[list[tuple[str, str]], list[Plane]]]:
    """List the planes of the session whose coordinates are kept, by site: their names, and they themselves.

    A plane of directions that are made of the runs is left out where the session's vectors are not at hand.
    """
    found: dict[str, tuple[list[tuple[str, str]], list[Plane]]] = {}
    for record in session.planes:
        if record.site not in captures:
            continue
        try:
            plane = _plane(session, record, model)
        except ExplorerError:
            continue
        named, planes = found.setdefault(record.site, ([], []))
        named.append((str(record.a), str(record.b)))
        planes.append(plane)
    return found


def _plane(session: Session, record: PlaneRecord, model: LoadedModel) -> Plane:
    if isinstance(record.a, int) and isinstance(record.b, int):
        return neuron_plane(Site.parse(record.site).width(model.shape), record.a, record.b)
    return plane_through(record.a, record.b, SiteRuns.of(session, record.site, session.vectors()[record.site]))
