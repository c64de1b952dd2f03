"""The neuron card as tables and a histogram, from arrays that were measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from engine.analysis.running import QUANTILES
from engine.figures.histogram import HistogramFigure, HistogramMark, mark_among
from engine.figures.numbers import three_digits
from engine.figures.table import CellValue, PlaneChoice, TableColumn, TableFigure
from engine.session import Session

_NEIGHBOURS = (
    TableColumn("layer", "layer", "index"),
    TableColumn("neuron", "neuron", "index"),
    TableColumn("cosine", "cosine"),
)


@dataclass(frozen=True)
class Fact:
    """One number of a neuron.

    Attributes:
        name: "norm of W_out".
        value: raw.
        share: of the layer's neurons with a smaller one; None where it is not known.
    """

    name: str
    value: float
    share: float | None = None


@dataclass(frozen=True)
class Firing:
    """One position and what the neuron does there.

    Attributes:
        activation: raw.
        text: with the token marked.
        token: as text.
        position: absolute.
        set: the prompt set.
        times: texts that are the same up to there.
        run: index of the baseline run it belongs to; None where it belongs to none.
    """

    activation: float
    text: str
    token: str
    position: int
    set: str
    times: int
    run: int | None


def facts_table(title: str, facts: Sequence[Fact], notes: Sequence[str] = ()) -> TableFigure:
    """What is known of a neuron, a number a row."""
    columns = (
        TableColumn("fact", "", "text"),
        TableColumn("value", "value"),
        TableColumn("share", "percentile in layer", "percent"),
    )
    return TableFigure("neuron", title, columns, tuple((f.name, f.value, f.share) for f in facts), tuple(notes))


def activation_facts(values: NDArray[np.floating], *, gated: bool) -> tuple[Fact, ...]:
    """Moments, quantiles and extremes of a neuron's activations [position]."""
    moments = [Fact("mean activation", float(values.mean())), Fact("standard deviation", float(values.std()))]
    above = Fact("share of positions above 0", float((values > 0).mean()))
    levels = [one for one in QUANTILES if min(one, 1 - one) * len(values) >= 1]
    named = [Fact(f"quantile {three_digits(level)}", float(np.quantile(values, level))) for level in levels]
    below = [Fact("share of positions below 0", float((values < 0).mean()))] if gated else []
    extremes = Fact("smallest", float(values.min())), Fact("largest", float(values.max()))
    return (*moments, above, *below, extremes[0], *named, extremes[1])


def token_tables(
    logits: NDArray[np.floating], decode: Callable[[int], str], *, top: int, is_last: bool, is_normed: bool
) -> tuple[TableFigure, TableFigure]:
    """The tokens whose logits rise and fall most with a neuron.

    Args:
        logits: [vocabulary] what one unit of activation adds, the last norm's division aside.
        decode: text of a token id.
        top: rows of each table.
        is_last: whether the neuron is in the last layer.
        is_normed: whether a norm follows W_out, whose division is left out too.
    """
    spread = float(logits.std())
    scaled = (logits - logits.mean()) / spread if spread else np.zeros(len(logits))
    columns = (
        TableColumn("token", "token", "text"),
        TableColumn("id", "id", "index", keep=2),
        TableColumn("logit", "logit / unit"),
        TableColumn("z", "z"),
    )
    notes = [
        "logit / unit: row of W_out through the last norm's gain and W_U; the norm divides it by the size of the "
        "residual stream" + (", and so does the norm after W_out" if is_normed else ""),
        f"z: in standard deviations over all {len(logits):,} tokens, of which a normal distribution would reach "
        f"{three_digits(_expected_extreme(len(logits)))}",
    ]
    if not is_last:
        notes.append("direct path only: later layers read this neuron too, and may turn it around")
    tables: list[TableFigure] = []
    for name, title, order in (
        ("promoted", "Tokens it promotes, per unit of activation", np.argsort(-scaled, kind="stable")),
        ("suppressed", "Tokens it suppresses, per unit of activation", np.argsort(scaled, kind="stable")),
    ):
        ids = [int(token) for token in order[:top]]
        rows = tuple((_quoted(decode(token)), token, float(logits[token]), float(scaled[token])) for token in ids)
        tables.append(TableFigure(name, title, columns, rows, tuple(notes) if name == "promoted" else ()))
    return tables[0], tables[1]


def neighbour_table(
    name: str,
    title: str,
    own: tuple[int, int],
    found: Iterable[tuple[int, int, float]],
    *,
    width: int,
    compared: int,
    note: str = "",
) -> TableFigure:
    """The neurons that are most alike, each with the plane it makes with the neuron where both have one site.

    Args:
        name: of the table.
        title: of the table.
        own: layer and number of the neuron.
        found: layer, number and cosine, the largest in size first.
        width: coordinates that cosines are taken over.
        compared: neurons that were compared with.
        note: how the cosine is taken.
    """
    rows = tuple(found)
    spread = 1 / np.sqrt(width)
    chance = NormalDist().inv_cdf(1 - 1 / (4 * max(compared, 2))) * spread
    by_chance = f"sd {three_digits(float(spread))}, the largest of {compared:,} about {three_digits(chance)}"
    notes = [*([note] if note else []), f"cosines of random directions: {by_chance}"]
    site = f"blocks.{own[0]}.mlp.hook_post"
    planes = tuple(PlaneChoice(site, own[1], number) if layer == own[0] else None for layer, number, _ in rows)
    return TableFigure(name, title, _NEIGHBOURS, rows, tuple(notes), planes=planes)


def firing_table(name: str, title: str, firings: Sequence[Firing], notes: Sequence[str] = ()) -> TableFigure:
    """The positions where a neuron is most active."""
    columns = (
        TableColumn("activation", "activation"),
        TableColumn("token", "token", "text", keep=2),
        TableColumn("position", "position", "index"),
        TableColumn("set", "set", "text", keep=3),
        TableColumn("times", "texts", "whole", keep=4),
        TableColumn("text", "text", "text"),
    )
    rows = tuple((f.activation, _quoted(f.token), f.position, f.set, f.times, f.text) for f in firings)
    runs = tuple(firing.run for firing in firings)
    return TableFigure(name, title, columns, rows, tuple(notes), runs=runs)


def clamp_values(session: Session, site: str, neuron: int) -> tuple[tuple[float, str], ...]:
    """The raw values that a session held a neuron at, with the labels of their conditions, ascending, each once."""
    found: dict[float, str] = {}
    for condition in session.conditions:
        resolved = session.resolved[condition.index] if condition.index < len(session.resolved) else ()
        if condition.kind != "sweep":
            continue
        for one, values in zip(session.spec.interventions, resolved, strict=False):
            if values is None or one.site != site or neuron not in one.neurons:
                continue
            if one.op in ("clamp", "mean", "zero"):
                place = one.neurons.index(neuron)
                found.setdefault(values[place] if place < len(values) else 0.0, condition.label)
    return tuple(sorted(found.items()))


def clamp_table(values: NDArray[np.floating], marks: Sequence[tuple[float, str]]) -> TableFigure:
    """Where the values that a neuron was held at lie among its activations [position]."""
    columns = (
        TableColumn("condition", "condition", "text"),
        TableColumn("value", "value"),
        TableColumn("told", "among what was measured", "text"),
    )
    placed = [mark_among(values, value, label) for value, label in sorted(marks)]
    outside = sum(mark.beyond != 0 for mark in placed)
    notes = (
        [f"{outside} of {len(placed)} values lie outside everything the neuron did on these texts"] if outside else []
    )
    return TableFigure(
        "clamps",
        "Values it was held at",
        columns,
        tuple(_clamp_row(mark) for mark in placed),
        tuple(notes),
    )


def histogram_of(findings: dict[str, object]) -> HistogramFigure | None:
    """The histogram among what a study found; None where nothing was read."""
    data = findings.get("histogram")
    return HistogramFigure.from_dict(data) if isinstance(data, dict) else None  # pyright: ignore[reportUnknownArgumentType]


def _clamp_row(mark: HistogramMark) -> tuple[CellValue, ...]:
    return mark.label, mark.value, mark.told


def _expected_extreme(n: int) -> float:
    """About the largest of n independent standard normals: the quantile 1 - 1 / (2 n)."""
    return NormalDist().inv_cdf(1 - 1 / (2 * max(n, 2)))


def _quoted(token: str) -> str:
    """A token with its spaces in sight."""
    return f'"{token}"'
