"""What two groups differ by in a plane of two coordinates, beyond what either coordinate tells alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# What float32 storage leaves of a constant column after centring, relative to its size.
CONSTANT = 3e-7
# Two coordinates closer to one line than this are one coordinate twice.
COLLINEAR = 1e-6


@dataclass(frozen=True, eq=False)
class Contrast:
    """The difference between two groups of units, coordinate by coordinate.

    Attributes:
        t: [k] mean difference over its standard error; NaN where nothing spreads.
        residual: [row, k] what is left of each row beside the means, scaled to length 1, so that the product of two
            columns is their correlation within groups; 0 where nothing spreads.
        dof: degrees of freedom of the spread.
    """

    t: Floats
    residual: Floats
    dof: int

    @property
    def usable(self) -> NDArray[np.bool_]:
        """[k] where there is a spread to compare with."""
        return np.isfinite(self.t)


def paired_contrast(differences: ArrayLike) -> Contrast:
    """The contrast of [unit, k] differences between two groups that every unit belongs to."""
    given = np.asarray(differences, np.float64)
    n = len(given)
    mean = given.mean(axis=0)
    return _contrast(mean, given - mean, np.abs(given).max(axis=0, initial=0.0), 1 / n, n - 1)


def group_contrast(one: ArrayLike, other: ArrayLike) -> Contrast:
    """The contrast of [unit, k] and [unit, k] of different units, by their pooled covariance."""
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    means = first.mean(axis=0), second.mean(axis=0)
    rest = np.concatenate([first - means[0], second - means[1]])
    size = np.abs(np.concatenate([first, second])).max(axis=0, initial=0.0)
    return _contrast(means[0] - means[1], rest, size, 1 / len(first) + 1 / len(second), len(rest) - 2)


def hotelling(t_a: ArrayLike, t_b: ArrayLike, rho: ArrayLike) -> Floats:
    """Hotelling's T² of a pair from its marginal t and their correlation: ``(a² + b² - 2 r a b) / (1 - r²)``.

    Hotelling 1931. Any shapes that broadcast; NaN where the pair is collinear.
    """
    a, b, r = np.asarray(t_a, np.float64), np.asarray(t_b, np.float64), np.asarray(rho, np.float64)
    apart = 1.0 - r * r
    squares = a * a + b * b - 2.0 * r * a * b
    return np.where(apart > COLLINEAR, squares / np.where(apart > COLLINEAR, apart, 1.0), np.nan)


def added(t2: ArrayLike, t: ArrayLike, dof: int) -> Floats:
    """Rao's F for what the second coordinate adds to one whose own statistic is t: ``(v - 1)(T² - t²) / (v + t²)``.

    Rao 1946: F of 1 and v - 1 degrees of freedom when the second adds nothing. The smaller of a pair's two, that is
    with the larger t, is its gain over the better marginal: both coordinates must add to the other.
    """
    whole, own = np.asarray(t2, np.float64), np.asarray(t, np.float64) ** 2
    return (dof - 1) * np.maximum(whole - own, 0.0) / (dof + own)


def gain(t_a: ArrayLike, t_b: ArrayLike, rho: ArrayLike, dof: int) -> Floats:
    """A pair's gain over the better of its marginals, see `added`; NaN where it is collinear or does not spread."""
    a, b = np.asarray(t_a, np.float64), np.asarray(t_b, np.float64)
    return added(hotelling(a, b, rho), np.maximum(np.abs(a), np.abs(b)), dof)


def _contrast(mean: Floats, rest: Floats, size: Floats, share: float, dof: int) -> Contrast:
    squares = (rest**2).sum(axis=0)
    spreads = (np.sqrt(squares) > CONSTANT * size * np.sqrt(len(rest))) & (dof > 0)
    error = np.sqrt(np.where(spreads, squares, 1.0) * share / max(dof, 1))
    t = np.where(spreads, mean / error, np.nan)
    return Contrast(t, np.where(spreads, rest / np.sqrt(np.where(spreads, squares, 1.0)), 0.0), dof)
