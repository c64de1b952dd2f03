"""The conditions an experiment compares: the baseline first, then every setting of its interventions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from srm_explorer.engine.errors import SpecValueError, did_you_mean
from srm_explorer.engine.experiment.directions import AT, RunChoice
from srm_explorer.engine.experiment.experiment import Experiment, InterventionSpec
from srm_explorer.engine.experiment.values import format_number, shown

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


def differences(old: Experiment, new: Experiment) -> list[str]:
    """One line a field that differs: "generation.tokens: 50 -> 20"; empty for equal experiments."""
    before, after = _flat("", old.to_dict()), _flat("", new.to_dict())
    names = [*before, *(name for name in after if name not in before)]
    return [
        f"{name}: {_told(before.get(name))} -> {_told(after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _flat(path: str, value: object) -> dict[str, Any]:
    """Leaves by path; a list of plain values is one leaf, a list of tables is not."""
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, item in cast("dict[str, object]", value).items():
            found |= _flat(f"{path}.{name}".removeprefix("."), item)
        return found
    items = cast("list[object]", value) if isinstance(value, list) else []
    if items and all(isinstance(item, dict) for item in items):
        found = {}
        for index, item in enumerate(items):
            found |= _flat(f"{path}[{index}]", item)
        return found
    return {path: value}


def _told(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return f"[{', '.join(_told(item) for item in cast('list[object]', value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


SET = "set"
"""The factor that every prompt has: the name of its prompt set, unless the set has a factor of that name."""

_GROUPS: dict[str, tuple[str, ...]] = {
    "baseline": ("baseline",),
    "reference": ("reference",),
    "swept": ("sweep",),
    "all": ("baseline", "sweep"),
}


def conditions_of(choice: RunChoice, known: Sequence[Condition], default: str) -> list[int]:
    """Indices of the conditions a choice means.

    Args:
        choice: `at` holds labels ("+20"), values ("20"), "baseline", "reference", "swept" or "all".
        known: all conditions of an experiment.
        default: what an empty `at` means.

    Raises:
        SpecValueError: no condition is called so.
    """
    found: set[int] = set()
    for name in choice.at or (default,):
        own = [one.index for one in known if name == one.label or one.kind in _GROUPS.get(name, ())]
        own = own or [one.index for one in known if one.kind == "sweep" and name == _value(one)]
        if not own:
            labels = [one.label for one in known if one.kind != "control"]
            raise SpecValueError(
                f"no condition is called {shown(name)}", did_you_mean(name, dict.fromkeys([*labels, *_GROUPS]))
            )
        found.update(own)
    return sorted(found)


def prompts_of(choice: RunChoice, prompts: Sequence[tuple[str, Mapping[str, str]]]) -> list[int]:
    """Indices of the prompts a choice means: those that have, of every factor named, one of the levels named.

    Args:
        choice: a factor named several times means any of its levels.
        prompts: the set and the factors of each.

    Raises:
        SpecValueError: a factor or level that no prompt has, or no prompt that has them all.
    """
    wanted: dict[str, list[str]] = {}
    for factor, level in choice.levels:
        wanted.setdefault(factor, []).append(level)
    rows = [{SET: name, **factors} for name, factors in prompts]
    for factor, levels in wanted.items():
        known = list(dict.fromkeys(row[factor] for row in rows if factor in row))
        if not known:
            factors = list(dict.fromkeys(name for row in rows for name in row))
            raise SpecValueError(f"no prompt has a factor {shown(factor)}", did_you_mean(factor, [*factors, AT]))
        for level in levels:
            if level not in known:
                raise SpecValueError(f"factor {factor!r} has no level {shown(level)}", did_you_mean(level, known))
    found = [i for i, row in enumerate(rows) if all(row.get(name) in levels for name, levels in wanted.items())]
    if not found:
        raise SpecValueError(f"no prompt has {choice}", "choose fewer factors")
    return found


def levels_of(prompts: Sequence[tuple[str, Mapping[str, str]]], known: Sequence[Condition]) -> dict[str, list[str]]:
    """The levels of every factor, in order of first appearance; those of "at" are the conditions' labels."""
    found: dict[str, list[str]] = {}
    for name, factors in prompts:
        for factor, level in {SET: name, **factors}.items():
            levels = found.setdefault(factor, [])
            if level not in levels:
                levels.append(level)
    return {**found, AT: [one.label for one in known if one.kind in ("baseline", "sweep")]}


def _value(one: Condition) -> str | None:
    return None if one.value is None else format_number(one.value)
