"""What of the runs is beyond arithmetic: their unit coordinates, less those that the intervention alone predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures.arithmetic import arithmetic_points
from srm_explorer.engine.figures.groups import points_of, run_groups
from srm_explorer.engine.session import Session, Units, baseline_of, changed_units, units_of
from srm_explorer.engine.session.lengths import paired
from srm_explorer.engine.stats.dose_response import ROUNDING
from srm_explorer.engine.stats.groups import BASELINE, RunGroup
from srm_explorer.engine.stats.permutation import FEWEST_UNITS, sign_flip_test
from srm_explorer.engine.stats.regions import REGION_RESAMPLES, joint_region
from srm_explorer.engine.stats.resampling import RESAMPLES, UnitTotals, unit_totals

Floats: TypeAlias = NDArray[np.float64]


def residual_points(session: Session, plane_index: int) -> Floats | None:
    """[run, 2] unit coordinates observed minus those that arithmetic predicts; NaN where nothing is predicted.

    Either is over the tokens that the run and its baseline both have, as far as means over those are kept: one over
    more tokens is shorter, and so its cosines differ, whatever was written. Where a run's tokens are its baseline's,
    the difference is none but the rounding of another batch, and exactly 0.

    Returns:
        None where nothing is predicted of any run.
    """
    pairs = paired(session, session.planes[plane_index])
    predicted = arithmetic_points(session, plane_index, pairs)
    if predicted is None:
        return None
    difference = points_of(pairs.runs).xy - predicted.xy
    bases: list[int] = baseline_of(session).tolist()
    told = not session.is_unknown("tokens")
    same = [
        base >= 0
        and (told or session.same_text(run, session.runs[base]))
        and run.token_ids[:tokens] == session.runs[base].token_ids[:base_tokens]
        for run, base, tokens, base_tokens in zip(session.runs, bases, pairs.tokens, pairs.base_tokens, strict=True)
    ]
    alike = np.array(same, np.bool_) & np.isfinite(difference).all(axis=1)
    # Where tokens are unknown, what float32 leaves of equal vectors is no difference either.
    difference[alike if told else alike | (np.abs(difference) <= ROUNDING).all(axis=1)] = 0.0
    return difference


def residual_p(
    session: Session, plane_index: int, by: Sequence[str] = (), *, flips: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Test (A, B) observed minus arithmetic of every group but the baseline, by label; none where nothing is predicted.

    A unit's value is the mean over its runs; whole units flip their signs. Groups of a single unit have no p.
    """
    residual = residual_totals(session, plane_index, run_groups(session, by), units_of(session))
    return {label: float(sign_flip_test(totals.unit_means, flips, seed).p) for label, totals in residual.items()}


def residual_totals(
    session: Session, plane_index: int, groups: Mapping[str, RunGroup], units: Units
) -> dict[str, UnitTotals]:
    """What is beyond arithmetic, unit by unit, of every group that it is tested of."""
    difference = residual_points(session, plane_index)
    if difference is None:
        return {}
    totals = {
        label: unit_totals(difference, units.of_run, len(units), group.runs)
        for label, group in groups.items()
        if group.role != BASELINE
    }
    return {label: each for label, each in totals.items() if each.present.sum() >= FEWEST_UNITS}


def beyond_fields(
    session: Session, group: RunGroup, totals: UnitTotals, units: Units, resamples: int, seed: int
) -> dict[str, Any]:
    """The fields of a band that tell of what is beyond arithmetic: units weigh alike, whatever their runs."""
    changed = changed_units(session, group.runs)
    region = joint_region(totals.averaged, units.stratum, resamples=min(resamples, REGION_RESAMPLES), seed=seed)
    # Where no unit differs there is nothing to tell of their mean, and no interval of width zero.
    known = region is not None and np.isfinite(region.p) and not region.is_point
    return {
        "p_arithmetic": float(sign_flip_test(totals.unit_means, resamples, seed).p),
        "p_mean": float(region.p) if region is not None and known else None,
        "beyond": (float(np.hypot(*region.centre)), *region.amplitude) if region is not None and known else None,
        "changed": (changed.changed, changed.units) if changed.units else None,
    }
