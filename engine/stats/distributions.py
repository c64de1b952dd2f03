"""Quantiles of the distributions that intervals need, typed; scipy.special loads three times as fast as scipy.stats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special as _special  # pyright: ignore[reportMissingTypeStubs]

special: Any = _special


def normal_cdf(z: ArrayLike) -> NDArray[np.float64]:
    """The probability below z under the standard normal."""
    return np.asarray(special.ndtr(z), np.float64)


def normal_quantile(probability: ArrayLike) -> NDArray[np.float64]:
    """The z below which the standard normal has a probability."""
    return np.asarray(special.ndtri(probability), np.float64)


def student_quantile(probability: ArrayLike, freedom: float) -> NDArray[np.float64]:
    """The t below which Student's distribution with `freedom` degrees of freedom has a probability."""
    return np.asarray(special.stdtrit(freedom, probability), np.float64)


def f_quantile(probability: ArrayLike, upper: float, lower: float) -> NDArray[np.float64]:
    """The x below which Fisher's F with `upper` and `lower` degrees of freedom has a probability."""
    return np.asarray(special.fdtri(upper, lower, probability), np.float64)


def beta_quantile(probability: ArrayLike, a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """The x below which the beta distribution with parameters a and b has a probability."""
    return np.asarray(special.betaincinv(a, b, probability), np.float64)
