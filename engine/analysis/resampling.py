"""Resampling units: totals a unit, and the weights of a stratified bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import ExplorerError

RESAMPLES = 10_000
MOST_RESAMPLES = 100_000
"""More take minutes and tell little: what is left of an interval's error is the sample's, not the draw's."""
LEVEL = 0.95
FEWEST_RESAMPLES = 1_000
# Resamples times units: 80 MB of weights, twice that in float64.
MOST_WEIGHTS = 20_000_000


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

    def only(self, units: NDArray[np.bool_] | NDArray[np.int64]) -> UnitTotals:
        """Those of some units: a mask, or indices."""
        return UnitTotals(self.sums[units], self.counts[units])

    def plus(self, other: UnitTotals) -> UnitTotals:
        """Those of two groups of different runs together."""
        return UnitTotals(self.sums + other.sums, self.counts + other.counts)


def unit_totals(values: ArrayLike, of_run: ArrayLike, n_units: int, runs: ArrayLike | None = None) -> UnitTotals:
    """Add up the values of some runs in every unit; a run with an entry that is not finite is left out.

    Args:
        values: [run, k], or [run] for k = 1.
        of_run: [run] index of the unit each run belongs to.
        n_units: how many units there are.
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
        resamples: how many.
        seed: of the generator; the same seed, strata and number give the same weights.

    Returns:
        [resample, unit] counts, float32 so that products with them are fast; exact up to 16 million.
    """
    strata = np.asarray(stratum)
    generator = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(strata)), np.float32)
    for one in np.unique(strata):
        units = np.flatnonzero(strata == one)
        drawn = generator.integers(len(units), size=(resamples, len(units)))
        drawn += np.arange(resamples)[:, None] * len(units)
        counts = np.bincount(drawn.ravel(), minlength=resamples * len(units))
        weights[:, units] = counts.reshape(resamples, len(units))
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
        return (weights.astype(np.float64) @ totals.sums) / (weights.astype(np.float64) @ totals.counts)[:, None]
