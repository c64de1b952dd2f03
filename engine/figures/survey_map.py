"""The map of a survey: a row a layer, a column a neuron, how much each moved the texts as a shade."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.curves import LegendEntry
from srm_explorer.engine.figures.numbers import three_digits

NARROW = 8
"""Neurons of the narrowest row that a single layer is folded into."""
MOST_NAMED = 12
"""Columns that are one neuron each, however far apart their numbers are."""
FULL = 0.5
"""Share of a map's places that have to be surveyed neurons; of fewer, those alone have places."""
SHARED, SHARED_BY_FEW = 0.75, 0.4
"""The same of columns that layers share, of many and of few columns: else each layer has its own, without gaps."""
FAINTEST = 0.05
"""Share of the neurons that move the texts which have the faintest shade, on a logarithmic scale."""

Shades = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SurveyMapFigure:
    """What a map shows.

    Attributes:
        value_label: what the shade is: "mean KL, nats a token".
        effects: [row, column] NaN where nothing was surveyed.
        rows: [row] what stands before it: the layer, "L11"; of one layer in several rows its first neuron, "1,024".
        layers: [row] its layer.
        first: [row] the neuron of its first column.
        numbers: [row][column] the neuron of each place where they do not go on from the first one by one, since what
            lies between was not surveyed; -1 where there is none. Empty where they do.
        low: effect of the faintest shade; effects below it have the same.
        high: effect of the darkest.
        logarithmic: whether shades go by the effect's logarithm.
        marks: (row, column, name) of neurons that are marked.
    """

    title: str
    value_label: str
    effects: Shades
    rows: tuple[str, ...]
    layers: tuple[int, ...]
    first: tuple[int, ...]
    low: float
    high: float
    logarithmic: bool
    numbers: tuple[tuple[int, ...], ...] = ()
    marks: tuple[tuple[int, int, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def legend(self) -> tuple[LegendEntry, ...]:
        """An entry a mark."""
        return tuple(
            LegendEntry(name, "pooled", (f"{self.value_label} {three_digits(float(self.effects[row, column]))}",))
            for row, column, name in self.marks
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what is not known is None."""
        known = [[None if math.isnan(effect) else effect for effect in row] for row in self.effects.tolist()]
        plain: dict[str, Any] = {**vars(self), "effects": known}
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SurveyMapFigure:
        """Read what `to_dict` wrote, by this program, whether it went through JSON or not."""
        fields = dict(data)
        for name in ("rows", "layers", "first", "warnings"):
            fields[name] = tuple(data[name])
        fields["numbers"] = tuple(tuple(row) for row in data["numbers"])
        fields["marks"] = tuple(tuple(mark) for mark in data["marks"])
        effects = [[math.nan if effect is None else effect for effect in row] for row in data["effects"]]
        fields["effects"] = np.array(effects, np.float64)
        return cls(**fields)

    @property
    def folded(self) -> bool:
        """Whether all rows are of one layer."""
        return len(self.rows) > 1 and len(set(self.layers)) == 1

    @property
    def columns(self) -> tuple[int, ...]:
        """[column] its neuron, the same in every row, where those that were surveyed alone have columns; else empty."""
        shared = bool(self.numbers) and not self.folded and len(set(self.numbers)) == 1
        return self.numbers[0] if shared else ()

    @property
    def column_label(self) -> str:
        """What columns are."""
        if self.numbers and not self.columns:
            return "surveyed neurons in ascending order" + (", row after row" if self.folded else "")
        return "neuron, from the row's first" if self.folded else "neuron"

    def neuron(self, row: int, column: int) -> tuple[int, int]:
        """(layer, neuron) of a place; -1 where no neuron has it."""
        return self.layers[row], self.numbers[row][column] if self.numbers else self.first[row] + column

    def binned(self, columns: int) -> Shades:
        """[row, at most so many] the largest effect of each stretch of a row: no neuron that stands out is lost."""
        width = self.effects.shape[1]
        if width <= columns:
            return self.effects
        starts = (np.arange(columns) * width) // columns
        largest = np.fmax.reduceat(self.effects, starts, axis=1)
        return np.asarray(largest, np.float64)

    def shades(self, effects: Shades) -> Shades:
        """Effects as shades, 0 the faintest and 1 the darkest; NaN stays."""
        if not self.high > self.low:
            return np.where(np.isnan(effects), np.nan, 1.0 if self.high > 0 else 0.0)
        if not self.logarithmic:
            return np.clip((effects - self.low) / (self.high - self.low), 0.0, 1.0)
        with np.errstate(divide="ignore"):
            span = math.log(self.high / self.low)
            return np.clip(np.log(np.maximum(effects, 0.0) / self.low) / span, 0.0, 1.0)


def survey_map(
    layer: ArrayLike,
    neuron: ArrayLike,
    effect: ArrayLike,
    *,
    title: str,
    value_label: str,
    logarithmic: bool,
    marks: Sequence[tuple[int, int, str]] = (),
) -> SurveyMapFigure:
    """Lay the effects of neurons out: a row a layer; where there is one, its neurons in rows of equal length.

    Where few of the neurons between the first and the last were surveyed, they alone have places: the same columns in
    every layer where that fills them, else those of each layer in ascending order.

    Args:
        layer: [cell] of each.
        neuron: [cell] its number in it.
        effect: [cell] no less than 0; NaN where it is not known.
        marks: (layer, neuron, name); those that were not surveyed are left out.

    Raises:
        ExplorerError: nothing is known of any.
    """
    layers, neurons = np.asarray(layer, np.int64), np.asarray(neuron, np.int64)
    effects = np.asarray(effect, np.float64)
    known = effects[np.isfinite(effects)]
    if not known.size:
        raise ExplorerError("nothing of the survey is known yet", remedy="run the same command to go on")
    laid = _laid_out(layers, neurons)
    grid = np.full((len(laid.rows), laid.width), np.nan)
    grid[laid.row, laid.column] = effects
    placed = zip(layers.tolist(), neurons.tolist(), laid.row.tolist(), laid.column.tolist(), strict=True)
    at = {(of, number): (row, column) for of, number, row, column in placed}
    above = known[known > 0]
    low = 0.0
    if logarithmic:
        low = float(np.quantile(above, FAINTEST)) if above.size else 1.0
    return SurveyMapFigure(
        title=title,
        value_label=value_label,
        effects=grid,
        rows=laid.rows,
        layers=laid.layers,
        first=laid.first,
        low=low,
        high=float(known.max()),
        logarithmic=logarithmic,
        numbers=laid.numbers,
        marks=tuple((*at[a, b], name) for a, b, name in marks if (a, b) in at),
    )


@dataclass(frozen=True)
class _Layout:
    """Where neurons lie on a map: [cell] their rows and columns; the rest as the figure has it."""

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    width: int
    rows: tuple[str, ...]
    layers: tuple[int, ...]
    first: tuple[int, ...]
    numbers: tuple[tuple[int, ...], ...] = ()


def _laid_out(layers: NDArray[np.int64], neurons: NDArray[np.int64]) -> _Layout:
    """Choose by how much of a map would be empty.

    Layers share a column a surveyed neuron where those are few or most layers have them; else they share all numbers
    between the first and the last where half of these were surveyed; else each has its own neurons in order. One layer
    is folded into rows: of all numbers, or of its own neurons.
    """
    seen, ours = np.unique(layers), np.unique(neurons)
    start, places = int(ours[0]), int(ours[-1] - ours[0]) + 1
    row = np.searchsorted(seen, layers)
    are_full = len(neurons) >= FULL * len(seen) * places
    shared = len(neurons) / (len(seen) * len(ours))
    few = len(ours) <= MOST_NAMED and shared >= SHARED_BY_FEW
    if few or (not are_full and len(seen) > 1 and shared >= SHARED):
        return _in_order(seen, row, np.searchsorted(ours, neurons), np.tile(ours, (len(seen), 1)))
    if len(seen) > 1 and are_full:
        of_row = tuple(map(int, seen))
        return _Layout(row, neurons - start, places, _named(of_row), of_row, (start,) * len(seen))
    if len(seen) > 1:
        order = np.lexsort((neurons, row))
        counts = np.bincount(row)
        column = np.empty_like(row)
        column[order] = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        numbers = np.full((len(seen), int(counts.max())), -1)
        numbers[row, column] = neurons
        return _in_order(seen, row, column, numbers)
    width = NARROW
    while width * width < (places if are_full else len(ours)):
        width *= 2
    if are_full:
        # Rows begin at round numbers.
        start -= start % width
        row, column = (neurons - start) // width, (neurons - start) % width
        first = tuple(start + width * at for at in range(int(row.max()) + 1))
        return _Layout(row, column, width, _counted(first), (int(seen[0]),) * len(first), first)
    row, column = np.divmod(np.searchsorted(ours, neurons), width)
    numbers = np.full((int(row.max()) + 1, width), -1)
    numbers[row, column] = neurons
    return _in_order(np.repeat(seen, len(numbers)), row, column, numbers)


def _in_order(
    layers: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64], numbers: NDArray[np.int64]
) -> _Layout:
    """A layout of neurons whose numbers do not go on one by one."""
    first, of_row = tuple(map(int, numbers[:, 0])), tuple(map(int, layers))
    are_parts = len(of_row) > 1 and len(set(of_row)) == 1
    names = _counted(first) if are_parts else _named(of_row)
    return _Layout(row, column, numbers.shape[1], names, of_row, first, tuple(map(tuple, numbers.tolist())))


def _named(layers: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"L{layer}" for layer in layers)


def _counted(neurons: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"{neuron:,}" for neuron in neurons)
