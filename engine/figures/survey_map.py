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
FAINTEST = 0.05
"""Share of the neurons that move the texts which have the faintest shade, on a logarithmic scale."""

Shades = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SurveyMapFigure:
    """What a map shows.

    Attributes:
        value_label: what the shade is: "mean KL, nats a token".
        effects: [row, column] NaN where nothing was surveyed.
        rows: [row] what stands before it: the layer, "L11"; of a single layer, its first neuron, "1,024".
        layers: [row] its layer.
        first: [row] the neuron of its first column.
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
        fields["marks"] = tuple(tuple(mark) for mark in data["marks"])
        effects = [[math.nan if effect is None else effect for effect in row] for row in data["effects"]]
        fields["effects"] = np.array(effects, np.float64)
        return cls(**fields)

    @property
    def folded(self) -> bool:
        """Whether all rows are of one layer."""
        return len(self.rows) > 1 and len(set(self.layers)) == 1

    @property
    def column_label(self) -> str:
        """What columns are."""
        return "neuron, from the row's first" if self.folded else "neuron"

    def neuron(self, row: int, column: int) -> tuple[int, int]:
        """(layer, neuron) of a place."""
        return self.layers[row], self.first[row] + column

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
    warnings: Sequence[str] = (),
) -> SurveyMapFigure:
    """Lay the effects of neurons out: a row a layer; where there is one, its neurons in rows of equal length.

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
    seen = np.unique(layers)
    # Of one layer only what was surveyed is shown; several share their columns.
    start, end = int(neurons.min()), int(neurons.max())
    if len(seen) == 1:
        width = NARROW
        while width * width < end - start + 1:
            width *= 2
        start -= start % width
        row, column = (neurons - start) // width, (neurons - start) % width
        first = [start + width * at for at in range(int(row.max()) + 1)]
        names, of_row = [f"{at:,}" for at in first], [int(seen[0])] * len(first)
    else:
        width = end - start + 1
        row, column = np.searchsorted(seen, layers), neurons - start
        names, of_row, first = [f"L{at}" for at in seen], [int(at) for at in seen], [start] * len(seen)
    grid = np.full((len(names), width), np.nan)
    grid[row, column] = effects
    at = {(int(a), int(b)): (int(r), int(c)) for a, b, r, c in zip(layers, neurons, row, column, strict=True)}
    above = known[known > 0]
    low = 0.0
    if logarithmic:
        low = float(np.quantile(above, FAINTEST)) if above.size else 1.0
    return SurveyMapFigure(
        title=title,
        value_label=value_label,
        effects=grid,
        rows=tuple(names),
        layers=tuple(of_row),
        first=tuple(first),
        low=low,
        high=float(known.max()),
        logarithmic=logarithmic,
        marks=tuple((*at[a, b], name) for a, b, name in marks if (a, b) in at),
        warnings=tuple(warnings),
    )
