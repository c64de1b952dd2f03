"""The conditions an experiment compares: the baseline first, then every setting of its interventions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from srm_explorer.engine.errors import SpecValueError, did_you_mean
from srm_explorer.engine.experiment.directions import AT, RunChoice
from srm_explorer.engine.experiment.experiment import Experiment
from srm_explorer.engine.experiment.intervention import InterventionSpec
from srm_explorer.engine.experiment.values import format_number, shown

NO_STRENGTH = 0.0
"""Stands for the value of an operation that takes none (`zero`, `mean`) in a condition where it is present."""


@dataclass(frozen=True)
class Grid:
    """Every run of an experiment, numbered: prompts slowest, then samples, then conditions."""

    prompts: int
    samples: int
    conditions: int

    def __len__(self) -> int:
        return self.prompts * self.samples * self.conditions

    def index(self, prompt: int, sample: int, condition: int) -> int:
        return (prompt * self.samples + sample) * self.conditions + condition

    def prompt(self, index: int) -> int:
        return index // (self.samples * self.conditions)

    def sample(self, index: int) -> int:
        return index // self.conditions % self.samples

    def condition(self, index: int) -> int:
        """Return the condition of a run; 0 is the baseline."""
        return index % self.conditions


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

    A patch from the baseline, the reference or a paired prompt is such an operation without a strength. Patches from a
    condition of the sweep are present in no other one: they are a condition of their own, beside the background.

    With controls, the conditions of the sweep follow again for each of them. Under a survey there is the baseline
    alone: what is done to each of its neurons is no condition of the session, see `survey_settings`.
    """
    known = _all_conditions(experiment)
    return known[:1] if experiment.survey else known


def survey_settings(experiment: Experiment) -> tuple[Condition, ...]:
    """What a survey does to each of its neurons, one setting a value: the conditions there were of its template."""
    return _all_conditions(experiment)[1:]


def _all_conditions(experiment: Experiment) -> tuple[Condition, ...]:
    interventions = experiment.interventions
    nothing: tuple[float | None, ...] = (None,) * len(interventions)
    background = tuple(_first(edit) if edit.background else None for edit in interventions)
    known = [Condition(0, "baseline", nothing, "baseline", None)]
    if any(edit.background for edit in interventions):
        known.append(Condition(1, "reference", background, "reference", None))
    by_source: dict[str, list[int]] = {}
    for i, edit in enumerate(interventions):
        if edit.source is not None and not edit.source.accompanies:
            by_source.setdefault(edit.source.condition, []).append(i)
    apart = {i for members in by_source.values() for i in members}
    foreground = [i for i, edit in enumerate(interventions) if not edit.background and i not in apart]
    swept = [i for i in foreground if interventions[i].takes_values]
    axis = _dose_axis([interventions[i] for i in swept], experiment.grid)
    for setting in _settings([interventions[i] for i in swept], experiment.grid) if foreground else ():
        values = list(background)
        for i in foreground:
            values[i] = NO_STRENGTH
        for i, value in zip(swept, setting, strict=True):
            values[i] = value
        labels = [_label(interventions[i], value) for i, value in zip(swept, setting, strict=True)]
        labels = labels or [interventions[i].op for i in foreground]
        value = None if axis is None else setting[axis]
        known.append(Condition(len(known), "sweep", tuple(values), _joined(labels, experiment.grid), value))
    for label, members in by_source.items():
        values = [NO_STRENGTH if i in members else value for i, value in enumerate(background)]
        known.append(Condition(len(known), "sweep", tuple(values), f"patch from {label}", None))
    return (*known, *_controls(known, experiment.controls.neurons))


def swept_as(known: Sequence[Condition]) -> dict[int, Condition]:
    """For every condition of kind "control", by its index, the condition of the sweep that it repeats."""
    sweep = {condition.values: condition for condition in known if condition.kind == "sweep"}
    return {condition.index: sweep[condition.values] for condition in known if condition.kind == "control"}


def _controls(known: Sequence[Condition], count: int) -> list[Condition]:
    sweep = [condition for condition in known if condition.kind == "sweep"]
    controls: list[Condition] = []
    for number in range(1, count + 1):
        for swept in sweep:
            index = len(known) + len(controls)
            label = f"control {number} · {swept.label}"
            controls.append(Condition(index, "control", swept.values, label, swept.value, number))
    return controls


def _settings(swept: Sequence[InterventionSpec], grid: bool) -> list[tuple[float, ...]]:
    if not swept:
        return [()]
    columns = [edit.values for edit in swept]
    return list(itertools.product(*columns)) if grid else list(zip(*columns, strict=True))


def _dose_axis(swept: Sequence[InterventionSpec], grid: bool) -> int | None:
    """Which swept intervention gives the x coordinate: the only one that varies, or the first of those that vary."""
    varying = [i for i, edit in enumerate(swept) if len(edit.values) > 1]
    if grid and len(varying) > 1:
        return None
    return varying[0] if varying else (0 if swept else None)


def _joined(labels: Sequence[str], grid: bool) -> str:
    return labels[0] if not grid and len(set(labels)) == 1 else ", ".join(labels)


def _label(edit: InterventionSpec, value: float) -> str:
    if edit.op == "scale":
        return f"×{format_number(value)}"
    if edit.unit == "quantile":
        return f"q{format_number(value)}"
    signed = f"+{format_number(value)}" if value > 0 else format_number(value)
    return f"{signed}σ" if edit.unit == "sigma" else f"{signed} norm" if edit.unit == "norm" else signed


def _first(edit: InterventionSpec) -> float:
    return edit.values[0] if edit.takes_values else NO_STRENGTH


def differences(old: Experiment, new: Experiment) -> list[str]:
    """One line a field that differs, "generation.tokens: 50 -> 20"; empty for equal experiments, whoever decodes."""
    before, after = leaves(old.as_run().to_dict()), leaves(new.as_run().to_dict())
    names = [*before, *(name for name in after if name not in before)]
    return [
        f"{name}: {_value_text(before.get(name))} -> {_value_text(after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def leaves(data: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in an experiment's plain data, by its path: "interventions[0].op"."""
    return _flat("", data)


def _flat(path: str, value: object) -> dict[str, Any]:
    """Leaves by path; a list of plain values is one leaf, a list of tables is not."""
    if isinstance(value, dict):
        flat: dict[str, Any] = {}
        for name, item in cast("dict[str, object]", value).items():
            flat |= _flat(f"{path}.{name}".removeprefix("."), item)
        return flat
    items = cast("list[object]", value) if isinstance(value, list) else []
    if items and all(isinstance(item, dict) for item in items):
        flat = {}
        for index, item in enumerate(items):
            flat |= _flat(f"{path}[{index}]", item)
        return flat
    return {path: value}


def _value_text(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return f"[{', '.join(_value_text(item) for item in cast('list[object]', value))}]"
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
    indices: set[int] = set()
    for name in choice.at or (default,):
        matches = [
            condition.index for condition in known if name == condition.label or condition.kind in _GROUPS.get(name, ())
        ]
        matches = matches or [
            condition.index for condition in known if condition.kind == "sweep" and name == _value(condition)
        ]
        if not matches:
            labels = [condition.label for condition in known if condition.kind != "control"]
            kinds = {condition.kind for condition in known}
            groups = [group for group, members in _GROUPS.items() if kinds.intersection(members)]
            raise SpecValueError(
                f"no condition is called {shown(name)}", did_you_mean(name, dict.fromkeys([*labels, *groups]))
            )
        indices.update(matches)
    return sorted(indices)


def prompts_of(choice: RunChoice, prompts: Sequence[tuple[str, Mapping[str, str]]]) -> list[int]:
    """Indices of the prompts a choice means: those that have, of every factor named, one of the levels named.

    Args:
        choice: a factor named several times means any of its levels.
        prompts: the set and the factors of each.

    Raises:
        SpecValueError: a factor or level that no prompt has, or no prompt that has them all.
    """
    per_factor: dict[str, list[str]] = {}
    for factor, level in choice.levels:
        per_factor.setdefault(factor, []).append(level)
    rows = [{SET: name, **factors} for name, factors in prompts]
    for factor, levels in per_factor.items():
        known = list(dict.fromkeys(row[factor] for row in rows if factor in row))
        if not known:
            factors = list(dict.fromkeys(name for row in rows for name in row))
            raise SpecValueError(f"no prompt has a factor {shown(factor)}", did_you_mean(factor, [*factors, AT]))
        for level in levels:
            if level not in known:
                raise SpecValueError(f"factor {factor!r} has no level {shown(level)}", did_you_mean(level, known))
    rows_matching = [
        i for i, row in enumerate(rows) if all(row.get(name) in levels for name, levels in per_factor.items())
    ]
    if not rows_matching:
        raise SpecValueError(f"no prompt has {choice}", "choose fewer factors")
    return rows_matching


def levels_of(prompts: Sequence[tuple[str, Mapping[str, str]]], known: Sequence[Condition]) -> dict[str, list[str]]:
    """The levels of every factor, in order of first appearance; those of "at" are the conditions' labels."""
    by_factor: dict[str, list[str]] = {}
    for name, factors in prompts:
        for factor, level in {SET: name, **factors}.items():
            levels = by_factor.setdefault(factor, [])
            if level not in levels:
                levels.append(level)
    return {**by_factor, AT: [condition.label for condition in known if condition.kind in ("baseline", "sweep")]}


def _value(condition: Condition) -> str | None:
    return None if condition.value is None else format_number(condition.value)


def patched_from(experiment: Experiment, number: int) -> int:
    """Index of the condition that a patch takes its values from; the baseline's for a paired prompt.

    Args:
        number: place of the intervention, a patch.

    Raises:
        SpecValueError: there is no such condition, or it stands for several, or is one that is patched apart.
    """
    source = experiment.interventions[number].source
    assert source is not None, "a patch has a source"
    known = conditions(experiment)
    indices = conditions_of(RunChoice(at=(source.condition or "baseline",)), known, "baseline")
    apart = [i for i, edit in enumerate(experiment.interventions) if edit.source and not edit.source.accompanies]
    patched = [index for index in indices if any(known[index].values[i] is not None for i in apart)]
    if len(indices) != 1 or patched:
        what = "is a patch itself" if len(indices) == 1 else "stands for several conditions"
        labels = [c.label for c in known if c.kind != "control" and not any(c.values[i] is not None for i in apart)]
        raise SpecValueError(f"{shown(source.condition)} {what}", f"choose one of {', '.join(labels)}")
    return indices[0]


def pairs_of(factor: str, prompts: Sequence[tuple[str, Mapping[str, str]]]) -> list[int]:
    """For every prompt, the place of the one that it is paired with: the other of the two that share its level.

    Args:
        factor: that pairs prompts.
        prompts: the set and the factors of each.

    Raises:
        SpecValueError: a prompt without the factor, or a level that not just two prompts have.
    """
    members: dict[str, list[int]] = {}
    for number, (name, factors) in enumerate(prompts):
        if factor not in factors:
            known = list(dict.fromkeys(known for _, levels in prompts for known in levels))
            remedy = did_you_mean(factor, known) if factor not in known and known else "leave it out, or add the factor"
            raise SpecValueError(f"prompt {number + 1} of the list, of {name}, has no factor {factor!r}", remedy)
        members.setdefault(factors[factor], []).append(number)
    other = [0] * len(prompts)
    for level, numbers in members.items():
        if len(numbers) != 2:
            listed = ", ".join(str(number + 1) for number in numbers[:6]) + (" ..." if len(numbers) > 6 else "")
            raise SpecValueError(
                f"{factor} = {shown(level)} makes no pair: {len(numbers)} prompts have it ({listed} of the list)",
                "give each level to two prompts, or leave the others out",
            )
        other[numbers[0]], other[numbers[1]] = numbers[1], numbers[0]
    return other
