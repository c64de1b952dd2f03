"""The study of dose and response: how a plane's quantities follow the value, unit by unit, and what could be seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.beyond_arithmetic import residual_points
from srm_explorer.engine.analyses.captured import edited, is_steered
from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.figures.captions import plane_captions, plane_title, value_caption
from srm_explorer.engine.figures.dose import run_values, unit_quantities
from srm_explorer.engine.figures.groups import points_of
from srm_explorer.engine.figures.numbers import count_of, short, three_digits
from srm_explorer.engine.figures.table import CellValue, TableFigure, as_cell, table_columns
from srm_explorer.engine.session import (
    ComputedTest,
    Counted,
    PlaneRecord,
    Session,
    load_session,
    record_tests,
    sessions_in,
    unit_warnings,
    units_of,
)
from srm_explorer.engine.session.lengths import alike, differ_in_length
from srm_explorer.engine.stats.dose_response import (
    MonotoneTest,
    Saturation,
    curve_slopes,
    monotone_test,
    saturation,
    unit_curves,
    whole_curves,
    without_rounding,
)
from srm_explorer.engine.stats.equivalence import POWER, detectable_effect, equivalence_test, spread_of, units_needed
from srm_explorer.engine.stats.permutation import FEWEST_UNITS
from srm_explorer.engine.stats.resampling import MOST_RESAMPLES
from srm_explorer.engine.stats.unit_means import LEAST_UNITS, MeanEffect, mean_effect

Floats = NDArray[np.float64]

FAMILY = "dose"
SETTINGS = ("plane", "interest", "resamples", "seed", "family")
BEYOND = "beyond arithmetic"
OF_UNIT_VECTORS = ("energy", "cos_a", "cos_b", "beyond_a", "beyond_b")
MOST_READ = 20
"""Sessions that are looked at for one of the same kind."""


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """How one quantity follows the value.

    Attributes:
        key: "a", "b", "norm", "energy", "cos_a", "cos_b", "beyond_a" or "beyond_b".
        title: as it is shown.
        tested: False where the experiment set it, at least in part, so that a p would say nothing.
        curves: [unit, value] mean of a unit's runs, NaN where there is none.
        slopes: [unit] least-squares slope of each curve that has every value; see `whole_curves`.
        change: the mean slope times the range of the values, with its interval; its p where it is tested.
        monotone: the mean curve against a constant one.
        saturation: the curve with a plateau, or why there is none.
    """

    key: str
    title: str
    tested: bool
    levels: Floats
    curves: Floats
    slopes: Floats
    change: MeanEffect
    monotone: MonotoneTest
    saturation: Saturation

    @property
    def slope(self) -> float:
        return float(self.change.mean) / float(np.ptp(self.levels))


def dose_responses(
    session: Session, plane: PlaneRecord, *, resamples: int = 10_000, seed: int = 0
) -> tuple[DoseResponse, ...]:
    """How every quantity of a plane follows the value, over units.

    Raises:
        ExplorerError: no single value varies, or fewer than two values were run.
    """
    values = run_values(session)
    levels = np.unique(values[np.isfinite(values)])
    if len(levels) < 2:
        crossed = session.spec.grid and not len(levels)
        what = "its interventions are crossed, so no single value varies" if crossed else "no two values were run"
        raise ExplorerError(what, where=session.name, remedy="sweep one intervention over several values")
    units = units_of(session)
    # Over as many tokens as all runs of a prompt have: a mean over more of them is shorter by itself.
    common = alike(session, plane, np.flatnonzero(np.isfinite(values)))
    norms = np.array(common.norm, np.float64)
    longest = float(norms[np.isfinite(norms) & session.seen].max(initial=0.0))
    responses: list[DoseResponse] = []
    for key, title, quantity, is_tested in _quantities(session, plane, common):
        _, curves = unit_curves(values, quantity, units.of_run, len(units))
        curves = without_rounding(curves, 1.0 if key in OF_UNIT_VECTORS else longest)
        slopes = curve_slopes(levels, whole_curves(curves))
        change = mean_effect(slopes * np.ptp(levels), units.stratum, resamples=resamples, seed=seed)
        responses.append(
            DoseResponse(
                key,
                title,
                is_tested,
                levels,
                curves,
                slopes,
                change,
                monotone_test(curves, flips=min(resamples, 10_000), seed=seed),
                saturation(levels, curves, units.stratum, seed=seed),
            )
        )
    return tuple(responses)


def dose_study(session: Session, arguments: Arguments) -> Findings:
    """Slopes, monotonicity and saturation of a plane's quantities, and a slope a unit.

    Args:
        arguments: "plane" (from 1), "interest" (the smallest change of interest, from the lowest value to the highest,
            in the units of the chart; tested for equivalence where it is given), "resamples", "seed", and "family" of
            the ledger.

    Raises:
        ExplorerError: an argument that is none, no such plane, or no value that varies.
    """
    settings = StudyArguments(arguments, SETTINGS, "dose")
    number = settings.whole("plane", 1, least=1)
    session.check_plane(number)
    plane = session.planes[number - 1]
    resamples = settings.whole("resamples", 10_000, least=100, most=MOST_RESAMPLES)
    seed = settings.whole("seed", 0, least=0)
    interest = _interest(arguments.get("interest"))
    responses = dose_responses(session, plane, resamples=resamples, seed=seed)
    counted = _recorded(session, plane, responses, settings.text("family") or FAMILY)
    tables = (
        _slope_table(session, plane, responses, counted, interest, resamples, seed),
        _saturation_table(responses),
        _unit_table(session, responses),
    )
    return findings_of(*tables, plane=number, interest=interest)


def _interest(value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        bound = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else np.nan
    except ValueError:
        bound = np.nan
    if not (np.isfinite(bound) and bound > 0):
        remedy = "give a number above 0, in the units of the chart"
        raise ExplorerError(f"the smallest change of interest is {value!r}", remedy=remedy)
    return bound


def _quantities(session: Session, plane: PlaneRecord, common: PlaneRecord) -> list[tuple[str, str, Floats, bool]]:
    """Key, title, [run] number and whether the experiment left it alone, of every quantity of a plane.

    Args:
        common: where the runs lie over as many tokens as they are compared over.
    """
    a, b = plane_captions(plane)
    own = edited(session, plane.site)
    steered = is_steered(session, plane.site)
    untouched = not own and not steered and not session.is_unknown("interventions")
    free = [
        untouched or (isinstance(along, int) and along not in own and not steered and bool(session.spec.interventions))
        for along in (plane.a, plane.b)
    ]
    raw = unit_quantities(common, points_of(common))
    quantities = [
        ("a", f"mean {a}", raw["mean"], free[0]),
        ("b", f"mean {b}", np.where(np.isfinite(raw["norm"]), np.array(common.y, np.float64), np.nan), free[1]),
        ("norm", "norm", raw["norm"], untouched),
        ("energy", "in-plane energy", raw["energy"], untouched),
        ("cos_a", f"cos {a}", raw["cos_a"], untouched),
        ("cos_b", f"cos {b}", raw["cos_b"], untouched),
    ]
    beyond = residual_points(session, session.planes.index(plane))
    if beyond is not None:
        quantities += [
            (f"beyond_{axis}", f"cos {name} {BEYOND}", beyond[:, at], True)
            for at, (axis, name) in enumerate((("a", a), ("b", b)))
        ]
    return quantities


def _recorded(session: Session, plane: PlaneRecord, responses: tuple[DoseResponse, ...], family: str) -> Counted:
    """Write the tests into the ledger, two a quantity: of the slope and of monotony; q over all of the family."""
    tests: list[ComputedTest] = []
    for response in responses:
        of = {"plane": list(plane.key), "quantity": response.key}
        p = [float(response.change.p), response.monotone.p] if response.tested else [np.nan, np.nan]
        tests += [ComputedTest(name, of, one) for name, one in zip(("slope", "monotone"), p, strict=True)]
    return record_tests(session, tests, family)


_SLOPES = table_columns(
    "quantity::text; units::whole:1; slope; change; change_low:from; change_high:to; p::p; q::p:2; "
    "detectable:detectable::3; monotone::text:2; monotone_p:p symmetry:p:2; monotone_q:q:p:4; "
    "explained::percent:5"
)
_EQUIVALENT = table_columns("equivalent_p:p equivalent:p")


def _slope_table(
    session: Session,
    plane: PlaneRecord,
    responses: tuple[DoseResponse, ...],
    counted: Counted,
    interest: float | None,
    resamples: int,
    seed: int,
) -> TableFigure:
    stratum = units_of(session).stratum
    rows: list[tuple[CellValue, ...]] = []
    for at, response in enumerate(responses):
        change, monotone = response.change, response.monotone
        scaled = response.slopes * np.ptp(response.levels)
        spread, units = spread_of(scaled, stratum)
        q = [float(counted.q[2 * at + part]) for part in range(2)]
        row: list[CellValue] = [
            response.title,
            units,
            response.slope,
            *map(as_cell, (change.mean, change.low, change.high)),
        ]
        row += [as_cell(change.p), as_cell(q[0])] if response.tested else [None, None]
        row.append(as_cell(spread * detectable_effect(units)) if response.tested and spread > 0 else None)
        row.append(_trend(monotone))
        row += [as_cell(monotone.p), as_cell(q[1])] if response.tested else [None, None]
        row.append(as_cell(monotone.explained))
        if interest is not None:
            within = (
                equivalence_test(scaled, interest, stratum, resamples=resamples, seed=seed) if response.tested else None
            )
            row.append(None if within is None else as_cell(within.p))
        rows.append(tuple(row))
    columns = _SLOPES if interest is None else (*_SLOPES[:9], *_EQUIVALENT, *_SLOPES[9:])
    if interest is not None:
        rows = [(*row[:9], row[-1], *row[9:-1]) for row in rows]
    notes = _slope_notes(session, responses, counted, interest, resamples, seed)
    title = f"dose and response by {value_caption(session.spec)} · {plane_title(plane)}"
    return TableFigure("dose", title, columns, tuple(rows), notes)


def _slope_notes(
    session: Session,
    responses: tuple[DoseResponse, ...],
    counted: Counted,
    interest: float | None,
    resamples: int,
    seed: int,
) -> tuple[str, ...]:
    low, high = responses[0].levels[[0, -1]].tolist()
    notes = [
        f"slope: of each unit's curve by least squares, a value's runs averaged first; change: the mean slope from"
        f" {short(low)} to {short(high)}; from, to: its 95 % interval; p of the mean: a studentised bootstrap of"
        f" units ({resamples:,} resamples, seed {seed})",
        f"detectable: the smallest change that so many units find in {POWER * 100:.0f} % of such experiments, by their"
        " own spread (two-sided .05); a p above .05 shows no absence of what is smaller",
        "p symmetry: a monotone curve against a constant one, whole units' deviations flipped: symmetric, not the mean"
        " alone; explained: of the mean curve's variation",
    ]
    if any(not response.tested for response in responses):
        notes.insert(0, "without p: the experiment set it, at least in part, or what it did is not known")
    if interest is not None:
        notes.append(
            f"p equivalent: two one-sided tests that the change lies within ±{three_digits(interest)}, in the"
            " quantity's units: .05 or below shows it"
        )
    fewest = min(int(response.change.units) for response in responses)
    if fewest < len(units_of(session)):
        lacking = any(np.isnan(response.curves[np.isfinite(response.slopes)]).any() for response in responses)
        notes.append(
            "fewer than 5 units have every value: a slope is over those that its unit has, and not comparable where the"
            " curve is bent"
            if lacking
            else f"up to {count_of(len(units_of(session)) - fewest, 'unit')} without some value left out: a slope over"
            " the few that are left is another quantity"
        )
    if session.is_unknown("tokens"):
        notes.append("how long the texts are is unknown: means over unlike numbers of tokens differ by that alone")
    elif differ_in_length(session.spec, session.seen_runs):
        notes.append(
            "texts differ in length: quantities are over the tokens that all runs of a prompt have, as far as means"
            " over those are kept; the chart is over all tokens"
        )
    units = max(int(response.change.units) for response in responses)
    if units < LEAST_UNITS:
        notes.insert(0, f"{count_of(units, 'unit')}: too few for an interval or a p, {LEAST_UNITS} are needed")
    return (*notes, *counted.lines, *unit_warnings(session))


_CURVES = table_columns(
    "quantity::text; shape::text:2; units::whole:3; start; start_low:from::1; start_high:to::1; plateau; "
    "plateau_low:from::1; plateau_high:to::1; half:half at; half_low:from::1; half_high:to::1; fits::percent:4; "
    "why:no curve:text"
)


def _saturation_table(responses: tuple[DoseResponse, ...]) -> TableFigure:
    rows: list[tuple[CellValue, ...]] = []
    for response in responses:
        curve = response.saturation
        ends = (
            *(curve.start, *curve.start_ends),
            *(curve.plateau, *curve.plateau_ends),
            *(curve.half, *curve.half_ends),
        )
        share = curve.converged if not curve.refused else None
        rows.append((response.title, curve.shape, curve.units, *map(as_cell, ends), share, curve.refused))
    notes = (
        "least squares on the units' mean curve and on that of every resample of units: percentile intervals, 95 %,"
        " widened for few units; values that not every unit has leave that unit out",
        "logistic: from start to plateau, half of the way at 'half at'; emax: start at 0, half of the way to the"
        " plateau at that distance from 0",
    )
    return TableFigure("saturation", "curves with a plateau", _CURVES, tuple(rows), notes)


def _unit_table(session: Session, responses: tuple[DoseResponse, ...]) -> TableFigure:
    columns = table_columns("unit::text; values::whole")
    columns += table_columns("; ".join(f"slope_{each.key}:slope {each.title}::1" for each in responses))
    units = units_of(session)
    rows: list[tuple[CellValue, ...]] = []
    seen: list[int] = np.unique(units.of_run[session.seen]).tolist()
    for unit in seen:
        values = int(np.isfinite(responses[0].curves[unit]).sum())
        rows.append((units.names[unit], values, *(as_cell(each.slopes[unit]) for each in responses)))
    return TableFigure(
        "dose_units", "slopes of units", tuple(columns), tuple(rows), ("in the quantity's units a unit of the value",)
    )


def _trend(monotone: MonotoneTest) -> str | None:
    if monotone.units < FEWEST_UNITS:
        return None
    return ("rising" if monotone.rising else "falling") if np.isfinite(monotone.explained) else "flat"


@dataclass(frozen=True)
class Spread:
    """How far units of an earlier session lie apart in one quantity's change over the values.

    Attributes:
        quantity: as the dose table names it.
        spread: standard deviation over units.
        change: their mean.
        units: how many.
    """

    quantity: str
    spread: float
    change: float
    units: int

    def detectable(self, units: int) -> float | None:
        """The smallest change that so many units would find, in the quantity's units."""
        return as_cell(self.spread * detectable_effect(units))

    def needed(self, change: float) -> int | None:
        """How many units would find a change."""
        return units_needed(change / self.spread) if self.spread > 0 else None


def is_alike(one: Experiment, other: Experiment) -> bool:
    """Whether experiments differ in prompts and controls alone, so that the spread of one tells of the other."""
    first, second = (
        (e.model.name, e.interventions, e.grid, e.generation.tokens, e.capture, e.planes[:1]) for e in (one, other)
    )
    return bool(one.planes) and first == second


def spreads_before(experiment: Experiment, folder: Path) -> tuple[Session, tuple[Spread, ...]] | None:
    """The spreads of the newest session of the same kind, see `is_alike`; None where there is none.

    Args:
        experiment: to be planned, which has a plane.
        folder: of sessions; the newest `MOST_READ` are looked at.
    """
    for path in sessions_in(folder)[:MOST_READ]:
        try:
            session = load_session(path)
            if not (session.planes and is_alike(experiment, session.spec)):
                continue
            responses = dose_responses(session, session.planes[0], resamples=100)
        except ExplorerError:
            continue
        stratum = units_of(session).stratum
        spreads: list[Spread] = []
        for response in responses:
            spread, units = spread_of(response.slopes * np.ptp(response.levels), stratum)
            if response.tested and units >= LEAST_UNITS and np.isfinite(spread):
                spreads.append(Spread(response.title, spread, float(response.change.mean), units))
        if spreads:
            return session, tuple(spreads)
    return None
