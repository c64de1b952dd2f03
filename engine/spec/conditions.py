"""The conditions an experiment compares: the baseline first, then every setting of its interventions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.spec.experiment import Experiment
from engine.spec.intervention import InterventionSpec
from engine.spec.values import format_number

NO_STRENGTH = 0.0
"""Stands for the value of an operation that takes none (`zero`, `mean`) in a condition where it is present."""


@dataclass(frozen=True)
class Condition:
    """One setting of the interventions, in the units of the experiment file.

    Attributes:
        index: its place in `conditions`, 0 for the baseline.
        kind: "baseline" (nothing), "reference" (the background interventions alone), "sweep", or "control": the sweep
            again on matched neurons, or along random directions.
        values: one per intervention of the experiment; None where that intervention is absent, 0 for an operation
            without a strength.
        label: short and different from every other condition's: "baseline", "+20", "q0.99".
        value: the x coordinate of dose curves; None where there is no single one.
        control: which control it belongs to, from 1; None for any other kind.
    """

    index: int
    kind: Literal["baseline", "reference", "sweep", "control"]
    values: tuple[float | None, ...]
    label: str
    value: float | None
    control: int | None = None


def conditions(experiment: Experiment) -> tuple[Condition, ...]:
    """Every condition of an experiment, in the order its runs are reported.

    The baseline has no intervention at all. Where some interventions are `background`, the reference condition
    follows: those alone. Then the sweep: the others vary together, value by value, or crossed with `grid = true`, the
    last one fastest. An operation without a strength (`zero`, `mean`) is one setting; beside swept ones it is present,
    unchanged, in each of their conditions. Background interventions are present in every condition of the sweep.

    With controls, the conditions of the sweep follow again for each of them.
    """
    interventions = experiment.interventions
    nothing: tuple[float | None, ...] = (None,) * len(interventions)
    background = tuple(_first(one) if one.background else None for one in interventions)
    found = [Condition(0, "baseline", nothing, "baseline", None)]
    if any(one.background for one in interventions):
        found.append(Condition(1, "reference", background, "reference", None))
    foreground = [i for i, one in enumerate(interventions) if not one.background]
    swept = [i for i in foreground if interventions[i].takes_values]
    if not foreground:
        return tuple(found)
    axis = _dose_axis([interventions[i] for i in swept], experiment.grid)
    for setting in _settings([interventions[i] for i in swept], experiment.grid):
        values = list(background)
        for i in foreground:
            values[i] = NO_STRENGTH
        for i, value in zip(swept, setting, strict=True):
            values[i] = value
        told = [_label(interventions[i], value) for i, value in zip(swept, setting, strict=True)]
        told = told or [interventions[i].op for i in foreground]
        value = None if axis is None else setting[axis]
        found.append(Condition(len(found), "sweep", tuple(values), _joined(told, experiment.grid), value))
    return (*found, *_controls(found, experiment.controls.neurons))


def swept_as(known: Sequence[Condition]) -> dict[int, Condition]:
    """For every condition of kind "control", by its index, the condition of the sweep that it repeats.

    Args:
        known: all conditions of an experiment.
    """
    sweep = {one.values: one for one in known if one.kind == "sweep"}
    return {one.index: sweep[one.values] for one in known if one.kind == "control"}


def _controls(found: Sequence[Condition], count: int) -> list[Condition]:
    sweep = [one for one in found if one.kind == "sweep"]
    controls: list[Condition] = []
    for number in range(1, count + 1):
        for one in sweep:
            index = len(found) + len(controls)
            label = f"control {number} · {one.label}"
            controls.append(Condition(index, "control", one.values, label, one.value, number))
    return controls


def _settings(swept: Sequence[InterventionSpec], grid: bool) -> list[tuple[float, ...]]:
    if not swept:
        return [()]
    columns = [one.values for one in swept]
    return list(itertools.product(*columns)) if grid else list(zip(*columns, strict=True))


def _dose_axis(swept: Sequence[InterventionSpec], grid: bool) -> int | None:
    """Which swept intervention gives the x coordinate: the only one that varies, or the first of those that vary."""
    varying = [i for i, one in enumerate(swept) if len(one.values) > 1]
    if grid and len(varying) > 1:
        return None
    return varying[0] if varying else (0 if swept else None)


def _joined(labels: Sequence[str], grid: bool) -> str:
    return labels[0] if not grid and len(set(labels)) == 1 else ", ".join(labels)


def _label(one: InterventionSpec, value: float) -> str:
    if one.op == "scale":
        return f"×{format_number(value)}"
    if one.unit == "quantile":
        return f"q{format_number(value)}"
    signed = f"+{format_number(value)}" if value > 0 else format_number(value)
    return f"{signed}σ" if one.unit == "sigma" else f"{signed} norm" if one.unit == "norm" else signed


def _first(one: InterventionSpec) -> float:
    return one.values[0] if one.takes_values else NO_STRENGTH
