"""Two groups of runs compared: the difference of their curves, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from srm_explorer.engine.stats.bands import difference_bands, sup_t_band, unit_counts
from srm_explorer.engine.stats.permutation import FEWEST_UNITS, SignFlips, sign_flip_test
from srm_explorer.engine.stats.regions import REGION_RESAMPLES, JointRegion, joint_region
from srm_explorer.engine.stats.resampling import (
    LEVEL,
    RESAMPLES,
    UnitTotals,
    affordable_resamples,
    bootstrap_weights,
    merged_strata,
    resampled_means,
    unit_totals,
    used_units,
)
from srm_explorer.engine.stats.spotlight import directions


@dataclass(frozen=True, eq=False)
class Sample:
    """Runs of one group.

    Attributes:
        xy: [run, 2] unit coordinates; runs that are not finite are left out.
        unit: [run] index of the unit each belongs to, in the numbering that both groups share.
    """

    xy: NDArray[np.float64]
    unit: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GroupDifference:
    """One group minus another in a plane, of units that weigh alike: each is the mean of its runs.

    Attributes:
        paired: whether both groups have runs of every one of them.
        regions: (A, B) of either group; None where units are too few, here and below.
        region: (A, B) of the first minus that of the second; None also where units differ by the very same.
        difference: [2] the same as observed.
        phase_deg: phase of the first minus phase of the second, -180 to 180; None where a group has no amplitude.
        phase_interval: where that may lie, both ends around `phase_deg`; None where the phase of either group is
            undetermined.
        mean: [angle] difference of the mean cosines.
        mean_band: [2, angle] simultaneous: the joint region seen along every direction.
        shares: [threshold, angle] difference of the shares of a unit's runs above a threshold.
        share_bands: [2, threshold, angle]; each threshold's curve is held as a whole.
    """

    units: int
    paired: bool
    regions: tuple[JointRegion | None, JointRegion | None]
    region: JointRegion | None
    difference: NDArray[np.float64]
    phase_deg: float | None
    phase_interval: tuple[float, float] | None
    mean: NDArray[np.float64]
    mean_band: NDArray[np.float64] | None
    shares: NDArray[np.float64]
    share_bands: NDArray[np.float64] | None


def group_difference(
    first: Sample,
    other: Sample,
    stratum: NDArray[np.int64],
    thresholds: Sequence[float],
    n_angles: int = 360,
    *,
    paired: bool = True,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> GroupDifference:
    """Subtract one group's curves from another's, units resampled in both at once.

    Means are over units, each the mean of its runs: where a unit has other numbers of runs in the two groups, sums over
    runs would differ by what both groups have in common.

    Args:
        stratum: [unit] what units are stratified by.
        thresholds: cosines to count above.
        n_angles: equally spaced angles from 0, 360 degrees excluded.
        paired: the groups have units in common, and only these are used; False where they have none: `stratum` must
            then part the units of one from those of the other.
        level: how often a region or band should hold the truth.
    """
    resamples = affordable_resamples(len(stratum), resamples)
    sides = [unit_totals(side.xy, side.unit, len(stratum)).averaged for side in (first, other)]
    used = used_units(sides[0], sides[1], paired=paired)
    within = [side.only(used) if paired else side for side in sides]
    kept = stratum[used] if paired else stratum
    regions = [joint_region(side, kept, level=level, seed=seed) for side in within]
    region = joint_region(sides[0], stratum, sides[1], paired=paired, level=level, seed=seed)
    if region is not None and region.is_point:
        # The very same in every unit that was seen: no interval, which would have no width; shares keep their band.
        region = None
    difference = within[0].mean - within[1].mean
    cos, sin = directions(n_angles)
    counts = [unit_counts(side.xy, side.unit, len(stratum), thresholds, n_angles).averaged for side in (first, other)]
    shares = [side.only(used).mean if paired else side.mean for side in counts]
    bands = (
        difference_bands(
            counts[0], counts[1], stratum, len(thresholds), paired=paired, level=level, resamples=resamples, seed=seed
        )
        if thresholds
        else None
    )
    shape = (len(thresholds), n_angles)
    phase, interval = _phase_difference(
        within[0], within[1], kept, regions, level=level, resamples=resamples, seed=seed
    )
    return GroupDifference(
        units=int(used.sum()),
        paired=paired,
        regions=(regions[0], regions[1]),
        region=region,
        difference=difference,
        phase_deg=phase,
        phase_interval=interval,
        mean=difference[0] * cos + difference[1] * sin,
        mean_band=None if region is None else seen_along(region, n_angles),
        shares=(shares[0] - shares[1]).reshape(shape),
        share_bands=None if bands is None else bands.reshape(2, *shape),
    )


def seen_along(region: JointRegion, n_angles: int) -> NDArray[np.float64]:
    """The ends [2, angle] of a region along every direction: a simultaneous band of the mean curve (Scheffe 1953)."""
    along = np.stack(directions(n_angles), axis=1)
    middle = along @ region.centre
    spread = np.einsum("ij,jk,ik->i", along, region.covariance, along)
    half = np.sqrt(np.maximum(region.radius2 * spread, 0.0))
    return np.stack([middle - half, middle + half])


@dataclass(frozen=True, eq=False)
class PairedTest:
    """Two tests that units do not differ between two groups in (A, B).

    Attributes:
        symmetry: that differences are symmetric around zero, both coordinates jointly, by flipping signs of units.
        region: of the mean difference, with the p of its studentised bootstrap, that the mean is zero; None for too few
            units.
    """

    symmetry: SignFlips
    region: JointRegion | None


def paired_test(
    first: Sample, other: Sample, stratum: NDArray[np.int64], flips: int = RESAMPLES, seed: int = 0
) -> PairedTest | None:
    """Test (A, B) of one group minus the other's, a number a unit: the mean of its runs; None without two common ones.

    Args:
        stratum: [unit] as `group_difference` takes it.
        flips: sign patterns, and resamples of units.
    """
    sides = [unit_totals(side.xy, side.unit, len(stratum)).averaged for side in (first, other)]
    used = used_units(sides[0], sides[1])
    if used.sum() < FEWEST_UNITS:
        return None
    parts = [side.only(used) for side in sides]
    differences = UnitTotals(parts[0].sums - parts[1].sums, parts[0].counts)
    region = joint_region(differences, stratum[used], resamples=min(flips, REGION_RESAMPLES), seed=seed)
    return PairedTest(sign_flip_test(differences.sums, flips, seed), region)


def _phase_difference(
    first: UnitTotals,
    other: UnitTotals,
    stratum: NDArray[np.int64],
    regions: Sequence[JointRegion | None],
    *,
    level: float,
    resamples: int,
    seed: int,
) -> tuple[float | None, tuple[float, float] | None]:
    """The angle from the second mean to the first, and its interval by the resamples' own angles."""
    means = [side.mean[0] + 1j * side.mean[1] for side in (first, other)]
    if not all(np.isfinite(abs(mean)) and abs(mean) > 0 for mean in means):
        return None, None
    observed = means[0] * np.conj(means[1])
    turn = float(np.degrees(np.angle(observed)))
    if any(region is None or region.phase_deg is None for region in regions):
        return turn, None
    strata = merged_strata(stratum)
    weights = bootstrap_weights(strata, resamples, seed)
    drawn = [side @ np.array([1.0, 1.0j]) for side in (resampled_means(part, weights) for part in (first, other))]
    around = turn + np.degrees(np.angle(drawn[0] * np.conj(drawn[1]) * np.conj(observed)))
    low, high = sup_t_band([turn], around[:, None], strata, level)[:, 0].tolist()
    return turn, (low, high)


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
    array = np.asarray(differences, np.float64)
    n = len(array)
    mean = array.mean(axis=0)
    return _contrast(mean, array - mean, np.abs(array).max(axis=0, initial=0.0), 1 / n, n - 1)


def group_contrast(group: ArrayLike, other: ArrayLike) -> Contrast:
    """The contrast of [unit, k] and [unit, k] of different units, by their pooled covariance."""
    first, second = np.asarray(group, np.float64), np.asarray(other, np.float64)
    means = first.mean(axis=0), second.mean(axis=0)
    rest = np.concatenate([first - means[0], second - means[1]])
    size = np.abs(np.concatenate([first, second])).max(axis=0, initial=0.0)
    return _contrast(means[0] - means[1], rest, size, 1 / len(first) + 1 / len(second), len(rest) - 2)


def hotelling(t_a: ArrayLike, t_b: ArrayLike, rho: ArrayLike) -> Floats:
    """Hotelling's T² of a pair from its marginal t and their correlation: ``(a² + b² - 2 r a b) / (1 - r²)``.

    Hotelling 1931. Any shapes that broadcast; NaN where the pair is collinear.
    """
    a, b, r = np.asarray(t_a, np.float64), np.asarray(t_b, np.float64), np.asarray(rho, np.float64)
    residual = 1.0 - r * r
    squares = a * a + b * b - 2.0 * r * a * b
    return np.where(residual > COLLINEAR, squares / np.where(residual > COLLINEAR, residual, 1.0), np.nan)


def added(t2: ArrayLike, t: ArrayLike, dof: int) -> Floats:
    """Rao's F for what the second coordinate adds to one whose own statistic is t: ``(v - 1)(T² - t²) / (v + t²)``.

    Rao 1946: F of 1 and v - 1 degrees of freedom when the second adds nothing. The smaller of a pair's two, that is
    with the larger t, is its gain over the better marginal: both coordinates must add to the other.
    """
    whole, single = np.asarray(t2, np.float64), np.asarray(t, np.float64) ** 2
    return (dof - 1) * np.maximum(whole - single, 0.0) / (dof + single)


def gain(t_a: ArrayLike, t_b: ArrayLike, rho: ArrayLike, dof: int) -> Floats:
    """A pair's gain over the better of its marginals, see `added`; NaN where it is collinear or does not spread."""
    a, b = np.asarray(t_a, np.float64), np.asarray(t_b, np.float64)
    return added(hotelling(a, b, rho), np.maximum(np.abs(a), np.abs(b)), dof)


@dataclass(frozen=True, eq=False)
class Synergy:
    """What the two coordinates of pairs tell together beyond what each tells alone.

    Attributes:
        value: [pair] T² - a² - b², of Hotelling's T² and the two marginal t: 0 where the coordinates are not
            correlated within groups, above 0 where each makes the other clearer, below 0 where they repeat each other.
            NaN for a collinear pair, or one that does not spread.
        p: [pair] one-sided, of a synergy that is 0 or less.
    """

    value: Floats
    p: Floats


def synergy(samples: Sequence[ArrayLike], pairs: NDArray[np.int64]) -> Synergy:
    """Measure the synergy of pairs of coordinates, and how sure it is above 0.

    With e = difference / spread of a coordinate, T² - a² - b² is ``r (r (e_a² + e_b²) - 2 e_a e_b) / (1 - r²)`` over
    the share s of ``T² = Mahalanobis² / s``. p is Student's, of the value over its jackknife standard error, every unit
    left out once (Tukey 1958; two samples: Arvesen 1969). In simulation it is reached at most as often as it says,
    far less often where one coordinate alone differs, or none; an interval would not hold where t are very large, nor
    would a p from the logarithm, which is smaller.

    Args:
        samples: one table [unit, k] of differences, or two of different units.
        pairs: [pair, 2] columns.
    """
    columns, index = np.unique(pairs, return_inverse=True)
    a, b = index.reshape(pairs.shape).T
    tables = [np.asarray(sample, np.float64)[:, columns] for sample in samples]
    sizes = [len(table) for table in tables]
    means = [table.mean(axis=0) for table in tables]
    centred = [table - mean for table, mean in zip(tables, means, strict=True)]
    squares = np.sum([(rest**2).sum(axis=0) for rest in centred], axis=0)
    products = np.sum([(rest[:, a] * rest[:, b]).sum(axis=0) for rest in centred], axis=0)
    size = np.max([np.abs(table).max(axis=0, initial=0.0) for table in tables], axis=0)
    squares = np.where(np.sqrt(squares) > CONSTANT * size * np.sqrt(sum(sizes)), squares, np.nan)
    difference = means[0] - means[1] if len(means) > 1 else means[0]
    dof = sum(sizes) - len(sizes)

    def per_unit(difference: Floats, squares: Floats, products: Floats, dof: int) -> Floats:
        apart = difference / np.sqrt(squares / dof)
        rho = products / np.sqrt(squares[..., a] * squares[..., b])
        residual = np.where(1.0 - rho**2 > COLLINEAR, 1.0 - rho**2, np.nan)
        first, second = apart[..., a], apart[..., b]
        return rho * (rho * (first**2 + second**2) - 2.0 * first * second) / residual

    with np.errstate(invalid="ignore", divide="ignore"):
        whole = per_unit(difference, squares, products, dof)
        variance = np.zeros(len(pairs))
        for number, (rest, n) in enumerate(zip(centred, sizes, strict=True)):
            # Without a unit, the rest of its sample lies about another mean.
            wider = n / (n - 1)
            without = per_unit(
                difference - (-1) ** number * rest / (n - 1),
                squares - wider * rest**2,
                products - wider * rest[:, a] * rest[:, b],
                dof - 1,
            )
            variance += (n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0)
        ratio = whole / np.sqrt(variance)
    p = np.asarray(cast("Any", stats).t.sf(ratio, dof), np.float64)
    return Synergy(whole / sum(1.0 / n for n in sizes), np.where(np.isfinite(ratio), p, np.nan))


def _contrast(mean: Floats, rest: Floats, size: Floats, share: float, dof: int) -> Contrast:
    squares = (rest**2).sum(axis=0)
    spreads = (np.sqrt(squares) > CONSTANT * size * np.sqrt(len(rest))) & (dof > 0)
    error = np.sqrt(np.where(spreads, squares, 1.0) * share / max(dof, 1))
    t = np.where(spreads, mean / error, np.nan)
    return Contrast(t, np.where(spreads, rest / np.sqrt(np.where(spreads, squares, 1.0)), 0.0), dof)
