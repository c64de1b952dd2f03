"""Study "finder": planes in which groups differ, chosen on half of the units and tested on the other half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.captured import Captured, captured, edited, is_steered
from srm_explorer.engine.analyses.pairs import chosen_neuron, known_rows
from srm_explorer.engine.analyses.pairs_measures import as_captured, holds_writes
from srm_explorer.engine.analyses.plane_search import (
    KEPT,
    ComparedGroups,
    PairSelection,
    SearchResult,
    compared_groups,
    default_groups,
    one_group,
    search_anisotropy,
    search_change,
    search_separation,
    separated,
    unit_differences,
)
from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import SiteEdits, coordinate_caption, count_of, segment_tokens, site_caption
from srm_explorer.engine.figures.numbers import MINUS, three_digits
from srm_explorer.engine.figures.table import CellValue, PlaneChoice, TableColumn, TableFigure, as_cell, table_columns
from srm_explorer.engine.session import (
    ComputedTest,
    Counted,
    PlaneRecord,
    Session,
    changed_units,
    record_tests,
    unit_warnings,
)
from srm_explorer.engine.session.export import chosen_site
from srm_explorer.engine.session.ledger import BESIDE, LOOKED_AT
from srm_explorer.engine.session.lengths import NOTHING, alike_tokens, differ_in_length, paired_tokens
from srm_explorer.engine.stats.groups import BASELINE
from srm_explorer.engine.stats.resampling import MOST_RESAMPLES

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def observed_and_predicted(caught: Captured, site: str, runs: Places) -> tuple[Floats, Floats, Places]:
    """Vectors of length 1 as they are, and as arithmetic makes them of the baseline's where the text is the same.

    Args:
        site: that the experiment intervenes on itself.
        runs: places among the captured runs.

    Returns:
        [run, k] and [run, k], and those of the runs that could be predicted.

    Raises:
        ExplorerError: the site's vectors alone do not tell what arithmetic predicts there.
    """
    session = caught.session
    edits = SiteEdits.of(session.spec, site)
    base = caught.baseline()
    exact = edits.exact(session, rows_known=False)[caught.condition]
    tokens_of = paired_tokens(session)[caught.rows]
    some = tokens_of != NOTHING if site in caught.shorter else np.ones(len(tokens_of), np.bool_)
    runs = runs[exact[runs] & (base[runs] >= 0) & some[runs]]
    if edits.needs_own or edits.directions or len(edits.neurons) or edits.centred or not runs.size:
        what = f"what arithmetic predicts at {site} is not told by its vectors"
        remedy = "choose the site that is clamped itself, or criterion=separation"
        raise ExplorerError(what, where=session.name, remedy=remedy)
    observed = caught.means(site, runs, tokens_of[runs])
    predicted = caught.means(site, base[runs], tokens_of[runs])
    bases = [session.runs[int(caught.rows[base[run]])] for run in runs]
    tokens = segment_tokens(session.spec, bases, tokens_of[runs] if site in caught.shorter else None)
    clamped = predicted[:, edits.columns]
    nothing = np.zeros((len(runs), 3, 0)), np.zeros((0, len(edits.columns)))
    moves = edits.moves(session, caught.condition[runs], tokens, tokens[..., None] * clamped[:, None], *nothing)
    predicted[:, edits.columns] = clamped + moves
    return _unit(observed), _unit(predicted), runs


def by_text_alone(caught: Captured, site: str, rows: dict[str, dict[int, Floats]]) -> Floats:
    """[run, k] vectors of a site without what neurons that were changed write there by construction.

    Args:
        caught: with the site, and the sites of those neurons.
        rows: rows of W_out by site and neuron, as the site takes them.

    Raises:
        ExplorerError: a row, or the vectors of a neuron's site, are not at hand.
    """
    values = caught.vectors[site].astype(np.float64)
    written = [
        edit for edit in caught.session.spec.interventions if edit.site != site and holds_writes(edit.site, site)
    ]
    for home, neuron in dict.fromkeys((edit.site, neuron) for edit in written for neuron in edit.neurons):
        row = rows.get(home, {}).get(neuron)
        if row is None or home not in caught.vectors:
            what = f"{site} holds value × W_out of neuron {neuron} by construction, and that row is not at hand"
            remedy = "choose the MLP's site, or capture both and run the experiment again with this version"
            raise ExplorerError(what, where=caught.session.name, remedy=remedy)
        values -= caught.vectors[home][:, neuron, None].astype(np.float64) * row
    return values


def _unit(vectors: Floats) -> Floats:
    length = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    return vectors / np.where(length > 0, length, 1.0)


SETTINGS = ("neuron", "among", "k", "criterion", "groups", "site", "seed", "permutations")
FAMILY = "planes found"
"""That the tests of planes that were searched are in."""
CRITERIA = ("separation", "change", "anisotropy")
PERMUTATIONS = 10_000
FEW_UNITS = 10

_MEANS = {
    "separation": (
        "gain: Rao's F of what the coordinate that adds less adds to the other, which need not be more than either "
        "tells alone; T²: Hotelling's, of the plane; p is that both add"
    ),
    "change": (
        "change of the cosines (A, B) beyond arithmetic: gain is Rao's F of what the coordinate that adds less adds to "
        "the other, which need not be more than either tells alone; T²: Hotelling's, of the plane; p is that both add"
    ),
    "anisotropy": (
        "r: correlation of the units' means, both coordinates scaled alike, 0 is a round cloud; p is of an r of the "
        "sign it was chosen with"
    ),
}


def finder_study(session: Session, arguments: Arguments) -> Findings:
    """Search planes by what each of their two coordinates adds to the other, and measure their synergy.

    Args:
        arguments: "neuron" (in every plane, with among "partners"; that of the first intervention or plane by default),
            "among" ("partners", pairs of the k most "changed" coordinates, or "all"), "k", "criterion" ("separation" of
            two groups, "change" beyond arithmetic of one, "anisotropy" of one), "groups" (labels as charts show them),
            "site", "seed", "permutations".

    Raises:
        ExplorerError: an argument that is none, a group or site there is not, or too few units to split.
    """
    settings = StudyArguments(arguments, SETTINGS, "finder")
    among = settings.choice("among", ("partners", "changed", "all"))
    criterion = settings.choice("criterion", CRITERIA)
    site, neuron = _subject(session, settings, among)
    caught = whole = captured(session, _sites(session, site))
    width = caught.vectors[site].shape[1]
    if neuron is not None and not 0 <= neuron < width:
        raise ExplorerError(f"neuron {neuron} is out of range ({site} has {width})", remedy=f"choose 0 to {width - 1}")
    labels = settings.texts("groups") or default_groups(session, 2 if criterion == "separation" else 1)
    if criterion == "change" and not settings.texts("groups"):
        labels = default_groups(session, 2)[1:]
    if criterion == "separation":
        either = np.concatenate(compared_groups(caught, labels).runs)
        caught = caught.over(alike_tokens(session, caught.rows[either]))
    task = _Task(caught, site, among, neuron, settings)
    if criterion == "separation":
        groups = compared_groups(caught, labels)
        selection = task.selection(groups.runs)
        values = _natural(caught, site, groups.runs)
        result = search_separation(caught, values, groups, selection)
        notes = [_grouped(groups)]
    elif criterion == "change":
        runs = one_group(caught, labels, criterion)
        observed, predicted, runs = observed_and_predicted(caught, site, runs)
        selection = task.selection((runs, caught.kinds("baseline")))
        result = search_change(caught, observed, predicted, runs, selection)
        after = next(label for label in labels if label != BASELINE)
        notes = [f"{after} compared with what arithmetic makes of the baseline's vectors"]
    else:
        runs = one_group(caught, labels, criterion)
        selection = task.selection((runs,))
        changed = _changed(caught, site) if among == "changed" else None
        result = search_anisotropy(caught, caught.vectors[site].astype(np.float64), runs, changed, selection)
        notes = [f"means of {labels[0]}, unit by unit"]
    if criterion != "anisotropy":
        notes += _lengths(session, site in whole.shorter)
    return findings_of(_table(task, criterion, result, selection, notes, labels), site=site, neuron=neuron)


@dataclass(frozen=True, eq=False)
class _Task:
    """What was asked for."""

    caught: Captured
    site: str
    among: str
    neuron: int | None
    settings: StudyArguments

    def selection(self, groups: tuple[Places, ...]) -> PairSelection:
        """Which pairs, for the runs that are compared."""
        used = np.unique(self.caught.condition[np.concatenate(groups)])
        edits = edited(self.caught.session, self.site)
        return PairSelection(
            among=self.among,  # pyright: ignore[reportArgumentType]
            shared=self.neuron,
            k=self.settings.whole("k", 200, least=2),
            set_axes=frozenset(column for column, where in edits.items() if where[used].any()),
            seed=self.settings.whole("seed", 0, least=0),
            permutations=self.settings.whole("permutations", PERMUTATIONS, least=100, most=MOST_RESAMPLES),
        )


def _lengths(session: Session, is_common: bool) -> list[str]:
    """What the vectors are over, where texts differ in length."""
    if not differ_in_length(session.spec, session.seen_runs):
        return []
    if is_common:
        return ["texts differ in length: vectors are means over the tokens that those of a prompt have in common"]
    return ["texts differ in length, and means over fewer tokens are not kept: a mean over more is shorter"]


def _subject(session: Session, settings: StudyArguments, among: str) -> tuple[str, int | None]:
    asked, number = settings.text("site"), settings.whole("neuron")
    if among == "partners":
        return chosen_neuron(session, asked, number)
    if number is not None:
        remedy = "choose among=partners, or leave the neuron out"
        raise ExplorerError(f"pairs among {'all' if among == 'all' else 'the changed'} have no neuron", remedy=remedy)
    if asked is not None:
        chosen_site(session, asked)
        return asked, None
    return chosen_neuron(session, None, None)[0] if session.planes else chosen_site(session, None), None


def _sites(session: Session, site: str) -> list[str]:
    """The site, and those whose neurons write into it by construction."""
    homes = [edit.site for edit in session.spec.interventions if edit.site != site and holds_writes(edit.site, site)]
    return [site, *(home for home in dict.fromkeys(homes) if home in session.spec.capture.sites)]


def _natural(caught: Captured, site: str, groups: tuple[Places, Places]) -> Floats:
    """[run, k] vectors without what differs between the groups by construction."""
    conditions = [set(caught.condition[runs].tolist()) for runs in groups]
    if conditions[0] == conditions[1]:
        return caught.vectors[site].astype(np.float64)
    if is_steered(caught.session, site):
        what = f"all coordinates of {site} were moved along a direction: groups differ there by construction"
        raise ExplorerError(what, where=caught.session.name, remedy="choose groups of the same conditions")
    homes = [home for home in caught.vectors if home != site]
    session = caught.session
    rows = {
        home: {neuron: as_captured(row, session.spec, site) for neuron, row in known_rows(session, home).items()}
        for home in homes
    }
    return by_text_alone(caught, site, rows)


def _changed(caught: Captured, site: str) -> Floats:
    groups = compared_groups(caught, default_groups(caught.session, 2))
    return unit_differences(caught, _natural(caught, site, groups.runs), groups)


def _grouped(groups: ComparedGroups) -> str:
    how = "each unit in both" if groups.paired else "different units"
    left = f"; {count_of(groups.left_out, 'unit')} left out" if groups.left_out else ""
    return f"{groups.labels[0]} against {groups.labels[1]}, {how}{left}"


_DIFFERENCES = (
    TableColumn("difference_a", "Δ 0°", "number", 3),
    TableColumn("difference_a_low", "Δ 0° from", "number", 4),
    TableColumn("difference_a_high", "Δ 0° to", "number", 4),
    TableColumn("difference_b", "Δ 90°", "number", 3),
    TableColumn("difference_b_low", "Δ 90° from", "number", 4),
    TableColumn("difference_b_high", "Δ 90° to", "number", 4),
)
"""Along the first and the second coordinate of a plane."""


def _table(
    task: _Task,
    criterion: str,
    result: SearchResult,
    selection: PairSelection,
    notes: list[str],
    labels: Sequence[str],
) -> TableFigure:
    tested, best, site = result.tested, result.best, task.site
    searched = {
        "site": site,
        "criterion": criterion,
        "groups": list(labels),
        "seed": selection.seed,
        "planes": best.pairs.tolist(),
        "chosen_on": result.chosen.tolist(),
        LOOKED_AT: result.columns,
        BESIDE: selection.shared if selection.among == "partners" else None,
    }
    counted = record_tests(task.caught.session, [ComputedTest("plane found", searched, tested.p)], FAMILY)
    q = counted.q[0]
    alone = selection.shared in selection.set_axes
    both = result.synergy
    shown = ((1,) if alone else (0, 1)) if result.differences else ()
    untested = np.where(np.isnan(tested.p), 2.0, tested.p)
    order = [int(row) for row in np.lexsort((-np.abs(best.scores), untested))]
    named = "r" if criterion == "anisotropy" else "t²" if alone else "gain"
    columns = [
        *table_columns("a:0°:text; b:90°:text"),
        TableColumn("score", f"{named} chosen on", "number", 1),
        *([] if criterion == "anisotropy" or alone else [TableColumn("t2", "T²", "number", 2)]),
        TableColumn("statistic", f"{named} tested", "number"),
        *table_columns("p::p:3; q::p"),
        *(table_columns("synergy:::1; p_synergy:p synergy:p:2") if both is not None else ()),
        *(_DIFFERENCES[3 if alone else 0 :] if result.differences else ()),
    ]
    rows = [
        (
            *(coordinate_caption(site, int(axis)) for axis in best.pairs[row]),
            as_cell(best.scores[row]),
            *([] if criterion == "anisotropy" or alone else [as_cell(tested.t2[row])]),
            as_cell(tested.statistic[row]),
            as_cell(tested.p[row]),
            as_cell(q[row]),
            *((as_cell(both.value[row]), as_cell(both.p[row])) if both is not None else ()),
            *(as_cell(each[row, axis]) for axis in shown for each in result.differences),
        )
        for row in order
    ]
    of = {"partners": "partners of", "changed": f"pairs of the {selection.k:,} most changed", "all": "all pairs"}
    caption = f" {coordinate_caption(site, selection.shared)}" if selection.shared is not None else ""
    return TableFigure(
        "planes_found",
        f"{criterion} · {of[selection.among]}{caption} · {site_caption(site)}",
        tuple(columns),
        tuple(rows),
        tuple(_notes(task, criterion, result, selection, [*notes], counted)),
        tuple(PlaneChoice(site, int(best.pairs[row, 0]), int(best.pairs[row, 1])) for row in order),
    )


def _notes(
    task: _Task, criterion: str, result: SearchResult, selection: PairSelection, leading: list[str], counted: Counted
) -> list[str]:
    caught = task.caught
    set_axes = [coordinate_caption(task.site, axis) for axis in sorted(selection.set_axes)]
    notes = [
        f"chosen on one half, tested on the other: {result.best.scanned:,} pairs scanned on {result.units[0]} units,"
        f" the best {len(result.best.pairs)} (of {KEPT} at most) tested on the other {result.units[1]}"
        f" · seed {selection.seed}",
        *leading,
    ]
    if selection.shared in selection.set_axes:
        notes.append(
            f"{set_axes[0] if len(set_axes) == 1 else coordinate_caption(task.site, selection.shared or 0)} is set by"
            " design, so it is no evidence: planes are ranked and tested by the other coordinate's t² alone"
        )
    else:
        notes.append(_MEANS[criterion])
        if result.synergy is not None:
            notes.append(
                "synergy: T² less both t², what only the two together tell; below 0 they repeat each other; p synergy:"
                " of 0 or less (jackknife over units), of one plane at a time, not corrected over planes"
            )
        if set_axes:
            notes.append(f"set by design, so in no plane: {', '.join(set_axes[:8])}{' …' if len(set_axes) > 8 else ''}")
    notes.append(
        f"p: {result.exchanged} · {selection.permutations:,} flips,"
        f" p is at least {three_digits(max(2.0 ** (1 - result.units[1]), 1 / (selection.permutations + 1)))}"
    )
    notes.append(f"{'; '.join(counted.lines)}; planes that share a neuron repeat it")
    changed = changed_units(caught.session, caught.rows).caption
    notes += [changed] if changed else []
    notes += unit_warnings(caught.session)
    if min(result.units) < FEW_UNITS:
        notes.append(f"fewer than {FEW_UNITS} units to choose or to test on: only what is very clear is found")
    if caught.left_out:
        notes.append(f"{count_of(caught.left_out, 'run')} with vectors that are not finite left out")
    return notes


def separation_table(
    session: Session,
    planes: Sequence[tuple[int, PlaneRecord]],
    pairs: Sequence[tuple[str, str]],
    family: str,
    seed: int = 0,
) -> TableFigure:
    """Whether planes of two coordinates separate groups, as the finder tests it, on every unit that is looked at.

    Args:
        planes: with their numbers; those that are no two coordinates, or that hold nothing but what was set, have none.
        pairs: of groups, by name.
        family: that its tests belong to in the session's ledger.

    Raises:
        ExplorerError: no vectors, no such group, too few units.
    """
    rows: list[tuple[CellValue, ...]] = []
    tests: list[ComputedTest] = []
    notes: list[str] = []
    for number, plane in planes:
        if not (isinstance(plane.a, int) and isinstance(plane.b, int)):
            notes.append(f"plane {number} is not of two coordinates, which is what is tested here")
            continue
        caught = captured(session, _sites(session, plane.site))
        for labels in pairs:
            either = np.concatenate(compared_groups(caught, labels).runs)
            alike = caught.over(alike_tokens(session, caught.rows[either]))
            groups = compared_groups(alike, labels)
            used = np.unique(alike.condition[np.concatenate(groups.runs)])
            held = [axis for axis, where in edited(session, plane.site).items() if where[used].any()]
            free = [axis for axis in (plane.a, plane.b) if axis not in held]
            name = f"{groups.labels[0]} {MINUS} {groups.labels[1]}"
            if not free:
                notes.append(f"plane {number}: both coordinates were set by design, so they are no evidence")
                continue
            single = len(free) == 1
            pair = (plane.a, plane.b) if not single else (plane.a + plane.b - free[0], free[0])
            values = _natural(alike, plane.site, groups.runs)
            tested, both, exchanged = separated(alike, values, groups, pair, PERMUTATIONS, seed, single=single)
            p = float(tested.p[0])
            of = {"plane": list(plane.key), "groups": sorted(groups.labels), "seen": _seen_words(session)}
            tests.append(ComputedTest("separation", of, p))
            notes += [_grouped(groups), f"p: {exchanged} · {PERMUTATIONS:,} permutations, seed {seed}"]
            if single:
                caption = coordinate_caption(plane.site, pair[0])
                notes.append(f"plane {number}: {caption} was set by design; the other coordinate's t² alone is tested")
            extra = (as_cell(both.value[0]), as_cell(both.p[0])) if both is not None else (None, None)
            rows.append((name, number, as_cell(tested.t2[0]), as_cell(tested.statistic[0]), as_cell(p), None, *extra))
    q: list[CellValue] = [None] * len(rows)
    if tests:
        counted = record_tests(session, tests, family)
        q = [as_cell(value) for value in counted.q]
        notes.append(counted.caption)
    return TableFigure(
        "separation",
        "Whether the planes separate the groups, as the finder tests it",
        table_columns(
            "difference::text; plane::index; t2:T²; statistic:gain tested; p::p; q::p; synergy; p_synergy:p synergy:p"
        ),
        tuple((*row[:5], value, *row[6:]) for row, value in zip(rows, q, strict=True)),
        tuple(dict.fromkeys([*notes, _MEANS["separation"]])),
    )


def _seen_words(session: Session) -> str:
    return "kept for confirmation" if session.confirms else "explored"
