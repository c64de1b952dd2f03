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
    values = list(dict.fromkeys(label for label in conditions if label not in (BASELINE, REFERENCE, CONTROL)))
    if pooled in (*values, BASELINE, REFERENCE, CONTROL):
        raise ExplorerError(f"'{pooled}' names both a condition and all values together", remedy="rename one of them")

    labels = np.array(conditions, dtype=object)
    is_value = np.isin(np.arange(n_runs), [i for i, label in enumerate(conditions) if label in set(values)])
    masks: list[tuple[str, GroupRole, NDArray[np.bool_]]] = [("", "level", labels != CONTROL)]
    if by_condition:
        masks = [
            (BASELINE, "baseline", labels == BASELINE),
            (REFERENCE, "reference", labels == REFERENCE),
            (pooled, "pooled", is_value),
            *((value, "value", labels == value) for value in values),
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
        name: [NO_LEVEL if level is None else str(level) for level in column] for name, column in factors.items()
    }
    masks: list[tuple[tuple[tuple[str, str], ...], NDArray[np.bool_]]] = []
    for combination in product(*(dict.fromkeys(column) for column in columns.values())):
        levels = tuple(zip(columns, combination, strict=True))
        mask = np.ones(n_runs, np.bool_)
        for name, level in levels:
            mask &= np.array(columns[name], dtype=object) == level
        masks.append((levels, mask))
    return masks
