"""Two groups of runs compared: of one session, or of two on the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.beyond_arithmetic import residual_points
from srm_explorer.engine.analyses.compare_match import (
    ANGLES,
    BEYOND_ARITHMETIC,
    BY_DESIGN,
    TOO_FEW,
    ComparedPair,
    MatchedRuns,
    Side,
    matched,
    other_models,
    same_axes,
)
from srm_explorer.engine.analyses.compare_tables import compare_tables, difference_curves
from srm_explorer.engine.analyses.planes import held_out
from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import differences
from srm_explorer.engine.experiment.model_fit import propagation_of
from srm_explorer.engine.figures.captions import plane_title, pooled_caption
from srm_explorer.engine.figures.comparison import two_names
from srm_explorer.engine.figures.groups import EVERY, group_choice, points_of, run_groups
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.figures.session_overlays import plane_index
from srm_explorer.engine.figures.warnings import dipped
from srm_explorer.engine.session import (
    ComputedTest,
    Counted,
    PlaneRecord,
    Session,
    check_family,
    load_session,
    record_tests,
    unit_warnings,
)
from srm_explorer.engine.session.lengths import (
    NOTHING,
    LengthNotes,
    alike,
    depends_on_length,
    is_alike_known,
    paired,
    token_counts,
)
from srm_explorer.engine.stats.comparison import PairedTest, group_difference, paired_test
from srm_explorer.engine.stats.groups import BASELINE
from srm_explorer.engine.stats.resampling import LEVEL, MOST_RESAMPLES, RESAMPLES
from srm_explorer.engine.stats.spotlight import UnitCoordinates

FEW_UNITS = 10
FAMILY = "differences"
"""That the tests of a comparison are in where nobody names another."""


def compare_groups(
    first: Session,
    other: Session,
    plane: PlaneRecord,
    pairs: Sequence[tuple[str, str]],
    thresholds: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    names: tuple[str, str] | None = None,
    family: str = FAMILY,
) -> tuple[ComparedPair, ...]:
    """Subtract groups of the second session from groups of the first, in a plane of the first.

    The tests go into the ledgers of both sessions; q is the larger of those over all that either holds of the family.

    Args:
        pairs: a group of either, by name, as `group_choice` takes it.
        names: what the sessions are called in labels; no names where they are one.
        family: that the tests belong to.

    Raises:
        ExplorerError: no such group, or the sessions do not lie on the same axes.
    """
    other_plane = same_axes(first, other, plane)
    compared: list[ComparedPair] = []
    check_family(family)
    for label, other_label in pairs:
        sides = (
            Side(first, plane, group_choice(first, label)),
            Side(other, other_plane, group_choice(other, other_label)),
        )
        if first is other and np.array_equal(sides[0].group.runs, sides[1].group.runs):
            what = f"{sides[0].group.label} and {sides[1].group.label} are the same runs"
            raise ExplorerError(what, where=first.name, remedy="name two groups that differ")
        match = matched(*sides)
        samples = match.samples(points_of(plane), points_of(other_plane))
        difference = group_difference(
            *samples, match.stratum, thresholds, ANGLES, paired=match.paired, resamples=resamples, seed=seed
        )
        labels = _labels(sides, names)
        found, tested = _test(sides, match, resamples, seed)
        pair = ComparedPair(labels, sides, match, difference, tuple(thresholds), None, None, tested)
        if found is not None:
            pair = replace(pair, p=float(found.symmetry.p), region=found.region)
        compared.append(pair)
    return recorded(compared, family)


def recorded(compared: Sequence[ComparedPair], family: str = FAMILY) -> tuple[ComparedPair, ...]:
    """Differences with their q over all that the family holds by now, in the session that holds more of it.

    Their tests go into the ledgers of both sessions.
    """
    if not compared:
        return ()
    first, other = (side.session for side in compared[0].sides)
    tests = [
        ComputedTest(
            pair.tested,
            {
                "plane": list(pair.sides[0].plane.key),
                "groups": sorted(pair.labels),
                # On other prompts it is another test.
                **({"prompts": "kept for confirmation"} if first.confirms else {}),
            },
            np.nan if pair.p is None else pair.p,
        )
        for pair in compared
    ]
    counted = recorded_in((first, other), tests, family)
    further = counted[1] if other is not first else None
    q = np.max([[float(value) for value in known.q] for known in counted], axis=0).tolist()
    return tuple(
        replace(pair, q=None if pair.p is None else value, counted=counted[0], counted_other=further)
        for pair, value in zip(compared, q, strict=True)
    )


def recorded_in(sessions: Sequence[Session], tests: Sequence[ComputedTest], family: str) -> tuple[Counted, ...]:
    """Write tests that were made on several sessions into the ledger of each; the family as each then holds it."""
    known: dict[int, Counted] = {}
    for session in sessions:
        if id(session) not in known:
            known[id(session)] = record_tests(session, tests, family)
    return tuple(known[id(session)] for session in sessions)


def default_pairs(first: Session, other: Session) -> list[tuple[str, str]]:
    """What is compared where nothing is named: like groups of two sessions; all values and the baseline of one."""
    groups = [list(run_groups(session, ())) for session in (first, other)]
    pooled = [pooled_caption(session.spec) for session in (first, other)]
    if first is other:
        base = [label for label in groups[0] if label != pooled[0]]
        if pooled[0] not in groups[0] or not base:
            raise ExplorerError(
                "it has no two groups of conditions to compare",
                where=first.name,
                remedy="name two groups: --groups type=plain type=odd",
            )
        return [(pooled[0], label) for label in base]
    shared = [(label, label) for label in groups[0] if label in groups[1]]
    if pooled[0] != pooled[1] and pooled[0] in groups[0] and pooled[1] in groups[1]:
        shared.append((pooled[0], pooled[1]))
    if not shared:
        raise ExplorerError(f"{first.name} and {other.name} have no group in common", remedy="name one of each")
    return shared


def compare_study(session: Session, arguments: Arguments) -> Findings:
    """Compare two groups; see `compare_groups`.

    `arguments`: "other" a session's name or path, none for the same; "plane" from 1; "groups" two names, or "a_group"
    and "b_group"; "resamples" and "seed"; "family" that its tests belong to; "held_out" True for the
    plane made on half of the units, by the seed.

    Returns:
        Tables "difference", "gaps", and "spec" for two sessions, and "curves" as in `difference_curves`.
    """
    settings = StudyArguments(
        arguments,
        ("other", "plane", "groups", "a_group", "b_group", "resamples", "seed", "family", "held_out"),
        "compare",
    )
    path = settings.text("other")
    file = None if path is None else paths.session_path(path)
    other = session if file is None or file == session.path else load_session(file)
    at = settings.whole("plane", 1, least=1)
    session.check_plane(at)
    resamples, seed = (
        settings.whole("resamples", RESAMPLES, least=100, most=MOST_RESAMPLES),
        settings.whole("seed", 0, least=0),
    )
    levels = sorted({*session.spec.spotlight.thresholds, *other.spec.spotlight.thresholds}, reverse=True)
    pairs = _named(settings, alone=other is session) or default_pairs(session, other)
    names = None if other is session else two_names(session, other)
    plane = session.planes[at - 1]
    if arguments.get("held_out"):
        plane = held_out(session, plane, seed)
    compared = compare_groups(
        session,
        other,
        plane,
        pairs,
        levels,
        resamples=resamples,
        seed=seed,
        names=names,
        family=settings.text("family") or FAMILY,
    )
    notes = [f"{pair.label}: {pair.matched.summary}" for pair in compared]
    notes += [note for note in (other_models(session, other) if names else "", *_warnings(compared)) if note]
    lines = differences(session.spec, other.spec) if names else None
    tables = compare_tables(compared, LEVEL, resamples, seed, notes, lines, names)
    counted, further = compared[0].counted, compared[0].counted_other
    return findings_of(
        *tables,
        plane=plane_title(plane),
        curves=[difference_curves(pair) for pair in compared],
        family=None if counted is None else counted.to_dict(),
        **({} if further is None else {"other_family": further.to_dict()}),
    )


def _test(sides: tuple[Side, Side], match: MatchedRuns, flips: int, seed: int) -> tuple[PairedTest | None, str]:
    """The paired tests of what was not set by the experiment, and what was tested."""
    if not match.paired:
        return None, "not paired"
    if not _is_set(sides, match):
        tested, points = "difference", _over_common_tokens(sides, match)
    else:
        tested, points = BEYOND_ARITHMETIC, list[UnitCoordinates]()
        for side, rows in zip(sides, match.rows, strict=True):
            rest, pairs = _beyond(side), paired(side.session, side.plane)
            # A run without a token in common with its baseline is left out; one that is not predicted leaves no test.
            if rest is None or not np.isfinite(rest[rows[pairs.tokens[rows] != NOTHING]]).all():
                return None, BY_DESIGN
            whole = points_of(side.plane)
            points.append(UnitCoordinates(rest, whole.zero, whole.finite))
    found = paired_test(*match.samples(*points), match.stratum, flips, seed)
    return (None, TOO_FEW) if found is None else (found, tested)


def _over_common_tokens(sides: tuple[Side, Side], match: MatchedRuns) -> list[UnitCoordinates]:
    """Where the compared runs lie; where they are of one session, over the tokens that those of a prompt all have."""
    first, other = sides
    if first.session is not other.session:
        return [points_of(side.plane) for side in sides]
    points = points_of(alike(first.session, first.plane, np.union1d(*match.rows)))
    return [points, points]


def _is_set(sides: tuple[Side, Side], match: MatchedRuns) -> bool:
    """Whether the plane's site is edited, and not alike in both groups: its difference is then partly set by hand."""
    settings: list[set[tuple[Any, ...]]] = []
    for side, rows in zip(sides, match.rows, strict=True):
        session = side.session
        edits = [
            (
                number,
                (
                    edit.site,
                    edit.neurons,
                    edit.heads,
                    edit.coordinates,
                    edit.direction,
                    edit.op,
                    edit.positions,
                    edit.source,
                ),
            )
            for number, edit in enumerate(session.spec.interventions)
            if propagation_of(edit.site, side.plane.site) in ("own", "written")
        ]
        conditions = {session.runs[int(row)].condition for row in rows}
        # Without resolved values, labels tell settings apart.
        table = session.resolved or tuple(
            (condition.label,) * len(condition.values) for condition in session.conditions
        )
        settings.append({tuple((edit, str(table[index][number])) for number, edit in edits) for index in conditions})
    return settings[0] != settings[1]


def _beyond(side: Side) -> NDArray[np.float64] | None:
    """[run, 2] unit coordinates less what arithmetic predicts; None where it predicts nothing."""
    session, plane = side.session, side.plane
    if not any(known is plane for known in session.planes):
        session = session.changed(planes=(*session.planes, plane), predictions={})
    rest = residual_points(session, plane_index(session, plane))
    if rest is not None:
        return rest
    baseline = {condition.index for condition in session.conditions if condition.kind == "baseline"}
    # Runs of the baseline are their own prediction.
    is_baseline = all(session.runs[int(row)].condition in baseline for row in side.group.runs)
    return np.zeros((len(session.runs), 2)) if is_baseline else None


def _labels(sides: tuple[Side, Side], names: tuple[str, str] | None) -> tuple[str, str]:
    labels = [side.group.label for side in sides]
    return (labels[0], labels[1]) if names is None else (f"{names[0]} · {labels[0]}", f"{names[1]} · {labels[1]}")


def _warnings(compared: Sequence[ComparedPair]) -> list[str]:
    warnings: list[str] = []
    for pair in compared:
        choices = [side.group for side in pair.sides]
        if any(choice.conditions == EVERY for choice in choices):
            warnings.append(
                "a group without a condition holds runs of every one, the baseline too; name one: +20,type=…"
            )
        alike = pair.sides[0].session is pair.sides[1].session
        if alike and np.isin(pair.matched.rows[0], pair.matched.rows[1]).any():
            warnings.append(f"{pair.label}: the groups share runs, whose differences are zero")
        if pair.tested in (BEYOND_ARITHMETIC, BY_DESIGN):
            rest = "p is of the rest" if pair.tested == BEYOND_ARITHMETIC else "so there is no p"
            warnings.append(f"{pair.label}: part of the difference was set by the experiment; {rest}")
        for side in pair.sides:
            warnings += dipped(side.session, side.plane)
        if pair.matched.uneven:
            warnings.append(
                f"{pair.label}: units have unequal numbers of runs; each counts once, as the mean of its own"
            )
        lengths = _lengths(pair)
        warnings += [f"{pair.label}: {lengths}"] if lengths else []
        if pair.estimate.units < FEW_UNITS:
            least = f"; no p is below {2.0 ** (1 - pair.estimate.units):.2g}" if pair.p is not None else ""
            rough = "intervals are rough" if pair.estimate.units > 1 else "so there is no interval and no p"
            warnings.append(f"{pair.label}: only {count_of(pair.estimate.units, 'unit')}, {rough}{least}")
        for side in pair.sides:
            warnings += unit_warnings(side.session)
    return list(dict.fromkeys(warnings))


def _lengths(pair: ComparedPair) -> str:
    """What the p made of texts that differ in length; empty where it made nothing of that."""
    first, other = pair.sides
    if pair.p is None or not all(depends_on_length(side.session.spec) for side in pair.sides):
        return ""
    counts = [token_counts(side.session)[rows] for side, rows in zip(pair.sides, pair.matched.rows, strict=True)]
    lengths: dict[int, set[int]] = {}
    for units, tokens in zip(pair.matched.units, counts, strict=True):
        for unit, count in zip(units.tolist(), tokens.tolist(), strict=True):
            lengths.setdefault(unit, set()).add(count)
    unlike = sum(len(of_unit) > 1 for of_unit in lengths.values())
    differ = f"{unlike:,} of {count_of(len(lengths), 'unit')} differ in the length of texts"
    if pair.tested == BEYOND_ARITHMETIC:
        notes = [LengthNotes(side.session, paired(side.session, side.plane)) for side in pair.sides]
        is_common = all(note.of(rows).kept for note, rows in zip(notes, pair.matched.rows, strict=True))
    else:
        # Of a unit with several prompts, each is cut for itself: a group of some is not as long as one of others.
        prompts = [
            {side.session.runs[int(row)].prompt for row in rows}
            for side, rows in zip(pair.sides, pair.matched.rows, strict=True)
        ]
        is_common = first.session is other.session and prompts[0] == prompts[1]
        is_common = is_common and is_alike_known(first.session, first.plane, np.union1d(*pair.matched.rows))
    if not unlike:
        return ""
    if not is_common:
        return f"{differ}: p is of means over unlike numbers of tokens, and a mean over more is shorter"
    return f"{differ}: p is at the common length, over the tokens that texts have in common; the rest over all tokens"


def _named(settings: StudyArguments, *, alone: bool) -> list[tuple[str, str]]:
    groups = settings.texts("groups")
    label, other_label = settings.text("a_group"), settings.text("b_group")
    if groups and (label or other_label):
        raise ExplorerError("groups are named twice", remedy="give groups, or one of either session")
    if groups and len(groups) != 2:
        raise ExplorerError(f"two groups are compared, {len(groups)} are named", remedy="name two")
    if groups:
        return [(groups[0], groups[1])]
    if label is None and other_label is None:
        return []
    if alone and (label is None or other_label is None):
        return [(label or BASELINE, other_label or BASELINE)]
    return [(label or other_label or "", other_label or label or "")]
