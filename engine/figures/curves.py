"""Curves and legends: what the charts have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures.numbers import NOTHING, count_of, degrees, three_digits
from srm_explorer.engine.stats.spotlight import Sweep

Role = Literal["baseline", "baseline of", "reference", "pooled", "value", "level", "arithmetic", "chance"]
"""What a group is; one "baseline of" stands beside other baselines, of a factor's levels."""

BESIDE = frozenset({"arithmetic", "chance"})
"""Roles of what is no group of runs and stands beside those that are."""


@dataclass(frozen=True, eq=False)
class SweptGroup:
    """One group of runs and what the spotlight saw of it.

    Attributes:
        label: "baseline", "clamped", "+20".
        role: decides colour and marker; "arithmetic" is drawn dashed.
        sweep: of the group's runs.
        n_runs: runs, those that are not finite included.
        session: which of several sessions it is of, from 0; None where there is one.
    """

    label: str
    role: Role
    sweep: Sweep
    n_prompts: int
    n_runs: int
    session: int | None = None


@dataclass(frozen=True, eq=False)
class Curve:
    """A line of points; it is interrupted where a coordinate is not finite.

    Attributes:
        x: [point] angle in degrees, or value.
        y: [point] in the unit of its axis.
        tag: short text beside the curve, where several belong to one entry: ".5", "mean".
        dotted: drawn as dots: the second of two quantities on one chart.
        dashed: drawn as dashes: what arithmetic predicts.
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    tag: str = ""
    dotted: bool = False
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class CurveBand:
    """Where a curve may lie, or where chance alone would have drawn it.

    Attributes:
        x: [point] as the curve's.
        low: [point] its lower end, in the unit of the curve's axis.
        high: [point] its upper end.
        chance: True for what chance draws, which is filled; else it is drawn as bars across the curve.
    """

    label: str
    x: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    chance: bool = False


@dataclass(frozen=True)
class LegendRow:
    """What the columns of a legend hold of a group; empty where it is not known.

    Attributes:
        runs: "550".
        amplitude, amplitude_range: of the mean, and where it may lie: ".0110", "[.006, .014]".
        phase, phase_range: its angle, and where it may lie: "259°", "(251, 267)"; no range where it may be any.
        p: of what is beyond arithmetic.
        note: what must be known of the p, or what the entry is where nothing is counted: "95 % of 200 planes".
    """

    runs: str = ""
    amplitude: str = ""
    amplitude_range: str = ""
    phase: str = ""
    phase_range: str = ""
    p: str = ""
    note: str = ""


UNDETERMINED = "undetermined"
"""A phase that may be any."""


@dataclass(frozen=True)
class LegendEntry:
    """One group in the legend.

    Attributes:
        details: short texts, most telling first: "A .0110  φ 303°", "50 prompts · 550 runs".
        of: label of the group it stands beside, whose colour it has where there are several such entries.
        row: its columns where the legend is a table; None where it is lines of details.
        session: which of several sessions it is of, from 0, whose colour it has; None where there is one.
    """

    label: str
    role: Role
    details: tuple[str, ...]
    of: str = ""
    row: LegendRow | None = None
    session: int | None = None


def legend_of(groups: Sequence[SweptGroup]) -> tuple[LegendEntry, ...]:
    return tuple(
        LegendEntry(group.label, group.role, (mean_detail(group), counts_detail(group)), row=mean_row(group))
        for group in groups
    )


def mean_row(group: SweptGroup) -> LegendRow:
    """Runs, amplitude and phase of a group's mean."""
    return LegendRow(f"{group.n_runs:,}", three_digits(group.sweep.amplitude), phase=degrees(group.sweep.phase_deg))


def in_full(legend: Iterable[LegendEntry]) -> tuple[LegendEntry, ...]:
    """A legend that says every detail of its entries in lines, in place of a table."""
    return tuple(dataclasses.replace(entry, row=None) for entry in legend)


def mean_detail(group: SweptGroup) -> str:
    """Amplitude and phase of a group's mean: "A .0110  φ 303°"."""
    return f"A {three_digits(group.sweep.amplitude)}  φ {degrees(group.sweep.phase_deg)}"


def counts_detail(group: SweptGroup) -> str:
    """How many prompts and runs a group has: "50 prompts · 550 runs"."""
    return f"{count_of(group.n_prompts, 'prompt')} · {count_of(group.n_runs, 'run')}"


def warnings_of(sweeps: Iterable[Sweep]) -> tuple[str, ...]:
    listed = list(sweeps)
    broken = sorted({run for sweep in listed for run in sweep.nonfinite_runs})
    zero = sorted({run for sweep in listed for run in sweep.zero_runs})
    warnings: list[str] = []
    if broken:
        warnings.append(f"{count_of(len(broken), 'run')} not finite, left out: {_some(broken)}")
    if zero:
        warnings.append(
            f"{count_of(len(zero), 'zero vector')}, counted in N: {'run' if len(zero) == 1 else 'runs'} {_some(zero)}"
        )
    return tuple(warnings)


def once_round(sweep: Sweep, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Close a curve over angles: its first value again, at 360 degrees."""
    return np.append(sweep.angles_deg, 360.0), np.append(values, values[0])


def checked_labels(groups: Sequence[SweptGroup]) -> None:
    """Refuse two groups of one label: their curves could not be told apart.

    Raises:
        ValueError: a label stands twice.
    """
    labels = [group.label for group in groups]
    if len(set(labels)) != len(labels):
        raise ValueError(f"group labels must differ, got {labels}")


def _some(runs: list[int]) -> str:
    shown = ", ".join(str(run) for run in runs[:4])
    return f"{shown}, …" if len(runs) > 4 else shown or NOTHING
