"""The ensemble sweep by its definition, with a rotation matrix an angle: slow, what the fast way is checked against."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.stats.ensembles import PairKind
from srm_explorer.engine.stats.planes import COLLINEAR_SINE, plane_from_vectors
from srm_explorer.engine.stats.spotlight import STRICT, directions


def rotation(e1: NDArray[np.float64], e2: NDArray[np.float64], cos: float, sin: float) -> NDArray[np.float64]:
    """The rotation [d, d] by an angle in a plane, from e1 towards e2: ``exp(theta (e2 e1^T - e1 e2^T))``.

    In closed form, for orthonormal e1 and e2: ``I + sin(theta) G + (1 - cos(theta)) G^2`` with the generator G
    (Rodrigues 1840).
    """
    generator = np.outer(e2, e1) - np.outer(e1, e2)
    return np.eye(len(e1)) + sin * generator + (1 - cos) * (generator @ generator)


def ensemble_reference(
    vectors: ArrayLike, basis: ArrayLike, kind: PairKind, thresholds: Sequence[float], n_angles: int = 360
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fraction and spread [threshold, angle] as `ensemble_sweep` gives them, of finite vectors.

    Args:
        vectors: [run, d].
        basis: [k, d].
        kind: "perm" or "comb".
        thresholds: cosines; a vector is lit where its own with the turned e1 is at least ``threshold - 1e-12``.
        n_angles: equally spaced angles from 0.
    """
    full = np.asarray(vectors, np.float64)
    norm = np.linalg.norm(full, axis=1)
    unit = full / np.where(norm == 0, 1.0, norm)[:, None]
    given = np.asarray(basis, np.float64)
    shares: list[list[NDArray[np.float64]]] = []
    for i, j in (permutations if kind == "perm" else combinations)(range(len(given)), 2):
        if _on_one_line(given[i], given[j]):
            continue
        e1, e2 = plane_from_vectors(given[i], given[j]).basis
        turns = zip(*directions(n_angles), strict=True)
        cosines = np.stack([unit @ (rotation(e1, e2, float(cos), float(sin)) @ e1) for cos, sin in turns])
        shares.append([np.mean(cosines >= level - STRICT, axis=1) for level in thresholds])
    return np.mean(shares, axis=0), np.std(shares, axis=0)


def _on_one_line(u: NDArray[np.float64], v: NDArray[np.float64]) -> bool:
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    return bool(np.linalg.norm(v - (u @ v) * u) < COLLINEAR_SINE)
