"""Two to eight sessions beside one another: what each did, with its interval, and each less the first.

Nothing of them has to be alike: every session is measured in a plane of its own, against its own baseline. What needs
the same prompts or the same axes is refused line by line, and what can be told without them stands there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from srm_explorer.engine.analyses.compare import FAMILY, compare_groups, recorded, recorded_in
from srm_explorer.engine.analyses.compare_match import ComparedPair, MatchedRuns, Side, matched
from srm_explorer.engine.analyses.compare_tables import tested_size
from srm_explorer.engine.analyses.measured_session import Estimate, Floats, MeasuredSession
from srm_explorer.engine.analyses.paired_texts import PairedTexts
from srm_explorer.engine.analyses.registry import Findings, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.captions import intervention_captions, plane_title
from srm_explorer.engine.figures.comparison import Comparison, compare
from srm_explorer.engine.figures.groups import group_choice, points_of, run_groups
from srm_explorer.engine.figures.numbers import short
from srm_explorer.engine.figures.table import CellValue, TableColumn, TableFigure, table_columns
from srm_explorer.engine.session import ComputedTest, Counted, PlaneRecord, Session, check_family
from srm_explorer.engine.stats.bands import difference_bands
from srm_explorer.engine.stats.collapse import collapse_rule
from srm_explorer.engine.stats.groups import BASELINE
from srm_explorer.engine.stats.regions import amplitude_difference
from srm_explorer.engine.stats.resampling import LEVEL, RESAMPLES, UnitTotals, unit_totals
from srm_explorer.engine.stats.unit_means import mean_effect

APART = "unpaired"


NONE: tuple[CellValue, ...] = (None, None, None)


@dataclass(frozen=True, eq=False)
class Against:
    """One measure of a session less that of the first.

    Attributes:
        how: how units were matched, or that they were not.
        refused: what could not be told and what to do; empty where all was.
        tested: what p is of, which the ledgers of both count: a difference, or a test.
    """

    name: str
    measure: str
    estimate: Estimate | None = None
    p: float | None = None
    q: float | None = None
    how: str = ""
    refused: str = ""
    tested: ComparedPair | ComputedTest | None = None


@dataclass(frozen=True, eq=False)
class Beyond:
    """A session less its own baseline in its plane: how far the mean moved, and what of it arithmetic does not say."""

    shift: Estimate | None = None
    beyond: Estimate | None = None
    pair: ComparedPair | None = None

    @property
    def cells(self) -> tuple[CellValue, ...]:
        """p, q, and what they are of."""
        return NONE if self.pair is None else (self.pair.p, self.pair.q, self.pair.tested)


@dataclass(frozen=True, eq=False)
class ComparedSessions:
    """Sessions compared: the tables of `compare_sessions`, and what they are made of.

    Attributes:
        comparison: names, planes, and what differs between the experiments.
        row: which of its rows of planes.
        measured: one a session.
        beyond: one a session.
        against: every measure of every session but the first.
        counted: the family of each session, by name, that q is over; without those on which nothing was tested.
    """

    comparison: Comparison
    row: int
    measured: tuple[MeasuredSession, ...]
    beyond: tuple[Beyond, ...]
    against: tuple[Against, ...]
    counted: Mapping[str, Counted] = field(default_factory=dict[str, Counted])

    @property
    def tables(self) -> tuple[TableFigure, ...]:
        return self.effects_table(), self.against_table(), values_table(self), spec_table(self.comparison)

    @property
    def names(self) -> tuple[str, ...]:
        return self.comparison.names

    @cached_property
    def by_value(self) -> tuple[list[tuple[float, str, MeasuredSession]], ...]:
        """See `values_of`; one a session."""
        return tuple(map(values_of, self.measured))

    def effects_table(self) -> TableFigure:
        """What every session did, a row a session."""
        rows: list[tuple[CellValue, ...]] = []
        for each, beyond in zip(self.measured, self.beyond, strict=True):
            estimates = (each.amplitude, each.changed, each.kl, beyond.shift, beyond.beyond)
            cells = [cell for one in estimates for cell in (NONE if one is None else one.cells)]
            what = "; ".join(intervention_captions(each.session.spec))
            plane = "" if each.plane is None else plane_title(each.plane)
            told = "; ".join(dict.fromkeys(each.missing.values()))
            rows.append((each.name, *cells, *beyond.cells, len(each.pairs.units), what, plane, told))
        notes = [
            *self.comparison.notes,
            "all values of a session together; every session against its own baseline, in its own plane",
            "A: length of the mean of the cosines; changed: share of runs whose text is not the baseline's; "
            "KL(untouched || condition) a token; from, to: 95 % intervals over units",
            "shift: length of the mean less the baseline's; beyond arithmetic: what of it the experiment did not set, "
            "p: signs of whole units flipped (symmetry)",
            *(f"{name}: {line}" for name, counted in self.counted.items() for line in counted.lines),
        ]
        return TableFigure("sessions", "What each session did", _EFFECTS, tuple(rows), tuple(dict.fromkeys(notes)))

    def against_table(self) -> TableFigure:
        """Every session but the first, less the first; a row a session and measure."""
        rows = tuple(
            (
                line.name,
                line.measure,
                *(NONE if line.estimate is None else line.estimate.cells),
                line.p,
                line.q,
                line.how,
                line.refused,
            )
            for line in self.against
        )
        notes = (
            "paired: of units that both have, prompt by prompt; unpaired: either session resampled by itself",
            f"amplitudes: at least {short(100 * LEVEL)} %, from the ranges of both (MOVER), each in its own plane",
        )
        return TableFigure("against", f"Each session less {self.comparison.names[0]}", _AGAINST, rows, notes)


_EFFECTS = (
    *table_columns("session::text; amplitude:A; amplitude_low:from; amplitude_high:to"),
    *table_columns("changed:changed:percent; changed_low:from:percent:1; changed_high:to:percent:1"),
    *table_columns("kl:KL nats; kl_low:from::1; kl_high:to::1"),
    *table_columns("shift:shift::3; shift_low:from::3; shift_high:to::3; beyond:beyond arithmetic::4"),
    *table_columns("beyond_low:from::4; beyond_high:to::4; p::p:2; q::p:2; tested:p is of:text:5"),
    *table_columns("units::whole:2; done:what was done:text:6; plane::text:6; refused:not there:text"),
)
_AGAINST = table_columns(
    "session::text; measure::text; difference; low:from; high:to; p::p; q::p:2; how::text:1; refused::text"
)


def compare_sessions(
    sessions: Sequence[Session],
    *,
    plane: int = 1,
    resamples: int = RESAMPLES,
    seed: int = 0,
    family: str = FAMILY,
) -> Findings:
    """Compare two to eight sessions of any neurons, layers, models and values.

    Every session is measured by itself, against its own baseline and in its own plane, then less the first one. The
    tests go into the ledger of each session they are made on; the q of a test on two is the larger of both.

    Args:
        plane: which of the planes that all have, from 1; where they have none in common, which of each one's own.
        resamples: of units.
        seed: of all that is drawn.
        family: that the tests belong to.

    Returns:
        Tables "sessions" (effect and interval, a row a session), "against" (each less the first), "values" (by the
        value, where one varies) and "spec"; "families" by session; "names".

    Raises:
        ExplorerError: fewer than two sessions or more than eight, or there is no such plane.
    """
    comparison = compare(*sessions)
    row = row_of(comparison, plane)
    compared = compared_sessions(comparison, row, resamples=resamples, seed=seed, family=family)
    families = {name: counted.to_dict() for name, counted in compared.counted.items()}
    return findings_of(*compared.tables, names=list(comparison.names), families=families)


def row_of(comparison: Comparison, plane: int) -> int:
    """A row of planes by its number from 1; 0 where there are no planes at all."""
    if plane > max(1, len(comparison.planes)):
        remedy = f"choose 1 to {len(comparison.planes)}" if comparison.planes else "leave --plane out"
        raise ExplorerError(f"there is no plane {plane} of {', '.join(comparison.names)}", remedy=remedy)
    return plane - 1


def compared_sessions(
    comparison: Comparison, row: int = 0, *, resamples: int = RESAMPLES, seed: int = 0, family: str = FAMILY
) -> ComparedSessions:
    """Measure sessions in a row of their planes; see `compare_sessions`."""
    check_family(family)
    planes = comparison.planes[row] if comparison.planes else (None,) * len(comparison.sessions)
    measured = tuple(
        MeasuredSession(session, name, plane, PairedTexts.of(session, collapse_rule(None)), resamples, seed)
        for session, name, plane in zip(comparison.sessions, comparison.names, planes, strict=True)
    )
    beyond = [_beyond(each, family) for each in measured]
    first, *others = measured
    against = [line for other in others for line in _against(comparison, row, first, other, family)]
    sessions = {each.name: each.session for each in measured}
    # Every q is over all that this made, so they are read when all of it is written down: the other tests were already.
    for line in against:
        if isinstance(line.tested, ComputedTest):
            recorded_in((sessions[line.name], first.session), [line.tested], family)
    counted: dict[str, Counted] = {}
    for at, (each, known) in enumerate(zip(measured, beyond, strict=True)):
        if known.pair is not None:
            (pair,) = recorded([known.pair], family)
            beyond[at] = replace(known, pair=pair)
            counted[each.name] = pair.counted or counted[each.name]
    for at, line in enumerate(against):
        if isinstance(line.tested, ComparedPair):
            (pair,) = recorded([line.tested], family)
            against[at] = replace(line, q=pair.q)
        elif line.tested is not None:
            both = recorded_in((sessions[line.name], first.session), [line.tested], family)
            q = max(float(np.asarray(one.q[0])) for one in both)
            against[at] = replace(line, q=None if line.p is None else q)
            counted |= {line.name: both[0], first.name: both[1]}
    return ComparedSessions(comparison, row, measured, tuple(beyond), tuple(against), counted)


def _beyond(each: MeasuredSession, family: str) -> Beyond:
    """A session less its baseline, which its own ledger counts."""
    session = each.session
    if each.plane is None or not each.group or BASELINE not in run_groups(session, ()):
        return Beyond()
    groups = [(each.group, BASELINE)]
    try:
        (pair,) = compare_groups(
            session, session, each.plane, groups, (), resamples=each.resamples, seed=each.seed, family=family
        )
    except ExplorerError:
        return Beyond()
    region, size = pair.estimate.region, float(np.hypot(*pair.estimate.difference))
    shift = Estimate(size) if region is None else Estimate.of(size, *region.amplitude)
    length, low, high = tested_size(pair)
    return Beyond(shift, None if length is None else Estimate(length, low, high), pair)


def _against(
    comparison: Comparison, row: int, first: MeasuredSession, other: MeasuredSession, family: str
) -> list[Against]:
    """Every measure of a session less the first one's."""
    if not (first.group and other.group):
        lacking = first if not first.group else other
        return [Against(other.name, "all", refused=lacking.missing["amplitude"])]
    match = _matched(first, other)
    lines = [_mean_line(comparison, row, first, other, family), _amplitude_line(first, other, match)]
    return [*lines, _changed_line(first, other, match), _kl_line(first, other, match)]


def _whole(session: Session) -> PlaneRecord:
    """A plane in which every run is finite: which runs of texts are matched has nothing to do with vectors."""
    runs = np.ones(len(session.runs))
    return PlaneRecord.of("", 0, 1, np.column_stack([runs, 0 * runs]), runs)


def _matched(first: MeasuredSession, other: MeasuredSession) -> MatchedRuns:
    """The runs of both, those whose text stands beside a baseline's; the second session's first."""
    sides = [
        Side(each.session, _whole(each.session), group_choice(each.session, each.group)) for each in (other, first)
    ]
    return matched(*sides)


def _mean_line(
    comparison: Comparison, row: int, first: MeasuredSession, other: MeasuredSession, family: str
) -> Against:
    """The means' difference in a plane that both have; a test of units that both have."""
    measure = "mean (ΔA, ΔB), size"
    plane = comparison.common(row)
    if plane is None or other.plane is None:
        own = [each.name for each in (first, other) if each.plane is None]
        of_texts = [each.name for each in (first, other) if not each.session.spec.capture.sites]
        if of_texts:
            return Against(other.name, measure, refused=f"{of_texts[0]} holds texts alone, no vectors")
        what = f"{own[0]} has no plane" if own else f"planes differ: {_title(first)}; {_title(other)}"
        remedy = f"srm-explorer planes {(own or [other.session.name])[0]} --add A B adds one"
        return Against(other.name, measure, refused=f"{what}: {remedy}")
    try:
        (pair,) = compare_groups(
            other.session,
            first.session,
            other.plane,
            [(other.group, first.group)],
            (),
            resamples=first.resamples,
            seed=first.seed,
            names=(other.name, first.name),
            family=family,
        )
    except ExplorerError as error:
        return Against(other.name, measure, refused=str(error))
    size, region = float(np.hypot(*pair.estimate.difference)), pair.estimate.region
    estimate = Estimate(size) if region is None else Estimate.of(size, *region.amplitude)
    return Against(other.name, measure, estimate, pair.p, pair.q, _how(pair.matched), _unpaired(pair.matched), pair)


def _title(each: MeasuredSession) -> str:
    return "" if each.plane is None else plane_title(each.plane)


def _correlation(first: MeasuredSession, other: MeasuredSession, match: MatchedRuns) -> float:
    """How the units that both have vary together, each along its session's own mean; 0 where they have none."""
    if not match.paired or first.plane is None or other.plane is None:
        return 0.0
    along: list[Floats] = []
    for plane, rows, units in zip((other.plane, first.plane), match.rows, match.units, strict=True):
        means = unit_totals(points_of(plane).xy[rows], units, len(match.stratum)).unit_means
        along.append(means @ np.nanmean(means, axis=0))
    known = np.isfinite(along).all(axis=0)
    spreads = [float(side[known].std()) if known.any() else 0.0 for side in along]
    return float(np.corrcoef(along[0][known], along[1][known])[0, 1]) if all(spreads) else 0.0


def _amplitude_line(first: MeasuredSession, other: MeasuredSession, match: MatchedRuns) -> Against:
    """The difference of two amplitudes, each in whatever plane."""
    measure = "amplitude A"
    for each in (first, other):
        if each.amplitude is None:
            return Against(other.name, measure, refused=f"{each.name}: {each.missing['amplitude']}")
    assert first.amplitude is not None
    assert other.amplitude is not None
    value = other.amplitude.value - first.amplitude.value
    ends = amplitude_difference(other.region(), first.region(), _correlation(first, other, match))
    few = "" if ends is not None else "too few units for an interval: run more prompts"
    how = "either in its own plane" if ends is not None else ""
    return Against(
        other.name, measure, Estimate(value) if ends is None else Estimate.of(value, *ends), None, None, how, few
    )


def _run_values(each: MeasuredSession, values: Floats) -> Floats:
    """[run of the session] numbers of those runs that stand beside a baseline's text; NaN for the others."""
    table = np.full(len(each.session.runs), np.nan)
    table[each.pairs.rows[each.members]] = values[each.members]
    return table


def _sides(
    first: MeasuredSession, other: MeasuredSession, match: MatchedRuns, values: Sequence[Floats]
) -> list[UnitTotals]:
    """Totals over the units of both, the second session's first."""
    tables = [_run_values(each, numbers) for each, numbers in zip((other, first), values, strict=True)]
    parts = zip(tables, match.rows, match.units, strict=True)
    return [unit_totals(table[rows], units, len(match.stratum)) for table, rows, units in parts]


def _changed_line(first: MeasuredSession, other: MeasuredSession, match: MatchedRuns) -> Against:
    """The difference of the shares of changed texts, of units that both have where they have any."""
    measure = "texts changed"
    for each in (first, other):
        if each.changed is None:
            return Against(other.name, measure, refused=f"{each.name}: {each.missing['changed']}")
    changed = [each.pairs.changed.astype(np.float64) for each in (other, first)]
    side, minus = (totals.averaged for totals in _sides(first, other, match, changed))
    value = _difference(side, minus, paired=match.paired)
    if value is None:
        return Against(other.name, measure, refused="no unit has texts of both: run both on the same prompts")
    band = difference_bands(side, minus, match.stratum, paired=match.paired, resamples=first.resamples, seed=first.seed)
    estimate = Estimate(value) if band is None else Estimate.of(value, float(band[0, 0]), float(band[1, 0]))
    return Against(other.name, measure, estimate, how=_how(match), refused=_unpaired(match))


def _difference(side: UnitTotals, minus: UnitTotals, *, paired: bool) -> float | None:
    used = side.present & minus.present
    parts = [each.only(used) if paired else each for each in (side, minus)]
    if not all(part.present.any() for part in parts):
        return None
    return float(parts[0].mean[0] - parts[1].mean[0])


def _kl_line(first: MeasuredSession, other: MeasuredSession, match: MatchedRuns) -> Against:
    """The difference of KL, of units that both have where they have any, with its p."""
    measure = "KL nats"
    for each in (first, other):
        if each.kl is None:
            return Against(other.name, measure, refused=f"{each.name}: {each.missing['kl']}")
    sides = [side.unit_means[:, 0] for side in _sides(first, other, match, [each.pairs.kl for each in (other, first)])]
    if match.paired:
        values, stratum, minus, minus_stratum = sides[0] - sides[1], match.stratum, None, None
    else:
        known = [np.isfinite(side) for side in sides]
        values, stratum = sides[0][known[0]], match.stratum[known[0]]
        minus, minus_stratum = sides[1][known[1]], match.stratum[known[1]]
    effect = mean_effect(values, stratum, minus, minus_stratum, resamples=first.resamples, seed=first.seed)
    p = float(effect.p) if np.isfinite(effect.p) else None
    of = {"sessions": sorted((first.session.name, other.session.name))}
    test = ComputedTest("difference of KL", of, np.nan if p is None else p)
    estimate = Estimate.of(float(effect.mean), float(effect.low), float(effect.high))
    return Against(other.name, measure, estimate, p, None, _how(match), _unpaired(match), test)


def _how(match: MatchedRuns) -> str:
    return match.summary if match.paired else APART


def _unpaired(match: MatchedRuns) -> str:
    """Why there is no paired test, and what to do; empty where there is one."""
    return "" if match.paired else "no prompt in common, so nothing is paired: run both on the same prompts"


def spec_table(comparison: Comparison) -> TableFigure:
    """What differs between the experiments, a column a session."""
    rows = comparison.fields()
    columns = [TableColumn("field", "field", "text")]
    columns += [TableColumn(f"session_{at}", name, "text") for at, name in enumerate(comparison.names, 1)]
    title = "What differs between the experiments" if rows else "The experiments are the same"
    return TableFigure("spec", title, tuple(columns), rows)


def values_of(each: MeasuredSession) -> list[tuple[float, str, MeasuredSession]]:
    """A session at each of its values alone, ascending: the value, its label; none where no single value varies."""
    if each.session.spec.grid and len(each.session.spec.interventions) > 1:
        return []
    done = {each.session.runs[int(run)].condition for run in each.runs}
    swept = [(condition.value, condition) for condition in each.session.conditions if condition.index in done]
    return [
        (float(value), condition.label, replace(each, condition=condition.index))
        for value, condition in sorted(swept, key=lambda pair: (pair[0] is None, pair[0]))
        if condition.kind == "sweep" and value is not None
    ]


def values_table(compared: ComparedSessions) -> TableFigure:
    """Every measure by the value, a row a session and value."""
    rows: list[tuple[CellValue, ...]] = []
    for each, values in zip(compared.measured, compared.by_value, strict=True):
        for _, label, part in values:
            cells = [cell for one in (part.amplitude, part.changed, part.kl) for cell in (one.cells if one else NONE)]
            rows.append((each.name, label, *cells))
    columns = (*_EFFECTS[:1], *table_columns("value::text"), *_EFFECTS[1:10])
    return TableFigure("values", "What each session did, by the value", columns, tuple(rows))
