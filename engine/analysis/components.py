"""Principal components: the directions along which vectors vary most about their mean."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg as _linalg  # pyright: ignore[reportMissingTypeStubs]

from engine.analysis.planes import CHUNK_ELEMENTS
from engine.errors import ExplorerError

_eigh = cast("Any", _linalg).eigh
# Variances below this share of the largest are round-off of float32 vectors and of the products made of them.
LEAST_SHARE = 1e-12


def principal_components(vectors: ArrayLike, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the leading principal components of vectors (Pearson 1901).

    The eigenvectors of the smaller of the two product matrices of the centred vectors; each is turned so that its
    entry of largest size, the first among equals, is positive.

    Args:
        vectors: [run, d] finite numbers.
        count: components wanted, from 1.

    Returns:
        [component, d] orthonormal directions and [component] the share of the variance along each.

    Raises:
        ExplorerError: the vectors vary in fewer directions.
    """
    array = np.asarray(vectors)
    n, d = array.shape
    wanted = min(count, n - 1, d)
    if wanted < count:
        raise _too_few(max(wanted, 0), n)
    mean = array.mean(axis=0, dtype=np.float64)
    small = n <= d
    products = _row_products(array, mean) if small else _column_products(array, mean)
    size = len(products)
    found = _eigh(products, subset_by_index=[size - wanted, size - 1])
    values: NDArray[np.float64] = found[0][::-1]
    basis: NDArray[np.float64] = found[1][:, ::-1]
    total = float(np.trace(products))
    rank = int(np.count_nonzero(values > LEAST_SHARE * max(values[0], 0.0)))
    if rank < wanted or total <= 0:
        raise _too_few(rank if total > 0 else 0, n)
    directions = (basis.T @ array.astype(np.float64) - np.outer(basis.sum(axis=0), mean)) if small else basis.T
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    largest = directions[np.arange(wanted), np.abs(directions).argmax(axis=1)]
    return directions * np.sign(largest)[:, None], values / total


def _row_products(array: NDArray[Any], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = array.astype(np.float64) - mean
    return centred @ centred.T


def _column_products(array: NDArray[Any], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    products = np.zeros((len(mean), len(mean)))
    rows = max(1, CHUNK_ELEMENTS // len(mean))
    for start in range(0, len(array), rows):
        centred = array[start : start + rows].astype(np.float64) - mean
        products += centred.T @ centred
    return products


def _too_few(rank: int, n: int) -> ExplorerError:
    remedy = f"choose pc1 to pc{rank}" if rank else "choose other runs"
    return ExplorerError(f"{n} vectors vary in {rank} directions only", remedy=remedy)
