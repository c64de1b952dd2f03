"""Two groups of runs compared: of one session, or of two on the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.compare_match import (
    ANGLES,
    BEYOND,
    BY_DESIGN,
    ComparedPair,
    Matched,
    Side,
    matched,
    other_models,
    same_axes,
)
from srm_explorer.engine.analyses.compare_tables import compare_tables, curves_of
from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import differences
from srm_explorer.engine.experiment.model_fit import reach_of
from srm_explorer.engine.figures.arithmetic import arithmetic_points
from srm_explorer.engine.figures.captions import pooled_caption
from srm_explorer.engine.figures.comparison import session_names
from srm_explorer.engine.figures.groups import EVERY, group_choice, points_of, run_groups
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.figures.session_overlays import plane_index
from srm_explorer.engine.session import PlaneRecord, Session, load_session
from srm_explorer.engine.stats.comparison import GroupDifference, group_difference, paired_test
from srm_explorer.engine.stats.groups import BASELINE
from srm_explorer.engine.stats.permutation import benjamini_hochberg, family_size
from srm_explorer.engine.stats.resampling import LEVEL, MOST_RESAMPLES, RESAMPLES
from srm_explorer.engine.stats.spotlight import UnitCoordinates

FEW_UNITS = 10


def compare_groups(
    one: Session,
    other: Session,
    plane: PlaneRecord,
    pairs: Sequence[tuple[str, str]],
    thresholds: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    names: tuple[str, str] | None = None,
) -> tuple[ComparedPair, ...]:
    """Subtract groups of the second session from groups of the first, in a plane of the first.

    Args:
        one: the first.
        other: the second; the same one to compare two of its groups.
        plane: one of the first's planes.
        pairs: a group of either, by name, as `group_choice` takes it.
        thresholds: cosines to count above.
        resamples: of the bootstrap, and sign patterns of the tests.
        seed: of all that is drawn.
        names: what the sessions are called in labels; no names where they are one.

    Raises:
        ExplorerError: no such group, or the sessions do not lie on the same axes.
    """
    there = same_axes(one, other, plane)
    found: list[tuple[Side, Side, Matched, GroupDifference, float | None, str]] = []
    for own, its in pairs:
        sides = Side(one, plane, group_choice(one, own)), Side(other, there, group_choice(other, its))
        if one is other and np.array_equal(sides[0].group.runs, sides[1].group.runs):
            what = f"{sides[0].group.label} and {sides[1].group.label} are the same runs"
            raise ExplorerError(what, where=one.name, remedy="name two groups that differ")
        match = matched(*sides)
        samples = match.samples(points_of(plane), points_of(there))
        difference = group_difference(
            *samples, match.stratum, thresholds, ANGLES, paired=match.paired, resamples=resamples, seed=seed
        )
        p, tested = _test(sides, match, resamples, seed)
        found.append((*sides, match, difference, p, tested))
    q = benjamini_hochberg([np.nan if one[4] is None else one[4] for one in found])
    return tuple(
        ComparedPair(
            labels=_labels((first, second), names),
            sides=(first, second),
            matched=match,
            found=difference,
            thresholds=tuple(thresholds),
            p=p,
            q=None if p is None else float(q[index]),
            tested=tested,
        )
        for index, (first, second, match, difference, p, tested) in enumerate(found)
    )


def default_pairs(one: Session, other: Session) -> list[tuple[str, str]]:
    """What is compared where nothing is named: like groups of two sessions; all values and the baseline of one."""
    groups = [list(run_groups(session, ())) for session in (one, other)]
    pooled = [pooled_caption(session.spec) for session in (one, other)]
    if one is other:
        base = [label for label in groups[0] if label != pooled[0]]
        if pooled[0] not in groups[0] or not base:
            raise ExplorerError(
                "it has no two groups of conditions to compare",
                where=one.name,
                remedy="name two groups: --groups type=plain type=odd",
            )
        return [(pooled[0], label) for label in base]
    shared = [(label, label) for label in groups[0] if label in groups[1]]
    if pooled[0] != pooled[1] and pooled[0] in groups[0] and pooled[1] in groups[1]:
        shared.append((pooled[0], pooled[1]))
    if not shared:
        raise ExplorerError(f"{one.name} and {other.name} have no group in common", remedy="name one of each")
    return shared


def compare_study(session: Session, arguments: Arguments) -> Findings:
    """Compare two groups; see `compare_groups`.

    `arguments`: "other" a session's name or path, none for the same; "plane" from 1; "groups" two names, or "a_group"
    and "b_group"; "resamples" and "seed".

    Returns:
        Tables "difference", "gaps", and "spec" for two sessions, and "curves" as in `curves_of`.
    """
    given = StudyArguments(
        arguments, ("other", "plane", "groups", "a_group", "b_group", "resamples", "seed"), "compare"
    )
    path = given.text("other")
    file = None if path is None else paths.session_path(path)
    other = session if file is None or file == session.path else load_session(file)
    at = given.whole("plane", 1, least=1)
    if at > len(session.planes):
        remedy = f"choose 1 to {len(session.planes)}" if session.planes else "it has none: run it with [[planes]]"
        raise ExplorerError(f"there is no plane {at}", where=session.name, remedy=remedy)
    resamples, seed = (
        given.whole("resamples", RESAMPLES, least=100, most=MOST_RESAMPLES),
        given.whole("seed", 0, least=0),
    )
    levels = sorted({*session.spec.spotlight.thresholds, *other.spec.spotlight.thresholds}, reverse=True)
    pairs = _named(given, alone=other is session) or default_pairs(session, other)
    names = None if other is session else session_names(session, other)
    compared = compare_groups(
        session, other, session.planes[at - 1], pairs, levels, resamples=resamples, seed=seed, names=names
    )
    notes = [f"{one.label}: {one.matched.told}" for one in compared]
    notes += [told for told in (other_models(session, other) if names else "", *_warnings(compared)) if told]
    family = family_size([np.nan if one.p is None else one.p for one in compared])
    lines = differences(session.spec, other.spec) if names else None
    tables = compare_tables(compared, LEVEL, resamples, seed, family, notes, lines, names)
    return findings_of(*tables, curves=[curves_of(one) for one in compared])


def _test(sides: tuple[Side, Side], match: Matched, flips: int, seed: int) -> tuple[float | None, str]:
    """The paired p of what was not set by the experiment, and what was tested."""
    if not match.paired:
        return None, "not paired"
    points: list[UnitCoordinates] = [points_of(side.plane) for side in sides]
    tested = "difference"
    if _is_set(sides, match):
        tested = BEYOND
        for index, (side, rows) in enumerate(zip(sides, match.rows, strict=True)):
            predicted = _predicted(side)
            if predicted is None or not predicted.finite[rows].all():
                return None, BY_DESIGN
            own = points[index]
            points[index] = UnitCoordinates(own.xy - predicted.xy, own.zero, own.finite)
    flipped = paired_test(*match.samples(*points), len(match.stratum), flips, seed)
    return (None, "not paired") if flipped is None else (float(flipped.p), tested)


def _is_set(sides: tuple[Side, Side], match: Matched) -> bool:
    """Whether the plane's site is edited, and not alike in both groups: its difference is then partly set by hand."""
    settings: list[set[tuple[Any, ...]]] = []
    for side, rows in zip(sides, match.rows, strict=True):
        session = side.session
        edits = [
            (place, (one.site, tuple(one.neurons), one.direction, one.op, one.positions))
            for place, one in enumerate(session.spec.interventions)
            if reach_of(one.site, side.plane.site) in ("own", "written")
        ]
        conditions = {session.runs[int(row)].condition for row in rows}
        # Without resolved values, labels tell settings apart.
        table = session.resolved or tuple((one.label,) * len(one.values) for one in session.conditions)
        settings.append({tuple((edit, str(table[index][place])) for place, edit in edits) for index in conditions})
    return settings[0] != settings[1]


def _predicted(side: Side) -> UnitCoordinates | None:
    session, plane = side.session, side.plane
    if not any(one is plane for one in session.planes):
        session = session.changed(planes=(*session.planes, plane), predictions={})
    found = arithmetic_points(session, plane_index(session, plane))
    if found is not None:
        return found
    baseline = {one.index for one in session.conditions if one.kind == "baseline"}
    # Runs of the baseline are their own prediction.
    own = all(session.runs[int(row)].condition in baseline for row in side.group.runs)
    return points_of(plane) if own else None


def _labels(sides: tuple[Side, Side], names: tuple[str, str] | None) -> tuple[str, str]:
    own = [side.group.label for side in sides]
    return (own[0], own[1]) if names is None else (f"{names[0]} · {own[0]}", f"{names[1]} · {own[1]}")


def _warnings(compared: Sequence[ComparedPair]) -> list[str]:
    found: list[str] = []
    for one in compared:
        choices = [side.group for side in one.sides]
        if any(choice.conditions == EVERY for choice in choices):
            found.append("a group without a condition holds runs of every one, the baseline too; name one: +20,type=…")
        alike = one.sides[0].session is one.sides[1].session
        if alike and np.isin(one.matched.rows[0], one.matched.rows[1]).any():
            found.append(f"{one.label}: the groups share runs, whose differences are zero")
        if one.tested in (BEYOND, BY_DESIGN):
            rest = "p is of the rest" if one.tested == BEYOND else "so there is no p"
            found.append(f"{one.label}: part of the difference was set by the experiment; {rest}")
        if one.found.units < FEW_UNITS:
            least = f"; no p is below {2.0 ** (1 - one.found.units):.2g}" if one.p is not None else ""
            found.append(f"{one.label}: only {count_of(one.found.units, 'unit')}, intervals are rough{least}")
    return list(dict.fromkeys(found))


def _named(given: StudyArguments, *, alone: bool) -> list[tuple[str, str]]:
    groups = given.texts("groups")
    own, its = given.text("a_group"), given.text("b_group")
    if groups and (own or its):
        raise ExplorerError("groups are named twice", remedy="give groups, or one of either session")
    if groups and len(groups) != 2:
        raise ExplorerError(f"two groups are compared, {len(groups)} are named", remedy="name two")
    if groups:
        return [(groups[0], groups[1])]
    if own is None and its is None:
        return []
    if alone and (own is None or its is None):
        return [(own or BASELINE, its or BASELINE)]
    return [(own or its or "", its or own or "")]
