"""Two sessions on one chart: their curves under names that tell them apart, and the numbers side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import differences
from srm_explorer.engine.experiment.directions import Component, GroupMean, MeanDifference, direction_of
from srm_explorer.engine.figures.captions import model_caption, plane_captions, plane_title, value_caption
from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.engine.figures.dose import DoseFigure, dose_from_session, overlaid
from srm_explorer.engine.figures.groups import session_warnings, swept_groups
from srm_explorer.engine.figures.polar import PolarFigure, polar_counts, polar_mean, threshold_index
from srm_explorer.engine.figures.thresholds import ThresholdFigure, threshold_figure
from srm_explorer.engine.session import PlaneRecord, Session

FULL_TURN = 360


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two sessions and what of them can be compared.

    Attributes:
        planes: a pair of records for every plane that both have; the first session's order.
        differences: one line a field of their experiments that differs.
        notes: what the reader must know first: other models, no plane in common.
    """

    sessions: tuple[Session, Session]
    names: tuple[str, str]
    planes: tuple[tuple[PlaneRecord, PlaneRecord], ...]
    differences: tuple[str, ...]
    notes: tuple[str, ...]

    def thresholds(self) -> tuple[float, ...]:
        """All thresholds of both experiments, the largest first."""
        return tuple(
            sorted({level for session in self.sessions for level in session.spec.spotlight.thresholds}, reverse=True)
        )

    def swapped(self) -> Comparison:
        return compare(self.sessions[1], self.sessions[0])


@dataclass(frozen=True)
class GroupNumbers:
    """One group where the spotlight stands.

    Attributes:
        n_runs: runs, those that are not finite included.
        amplitude: of the mean; NaN without a finite run.
        phase_deg: of the mean; None where it is undefined.
        lit: finite runs whose cosine with the spotlight is above the threshold.
        total: finite runs.
        mean: mean cosine at the spotlight's angle.
    """

    label: str
    n_runs: int
    amplitude: float
    phase_deg: float | None
    lit: int
    total: int
    mean: float


def compare(first: Session, other: Session) -> Comparison:
    names = session_names(first, other)
    by_axes = {plane.key: plane for plane in other.planes}
    run_planes = [plane for plane in first.planes if first is not other and _is_of_its_runs(plane)]
    pairs = [(plane, by_axes.get(plane.key)) for plane in first.planes if plane not in run_planes]
    planes = tuple((plane, other_plane) for plane, other_plane in pairs if other_plane is not None)
    notes: list[str] = []
    if model_caption(first) != model_caption(other):
        notes.append(
            f"other models, {model_caption(first)} and {model_caption(other)}: "
            "the same index does not mean the same neuron"
        )
    for plane in run_planes:
        if plane.key in by_axes:
            notes.append(f"{plane_title(plane)} is made of each session's own runs: other axes under one name")
    if not planes:
        notes.append(f"no plane in common: {_planes(names[0], first)}; {_planes(names[1], other)}")
    for name, session in zip(names, (first, other), strict=True):
        if not session.runs:
            notes.append(f"no run of {name} is finished")
    return Comparison((first, other), names, planes, tuple(differences(first.spec, other.spec)), tuple(notes))


def session_names(first: Session, other: Session) -> tuple[str, str]:
    if first.name != other.name:
        return first.name, other.name
    folders = [session.path.parent.name if session.path else "" for session in (first, other)]
    if folders[0] != folders[1] and all(folders):
        return f"{first.name} in {folders[0]}", f"{other.name} in {folders[1]}"
    return first.name, f"{other.name} (2)"


def compared_groups(comparison: Comparison, plane: int = 0) -> tuple[SweptGroup, ...]:
    """Sweep both sessions in one of their common planes: "name · baseline", "name · clamped" of each.

    Both are swept at whole degrees with all thresholds of both, whatever their own experiments ask for. The second's
    baseline is drawn as a level, since the baseline's one colour could not tell the two apart.

    Raises:
        ExplorerError: they have no such plane in common, or one of them has no run.
    """
    if not comparison.planes:
        what = f"{comparison.names[0]} and {comparison.names[1]} have no plane in common"
        raise ExplorerError(what, remedy="what differs between their experiments is still listed")
    levels = comparison.thresholds()
    groups: list[SweptGroup] = []
    for index, (session, name) in enumerate(zip(comparison.sessions, comparison.names, strict=True)):
        spotlight = session.spec.spotlight.model_copy(update={"angles": FULL_TURN})
        turned = session.changed(spec=session.spec.model_copy(update={"spotlight": spotlight}))
        swept = swept_groups(turned, comparison.planes[plane][index], thresholds=levels)
        # A reference last: charts without it give the other groups the same looks.
        for group in sorted(swept, key=lambda group: group.role == "reference"):
            role = "baseline of" if index and group.role == "baseline" else group.role
            groups.append(dataclasses.replace(group, label=f"{name} · {group.label}", role=role))
    return tuple(groups)


def compared_numbers(groups: Sequence[SweptGroup], theta: int, threshold: float) -> tuple[GroupNumbers, ...]:
    """What `compared_groups` counted where the spotlight stands.

    Args:
        theta: the spotlight's angle in whole degrees.

    Raises:
        ExplorerError: they were not swept with this threshold.
    """
    at = theta % FULL_TURN
    return tuple(
        GroupNumbers(
            label=group.label,
            n_runs=group.n_runs,
            amplitude=group.sweep.amplitude,
            phase_deg=group.sweep.phase_deg,
            lit=int(group.sweep.counts[threshold_index(group, threshold), at]),
            total=group.sweep.n,
            mean=float(group.sweep.mean[at]),
        )
        for group in groups
    )


def compared_polar(
    comparison: Comparison,
    groups: Sequence[SweptGroup],
    view: Literal["counts", "mean"],
    threshold: float,
    plane: int = 0,
) -> PolarFigure:
    """The polar chart of both: shares above a threshold, or mean cosines."""
    record = comparison.planes[plane][0]
    a, b = plane_captions(record)
    title = _title(comparison, plane)
    figure = polar_mean(groups, a, b, title) if view == "mean" else polar_counts(groups, a, b, threshold, title)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *_warnings(comparison, groups, plane)))


def compared_thresholds(
    comparison: Comparison, groups: Sequence[SweptGroup], threshold: float, plane: int = 0
) -> ThresholdFigure:
    """Shares above one threshold over the angle, of both."""
    title = _title(comparison, plane)
    figure = threshold_figure(groups, title, share=True, levels=(threshold,), with_means=False)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *_warnings(comparison, groups, plane)))


def compared_dose(comparison: Comparison, threshold: float, plane: int = 0) -> DoseFigure:
    """The dose charts of both over one another.

    Raises:
        ExplorerError: one of them has no single swept value, or their values are not the same quantity.
    """
    captions = [value_caption(session.spec) for session in comparison.sessions]
    if captions[0] != captions[1]:
        what = f"their values are different quantities: {captions[0]} and {captions[1]}"
        raise ExplorerError(what, remedy="choose another view with v")
    first, other = (
        dose_from_session(session, record, threshold)
        for session, record in zip(comparison.sessions, comparison.planes[plane], strict=True)
    )
    return overlaid(first, other, comparison.names, _title(comparison, plane))


def _is_of_its_runs(plane: PlaneRecord) -> bool:
    """Whether a direction of the plane is computed from the session's runs, so that it differs between sessions."""
    return any(isinstance(direction_of(along), Component | GroupMean | MeanDifference) for along in (plane.a, plane.b))


def _planes(name: str, session: Session) -> str:
    return f"{name} has {', '.join(plane_title(plane) for plane in session.planes) or 'none'}"


def _title(comparison: Comparison, plane: int) -> str:
    return f"{comparison.names[0]} and {comparison.names[1]} · {plane_title(comparison.planes[plane][0])}"


def _warnings(comparison: Comparison, groups: Sequence[SweptGroup], plane: int) -> tuple[str, ...]:
    warnings: list[str] = list(comparison.notes)
    for index, (session, name) in enumerate(zip(comparison.sessions, comparison.names, strict=True)):
        notes = session_warnings(session, comparison.planes[plane][index], groups)
        warnings.extend(f"{name}: {warning}" for warning in notes)
    return tuple(dict.fromkeys(warnings))
