"""The neuron card as tables and a histogram, from arrays that were measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures import mark_among, three_digits
from srm_explorer.engine.figures.table import CellValue, PlaneChoice, TableColumn, TableFigure, table_columns
from srm_explorer.engine.session import Session
from srm_explorer.engine.stats.streaming import QUANTILES, ColumnStatistics

_NEIGHBOURS = table_columns("layer::index; neuron::index; cosine")


@dataclass(frozen=True)
class Fact:
    """One number of a neuron.

    Attributes:
        name: "norm of W_out".
        share: of the layer's neurons with a smaller one; None where it is not known.
    """

    name: str
    value: float
    share: float | None = None


@dataclass(frozen=True)
class Firing:
    """One position and what the neuron does there.

    Attributes:
        text: with the token marked.
        position: absolute.
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
    columns = (TableColumn("fact", "", "text"), *table_columns("value; share:percentile in layer:percent"))
    return TableFigure("neuron", title, columns, tuple((f.name, f.value, f.share) for f in facts), tuple(notes))


def activation_facts(values: NDArray[np.floating], *, gated: bool) -> tuple[Fact, ...]:
    """Moments, quantiles and extremes of a neuron's activations [position]."""
    moments = [Fact("mean activation", float(values.mean())), Fact("standard deviation", float(values.std()))]
    above = Fact("share of positions above 0", float((values > 0).mean()))
    levels = [level for level in QUANTILES if min(level, 1 - level) * len(values) >= 1]
    named = [Fact(f"quantile {three_digits(level)}", float(np.quantile(values, level))) for level in levels]
    below = [Fact("share of positions below 0", float((values < 0).mean()))] if gated else []
    extremes = Fact("smallest", float(values.min())), Fact("largest", float(values.max()))
    return (*moments, above, *below, extremes[0], *named, extremes[1])


class NeuronWeights(Protocol):
    """What the weights say of neurons, as `engine.model.vocabulary.LayerWeights` has it."""

    @property
    def neurons(self) -> NDArray[np.int64]: ...
    @property
    def norms(self) -> Mapping[str, NDArray[np.float64]]: ...
    @property
    def cosines(self) -> Mapping[str, NDArray[np.float64]]: ...
    @property
    def moments(self) -> Moments | None: ...
    @property
    def unread(self) -> NDArray[np.float64] | None: ...
    @property
    def weakest(self) -> int: ...


class Moments(Protocol):
    """Of what is added to logits, over the vocabulary."""

    @property
    def mean(self) -> NDArray[np.float64]: ...
    @property
    def std(self) -> NDArray[np.float64]: ...
    @property
    def skew(self) -> NDArray[np.float64]: ...
    @property
    def kurtosis(self) -> NDArray[np.float64]: ...


def weight_facts(weights: NeuronWeights) -> list[Fact]:
    """What the weights say of the one neuron that they are of."""
    facts = [Fact(f"cosine of {name} and W_out", float(values[0])) for name, values in weights.cosines.items()]
    if weights.moments is None:
        return facts
    moments = ("mean", "std", "skew", "kurtosis")
    words = ("mean logit / unit", "sd of logits / unit", "skew of logits", "excess kurtosis of logits")
    facts += [Fact(word, float(getattr(weights.moments, name)[0])) for word, name in zip(words, moments, strict=True)]
    if weights.unread is not None:
        facts.append(Fact("share that the unembedding hardly reads", float(weights.unread[0])))
    return facts


def weights_tables(
    layers: Mapping[int, NeuronWeights], *, width: int, vocab: int, top: int = 10, every: bool = False
) -> tuple[TableFigure, ...]:
    """Rank neurons by what they write over the vocabulary.

    Args:
        width: of the residual stream.
        vocab: number of token ids.

    Returns:
        the neurons that promote few tokens, suppress few, move logits most, and write most where the unembedding hardly
        reads; then, with `every`, all of them.
    """
    first = next(iter(layers.values()))
    columns = (
        *table_columns("layer::index; neuron::index"),
        *(TableColumn(f"norm_{name}", f"norm {name}", keep=2) for name in first.norms),
        *(TableColumn(f"cos_{name}", f"cos {name} with W_out", keep=1) for name in first.cosines),
        *table_columns("mean:mean logit::4; std:sd logit; skew; kurtosis; unread:unread:percent"),
    )
    rows: list[tuple[CellValue, ...]] = []
    numbers: list[NDArray[np.float64]] = []
    for layer, weights in layers.items():
        nothing = np.full(len(weights.neurons), np.nan)
        moments, unread = weights.moments, nothing if weights.unread is None else weights.unread
        told = [nothing] * 4 if moments is None else [moments.mean, moments.std, moments.skew, moments.kurtosis]
        table = np.stack([*weights.norms.values(), *weights.cosines.values(), *told, unread], axis=1)
        named = zip(weights.neurons.tolist(), table.tolist(), strict=True)
        rows += [(layer, neuron, *(value if np.isfinite(value) else None for value in row)) for neuron, row in named]
        numbers.append(table[:, -4:])
    std, skew, kurtosis, unread = np.concatenate(numbers).T
    where = f"layer {next(iter(layers))}" if len(layers) == 1 else f"{len(layers)} layers"
    chance = np.sqrt(first.weakest / width)
    notes = (
        f"logits: what a unit of activation adds to those of all {vocab:,} token ids by the direct path, divisions by"
        " norms aside; kurtosis: excess, far above 0 where few tokens are moved far, skew which way",
        f"unread: length of what is written along those {first.weakest} of {width:,} directions that the unembedding"
        f" reads least, over the whole; {three_digits(100 * float(chance))} % by chance",
        "cos: of what the neuron reads with what it writes, raw weights: below 0 it takes away what it finds",
    )
    up, down = np.where(skew > 0, kurtosis, np.nan), np.where(skew < 0, kurtosis, np.nan)
    orders = (
        ("promoting", "that promote few tokens: largest kurtosis, skew above 0", up),
        ("suppressing", "that suppress few tokens: largest kurtosis, skew below 0", down),
        ("spread", "that move logits most: largest sd", std),
        ("unread", "that write most where the unembedding hardly reads", unread),
    )
    tables: list[TableFigure] = []
    for name, title, values in orders:
        ranked = [int(at) for at in np.argsort(-values, kind="stable")[:top] if np.isfinite(values[at])]
        chosen = tuple(rows[at] for at in ranked)
        tables.append(TableFigure(name, f"Neurons of {where} {title}", columns, chosen, () if tables else notes))
    if every:
        tables.append(TableFigure("neurons", f"All neurons of {where}", columns, tuple(rows)))
    return tuple(tables)


def token_tables(
    logits: NDArray[np.floating] | None, decode: Callable[[int], str], *, top: int, is_last: bool, is_normed: bool
) -> tuple[TableFigure, TableFigure]:
    """The tokens whose logits rise and fall most with a neuron.

    Args:
        logits: [vocabulary] what one unit of activation adds, the last norm's division aside; None where the block adds
            no multiple of a row of W_out.
        is_normed: whether a norm follows W_out, whose division is left out too.
    """
    promoted, suppressed = (f"Tokens it {does}, per unit of activation" for does in ("promotes", "suppresses"))
    columns = table_columns("token::text; id::index:2; logit:logit / unit; z")
    if logits is None:
        notes = ("not told: more than a norm lies between W_out and the residual stream",)
        return TableFigure("promoted", promoted, columns, (), notes), TableFigure("suppressed", suppressed, columns, ())
    spread = float(logits.std())
    scaled = (logits - logits.mean()) / spread if spread else np.zeros(len(logits))
    gains = "the gains of the norm after it and of the last one" if is_normed else "the last norm's gain"
    notes = [
        f"logit / unit: row of W_out through {gains} and W_U; the {'last ' if is_normed else ''}norm divides it by the "
        "size of the residual stream" + (", the other by that of what the MLP writes" if is_normed else ""),
        f"z: in standard deviations over all {len(logits):,} tokens, of which a normal distribution would reach "
        f"{three_digits(_expected_extreme(len(logits)))}",
    ]
    if not is_last:
        notes.append("direct path only: later layers read this neuron too, and may turn it around")
    tables: list[TableFigure] = []
    for name, title, order in (
        ("promoted", promoted, np.argsort(-scaled, kind="stable")),
        ("suppressed", suppressed, np.argsort(scaled, kind="stable")),
    ):
        ids = [int(token) for token in order[:top]]
        rows = tuple((_quoted(decode(token)), token, float(logits[token]), float(scaled[token])) for token in ids)
        tables.append(TableFigure(name, title, columns, rows, tuple(notes) if name == "promoted" else ()))
    return tables[0], tables[1]


def neighbour_table(
    name: str,
    title: str,
    neuron: tuple[int, int],
    neighbours: Iterable[tuple[int, int, float]],
    *,
    width: int,
    compared: int,
    note: str = "",
) -> TableFigure:
    """The neurons that are most alike, each with the plane it makes with the neuron where both have one site.

    Args:
        neighbours: layer, number and cosine, the largest in size first.
        width: coordinates that cosines are taken over.
        compared: neurons that were compared with.
    """
    rows = tuple(neighbours)
    spread = 1 / np.sqrt(width)
    chance = NormalDist().inv_cdf(1 - 1 / (4 * max(compared, 2))) * spread
    by_chance = f"sd {three_digits(float(spread))}, the largest of {compared:,} about {three_digits(chance)}"
    notes = [*([note] if note else []), f"cosines of random directions: {by_chance}"]
    site = f"blocks.{neuron[0]}.mlp.hook_post"
    planes = tuple(PlaneChoice(site, neuron[1], number) if layer == neuron[0] else None for layer, number, _ in rows)
    return TableFigure(name, title, _NEIGHBOURS, rows, tuple(notes), planes=planes)


def firing_table(name: str, title: str, firings: Sequence[Firing], notes: Sequence[str] = ()) -> TableFigure:
    columns = table_columns("activation; token::text:2; position::index; set::text:3; times:texts:whole:4; text::text")
    rows = tuple((f.activation, _quoted(f.token), f.position, f.set, f.times, f.text) for f in firings)
    runs = tuple(firing.run for firing in firings)
    return TableFigure(name, title, columns, rows, tuple(notes), runs=runs)


def clamp_values(session: Session, site: str, neuron: int) -> tuple[tuple[float, str], ...]:
    """The raw values that a session held a neuron at, with the labels of their conditions, ascending, each once."""
    labels: dict[float, str] = {}
    for condition in session.conditions:
        resolved = session.resolved[condition.index] if condition.index < len(session.resolved) else ()
        if condition.kind != "sweep":
            continue
        for edit, values in zip(session.spec.interventions, resolved, strict=False):
            if values is None or edit.site != site or neuron not in edit.neurons:
                continue
            if edit.op in ("clamp", "mean", "zero", "project_out"):
                index = edit.neurons.index(neuron)
                labels.setdefault(values[index] if index < len(values) else 0.0, condition.label)
    return tuple(sorted(labels.items()))


def clamp_table(values: NDArray[np.floating], marks: Sequence[tuple[float, str]]) -> TableFigure:
    """Where the values that a neuron was held at lie among its activations [position]."""
    columns = table_columns("condition::text; value; told:among what was measured:text")
    placed = [mark_among(values, value, label) for value, label in sorted(marks)]
    outside = sum(mark.beyond != 0 for mark in placed)
    notes = (
        [f"{outside} of {len(placed)} values lie outside everything the neuron did on these texts"] if outside else []
    )
    return TableFigure(
        "clamps",
        "Values it was held at",
        columns,
        tuple((mark.label, mark.value, mark.told) for mark in placed),
        tuple(notes),
    )


def _expected_extreme(n: int) -> float:
    """About the largest of n independent standard normals: the quantile 1 - 1 / (2 n)."""
    return NormalDist().inv_cdf(1 - 1 / (2 * max(n, 2)))


def _quoted(token: str) -> str:
    return f'"{token}"'


FIRES = 0.1
"""Part of its layer's typical size that a gated neuron's activation must exceed, either way, to count as active."""

_SHOWN = (0.01, 0.5, 0.99)
"""Quantiles that a row shows beside the extremes."""

_COLUMNS = (
    *table_columns(
        "layer::index; neuron::index; active::percent; mean; std:sd; rms:::3; relative:rms / typical; "
        "flatness:sd / rms::2; kurtosis:::5; low:smallest::4"
    ),
    *(TableColumn(f"q{level:g}".replace("0.", "."), f"q{three_digits(level)}", keep=6) for level in _SHOWN),
    *table_columns("high:largest; high_at:largest at:text:1"),
)


@dataclass(frozen=True, eq=False)
class LayerUsage:
    """What is known of a layer's neurons.

    Attributes:
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
        known, chosen = self.statistics, list(neurons)
        quantiles = np.quantile(known.sample[:, chosen].astype(np.float64), _SHOWN, axis=0)
        shares = (self.active, known.mean, known.std, known.rms, self.relative, known.flatness, known.kurtosis)
        columns = [*(column[chosen] for column in (*shares, known.low)), *quantiles, known.high[chosen]]
        numbers = np.array(columns, dtype=np.float64).T
        positions = [token_at(int(number)) for number in known.high_at[chosen]]
        return [
            (self.layer, neuron, *(float(number) for number in row), position)
            for neuron, row, position in zip(chosen, numbers, positions, strict=True)
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

    Returns:
        One row a layer, where there are several; then the neurons that are active most rarely, the quietest, the
        loudest and the flattest; then all of them.
    """
    measured = [LayerUsage(layer, statistics, gated) for layer, statistics in layers.items()]
    owners = [(usage, neuron) for usage in measured for neuron in range(len(usage.statistics.mean))]
    active, high = _joined(measured, lambda usage: usage.active), _joined(measured, lambda usage: usage.statistics.high)
    relative = _joined(measured, lambda usage: usage.relative)
    flat = _joined(measured, lambda usage: usage.statistics.flatness)
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
        ranked = [owners[int(index)] for index in order[:top]]
        chosen = tuple(usage.rows([neuron], token_at)[0] for usage, neuron in ranked)
        tables.append(TableFigure(name, title, _COLUMNS, chosen, notes if not tables else ()))
    if every:
        rows = tuple(row for usage in measured for row in usage.rows(range(len(usage.statistics.mean)), token_at))
        tables.append(TableFigure("neurons", f"All neurons of {where}", _COLUMNS, rows))
    return tuple(tables)


def _overview(measured: list[LayerUsage], token_at: Callable[[int], str], notes: tuple[str, ...]) -> TableFigure:
    columns = table_columns(
        "layer::index; typical:typical rms; active:active (median):percent; never:never active:whole; "
        "rare:active < 1 %:whole; quietest::index:2; flattest::index:3; loudest::index; high:largest; "
        "high_at:largest at:text:1"
    )
    rows: list[tuple[CellValue, ...]] = []
    for usage in measured:
        active, known = usage.active, usage.statistics
        flat = np.where(np.isnan(known.flatness), np.inf, known.flatness)
        best = int(known.high.argmax())
        rows.append(
            (
                usage.layer,
                usage.typical,
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
    peaks = [usage.statistics for usage in measured]
    sinks = sum(is_first(int(statistics.high_at[statistics.high.argmax()])) for statistics in peaks)
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
    return np.concatenate([column(usage) for usage in measured])
