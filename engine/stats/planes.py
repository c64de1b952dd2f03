"""Planes: two orthonormal directions of a site's space, and where vectors fall in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg as _linalg  # pyright: ignore[reportMissingTypeStubs]

from srm_explorer.engine.errors import ExplorerError

# Two directions closer than this (the sine of the angle between them) span a plane that round-off would choose.
COLLINEAR_SINE = 1e-6
# 32 MB of float64 at a time: large matrix products, yet never a second copy of the vectors.
CHUNK_ELEMENTS = 4_000_000
# Squares of float64 values stay exact enough between these norms; beyond, rows are rescaled first.
SAFE_NORMS = (1e-140, 1e140)


@dataclass(frozen=True, eq=False)
class Plane:
    """Two orthonormal directions: angle 0 lies on the first, 90 degrees on the second.

    Attributes:
        basis: [2, d] orthonormal float64.
        label_a: what lies at 0 degrees: "n373".
        label_b: what lies at 90 degrees, as far as the first leaves it free: "n2202".
        raw_angle_deg: degrees between the two directions as given, before they were made orthogonal.
    """

    basis: NDArray[np.float64]
    label_a: str
    label_b: str
    raw_angle_deg: float

    def __post_init__(self) -> None:
        self.basis.setflags(write=False)

    @property
    def d(self) -> int:
        return int(self.basis.shape[1])

    @property
    def columns(self) -> tuple[int, int] | None:
        """The two indices, where both directions are coordinate axes (a pair of neurons); else None."""
        first, second = (np.flatnonzero(row) for row in self.basis)
        if len(first) != 1 or len(second) != 1 or self.basis[0, first[0]] != 1 or self.basis[1, second[0]] != 1:
            return None
        return int(first[0]), int(second[0])


def neuron_plane(d: int, a: int, b: int) -> Plane:
    """Span the plane of two coordinate axes (neurons).

    Raises:
        ExplorerError: an index is outside 0 to d - 1, or both are the same.
    """
    for index in (a, b):
        if not 0 <= index < d:
            raise ExplorerError(f"neuron {index} is out of range (width {d})", remedy=f"choose 0 to {d - 1}")
    if a == b:
        raise ExplorerError(f"a plane needs two different neurons, got {a} twice", remedy="choose another partner")
    basis = np.zeros((2, d))
    basis[0, a] = basis[1, b] = 1.0
    return Plane(basis=basis, label_a=f"n{a}", label_b=f"n{b}", raw_angle_deg=90.0)


def plane_from_vectors(u: ArrayLike, v: ArrayLike, label_a: str = "a", label_b: str = "b") -> Plane:
    """Span the plane of two directions by Gram-Schmidt: e1 along u, e2 along what v adds to it.

    Args:
        u: [d] direction at 0 degrees, any length.
        v: [d] direction on the side of 90 degrees, any length.

    Raises:
        ExplorerError: shapes differ, a vector is zero or not finite, or both point the same (or the opposite) way.
    """
    first = _unit_vector(u, label_a)
    second = _unit_vector(v, label_b)
    if first.shape != second.shape:
        raise ExplorerError(
            f"the directions {label_a} and {label_b} have {first.size} and {second.size} entries",
            remedy="take both from the same site",
        )
    # Half-angle form: accurate where arccos of the dot product is not, near 0 and 180 degrees.
    angle = 2 * np.arctan2(np.linalg.norm(first - second), np.linalg.norm(first + second))
    if np.sin(angle) < COLLINEAR_SINE:
        raise ExplorerError(
            f"the directions {label_a} and {label_b} lie on one line ({np.degrees(angle):.3g} degrees apart)",
            remedy="choose two directions that span a plane",
        )
    # The second pass removes what round-off leaves of e1 when u and v nearly coincide.
    rest = second - (second @ first) * first
    rest -= (rest @ first) * first
    basis = np.stack([first, rest / np.linalg.norm(rest)])
    return Plane(basis=basis, label_a=label_a, label_b=label_b, raw_angle_deg=float(np.degrees(angle)))


def real_table(vectors: ArrayLike) -> NDArray[Any]:
    """Take vectors as an array [run, d] of real numbers, its type kept.

    Raises:
        ExplorerError: they are something else.
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise ExplorerError(
            f"vectors must be a table of real numbers, one row a run; got shape {array.shape}, type {array.dtype}"
        )
    return array


def coordinates(vectors: ArrayLike, plane: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project vectors on a plane, in raw units, in float64, a chunk of rows at a time.

    Args:
        vectors: [run, d] real numbers; rows that are not finite stay so.

    Returns:
        [run, 2] coordinates along e1 and e2, and [run] Euclidean norms in the full space.

    Raises:
        ExplorerError: the array is not [run, d] of real numbers, or its width is not the plane's.
    """
    array = real_table(vectors)
    if array.shape[1] != plane.d:
        raise ExplorerError(
            f"the vectors have {array.shape[1]} entries, the plane {plane.label_a} × {plane.label_b} lies in {plane.d}",
            remedy="choose a plane of the captured site",
        )
    runs = array.shape[0]
    xy = np.empty((runs, 2))
    norm = np.empty(runs)
    columns = plane.columns
    step = max(1, CHUNK_ELEMENTS // max(1, plane.d))
    # Overflow and NaN are data here: the caller reads them off the result, run by run.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for start in range(0, runs, step):
            rows = slice(start, start + step)
            chunk = array[rows].astype(np.float64)
            xy[rows] = chunk @ plane.basis.T if columns is None else chunk[:, columns]
            norm[rows] = _norms(chunk)
    return xy, norm


def _norms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    extreme = np.flatnonzero(~((norms > SAFE_NORMS[0]) & (norms < SAFE_NORMS[1])))
    if extreme.size:
        largest = np.abs(rows[extreme]).max(axis=1, initial=0.0)
        scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
        scaled = rows[extreme] / scale[:, None]
        norms[extreme] = np.sqrt(np.einsum("ij,ij->i", scaled, scaled)) * scale
    return norms


def _unit_vector(vector: ArrayLike, label: str) -> NDArray[np.float64]:
    array = np.asarray(vector)
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise ExplorerError(f"the direction {label} is not a list of real numbers (shape {array.shape})")
    largest = np.abs(array.astype(np.float64)).max(initial=0.0)
    if not np.isfinite(largest) or largest == 0:
        raise ExplorerError(
            f"the direction {label} is {'zero' if largest == 0 else 'not finite'}", remedy="choose another direction"
        )
    scaled = array.astype(np.float64) / largest
    return scaled / np.linalg.norm(scaled)


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
    number = min(count, n - 1, d)
    if number < count:
        raise _too_few(max(number, 0), n)
    mean = array.mean(axis=0, dtype=np.float64)
    small = n <= d
    products = _row_products(array, mean) if small else _column_products(array, mean)
    size = len(products)
    eigen = _eigh(products, subset_by_index=[size - number, size - 1])
    values: NDArray[np.float64] = eigen[0][::-1]
    basis: NDArray[np.float64] = eigen[1][:, ::-1]
    total = float(np.trace(products))
    rank = int(np.count_nonzero(values > LEAST_SHARE * max(values[0], 0.0)))
    if rank < number or total <= 0:
        raise _too_few(rank if total > 0 else 0, n)
    directions = (basis.T @ array.astype(np.float64) - np.outer(basis.sum(axis=0), mean)) if small else basis.T
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    largest = directions[np.arange(number), np.abs(directions).argmax(axis=1)]
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


Vector = NDArray[np.float64]

PARTS = ("total", "direct", "through", "text_first", "after_text")
"""Names of the parts, as `decompose` explains them."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The parts of one run's change at one site.

    Attributes:
        parts: [d] by name, of `PARTS`; those that were not measured are left out.
    """

    parts: Mapping[str, Vector]

    def norm(self, part: str) -> float | None:
        """The length of a part; None where it was not measured."""
        with np.errstate(all="ignore"):
            return float(np.linalg.norm(self.parts[part])) if part in self.parts else None

    def share(self, part: str) -> float | None:
        """How much of the total lies in a part: its projection on the total over the total's length.

        The shares of `direct` and `through` sum to 1, as do those of `text_first` and `after_text`; one may be negative
        or above 1. None where it was not measured or the total is 0.
        """
        if part not in self.parts or "total" not in self.parts:
            return None
        total = self.parts["total"]
        # Numbers that are not finite are data here, and stay so.
        with np.errstate(all="ignore"):
            length = float(total @ total)
            return float(self.parts[part] @ total) / length if length > 0 else None

    def cosine(self, first: str, other: str) -> float | None:
        """The cosine of two parts; None where one was not measured or is 0."""
        lengths = self.norm(first), self.norm(other)
        if not lengths[0] or not lengths[1]:
            return None
        with np.errstate(all="ignore"):
            return float(self.parts[first] @ self.parts[other]) / (lengths[0] * lengths[1])


def decompose(
    untouched_on_baseline: Vector | None,
    edited_on_baseline: Vector | None,
    untouched_on_own: Vector | None,
    edited_on_own: Vector | None,
) -> Decomposition:
    """Split the change of a vector from the baseline's run to a condition's run, in both orders.

    total = direct + through, with direct = edited - untouched on the baseline's text, and through = the condition's
    text - the baseline's text, both edited. The other order: total = text_first + after_text, with text_first = the
    condition's text - the baseline's text, both untouched, and after_text = edited - untouched on the condition's text.
    What the two orders differ by is the interaction of edit and text. (The direct and indirect effects of Pearl 2001,
    with the text as the mediator.)

    Args:
        untouched_on_baseline: [d] the baseline's run.
        edited_on_baseline: the edited model, forced on the baseline's text.
        untouched_on_own: the untouched model, forced on the condition's text.
        edited_on_own: the condition's run.
    """
    pairs = {
        "total": (edited_on_own, untouched_on_baseline),
        "direct": (edited_on_baseline, untouched_on_baseline),
        "through": (edited_on_own, edited_on_baseline),
        "text_first": (untouched_on_own, untouched_on_baseline),
        "after_text": (edited_on_own, untouched_on_own),
    }
    with np.errstate(all="ignore"):
        return Decomposition(
            {name: to - start for name, (to, start) in pairs.items() if to is not None and start is not None}
        )
