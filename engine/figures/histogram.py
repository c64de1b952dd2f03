"""Histograms: how often a neuron was how active, or how much each of many moved the texts, with marks among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures.curves import LegendEntry
from srm_explorer.engine.figures.numbers import Axis, decade_axis, round_axis, three_digits

BINS = 60
SIDE = 1.5
"""Times the measured range that the view may reach beyond it, for a value to be shown at its true place."""


@dataclass(frozen=True)
class HistogramMark:
    """A value on the axis.

    Attributes:
        value: raw units.
        label: as it was written: "+20", "q0.99".
        told: where it lies among what was measured: "q.998", "beyond q.999, 4.1 × the largest".
        beyond: -1 below everything that was measured, 1 above, 0 within.
    """

    value: float
    label: str
    told: str
    beyond: int = 0


@dataclass(frozen=True)
class HistogramFigure:
    """What a histogram shows.

    Attributes:
        noun: what is counted.
        decades: whether edges, ends and marks are decimal logarithms of what the axis says.
        edges: [bin + 1] ascending, over the measured range.
        counts: [bin] how many values lie in each; the last includes its upper edge.
        low: where the horizontal axis begins.
        high: where it ends; marks beyond it are told at the edge.
    """

    title: str
    value_label: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    n: int
    low: float
    high: float
    marks: tuple[HistogramMark, ...] = ()
    notes: tuple[str, ...] = ()
    noun: str = "position"
    decades: bool = False

    def axis(self, most: int) -> Axis:
        """The horizontal axis with at most so many ticks."""
        if not self.decades:
            return round_axis((self.low, self.high), most=most)
        return decade_axis(self.low, self.high, most)

    def told(self, text: str) -> HistogramFigure:
        """The same, saying something else of its marks."""
        return replace(self, marks=tuple(replace(mark, told=text) for mark in self.marks))

    @property
    def legend(self) -> tuple[LegendEntry, ...]:
        """An entry a mark."""
        return tuple(LegendEntry(mark.label, "level", (mark.told,)) for mark in self.marks)

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.notes

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> HistogramFigure:
        """Read what `to_dict` wrote, by this program, whether it went through JSON or not."""
        fields = dict(data)
        for name in ("edges", "counts", "notes"):
            fields[name] = tuple(data[name])
        fields["marks"] = tuple(HistogramMark(**mark) for mark in data["marks"])
        return cls(**fields)


def histogram_figure(
    values: NDArray[np.floating],
    marks: Sequence[tuple[float, str]] = (),
    *,
    title: str = "",
    value_label: str = "activation",
    notes: Sequence[str] = (),
    bins: int = BINS,
    noun: str = "position",
) -> HistogramFigure:
    """Count values in bins of one width, and place marks among them.

    A mark that lies further outside than one and a half times the measured range is told at the edge, so that it does
    not squeeze the rest to a line.

    Args:
        values: [n] finite, at least one.
        marks: values that were given, and their labels.
    """
    values = np.asarray(values, np.float64)
    low, high = float(values.min()), float(values.max())
    # A neuron that never changes still has a bin.
    margin = 0.0 if high - low > 1e-9 * max(abs(low), abs(high)) else (abs(low) or 1.0) / 100
    counts, edges = np.histogram(values, bins=bins, range=(low - margin, high + margin))
    span = float(edges[-1] - edges[0])
    placed = [mark_among(values, value, label) for value, label in sorted(marks) if math.isfinite(value)]
    near = [mark.value for mark in placed if edges[0] - SIDE * span <= mark.value <= edges[-1] + SIDE * span]
    return HistogramFigure(
        title=title,
        value_label=value_label,
        edges=tuple(edges.tolist()),
        counts=tuple(int(count) for count in counts),
        n=len(values),
        low=min(float(edges[0]), *near) if near else float(edges[0]),
        high=max(float(edges[-1]), *near) if near else float(edges[-1]),
        marks=tuple(placed),
        notes=tuple(notes),
        noun=noun,
    )


def decade_figure(
    values: NDArray[np.floating],
    marks: Sequence[tuple[float, str]] = (),
    *,
    title: str,
    value_label: str,
    noun: str,
) -> HistogramFigure:
    """Count positive values in bins of one width on a logarithmic axis; those at 0 are told in a note.

    Args:
        values: [n] finite, none below 0.
        marks: among the values, and their labels; one at 0 is told by a note alone.
    """
    values = np.asarray(values, np.float64)
    above = values[values > 0]
    zeros = len(values) - len(above)
    said: list[str] = []
    if zeros:
        said.append(f"{zeros:,} of {len(values):,} {noun}s at 0, which has no place on this axis")
    said += [f"{label} is at 0" for value, label in marks if value <= 0]
    placed = [(math.log10(value), label) for value, label in marks if value > 0]
    bins = max(8, min(BINS, round(2 * len(above) ** 0.5)))
    figure = histogram_figure(
        np.log10(above) if len(above) else np.zeros(1),
        placed,
        title=title,
        value_label=value_label,
        notes=said,
        bins=bins,
        noun=noun,
    )
    told = [
        replace(each, told=_rank_told(values, value), beyond=0)
        for each, (value, _) in zip(figure.marks, sorted(one for one in marks if one[0] > 0), strict=True)
    ]
    return replace(figure, marks=tuple(told), decades=True, n=len(values))


def _rank_told(values: NDArray[np.float64], value: float) -> str:
    above = int((values > value).sum())
    return f"{three_digits(value)}: {f'{above:,} of' if above else 'the largest of'} {len(values):,}" + (
        " lie above" if above else ""
    )


def mark_among(values: NDArray[np.floating], value: float, label: str) -> HistogramMark:
    """Say where a value lies among those measured: its quantile, or how far outside.

    The quantile is the share of measured values below it, half of the equal ones included.
    """
    low, high = float(values.min()), float(values.max())
    if value > high:
        return HistogramMark(value, label, f"above all {len(values):,} measured{_times(value, high, 'largest')}", 1)
    if value < low:
        return HistogramMark(value, label, f"below all {len(values):,} measured{_times(value, low, 'smallest')}", -1)
    share = (float((values < value).sum()) + float((values <= value).sum())) / (2 * len(values))
    return HistogramMark(value, label, f"quantile {three_digits(share)}")


def _times(value: float, extreme: float, noun: str) -> str:
    """How many times the extreme a value is, where both are on one side of 0; else how far apart they are."""
    if value * extreme > 0 and abs(value) > abs(extreme):
        return f", {three_digits(value / extreme)} × the {noun} ({three_digits(extreme)})"
    return f", {three_digits(abs(value - extreme))} from the {noun} ({three_digits(extreme)})"
