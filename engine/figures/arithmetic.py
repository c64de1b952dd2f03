"""What plain arithmetic predicts of a plane's curves, and the view with the clamped axes taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.analysis.srm import UnitCoordinates, unit_coordinates
from engine.figures.captions import coordinate_caption
from engine.figures.editing import SiteEdits, baseline_of, segment_tokens
from engine.session import Session
from engine.session.fields import DamagedError, take_floats

Floats = NDArray[np.float64]


def arithmetic_points(session: Session, plane_index: int) -> UnitCoordinates | None:
    """Where every run of a plane would lie had its text not changed, divided by the norm.

    A run's prediction is its baseline's vector with the intervened coordinates replaced by what the operation makes of
    them; a baseline run is its own. Runs without a prediction (no baseline, another intervention upstream) are not
    finite.

    Returns:
        None where nothing is predicted of any run but the baseline.
    """
    stored = _stored(session, plane_index)
    whole = stored is not None and all(stored.get(name) is not None for name in ("x", "y"))
    raw = _raw(stored, session, plane_index) if stored is not None and whole else None
    if raw is None and stored is None:
        raw = _from_plane(session, plane_index)
    if raw is None:
        return None
    points = unit_coordinates(raw[:, :2], raw[:, 2])
    swept = np.array([session.conditions[run.condition].kind != "baseline" for run in session.runs], np.bool_)
    return points if (points.finite & swept).any() else None


def without_clamped_axis(session: Session, plane_index: int) -> tuple[UnitCoordinates, str] | None:
    """Where every run lies when what was intervened on is taken out of its vector before it is normalised.

    Returns:
        The points, and what was taken out: "without n373"; None where nothing of this site was set, or where it is not
        known.
    """
    stored = _stored(session, plane_index)
    if stored is None:
        return _columns_left_out(session, plane_index)
    table = stored.get("without")
    if not isinstance(table, dict):
        return None
    without = cast("Mapping[str, Any]", table)
    raw = _raw(without, session, plane_index)
    taken = without.get("taken")
    if raw is None or not isinstance(taken, str):
        return None
    return unit_coordinates(raw[:, :2], raw[:, 2]), f"without {taken}"


def _stored(session: Session, plane_index: int) -> Mapping[str, Any] | None:
    """The table of a plane in the session's predictions; None where there is none that can be read."""
    table: object = session.predictions.get("arithmetic")
    found: object = cast("Mapping[str, Any]", table).get("planes") if isinstance(table, dict) else None
    for one in cast("list[object]", found) if isinstance(found, list) else []:
        if isinstance(one, dict) and cast("Mapping[str, Any]", one).get("plane") == plane_index:
            return cast("Mapping[str, Any]", one)
    return None


def _raw(table: Mapping[str, Any], session: Session, plane_index: int) -> Floats | None:
    """[run, 3] coordinates and norm as stored; an axis that is null is as the plane has it; None where damaged."""
    plane = session.planes[plane_index]
    own = {"x": plane.x, "y": plane.y}
    columns: list[tuple[float, ...]] = []
    try:
        for name in ("x", "y", "norm"):
            as_observed = name in own and name in table and table[name] is None
            columns.append(own[name] if as_observed else take_floats(table, name))
    except DamagedError:
        return None
    if any(len(column) != len(session.runs) for column in columns):
        return None
    return np.array(columns, np.float64).T


def _from_plane(session: Session, plane_index: int) -> Floats | None:
    """[run, 3] predictions from a plane's own coordinates; None where it takes more than those."""
    sides = _sides(session, plane_index)
    if sides is None:
        return None
    edits, columns = sides
    plane = session.planes[plane_index]
    base = baseline_of(session)
    of_run = np.array([run.condition for run in session.runs], np.int64)
    known = edits.exact(session, rows_known=False)[of_run] & (base >= 0)
    xy, norm = plane.xy[base], np.array(plane.norm)[base]
    tokens = segment_tokens(session.spec, session.runs)[base]
    own = xy[:, columns]
    moves = (
        edits.moves(
            session,
            of_run,
            tokens,
            tokens[..., None] * own[:, None],
            np.zeros((len(base), 3, 0)),
            np.zeros((0, len(columns))),
        )
        if session.resolved
        else np.zeros_like(own)
    )
    rest = np.maximum(norm**2 - (own**2).sum(axis=1), 0.0)
    new = own + moves
    xy = xy.copy()
    xy[:, columns] = new
    found = np.concatenate([xy, np.sqrt(rest + (new**2).sum(axis=1))[:, None]], axis=1)
    found[~known] = np.nan
    return found


def _columns_left_out(session: Session, plane_index: int) -> tuple[UnitCoordinates, str] | None:
    sides = _sides(session, plane_index)
    if sides is None or not len(sides[1]):
        return None
    edits, columns = sides
    plane = session.planes[plane_index]
    xy, norm = plane.xy, np.array(plane.norm)
    rest = np.sqrt(np.maximum(norm**2 - (xy[:, columns] ** 2).sum(axis=1), 0.0))
    xy[:, columns] = 0.0
    names = ", ".join(coordinate_caption(plane.site, int(one)) for one in edits.columns)
    return unit_coordinates(xy, rest), f"without {names}"


def _sides(session: Session, plane_index: int) -> tuple[SiteEdits, list[int]] | None:
    """The edits of a plane's site, and on which of its two sides each lies; None where one lies elsewhere."""
    plane = session.planes[plane_index]
    edits = SiteEdits.of(session.spec, plane.site)
    axes = [plane.a, plane.b]
    if edits.centred or edits.needs_own or edits.directions or len(edits.neurons) or not session.runs:
        return None
    if any(column not in axes for column in edits.columns.tolist()):
        return None
    return edits, [axes.index(column) for column in edits.columns.tolist()]
