"""The certainty of a plane's curves: regions, bands, what chance draws, and what is beyond arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.analysis.bands import share_bands, unit_counts
from engine.analysis.ellipse import REGION_RESAMPLES, joint_region
from engine.analysis.groups import BASELINE, RunGroup
from engine.analysis.permutation import sign_flip_test
from engine.analysis.resampling import LEVEL, RESAMPLES, unit_totals
from engine.analysis.srm import UnitCoordinates
from engine.errors import ExplorerError
from engine.figures.arithmetic import arithmetic_points
from engine.figures.bands import GroupBand, NullBand, PlaneBands
from engine.figures.editing import baseline_of
from engine.figures.session import CONDITION, points_of, run_groups
from engine.figures.units import Units, units_of
from engine.session import Session
from engine.studies.chance import NullKind, null_bands
from engine.studies.controls import control_nulls
from engine.studies.dose_bands import dose_bands
from engine.vectors import Matrix

Captured: TypeAlias = Mapping[str, Matrix | list[Matrix]]
"""By site, rows in the order of a session's runs: [run, d], or a list of [token, d]."""

Floats = NDArray[np.float64]
FEWEST_RESAMPLES = 1_000
MOST_WEIGHTS = 20_000_000
"""Resamples times units that are held in memory."""


def plane_bands(
    session: Session,
    plane_index: int,
    by: Sequence[str] = (),
    vectors: Captured | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    nulls: Sequence[NullKind] = ("partners",),
) -> PlaneBands:
    """Compute how sure a plane's curves are, and what chance draws beside them.

    Units are resampled within prompt sets; (A, B) of every group is inferred jointly; counts have simultaneous bands;
    observed minus arithmetic is tested by flipping the signs of whole units. Its p-values are not corrected here: see
    `session_bands`.

    Args:
        session: with at least one run.
        plane_index: of the plane.
        by: how runs are grouped, as `swept_groups` takes it.
        vectors: full vectors by site; without those of the plane's site chance is left out.
        resamples: of the bootstrap; fewer where units are too many for memory, as the result tells.
        seed: of all that is drawn.
        nulls: the kinds of planes drawn by chance; controls are beside them where the session has any.

    Raises:
        ExplorerError: no run is finished, or the prompts have no such factor.
    """
    plane = session.planes[plane_index]
    groups = run_groups(session, by)
    units = units_of(session)
    resamples = max(FEWEST_RESAMPLES, min(resamples, MOST_WEIGHTS // max(1, len(units))))
    points = points_of(plane)
    tested = beyond_p(session, plane_index, by, flips=resamples, seed=seed)
    found: list[GroupBand] = []
    for label, group in groups.items():
        band = _group_band(session, points, units, label, group, tested.get(label), resamples, seed)
        if band is not None:
            found.append(band)
    chance: tuple[NullBand, ...] = ()
    own = None if vectors is None else vectors.get(plane.site)
    if vectors is not None and own is not None:
        basis = _basis(session, plane_index, own)
        chance = null_bands(session, plane, groups, own, nulls, basis=basis, seed=seed)
        chance += control_nulls(session, plane_index, by, vectors)
    dose = (
        dose_bands(session, plane, points, units, resamples=resamples, seed=seed) if tuple(by) == (CONDITION,) else ()
    )
    return PlaneBands(plane_index, tuple(by), LEVEL, resamples, seed, 0, tuple(found), chance, dose)


def beyond_arithmetic(session: Session, plane_index: int) -> Floats | None:
    """[run, 2] unit coordinates observed minus those that arithmetic predicts; NaN where nothing is predicted.

    Where a run's tokens are its baseline's, the difference is none but the rounding of another batch, and exactly 0.

    Returns:
        None where nothing is predicted of any run.
    """
    predicted = arithmetic_points(session, plane_index)
    if predicted is None:
        return None
    difference = points_of(session.planes[plane_index]).xy - predicted.xy
    places: list[int] = baseline_of(session).tolist()
    same = [
        place >= 0 and run.token_ids == session.runs[place].token_ids
        for run, place in zip(session.runs, places, strict=True)
    ]
    difference[np.array(same, np.bool_) & np.isfinite(difference).all(axis=1)] = 0.0
    return difference


def beyond_p(
    session: Session, plane_index: int, by: Sequence[str] = (), *, flips: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Test (A, B) observed minus arithmetic of every group but the baseline, by label; none where nothing is predicted.

    A unit's value is the mean over its runs; whole units flip their signs.
    """
    beyond = beyond_arithmetic(session, plane_index)
    if beyond is None:
        return {}
    units = units_of(session)
    found: dict[str, float] = {}
    for label, group in run_groups(session, by).items():
        totals = unit_totals(beyond, units.of_run, len(units), group.runs)
        if group.role != BASELINE and totals.present.any():
            found[label] = float(sign_flip_test(totals.unit_means, flips, seed).p)
    return found


def _group_band(
    session: Session,
    points: UnitCoordinates,
    units: Units,
    label: str,
    group: RunGroup,
    p: float | None,
    resamples: int,
    seed: int,
) -> GroupBand | None:
    totals = unit_totals(points.xy, units.of_run, len(units), group.runs)
    region = joint_region(totals, units.stratum, resamples=min(resamples, REGION_RESAMPLES), seed=seed)
    if region is None:
        return None
    spotlight = session.spec.spotlight
    levels = spotlight.thresholds
    counts = unit_counts(points.xy[group.runs], units.of_run[group.runs], len(units), levels, spotlight.angles)
    shares = share_bands(counts, units.stratum, len(levels), resamples=resamples, seed=seed)
    runs = counts.counts.sum()
    split = () if shares is None else np.split(shares * runs, len(levels), axis=1)
    return GroupBand(
        label=label,
        units=region.units,
        centre=(float(region.centre[0]), float(region.centre[1])),
        covariance=region.covariance,
        radius2=region.radius2,
        phase_deg=region.phase_deg,
        amplitude=region.amplitude,
        counts={float(level): band for level, band in zip(levels, split, strict=False)},
        p_arithmetic=p,
    )


def _basis(session: Session, plane_index: int, vectors: Matrix | list[Matrix]) -> Floats | None:
    """[2, d] of a plane one of whose directions is no coordinate; None for other planes, and where it is not known."""
    plane = session.planes[plane_index]
    if isinstance(plane.a, int) and isinstance(plane.b, int):
        return None
    from engine.studies.directions import SiteRuns, plane_through

    try:
        return plane_through(plane.a, plane.b, SiteRuns.of(session, plane.site, vectors)).basis
    except ExplorerError:
        return None
