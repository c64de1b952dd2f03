"""What is shown of the highlighted session: notes, what was done, warnings, and a small chart."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.positions import positions_text
from srm_explorer.engine.figures import (
    count_of,
    intervention_captions,
    model_caption,
    plane_captions,
    plane_title,
    polar_from_session,
    session_warnings,
    short,
    site_caption,
    source_caption,
    state_caption,
    survey_caption,
    swept_groups,
)
from srm_explorer.engine.prompts import filter_captions, set_name
from srm_explorer.engine.runs import JournalReader
from srm_explorer.engine.session import PlaneRecord, Session, load_session
from srm_explorer.engine.session.standing import kept_words
from srm_explorer.tui.charts.picture import Picture
from srm_explorer.tui.charts.polar import SMALLEST, paint_polar
from srm_explorer.tui.sessions.row import FoundRun, Row

LINES = 8
"""Lines that say what was done."""


@dataclass(frozen=True)
class Preview:
    """What is shown of a session.

    Attributes:
        notes: the user's own words.
        facts: name and text a line, `LINES` at most.
        warnings: what its reader should know, the gravest first.
        chart: painted; None where there is nothing to draw.
        problem: why it cannot be read; empty where it can.
    """

    notes: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    chart: Picture | None = None
    problem: str = ""


def read_preview(row: Row, width: int, height: int) -> Preview:
    """Read what is shown of a session; takes as long as opening it.

    Args:
        row: of the list.
        width: columns for the chart; too few draw none.
        height: rows for the chart.
    """
    if row.kind == "damaged" and row.summary is not None:
        return Preview(problem=row.summary.problem)
    try:
        if not row.saved:
            journal = JournalReader(paths.run_folder(row.path))
            return Preview(facts=(*_unsaved(row), *spec_facts(journal.experiment)), warnings=_waiting(row))
        session = load_session(row.path)
        told = imported_facts(session) if session.is_imported else spec_facts(session.spec)
        facts = (("state", state_caption(session, is_running=row.kind == "running")), *told[: LINES - 1])
        if not session.planes or not session.runs:
            why = ("it has no plane, so no chart",) if session.runs else ()
            return Preview(session.notes, facts, (*_waiting(row), *why))
        plane = session.planes[0]
        groups = swept_groups(session, plane)
        roomy = width >= SMALLEST[0] and height >= SMALLEST[1]
        # Warnings stand beside the chart, where they have room.
        figure = dataclasses.replace(polar_from_session(session, plane, groups), warnings=())
        chart = paint_polar(figure, width, height) if roomy else None
        return Preview(session.notes, facts, (*_waiting(row), *session_warnings(session, plane, groups)), chart)
    except ExplorerError as error:
        return Preview(problem=str(error))


def spec_facts(experiment: Experiment) -> tuple[tuple[str, str], ...]:
    """What an experiment does, name and text a line, `LINES` at most."""
    prompts, generation, capture = experiment.prompts, experiment.generation, experiment.capture
    done = intervention_captions(experiment)
    more = f" (+{len(done) - 1} more)" if len(done) > 1 else ""
    surveyed = f"{survey_caption(experiment)}: " if experiment.survey else ""
    where = ", ".join(filter_captions(prompts.where))
    writing = "greedy" if generation.mode == "greedy" else f"{count_of(generation.samples, 'sample')}, sampled"
    tokens = f"{count_of(generation.tokens, 'token')}, {writing}" if generation.tokens else "nothing: a plain forward"
    planes = [plane_text(experiment, index) for index in range(len(experiment.planes))]
    return (
        ("model", f"{experiment.model.name} · {experiment.model.dtype} · {experiment.model.device}"),
        ("prompts", ", ".join(map(set_name, prompts.sets)) + (f" where {where}" if where else "")),
        ("done", surveyed + (done[0] if done else "nothing") + more),
        ("writes", tokens),
        (
            "captures",
            f"{', '.join(map(site_caption, capture.sites))} · {capture.reduce} of {positions_text(capture.positions)}",
        ),
        ("planes", "; ".join(planes) or "none"),
        ("counts", f"cosine > {', '.join(map(short, experiment.spotlight.thresholds))}"),
    )


def imported_facts(session: Session) -> tuple[tuple[str, str], ...]:
    """The same of what came from elsewhere: what is known of it."""
    kept = {"done", "captures", "planes", "counts"}
    facts = {name: text for name, text in spec_facts(session.spec) if name in kept}
    facts["captures"] = ", ".join(map(site_caption, session.spec.capture.sites)) or "texts alone"
    facts["planes"] = "; ".join(plane_title(plane) for plane in session.planes) or "none"
    if session.is_unknown("interventions"):
        facts["done"] = "unknown"
    prompts = f"{count_of(len(session.prompts), 'prompt')} · {count_of(len(session.runs), 'run')}"
    source = source_caption(session)
    known = (("model", model_caption(session)), ("prompts", prompts), *facts.items())
    return (*known, ("source", source)) if source else known


def plane_text(experiment: Experiment, index: int) -> str:
    """A plane of an experiment in short: "n373 × n2202 · L11 hook_post"."""
    plane = experiment.planes[index]
    site = experiment.plane_site(plane)
    a, b = plane_captions(PlaneRecord(site, plane.a, plane.b, (), (), ()))
    return f"{a} × {b} · {site_caption(site)}"


def _waiting(row: Row) -> tuple[str, ...]:
    if row.run is None:
        return ()
    if row.run.alive:
        return ("a run is writing it: enter follows it",)
    finished = "runs" if row.standing is None else "neurons"
    return (f"a run was cut short ({_kept(row.run)}): r goes on after the {finished} that are finished",)


def _unsaved(row: Row) -> tuple[tuple[str, str], ...]:
    """How far a run is of which nothing is saved."""
    return () if row.run is None else (("state", f"{row.kind}: {_kept(row.run)}"),)


def _kept(run: FoundRun) -> str:
    return kept_words(run.done, run.planned, run.standing)
