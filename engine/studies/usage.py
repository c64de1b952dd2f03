"""Rarely used neurons: the quietest, the loudest and the flattest, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.running import ColumnStatistics
from engine.figures.numbers import three_digits
from engine.figures.table import CellValue, TableColumn, TableFigure

FIRES = 0.1
"""Part of its layer's typical size that a gated neuron's activation must exceed, either way, to count as active."""

_SHOWN = (0.01, 0.5, 0.99)
"""Quantiles that a row shows beside the extremes."""

_COLUMNS = (
    TableColumn("layer", "layer", "index"),
    TableColumn("neuron", "neuron", "index"),
    TableColumn("active", "active", "percent"),
    TableColumn("mean", "mean"),
    TableColumn("std", "sd"),
    TableColumn("rms", "rms", keep=3),
    TableColumn("relative", "rms / typical"),
    TableColumn("flatness", "sd / rms", keep=2),
    TableColumn("kurtosis", "kurtosis", keep=5),
    TableColumn("low", "smallest", keep=4),
    *(TableColumn(f"q{level:g}".replace("0.", "."), f"q{three_digits(level)}", keep=6) for level in _SHOWN),
    TableColumn("high", "largest"),
    TableColumn("high_at", "largest at", "text", keep=1),
)


@dataclass(frozen=True, eq=False)
class LayerUsage:
    """What is known of a layer's neurons.

    Attributes:
        layer: which.
        statistics: of its activations, a neuron a column.
        gated: whether its MLP is gated, so that activations take both signs.
    """

    layer: int
    statistics: ColumnStatistics
    gated: bool

    @property
    def typical(self) -> float:
        """Median over its neurons of their root mean square, which one neuron of thousands cannot move."""
        return float(np.median(self.statistics.rms))

    @property
    def active(self) -> NDArray[np.float64]:
        """[neuron] share of positions where it is active.

        Ungated (GELU, ReLU): above 0. Gated: further from 0 than a tenth of the layer's typical size, on the
        positions that were kept: it is above 0 half the time, which tells nothing.
        """
        if not self.gated:
            return self.statistics.positive
        return (np.abs(self.statistics.sample) > FIRES * self.typical).mean(axis=0)

    @property
    def relative(self) -> NDArray[np.float64]:
        """[neuron] its root mean square by the layer's typical one; as it is where that is 0."""
        return self.statistics.rms / (self.typical or 1.0)

    def rows(self, neurons: Sequence[int], token_at: Callable[[int], str]) -> list[tuple[CellValue, ...]]:
        """The rows of some of its neurons."""
        known, chosen = self.statistics, list(neurons)
        quantiles = np.quantile(known.sample[:, chosen].astype(np.float64), _SHOWN, axis=0)
        shares = (self.active, known.mean, known.std, known.rms, self.relative, known.flatness, known.kurtosis)
        columns = [*(one[chosen] for one in (*shares, known.low)), *quantiles, known.high[chosen]]
        numbers = np.array(columns, dtype=np.float64).T
        places = [token_at(int(number)) for number in known.high_at[chosen]]
        return [
            (self.layer, neuron, *(float(number) for number in row), place)
            for neuron, row, place in zip(chosen, numbers, places, strict=True)
        ]


def usage_tables(
    layers: Mapping[int, ColumnStatistics],
    *,
    gated: bool,
    caption: str,
    seed: int,
    top: int = 10,
    every: bool = False,
    token_at: Callable[[int], str] = str,
    is_first: Callable[[int], bool] = lambda number: False,
) -> tuple[TableFigure, ...]:
    """Rank neurons by how much they are used.

    Args:
        layers: statistics of every layer that was measured.
        gated: whether its MLPs are gated.
        caption: what was read.
        seed: of the positions that were kept.
        top: rows of a ranking.
        every: also a table of all neurons.
        token_at: names the position of a number.
        is_first: tells whether a number is that of a text's first position.

    Returns:
        One row a layer, where there are several; then the neurons that are active most rarely, the quietest, the
        loudest and the flattest; then all of them.
    """
    measured = [LayerUsage(layer, one, gated) for layer, one in layers.items()]
    owners = [(one, neuron) for one in measured for neuron in range(len(one.statistics.mean))]
    active, high = _joined(measured, lambda one: one.active), _joined(measured, lambda one: one.statistics.high)
    relative = _joined(measured, lambda one: one.relative)
    flat = _joined(measured, lambda one: one.statistics.flatness)
    silent = np.isnan(flat)
    notes = _notes(measured, caption, seed, is_first)
    where = f"layer {measured[0].layer}" if len(measured) == 1 else f"{len(measured)} layers"
    orders = (
        ("rarest", f"Most rarely active neurons of {where}", np.lexsort((high, active))),
        ("quietest", f"Quietest neurons of {where}: smallest root mean square", np.argsort(relative, kind="stable")),
        ("loudest", f"Loudest neurons of {where}: largest root mean square", np.argsort(-relative, kind="stable")),
        (
            "flattest",
            f"Flattest neurons of {where}: nearest to a constant (smallest sd / rms)",
            np.lexsort((np.where(silent, np.inf, flat), silent)),
        ),
    )
    tables = [] if len(measured) == 1 else [_overview(measured, token_at, notes)]
    for name, title, order in orders:
        found = [owners[int(place)] for place in order[:top]]
        chosen = tuple(one.rows([neuron], token_at)[0] for one, neuron in found)
        tables.append(TableFigure(name, title, _COLUMNS, chosen, notes if not tables else ()))
    if every:
        rows = tuple(row for one in measured for row in one.rows(range(len(one.statistics.mean)), token_at))
        tables.append(TableFigure("neurons", f"All neurons of {where}", _COLUMNS, rows))
    return tuple(tables)


def _overview(measured: list[LayerUsage], token_at: Callable[[int], str], notes: tuple[str, ...]) -> TableFigure:
    columns = (
        TableColumn("layer", "layer", "index"),
        TableColumn("typical", "typical rms"),
        TableColumn("active", "active (median)", "percent"),
        TableColumn("never", "never active", "whole"),
        TableColumn("rare", "active < 1 %", "whole"),
        TableColumn("quietest", "quietest", "index", keep=2),
        TableColumn("flattest", "flattest", "index", keep=3),
        TableColumn("loudest", "loudest", "index"),
        TableColumn("high", "largest"),
        TableColumn("high_at", "largest at", "text", keep=1),
    )
    rows: list[tuple[CellValue, ...]] = []
    for one in measured:
        active, known = one.active, one.statistics
        flat = np.where(np.isnan(known.flatness), np.inf, known.flatness)
        best = int(known.high.argmax())
        rows.append(
            (
                one.layer,
                one.typical,
                float(np.median(active)),
                int((active == 0).sum()),
                int((active < 0.01).sum()),
                int(known.rms.argmin()),
                int(flat.argmin()),
                int(known.rms.argmax()),
                float(known.high[best]),
                token_at(int(known.high_at[best])),
            )
        )
    return TableFigure("layers", "Use of neurons, layer by layer", columns, tuple(rows), notes)


def _notes(measured: list[LayerUsage], caption: str, seed: int, is_first: Callable[[int], bool]) -> tuple[str, ...]:
    first = measured[0].statistics
    notes = [f"measured on {caption}"]
    peaks = [one.statistics for one in measured]
    sinks = sum(is_first(int(one.high_at[one.high.argmax()])) for one in peaks)
    if sinks:
        where = f"in {sinks} of {len(measured)} layers " if len(measured) > 1 else ""
        notes.insert(
            0,
            f"{where}the largest activation stands at the first position of a text, which attends to itself alone and "
            "is unlike all others: skip 1 to leave it out",
        )
    notes.append("typical: median over the layer's neurons of their rms, the root of the mean square")
    if measured[0].gated:
        text = "active: further from 0 than a tenth of typical, either way (gated MLPs take both signs)"
        notes.append(text if len(measured) > 1 else f"{text}: {three_digits(FIRES * measured[0].typical)}")
    else:
        notes.append("active: above 0; an ungated neuron that is not active is slightly below 0, or 0")
    notes.append("sd / rms: 0 for a constant, 1 for mean 0; kurtosis: above 0 where a neuron fires rarely and strongly")
    if not first.is_exact:
        notes.append(
            f"quantiles{' and active' if measured[0].gated else ''} of {len(first.sample):,} positions chosen at random"
            f" (seed {seed}) of {first.n:,}; all else of all"
        )
    if first.n < 1000:
        notes.append(
            f"rarely active on {first.n:,} positions says little: one of them is {three_digits(100 / first.n)} %"
        )
    return tuple(notes)


def _joined(measured: list[LayerUsage], column: Callable[[LayerUsage], NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([column(one) for one in measured])
