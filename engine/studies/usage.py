"""Rarely used neurons: the quietest, the loudest and the flattest, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.running import ColumnStatistics
from engine.figures.numbers import three_digits
from engine.figures.table import CellValue, TableColumn, TableFigure

FIRES = 0.1
"""Part of its layer's root mean square that a gated neuron's activation must exceed, in size, to count as active."""

_SHOWN = (0.01, 0.5, 0.99)
"""Quantiles that a row shows beside the extremes."""

_COLUMNS = (
    TableColumn("layer", "layer", "index"),
    TableColumn("neuron", "neuron", "index"),
    TableColumn("active", "active", "percent"),
    TableColumn("mean", "mean"),
    TableColumn("std", "sd"),
    TableColumn("rms", "rms", keep=3),
    TableColumn("relative", "rms / layer's"),
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
    def rms(self) -> float:
        """Root of the mean square over its neurons and positions."""
        return float(np.sqrt((self.statistics.rms**2).mean()))

    @property
    def active(self) -> NDArray[np.float64]:
        """[neuron] share of positions where it is active.

        Ungated (GELU, ReLU): above 0. Gated: further from 0 than a tenth of the layer's root mean square, on the
        positions that were kept: it is above 0 half the time, which tells nothing.
        """
        if not self.gated:
            return self.statistics.positive
        return (np.abs(self.statistics.sample) > FIRES * self.rms).mean(axis=0)

    @property
    def relative(self) -> NDArray[np.float64]:
        """[neuron] its root mean square by the layer's; 0 where the whole layer is silent."""
        return self.statistics.rms / (self.rms or 1.0)


def usage_tables(
    layers: Mapping[int, ColumnStatistics],
    *,
    gated: bool,
    caption: str,
    seed: int,
    top: int = 10,
    every: bool = False,
    token_at: Callable[[int], str] = lambda number: str(number),
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

    Returns:
        One row a layer, where there are several; then the neurons that are active most rarely, the quietest, the
        loudest and the flattest; then all of them.
    """
    measured = [LayerUsage(layer, one, gated) for layer, one in layers.items()]
    rows = [row for one in measured for row in _rows(one, token_at)]
    active, high = _joined(measured, lambda one: one.active), _joined(measured, lambda one: one.statistics.high)
    relative = _joined(measured, lambda one: one.relative)
    flat = _joined(measured, lambda one: one.statistics.flatness)
    silent = np.isnan(flat)
    notes = _notes(measured, caption, seed)
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
        chosen = tuple(rows[int(place)] for place in order[:top])
        tables.append(TableFigure(name, title, _COLUMNS, chosen, notes if not tables else ()))
    if every:
        tables.append(TableFigure("neurons", f"All neurons of {where}", _COLUMNS, tuple(rows)))
    return tuple(tables)


def _rows(one: LayerUsage, token_at: Callable[[int], str]) -> list[tuple[CellValue, ...]]:
    known, quantiles = one.statistics, one.statistics.quantiles(_SHOWN)
    columns = (one.active, known.mean, known.std, known.rms, one.relative, known.flatness, known.kurtosis, known.low)
    numbers = [column.tolist() for column in (*columns, *quantiles, known.high)]
    places = [token_at(number) for number in known.high_at.tolist()]
    return [
        (one.layer, neuron, *(column[neuron] for column in numbers), places[neuron]) for neuron in range(len(places))
    ]


def _overview(measured: list[LayerUsage], token_at: Callable[[int], str], notes: tuple[str, ...]) -> TableFigure:
    columns = (
        TableColumn("layer", "layer", "index"),
        TableColumn("rms", "rms"),
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
                one.rms,
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


def _notes(measured: list[LayerUsage], caption: str, seed: int) -> tuple[str, ...]:
    first = measured[0].statistics
    notes = [f"measured on {caption}"]
    if measured[0].gated:
        text = "active: further from 0 than a tenth of its layer's rms, either way (gated MLPs take both signs)"
        notes.append(text if len(measured) > 1 else f"{text}: {three_digits(FIRES * measured[0].rms)}")
    else:
        notes.append("active: above 0; an ungated neuron that is not active is slightly below 0, or 0")
    notes.append("rms: root of the mean square of the activation; sd / rms is 0 for a constant, 1 for mean 0")
    if not first.is_exact:
        notes.append(
            f"quantiles{' and active' if measured[0].gated else ''} of {len(first.sample):,} positions chosen at random"
            f" (seed {seed}) of {first.n:,}; all else of all"
        )
    if first.n < 1000:
        notes.append(f"rarely active on {first.n:,} positions says little: {three_digits(1 / first.n)} is one of them")
    return tuple(notes)


def _joined(measured: list[LayerUsage], column: Callable[[LayerUsage], NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([column(one) for one in measured])
