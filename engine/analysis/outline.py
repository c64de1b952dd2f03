"""The outline of an ellipse as the origin sees it: the angle it subtends, and how near and far it reaches."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Variance below this part of the largest is round-off: the ellipse is a segment.
NO_VARIANCE = 1e-12


def phase_interval(centre: ArrayLike, covariance: ArrayLike, radius2: float) -> tuple[float, float] | None:
    """The angle an ellipse subtends at the origin, from its first to its last degree counter-clockwise.

    A line through the origin with unit normal n touches the ellipse where ``n' (c c' - radius2 S) n = 0``; this form
    needs no inverse of S, so an ellipse may be a segment or a point.

    Args:
        centre: [2] c.
        covariance: [2, 2] S, positive semidefinite.
        radius2: squared radius in units of S.

    Returns:
        Both in 0 up to, not including, 360; the first is larger where the interval passes 0. None where the ellipse
        contains the origin.
    """
    c, half = _scaled(centre, covariance, radius2)
    if np.isnan(c).any() or _contains_origin(c, half):
        return None
    values, vectors = np.linalg.eigh(np.outer(c, c) - half)
    slope = np.sqrt(max(-values[0], 0.0) / values[1])
    normals = vectors[:, 1] * slope + np.outer([1, -1], vectors[:, 0])
    rays = np.stack([normals[:, 1], -normals[:, 0]], axis=1)
    rays /= np.linalg.norm(rays, axis=1)[:, None]
    turn = _cross(rays[0], rays[1])
    if abs(turn) < 1e-14:
        middle = _degrees(c)
        return middle, middle
    # The centre lies between the two rays: c = alpha ray0 + beta ray1 with both positive.
    rays[0] *= np.copysign(1.0, _cross(c, rays[1]) / turn)
    rays[1] *= np.copysign(1.0, _cross(rays[0], c) / _cross(rays[0], rays[1]))
    first, last = rays if _cross(rays[0], rays[1]) > 0 else rays[::-1]
    return _degrees(first), _degrees(last)


def amplitude_range(centre: ArrayLike, covariance: ArrayLike, radius2: float) -> tuple[float, float]:
    """The smallest and the largest norm over an ellipse; the smallest is 0 where it contains the origin.

    With half-axes s and the centre (p, q) in their frame, the norm of (p + s1 cos t, q + s2 sin t) is stationary where
    ``(s2^2 - s1^2) sin t cos t - s1 p sin t + s2 q cos t = 0``: a quartic in exp(i t), whose roots hold both extremes.

    Args:
        centre: [2].
        covariance: [2, 2] positive semidefinite.
        radius2: squared radius in units of the covariance.
    """
    c, half = _scaled(centre, covariance, radius2)
    if np.isnan(c).any():
        return float("nan"), float("nan")
    scale = _scale(centre, covariance, radius2)
    values, vectors = np.linalg.eigh(half)
    s1, s2 = np.sqrt(np.maximum(values, 0.0))
    p, q = c @ vectors
    quartic = np.array([s2**2 - s1**2, -2 * s1 * p + 2j * s2 * q, 0.0, 2 * s1 * p + 2j * s2 * q, s1**2 - s2**2])
    # All but a circle, or all but its own centre: what is left of these is round-off, and nothing to divide by.
    quartic[np.abs(quartic) < 1e-15] = 0.0
    angles = np.append(np.angle(np.roots(quartic)), np.arange(4) * np.pi / 2)
    norms = np.hypot(p + s1 * np.cos(angles), q + s2 * np.sin(angles))
    smallest = 0.0 if _contains_origin(c, half) else float(norms.min())
    return smallest * scale, float(norms.max()) * scale


def _scale(centre: ArrayLike, covariance: ArrayLike, radius2: float) -> float:
    size = max(float(np.abs(centre).max()), float(np.sqrt(radius2 * np.abs(covariance).max())))
    return size if size > 0 else 1.0


def _scaled(
    centre: ArrayLike, covariance: ArrayLike, radius2: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre and radius2 times covariance, in units of the larger of them."""
    scale = _scale(centre, covariance, radius2)
    return np.asarray(centre, np.float64) / scale, radius2 * np.asarray(covariance, np.float64) / scale**2


def _contains_origin(c: NDArray[np.float64], half: NDArray[np.float64]) -> bool:
    values, vectors = np.linalg.eigh(half)
    along = c @ vectors
    flat = values <= NO_VARIANCE
    if (np.abs(along[flat]) > 1e-12).any():
        return False
    return bool((along[~flat] ** 2 / values[~flat]).sum() <= 1.0)


def _cross(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
    return float(u[0] * v[1] - u[1] * v[0])


def _degrees(direction: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arctan2(direction[1], direction[0]))) % 360.0 % 360.0
