"""The compass: every run as a point in the unit disc of a plane, and the mean of each group as an arrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.analysis.srm import UnitCoordinates
from engine.figures.captions import plane_captions, plane_title
from engine.figures.curves import LegendEntry, Role, SweptGroup, checked_labels, legend_of, warnings_of
from engine.figures.polar import Ring, Spoke, spokes_of
from engine.figures.session import points_of, run_groups, session_warnings
from engine.session import PlaneRecord, Session

RINGS = (Ring(0.25, ".25"), Ring(0.5, ".5"), Ring(0.75, ".75"), Ring(1.0, "1"))


@dataclass(frozen=True, eq=False)
class CompassGroup:
    """The points of one group.

    Attributes:
        label: as in the legend.
        role: decides colour and marker.
        runs: [point] index of each point's run; runs that are not finite have no point.
        xy: [point, 2] cosines with the two directions; within the unit disc.
        mean: their mean, NaN without a point.
    """

    label: str
    role: Role
    runs: NDArray[np.int64]
    xy: NDArray[np.float64]
    mean: tuple[float, float]


@dataclass(frozen=True, eq=False)
class CompassFigure:
    """What a compass shows; a spotlight at angle theta lights the points beyond a chord perpendicular to theta.

    Attributes:
        title: the experiment and the plane.
        radius_label: what a point's place means.
        groups: in order; a run is in one of them at most.
        rings: circles of one distance from the centre, the rim last.
        spokes: the four ends of the two directions.
        legend: one entry a group.
        warnings: the gravest first.
        low: distance at the centre.
        high: distance at the rim.
    """

    title: str
    radius_label: str
    groups: tuple[CompassGroup, ...]
    rings: tuple[Ring, ...]
    spokes: tuple[Spoke, ...]
    legend: tuple[LegendEntry, ...]
    warnings: tuple[str, ...]
    low: float = 0.0
    high: float = 1.0


def compass_figure(
    groups: Sequence[SweptGroup],
    runs: Mapping[str, ArrayLike],
    points: UnitCoordinates,
    label_a: str,
    label_b: str,
    title: str = "",
) -> CompassFigure:
    """Lay out the runs of each group as points.

    Args:
        groups: swept, in order.
        runs: indices of the runs of each group, by its label.
        points: where all runs lie.
        label_a: the direction at 0 degrees: "n373".
        label_b: the direction at 90 degrees.
        title: stands above the chart.
    """
    checked_labels(groups)
    found: list[CompassGroup] = []
    for group in groups:
        chosen = np.asarray(runs[group.label], np.int64)
        chosen = chosen[points.finite[chosen]]
        found.append(
            CompassGroup(group.label, group.role, chosen, points.xy[chosen], (group.sweep.a, group.sweep.b)),
        )
    return CompassFigure(
        title=title,
        radius_label="each run at its cosines with the two directions, arrows to the means",
        groups=tuple(found),
        rings=RINGS,
        spokes=spokes_of(label_a, label_b),
        legend=legend_of(groups),
        warnings=warnings_of(group.sweep for group in groups),
    )


def compass_of(
    session: Session, plane: PlaneRecord, groups: Sequence[SweptGroup], by: Sequence[str] = ()
) -> CompassFigure:
    """The compass of a plane.

    Args:
        session: the plane's.
        plane: one of its planes.
        groups: all or some of those that `swept_groups` made.
        by: how they were grouped.
    """
    rows = {label: group.runs for label, group in run_groups(session, by).items()}
    title = f"{session.name} · {plane_title(plane)}"
    figure = compass_figure(groups, rows, points_of(plane), *plane_captions(plane), title)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))
