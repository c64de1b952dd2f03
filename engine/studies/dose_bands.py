"""How sure a dose chart is: the band of each of its panels over all values at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.analysis.bands import CHUNK, sup_t_band, unit_counts
from engine.analysis.resampling import UnitTotals, bootstrap_weights, merged_strata, resampled_means, unit_totals
from engine.analysis.srm import UnitCoordinates
from engine.figures.bands import DoseBand
from engine.figures.session import CONDITION, run_groups
from engine.figures.units import Units
from engine.session import PlaneRecord, Session

Floats = NDArray[np.float64]


def dose_bands(
    session: Session, plane: PlaneRecord, points: UnitCoordinates, units: Units, *, resamples: int, seed: int
) -> tuple[DoseBand, ...]:
    """Infer every panel of a plane's dose chart from the same resamples of units.

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
    home = place[units.of_run]
    strata = merged_strata(units.stratum[used])
    weights = bootstrap_weights(strata, resamples, seed)
    spotlight = session.spec.spotlight
    columns = np.column_stack(
        [points.xy, (points.xy**2).sum(axis=1), np.where(points.finite, plane.norm, np.nan), plane.x]
    )
    plain: list[tuple[Floats, Floats]] = []
    shares: list[tuple[Floats, Floats]] = []
    for label in labels:
        runs = groups[label].runs
        totals = unit_totals(columns, home, len(used), runs)
        plain.append((totals.mean, resampled_means(totals, weights)))
        counts = unit_counts(points.xy[runs], home[runs], len(used), spotlight.thresholds, spotlight.angles)
        shares.append((_largest(counts.mean, spotlight.angles), _largest_of(counts, weights, spotlight.angles)))
    observed = np.array([mean for mean, _ in plain])
    drawn = np.stack([means for _, means in plain], axis=1)
    amplitude = np.hypot(observed[:, 0], observed[:, 1]), np.hypot(drawn[..., 0], drawn[..., 1])
    phase = np.degrees(np.arctan2(observed[:, 1], observed[:, 0])) % 360.0
    turned = np.degrees(np.arctan2(drawn[..., 1], drawn[..., 0])) - phase
    around = phase + (turned + 180.0) % 360.0 - 180.0
    found = [
        DoseBand("amplitude", tuple(labels), sup_t_band(*amplitude, strata)),
        DoseBand("phase", tuple(labels), _determined(sup_t_band(phase, around, strata), amplitude[0])),
        *(
            DoseBand(name, tuple(labels), sup_t_band(observed[:, column], drawn[..., column], strata))
            for name, column in (("norm", 3), ("energy", 2), ("mean", 4))
        ),
    ]
    for row, threshold in enumerate(spotlight.thresholds):
        seen, resampled = (
            np.array([one[row] for one, _ in shares]),
            np.stack([all_of[:, row] for _, all_of in shares], 1),
        )
        band = np.clip(sup_t_band(seen, resampled, strata), 0.0, 1.0)
        found.append(DoseBand("share", tuple(labels), band, float(threshold)))
    return tuple(found)


def _determined(band: Floats, amplitude: Floats) -> Floats:
    """A band of phases with those left out that may be any, or belong to no direction at all."""
    anywhere = (band[1] - band[0] >= 360.0) | (amplitude == 0)
    return np.where(anywhere, np.nan, band)


def _largest(shares: Floats, n_angles: int) -> Floats:
    """[threshold] the largest share over all angles."""
    return shares.reshape(-1, n_angles).max(axis=1)


def _largest_of(counts: UnitTotals, weights: NDArray[np.float32], n_angles: int) -> Floats:
    """[resample, threshold] the same in every resample; NaN in one without a run."""
    sums = counts.sums.astype(np.float32)
    runs = weights.astype(np.float64) @ counts.counts
    found = np.empty((len(weights), sums.shape[1] // n_angles))
    for start in range(0, len(weights), CHUNK):
        rows = slice(start, start + CHUNK)
        found[rows] = (weights[rows] @ sums).reshape(-1, found.shape[1], n_angles).max(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return found / runs[:, None]
