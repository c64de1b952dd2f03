"""Study "analysis": exactly what was frozen before the run; and tests on the prompts that were kept to confirm on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from srm_explorer.engine.analyses.compare import compare_groups, recorded
from srm_explorer.engine.analyses.compare_match import ComparedPair
from srm_explorer.engine.analyses.compare_tables import compare_tables
from srm_explorer.engine.analyses.controls import controls_study
from srm_explorer.engine.analyses.plane_finder import separation_table
from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of, tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.experiment import AGAINST, AnalysisSpec
from srm_explorer.engine.figures.captions import frozen_caption, plane_title
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.engine.session.session import FROZEN
from srm_explorer.engine.stats.resampling import LEVEL, MOST_RESAMPLES, RESAMPLES

CONFIRMED = "confirmation"
"""The family of tests that were named only when they were confirmed."""


def frozen_study(session: Session, arguments: Arguments) -> Findings:
    """Compute the frozen analysis of a session, or confirm it, or another test, on the prompts kept for that.

    Args:
        arguments: "confirm" to look at the prompts that were kept for confirmation, and at these alone; with it
            "groups", two names, and "plane", from 1, name a test that was not frozen; "resamples", "seed".

    Returns:
        A table "difference" a plane, and the target's rank among controls, as the analysis names them.

    Raises:
        ExplorerError: nothing was frozen, or not this; no prompts were kept; what the tests refuse.
    """
    settings = StudyArguments(arguments, ("confirm", "plane", "groups", "resamples", "seed"), FROZEN_NAME)
    confirm = bool(arguments.get("confirm"))
    named = _named(session, settings, confirm)
    analysis = named or _frozen(session)
    looked_at = session.confirming() if confirm else session
    resamples = settings.whole("resamples", RESAMPLES, least=100, most=MOST_RESAMPLES)
    seed = settings.whole("seed", 0, least=0)
    family = CONFIRMED if named else f"{analysis.family} confirmed" if confirm else analysis.family
    tables: list[TableFigure] = []
    numbers = [(number, session.planes[number - 1]) for number in analysis.planes] if named else None
    planes = _frozen_planes(session, analysis) if numbers is None else numbers
    compared: list[ComparedPair] = []
    for _, plane in planes if "difference" in analysis.tests else ():
        compared += compare_groups(
            looked_at,
            looked_at,
            plane,
            analysis.pairs,
            session.spec.spotlight.thresholds,
            resamples=resamples,
            seed=seed,
            family=family,
        )
    if "separation" in analysis.tests:
        tables.append(separation_table(looked_at, planes, analysis.pairs, family, seed=seed))
    # Once more, now that the family is whole, for its q: the same tests count once.
    tables = [*_differences(planes, recorded(compared, family), resamples, seed), *tables]
    if "controls" in analysis.tests:
        tables.append(tables_in(controls_study(looked_at, {}))[0])
    lines = _lines(session, analysis, named=named is not None, confirm=confirm)
    told = [dataclasses.replace(table, notes=(*lines, *table.notes)) for table in tables]
    return findings_of(
        *told,
        family=family,
        confirm=confirm,
        analysis=analysis.model_dump(mode="json"),
        sha256=None if named else analysis.sha256,
        prompts=_prompts(looked_at),
    )


def confirm_study(session: Session, arguments: Arguments) -> Findings:
    """`frozen_study` on the prompts that were kept for confirmation; arguments and errors as there."""
    return frozen_study(session, {**arguments, "confirm": True})


FROZEN_NAME = "the frozen analysis"


def _frozen(session: Session) -> AnalysisSpec:
    """The analysis that was frozen; ExplorerError where none was, or its words were changed since."""
    analysis = session.spec.analysis
    if not analysis.tests:
        remedy = "name tests and groups in [analysis] before the run; `srm-explorer sessions diff` compares groups now"
        raise ExplorerError("no analysis was frozen before its run", where=session.name, remedy=remedy)
    recorded_hash = session.provenance.get(FROZEN)
    if recorded_hash != analysis.sha256:
        what = f"its analysis is not the one that was frozen before the run ({str(recorded_hash or 'none')[:8]})"
        raise ExplorerError(what, where=session.name, remedy="restore the session from a copy")
    return analysis


def _named(session: Session, settings: StudyArguments, confirm: bool) -> AnalysisSpec | None:
    """A test that is named now, as an analysis of its own; None where none is."""
    groups, plane = settings.texts("groups"), settings.whole("plane", least=1)
    if not groups and plane is None:
        return None
    if not confirm:
        remedy = "leave groups and plane out, or compare them with `srm-explorer sessions diff`"
        raise ExplorerError(f"{FROZEN_NAME} names its own groups and planes", where=session.name, remedy=remedy)
    if len(groups) != 2:
        raise ExplorerError(f"two groups are compared, {len(groups)} are named", remedy="name two")
    at = plane or 1
    session.check_plane(at)
    return AnalysisSpec(
        family=CONFIRMED, tests=("difference", "separation"), groups=(AGAINST.join(groups),), planes=(at,)
    )


def _differences(
    planes: Sequence[tuple[int, PlaneRecord]], compared: Sequence[ComparedPair], resamples: int, seed: int
) -> list[TableFigure]:
    """A table a plane."""
    tables: list[TableFigure] = []
    for number, plane in planes:
        pairs = [pair for pair in compared if pair.sides[0].plane is plane]
        if pairs:
            notes = [f"{pair.label}: {pair.matched.summary}" for pair in pairs]
            table = compare_tables(pairs, LEVEL, resamples, seed, notes, None, None)[0]
            tables.append(dataclasses.replace(table, title=f"plane {number}: {plane_title(plane)} · {table.title}"))
    return tables


def _frozen_planes(session: Session, analysis: AnalysisSpec) -> list[tuple[int, PlaneRecord]]:
    """The planes that an analysis names, by their numbers in the experiment; ExplorerError where one was left out."""
    made = {plane.key: plane for plane in session.planes}
    planes: list[tuple[int, PlaneRecord]] = []
    if not analysis.compares:
        return []
    for number in analysis.planes or range(1, len(session.spec.planes) + 1):
        spec = session.spec.planes[number - 1]
        plane = made.get((session.spec.plane_site(spec), spec.a, spec.b))
        if plane is None:
            what = f"plane {number} of the frozen analysis was left out when the run ended"
            raise ExplorerError(what, where=session.name, remedy="its log says why; finish the run")
        planes.append((number, plane))
    return planes


def _lines(session: Session, analysis: AnalysisSpec, *, named: bool, confirm: bool) -> list[str]:
    """What was frozen, and which prompts are looked at."""
    kept = session.kept_back
    lines: list[str] = []
    if confirm:
        lines.append(
            f"on the {count_of(kept, 'prompt')} kept for confirmation alone, which nothing that was chosen has seen"
        )
    elif kept:
        lines.append(f"on {len(session.prompts) - kept:,} prompts; {kept:,} are kept for confirmation")
    if named:
        lines.append("named now, not before the run: every further test on these prompts is one more try")
    else:
        lines.append(
            f"the frozen analysis {frozen_caption(session)}, as it was named before the run: {_text(analysis)}"
        )
    return lines


def _text(analysis: AnalysisSpec) -> str:
    planes = f" in plane {', '.join(map(str, analysis.planes))}" if analysis.planes else " in every plane"
    compared = " and ".join(test for test in analysis.tests if test != "controls")
    parts = [f"{compared} of {'; '.join(analysis.groups)}{planes}"] if analysis.groups else []
    return ", ".join([*parts, *(["rank among controls"] if "controls" in analysis.tests else [])])


def _prompts(session: Session) -> int:
    """How many prompts are looked at."""
    return len({run.prompt for run in session.seen_runs})
