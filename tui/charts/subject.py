"""What a scene is painted of: a plane of a session as the results pane wants it seen, frozen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import (
    NO_OVERLAYS,
    CompassFigure,
    DoseFigure,
    Overlays,
    PlaneBands,
    PolarFigure,
    SweptGroup,
    ThresholdFigure,
    compass_from_session,
    difference_from_session,
    dose_from_session,
    in_full,
    overlays_from_session,
    plane_index,
    points_of,
    polar_from_session,
    residual_polar,
    residual_thresholds,
    session_warnings,
    swept_groups,
    thresholds_from_session,
    warnings_of,
    with_energies,
    without_clamped_axis,
)
from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.engine.stats.groups import BASELINE
from srm_explorer.engine.stats.spotlight import UnitCoordinates

View = Literal["counts", "mean", "compass"]
VIEWS: tuple[View, ...] = get_args(View)
Transform = Literal["observed", "minus arithmetic", "axis out"]
"""How charts show a session: as observed, minus what arithmetic predicts, or without what was intervened on."""
TRANSFORMS: tuple[Transform, ...] = get_args(Transform)

Figure = TypeVar("Figure", PolarFigure, ThresholdFigure, CompassFigure)
AnyFigure = TypeVar("AnyFigure", PolarFigure, ThresholdFigure, CompassFigure, DoseFigure)


def without_baseline(groups: Sequence[SweptGroup]) -> tuple[SweptGroup, ...]:
    """The groups but the baseline, or the baselines of all levels; all of them where nothing else would be left."""
    others = (group for group in groups if group.label != BASELINE and not group.label.startswith(f"{BASELINE} · "))
    return tuple(others) or tuple(groups)


@dataclass(frozen=True, eq=False)
class Subject:
    """What scenes are painted of.

    Attributes:
        session: with at least one run.
        record: one of its planes.
        by: how its runs are grouped.
        baseline: whether the baseline is shown.
        sweep: makes the groups as they were observed, or has them already.
        transform: what is done to the vectors first.
        choice: which group's band, chance and prediction is in focus.
        bands: how sure the curves of this grouping are; None where that is not known.
        plain: whether nothing is drawn beside the curves.
        details: whether legends say everything in lines, in place of a table.
        count: enters the tests of bands that are shown into the session's ledger, and gives the bands with q over their
            family; None where that was done.
    """

    session: Session
    record: PlaneRecord
    by: tuple[str, ...]
    baseline: bool
    sweep: Callable[[], tuple[SweptGroup, ...]]
    transform: Transform = "observed"
    choice: int = 0
    bands: PlaneBands | None = None
    plain: bool = False
    details: bool = False
    count: Callable[[Session, PlaneBands], PlaneBands] | None = None

    @property
    def minus(self) -> bool:
        return self.transform == "minus arithmetic"

    def view(self, thresholds: Sequence[float] | None = None) -> SubjectView:
        """What is shown, worked out once for a scene.

        Args:
            thresholds: that groups without an axis are swept with; those of the experiment by default.

        Raises:
            ExplorerError: there is no axis to take out.
        """
        if self.transform != "axis out":
            groups = self.sweep()
            overlays = NO_OVERLAYS
            if not self.plain or self.minus:
                bands = self.bands if self.bands is None or self.count is None else self.count(self.session, self.bands)
                overlays = overlays_from_session(self.session, self.record, groups, self.by, bands, self.choice)
            return SubjectView(self._shown(groups), groups, overlays, points_of(self.record))
        points, axis = self.without_axis()
        groups = swept_groups(self.session, self.record, self.by, thresholds, points)
        # Without the groups: what clamps do to their phase, and chance to their counts, holds of whole vectors.
        warnings = session_warnings(self.session, self.record, ())
        return SubjectView(self._shown(groups), groups, NO_OVERLAYS, points, f" · {axis}", warnings)

    def without_axis(self) -> tuple[UnitCoordinates, str]:
        """Where the runs lie without what was intervened on, and what that is; ExplorerError where there is none."""
        rest = without_clamped_axis(self.session, plane_index(self.session, self.record))
        if rest is None:
            what = "nothing was set in the space of this plane that could be taken out"
            raise ExplorerError(what, where=self.session.name, remedy="choose another view")
        return rest

    def explained(self, figure: AnyFigure) -> AnyFigure:
        """A figure with the legend that is asked for: a table, or every detail in lines."""
        return dataclasses.replace(figure, legend=in_full(figure.legend)) if self.details else figure

    def _shown(self, groups: tuple[SweptGroup, ...]) -> tuple[SweptGroup, ...]:
        return groups if self.baseline else without_baseline(groups)


@dataclass(frozen=True, eq=False)
class SubjectView:
    """A subject's groups and what stands beside them.

    Attributes:
        groups: those that are shown.
        everything: also the baseline where it is not shown.
        overlays: what is drawn beside them.
        points: where the runs lie.
        title_suffix: goes after the title where something was taken out of the vectors.
        warnings: what then holds of the session.
    """

    groups: tuple[SweptGroup, ...]
    everything: tuple[SweptGroup, ...]
    overlays: Overlays
    points: UnitCoordinates
    title_suffix: str = ""
    warnings: tuple[str, ...] = ()

    def titled(self, figure: Figure) -> Figure:
        """A figure whose title tells what was taken out, with the warnings that then hold."""
        if not self.title_suffix:
            return figure
        warnings = (*warnings_of(group.sweep for group in self.groups), *self.warnings)
        return dataclasses.replace(figure, title=f"{figure.title}{self.title_suffix}", warnings=warnings)


def polar_figure(
    subject: Subject, shown: SubjectView, view: Literal["counts", "mean"], threshold: float
) -> PolarFigure:
    """Shares or means around the plane; ExplorerError where there is no prediction to subtract."""
    if subject.minus:
        figure = residual_polar(subject.session, subject.record, shown.groups, shown.overlays, view, threshold)
        return subject.explained(figure)
    figure = polar_from_session(subject.session, subject.record, shown.groups, view, threshold, shown.overlays)
    if subject.transform == "observed":
        legend = with_energies(figure.legend, subject.session, subject.record, subject.by)
        return subject.explained(dataclasses.replace(figure, legend=legend))
    return subject.explained(shown.titled(figure))


def compass_figure(subject: Subject, shown: SubjectView) -> CompassFigure:
    session, record = subject.session, subject.record
    figure = compass_from_session(
        session, record, shown.groups, subject.by, shown.overlays, shown.points, residual=subject.minus
    )
    return subject.explained(shown.titled(figure))


def threshold_figure(
    subject: Subject, shown: SubjectView, threshold: float, *, difference: bool = False
) -> ThresholdFigure:
    """Counts and means over the angle, or what they are beyond the prediction, else beyond the baseline.

    Raises:
        ExplorerError: there is nothing to subtract.
    """
    session, record = subject.session, subject.record
    if subject.minus:
        return subject.explained(residual_thresholds(session, record, shown.groups, shown.overlays, threshold))
    if difference:
        figure = difference_from_session(session, record, shown.everything, subject.by, threshold)
    else:
        figure = thresholds_from_session(session, record, shown.groups, threshold, shown.overlays)
    return subject.explained(shown.titled(figure))


def dose_figure(subject: Subject, threshold: float | None) -> DoseFigure:
    """Quantities by the value; bands are those of the grouping by condition.

    Raises:
        ExplorerError: no single value varies, there is no prediction to subtract, or no axis to take out.
    """
    rest = subject.without_axis() if subject.transform == "axis out" else None
    figure = dose_from_session(
        subject.session,
        subject.record,
        threshold,
        plain=subject.plain,
        bands=subject.bands,
        points=None if rest is None else rest[0],
        residual=subject.minus,
    )
    titled = figure if rest is None else dataclasses.replace(figure, title=f"{figure.title} · {rest[1]}")
    return subject.explained(titled)
