"""A session's charts by name, for papers: what a notebook, the command line and the screen draw alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from srm_explorer.engine.analyses.compare_charts import Measure, value_charts
from srm_explorer.engine.analyses.compare_sessions import compared_sessions, row_of
from srm_explorer.engine.analyses.controls import controls_study
from srm_explorer.engine.analyses.effects import effects_study
from srm_explorer.engine.analyses.plane_finder import finder_study
from srm_explorer.engine.analyses.registry import marked, tables_in
from srm_explorer.engine.analyses.survey import survey_figure
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.figures.captions import coordinate_caption, exploratory_line, pooled_caption, value_caption
from srm_explorer.engine.figures.comparison import (
    Comparison,
    compare,
    compared_groups,
    compared_polar,
    compared_thresholds,
)
from srm_explorer.engine.figures.controls import controls_figure
from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.engine.figures.effects import effects_figure
from srm_explorer.engine.figures.finder import finder_figure
from srm_explorer.engine.figures.groups import telling_threshold
from srm_explorer.engine.figures.paper import ColumnWidth, Drawn, View, draw, plane_figure
from srm_explorer.engine.figures.polar import PolarFigure
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.engine.figures.thresholds import ThresholdFigure
from srm_explorer.engine.session import Session, unit_warnings
from srm_explorer.engine.session.controls import controls_of

Chart: TypeAlias = Literal[
    "polar", "thresholds", "dose", "compass", "compare", "effects", "controls", "finder", "map", "distribution"
]
CompareView: TypeAlias = Literal["counts", "mean", "thresholds", "dose", "amplitude", "changed", "kl"]
"""What a comparison shows: over the angle, then over the value: every measure as small multiples, or one of them."""
OVER_VALUES: Mapping[CompareView, Measure | None] = {
    "dose": None, "amplitude": "amplitude", "changed": "changed", "kl": "kl",
}  # fmt: skip
_STUDIES = ("effects", "controls", "finder")


def figure(
    session: Session,
    chart: Chart = "polar",
    *,
    plane: int = 1,
    by: Sequence[str] = (),
    view: View | CompareView | None = None,
    threshold: float | None = None,
    others: Sequence[Session] = (),
    settings: Mapping[str, Any] | None = None,
    column: ColumnWidth = "single",
) -> Any:
    """Draw a chart of a session as the screen has it: a matplotlib figure, for a notebook or `savefig`.

    Args:
        chart: "effects", "controls" and "finder" are worked out first, as the commands of these names do; "map" and
            "distribution" are of a survey.
        plane: which of the session's, from 1.
        by: as `swept_groups` takes it; the dose chart is always by condition.
        view: polar: counts, means, or every run in the plane, one of the first two that shows something by default;
            compare: as `CompareView` has it, counts by default.
        threshold: cosine that is counted above; one that tells something by default.
        others: up to seven sessions that "compare" draws with it.
        settings: of the study whose findings are drawn, as `effects_study` and its kin take them.
        column: of one column of text, or of both.

    Raises:
        ExplorerError: no such chart or plane, nothing to draw, or matplotlib is not installed.
    """
    if chart not in get_args(Chart):
        raise ExplorerError(f"there is no chart {chart!r}", remedy=did_you_mean(str(chart), list(get_args(Chart))))
    if chart == "compare":
        return draw(_compared(session, others, view, threshold, plane), column)
    if others:
        raise ExplorerError(f"{chart} is of one session", remedy="choose the chart compare, or leave the others out")
    if chart in _STUDIES:
        study = {"effects": effects_study, "controls": controls_study, "finder": finder_study}[chart]
        return draw(study_figure(session, tables_in(marked(study(session, settings or {}), session))), column)
    if chart in ("map", "distribution"):
        return draw(survey_figure(session, chart, settings), column)  # pyright: ignore[reportArgumentType]
    if settings:
        raise ExplorerError(f"{chart} has no settings", remedy=f"they are those of {', '.join((*_STUDIES, 'map'))}")
    return draw(plane_figure(session, chart, plane, by, view, threshold), column)  # pyright: ignore[reportArgumentType]


def study_figure(session: Session, tables: Sequence[TableFigure]) -> Drawn:
    """What the tables of a study show as a chart: of effects, tokens and patches, of controls, of the finder.

    Args:
        tables: all that the study gave, of this session.

    Raises:
        ExplorerError: these tables have no chart.
    """
    names = {table.name for table in tables}
    warnings = (*filter(None, [exploratory_line(session)]), *unit_warnings(session))
    if "planes_found" in names:
        return finder_figure(next(table for table in tables if table.name == "planes_found"), warnings)
    if "controls" in names:
        return controls_figure(tables, *_among(session), warnings)
    values = {
        condition.label: condition.value
        for condition in session.conditions
        if condition.kind == "sweep" and condition.value is not None
    }
    crossed = session.spec.grid and len(session.spec.interventions) > 1
    return effects_figure(
        tables,
        f"{session.name} · effects on the texts",
        {} if crossed else values,
        value_label=value_caption(session.spec),
        label=pooled_caption(session.spec),
        warnings=warnings,
    )


def _among(session: Session) -> tuple[str, str]:
    """What a session's target is, and what its controls are."""
    controls = controls_of(session)
    if controls is None or not controls.matches:
        return "the direction", "random directions"
    targets = [coordinate_caption(match.site, match.target) for match in controls.matches]
    return f"{' and '.join(targets)}, {pooled_caption(session.spec)}", "matched neurons, alike"


def _compared(
    session: Session, others: Sequence[Session], view: str | None, threshold: float | None, plane: int
) -> Drawn:
    chosen = view or "counts"
    if chosen not in get_args(CompareView):
        remedy = did_you_mean(str(view), list(get_args(CompareView)))
        raise ExplorerError(f"compare has no view {view!r}", remedy=remedy)
    if not others:
        raise ExplorerError("one session alone is compared with nothing", where=session.name, remedy="give others=")
    comparison = compare(session, *others)
    row = row_of(comparison, plane)
    if chosen in OVER_VALUES:
        compared = compared_sessions(comparison, row)
        level = threshold if threshold is not None else comparison.thresholds()[0]
        return value_charts(compared, level, OVER_VALUES[chosen])  # pyright: ignore[reportArgumentType]
    groups = compared_groups(comparison, row, baselines=len(comparison.sessions) < 3)
    return compare_figure(comparison, groups, chosen, threshold or telling_threshold(groups), row)  # pyright: ignore[reportArgumentType]


def compare_figure(
    comparison: Comparison, groups: Sequence[SweptGroup], view: CompareView, threshold: float, row: int
) -> PolarFigure | ThresholdFigure:
    """Sessions over the angle: counts or means around the plane, or counts over the angle.

    Args:
        groups: as `compared_groups` made them in this row of planes.
    """
    if view == "thresholds":
        return compared_thresholds(comparison, groups, threshold, row)
    return compared_polar(comparison, groups, "mean" if view == "mean" else "counts", threshold, row)
