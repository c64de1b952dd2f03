"""What of a plane a reader must know beside its curves: how much of the data it holds, and where references lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.analysis.srm import unit_coordinates
from engine.figures.curves import BESIDE, LegendEntry
from engine.figures.numbers import three_digits
from engine.figures.session import run_groups
from engine.session import PlaneRecord, Session


def energy_in_plane(plane: PlaneRecord, runs: ArrayLike | None = None) -> float:
    """Mean share of the squared length of vectors that lies in a plane: ``(x^2 + y^2) / |v|^2``.

    Args:
        plane: of any directions.
        runs: indices or mask [run]; all by default. A zero vector counts as 0, one that is not finite not at all.

    Returns:
        0 to 1; NaN without a finite run. Isotropic vectors of width d have 2 / d in any plane.
    """
    points = unit_coordinates(plane.xy, plane.norm)
    chosen = np.arange(len(points)) if runs is None else np.arange(len(points))[np.asarray(runs)]
    used = points.xy[chosen[points.finite[chosen]]]
    return float((used**2).sum(axis=1).mean()) if len(used) else float("nan")


def baseline_runs(session: Session) -> NDArray[np.int64]:
    """Places of the baseline's runs among a session's."""
    kinds = [session.conditions[run.condition].kind for run in session.runs]
    return np.array([place for place, kind in enumerate(kinds) if kind == "baseline"], np.int64)


def grey_vector(session: Session, plane: PlaneRecord) -> tuple[float, float]:
    """Where the mean of the normalised baseline vectors lies in a plane: its cosines with both directions.

    Returns:
        x and y, within the unit circle; NaN without a finite baseline run.
    """
    points = unit_coordinates(plane.xy, plane.norm)
    runs = baseline_runs(session)
    used = points.xy[runs[points.finite[runs]]]
    x, y = used.mean(axis=0) if len(used) else (float("nan"), float("nan"))
    return float(x), float(y)


def self_cosines(plane: PlaneRecord, angles_deg: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosines [angle] of the plane's two directions, as they were given, with the spotlight.

    The first lies at 0 degrees, the second at the raw angle between them: what a vector along either would draw.
    """
    angles = np.asarray(angles_deg, np.float64)
    return np.cos(np.radians(angles)), np.cos(np.radians(angles - plane.raw_angle_deg))


def energies_by_group(session: Session, plane: PlaneRecord, by: Sequence[str]) -> dict[str, float]:
    """What `energy_in_plane` gives for every group of runs, by label; `by` and errors as `run_groups`."""
    return {label: energy_in_plane(plane, group.runs) for label, group in run_groups(session, by).items()}


def with_energies(
    legend: Sequence[LegendEntry], session: Session, plane: PlaneRecord, by: Sequence[str]
) -> tuple[LegendEntry, ...]:
    """A legend whose groups tell, last, the share of their energy that lies in the plane: "3.2 % in plane"."""
    energies = energies_by_group(session, plane, by)
    return tuple(
        dataclasses.replace(entry, details=(*entry.details, f"{three_digits(100 * energies[entry.label])} % in plane"))
        if entry.label in energies and entry.role not in BESIDE
        else entry
        for entry in legend
    )
