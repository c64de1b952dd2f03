"""BCa: intervals of single numbers that follow skewed data, from resampled units."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.analysis.quantiles import normal_cdf, normal_quantile, student_quantile
from engine.analysis.resampling import (
    LEVEL,
    RESAMPLES,
    UnitTotals,
    bootstrap_weights,
    degrees_of_freedom,
    merged_strata,
    resampled_means,
    used_units,
)

FEW_UNITS = 20


def bca_interval(
    totals: UnitTotals,
    stratum: ArrayLike,
    minus: UnitTotals | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The bias-corrected and accelerated interval of each mean over runs, or of a difference of two.

    Efron 1987; the acceleration of a stratified mean is ``sum l^3 / (6 (sum l^2)^1.5)`` over the units' influences
    (Davison and Hinkley 1997, section 5.3). The normal quantile is widened to Student's, times what a bootstrap's
    standard deviation falls short by (Hesterberg 2015, section 5.3). Below twenty units,
    where no resample reaches far beyond the data, it is joined with Student's own interval. The k intervals are
    separate ones, not joint.

    Args:
        totals: [unit, k] of the group, see `unit_totals`.
        stratum: [unit] the prompt set of each.
        minus: of the group to subtract; the units that have both are used.
        level: how often an interval should hold the truth.
        resamples: of the bootstrap.
        seed: of what is drawn.

    Returns:
        [2, k] lower and upper end; NaN where fewer than two units have runs.
    """
    used = used_units(totals, minus)
    groups = [one.only(used) for one in ((totals,) if minus is None else (totals, minus))]
    strata = merged_strata(np.asarray(stratum)[used])
    if len(strata) < 2:
        return np.full((2, totals.sums.shape[1]), np.nan)
    weights = bootstrap_weights(strata, resamples, seed)
    signs = (1.0, -1.0)
    centre = sum(sign * one.mean for sign, one in zip(signs, groups, strict=False))
    drawn = sum(sign * resampled_means(one, weights) for sign, one in zip(signs, groups, strict=False))
    influence = sum(
        sign * (one.sums - one.counts[:, None] * one.mean) / one.counts.sum()
        for sign, one in zip(signs, groups, strict=False)
    )
    return _interval(np.asarray(centre), np.asarray(drawn), _centred(np.asarray(influence), strata), strata, level)


def _interval(
    centre: NDArray[np.float64],
    drawn: NDArray[np.float64],
    influence: NDArray[np.float64],
    strata: NDArray[np.int64],
    level: float,
) -> NDArray[np.float64]:
    student = float(student_quantile(0.5 + level / 2, max(1, degrees_of_freedom(strata))))
    sizes = np.bincount(strata)[strata]
    squares = (influence**2).sum(axis=0)
    unbiased = (influence**2 * (sizes / (sizes - 1))[:, None]).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        wide = np.where(squares > 0, np.sqrt(unbiased / squares), 1.0) * student
        acceleration = np.where(squares > 0, (influence**3).sum(axis=0) / (6 * squares**1.5), 0.0)
    found = np.empty((2, len(centre)))
    half = np.sqrt(unbiased) * student
    for column in range(len(centre)):
        values = drawn[:, column]
        values = np.sort(values[np.isfinite(values)])
        # Ties count half: a statistic with few different values would look biased otherwise.
        below = 0.5 * float((values < centre[column]).sum() + (values <= centre[column]).sum())
        share = min(max(below / max(1, len(values)), 0.5 / len(drawn)), 1 - 0.5 / len(drawn))
        bias = float(normal_quantile(share))
        for end, z in enumerate((bias - wide[column], bias + wide[column])):
            at = normal_cdf(bias + z / max(1e-6, 1 - acceleration[column] * z))
            found[end, column] = np.quantile(values, at) if len(values) else np.nan
    if len(strata) < FEW_UNITS:
        found = np.stack([np.minimum(found[0], centre - half), np.maximum(found[1], centre + half)])
    return found


def _centred(influence: NDArray[np.float64], strata: NDArray[np.int64]) -> NDArray[np.float64]:
    sizes = np.bincount(strata)
    means = np.stack([np.bincount(strata, column) / sizes for column in influence.T], axis=1)
    return influence - means[strata]
