"""From a saved session to the groups and figures that show one of its planes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.figures.captions import plane_captions, plane_title, pooled_caption
from srm_explorer.engine.figures.curves import BESIDE, LegendEntry, Role, SweptGroup
from srm_explorer.engine.figures.numbers import three_digits
from srm_explorer.engine.figures.overlays import NO_OVERLAYS, Overlays
from srm_explorer.engine.figures.polar import PolarFigure, polar_counts, polar_mean, threshold_index
from srm_explorer.engine.figures.thresholds import ThresholdFigure, threshold_figure
from srm_explorer.engine.figures.warnings import session_warnings
from srm_explorer.engine.session import HeldOut, PlaneRecord, Session
from srm_explorer.engine.session.units import broken_texts
from srm_explorer.engine.stats.groups import BASELINE, CONTROL, NO_LEVEL, REFERENCE, RunGroup, group_runs
from srm_explorer.engine.stats.spotlight import UnitCoordinates, sweep_groups, unit_coordinates

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
    if plane.held_out is not None:
        groups = _shown_half(session, plane.held_out, groups)
    sweeps = sweep_groups(points, {label: group.runs for label, group in groups.items()}, levels, spotlight.angles)
    return tuple(
        SweptGroup(label, _role(group), sweeps[label], group.n_prompts, len(group.runs))
        for label, group in groups.items()
    )


def _shown_half(session: Session, split: HeldOut, groups: dict[str, RunGroup]) -> dict[str, RunGroup]:
    """The groups without the runs that a plane was made of; those of which none is left are no groups."""
    prompts = np.array([run.prompt for run in session.runs], np.int64)
    is_shown = ~np.isin(prompts, split.prompts)
    halved = {
        label: dataclasses.replace(group, runs=runs, n_prompts=len(np.unique(prompts[runs])))
        for label, group in groups.items()
        if len(runs := group.runs[is_shown[group.runs]])
    }
    if not halved:
        remedy = "choose another seed, or run more prompts"
        raise ExplorerError("no run of it is in the half that is shown", where=session.name, remedy=remedy)
    return halved


def run_groups(session: Session, by: Sequence[str]) -> dict[str, RunGroup]:
    """The groups that `swept_groups` sweeps, by label, with the runs of each; errors and `by` as there."""
    if not session.runs:
        raise ExplorerError("no run of it is finished", where=session.name, remedy="run the experiment again")
    if not session.seen.any() and (lines := broken_texts(session.runs_of_seen)):
        what, _, remedy = lines[0].partition("; ")
        raise ExplorerError(what, where=session.name, remedy=remedy)
    known = factor_columns(session)
    chosen = [name for name in dict.fromkeys(by) if name != CONDITION]
    for name in chosen:
        if name not in known:
            raise ExplorerError(
                f"its prompts have no factor '{name}'",
                where=session.name,
                remedy=did_you_mean(name, [CONDITION, *known]),
            )
    of_condition = [_label(session, index) for index in range(len(session.conditions))]
    # What is kept for confirmation is in no group, like controls.
    labels = [
        of_condition[run.condition] if is_seen else CONTROL
        for run, is_seen in zip(session.runs, session.seen.tolist(), strict=True)
    ]
    groups = group_runs(
        labels,
        [run.prompt for run in session.runs],
        {name: known[name] for name in chosen},
        pooled=pooled_caption(session.spec),
    )
    left_out = "pooled" if CONDITION in by else "value"
    return {label: group for label, group in groups.items() if group.role != left_out}


def polar_from_session(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    view: Literal["counts", "mean"] = "counts",
    threshold: float | None = None,
    overlays: Overlays = NO_OVERLAYS,
) -> PolarFigure:
    """The polar chart of a plane: counts above a threshold (`telling_threshold` by default), or the mean cosine."""
    a, b = plane_captions(plane)
    title = _title(session, plane)
    if view == "mean":
        figure = polar_mean(groups, a, b, title, overlays)
    else:
        level = telling_threshold(groups) if threshold is None else threshold
        figure = polar_counts(groups, a, b, level, title, overlays)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))


def thresholds_from_session(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    threshold: float | None = None,
    overlays: Overlays = NO_OVERLAYS,
) -> ThresholdFigure:
    """The threshold chart of a plane: the experiment's thresholds, and means; one threshold alone for many groups.

    Args:
        groups: swept with the experiment's thresholds at least.
        threshold: the one that many groups are shown with, and what stands beside them, `telling_threshold` by default.
    """
    few = len(groups) <= FEW_GROUPS
    level = telling_threshold(groups) if threshold is None else threshold
    levels = session.spec.spotlight.thresholds if few else (level,)
    title = _title(session, plane)
    figure = threshold_figure(groups, title, levels=levels, with_means=few, overlays=overlays, chosen=level)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))


def points_of(plane: PlaneRecord) -> UnitCoordinates:
    return unit_coordinates(plane.xy, plane.norm)


def telling_threshold(groups: Sequence[SweptGroup]) -> float:
    """The largest threshold above which some group has a tenth of its runs at some angle; else the smallest."""
    thresholds = groups[0].sweep.thresholds
    telling = (level for level in sorted(thresholds, reverse=True) if is_telling(groups, level))
    return next(telling, min(thresholds))


def telling_view(groups: Sequence[SweptGroup]) -> Literal["counts", "compass"]:
    """The view that shows something: counts where some threshold lights enough runs, else where every run lies."""
    return "counts" if groups and is_telling(groups, telling_threshold(groups)) else "compass"


def is_telling(groups: Sequence[SweptGroup], threshold: float) -> bool:
    """Whether some group has a tenth of its runs above a threshold at some angle."""
    return any(
        group.sweep.n > 0 and group.sweep.fraction[threshold_index(group, threshold)].max() >= WORTH_SEEING
        for group in groups
    )


def factor_columns(session: Session) -> dict[str, list[str | None]]:
    """[run] levels of every factor, in order of first appearance; "set" is the prompt set unless a factor is."""
    columns: dict[str, list[str | None]] = {}
    for name in dict.fromkeys(name for prompt in session.prompts for name in prompt.factors):
        columns[name] = [session.prompts[run.prompt].factors.get(name) for run in session.runs]
    columns.setdefault(SET, [session.prompts[run.prompt].set for run in session.runs])
    return columns


def _label(session: Session, condition: int) -> str:
    record = session.conditions[condition]
    named = {"baseline": BASELINE, "reference": REFERENCE, "control": CONTROL}
    return named.get(record.kind, record.label)


def _role(group: RunGroup) -> Role:
    if not group.levels:
        return group.role
    return "baseline of" if group.role == BASELINE else "level"


def _title(session: Session, plane: PlaneRecord) -> str:
    return f"{session.name} · {plane_title(plane)}"


EVERY = "all"
"""What the conditions of a group are called that is chosen by factors alone."""
MOST_LEVELS = 6
"""Levels of a factor that are offered one by one; a factor with more of them names prompts rather than groups them."""


@dataclass(frozen=True, eq=False)
class GroupChoice:
    """A group of runs by its name.

    Attributes:
        conditions: what its conditions are called: "baseline", "clamped", "+20"; "all" for every one but controls.
        runs: [n] indices of its runs in the session, ascending.
    """

    label: str
    conditions: str
    levels: tuple[tuple[str, str], ...]
    runs: NDArray[np.int64]


def group_choice(session: Session, text: str) -> GroupChoice:
    """Find a group by its name.

    Args:
        text: conditions ("baseline", "clamped" for all values together, "+20" or 20), factor levels ("type=plain"), or
            both, parted by "," or "·". Without conditions: every run of those levels, controls left out.

    Raises:
        ExplorerError: there is no such condition, factor or level, or none of its runs.
    """
    groups = {**run_groups(session, (CONDITION,)), **run_groups(session, ())}
    if text.strip() in groups:
        label = text.strip()
        return GroupChoice(label, label, (), groups[label].runs)
    known = factor_columns(session)
    conditions = ""
    levels: list[tuple[str, str]] = []
    for part in (word.strip() for word in re.split(r"[·,]", text)):
        name, equals, level = (part.strip() for part in part.partition("="))
        if equals and name in known:
            levels.append((name, _level(session, known[name], name, level)))
        elif equals:
            raise ExplorerError(f"no factor '{name}'", where=session.name, remedy=did_you_mean(name, list(known)))
        elif conditions:
            what = f"'{text}' names two conditions, {conditions} and {part}"
            raise ExplorerError(what, where=session.name, remedy="name one group at a time")
        else:
            conditions = _conditions(session, part, list(groups))
    whole = run_groups(session, [name for name, _ in levels] if levels else ())
    mask = np.zeros(len(session.runs), np.bool_)
    chosen = groups[conditions].runs if conditions else np.concatenate([group.runs for group in whole.values()])
    mask[chosen] = True
    for name, level in levels:
        cells = [NO_LEVEL if cell is None else cell for cell in known[name]]
        mask &= np.array([cell == level for cell in cells], np.bool_)
    label = " · ".join([*([conditions] if conditions else []), *(f"{name}={level}" for name, level in levels)])
    if not mask.any():
        raise ExplorerError(f"the group {label} has no run", where=session.name, remedy="choose another")
    return GroupChoice(label, conditions or EVERY, tuple(levels), np.flatnonzero(mask))


def group_names(session: Session) -> tuple[str, ...]:
    """Names of groups worth choosing: baseline, all values together, each value, each level of a factor of few."""
    names = [*run_groups(session, ()), *run_groups(session, (CONDITION,))]
    for factor, column in factor_columns(session).items():
        levels = list(dict.fromkeys(level for level in column if level is not None))
        if 2 <= len(levels) <= MOST_LEVELS:
            names += [f"{factor}={level}" for level in levels]
    return tuple(dict.fromkeys(names))


def _conditions(session: Session, part: str, known: list[str]) -> str:
    if part in known:
        return part
    lowered = part.replace("−", "-").lower()
    if lowered in ("pooled", "swept", "values"):
        return pooled_caption(session.spec)
    for name in known:
        if lowered in (name.lower(), name.lower().lstrip("+")):
            return name
    try:
        value = float(lowered)
    except ValueError:
        value = None
    for condition in session.conditions:
        if value is not None and condition.kind == "sweep" and condition.value == value and condition.label in known:
            return condition.label
    shown = [name for name in known if name not in (BASELINE, REFERENCE)]
    remedy = did_you_mean(part, [BASELINE, *shown, *(f"{factor}=…" for factor in factor_columns(session))])
    raise ExplorerError(f"no run of a condition '{part}'", where=session.name, remedy=remedy)


def _level(session: Session, column: list[str | None], factor: str, level: str) -> str:
    levels = list(dict.fromkeys(NO_LEVEL if cell is None else cell for cell in column))
    for known in levels:
        if known.casefold() == level.casefold():
            return known
    raise ExplorerError(f"no prompt has {factor} = '{level}'", where=session.name, remedy=did_you_mean(level, levels))


def energy_in_plane(plane: PlaneRecord, runs: ArrayLike | None = None) -> float:
    """Mean share of the squared length of vectors that lies in a plane: ``(x^2 + y^2) / |v|^2``.

    Args:
        runs: indices or mask [run]; all by default. A zero vector counts as 0, one that is not finite not at all.

    Returns:
        0 to 1; NaN without a finite run. Isotropic vectors of width d have 2 / d in any plane.
    """
    points = unit_coordinates(plane.xy, plane.norm)
    chosen = np.arange(len(points)) if runs is None else np.arange(len(points))[np.asarray(runs)]
    used = points.xy[chosen[points.finite[chosen]]]
    return float((used**2).sum(axis=1).mean()) if len(used) else float("nan")


def baseline_runs(session: Session) -> NDArray[np.int64]:
    return np.flatnonzero((session.kinds == "baseline") & session.seen)


def grey_vector(session: Session, plane: PlaneRecord) -> tuple[float, float]:
    """Where the mean of the normalised baseline vectors lies in a plane: its cosines with both directions.

    Returns:
        x and y, within the unit circle; NaN without a finite baseline run.
    """
    points = unit_coordinates(plane.xy, plane.norm)
    runs = baseline_runs(session)
    used = points.xy[runs[points.finite[runs]]]
    x, y = used.mean(axis=0) if len(used) else (float("nan"), float("nan"))
    return float(x), float(y)


def energies_by_group(session: Session, plane: PlaneRecord, by: Sequence[str]) -> dict[str, float]:
    """What `energy_in_plane` gives for every group of runs, by label; `by` and errors as `run_groups`."""
    return {label: energy_in_plane(plane, group.runs) for label, group in run_groups(session, by).items()}


def with_energies(
    legend: Sequence[LegendEntry], session: Session, plane: PlaneRecord, by: Sequence[str]
) -> tuple[LegendEntry, ...]:
    """A legend whose groups tell, last, the share of their energy that lies in the plane: "3.2 % in plane"."""
    energies = energies_by_group(session, plane, by)
    return tuple(
        dataclasses.replace(entry, details=(*entry.details, f"{three_digits(100 * energies[entry.label])} % in plane"))
        if entry.label in energies and entry.role not in BESIDE
        else entry
        for entry in legend
    )
