"""`srm-explorer show`: a session's charts and numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.figures import (
    CONDITION,
    PlaneBands,
    SweptGroup,
    energies_by_group,
    grey_vector,
    intervention_captions,
    model_caption,
    plane_captions,
    plane_index,
    plane_title,
    predictions_of,
    session_warnings,
    stored_bands,
    swept_groups,
    telling_threshold,
    telling_view,
    warnings_of,
)
from srm_explorer.engine.figures.captions import exploratory_line
from srm_explorer.engine.figures.html import session_facts
from srm_explorer.engine.figures.paper import Drawn
from srm_explorer.engine.runs.journal_reader import writer_pid
from srm_explorer.engine.session import PlaneRecord, Session, load_session
from srm_explorer.tui.charts.dose import paint_dose
from srm_explorer.tui.charts.picture import Picture
from srm_explorer.tui.charts.scenes import polar_picture
from srm_explorer.tui.charts.subject import (
    Subject,
    Transform,
    View,
    compass_figure,
    dose_figure,
    polar_figure,
    threshold_figure,
)
from srm_explorer.tui.charts.thresholds import paint_thresholds
from srm_explorer.tui.cli import pictures
from srm_explorer.tui.cli.figures import FigureFile
from srm_explorer.tui.cli.output import (
    bold,
    colour_wanted,
    fields,
    say,
    say_json,
    screen_size,
    table_width,
    visible,
)
from srm_explorer.tui.cli.summary import certainty_json, group_table, sweep_json
from srm_explorer.tui.text import wrapped


@dataclasses.dataclass(frozen=True)
class ChartChoice:
    """What is drawn of a plane, and how.

    Attributes:
        chart: "polar", "thresholds" or "dose"; None for the first two.
        view: what the polar chart shows, `telling_view` by default.
        threshold: the one the table and the polar chart count above, `telling_threshold` by default.
        grouping: as `swept_groups` takes it.
        transform: what is done to the vectors before they are drawn.
        plain: whether charts leave out bands, chance and arithmetic.
        chance: the kind of chance that is drawn; the most telling one by default.
        family: that the tests belong to; that of all such tests by default.
        details: whether legends say everything, in place of a table.
    """

    chart: str | None = None
    view: View | None = None
    threshold: float | None = None
    grouping: Sequence[str] = ()
    transform: Transform = "observed"
    plain: bool = False
    chance: str | None = None
    family: str | None = None
    details: bool = False


def show_command(
    session: str,
    choice: ChartChoice,
    plane: int | None,
    split: int | None,
    file: FigureFile | None,
    as_json: bool,
    width: int | None,
    height: int | None,
) -> None:
    """Print what a session is and its planes, or write a chart of one of them.

    Args:
        plane: which, from 1; None for all.
        split: seed by which the planes are made anew on half of the units, to show the other half; None for neither.
        file: for the chart, in place of what is printed as text.
        width: columns of a chart.
        height: rows of a chart.
    """
    opened, chart = load_session(paths.session_path(session)), choice.chart
    # A session may have none: what was done can still be told.
    chosen = _planes(opened, plane) if opened.planes or plane is not None or chart is not None else ()
    if split is not None:
        # Only who asks for it waits for the analyses.
        from srm_explorer.engine.analyses import held_out

        halved = [held_out(opened, record, split) for record in chosen]
        opened, chosen = opened.changed(planes=(*opened.planes, *halved)), halved
    if file is not None:
        if len(chosen) != 1:
            remedy = f"choose --plane 1 to {len(chosen)}" if chosen else no_plane(opened).partition(": ")[2]
            raise ExplorerError(f"a figure is of one plane, it has {len(chosen)}", where=opened.name, remedy=remedy)
        # A figure's legend is short, whatever is asked for here.
        shown = _Shown.of(opened, chosen[0], dataclasses.replace(choice, details=False))
        named = choice.view if choice.view == "compass" and chart in (None, "polar") else chart or "polar"
        what = f"{named} of {plane_title(chosen[0])}"
        file.write(shown.figure(chart or "polar"), what, quiet=as_json, beside=False)
        if not as_json:
            return
    if as_json:
        say_json(session_json(opened, chosen, choice), "show")
        return
    say(*header_lines(opened))
    if opened.spec.survey:
        say("", f"below, the baseline alone; its neurons: srm-explorer survey {visible(session)}")
    if not chosen:
        say("", no_plane(opened))
    for record in chosen:
        show_plane(opened, record, choice, *screen_size(width, height))


def header_lines(session: Session) -> list[str]:
    """What a session is, a fact a line: state, model, interventions, prompts and runs."""
    rows = session_facts(session, is_running=_is_running(session))
    lines = fields(rows, width=table_width())
    return [bold(lines[0], colour=colour_wanted()), *lines[1:]]


def no_plane(session: Session) -> str:
    if not session.spec.capture.sites:
        return f"texts alone, so no chart: srm-explorer effects {session.name}"
    return f"no plane, so no chart: srm-explorer planes {session.name} --add A B"


def show_plane(
    session: Session,
    plane: PlaneRecord,
    choice: ChartChoice,
    width: int,
    height: int,
    explain: Callable[[float], Sequence[str]] | None = None,
) -> None:
    """Print one plane of a session: a table of its groups, then the chart asked for, or polar and thresholds.

    Args:
        session: with at least one run.
        plane: one of its planes.
        width: columns of a chart.
        height: rows of a chart.
        explain: gives lines to print under the table, of the threshold it counts above.
    """
    whole, chart = _Shown.of(session, plane, choice), choice.chart
    subject, groups, level, by = whole.subject, whole.groups, whole.level, whole.subject.by
    bands = subject.bands

    def chart_text(kind: str, cells: Callable[[], Picture]) -> str:
        return pictures.chart(cells, lambda: whole.figure(kind), width, height)

    colour = colour_wanted()
    lines = fields([("plane", plane_title(plane))], width=table_width())
    energies = energies_by_group(session, plane, choice.grouping)
    say("", *(bold(line, colour=colour) for line in lines), *group_table(groups, level, table_width(), energies))
    if explain is not None:
        say("", *explain(level))
    warnings = _warnings(session, plane, groups)
    shown = None if chart == "dose" else subject.view(thresholds=groups[0].sweep.thresholds)
    if shown is not None and chart in ("polar", None):
        seen = choice.view or telling_view(groups)
        say("", chart_text("polar", lambda: polar_picture(subject, shown, seen, level, width, height)))
    if shown is not None and chart in ("thresholds", None):
        counts = threshold_figure(subject, shown, level)
        say("", chart_text("thresholds", lambda: paint_thresholds(counts, width, height)))
    if chart == "dose":
        say("", chart_text("dose", lambda: paint_dose(dose_figure(subject, choice.threshold), width, height)))
    if bands is not None and (left_out := chance_left_out(session, plane, by, choice.chance)):
        say("", *_wrapped(left_out))
    if bands is not None and bands.counted and any(band.q_arithmetic is not None for band in bands.groups):
        say("", *_wrapped(visible(bands.counted)))
    if warnings:
        say("", *(line for warning in warnings for line in _wrapped(f"⚠ {warning}")))


@dataclasses.dataclass(frozen=True, eq=False)
class _Shown:
    """A plane under a grouping, as its charts show it.

    Attributes:
        level: threshold that is counted above.
    """

    choice: ChartChoice
    subject: Subject
    groups: tuple[SweptGroup, ...]
    level: float

    @classmethod
    def of(cls, session: Session, plane: PlaneRecord, choice: ChartChoice) -> _Shown:
        groups = _swept(session, plane, choice)
        level = telling_threshold(groups) if choice.threshold is None else choice.threshold
        by = (CONDITION,) if choice.chart == "dose" else tuple(choice.grouping)
        bands = None
        if not choice.plain and choice.transform != "axis out":
            bands = known_bands(session, plane, by, choice.chance, family=choice.family)
        subject = Subject(
            session,
            plane,
            by,
            True,
            lambda: groups,
            choice.transform,
            bands=bands,
            plain=choice.plain,
            details=choice.details,
        )
        return cls(choice, subject, groups, level)

    def figure(self, chart: str) -> Drawn:
        if chart == "dose":
            return dose_figure(self.subject, self.choice.threshold)
        shown = self.subject.view(thresholds=self.groups[0].sweep.thresholds)
        if chart == "thresholds":
            return threshold_figure(self.subject, shown, self.level)
        chosen = self.choice.view or telling_view(self.groups)
        if chosen == "compass":
            return compass_figure(self.subject, shown)
        return polar_figure(self.subject, shown, chosen, self.level)


def known_bands(
    session: Session,
    plane: PlaneRecord,
    by: Sequence[str],
    chance: str | None = None,
    *,
    every_kind: bool = False,
    family: str | None = None,
) -> PlaneBands | None:
    """The bands a session was saved with, else computed now, with one kind of chance; None where they cannot be.

    Their tests go into the session's ledger. What chance draws of many vectors is computed where it is asked for: see
    `chance_left_out`.

    Args:
        chance: the kind that is kept; the one that charts draw by default.
        every_kind: whether kinds of chance that no chart draws by default are computed too.
        family: that the tests belong to; that of all such tests by default.

    Raises:
        ExplorerError: that kind of chance is not there, and cannot be drawn.
    """
    from srm_explorer.engine.analyses import bands_study, counted_bands

    index = plane_index(session, plane)
    bands = stored_bands(session, index, by)
    has_kind = bands is not None and (chance is None or any(null.kind == chance for null in bands.nulls))
    if not has_kind:
        arguments = {"plane": index, "by": list(by), "family": family}
        nulls = {} if every_kind else {"nulls": ["partners" if chance in (None, "controls") else chance]}
        if not every_kind and chance_left_out(session, plane, by, chance):
            arguments["chance"] = False
        try:
            findings = bands_study(session, {**arguments, **nulls})
            bands = PlaneBands.from_dict(findings["bands"])
            # The vectors are there, but a plane without partners: the kinds that come after them.
            if chance is None and nulls and not bands.nulls and not findings["told"]:
                bands = PlaneBands.from_dict(bands_study(session, arguments)["bands"])
        except ExplorerError:
            bands = None
    if bands is not None:
        bands = counted_bands(session, bands, family) if family else counted_bands(session, bands)
    if chance is None or bands is None:
        return bands
    kept = tuple(null for null in bands.nulls if null.kind == chance)
    if not kept:
        remedy = "run it with --set controls.neurons=19" if chance == "controls" else "put its vectors back beside it"
        raise ExplorerError(f"it has nothing to draw '{chance}' from", where=session.name, remedy=remedy)
    return dataclasses.replace(bands, nulls=kept)


MOST_VECTORS = 100_000_000
"""Bytes of vectors beyond which charts are drawn without what chance would draw: reading them takes longer than all
else, and more memory."""


def chance_left_out(session: Session, plane: PlaneRecord, by: Sequence[str], chance: str | None) -> str:
    """Say that what chance draws is left out, and how to have it; empty where it is not: it was saved, or asked for."""
    size = session.vectors_bytes
    if chance is not None or size <= MOST_VECTORS or stored_bands(session, plane_index(session, plane), by) is not None:
        return ""
    kind = "controls" if session.spec.controls.neurons else "partners"
    return f"what chance draws is left out: {size / 1e6:,.0f} MB of vectors would be read; --chance {kind} draws it"


def _is_running(session: Session) -> bool:
    return session.path is not None and writer_pid(paths.run_folder(session.path)) is not None


def session_json(session: Session, planes: Sequence[PlaneRecord], choice: ChartChoice) -> dict[str, Any]:
    return {
        "session": session.name,
        "path": str(session.path),
        "state": "running" if _is_running(session) else session.state,
        "saved": session.saved,
        "model": session.spec.model.name,
        "is_demo": session.spec.model.is_known and model_caption(session) != session.spec.model.name,
        "interventions": list(intervention_captions(session.spec)),
        "prompts": len(session.prompts),
        "kept_for_confirmation": session.kept_back,
        **({"exploratory": True} if exploratory_line(session) else {}),
        "runs": len(session.runs),
        "planned_runs": session.planned_runs,
        "neurons": session.standing.to_dict() if session.standing else None,
        "conditions": [condition.label for condition in session.conditions if condition.kind != "control"],
        "controls": session.spec.controls.neurons,
        "spec": session.spec.to_dict(),
        "planes": [_plane_json(session, plane, choice) for plane in planes],
    }


def _wrapped(text: str) -> list[str]:
    width = table_width()
    return [text] if width is None else wrapped(text, width, "  ", hyphens=True)


def _planes(session: Session, number: int | None) -> Sequence[PlaneRecord]:
    if not session.planes:
        remedy = no_plane(session).partition(": ")[2]
        raise ExplorerError("this session has no plane", where=session.name, remedy=remedy)
    if number is None:
        return session.planes
    if not 1 <= number <= len(session.planes):
        raise ExplorerError(
            f"it has no plane {number}", where=session.name, remedy=f"choose --plane 1 to {len(session.planes)}"
        )
    return (session.planes[number - 1],)


def _swept(session: Session, plane: PlaneRecord, choice: ChartChoice) -> tuple[SweptGroup, ...]:
    levels, threshold = session.spec.spotlight.thresholds, choice.threshold
    extra = () if threshold is None or threshold in levels else (threshold,)
    return swept_groups(session, plane, choice.grouping, (*levels, *extra))


def _warnings(session: Session, plane: PlaneRecord, groups: Sequence[SweptGroup]) -> list[str]:
    swept = warnings_of(group.sweep for group in groups)
    return [visible(warning) for warning in (*swept, *session_warnings(session, plane, groups))]


def _plane_json(session: Session, plane: PlaneRecord, choice: ChartChoice) -> dict[str, Any]:
    groups, grouping = _swept(session, plane, choice), choice.grouping
    a, b = plane_captions(plane)
    bands = known_bands(session, plane, grouping, every_kind=True, family=choice.family)
    predicted = predictions_of(session, plane, groups, grouping)
    energies = energies_by_group(session, plane, grouping)
    return {
        "site": plane.site,
        "a": plane.a,
        "b": plane.b,
        "title": f"{a} × {b}",
        "raw_angle_deg": plane.raw_angle_deg,
        "grey_vector": list(grey_vector(session, plane)),
        "angles_deg": groups[0].sweep.angles_deg.tolist(),
        "groups": {
            group.label: {
                "prompts": group.n_prompts,
                "runs": group.n_runs,
                "energy_in_plane": energies.get(group.label),
                **sweep_json(group.sweep),
                **certainty_json(group, None if bands is None else bands.of(group.label), predicted.get(group.label)),
            }
            for group in groups
        },
        "bands": None if bands is None else bands.to_dict(),
        "warnings": _warnings(session, plane, groups),
    }
