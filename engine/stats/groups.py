"""Groups of runs: by condition, by factor, by both."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError

GroupRole = Literal["baseline", "reference", "pooled", "value", "level"]

BASELINE = "baseline"
REFERENCE = "reference"
CONTROL = "control"
"""Runs of controls belong to no group: they are what groups are compared with."""
NO_LEVEL = "(none)"


@dataclass(frozen=True, eq=False)
class RunGroup:
    """Runs that one curve shows.

    Attributes:
        label: "baseline", "clamped", "+20", "clamped · type=declarative".
        role: what kind of conditions its runs come from; "level": any condition, chosen by factors alone.
        runs: [n] indices of its runs, ascending.
        levels: the factor levels it is restricted to, (factor, level) pairs.
    """

    label: str
    role: GroupRole
    runs: NDArray[np.int64]
    n_prompts: int
    levels: tuple[tuple[str, str], ...] = ()


def group_runs(
    conditions: Sequence[str],
    prompts: Sequence[Hashable] | None = None,
    factors: Mapping[str, Sequence[str | None]] | None = None,
    *,
    by_condition: bool = True,
    pooled: str = "clamped",
) -> dict[str, RunGroup]:
    """Form the groups of an experiment's runs, by label, in the order in which they should be shown.

    By condition: the baseline, the reference, all values pooled, then each value in order of appearance. With factors,
    the same for every combination of levels that occurs; without conditions, the levels alone. No group is empty, and
    runs of controls are in none.

    Args:
        conditions: [run] "baseline", "reference", "control" or the value's label.
        prompts: [run] any identity of the run's prompt; counted, not interpreted. By default every run is its own.
        factors: [run] level of each factor to group by; None where a prompt has none.
        by_condition: False to group by factors alone.
        pooled: label of all values together.

    Raises:
        ExplorerError: the lists differ in length, or a value's label equals the pooled one.
    """
    n_runs = len(conditions)
    identities = range(n_runs) if prompts is None else prompts
    for name, column in {"prompts": identities, **(factors or {})}.items():
        if len(column) != n_runs:
            raise ExplorerError(f"{n_runs} runs but {len(column)} entries of {name}")
    codes, code_of = _coded(conditions)
    values = [label for label in code_of if label not in (BASELINE, REFERENCE, CONTROL)]
    if pooled in (*values, BASELINE, REFERENCE, CONTROL):
        raise ExplorerError(f"'{pooled}' names both a condition and all values together", remedy="rename one of them")

    def with_label(label: str) -> NDArray[np.bool_]:
        return codes == code_of.get(label, -1)

    masks: list[tuple[str, GroupRole, NDArray[np.bool_]]] = [("", "level", ~with_label(CONTROL))]
    if by_condition:
        masks = [
            (BASELINE, "baseline", with_label(BASELINE)),
            (REFERENCE, "reference", with_label(REFERENCE)),
            (pooled, "pooled", np.isin(codes, [code_of[value] for value in values])),
            *((value, "value", with_label(value)) for value in values),
        ]

    groups: dict[str, RunGroup] = {}
    for levels, level_mask in _level_masks(factors or {}, n_runs):
        suffix = " · ".join(f"{factor}={level}" for factor, level in levels)
        for name, role, mask in masks:
            runs = np.flatnonzero(mask & level_mask)
            if runs.size:
                label = " · ".join(part for part in (name, suffix) if part) or "all"
                groups[label] = RunGroup(label, role, runs, len({identities[i] for i in runs.tolist()}), levels)
    return groups


def _level_masks(
    factors: Mapping[str, Sequence[str | None]], n_runs: int
) -> list[tuple[tuple[tuple[str, str], ...], NDArray[np.bool_]]]:
    columns = {
        name: _coded([NO_LEVEL if level is None else str(level) for level in column])
        for name, column in factors.items()
    }
    masks: list[tuple[tuple[tuple[str, str], ...], NDArray[np.bool_]]] = []
    for combination in product(*(code_of for _, code_of in columns.values())):
        levels = tuple(zip(columns, combination, strict=True))
        mask = np.ones(n_runs, np.bool_)
        for name, level in levels:
            codes, code_of = columns[name]
            mask &= codes == code_of[level]
        masks.append((levels, mask))
    return masks


def _coded(labels: Sequence[str]) -> tuple[NDArray[np.int64], dict[str, int]]:
    """[run] a number for every label, and the number of each: whole columns of text are compared far slower."""
    code_of = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    return np.fromiter((code_of[label] for label in labels), np.int64, len(labels)), code_of
