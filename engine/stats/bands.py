"""Bands: where a whole curve may lie, at all of its points at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.stats.resampling import (
    LEVEL,
    RESAMPLES,
    UnitTotals,
    bootstrap_weights,
    degrees_of_freedom,
    merged_strata,
    normal_cdf,
    normal_quantile,
    student_quantile,
    used_units,
    weighted_sums,
)
from srm_explorer.engine.stats.spotlight import STRICT, directions

# Units that a share is drawn towards a half by: two wholly lit, two dark (Agresti and Coull 1998).
PSEUDO_UNITS = 4.0
# Resamples at a time: their product with 1,440 points stays in the processor's cache.
CHUNK = 256
# Changes of counts times resamples held at a time: 8 MB, which is near the processor.
CHANGED_AT_A_TIME = 2_000_000
# Cosines held at a time while runs are compared with every angle: 16 MB.
LIT_AT_A_TIME = 2_000_000


def unit_counts(
    xy: ArrayLike, of_run: ArrayLike, n_units: int, thresholds: Sequence[float], n_angles: int = 360
) -> UnitTotals:
    """Count, in every unit and at every angle, the runs whose cosine is above each threshold.

    Args:
        xy: [run, 2] unit coordinates of the group's runs; those that are not finite are left out.
        of_run: [run] index of the unit each belongs to.
        thresholds: cosines.
        n_angles: equally spaced angles from 0, 360 degrees excluded.

    Returns:
        Sums [unit, threshold * angle], the first threshold's angles first, and finite runs [unit].
    """
    points, units = np.asarray(xy, np.float64), np.asarray(of_run, np.int64)
    finite = np.isfinite(points).all(axis=1)
    order = np.flatnonzero(finite)[np.argsort(units[finite], kind="stable")]
    points, units = points[order], units[order]
    # For the few runs of a unit, comparing at every angle is faster than laying out arcs.
    cos, sin = directions(n_angles)
    sums = np.zeros((n_units, len(thresholds) * n_angles))
    step = max(1, LIT_AT_A_TIME // n_angles)
    for start in range(0, len(points), step):
        x, y = points[start : start + step, :1], points[start : start + step, 1:]
        cosine = x * cos + y * sin
        present, first = np.unique(units[start : start + step], return_index=True)
        furthest = np.hypot(x, y).max(initial=0.0)
        for index, level in enumerate(thresholds):
            # No cosine is larger than the length, but for round-off.
            if level > furthest * (1 + 1e-9):
                continue
            lit = np.add.reduceat(cosine > level + STRICT, first, axis=0, dtype=np.float64)
            sums[present, index * n_angles : (index + 1) * n_angles] += lit
    return UnitTotals(sums, np.bincount(units, minlength=n_units).astype(np.float64))


def share_bands(
    totals: UnitTotals,
    stratum: ArrayLike,
    curves: int = 1,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64] | None:
    """Simultaneous bands of curves of shares: each holds its whole true curve with probability `level`.

    The largest studentised deviation over a curve's points, over resamples of units, gives the critical value (sup-t;
    Montiel Olea and Plagborg-Moller 2019), moved to Student's scale for few units. A share near 0 or 1 has an observed
    variance of nearly nothing and a true one that is not: four pseudo-units, two wholly lit and two dark, are added to
    centre and variance (Agresti and Coull 1998), so 0 of 50 units ends near 0.11, not at 0.

    Args:
        totals: [unit, point] of runs that are lit, see `unit_counts`; sums lie between 0 and counts.
        stratum: [unit] the prompt set of each.
        curves: how many curves of equal length the points are; each has its own band.
        level: how often a band should hold its curve.

    Returns:
        [2, point] within 0 and 1, the observed share inside; None where fewer than two units have runs.
    """
    part = totals if totals.present.all() else totals.only(totals.present)
    strata = merged_strata(np.asarray(stratum)[totals.present])
    n = len(strata)
    if n < 2:
        return None
    share, runs = part.mean, part.counts.sum()
    weights = bootstrap_weights(strata, resamples, seed)
    scale = weighted_sums(weights, part.counts) / runs
    length = len(share) // curves
    middle, spread, largest = np.empty_like(share), np.empty_like(share), np.zeros((len(weights), curves))
    # A curve at a time, so that one curve's influences alone are held.
    for curve in range(curves):
        points = slice(curve * length, (curve + 1) * length)
        influence, varied = part.counts[:, None] * share[points], np.zeros(length)
        np.subtract(part.sums[:, points], influence, out=influence)
        influence /= runs
        # Where no unit differs from the mean, and thus no resample: nothing to multiply.
        moves = influence.any(axis=0)
        influence = influence if moves.all() else influence[:, moves]
        varied[moves] = _variance(influence, strata)
        middle[points], spread[points] = _with_pseudo_units(share[points], varied, n)
        if moves.any():
            changes = _Changes.of(part.sums[:, points])
            if changes is None:
                influence /= spread[points][moves]
                largest[:, curve : curve + 1] = _largest(influence, weights, scale, 1)
            else:
                largest[:, curve] = changes.largest(weights, scale * runs, share[points], spread[points], moves)
    critical = _critical(largest, strata, level)
    half = np.repeat(critical, len(share) // curves) * spread
    low, high = np.minimum(middle, share) - half, np.maximum(middle, share) + half
    return np.clip(np.stack([low, high]), 0.0, 1.0)


def difference_bands(
    totals: UnitTotals,
    minus: UnitTotals,
    stratum: ArrayLike,
    curves: int = 1,
    *,
    paired: bool = True,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64] | None:
    """Simultaneous bands of a group's shares minus another's over the same units, resampled together.

    As `share_bands`; four pseudo-units are added that differ by nothing, by +1, by -1 and by nothing. Unpaired, with
    no unit in common, each group has its own four; strata must not mix the groups.

    Returns:
        [2, point] within -1 and 1, the observed difference inside; None where fewer than two units have runs of both.
    """
    used = used_units(totals, minus, paired=paired)
    first, other = totals.only(used), minus.only(used)
    strata = merged_strata(np.asarray(stratum)[used])
    n = len(strata)
    if n < 2:
        return None
    difference = first.mean - other.mean
    sides = [(part.sums - part.counts[:, None] * part.mean) / part.counts.sum() for part in (first, other)]
    if paired:
        middle = n * difference / (n + PSEUDO_UNITS)
        squares = n**2 * _variance(sides[0] - sides[1], strata) + n * (difference - middle) ** 2
        squares += PSEUDO_UNITS / 2 * (1 + 2 * middle**2)
        spread = np.sqrt(squares) / (n + PSEUDO_UNITS)
    else:
        ends = [
            _with_pseudo_units(part.mean, _variance(side, strata), int(part.present.sum()))
            for part, side in zip((first, other), sides, strict=True)
        ]
        middle, spread = ends[0][0] - ends[1][0], np.hypot(ends[0][1], ends[1][1])
    weights = bootstrap_weights(strata, resamples, seed)
    scales = [weighted_sums(weights, part.counts) / part.counts.sum() for part in (first, other)]
    if np.allclose(scales[0], scales[1]):
        largest = _largest((sides[0] - sides[1]) / spread, weights, scales[0], curves)
    else:
        largest = _largest(sides[0] / spread, weights, scales[0], curves, sides[1] / spread, scales[1])
    critical = _critical(largest, strata, level)
    half = np.repeat(critical, len(difference) // curves) * spread
    low, high = np.minimum(middle, difference) - half, np.maximum(middle, difference) + half
    return np.clip(np.stack([low, high]), -1.0, 1.0)


def sup_t_band(
    observed: ArrayLike, resampled: ArrayLike, stratum: ArrayLike, level: float = LEVEL
) -> NDArray[np.float64]:
    """The simultaneous band of any curve whose resamples are known: observed plus and minus one critical value of sd.

    Montiel Olea and Plagborg-Moller 2019; the critical value is moved to Student's scale for few units.

    Args:
        observed: [point]; NaN where there is none.
        resampled: [resample, point] the curve in every resample, see `bootstrap_weights`; angles laid around the
            observed ones beforehand. A value that is not finite is left out of its point.
        stratum: [unit] of the units that were resampled.
        level: how often the band should hold the whole true curve.

    Returns:
        [2, point]; NaN where nothing is observed or fewer than two resamples are finite; no width where no resample
        differs.
    """
    centre, drawn = np.asarray(observed, np.float64), np.asarray(resampled, np.float64)
    strata = merged_strata(stratum)
    deviation = np.where(np.isfinite(drawn), drawn, np.nan) - centre
    known = np.isfinite(deviation).sum(axis=0) > 1
    spread = np.full(len(centre), np.nan)
    spread[known] = np.sqrt(np.nanmean(deviation[:, known] ** 2, axis=0))
    varied = known & (spread > 1e-13 * np.maximum(1e-300, np.abs(centre)))
    if not varied.any() or len(strata) < 2:
        return np.stack([centre, centre]) + np.where(known & (len(strata) > 1), 0.0, np.nan)
    ratio = np.abs(deviation[:, varied]) / spread[varied]
    largest = np.where(np.isnan(ratio), 0.0, ratio).max(axis=1)
    sizes = np.bincount(strata)
    # A bootstrap's variance falls short by (n - 1) / n in every stratum.
    short = np.sqrt((sizes.sum() - len(sizes)) / sizes.sum())
    half = _critical(largest, strata, level) * spread / short
    return np.stack([centre - half, centre + half])


def _with_pseudo_units(
    share: NDArray[np.float64], variance: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle and standard deviation [point] of shares of n units and four more, two wholly lit and two dark."""
    middle = (n * share + PSEUDO_UNITS / 2) / (n + PSEUDO_UNITS)
    squares = n**2 * variance + n * (share - middle) ** 2 + PSEUDO_UNITS / 2 * ((1 - middle) ** 2 + middle**2)
    return middle, np.sqrt(squares) / (n + PSEUDO_UNITS)


def _largest(
    columns: NDArray[np.float64],
    weights: NDArray[np.float32],
    scale: NDArray[np.float64],
    curves: int,
    minus: NDArray[np.float64] | None = None,
    minus_scale: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """[resample, curve] the largest |w @ columns| / scale over each curve's points."""
    left = np.ascontiguousarray(columns, np.float32)
    right = None if minus is None else np.ascontiguousarray(minus, np.float32)
    largest = np.empty((len(weights), curves))
    inverse, other = (_inverse(part) for part in (scale, scale if minus_scale is None else minus_scale))
    for start in range(0, len(weights), CHUNK):
        rows = slice(start, start + CHUNK)
        product = weights[rows] @ left
        product *= inverse[rows, None]
        if right is not None:
            product -= (weights[rows] @ right) * other[rows, None]
        shaped = product.reshape(len(product), curves, -1)
        largest[rows] = np.maximum(shaped.max(axis=2), -shaped.min(axis=2))
    return largest


FEW_CHANGES = 0.1
"""Share of a table's entries that change from point to point, up to which sums go from change to change."""


@dataclass(frozen=True, eq=False)
class _Changes:
    """Where the counts of a curve change from a point to the next: a run is lit on an arc, and changes at its two ends.

    So the sum of any units' counts, at every point, is a running sum of what these change: `_largest` is the reference,
    which multiplies all points of all units.

    Attributes:
        unit: [change] by point.
        by: [change] whole numbers.
        point: [k] the points at which any unit changes, ascending.
        first: [k] place of each one's first change.
        length: of the curve.
    """

    unit: NDArray[np.int64]
    by: NDArray[np.float32]
    point: NDArray[np.int64]
    first: NDArray[np.int64]
    length: int

    @classmethod
    def of(cls, counts: NDArray[np.float64]) -> Self | None:
        """Of [unit, point] whole numbers; None where most of them change."""
        changes = np.diff(counts, axis=1, prepend=0.0).T
        at, unit = np.nonzero(changes)
        if at.size > FEW_CHANGES * counts.size:
            return None
        point, first = np.unique(at, return_index=True)
        return cls(unit, changes[at, unit].astype(np.float32), point, first, counts.shape[1])

    def largest(
        self,
        weights: NDArray[np.float32],
        totals: NDArray[np.float64],
        share: NDArray[np.float64],
        spread: NDArray[np.float64],
        moves: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """[resample] the largest |share in the resample - share| / spread over the points that move.

        Args:
            weights: [resample, unit] whole numbers: their sums are exact in float32.
            totals: [resample] runs in each.
            share: [point] of all units.
            spread: [point].
            moves: [point].
        """
        largest = np.empty(len(weights))
        inverse, centre = _inverse(totals), share.astype(np.float32)[:, None]
        scale = np.where(moves, 1 / spread, 0.0).astype(np.float32)[:, None]
        step = max(1, CHANGED_AT_A_TIME // max(1, len(self.unit)))
        for start in range(0, len(weights), step):
            rows = slice(start, start + step)
            own = np.ascontiguousarray(weights[rows].T)
            lit = np.zeros((self.length, own.shape[1]), np.float32)
            lit[self.point] = np.add.reduceat(own[self.unit] * self.by[:, None], self.first, axis=0)
            np.cumsum(lit, axis=0, out=lit)
            lit *= inverse[rows]
            # A resample without a run of the group deviates by nothing.
            lit -= np.where(inverse[rows] > 0, centre, 0.0)
            lit *= scale
            largest[rows] = np.maximum(lit.max(axis=0), -lit.min(axis=0))
        return largest


def _inverse(scale: NDArray[np.float64]) -> NDArray[np.float32]:
    """1 / scale; 0 for a resample that holds no run."""
    return np.where(scale > 0, 1.0 / np.where(scale > 0, scale, 1.0), 0.0).astype(np.float32)


def _critical(largest: NDArray[np.float64], strata: NDArray[np.int64], level: float) -> NDArray[np.float64]:
    """The quantile [curve] of the largest deviations, at least a single point's, moved to Student's scale."""
    normal = np.maximum(np.quantile(largest, level, axis=0), normal_quantile((1 + level) / 2))
    return -student_quantile(normal_cdf(-normal), max(1, degrees_of_freedom(strata)))


def _variance(influence: NDArray[np.float64], strata: NDArray[np.int64]) -> NDArray[np.float64]:
    """[point] variance of a sum over units drawn within strata."""
    variance = np.zeros(influence.shape[1])
    for stratum in range(int(strata.max()) + 1):
        part = influence[strata == stratum]
        part -= part.mean(axis=0)
        part *= part
        variance += len(part) / (len(part) - 1) * part.sum(axis=0)
    return variance
