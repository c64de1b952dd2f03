"""From a session to what stands beside the curves of one of its planes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from srm_explorer.engine.figures.arithmetic import arithmetic_points
from srm_explorer.engine.figures.bands import NullBand, PlaneBands, counts_copies
from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.engine.figures.groups import points_of, run_groups
from srm_explorer.engine.figures.numbers import degrees, three_digits
from srm_explorer.engine.figures.overlays import Overlays, predicted_group
from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.engine.session.lengths import LengthNotes, differ_in_length, paired
from srm_explorer.engine.stats.groups import BASELINE
from srm_explorer.engine.stats.spotlight import sweep_groups


def overlays_from_session(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    by: Sequence[str] = (),
    bands: PlaneBands | None = None,
    choice: int = 0,
) -> Overlays:
    """What arithmetic predicts of the groups, and what is known of their certainty.

    Args:
        groups: all or some of those that `swept_groups` made, without `points` of its own.
        bands: of this plane under this grouping, where they were computed.
        choice: which of `choices_of` is in focus, counted round and round.
    """
    predicted = predictions_of(session, plane, groups, by)
    label, null = "", None
    choices = choices_of(groups, bands)
    if choices:
        label, null = choices[choice % len(choices)]
    named = [group for group in groups if group.label in predicted]
    lengths, common = _lengths(session, plane, named, by)
    return Overlays(
        predicted={
            group.label: predicted_group(group, predicted[group.label], alone=len(named) == 1) for group in named
        },
        bands=bands,
        lengths=lengths,
        common=common,
        focus=label,
        null=null,
    )


def _lengths(
    session: Session, plane: PlaneRecord, groups: Sequence[SweptGroup], by: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What tests make of texts that differ in length; where groups and predictions lie over the tokens in common."""
    if not groups or not differ_in_length(session.spec, session.seen_runs):
        return {}, {}
    pairs = paired(session, plane)
    observed, predicted = points_of(pairs.runs), arithmetic_points(session, plane_index(session, plane), pairs)
    known, notes = run_groups(session, by), LengthNotes(session, pairs)
    lengths: dict[str, str] = {}
    common: dict[str, str] = {}
    for group in groups:
        rows = known[group.label].runs
        note = notes.of(rows)
        lengths[group.label] = note.said
        if predicted is None or not (note.differ and note.kept):
            continue
        rows = rows[observed.finite[rows] & predicted.finite[rows]]
        if len(rows):
            means = [_polar(points.xy[rows].mean(axis=0).tolist()) for points in (predicted, observed)]
            common[group.label] = f"at the common length {means[1]}, arithmetic {means[0]}"
    return lengths, common


def _polar(mean: Sequence[float]) -> str:
    a, b = mean
    phase = math.degrees(math.atan2(b, a)) % 360 if math.hypot(a, b) > 0 else None
    return f"A {three_digits(math.hypot(a, b))} φ {degrees(phase)}"


def predictions_of(
    session: Session, plane: PlaneRecord, groups: Sequence[SweptGroup], by: Sequence[str] = ()
) -> dict[str, SweptGroup]:
    """Sweep what arithmetic makes of the groups' runs, by label; groups of which nothing is predicted are left out."""
    points = arithmetic_points(session, plane_index(session, plane))
    known = run_groups(session, by)
    rows = {
        group.label: known[group.label].runs
        for group in groups
        if known[group.label].role != BASELINE and points is not None and points.finite[known[group.label].runs].any()
    }
    if points is None or not rows:
        return {}
    sweep = groups[0].sweep
    sweeps = sweep_groups(points, rows, sweep.thresholds, len(sweep.angles_deg))
    return {
        group.label: SweptGroup(group.label, "arithmetic", sweeps[group.label], group.n_prompts, group.n_runs)
        for group in groups
        if group.label in sweeps
    }


def choices_of(groups: Sequence[SweptGroup], bands: PlaneBands | None) -> list[tuple[str, NullBand | None]]:
    """What can be in focus: each group with each kind of chance that is known of it, the most telling first.

    All swept runs together come first, else those of the last value; then the other groups, the baseline last.
    """
    order = sorted(groups, key=_rank)
    swept = [group for group in order if group.role != "baseline" and group.role != "baseline of"]
    if swept and swept[0].role != "pooled":
        swept = [swept[-1], *swept[:-1]]
    choices: list[tuple[str, NullBand | None]] = []
    for group in (*swept, *(group for group in order if group not in swept)):
        nulls = [] if bands is None else [null for null in bands.nulls if null.group == group.label]
        first = None if bands is None else bands.null_of(group.label)
        nulls.sort(key=lambda null: null is not first)
        choices += [(group.label, null) for null in nulls or [None]]
    return choices


def stored_bands(session: Session, plane: int, by: Sequence[str] = ()) -> PlaneBands | None:
    """The bands that a session was saved with, of one of its planes under a grouping; None where it has none."""
    listed = session.bands.get("planes")
    for record in cast("list[object]", listed) if isinstance(listed, list) else []:
        try:
            bands = PlaneBands.from_dict(cast("Mapping[str, Any]", record))
        except (KeyError, TypeError, ValueError):
            continue
        if (bands.plane, bands.by) == (plane, tuple(by)):
            return None if counts_copies(session, (group.units for group in bands.groups)) else bands
    return None


def plane_index(session: Session, plane: PlaneRecord) -> int:
    return int(np.argmax([known is plane for known in session.planes]))


def _rank(group: SweptGroup) -> int:
    return {"pooled": 0, "level": 1, "value": 1, "reference": 2}.get(group.role, 3)
