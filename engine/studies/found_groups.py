"""The groups of runs that planes are searched with, by the names that charts show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.groups import BASELINE
from engine.errors import ExplorerError
from engine.figures.captions import pooled_caption
from engine.figures.session import CONDITION, factor_columns, run_groups
from engine.figures.units import UNIT_FACTOR
from engine.session import Session
from engine.spec.refusal import did_you_mean
from engine.studies.captured import Captured

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ComparedGroups:
    """Two groups of runs, as places among captured runs.

    Attributes:
        labels: of both.
        runs: [run] of both.
        paired: whether units have runs in both, which then are compared with each other.
        units: the units that take part: those in both groups where paired, else those of each group by itself.
        left_out: units that take no part.
    """

    labels: tuple[str, str]
    runs: tuple[Places, Places]
    paired: bool
    units: tuple[Places, Places]
    left_out: int


def group_named(caught: Captured, label: str) -> Places:
    """The runs of a group, as places among the captured runs.

    Raises:
        ExplorerError: no chart of the session shows a group of that name.
    """
    session = caught.session
    factors = [name for name in factor_columns(session) if name != UNIT_FACTOR]
    known: list[str] = []
    for by in [(), (CONDITION,), *[(name,) for name in factors], *[(CONDITION, name) for name in factors]]:
        groups = run_groups(session, by)
        if label in groups:
            rows = groups[label].runs
            return np.flatnonzero(np.isin(caught.rows, rows))
        known += groups
    what = f"there is no group '{label}'"
    raise ExplorerError(what, where=session.name, remedy=did_you_mean(label, list(dict.fromkeys(known))))


def default_groups(session: Session, number: int) -> list[str]:
    """The baseline, and all values together where two are wanted."""
    pooled = [pooled_caption(session.spec)] if any(one.kind == "sweep" for one in session.conditions) else []
    return [BASELINE, *pooled][:number]


def compared_groups(caught: Captured, labels: Sequence[str]) -> ComparedGroups:
    """Find which units two groups are compared over.

    Raises:
        ExplorerError: not two groups, one is empty, or they share runs.
    """
    if len(labels) != 2:
        remedy = "name two, such as the baseline and a value"
        what = f"planes that tell groups apart need two groups, not {len(labels)}"
        raise ExplorerError(what, where=caught.session.name, remedy=remedy)
    first, second = (group_named(caught, label) for label in labels)
    if np.intersect1d(first, second).size:
        raise ExplorerError(f"{labels[0]} and {labels[1]} share runs", remedy="choose groups apart")
    units = np.unique(caught.unit[first]), np.unique(caught.unit[second])
    shared = np.intersect1d(*units)
    every = len(np.union1d(*units))
    # Where most units are in both groups, each is compared with itself; stray ones would only blur that.
    if len(shared) * 2 >= max(1, min(len(units[0]), len(units[1]))):
        return ComparedGroups((labels[0], labels[1]), (first, second), True, (shared, shared), every - len(shared))
    apart = np.setdiff1d(units[0], shared), np.setdiff1d(units[1], shared)
    return ComparedGroups((labels[0], labels[1]), (first, second), False, apart, len(shared))


def unit_means(values: NDArray[np.float64], of_unit: Places, units: Places) -> NDArray[np.float64]:
    """[unit, k] means of the runs of each unit; NaN for one without any.

    Args:
        values: [run, k]
        of_unit: [run] unit of each.
        units: those wanted, ascending.
    """
    found = np.full((len(units), values.shape[1]), np.nan)
    for place, unit in enumerate(units.tolist()):
        rows = of_unit == unit
        if rows.any():
            found[place] = values[rows].mean(axis=0)
    return found


def halves(units: Places, stratum: Places, rng: np.random.Generator) -> tuple[Places, Places]:
    """Split units in two at random, each stratum by itself as evenly as it goes.

    Args:
        units: those to split.
        stratum: [unit] of all units of the session.
    """
    kept: list[int] = []
    tested: list[int] = []
    for one in np.unique(stratum[units]).tolist():
        own = rng.permutation(units[stratum[units] == one])
        # An odd unit goes where fewer are.
        half = (len(own) + (len(kept) <= len(tested))) // 2
        kept += own[:half].tolist()
        tested += own[half:].tolist()
    return np.array(sorted(kept), np.int64), np.array(sorted(tested), np.int64)


def unit_differences(caught: Captured, values: NDArray[np.float64], groups: ComparedGroups) -> NDArray[np.float64]:
    """[unit, k] difference of two groups' means in every unit of the session; NaN where it lacks one."""
    every = np.arange(len(caught.units))
    first, second = (unit_means(values[runs], caught.unit[runs], every) for runs in groups.runs)
    return first - second


def within_strata(means: NDArray[np.float64], stratum: Places) -> NDArray[np.float64]:
    """[unit, k] means without those of the strata."""
    found = means.copy()
    for one in np.unique(stratum).tolist():
        found[stratum == one] -= found[stratum == one].mean(axis=0)
    return found


def one_group(caught: Captured, given: list[str], criterion: str) -> Places:
    """The runs of the one group that a criterion is searched in; ExplorerError where not one was given."""
    # The baseline is what change is measured from, whether it is named or not.
    labels = [label for label in dict.fromkeys(given) if criterion != "change" or label != BASELINE]
    if len(labels) != 1:
        what = f"{criterion} is searched in one group, not {len(labels)}"
        raise ExplorerError(
            what, where=caught.session.name, remedy="give one, as groups=+20 (or one twice where two belong)"
        )
    return group_named(caught, labels[0])
