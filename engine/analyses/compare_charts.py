"""Compared sessions by the value: small multiples, a panel a measure, and one for every quantity that values are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.compare_sessions import ComparedSessions
from srm_explorer.engine.analyses.measured_session import NOT_SCORED, Estimate, MeasuredSession
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.captions import value_caption
from srm_explorer.engine.figures.curves import Curve, CurveBand, LegendEntry
from srm_explorer.engine.figures.dose import PHASE_AXIS, DoseFigure, DosePanel, DoseSeries, dose_from_session
from srm_explorer.engine.figures.groups import baseline_runs
from srm_explorer.engine.figures.numbers import Axis, axis_from_zero, count_of, round_axis, short, three_digits

Floats = NDArray[np.float64]
Measure: TypeAlias = Literal["amplitude", "changed", "kl", "phase", "share", "norm", "energy"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
_OF_DOSE: tuple[Measure, ...] = ("phase", "share", "norm", "energy")
"""Those that a session's own dose chart has, by the same words."""
FEW = 4
"""Sessions whose intervals can be told apart on one panel."""


@dataclass(frozen=True, eq=False)
class _Line:
    """One measure of one session over its values.

    Attributes:
        session: its place among those compared.
        ends: [2, value] of its intervals; None where it has none.
    """

    session: int
    label: str
    quantity: str
    x: Floats
    y: Floats
    ends: Floats | None
    baseline: float | None


def value_charts(
    compared: ComparedSessions, threshold: float, only: Measure | None = None, *, score: str = "score it"
) -> DoseFigure:
    """Small multiples of compared sessions over their values, every one in its colour.

    Sessions whose values are one quantity share a panel; others have panels of their own, with the same measure on the
    same axis, since a clamp's values and a scale's lie on no common one.

    Args:
        threshold: cosine that the largest share is above.
        only: the one measure; all by default.
        score: what is to be done where KL is not scored.

    Raises:
        ExplorerError: no session has a value that varies.
    """
    lines: dict[Measure, list[_Line]] = {measure: [] for measure in MEASURES}
    quantities: dict[str, None] = {}
    for at, each in enumerate(compared.measured):
        if compared.by_value[at]:
            quantities[value_caption(each.session.spec)] = None
            _measure(compared, at, threshold, lines)
    if not quantities:
        what = "no single value varies in any of these sessions, so nothing is drawn over it"
        raise ExplorerError(what, remedy="what each did is in the table")
    chosen: tuple[Measure, ...] = MEASURES if only is None else (only,)
    panels = [
        panel
        for measure in chosen
        for panel in _panels(compared, measure, threshold, lines[measure], [*quantities], score)
    ]
    drawn = {line.session: line.label for known in lines.values() for line in known}
    first = next(iter(quantities))
    still = [each.name for at, each in enumerate(compared.measured) if at not in drawn]
    return DoseFigure(
        title=f"{count_of(len(compared.measured), 'session')} · by the value",
        value_label=first if len(quantities) == 1 else "value",
        values=_values_axis([line for known in lines.values() for line in known]),
        panels=tuple(panels),
        legend=tuple(_entry(each, at) for at, each in enumerate(compared.measured) if at in drawn),
        warnings=(f"no single value varies in {', '.join(still)}: see the table",) if still else (),
    )


def _entry(each: MeasuredSession, at: int) -> LegendEntry:
    amplitude = each.amplitude
    told = () if amplitude is None else (f"A {three_digits(amplitude.value)}",)
    runs = f"{count_of(len(each.pairs.units), 'unit')} · {count_of(len(each.runs), 'run')}"
    return LegendEntry(each.name, "pooled", (*told, runs), session=at)


def _measure(compared: ComparedSessions, at: int, threshold: float, lines: Mapping[Measure, list[_Line]]) -> None:
    """Add what is known of a session."""
    each = compared.measured[at]
    quantity = value_caption(each.session.spec)
    values = np.array([value for value, _, _ in compared.by_value[at]], np.float64)
    of: dict[Measure, list[Estimate | None]] = {
        "amplitude": [part.amplitude for _, _, part in compared.by_value[at]],
        "changed": [part.changed for _, _, part in compared.by_value[at]],
        "kl": [part.kl for _, _, part in compared.by_value[at]],
    }
    level = baseline_amplitude(each)
    for measure, estimates in of.items():
        if any(estimate is not None for estimate in estimates):
            y, low, high = (
                np.array([np.nan if cell is None else cell for cell in cells], np.float64)
                for cells in zip(*(one.cells if one else (None, None, None) for one in estimates), strict=True)
            )
            ends = np.stack([low, high])
            base = level if measure == "amplitude" else None
            line = _Line(at, each.name, quantity, values, y, ends if np.isfinite(ends).any() else None, base)
            lines[measure].append(line)
    if each.plane is None:
        return
    try:
        figure = dose_from_session(each.session, each.plane, threshold)
    except ExplorerError:
        return
    for panel in figure.panels:
        for known in _OF_DOSE:
            if panel.label != _label(known, threshold):
                continue
            curve = panel.curve
            lines[known].append(_Line(at, each.name, quantity, curve.x, curve.y, None, panel.baseline))


def baseline_amplitude(each: MeasuredSession) -> float | None:
    """Amplitude of a session's baseline in its plane; None where it has none."""
    plane, rows = each.plane, baseline_runs(each.session)
    if plane is None or not rows.size:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        xy = plane.xy[rows] / np.array(plane.norm, np.float64)[rows, None]
    xy = xy[np.isfinite(xy).all(axis=1)]
    return float(np.hypot(*xy.mean(axis=0))) if len(xy) else None


def _panels(
    compared: ComparedSessions,
    measure: Measure,
    threshold: float,
    lines: Sequence[_Line],
    quantities: Sequence[str],
    score: str,
) -> list[DosePanel]:
    """The panels of a measure, one a quantity; where no session has it, one that says why."""
    label = _label(measure, threshold)
    note = _note(compared, measure, score)
    if not lines:
        nothing = Curve(compared.names[0], np.empty(0), np.empty(0))
        return [DosePanel(label, nothing, None, Axis(0.0, 1.0, (), ()), connected=True, note=note)] if note else []
    is_phase = measure == "phase"
    bars = len(compared.measured) <= FEW
    reached = [value for line in lines for value in (*line.y.tolist(), line.baseline or 0.0)]
    reached += [end for line in lines if bars and line.ends is not None for end in line.ends.ravel().tolist()]
    axis = PHASE_AXIS if is_phase else axis_from_zero(reached, most=4)
    panels: list[DosePanel] = []
    for quantity in quantities:
        here = [line for line in lines if line.quantity == quantity]
        if not here:
            continue
        first, *others = here
        panels.append(
            DosePanel(
                label=label,
                curve=Curve(first.label, first.x, first.y),
                baseline=first.baseline,
                axis=axis,
                connected=not is_phase,
                others=tuple(DoseSeries(Curve(o.label, o.x, o.y), o.baseline, o.label) for o in others),
                bands=tuple(CurveBand(o.label, o.x, *o.ends) for o in here if bars and o.ends is not None),
                values=_values_axis(here) if len(quantities) > 1 else None,
                value_label=quantity.replace(" value", "") if len(quantities) > 1 else "",
                baseline_label=first.label,
                note=note,
            )
        )
        note = ""
    return panels


def _label(measure: Measure, threshold: float) -> str:
    labels: dict[Measure, str] = {
        "amplitude": "amplitude A",
        "changed": "share changed",
        "kl": "KL nats",
        "phase": "phase φ",
        "share": f"largest share > {short(threshold)}",
        "norm": "mean norm",
        "energy": "mean in-plane energy",
    }
    return labels[measure]


def _note(compared: ComparedSessions, measure: Measure, score: str) -> str:
    """Which sessions have no such measure, and what to do about it; empty where all have it."""
    without = {each.name: told for each in compared.measured if (told := each.missing.get(measure))}
    if not without:
        return ""
    reasons = [told for told in without.values() if not told.startswith(NOT_SCORED)]
    of = len(compared.measured)
    some = "" if len(without) == of else f"{len(without)} of {of} "
    return f"{some}{NOT_SCORED}: {score}" if not reasons else f"{some}not known"


def _values_axis(lines: Sequence[_Line]) -> Axis:
    return round_axis([value for line in lines for value in line.x.tolist()], most=5)
