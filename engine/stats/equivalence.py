"""What a mean over units could have shown: power, the smallest effect that is detectable, units needed, equivalence."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats.resampling import LEVEL, RESAMPLES, special, student_quantile
from srm_explorer.engine.stats.unit_means import LEAST_UNITS, mean_effect

POWER = 0.8
ALPHA = 1 - LEVEL
MOST_UNITS = 1_000_000
EFFECTS = (0.2, 0.5, 0.8)
"""Small, medium and large effects in standard deviations of units (Cohen 1988): what plans count with where no session
tells the spread."""


def power_of(effect: float, units: int, alpha: float = ALPHA) -> float:
    """How often a two-sided t test over units finds a mean that is there.

    ``P(|T| > t)`` of the noncentral t distribution with ``units - 1`` degrees of freedom and noncentrality
    ``effect sqrt(units)`` (Cohen 1988, chapter 2). The studentised bootstrap that is used here has about that power.

    Args:
        effect: the mean, in units of the units' standard deviation.
        units: how many.
        alpha: two-sided size.

    Returns:
        0 to 1; `alpha` without an effect, NaN with fewer than two units.
    """
    if units < 2:
        return math.nan
    df, away = units - 1, abs(effect) * math.sqrt(units)
    limit = float(student_quantile(1 - alpha / 2, df))
    # Far out the distribution function is no longer computed; nothing is missed there.
    above = 1.0 if away > limit + 37 else 1.0 - float(special.nctdtr(df, away, limit))
    below = float(special.nctdtr(df, -away, limit))
    beyond = 0.0 if math.isnan(below) else 1.0 - below
    return min(1.0, max(above + beyond, alpha if not effect else 0.0))


@functools.cache
def detectable_effect(units: int, power: float = POWER, alpha: float = ALPHA) -> float:
    """The smallest mean that so many units find with so much power, in units of their standard deviation.

    Returns:
        NaN with fewer units than `LEAST_UNITS`, of which nothing is inferred.
    """
    if units < LEAST_UNITS:
        return math.nan
    low, high = 0.0, 1.0
    while power_of(high, units, alpha) < power:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if power_of(middle, units, alpha) >= power else (middle, high)
    return high


def units_needed(effect: float, power: float = POWER, alpha: float = ALPHA) -> int | None:
    """How many units find a mean with so much power; None where a million do not.

    Args:
        effect: the mean, in units of the units' standard deviation.
    """
    if not effect or not math.isfinite(effect):
        return None
    low, high = LEAST_UNITS - 1, LEAST_UNITS
    while power_of(effect, high, alpha) < power:
        low, high = high, 2 * high
        if high > MOST_UNITS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(effect, middle, alpha) >= power else (middle, high)
    return high


@dataclass(frozen=True)
class Equivalence:
    """What `equivalence_test` found.

    Attributes:
        p: of "the mean lies at the bound or beyond"; at .05 or below it is shown to lie within. NaN where nothing is
            inferred.
        low, high: the interval that lies within the bounds where p is at most alpha: its level is 1 - 2 alpha.
        bound: the smallest effect of interest.
        units: how many took part.
    """

    p: float
    low: float
    high: float
    bound: float
    units: int


def equivalence_test(
    values: ArrayLike,
    bound: float,
    stratum: ArrayLike | None = None,
    *,
    alpha: float = ALPHA,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Equivalence:
    """Two one-sided tests that a mean over units lies within ± a bound (Schuirmann 1987; Lakens 2017).

    Either is a studentised bootstrap of the units (`mean_effect`), whose two-sided p is halved on its side; p is the
    larger of the two. A large p of "the mean is 0" shows nothing of the kind.

    Args:
        values: [unit] one number a unit; a unit that is not finite takes no part.
        bound: above 0, in the units of the values.
        stratum: [unit] what units are resampled within.

    Raises:
        ExplorerError: the bound is no number above 0.
    """
    if not (math.isfinite(bound) and bound > 0):
        what = f"the smallest effect of interest is {bound}"
        raise ExplorerError(what, remedy="give a number above 0, in the units of the chart")
    table = np.asarray(values, np.float64)
    inferred = mean_effect(table, stratum, level=1 - 2 * alpha, resamples=resamples, seed=seed)
    if np.isnan(inferred.p) or np.isnan(inferred.low):
        # Units that are all equal say nothing of how far others may lie.
        return Equivalence(math.nan, math.nan, math.nan, bound, int(inferred.units))
    sides: list[float] = []
    for side in (-1.0, 1.0):
        shifted = mean_effect(table - side * bound, stratum, resamples=resamples, seed=seed)
        inside = side * float(shifted.mean) < 0
        sides.append(float(shifted.p) / 2 if inside else 1 - float(shifted.p) / 2)
    return Equivalence(max(sides), float(inferred.low), float(inferred.high), bound, int(inferred.units))


def spread_of(values: ArrayLike, stratum: ArrayLike | None = None) -> tuple[float, int]:
    """Standard deviation of finite units, within strata, and how many they are; NaN with fewer than two."""
    inferred = mean_effect(values, stratum, resamples=2)
    units = int(inferred.units)
    return (float(inferred.error) * math.sqrt(units) if units > 1 else math.nan), units
