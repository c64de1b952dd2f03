"""The dose chart: how the sweep's figures change with the value an intervention was given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.arithmetic import arithmetic_points
from srm_explorer.engine.figures.bands import DoseBand, PlaneBands
from srm_explorer.engine.figures.captions import plane_captions, plane_title, pooled_caption, value_caption
from srm_explorer.engine.figures.curves import (
    Curve,
    CurveBand,
    LegendEntry,
    LegendRow,
    SweptGroup,
    checked_labels,
    warnings_of,
)
from srm_explorer.engine.figures.groups import (
    CONDITION,
    points_of,
    run_groups,
    session_warnings,
    swept_groups,
    telling_threshold,
)
from srm_explorer.engine.figures.numbers import MINUS, Axis, axis_from_zero, count_of, round_axis, short
from srm_explorer.engine.figures.polar import threshold_index
from srm_explorer.engine.figures.session_overlays import plane_index, predictions_of
from srm_explorer.engine.session import PlaneRecord, Session, units_of
from srm_explorer.engine.stats.dose_response import unit_curves
from srm_explorer.engine.stats.groups import BASELINE
from srm_explorer.engine.stats.spotlight import UnitCoordinates

ARITHMETIC = "arithmetic"
_KEYS = ("amplitude", "phase", "share", "norm", "energy", "mean")
"""Of the panels, as bands name them."""
TURN_AXIS = Axis(-180.0, 180.0, (-180.0, -90.0, 0.0, 90.0, 180.0), (f"{MINUS}180°", f"{MINUS}90°", "0°", "90°", "180°"))
PHASE_AXIS = Axis(0.0, 360.0, (0.0, 90.0, 180.0, 270.0, 360.0), ("0°", "90°", "180°", "270°", "360°"))


def phase_pieces(low: float, high: float) -> list[tuple[float, float]]:
    """The pieces of a bar of phases, degrees: it may pass 360, and goes on from 0; none where an end is not finite."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return []
    if high - low >= 360.0:
        return [(0.0, 360.0)]
    first, last = low % 360.0, high % 360.0
    return [(first, last)] if first <= last else [(first, 360.0), (0.0, last)]


@dataclass(frozen=True, eq=False)
class DoseStep:
    """One value of the intervention and what its runs are like.

    Attributes:
        value: of the intervention.
        group: its runs' sweep.
        norm: mean norm of their vectors; None where it is not known.
        energy: mean part of a vector's squared norm that lies in the plane, 0 to 1; None where it was not measured.
        activation: mean coordinate along the plane's first direction, raw units; None where it was not measured.
    """

    value: float
    group: SweptGroup
    norm: float | None
    energy: float | None = None
    activation: float | None = None


MOST_LINES = 60
"""Units whose curves are drawn behind the mean; of more, so many, evenly chosen."""


def run_values(session: Session) -> NDArray[np.float64]:
    """[run] value of the intervention; NaN for the baseline, the reference, controls, and where none varies.

    Also of a run that analyses don't look at.
    """
    values = [c.value if c.kind == "sweep" and c.value is not None else math.nan for c in session.conditions]
    return np.where(session.seen, np.array([values[run.condition] for run in session.runs], np.float64), math.nan)


def unit_quantities(plane: PlaneRecord, points: UnitCoordinates) -> dict[str, NDArray[np.float64]]:
    """[run] numbers by name, those of the dose chart's panels that a single run has; NaN for runs that are not finite.

    Args:
        points: where the runs lie in the plane, divided by their norms.
    """
    norm = np.where(points.finite, np.array(plane.norm, np.float64), math.nan)
    mean = np.where(points.finite, np.array(plane.x, np.float64), math.nan)
    xy = points.xy
    return {"norm": norm, "energy": (xy**2).sum(axis=1), "mean": mean, "cos_a": xy[:, 0], "cos_b": xy[:, 1]}


Prediction: TypeAlias = Mapping[str, DoseStep]
"""What arithmetic makes of the runs of a step, by the label of the step's group."""


@dataclass(frozen=True, eq=False)
class DoseSeries:
    """One quantity of a further experiment, or of a prediction, on the same panel: its curve, its baseline and that
    one's legend entry."""

    curve: Curve
    baseline: float | None
    baseline_label: str


@dataclass(frozen=True, eq=False)
class DosePanel:
    """One quantity against the value.

    Attributes:
        label: "amplitude A".
        curve: x the value, y the quantity; NaN where it is undefined.
        baseline: the quantity where nothing was done; None where unknown or undefined.
        axis: range of the quantity.
        connected: False where neighbours may not be joined, as phases may not across 360 degrees.
        others: the same quantity of further experiments, or as arithmetic predicts it.
        bands: how sure the quantity is at the values.
        units: [unit, value] curves of single units, drawn thin; NaN where one has no run.
        values: range of its own horizontal axis; None for the figure's.
        value_label: what that holds; empty for the figure's.
        baseline_label: legend entry of the baseline; empty for the one whose role it is.
        note: what is said in it: that some curve is not known, or none.
    """

    label: str
    curve: Curve
    baseline: float | None
    axis: Axis
    connected: bool
    others: tuple[DoseSeries, ...] = ()
    bands: tuple[CurveBand, ...] = ()
    units: NDArray[np.float64] | None = None
    values: Axis | None = None
    value_label: str = ""
    baseline_label: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class DoseFigure:
    """What a dose chart shows.

    Attributes:
        value_label: what the horizontal axes hold.
        values: range of the horizontal axes.
        panels: amplitude, phase, count, norm, and where they were measured in-plane energy and mean activation.
        legend: the sweep's entry, then the baseline's.
        named: whether the values are names that stand beside one another, not numbers on a scale.
    """

    title: str
    value_label: str
    values: Axis
    panels: tuple[DosePanel, ...]
    legend: tuple[LegendEntry, ...]
    warnings: tuple[str, ...]
    named: bool = False


def dose_figure(
    steps: Sequence[DoseStep],
    threshold: float,
    baseline: DoseStep | None = None,
    title: str = "",
    value_label: str = "value",
    label: str = "clamped",
    activation_label: str = "mean activation",
    prediction: Prediction | None = None,
    bands: Sequence[DoseBand] = (),
    residual: bool = False,
) -> DoseFigure:
    """Lay out a sweep's amplitude and phase, and what else changes, against the value.

    Args:
        steps: one a value, in any order; they are drawn by value.
        baseline: the runs where nothing was done; its value is not used.
        activation_label: name of the mean coordinate along the plane's first direction.
        residual: show the steps minus the prediction, where there is one, instead of both.

    Raises:
        ExplorerError: a group was not swept with this threshold.
    """
    ordered = sorted((step for step in steps if not math.isnan(step.value)), key=lambda step: step.value)
    checked_labels([step.group for step in ordered])
    everything = [*ordered, *([] if baseline is None else [baseline])]
    values = np.array([step.value for step in ordered], dtype=np.float64)
    expected = [None if prediction is None else prediction.get(step.group.label) for step in ordered]
    names = ("amplitude A", "phase φ", f"largest share > {short(threshold)}", "mean norm")
    names = (*names, "mean in-plane energy", activation_label)
    panels: list[DosePanel] = []
    for index, (key, name) in enumerate(zip(_KEYS, names, strict=True)):
        y = _column(ordered, index, threshold)
        predicted = _column(expected, index, threshold)
        if ordered and (y is None or (residual and predicted is None)):
            continue
        y = np.empty(0) if y is None else y
        if residual and predicted is not None:
            panels.append(_residual_panel(Curve(label, values, y - predicted), name, is_phase=key == "phase"))
            continue
        level = None if baseline is None else _quantities(baseline, threshold)[index]
        of_panel = _bands(label, bands, key, threshold, ordered)
        panels.append(_panel(Curve(label, values, y), name, level, predicted, of_panel, is_phase=key == "phase"))
    return DoseFigure(
        title=title,
        value_label=value_label,
        values=round_axis(values.tolist(), most=5),
        panels=tuple(panels),
        legend=_legend(label, ordered, None if residual else baseline, panels, residual=residual),
        warnings=warnings_of(step.group.sweep for step in everything),
    )


def _panel(
    curve: Curve,
    name: str,
    level: float | None,
    predicted: NDArray[np.float64] | None,
    bands: tuple[CurveBand, ...],
    *,
    is_phase: bool,
) -> DosePanel:
    """A panel of what was observed, beside the baseline's level and what is predicted."""
    reference = math.nan if level is None else level
    others = () if predicted is None else (DoseSeries(Curve(ARITHMETIC, curve.x, predicted, dashed=True), None, ""),)
    ends = [end for band in bands for end in (*band.low.tolist(), *band.high.tolist())]
    reached = (*curve.y.tolist(), reference, *(value for other in others for value in other.curve.y.tolist()), *ends)
    return DosePanel(
        label=name,
        curve=curve,
        baseline=reference if math.isfinite(reference) else None,
        axis=PHASE_AXIS if is_phase else axis_from_zero(reached, most=4),
        connected=not is_phase,
        others=others,
        bands=bands,
    )


def _legend(
    label: str, steps: Sequence[DoseStep], baseline: DoseStep | None, panels: Sequence[DosePanel], *, residual: bool
) -> tuple[LegendEntry, ...]:
    prompts = max((step.group.n_prompts for step in steps), default=0)
    runs = sum(step.group.n_runs for step in steps)
    bars = ("┆ 95 % band over the values",) if any(panel.bands for panel in panels) else ()
    minus = (f"observed {MINUS} arithmetic",) if residual else ()
    row = LegendRow(f"{runs:,}", note=minus[0] if minus else "")
    legend = [LegendEntry(label, "pooled", (*minus, _counts(prompts, runs), *bars), row=row)]
    if baseline is not None:
        group = baseline.group
        row = LegendRow(f"{group.n_runs:,}")
        legend.append(LegendEntry(group.label, "baseline", (_counts(group.n_prompts, group.n_runs),), row=row))
    if any(panel.others for panel in panels):
        legend.append(LegendEntry(ARITHMETIC, "arithmetic", (), row=LegendRow()))
    return tuple(legend)


def _counts(prompts: int, runs: int) -> str:
    return f"{count_of(prompts, 'prompt')} · {count_of(runs, 'run')}"


def _column(steps: Sequence[DoseStep | None], index: int, threshold: float) -> NDArray[np.float64] | None:
    """[step] one quantity, NaN where a step has none; None where no step has it."""
    measured = [None if step is None else _quantities(step, threshold)[index] for step in steps]
    if all(value is None for value in measured):
        return None
    return np.array([math.nan if value is None else value for value in measured], dtype=np.float64)


def _residual_panel(curve: Curve, name: str, *, is_phase: bool) -> DosePanel:
    """A panel of what was observed minus what is predicted; phases differ by half a turn at most."""
    if is_phase:
        curve = dataclasses.replace(curve, y=(curve.y + 180.0) % 360.0 - 180.0)
    sizes = [abs(value) for value in curve.y.tolist() if math.isfinite(value)]
    axis = round_axis((max(sizes, default=0.0), -max(sizes, default=0.0)), most=4, include=(0.0,))
    return DosePanel(f"{name} {MINUS} predicted", curve, 0.0, TURN_AXIS if is_phase else axis, not is_phase)


def _bands(
    label: str, bands: Sequence[DoseBand], key: str, threshold: float, steps: Sequence[DoseStep]
) -> tuple[CurveBand, ...]:
    """The band of one panel at the values of its steps, NaN where it has none."""
    fitting = (band for band in bands if band.threshold is None or abs(band.threshold - threshold) < 1e-12)
    band = next((band for band in fitting if band.panel == key), None)
    if band is None:
        return ()
    column = {name: index for index, name in enumerate(band.labels)}
    columns = [column.get(step.group.label) for step in steps]
    low, high = (
        np.array([math.nan if column is None else row[column] for column in columns], np.float64) for row in band.band
    )
    return (CurveBand(label, np.array([step.value for step in steps], np.float64), low, high),)


def _quantities(step: DoseStep, threshold: float) -> tuple[float | None, ...]:
    sweep = step.group.sweep
    share = sweep.fraction[threshold_index(step.group, threshold)]
    phase = math.nan if sweep.phase_deg is None else sweep.phase_deg
    return sweep.amplitude, phase, float(share.max()), step.norm, step.energy, step.activation


def dose_from_session(
    session: Session,
    plane: PlaneRecord,
    threshold: float | None = None,
    *,
    plain: bool = True,
    bands: PlaneBands | None = None,
    points: UnitCoordinates | None = None,
    residual: bool = False,
) -> DoseFigure:
    """The dose chart of a plane: what changes with the intervention's value.

    Args:
        threshold: cosine that runs are counted above, `telling_threshold` by default.
        plain: whether what arithmetic predicts is left out.
        bands: of the plane, grouped by condition, where they were computed.
        points: where the runs lie in the plane; as they were observed by default, else nothing is predicted.

    Raises:
        ExplorerError: the session's conditions have no single value to draw it over, or nothing is predicted of them.
    """
    levels = session.spec.spotlight.thresholds if threshold is None else (threshold,)
    groups = swept_groups(session, plane, (CONDITION,), levels, points)
    located = points_of(plane) if points is None else points
    values = {condition.label: condition.value for condition in session.conditions if condition.kind == "sweep"}
    norms, along = np.array(plane.norm, dtype=np.float64), np.array(plane.x, dtype=np.float64)
    energies = (located.xy**2).sum(axis=1)
    rows = run_groups(session, (CONDITION,))
    steps: list[DoseStep] = []
    baseline: DoseStep | None = None
    for group in groups:
        runs = rows[group.label].runs
        energy = _mean(energies[runs])
        # Norm and activation are those of whole vectors.
        norm, activation = (_mean(norms[runs]), _mean(along[runs])) if points is None else (None, None)
        value = values.get(group.label)
        if group.role == BASELINE:
            baseline = DoseStep(0.0, group, norm, energy, activation)
        elif value is not None:
            steps.append(DoseStep(value, group, norm, energy, activation))
    if not steps:
        crossed = session.spec.grid and len(values) > 1
        what = "its interventions are crossed, so no single value varies" if crossed else "it has no swept value"
        raise ExplorerError(what, where=session.name, remedy="choose --chart polar or thresholds")
    prediction: Prediction | None = None
    if points is None and (residual or not plain):
        predicted = arithmetic_points(session, plane_index(session, plane))
        swept = predictions_of(session, plane, groups, (CONDITION,))
        if predicted is not None and swept:
            energies = (predicted.xy**2).sum(axis=1)
            prediction = {
                label: DoseStep(values.get(label) or 0.0, group, None, _mean(energies[rows[label].runs]))
                for label, group in swept.items()
            }
    if residual and prediction is None:
        raise ExplorerError("arithmetic predicts nothing of its runs", where=session.name, remedy="choose another view")
    figure = dose_figure(
        steps,
        telling_threshold(groups) if threshold is None else threshold,
        baseline,
        f"{session.name} · {plane_title(plane)}",
        value_caption(session.spec),
        pooled_caption(session.spec),
        f"mean {plane_captions(plane)[0]}",
        prediction=prediction,
        bands=() if bands is None or residual or points is not None else bands.dose,
        residual=residual,
    )
    if not (plain or residual):
        figure = _with_units(figure, session, plane, located, is_whole=points is None)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))


def _with_units(
    figure: DoseFigure, session: Session, plane: PlaneRecord, points: UnitCoordinates, *, is_whole: bool
) -> DoseFigure:
    """The chart with the curves of single units, in the panels of which a unit has one."""
    units, values = units_of(session), run_values(session)
    quantities = unit_quantities(plane, points)
    curves = {name: unit_curves(values, quantities[name], units.of_run, len(units))[1] for name in quantities}
    curves["amplitude"] = np.hypot(curves["cos_a"], curves["cos_b"])
    labels = {figure.panels[0].label: "amplitude", "mean in-plane energy": "energy"}
    if is_whole:
        labels |= {"mean norm": "norm", f"mean {plane_captions(plane)[0]}": "mean"}
    known = np.flatnonzero(np.isfinite(curves["amplitude"]).sum(axis=1) > 1)
    if len(known) < 2:
        return figure
    shown = known[np.unique(np.linspace(0, len(known) - 1, MOST_LINES).round().astype(np.int64))]
    panels: list[DosePanel] = []
    for panel in figure.panels:
        lines = curves[labels[panel.label]][shown] if panel.label in labels else None
        if lines is not None and lines.shape[1] == len(panel.curve.x):
            ends = (panel.axis.low, panel.axis.high, float(np.nanmin(lines)), float(np.nanmax(lines)))
            panel = dataclasses.replace(panel, units=lines, axis=axis_from_zero(ends, most=4))
        panels.append(panel)
    told = f"thin: {f'{len(shown)} of ' if len(shown) < len(known) else ''}{count_of(len(known), 'unit')}"
    first, *rest = figure.legend
    first = dataclasses.replace(first, details=(*first.details, told))
    return dataclasses.replace(figure, panels=tuple(panels), legend=(first, *rest))


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
