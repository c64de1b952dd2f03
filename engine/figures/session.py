"""From a saved session to the groups and figures that show one of its planes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from engine.analysis.groups import BASELINE, CONTROL, REFERENCE, RunGroup, group_runs
from engine.analysis.srm import UnitCoordinates, sweep_groups, unit_coordinates
from engine.errors import ExplorerError
from engine.figures.beside import ALONE, Beside
from engine.figures.captions import plane_captions, plane_title, pooled_caption
from engine.figures.curves import Role, SweptGroup
from engine.figures.polar import PolarFigure, polar_counts, polar_mean, threshold_index
from engine.figures.thresholds import ThresholdFigure, threshold_figure
from engine.figures.warnings import session_warnings
from engine.session import PlaneRecord, Session
from engine.spec.refusal import did_you_mean

CONDITION, SET = "condition", "set"
WORTH_SEEING = 0.1
"""Share of a group's runs that the chosen threshold should light somewhere."""
FEW_GROUPS = 3
"""Groups whose curves for every threshold can be told apart on one chart."""


def swept_groups(
    session: Session,
    plane: PlaneRecord,
    by: Sequence[str] = (),
    thresholds: Sequence[float] | None = None,
    points: UnitCoordinates | None = None,
) -> tuple[SweptGroup, ...]:
    """Sweep the spotlight over the groups of a session's runs.

    Args:
        session: with at least one run.
        plane: one of its planes.
        by: nothing for the baseline, the reference and all values pooled; "condition" for each value by itself; names
            of factors ("set" is the prompt set) for each of their levels; or both.
        thresholds: those of the experiment by default.
        points: where the runs lie in the plane; as they were observed by default.

    Raises:
        ExplorerError: no prompt has such a factor, or a threshold is no cosine.
    """
    spotlight = session.spec.spotlight
    levels = spotlight.thresholds if thresholds is None else tuple(thresholds)
    groups = run_groups(session, by)
    points = points_of(plane) if points is None else points
    sweeps = sweep_groups(points, {label: group.runs for label, group in groups.items()}, levels, spotlight.angles)
    return tuple(
        SweptGroup(label, _role(group), sweeps[label], group.n_prompts, len(group.runs))
        for label, group in groups.items()
    )


def run_groups(session: Session, by: Sequence[str]) -> dict[str, RunGroup]:
    """The groups that `swept_groups` sweeps, by label, with the runs of each; errors and `by` as there."""
    if not session.runs:
        raise ExplorerError("no run of it is finished", where=session.name, remedy="run the experiment again")
    known = factor_columns(session)
    chosen = [name for name in dict.fromkeys(by) if name != CONDITION]
    for name in chosen:
        if name not in known:
            raise ExplorerError(
                f"its prompts have no factor '{name}'",
                where=session.name,
                remedy=did_you_mean(name, [CONDITION, *known]),
            )
    labels = [_label(session, run.condition) for run in session.runs]
    groups = group_runs(
        labels,
        [run.prompt for run in session.runs],
        {name: known[name] for name in chosen},
        pooled=pooled_caption(session.spec),
    )
    left_out = "pooled" if CONDITION in by else "value"
    return {label: group for label, group in groups.items() if group.role != left_out}


def polar_of(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    view: Literal["counts", "mean"] = "counts",
    threshold: float | None = None,
    beside: Beside = ALONE,
) -> PolarFigure:
    """The polar chart of a plane: counts above a threshold (`telling_threshold` by default), or the mean cosine."""
    a, b = plane_captions(plane)
    title = _title(session, plane)
    if view == "mean":
        figure = polar_mean(groups, a, b, title, beside)
    else:
        level = telling_threshold(groups) if threshold is None else threshold
        figure = polar_counts(groups, a, b, level, title, beside)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))


def thresholds_of(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    threshold: float | None = None,
    beside: Beside = ALONE,
) -> ThresholdFigure:
    """The threshold chart of a plane: the experiment's thresholds, and means; one threshold alone for many groups.

    Args:
        session: the plane's.
        plane: one of its planes.
        groups: swept with the experiment's thresholds at least.
        threshold: the one that many groups are shown with, and what stands beside them, `telling_threshold` by default.
        beside: what else is drawn.
    """
    few = len(groups) <= FEW_GROUPS
    one = telling_threshold(groups) if threshold is None else threshold
    levels = session.spec.spotlight.thresholds if few else (one,)
    title = _title(session, plane)
    figure = threshold_figure(groups, title, levels=levels, with_means=few, beside=beside, chosen=one)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))


def points_of(plane: PlaneRecord) -> UnitCoordinates:
    """Where a plane's runs lie, divided by their norms."""
    return unit_coordinates(plane.xy, plane.norm)


def telling_threshold(groups: Sequence[SweptGroup]) -> float:
    """The largest threshold above which some group has a tenth of its runs at some angle; else the smallest."""
    thresholds = groups[0].sweep.thresholds
    for level in sorted(thresholds, reverse=True):
        for group in groups:
            if group.sweep.n and group.sweep.fraction[threshold_index(group, level)].max() >= WORTH_SEEING:
                return level
    return min(thresholds)


def factor_columns(session: Session) -> dict[str, list[str | None]]:
    """[run] levels of every factor, in order of first appearance; "set" is the prompt set unless a factor is."""
    columns: dict[str, list[str | None]] = {}
    for name in dict.fromkeys(name for prompt in session.prompts for name in prompt.factors):
        columns[name] = [session.prompts[run.prompt].factors.get(name) for run in session.runs]
    columns.setdefault(SET, [session.prompts[run.prompt].set for run in session.runs])
    return columns


def _label(session: Session, condition: int) -> str:
    found = session.conditions[condition]
    named = {"baseline": BASELINE, "reference": REFERENCE, "control": CONTROL}
    return named.get(found.kind, found.label)


def _role(group: RunGroup) -> Role:
    if not group.levels:
        return group.role
    return "baseline of" if group.role == BASELINE else "level"


def _title(session: Session, plane: PlaneRecord) -> str:
    return f"{session.name} · {plane_title(plane)}"
