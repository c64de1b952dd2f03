"""A chart of one of a session's planes, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.figures.compass import CompassFigure, compass_from_session
from srm_explorer.engine.figures.dose import DoseFigure, dose_from_session
from srm_explorer.engine.figures.groups import (
    CONDITION,
    polar_from_session,
    swept_groups,
    telling_threshold,
    telling_view,
    thresholds_from_session,
)
from srm_explorer.engine.figures.polar import PolarFigure
from srm_explorer.engine.figures.session_overlays import overlays_from_session, stored_bands
from srm_explorer.engine.figures.thresholds import ThresholdFigure
from srm_explorer.engine.session import Session

PlaneChart: TypeAlias = Literal["polar", "thresholds", "dose", "compass"]
View: TypeAlias = Literal["counts", "mean", "compass"]


def plane_figure(
    session: Session,
    chart: PlaneChart = "polar",
    plane: int = 1,
    by: Sequence[str] = (),
    view: View | None = None,
    threshold: float | None = None,
) -> PolarFigure | ThresholdFigure | DoseFigure | CompassFigure:
    """What a chart of one of a session's planes shows, with the bands that were saved with it.

    Args:
        plane: which of the session's, from 1.
        by: as `swept_groups` takes it; the dose chart is always by condition.
        view: of the polar chart: counts, means, or every run in the plane as on the compass; one of the first two that
            shows something by default.
        threshold: cosine that is counted above; one that tells something by default.

    Raises:
        ExplorerError: no such chart, view or plane.
    """
    for what, asked, known in (("chart", chart, get_args(PlaneChart)), ("view", view, (*get_args(View), None))):
        if asked not in known:
            remedy = did_you_mean(str(asked), [name for name in known if name])
            raise ExplorerError(f"there is no {what} {asked!r}", remedy=remedy)
    if not 1 <= plane <= len(session.planes):
        remedy = f"choose 1 to {len(session.planes)}" if session.planes else "srm-explorer planes NAME --add A B"
        if not session.spec.capture.sites:
            remedy = "it has texts alone: choose the chart effects"
        raise ExplorerError(f"it has no plane {plane}", where=session.name, remedy=remedy)
    record = session.planes[plane - 1]
    if chart == "dose":
        bands = stored_bands(session, plane - 1, (CONDITION,))
        return dose_from_session(session, record, threshold, plain=False, bands=bands)
    levels = session.spec.spotlight.thresholds
    groups = swept_groups(session, record, by, levels if threshold in (None, *levels) else (*levels, threshold))
    level = telling_threshold(groups) if threshold is None else threshold
    overlays = overlays_from_session(session, record, groups, by, stored_bands(session, plane - 1, by))
    if chart == "thresholds":
        return thresholds_from_session(session, record, groups, level, overlays)
    chosen = "compass" if chart == "compass" else view or telling_view(groups)
    if chosen == "compass":
        return compass_from_session(session, record, groups, by, overlays)
    return polar_from_session(session, record, groups, "mean" if chosen == "mean" else "counts", level, overlays)
