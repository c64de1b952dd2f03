"""Searching planes: pairs of coordinates chosen on one half of the units and tested on the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.captured import Captured
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.figures import CONDITION, factor_columns, pooled_caption, run_groups
from srm_explorer.engine.session import UNIT_FACTOR, Session
from srm_explorer.engine.stats.comparison import Contrast, Synergy, group_contrast, paired_contrast, synergy
from srm_explorer.engine.stats.groups import BASELINE
from srm_explorer.engine.stats.pairings import (
    BestPairs,
    anisotropy_score,
    marginal_score,
    scan_pairs,
    separation_score,
)
from srm_explorer.engine.stats.plane_tests import TestedPairs, correlation_test, paired_test, unpaired_test
from srm_explorer.engine.stats.unit_means import mean_effect

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ComparedGroups:
    """Two groups of runs, as places among captured runs.

    Attributes:
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
    pooled = (
        [pooled_caption(session.spec)] if any(condition.kind == "sweep" for condition in session.conditions) else []
    )
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
    unshared = np.setdiff1d(units[0], shared), np.setdiff1d(units[1], shared)
    return ComparedGroups((labels[0], labels[1]), (first, second), False, unshared, len(shared))


def unit_means(values: NDArray[np.float64], of_unit: Places, units: Places) -> NDArray[np.float64]:
    """[unit, k] means of the runs of each unit; NaN for one without any.

    Args:
        values: [run, k]
        of_unit: [run] unit of each.
    """
    means = np.full((len(units), values.shape[1]), np.nan)
    for index, unit in enumerate(units.tolist()):
        rows = of_unit == unit
        if rows.any():
            means[index] = values[rows].mean(axis=0)
    return means


def halves(units: Places, stratum: Places, rng: np.random.Generator) -> tuple[Places, Places]:
    """Split units in two at random, each stratum by itself as evenly as it goes.

    Args:
        stratum: [unit] of all units of the session.
    """
    kept: list[int] = []
    tested: list[int] = []
    for level in np.unique(stratum[units]).tolist():
        members = rng.permutation(units[stratum[units] == level])
        # An odd unit goes where fewer are.
        half = (len(members) + (len(kept) <= len(tested))) // 2
        kept += members[:half].tolist()
        tested += members[half:].tolist()
    return np.array(sorted(kept), np.int64), np.array(sorted(tested), np.int64)


def unit_differences(caught: Captured, values: NDArray[np.float64], groups: ComparedGroups) -> NDArray[np.float64]:
    """[unit, k] difference of two groups' means in every unit of the session; NaN where it lacks one."""
    every = np.arange(len(caught.units))
    first, second = (unit_means(values[runs], caught.unit[runs], every) for runs in groups.runs)
    return first - second


def within_strata(means: NDArray[np.float64], stratum: Places) -> NDArray[np.float64]:
    """[unit, k] means without those of the strata."""
    centred = means.copy()
    for level in np.unique(stratum).tolist():
        centred[stratum == level] -= centred[stratum == level].mean(axis=0)
    return centred


def one_group(caught: Captured, names: list[str], criterion: str) -> Places:
    """The runs of the one group that a criterion is searched in; ExplorerError where not one was given."""
    # The baseline is what change is measured from, whether it is named or not.
    labels = [label for label in dict.fromkeys(names) if criterion != "change" or label != BASELINE]
    if len(labels) != 1:
        what = f"{criterion} is searched in one group, not {len(labels)}"
        raise ExplorerError(
            what, where=caught.session.name, remedy="give one, as groups=+20 (or one twice where two belong)"
        )
    return group_named(caught, labels[0])


Floats = NDArray[np.float64]

RESAMPLES = 2_000
"""Of units, for the intervals of differences."""
KEPT = 100
"""Pairs at most that are tested: the more, the higher the bar for each."""
FEWEST = 4
"""Units a half must have: fewer leave nothing to tell a spread by."""

SIGNS = "signs of units' differences flipped, so of their symmetry around 0"
RESIDUALS = "signs flipped of what each coordinate of a unit has beside the other's"

Among: TypeAlias = Literal["partners", "changed", "all"]


@dataclass(frozen=True, eq=False)
class PairSelection:
    """Which pairs to search.

    Attributes:
        among: "partners" of a coordinate, pairs among the "changed" most, or "all".
        shared: the coordinate of "partners".
        set_axes: coordinates that the experimenter set in the runs that are compared.
    """

    among: Among
    shared: int | None
    k: int
    set_axes: frozenset[int]
    seed: int
    permutations: int


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The pairs that were chosen, and what testing them gave.

    Attributes:
        best: chosen on the first half; scores of correlations keep their sign.
        tested: on the second.
        units: in each half.
        chosen: the units of the first, in the session's numbering.
        exchanged: what the test exchanged, in words.
        synergy: of the pairs on the second half; None where no groups are told apart, or by one coordinate alone.
        differences: of groups on the second half: means over units, lower and upper ends, each [pair, 2 coordinates].
    """

    best: BestPairs
    tested: TestedPairs
    units: tuple[int, int]
    chosen: Places
    exchanged: str
    columns: int
    synergy: Synergy | None = None
    differences: tuple[NDArray[np.float64], ...] = ()


def search_separation(
    caught: Captured, values: Floats, groups: ComparedGroups, selection: PairSelection
) -> SearchResult:
    """Search planes that separate two groups beyond either of their coordinates."""
    rng = np.random.default_rng(selection.seed)
    if not groups.paired:
        return _between_units(caught, values, groups, selection, rng)
    differences = unit_differences(caught, values, groups)
    chosen, other = _split(groups.units[0], caught, rng)
    contrast = paired_contrast(differences[chosen])
    best = _scan(contrast, selection)
    single = selection.shared in selection.set_axes
    rest = differences[other]
    both = None if single else synergy([rest], best.pairs)
    tested = paired_test(rest, best.pairs, selection.permutations, selection.seed, single=single)
    exchanged = SIGNS if single else RESIDUALS
    sizes, columns = (len(chosen), len(other)), _usable(contrast, selection).size
    means = _mean_differences(best.pairs, selection.seed, rest, caught.units.stratum[other])
    return SearchResult(best, tested, sizes, chosen, exchanged, columns, both, means)


def separated(
    caught: Captured,
    values: Floats,
    groups: ComparedGroups,
    pair: tuple[int, int],
    permutations: int,
    seed: int,
    *,
    single: bool,
) -> tuple[TestedPairs, Synergy | None, str]:
    """Test on every unit whether a plane that was chosen elsewhere separates two groups: as the search tests it.

    Args:
        pair: coordinates; with `single` the second alone is tested.

    Returns:
        the test, the synergy where both are, and what was exchanged, in words.

    Raises:
        ExplorerError: too few units.
    """
    pairs = np.array([pair], np.int64)
    fewest = min(len(units) for units in groups.units)
    if fewest < FEWEST:
        what = f"{fewest} units are too few to test on"
        raise ExplorerError(what, where=caught.session.name, remedy=f"{FEWEST} prompts are the fewest, better 25")
    if groups.paired:
        samples = [unit_differences(caught, values, groups)[groups.units[0]]]
        tested = paired_test(samples[0], pairs, permutations, seed, single=single)
        exchanged = SIGNS if single else RESIDUALS
    else:
        samples = [
            unit_means(values[runs], caught.unit[runs], units)
            for runs, units in zip(groups.runs, groups.units, strict=True)
        ]
        first, second = (caught.units.stratum[units] for units in groups.units)
        alike = set(first.tolist()) == set(second.tolist())
        strata = (first, second) if alike else (np.zeros_like(first), np.zeros_like(second))
        tested = unpaired_test(samples[0], samples[1], strata, pairs, permutations, seed)
        exchanged = f"{RESIDUALS}{', within prompt sets' if alike else ''}"
    return tested, None if single else synergy(samples, pairs), exchanged


def search_change(
    caught: Captured, observed: Floats, predicted: Floats, runs: Places, selection: PairSelection
) -> SearchResult:
    """Search planes in which runs lie away from where arithmetic puts them.

    Args:
        observed: [run, k] of the chosen runs.
        predicted: [run, k] the same by arithmetic.
    """
    rng = np.random.default_rng(selection.seed)
    units = np.unique(caught.unit[runs])
    chosen, other = _split(units, caught, rng)
    both = np.stack([unit_means(vectors, caught.unit[runs], units) for vectors in (observed, predicted)], axis=1)
    contrast = paired_contrast((both[:, 0] - both[:, 1])[np.isin(units, chosen)])
    best = _scan(contrast, selection)
    n = len(other)
    single = selection.shared in selection.set_axes
    rest = (both[:, 0] - both[:, 1])[np.isin(units, other)]
    together = None if single else synergy([rest], best.pairs)
    tested = paired_test(rest, best.pairs, selection.permutations, selection.seed, single=single)
    exchanged = SIGNS if single else RESIDUALS
    columns = _usable(contrast, selection).size
    means = _mean_differences(best.pairs, selection.seed, rest, caught.units.stratum[other])
    return SearchResult(best, tested, (len(chosen), n), chosen, exchanged, columns, together, means)


def search_anisotropy(
    caught: Captured, values: Floats, runs: Places, changed: Floats | None, selection: PairSelection
) -> SearchResult:
    """Search planes in which the units' means are correlated.

    Args:
        values: [run, k] of the captured runs.
        changed: [unit, k] differences of all units of the session to find the most changed by, NaN where a unit has
            none; None where they are not asked for.
    """
    rng = np.random.default_rng(selection.seed)
    units = np.unique(caught.unit[runs])
    chosen, other = _split(units, caught, rng)
    stratum = caught.units.stratum
    means = unit_means(values[runs], caught.unit[runs], units)
    half = within_strata(means[np.isin(units, chosen)], stratum[chosen])
    contrast = paired_contrast(half)
    if changed is not None:
        moved = changed[chosen]
        moved = moved[np.isfinite(moved).all(axis=1)]
        if len(moved) < FEWEST:
            raise _too_few(caught, len(moved))
        contrast = paired_contrast(moved)
    columns = _usable(contrast, selection)
    shared = selection.shared if selection.among == "partners" else None
    spread = paired_contrast(half).residual
    best = _some(scan_pairs(spread, anisotropy_score(spread), KEPT, columns, shared))
    r = (spread[:, best.pairs[:, 0]] * spread[:, best.pairs[:, 1]]).sum(axis=0)
    best = dataclasses.replace(best, scores=r)
    rest = within_strata(means[np.isin(units, other)], stratum[other])
    tested = correlation_test(rest, stratum[other], best.pairs, np.sign(r), selection.permutations, selection.seed)
    exchanged = f"{RESIDUALS}, in the direction it was chosen with"
    return SearchResult(best, tested, (len(chosen), len(other)), chosen, exchanged, columns.size)


def _between_units(
    caught: Captured, values: Floats, groups: ComparedGroups, selection: PairSelection, rng: np.random.Generator
) -> SearchResult:
    stratum = caught.units.stratum
    split = [_split(units, caught, rng) for units in groups.units]
    means = [
        [unit_means(values[runs], caught.unit[runs], half) for half in halved]
        for runs, halved in zip(groups.runs, split, strict=True)
    ]
    contrast = group_contrast(means[0][0], means[1][0])
    best = _scan(contrast, selection)
    first, second = stratum[split[0][1]], stratum[split[1][1]]
    # Where a prompt set has units of one group alone, the groups cannot be told from the sets.
    alike = set(first.tolist()) == set(second.tolist())
    strata = (first, second) if alike else (np.zeros_like(first), np.zeros_like(second))
    tested = unpaired_test(means[0][1], means[1][1], strata, best.pairs, selection.permutations, selection.seed)
    exchanged = f"{RESIDUALS}{', within prompt sets' if alike else ''}"
    sizes = tuple(len(a) + len(b) for a, b in zip(*split, strict=True))
    both = synergy([means[0][1], means[1][1]], best.pairs)
    chosen, columns = np.concatenate([split[0][0], split[1][0]]), _usable(contrast, selection).size
    apart = _mean_differences(best.pairs, selection.seed, means[0][1], first, means[1][1], second)
    return SearchResult(best, tested, (sizes[0], sizes[1]), chosen, exchanged, columns, both, apart)


def _mean_differences(
    pairs: Places,
    seed: int,
    values: Floats,
    stratum: Places,
    minus: Floats | None = None,
    minus_stratum: Places | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Of both coordinates of every pair [pair, 2]: the mean over units, and the ends of its interval."""
    columns, index = np.unique(pairs, return_inverse=True)
    other = None if minus is None else minus[:, columns]
    found = mean_effect(values[:, columns], stratum, other, minus_stratum, resamples=RESAMPLES, seed=seed)
    places = index.reshape(pairs.shape)
    return found.mean[places], found.low[places], found.high[places]


def _scan(contrast: Contrast, selection: PairSelection) -> BestPairs:
    columns = _usable(contrast, selection)
    shared = selection.shared if selection.among == "partners" else None
    score = marginal_score(contrast) if shared in selection.set_axes else separation_score(contrast)
    return _some(scan_pairs(contrast.residual, score, KEPT, columns, shared))


def _some(best: BestPairs) -> BestPairs:
    if not len(best.pairs):
        what = "no plane can be scored: coordinates that could be paired do not differ between units, or were set"
        raise ExplorerError(what, remedy="choose another neuron or site, or other groups")
    return best


def _usable(contrast: Contrast, selection: PairSelection) -> Places:
    usable = contrast.usable.copy()
    usable[list(selection.set_axes)] = False
    if selection.among == "changed":
        size = np.where(usable, np.abs(contrast.t), -1.0)
        usable &= size >= np.sort(size)[-min(selection.k, len(size))]
    columns = np.flatnonzero(usable)
    return columns[columns != selection.shared] if selection.among == "partners" else columns


def _split(units: Places, caught: Captured, rng: np.random.Generator) -> tuple[Places, Places]:
    chosen, other = halves(units, caught.units.stratum, rng)
    if min(len(chosen), len(other)) < FEWEST:
        raise _too_few(caught, len(units))
    return chosen, other


def _too_few(caught: Captured, units: int) -> ExplorerError:
    what = f"{units} {'unit' if units == 1 else 'units'} cannot be split into a half to choose on and a half to test on"
    return ExplorerError(what, where=caught.session.name, remedy=f"run {2 * FEWEST} prompts or more, better 50")
