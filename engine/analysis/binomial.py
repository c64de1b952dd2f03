"""Binomial intervals: what share a count out of a number of units may stand for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.analysis.quantiles import beta_quantile
from engine.analysis.resampling import LEVEL


def binomial_interval(k: ArrayLike, n: ArrayLike, level: float = LEVEL) -> NDArray[np.float64]:
    """The exact interval of a share: at neither end is the count rarer than (1 - level) / 2.

    Clopper and Pearson 1934. It covers at least `level`, whatever the share; 0 of n ends at 1 - ((1 - level)/2)^(1/n),
    the "rule of three" at one side.

    Args:
        k: counts, any shape.
        n: trials, independent ones (units, not runs), broadcast against k; 0 gives 0 to 1.
        level: of the interval.

    Returns:
        [2, ...] lower and upper end, 0 to 1.

    Raises:
        ValueError: a count is below 0 or above its n.
    """
    hits, trials = np.broadcast_arrays(np.asarray(k, np.float64), np.asarray(n, np.float64))
    if (hits < 0).any() or (hits > trials).any():
        raise ValueError("a count lies outside 0 to n")
    tail = (1.0 - level) / 2.0
    # A beta with a parameter of 0 has no quantile; the ends of these are 0 and 1.
    low = np.where(hits > 0, beta_quantile(tail, np.maximum(hits, 1.0), trials - hits + 1.0), 0.0)
    high = np.where(hits < trials, beta_quantile(1.0 - tail, hits + 1.0, np.maximum(trials - hits, 1.0)), 1.0)
    return np.stack([low, high])
