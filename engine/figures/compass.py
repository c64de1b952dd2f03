"""The compass: every run as a point in the unit disc of a plane, and the mean of each group as an arrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.figures.bands import GroupBand
from srm_explorer.engine.figures.captions import plane_captions, plane_title
from srm_explorer.engine.figures.curves import Curve, LegendEntry, Role, SweptGroup, checked_labels, warnings_of
from srm_explorer.engine.figures.groups import points_of, run_groups, session_warnings
from srm_explorer.engine.figures.numbers import end_above, short
from srm_explorer.engine.figures.overlays import NO_OVERLAYS, Overlays
from srm_explorer.engine.figures.polar import Ring, Spoke, spokes_of
from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.engine.stats.spotlight import UnitCoordinates

OUTLINED = 180
"""Points of a region's outline."""
ZOOMED = 0.5
"""The largest cosine up to which the rim is drawn in: else all runs would lie on a few dots around the centre."""


@dataclass(frozen=True, eq=False)
class CompassGroup:
    """The points of one group.

    Attributes:
        runs: [point] index of each point's run; runs that are not finite have no point.
        xy: [point, 2] cosines with the two directions; within the unit disc.
    """

    label: str
    role: Role
    runs: NDArray[np.int64]
    xy: NDArray[np.float64]


@dataclass(frozen=True)
class Arrow:
    """An arrow to a mean.

    Attributes:
        tip: where it points to, cosines with the two directions; NaN without a point.
        tail: where it begins; the centre but for what a mean is beyond another.
        dashed: True for what arithmetic predicts.
    """

    label: str
    tip: tuple[float, float]
    tail: tuple[float, float] = (0.0, 0.0)
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class CompassFigure:
    """What a compass shows; a spotlight at angle theta lights the points beyond a chord perpendicular to theta.

    Attributes:
        radius_label: what a point's place means.
        groups: in order; a run is in one of them at most.
        rings: circles of one distance from the centre, the rim last.
        high: the distance at which the rim is; no point lies beyond it.
        arrows: to the groups' means, and to what arithmetic predicts of them.
        regions: where the means may be, by group: outlines of joint regions, x and y cosines with the two directions.
    """

    title: str
    radius_label: str
    groups: tuple[CompassGroup, ...]
    rings: tuple[Ring, ...]
    spokes: tuple[Spoke, ...]
    legend: tuple[LegendEntry, ...]
    warnings: tuple[str, ...]
    arrows: tuple[Arrow, ...] = ()
    regions: tuple[Curve, ...] = ()
    low: float = 0.0
    high: float = 1.0


def compass_figure(
    groups: Sequence[SweptGroup],
    runs: Mapping[str, ArrayLike],
    points: UnitCoordinates,
    label_a: str,
    label_b: str,
    title: str = "",
    overlays: Overlays = NO_OVERLAYS,
    residual: bool = False,
) -> CompassFigure:
    """Lay out the runs of each group as points.

    Args:
        runs: indices of the runs of each group, by its label.
        residual: whether the arrows begin where arithmetic predicts the means, so that they show what is beyond it.
    """
    checked_labels(groups)
    compass_groups: list[CompassGroup] = []
    for group in groups:
        chosen = np.asarray(runs[group.label], np.int64)
        chosen = chosen[points.finite[chosen]]
        compass_groups.append(CompassGroup(group.label, group.role, chosen, points.xy[chosen]))
    tails = {label: (group.sweep.a, group.sweep.b) for label, group in overlays.predicted.items()} if residual else {}
    arrows = [
        Arrow(group.label, (group.sweep.a, group.sweep.b), tails.get(group.label, (0.0, 0.0))) for group in groups
    ]
    predicted = overlays.arithmetic(groups)
    arrows += [Arrow(group.label, (group.sweep.a, group.sweep.b), dashed=True) for group in predicted]
    high = rim_of([group.xy for group in compass_groups] + [np.array([arrow.tip]) for arrow in arrows])
    where = "" if high == 1.0 else f"; rim {short(high)}"
    told = "runs, brighter where more" if residual else "runs at their two cosines, brighter where more"
    arrows_told = "from arithmetic to the means" if residual else "means"
    return CompassFigure(
        title=title,
        radius_label=f"dots: {told}; arrows: {arrows_told}{where}",
        groups=tuple(compass_groups),
        rings=tuple(Ring(high * part, short(high * part)) for part in (0.25, 0.5, 0.75, 1.0)),
        spokes=spokes_of(label_a, label_b),
        legend=overlays.legend(groups),
        warnings=warnings_of(group.sweep for group in groups),
        arrows=tuple(arrows),
        regions=tuple(
            region_outline(band)
            for group in groups
            if overlays.bands is not None and (band := overlays.bands.of(group.label)) is not None
        ),
        high=high,
    )


def rim_of(points: Sequence[NDArray[np.float64]]) -> float:
    """The distance from the centre at which the rim is: 1, or a round number beyond points that all lie near it.

    Args:
        points: [point, 2] each; those that are not finite are left out.
    """
    lengths = np.hypot(*np.concatenate([np.zeros((1, 2)), *points]).T)
    largest = float(lengths[np.isfinite(lengths)].max())
    return end_above(largest) if 0 < largest <= ZOOMED else 1.0


def region_outline(band: GroupBand) -> Curve:
    """The outline of the joint region of a group's (A, B); a segment or a point where the data vary along none."""
    values, axes = np.linalg.eigh(band.covariance)
    turn = np.linspace(0.0, 2 * np.pi, OUTLINED + 1)
    half = np.sqrt(np.maximum(values * band.radius2, 0.0))
    x, y = np.array(band.centre)[:, None] + axes @ (half[:, None] * np.stack([np.cos(turn), np.sin(turn)]))
    return Curve(band.label, x, y)


def compass_from_session(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    by: Sequence[str] = (),
    overlays: Overlays = NO_OVERLAYS,
    points: UnitCoordinates | None = None,
    residual: bool = False,
) -> CompassFigure:
    """The compass of a plane.

    Args:
        points: where the runs lie in the plane; as they were observed by default.
    """
    rows = {label: group.runs for label, group in run_groups(session, by).items()}
    title = f"{session.name} · {plane_title(plane)}"
    located = points_of(plane) if points is None else points
    figure = compass_figure(groups, rows, located, *plane_captions(plane), title, overlays, residual)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))
