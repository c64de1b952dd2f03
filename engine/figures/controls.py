"""The chart of controls: how each measure of them spreads, and where the target lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.curves import LegendEntry
from srm_explorer.engine.figures.table import CellValue, TableFigure

LEAST_BINS, MOST_BINS = 5, 24


@dataclass(frozen=True)
class ControlsPanel:
    """One measure.

    Attributes:
        label: "plane 1: amplitude".
        target: of the target; None where it has none.
        controls: of every control that has one.
        median, low, high: of these; None for an angle, which has none.
        p: of the target's rank among them; None where none was told.
        edges: [bin + 1] ascending, over the controls; empty without a control.
        counts: [bin] controls in each; the last bin includes its upper edge.
    """

    label: str
    target: float | None
    controls: tuple[float, ...]
    median: float | None
    low: float | None
    high: float | None
    p: float | None
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ControlsFigure:
    """What a chart of controls shows.

    Attributes:
        panels: one a measure.
        p_title: what p is: "p (rank)".
        legend: the target's entry, then the controls'.
    """

    title: str
    panels: tuple[ControlsPanel, ...]
    p_title: str
    legend: tuple[LegendEntry, ...]
    warnings: tuple[str, ...]


TARGET, CONTROLS = "target", "controls"


def controls_figure(
    tables: Sequence[TableFigure], target: str, controls: str, warnings: Sequence[str] = ()
) -> ControlsFigure:
    """Lay out the tables of `controls_study`, the numbers as they stand there.

    Args:
        target: what it is: "n488".
        controls: what these are: "matched neurons clamped alike".

    Raises:
        ExplorerError: the tables are not those of controls.
    """
    known = {table.name: table for table in tables}
    if not {"controls", "control_neurons"} <= known.keys():
        raise ExplorerError("these tables hold no controls", remedy="srm-explorer controls SESSION makes them")
    ranks, neurons = known["controls"], known["control_neurons"]
    at = {column.key: place for place, column in enumerate(ranks.columns)}
    rank_of: dict[str, tuple[CellValue, ...]] = {}
    for row in ranks.rows:
        # The first rows of a measure are those of all values together.
        rank_of.setdefault(f"{row[at['where']]}: {row[at['measure']]}", row)
    panels: list[ControlsPanel] = []
    for place, column in enumerate(neurons.columns):
        if not column.key.startswith("measure_") or column.title not in rank_of:
            continue
        rank = rank_of[column.title]
        first, *others = [row[place] for row in neurons.rows]
        values = [float(value) for value in others if isinstance(value, int | float)]
        median, low, high, p = (
            _number(rank[at[key]]) for key in ("control_median", "control_low", "control_high", "p")
        )
        counts, edges = _bins(values)
        panels.append(ControlsPanel(column.title, _number(first), tuple(values), median, low, high, p, edges, counts))
    if not panels:
        raise ExplorerError("no measure of the target and its controls is known", remedy="finish the run")
    count = len(neurons.rows) - 1
    return ControlsFigure(
        title=ranks.title,
        panels=tuple(panels),
        p_title=ranks.columns[at["p"]].title,
        legend=(
            LegendEntry(TARGET, "pooled", (target,)),
            LegendEntry(CONTROLS, "chance", (f"{count} {controls}; dotted: median",)),
        ),
        warnings=tuple(warnings),
    )


def _bins(values: Sequence[float]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Counts and edges: about as many bins as twice the root of the controls."""
    if not values:
        return (), ()
    most = min(MOST_BINS, max(LEAST_BINS, round(2 * len(values) ** 0.5)))
    low, high = min(values), max(values)
    margin = 0.0 if high - low > 1e-9 * max(abs(low), abs(high)) else (abs(low) or 1.0) / 100
    counts, edges = np.histogram(values, bins=most, range=(low - margin, high + margin))
    return tuple(map(int, counts)), tuple(map(float, edges))


def _number(cell: CellValue) -> float | None:
    return float(cell) if isinstance(cell, int | float) else None
