"""Resampling units: totals a unit, the weights of a stratified bootstrap, and the quantiles that intervals need."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special as _special  # pyright: ignore[reportMissingTypeStubs]

from srm_explorer.engine.errors import ExplorerError

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


RESAMPLES = 10_000
MOST_RESAMPLES = 100_000
"""More take minutes and tell little: what is left of an interval's error is the sample's, not the draw's."""
LEVEL = 0.95
FEWEST_RESAMPLES = 1_000
# Resamples times units: 80 MB of weights, twice that in float64.
MOST_WEIGHTS = 20_000_000
# Weights that are float64 at the same time: 16 MB.
WIDENED_AT_A_TIME = 2_000_000
# Units drawn at the same time, which stay in the processor's cache.
DRAWN_AT_A_TIME = 250_000


@dataclass(frozen=True, eq=False)
class UnitTotals:
    """What a group of runs adds up to in every unit; all that a resample of units needs to know of it.

    Attributes:
        sums: [unit, k] sums of the values over the unit's finite runs.
        counts: [unit] its finite runs; 0 for a unit that the group has no run of.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def present(self) -> NDArray[np.bool_]:
        """[unit] True where the group has a finite run."""
        return self.counts > 0

    @property
    def mean(self) -> NDArray[np.float64]:
        """[k] mean over runs (not over units); NaN without a run."""
        with np.errstate(invalid="ignore"):
            return self.sums.sum(axis=0) / self.counts.sum()

    @property
    def unit_means(self) -> NDArray[np.float64]:
        """[unit, k] mean of each unit's runs; NaN for a unit without one."""
        with np.errstate(invalid="ignore"):
            return self.sums / self.counts[:, None]

    @property
    def averaged(self) -> UnitTotals:
        """The same with the mean of each unit for its runs: units weigh alike, however many runs they have."""
        return UnitTotals(np.where(self.present[:, None], self.unit_means, 0.0), self.present.astype(np.float64))

    def only(self, units: NDArray[np.bool_] | NDArray[np.int64]) -> UnitTotals:
        return UnitTotals(self.sums[units], self.counts[units])


def unit_totals(values: ArrayLike, of_run: ArrayLike, n_units: int, runs: ArrayLike | None = None) -> UnitTotals:
    """Add up the values of some runs in every unit; a run with an entry that is not finite is left out.

    Args:
        values: [run, k], or [run] for k = 1.
        of_run: [run] index of the unit each run belongs to.
        runs: indices or mask [run] of the runs to use; all by default.

    Raises:
        ExplorerError: values and units do not stand beside one another.
    """
    table = np.asarray(values, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    units = np.asarray(of_run, np.int64)
    if table.ndim != 2 or units.shape != table.shape[:1]:
        raise ExplorerError(f"expected values [run, k] and units [run], got {table.shape} and {units.shape}")
    if runs is not None:
        chosen = np.asarray(runs)
        chosen = chosen if chosen.size else chosen.astype(np.int64)
        table, units = table[chosen], units[chosen]
    finite = np.isfinite(table).all(axis=1)
    table, units = table[finite], units[finite]
    sums = np.zeros((n_units, table.shape[1]))
    if len(units):
        # Runs of a unit side by side, so that each is added up in one go.
        order = np.argsort(units, kind="stable")
        present, first = np.unique(units[order], return_index=True)
        sums[present] = np.add.reduceat(table[order], first, axis=0)
    return UnitTotals(sums, np.bincount(units, minlength=n_units).astype(np.float64))


def bootstrap_weights(stratum: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float32]:
    """Draw how often each unit stands in each resample: as many units a stratum as it has, with replacement.

    Efron and Tibshirani 1993, section 8; a mean over runs in a resample is ``(w @ sums) / (w @ counts)``.

    Args:
        stratum: [unit] any whole numbers; equal ones are resampled together. See `merged_strata`.
        seed: of the generator; the same seed, strata and number give the same weights.

    Returns:
        [resample, unit] counts, float32 so that products with them are fast; exact up to 16 million. Not to be written,
        since whoever asks for the same weights next, as all groups over the same units do, is given the same array.
    """
    return _drawn_weights(np.asarray(stratum, np.int64).tobytes(), resamples, seed)


@functools.lru_cache(maxsize=1)
def _drawn_weights(stratum: bytes, resamples: int, seed: int) -> NDArray[np.float32]:
    strata = np.frombuffer(stratum, np.int64)
    generator = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(strata)), np.float32)
    for level in np.unique(strata):
        units = np.flatnonzero(strata == level)
        step = max(1, DRAWN_AT_A_TIME // len(units))
        # The generator goes on where it stopped: the same draws as all at once.
        for start in range(0, resamples, step):
            rows = min(step, resamples - start)
            drawn = generator.integers(len(units), size=(rows, len(units)))
            drawn += np.arange(rows)[:, None] * len(units)
            counts = np.bincount(drawn.ravel(), minlength=rows * len(units)).reshape(rows, len(units))
            if len(units) == len(strata):
                weights[start : start + rows] = counts
            else:
                weights[start : start + rows, units] = counts
    weights.setflags(write=False)
    return weights


def affordable_resamples(units: int, resamples: int) -> int:
    """As many resamples as asked for, fewer where units are so many that their weights would fill the memory."""
    return min(resamples, max(FEWEST_RESAMPLES, MOST_WEIGHTS // max(1, units)))


def merged_strata(stratum: ArrayLike) -> NDArray[np.int64]:
    """Number strata from 0, strata of a single unit joined: alone they would seem to have no variance at all.

    The single ones form one stratum; where there is just one of them it joins the smallest other ("collapsed strata",
    Cochran 1977, section 5A.12), which errs to the wide side.

    Args:
        stratum: [unit] any whole numbers.
    """
    _, index, sizes = np.unique(np.asarray(stratum), return_inverse=True, return_counts=True)
    single = np.flatnonzero(sizes == 1)
    if not single.size:
        return index.astype(np.int64)
    others = np.flatnonzero(sizes > 1)
    target = others[np.argmin(sizes[others])] if single.size == 1 and others.size else single[0]
    joined = np.where(np.isin(index, single), target, index)
    return np.unique(joined, return_inverse=True)[1].astype(np.int64)


def degrees_of_freedom(stratum: ArrayLike) -> int:
    """Units minus strata, after `merged_strata`: what the variance of a stratified mean is estimated with."""
    strata = merged_strata(stratum)
    return len(strata) - (int(strata.max()) + 1 if len(strata) else 0)


def used_units(totals: UnitTotals, minus: UnitTotals | None = None, *, paired: bool = True) -> NDArray[np.bool_]:
    """[unit] True for the units that a group, or the difference of two, is inferred from."""
    if minus is None:
        return totals.present
    return totals.present & minus.present if paired else totals.present | minus.present


def resampled_means(totals: UnitTotals, weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean over runs in every resample, [resample, k]; NaN in one that holds no run of the group.

    Args:
        totals: of all units that were drawn from.
        weights: [resample, unit].
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return weighted_sums(weights, totals.sums) / weighted_sums(weights, totals.counts)[:, None]


def weighted_sums(weights: NDArray[np.float32], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``weights @ values`` in float64, [resample] or [resample, k]; a few resamples at a time are widened.

    Args:
        weights: [resample, unit].
        values: [unit] or [unit, k].
    """
    return np.concatenate([chunk.astype(np.float64) @ values for chunk in weight_chunks(weights)])


def weight_chunks(weights: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Views of the weights, some resamples each, that take 16 MB or less in float64."""
    step = max(1, WIDENED_AT_A_TIME // max(1, weights.shape[1]))
    return [weights[start : start + step] for start in range(0, max(1, len(weights)), step)]


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

    Returns:
        [2, k] lower and upper end; NaN where fewer than two units have runs.
    """
    used = used_units(totals, minus)
    groups = [group.only(used) for group in ((totals,) if minus is None else (totals, minus))]
    strata = merged_strata(np.asarray(stratum)[used])
    if len(strata) < 2:
        return np.full((2, totals.sums.shape[1]), np.nan)
    weights = bootstrap_weights(strata, resamples, seed)
    signs = (1.0, -1.0)
    centre = sum(sign * group.mean for sign, group in zip(signs, groups, strict=False))
    drawn = sum(sign * resampled_means(group, weights) for sign, group in zip(signs, groups, strict=False))
    influence = sum(
        sign * (group.sums - group.counts[:, None] * group.mean) / group.counts.sum()
        for sign, group in zip(signs, groups, strict=False)
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
    ends = np.empty((2, len(centre)))
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
            ends[end, column] = np.quantile(values, at) if len(values) else np.nan
    if len(strata) < FEW_UNITS:
        ends = np.stack([np.minimum(ends[0], centre - half), np.maximum(ends[1], centre + half)])
    return ends


def _centred(influence: NDArray[np.float64], strata: NDArray[np.int64]) -> NDArray[np.float64]:
    sizes = np.bincount(strata)
    means = np.stack([np.bincount(strata, column) / sizes for column in influence.T], axis=1)
    return influence - means[strata]


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
