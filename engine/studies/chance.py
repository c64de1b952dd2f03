"""What chance draws of a session's groups: planes of one direction and a random partner, and other random planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.analysis.groups import BASELINE, RunGroup
from engine.analysis.nulls import (
    PARTNERS,
    draw_partners,
    isotropic_planes,
    null_curves,
    partner_coordinates,
    plane_coordinates,
    second_moment_planes,
)
from engine.figures.bands import NullBand
from engine.figures.captions import plane_captions
from engine.figures.editing import SiteEdits
from engine.session import PlaneRecord, Session
from engine.vectors import Matrix

NullKind: TypeAlias = Literal["partners", "isotropic", "second moment"]
NULL_KINDS: tuple[NullKind, ...] = ("partners", "isotropic", "second moment")
Floats = NDArray[np.float64]


def null_bands(
    session: Session,
    plane: PlaneRecord,
    groups: Mapping[str, RunGroup],
    vectors: Matrix | Sequence[Matrix],
    kinds: Sequence[NullKind] = ("partners",),
    *,
    basis: Floats | None = None,
    planes: int = PARTNERS,
    seed: int = 0,
) -> tuple[NullBand, ...]:
    """Draw planes by chance and see what curves the groups' runs draw in them.

    Args:
        session: whose runs.
        plane: the plane that chance is compared with.
        groups: by label.
        vectors: full vectors of the plane's site, [run, d], or a [token, d] array a run.
        kinds: which planes; (first direction, random partner) by default.
        basis: [2, d] of the plane, where one of its directions is no coordinate.
        planes: how many.
        seed: of what is drawn.
    """
    whole = run_vectors(vectors)
    spotlight = session.spec.spotlight
    found: list[NullBand] = []
    for kind in kinds:
        # Runs that are not finite are left out of every curve.
        with np.errstate(over="ignore", invalid="ignore"):
            norm = np.sqrt(np.einsum("ij,ij->i", whole, whole, dtype=np.float64))
            drawn = _drawn(session, plane, kind, whole, norm, basis, planes, seed)
        if drawn is None:
            continue
        xy, legend = drawn
        for label, group in groups.items():
            curves = null_curves(xy[:, group.runs], spotlight.thresholds, spotlight.angles)
            found.append(NullBand(kind, legend, label, curves.planes, curves.mean, curves.counts))
    return tuple(found)


def run_vectors(vectors: Matrix | Sequence[Matrix]) -> Matrix:
    """[run, d] vectors; the mean over tokens where every token was kept."""
    if isinstance(vectors, np.ndarray):
        return vectors
    return np.array([tokens.mean(axis=0, dtype=np.float64) for tokens in vectors], np.float32)


def _drawn(
    session: Session,
    plane: PlaneRecord,
    kind: NullKind,
    vectors: Matrix,
    norm: Floats,
    basis: Floats | None,
    planes: int,
    seed: int,
) -> tuple[Floats, str] | None:
    """[plane, run, 2] coordinates in planes of one kind, and the legend; None where there is nothing to draw from."""
    width = vectors.shape[1]
    if kind == "isotropic":
        return plane_coordinates(vectors, norm, isotropic_planes(width, planes, seed)), (
            f"95 % of {planes} isotropic random planes"
        )
    if kind == "second moment":
        kinds = np.array([session.conditions[run.condition].kind for run in session.runs], dtype=object)
        baseline = vectors[kinds == BASELINE]
        if len(baseline) < 2:
            return None
        drawn = second_moment_planes(baseline, planes, seed)
        return plane_coordinates(vectors, norm, drawn), f"95 % of {planes} planes of the baseline's second moment"
    side = _kept_side(session, plane)
    along = (plane.a, plane.b)[side]
    direction = np.zeros(width)
    if basis is not None:
        direction = basis[side]
    elif isinstance(along, int) and along < width:
        direction[along] = 1.0
    else:
        return None
    edited = SiteEdits.of(session.spec, plane.site).columns.tolist()
    excluded = [one for one in (plane.a, plane.b, *edited) if isinstance(one, int)]
    partners = draw_partners(width, excluded, planes, seed)
    if not len(partners):
        return None
    length = np.where(norm > 0, norm, 1.0)
    kept = plane.xy[:, side] / length
    xy = partner_coordinates(vectors, norm, kept, direction, partners)
    name = plane_captions(plane)[side]
    pair = f"({name}, random)" if side == 0 else f"(random, {name})"
    all_of = "all " if len(partners) < planes else ""
    return xy if side == 0 else xy[:, :, ::-1], f"95 % of {all_of}{len(partners)} {pair} planes"


def _kept_side(session: Session, plane: PlaneRecord) -> int:
    """The side whose direction stays: the first, unless the second alone was intervened on."""
    edited = SiteEdits.of(session.spec, plane.site).columns.tolist()
    return int(plane.a not in edited and plane.b in edited)
