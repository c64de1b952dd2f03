"""How sure a dose chart is: the band of each of its panels over all values at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.bands import share_bands, sup_t_band, unit_counts
from engine.analysis.ellipse import REGION_RESAMPLES, joint_region
from engine.analysis.resampling import (
    LEVEL,
    UnitTotals,
    bootstrap_weights,
    merged_strata,
    resampled_means,
    unit_totals,
)
from engine.analysis.srm import UnitCoordinates
from engine.figures.bands import DoseBand
from engine.figures.session import CONDITION, run_groups
from engine.figures.units import Units
from engine.session import PlaneRecord, Session

Floats = NDArray[np.float64]


def dose_bands(
    session: Session, plane: PlaneRecord, points: UnitCoordinates, units: Units, *, resamples: int, seed: int
) -> tuple[DoseBand, ...]:
    """Infer every panel of a plane's dose chart, each held by its band at all values at once.

    Amplitude and phase are read off the joint region of (A, B) of each value, and the largest share off its angle, at a
    level that Bonferroni makes of the whole chart's; norm, energy and activation have one critical value (sup-t).

    Args:
        session: the plane's.
        plane: the plane.
        points: where its runs lie.
        units: of the session.
        resamples: of the bootstrap.
        seed: of what is drawn.

    Returns:
        One a panel, for the largest share one a threshold; none where no value was swept, or over fewer than two units.
        Phases lie around the observed ones; NaN where they may be any.
    """
    swept = sorted(
        (condition.value, condition.label)
        for condition in session.conditions
        if condition.kind == "sweep" and condition.value is not None
    )
    groups = run_groups(session, (CONDITION,))
    labels = [label for _, label in swept if label in groups]
    used = np.unique(np.concatenate([units.of_run[groups[label].runs] for label in labels] or [np.empty(0, np.int64)]))
    if len(used) < 2:
        return ()
    place = np.full(len(units), -1)
    place[used] = np.arange(len(used))
    sample = _Sample(
        place[units.of_run], merged_strata(units.stratum[used]), resamples, seed, 1 - (1 - LEVEL) / len(labels)
    )
    runs = [groups[label].runs for label in labels]
    regions = [sample.region(points, own) for own in runs]
    columns = np.column_stack([np.where(points.finite, plane.norm, np.nan), (points.xy**2).sum(axis=1), plane.x])
    found = [
        DoseBand("amplitude", tuple(labels), np.array([amplitude for amplitude, _ in regions]).T),
        DoseBand("phase", tuple(labels), np.array([phase for _, phase in regions]).T),
    ]
    found += [
        DoseBand(name, tuple(labels), band)
        for name, band in zip(("norm", "energy", "mean"), sample.means(columns, runs), strict=True)
    ]
    spotlight = session.spec.spotlight
    shares = np.stack([sample.shares(points, own, spotlight.thresholds, spotlight.angles) for own in runs], axis=2)
    found += [
        DoseBand("share", tuple(labels), band, float(level))
        for band, level in zip(shares, spotlight.thresholds, strict=True)
    ]
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Sample:
    """The units of a dose chart and how they are resampled; `single` is the level of one value among all of them."""

    home: NDArray[np.int64]
    strata: NDArray[np.int64]
    resamples: int
    seed: int
    single: float

    def region(self, points: UnitCoordinates, runs: NDArray[np.int64]) -> tuple[list[float], list[float]]:
        """The ends of one value's amplitude and of its phase, which lie around the observed one; NaN where unknown."""
        totals = unit_totals(points.xy, self.home, len(self.strata), runs)
        resamples = min(self.resamples, REGION_RESAMPLES)
        region = joint_region(totals, self.strata, level=self.single, resamples=resamples, seed=self.seed)
        if region is None:
            return [np.nan] * 2, [np.nan] * 2
        ends = region.phase_deg
        if ends is None:
            return list(region.amplitude), [np.nan] * 2
        phase = float(np.degrees(np.arctan2(region.centre[1], region.centre[0]))) % 360.0
        return list(region.amplitude), [phase - (phase - ends[0]) % 360.0, phase + (ends[1] - phase) % 360.0]

    def means(self, columns: Floats, runs: Sequence[NDArray[np.int64]]) -> list[Floats]:
        """[2, value] bands of the mean of every column."""
        weights = bootstrap_weights(self.strata, self.resamples, self.seed)
        totals = [unit_totals(columns, self.home, len(self.strata), own) for own in runs]
        observed = np.array([one.mean for one in totals])
        drawn = np.stack([resampled_means(one, weights) for one in totals], axis=1)
        return [sup_t_band(observed[:, c], drawn[..., c], self.strata) for c in range(columns.shape[1])]

    def shares(
        self, points: UnitCoordinates, runs: NDArray[np.int64], thresholds: Sequence[float], angles: int
    ) -> Floats:
        """[threshold, 2] ends of the share at the angle where it is largest."""
        counts = unit_counts(points.xy[runs], self.home[runs], len(self.strata), thresholds, angles)
        found = np.full((len(thresholds), 2), np.nan)
        if not counts.present.any():
            return found
        best = counts.mean.reshape(-1, angles).argmax(axis=1) + np.arange(len(thresholds)) * angles
        totals = UnitTotals(counts.sums[:, best], counts.counts)
        band = share_bands(
            totals, self.strata, len(thresholds), level=self.single, resamples=self.resamples, seed=self.seed
        )
        return found if band is None else band.T
