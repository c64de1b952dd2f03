"""The tables of what an intervention did to the texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.paired_texts import Floats, PairedTexts
from srm_explorer.engine.experiment.conditions import swept_as
from srm_explorer.engine.figures.captions import site_caption, token_caption
from srm_explorer.engine.figures.table import CellValue, TableColumn, TableFigure, as_cell, table_columns
from srm_explorer.engine.session import ComputedTest, RunRecord, changed_units
from srm_explorer.engine.session.controls import selection_of
from srm_explorer.engine.session.effects import RunEffects
from srm_explorer.engine.stats.collapse import HealthMatrix, health_matrix
from srm_explorer.engine.stats.matching import rank_p
from srm_explorer.engine.stats.permutation import FEWEST_UNITS, benjamini_hochberg
from srm_explorer.engine.stats.resampling import UnitTotals, bca_interval, binomial_interval, unit_totals
from srm_explorer.engine.stats.text import GRAM
from srm_explorer.engine.stats.unit_means import MeanEffect, mean_effect


def site_table(pairs: PairedTexts, resamples: int, seed: int) -> TableFigure | None:
    """What acts directly and what acts through changed text, a row a site and value; None where nothing was scored."""
    columns = table_columns(
        "site::text; value::text; runs::whole:3; total:|total|; direct:|direct|; through:|through text|; "
        "direct_share:direct share:percent; direct_share_low:from:percent:1; direct_share_high:to:percent:1; "
        "mean_share:of mean change:percent; text_first_share:text first, share:percent:2; "
        "cosine:cos(direct, total)::2; prefix:|prefix|::2; prefix_tokens:prefix tokens::2"
    )
    rows: list[tuple[CellValue, ...]] = []
    means = {(mean.site, mean.condition): mean for mean in pairs.effects.means} if pairs.effects else {}
    for site in pairs.effects.sites if pairs.effects else ():
        for condition, members in pairs.conditions():
            effects = [run.sites.get(site) if (run := pairs.effects_at(int(at))) else None for at in members]
            norms = {
                part: _numbers(effect and effect.norms.get(part) for effect in effects)
                for part in ("total", "direct", "through")
            }
            if not np.isfinite(norms["direct"]).any():
                continue
            shares = [
                _pooled(
                    pairs,
                    _numbers(effect and effect.shares.get(part) for effect in effects),
                    norms["total"],
                    members,
                    resamples,
                    seed,
                )
                for part in ("direct", "text_first")
            ]
            cosine = _numbers(effect and effect.cosine for effect in effects)
            row: list[CellValue] = [site_caption(site), condition.label, int(np.isfinite(norms["direct"]).sum())]
            row += [mean_of(norms[part]) for part in ("total", "direct", "through")]
            of_mean = means[site, condition.index].shares.get("direct") if (site, condition.index) in means else None
            prefix = _numbers(effect and effect.prefix for effect in effects)
            prefix_tokens = _numbers(effect and effect.prefix_tokens for effect in effects)
            row += [*shares[0], of_mean, shares[1][0]]
            rows.append((*row, *map(mean_of, (cosine, prefix, prefix_tokens))))
    title = "What acts directly, and what acts through changed text"
    return TableFigure("direct", title, columns, tuple(rows)) if rows else None


def _numbers(values: Iterable[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def control_table(pairs: PairedTexts) -> TableFigure | None:
    """The mean KL beside that of control neurons clamped alike, a row a value; None where no control was scored."""
    selection = selection_of(pairs.session)
    columns = table_columns(
        "value::text; kl:KL nats; controls::whole; controls_median:their median; controls_low:from; "
        f"controls_high:to; p:{selection.p_title}:p; q:{selection.q_title}:p"
    )
    control_kl: dict[int, list[float]] = {}
    scored: Mapping[int, RunEffects] = pairs.effects.runs if pairs.effects else {}
    by_condition: dict[int, list[float]] = {}
    for run in pairs.session.seen_runs:
        scores = scored[run.index].texts.get(pairs.text) if run.index in scored else None
        if scores is not None and scores.kl:
            by_condition.setdefault(run.condition, []).append(float(np.mean(scores.kl)))
    for index, swept in swept_as(pairs.session.conditions).items():
        if index in by_condition:
            control_kl.setdefault(swept.index, []).append(float(np.mean(by_condition[index])))
    rows: list[list[CellValue]] = []
    for condition, _ in pairs.conditions():
        others, scores = control_kl.get(condition.index), by_condition.get(condition.index)
        if others and scores:
            kl, ends = float(np.mean(scores)), (float(np.median(others)), min(others), max(others))
            rows.append([condition.label, kl, len(others), *ends, rank_p(kl, others, selection.compared)])
    if not rows:
        return None
    q = benjamini_hochberg([np.nan if row[-1] is None else float(row[-1]) for row in rows]).tolist()
    with_q = tuple((*row, value) for row, value in zip(rows, q, strict=True))
    rank = "share of target and controls at least as far, so never below 1/(controls + 1)"
    if selection.compared > 1:
        rank = f"how often the best of {selection.compared:,} has no more controls above it"
    notes = (
        *selection.notes(pairs.session.spec.controls.neurons),
        "mean KL a token beside that of matched neurons clamped alike; from, to: their range",
        f"{selection.p_title}: {rank}; {selection.q_title}: Benjamini-Hochberg over {len(rows)} values",
    )
    return TableFigure("kl_controls", "How far controls move the same texts", columns, with_q, notes)


def plane_table(pairs: PairedTexts) -> TableFigure | None:
    """Where the parts of the mean change point in the session's planes; None where nothing was scored, or no plane."""
    names = ("total", "direct", "through")
    columns = (
        *table_columns("plane::text; value::text"),
        *(TableColumn(f"{name}_{axis}", f"{name} {axis}") for name in names for axis in ("x", "y")),
    )
    rows: list[tuple[CellValue, ...]] = []
    places_at: dict[str, int] = {}
    for site, a, b in pairs.effects.planes if pairs.effects else ():
        number = places_at[site] = places_at.get(site, -1) + 1
        for condition, members in pairs.conditions():
            effects = [run.sites.get(site) if (run := pairs.effects_at(int(at))) else None for at in members]
            known = [effect.planes[number] for effect in effects if effect is not None and number < len(effect.planes)]
            cells = [
                mean_of(np.array([parts[name][i] for parts in known if name in parts]))
                for name in names
                for i in (0, 1)
            ]
            if any(cell is not None for cell in cells):
                rows.append((f"{a} × {b} · {site_caption(site)}", condition.label, *cells))
    title = "The mean change in each plane, and its parts"
    return TableFigure("plane_parts", title, columns, tuple(rows)) if rows else None


def token_table(pairs: PairedTexts, top: int) -> TableFigure | None:
    """Token ids that every value promotes and suppresses; None where nothing was scored."""
    columns = table_columns(
        "value::text; by::text; promoted::text; promoted_change:change; promoted_p:prob with it; suppressed::text; "
        "suppressed_change:change; suppressed_p:prob without it"
    )
    rows: list[tuple[CellValue, ...]] = []
    labels = {condition.index: condition.label for condition in pairs.session.conditions if condition.kind != "control"}
    for moves in pairs.effects.moves if pairs.effects else ():
        if moves.text != pairs.text or moves.condition not in labels:
            continue
        for by, names in (("log p", ("promoted", "suppressed")), ("p", ("gained", "lost"))):
            rose, fell = (moves.lists.get(name, ())[:top] for name in names)
            for rank in range(max(len(rose), len(fell))):
                row: list[CellValue] = [labels[moves.condition], by]
                for tokens, is_rise in ((rose, True), (fell, False)):
                    if rank < len(tokens):
                        token = tokens[rank]
                        change = token.dlogp if by == "log p" else token.p - token.p_untouched
                        name = token_caption(token.id, token.text)
                        row += [name, change, token.p if is_rise else token.p_untouched]
                    else:
                        row += ["", None, None]
                rows.append(tuple(row))
    return TableFigure("tokens", "Tokens that it promotes and suppresses", columns, tuple(rows)) if rows else None


def _mean_and_ends(pairs: PairedTexts, totals: UnitTotals, resamples: int, seed: int) -> list[CellValue]:
    """A mean over runs and the ends of its interval from resampled units; None where there is none."""
    mean = float(totals.mean[0])
    ends = bca_interval(totals, pairs.units.stratum, resamples=resamples, seed=seed)[:, 0].tolist()
    return [value if np.isfinite(value) else None for value in (mean, *ends)]


def mean_of(values: Floats) -> float | None:
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else None


def _pooled(
    pairs: PairedTexts, shares: Floats, totals: Floats, members: NDArray[np.int64], resamples: int, seed: int
) -> list[CellValue]:
    """Shares of totals, each weighed by its total's square, so that runs in which nothing changes count nothing."""
    weights = totals**2
    usable = np.isfinite(shares) & np.isfinite(weights)
    unit = pairs.unit(members)[usable]
    sums, counts = np.zeros(len(pairs.units)), np.zeros(len(pairs.units))
    np.add.at(sums, unit, (shares * weights)[usable])
    np.add.at(counts, unit, weights[usable])
    return _mean_and_ends(pairs, UnitTotals(sums[:, None], counts), resamples, seed)


_METRICS = (
    ("distinct_1", "distinct-1"),
    ("distinct_2", "distinct-2"),
    (f"repeated_{GRAM}", f"repeated {GRAM}-grams"),
    ("token_entropy", "entropy"),
    ("compression", "compression"),
)
_TOLD_OF = (f"repeated_{GRAM}", "compression", "token_entropy")
"""Measures whose change is inferred: what loops, what compresses, how varied the tokens are."""


Tested: TypeAlias = tuple[TableFigure, ComputedTest]
"""A table whose column q is empty yet, and the test of its rows, whose q the ledger tells; see `with_q`."""


def with_q(table: TableFigure, q: Floats) -> TableFigure:
    """A table whose column q holds these, [row]."""
    at = [column.key for column in table.columns].index("q")
    rows = tuple((*row[:at], as_cell(value), *row[at + 1 :]) for row, value in zip(table.rows, q.tolist(), strict=True))
    return dataclasses.replace(table, rows=rows)


def value_table(pairs: PairedTexts, resamples: int, seed: int) -> Tested:
    """How many texts changed and how far distributions moved, a row a value, with what tests the perplexities."""
    columns = [
        *table_columns(
            "value::text; units::whole:2; units_changed:changed units:whole:2; runs::whole:3; changed::percent;"
            " first_change_from_1:first change::1"
        )
    ]
    scored = bool(np.isfinite(pairs.kl).any())
    rated = bool(np.isfinite(pairs.log_ratio).any())
    listed = pairs.conditions()
    effects: dict[str, list[MeanEffect]] = {}
    for name, values in (("kl", pairs.kl), ("perplexity_ratio", pairs.log_ratio)):
        effects[name] = [_over_units(pairs, values[members], members, resamples, seed) for _, members in listed]
    p_values = [float(effect.p) for effect in effects["perplexity_ratio"]]
    test = ComputedTest("perplexity", {"values": [condition.label for condition, _ in listed]}, p_values)
    if scored:
        columns += _with_interval("kl", "KL nats")
        columns.append(TableColumn("dlogp", "Δ log p", "number", 2))
    if rated:
        columns += [*_with_interval("perplexity_ratio", "perplexity ×"), *table_columns("p::p; q::p:2")]
    rows: list[tuple[CellValue, ...]] = []
    for at, (condition, members) in enumerate(listed):
        first = pairs.first[members]
        changed = changed_units(pairs.session, pairs.rows[members])
        row: list[CellValue] = [condition.label, len(np.unique(pairs.unit(members))), changed.changed, len(members)]
        row += [
            float(pairs.changed[members].mean()),
            1.0 + float(np.nanmedian(first)) if np.isfinite(first).any() else None,
        ]
        if scored:
            mean, low, high = _cells(effects["kl"][at])
            # A divergence is never below 0; the interval of a few units may be.
            row += [mean, None if low is None else max(0.0, float(low)), high]
            row.append(mean_of(pairs.dlogp[members]))
        if rated:
            effect = effects["perplexity_ratio"][at]
            row += [None if value is None else float(np.exp(value)) for value in _cells(effect)]
            row += [as_cell(effect.p), None]
        rows.append(tuple(row))
    return TableFigure("effects", "What the intervention did to the texts", tuple(columns), tuple(rows)), test


def text_table(pairs: PairedTexts) -> TableFigure | None:
    """What the texts are like, in degrees, a row a condition, the baseline first; None where no text is known."""
    rated = any(effects.perplexity is not None for effects in pairs.effects.runs.values()) if pairs.effects else False
    columns = [
        *table_columns("value::text; runs::whole:1; tokens"),
        *(TableColumn(key, title, keep=int(key == "distinct_1")) for key, title in _METRICS),
        *table_columns(
            "perplexity:perplexity; ended:ended at once:whole:2" if rated else "ended:ended at once:whole:2"
        ),
    ]
    lengths = np.array([len(pairs.tokens(at)) for at in range(len(pairs.rows))], np.float64)
    rows: list[tuple[CellValue, ...]] = []
    for condition, members, _ in pairs.told():
        tokens = float(lengths[members].mean()) if pairs.has_tokens else None
        row: list[CellValue] = [condition.label, len(members), tokens]
        row += [mean_of(_measure(pairs, key)[members]) for key, _ in _METRICS]
        if rated:
            logs = np.log(
                _numbers(effects and effects.perplexity for effects in map(pairs.effects_at, members.tolist()))
            )
            mean = mean_of(logs)
            row.append(None if mean is None else float(np.exp(mean)))
        rows.append((*row, sum(_ended_at_once(pairs.run(int(at))) for at in members)))
    return TableFigure("texts", "What the texts are like", tuple(columns), tuple(rows)) if rows else None


def change_table(pairs: PairedTexts, resamples: int, seed: int) -> Tested | None:
    """How far graded measures of the texts move from the baseline, inferred over units, a row a value and measure.

    None where no text is known beside its baseline's.
    """
    columns = table_columns(
        "value::text; measure::text; units::whole:1; baseline; with_it:with it; change; low:from; high:to; p::p; q::p:1"
    )
    titles = dict(_METRICS)
    rows: list[tuple[CellValue, ...]] = []
    p_values: list[float] = []
    for condition, _, members in pairs.told():
        if not members.size:
            continue
        # Rows are places of `rows`, and so are those of their baselines.
        place = {int(row): at for at, row in enumerate(pairs.rows)}
        base = np.array([place[int(row)] for row in pairs.base[members]], np.int64)
        for key in _TOLD_OF:
            measure = _measure(pairs, key)
            before, after = measure[base], measure[members]
            known = np.isfinite(before) & np.isfinite(after)
            if not known.any():
                continue
            effect = _over_units(pairs, np.where(known, after - before, np.nan), members, resamples, seed)
            ends = [mean_of(_unit_means(pairs, np.where(known, side, np.nan), members)) for side in (before, after)]
            row: list[CellValue] = [condition.label, titles[key], int(effect.units), *ends]
            rows.append((*row, *_cells(effect), as_cell(effect.p), None))
            p_values.append(float(effect.p))
    if not rows:
        return None
    of = {"measures": list(_TOLD_OF), "values": list(dict.fromkeys(str(row[0]) for row in rows))}
    table = TableFigure("text_changes", "How far the texts move from the baseline", columns, tuple(rows))
    return table, ComputedTest("change of texts", of, p_values)


def collapsed_table(pairs: PairedTexts) -> Tested | None:
    """The runs that collapsed, were rescued and harmed, and the net effect over units, a row a value.

    None where no text is known.
    """
    columns = (
        *table_columns("value::text; runs::whole; collapsed::whole; rescued::whole; harmed::whole; units::whole:1"),
        *table_columns("net::percent; net_low:from:percent; net_high:to:percent; p::p; q::p:2"),
        *table_columns("units_rescued:rescued units:whole:3; units_harmed:harmed units:whole:3"),
    )
    told = pairs.told()
    health = [_health(pairs, members) if members.size else None for _, _, members in told]
    of = {
        "rule": {"name": pairs.rule.name, **dataclasses.asdict(pairs.rule)},
        "values": [condition.label for condition, _, _ in told],
    }
    p_values = [np.nan if matrix is None else matrix.p for matrix in health]
    rows: list[tuple[CellValue, ...]] = []
    for (condition, members, both), matrix in zip(told, health, strict=True):
        row: list[CellValue] = [condition.label, len(members), int(pairs.collapsed[pairs.rows[members]].sum())]
        if matrix is None:
            rows.append((*row, None, None, len(np.unique(pairs.unit(members))), *[None] * 7))
            continue
        before, after = pairs.collapsed[pairs.base[both]], pairs.collapsed[pairs.rows[both]]
        row += [int((before & ~after).sum()), int((~before & after).sum()), matrix.units, as_cell(matrix.net)]
        rows.append((*row, *map(as_cell, matrix.interval()), as_cell(matrix.p), None, matrix.rescued, matrix.harmed))
    title = f"Texts that collapse, by the {pairs.rule.name} rule"
    table = TableFigure("collapsed", title, columns, tuple(rows))
    return (table, ComputedTest("net rescued", of, p_values)) if rows else None


def collapse_table(pairs: PairedTexts) -> TableFigure | None:
    """Units harmed and rescued, a row a value; None where no text is known beside its baseline's."""
    columns = (
        *table_columns(
            "value::text; units::whole:3; healthy::whole:1; harmed::whole; rescued::whole; "
            "collapsed:both collapsed:whole:2; harmed_share:harmed of healthy:percent"
        ),
        *_ends("harmed"),
        TableColumn("rescued_share", "rescued of collapsed", "percent"),
        *_ends("rescued"),
    )
    rows: list[tuple[CellValue, ...]] = []
    for condition, _, members in pairs.told():
        if not members.size:
            continue
        health = _health(pairs, members)
        harmed = _share(health.harmed, health.healthy + health.harmed, health.units)
        rescued = _share(health.rescued, health.rescued + health.collapsed, health.units)
        counts = (health.units, health.healthy, health.harmed, health.rescued, health.collapsed)
        rows.append((condition.label, *counts, *harmed, *rescued))
    return TableFigure("collapse", "Units harmed and rescued", columns, tuple(rows)) if rows else None


def _health(pairs: PairedTexts, members: NDArray[np.int64]) -> HealthMatrix:
    before, after = pairs.collapsed[pairs.base[members]], pairs.collapsed[pairs.rows[members]]
    return health_matrix(before.tolist(), after.tolist(), pairs.unit(members))


def _measure(pairs: PairedTexts, name: str) -> Floats:
    """[run] a graded measure of the texts; NaN where none has it."""
    return pairs.measures.get(name, np.full(len(pairs.rows), np.nan))


def _ended_at_once(run: RunRecord) -> bool:
    return (run.finish == "eos" and len(run.token_ids) < 2) or not run.text.strip()


def run_table(pairs: PairedTexts) -> TableFigure:
    """Every run beside its baseline, the most moved first."""
    scored = bool(np.isfinite(pairs.kl).any())
    columns = [*table_columns("run::index:2; value::text; first_change_from_1:first change:index; collapse::text")]
    if scored:
        columns += [
            *table_columns(
                "margin:margin there::2; kl:KL nats; kl_max:largest::1; kl_at_from_1:at token:index:1; perplexity"
            )
        ]
    columns.append(TableColumn("prompt", "prompt", "text", 1))
    order = np.concatenate([members for _, members in pairs.conditions()]) if pairs.conditions() else np.empty(0, int)
    keys = (order, pairs.first[order], -pairs.kl[order])
    order = order[np.lexsort(keys if scored else keys[:2])]
    rows = [_run_row(pairs, int(at), scored) for at in order]
    indices = tuple(pairs.run(int(at)).index for at in order)
    return TableFigure("runs", "Every run beside its baseline", tuple(columns), tuple(rows), runs=indices)


def _run_row(pairs: PairedTexts, at: int, scored: bool) -> tuple[CellValue, ...]:
    run, first = pairs.run(at), pairs.first[at]
    before, after = pairs.collapsed[pairs.base[at]], pairs.collapsed[pairs.rows[at]]
    state = {(False, True): "harmed", (True, False): "rescued", (True, True): "both"}.get((bool(before), bool(after)))
    row: list[CellValue] = [run.index, pairs.session.conditions[run.condition].label]
    row += [int(first) + 1 if np.isfinite(first) else None, state or ""]
    if scored:
        effects, scores = pairs.effects_at(at), pairs.scores(at)
        largest = int(np.argmax(scores.kl)) if scores and scores.kl else None
        at_token = None if largest is None else largest + 1
        row.append(effects.margin if effects else None)
        row.append(float(pairs.kl[at]) if np.isfinite(pairs.kl[at]) else None)
        row += [None if largest is None or scores is None else scores.kl[largest], at_token]
        row.append(effects.perplexity if effects else None)
    return (*row, pairs.session.prompts[run.prompt].text)


def _over_units(
    pairs: PairedTexts, values: Floats, members: NDArray[np.int64], resamples: int, seed: int
) -> MeanEffect:
    """The mean over units of the means of their runs, with its interval and p."""
    return mean_effect(_unit_means(pairs, values, members), pairs.units.stratum, resamples=resamples, seed=seed)


def _unit_means(pairs: PairedTexts, values: Floats, members: NDArray[np.int64]) -> Floats:
    """[unit] means of the runs of each; NaN for a unit without one."""
    return unit_totals(values, pairs.unit(members), len(pairs.units)).unit_means[:, 0]


def _cells(effect: MeanEffect) -> list[float | None]:
    return [as_cell(value) for value in (effect.mean, effect.low, effect.high)]


def _share(hits: int, of: int, units: int) -> list[CellValue]:
    if not of:
        return [None, None, None]
    low, high = binomial_interval(hits, of).tolist() if units >= FEWEST_UNITS else (None, None)
    return [hits / of, low, high]


def _with_interval(key: str, title: str) -> list[TableColumn]:
    return [
        TableColumn(key, title),
        TableColumn(f"{key}_low", "from", "number", 1),
        TableColumn(f"{key}_high", "to", "number", 1),
    ]


def _ends(key: str) -> tuple[TableColumn, TableColumn]:
    return TableColumn(f"{key}_low", "from", "percent"), TableColumn(f"{key}_high", "to", "percent")
