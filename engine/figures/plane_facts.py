"""What of a plane a reader must know beside its curves: how much of the data it holds, and where references lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.analysis.srm import unit_coordinates
from engine.figures.numbers import three_digits
from engine.session import PlaneRecord, Session

NEAR_DEG = 20.0
"""Degrees between two directions (or one and the other's opposite) below which round-off and noise turn the second."""


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


def plane_warnings(plane: PlaneRecord) -> tuple[str, ...]:
    """What is odd about a plane itself: directions so near one line that little tells the second from noise."""
    apart = min(plane.raw_angle_deg, 180.0 - plane.raw_angle_deg)
    if not apart < NEAR_DEG:
        return ()
    told = three_digits(plane.raw_angle_deg)
    return (f"its two directions are {told}° apart: 90° is what little the second adds to the first",)


def energy_detail(plane: PlaneRecord, runs: ArrayLike | None = None) -> str:
    """The share of a group's energy as a legend has it: "3.2 % in plane"."""
    return f"{three_digits(100 * energy_in_plane(plane, runs))} % in plane"
