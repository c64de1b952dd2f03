"""The tables of what an intervention did to the texts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.analysis.binomial import binomial_interval
from engine.analysis.resampling import unit_totals
from engine.analysis.text_effects import GRAM, health_matrix, text_metrics
from engine.figures.table import CellValue, TableColumn, TableFigure
from engine.studies.paired_texts import Floats, PairedTexts
from engine.studies.scored_tables import mean_of, told

_METRICS = (
    ("distinct_1", "distinct-1"),
    ("distinct_2", "distinct-2"),
    (f"repeated_{GRAM}", f"repeated {GRAM}-grams"),
    ("token_entropy", "entropy"),
)


def value_table(pairs: PairedTexts, resamples: int, seed: int) -> TableFigure:
    """How many texts changed and how far the distributions moved, a row a value."""
    columns = [
        TableColumn("value", "value", "text"),
        TableColumn("units", "units", "whole", 2),
        TableColumn("runs", "runs", "whole", 3),
        TableColumn("changed", "changed", "percent"),
        TableColumn("first_change", "first change", "number", 1),
    ]
    scored = bool(np.isfinite(pairs.kl).any())
    rated = bool(np.isfinite(pairs.log_ratio).any())
    if scored:
        columns += _with_interval("kl", "KL nats")
        columns.append(TableColumn("dlogp", "Δ log p", "number", 2))
    if rated:
        columns += _with_interval("perplexity_ratio", "perplexity ×")
    rows: list[tuple[CellValue, ...]] = []
    for condition, places in pairs.conditions():
        first = pairs.first[places]
        row: list[CellValue] = [condition.label, len(np.unique(pairs.unit(places))), len(places)]
        row += [float(np.isfinite(first).mean()), float(np.nanmedian(first)) if np.isfinite(first).any() else None]
        if scored:
            mean, low, high = _interval(pairs, pairs.kl[places], places, resamples, seed)
            # A divergence is never below 0; the interval of a few units may be.
            row += [mean, None if low is None else max(0.0, float(low)), high]
            row.append(mean_of(pairs.dlogp[places]))
        if rated:
            row += [
                None if one is None else float(np.exp(one))
                for one in _interval(pairs, pairs.log_ratio[places], places, resamples, seed)
            ]
        rows.append(tuple(row))
    return TableFigure("effects", "What the intervention did to the texts", tuple(columns), tuple(rows))


def text_table(pairs: PairedTexts) -> TableFigure:
    """What the texts are like by their tokens, a row a condition, the baseline first."""
    columns = [
        TableColumn("value", "value", "text"),
        TableColumn("runs", "runs", "whole", 1),
        TableColumn("tokens", "tokens"),
        *(TableColumn(key, title) for key, title in _METRICS),
        TableColumn("collapsed", "collapsed", "percent"),
    ]
    metrics = [text_metrics(pairs.run(at).token_ids) for at in range(len(pairs.rows))]
    lengths = np.array([len(pairs.run(at).token_ids) for at in range(len(pairs.rows))])
    of = np.array([pairs.run(at).condition for at in range(len(pairs.rows))])
    rows: list[tuple[CellValue, ...]] = []
    for condition in pairs.session.conditions:
        places = np.flatnonzero(of == condition.index)
        if not len(places):
            continue
        row: list[CellValue] = [condition.label, len(places), float(lengths[places].mean())]
        row += [mean_of(np.array([metrics[at].get(key, np.nan) for at in places])) for key, _ in _METRICS]
        rows.append((*row, float(pairs.collapsed[pairs.rows[places]].mean())))
    return TableFigure("texts", "What the texts are like", tuple(columns), tuple(rows))


def collapse_table(pairs: PairedTexts) -> TableFigure:
    """Units harmed and rescued, a row a value."""
    columns = (
        TableColumn("value", "value", "text"),
        TableColumn("units", "units", "whole", 1),
        TableColumn("healthy", "healthy", "whole"),
        TableColumn("harmed", "harmed", "whole"),
        TableColumn("rescued", "rescued", "whole"),
        TableColumn("collapsed", "both collapsed", "whole"),
        TableColumn("harmed_share", "harmed of healthy", "percent"),
        *_ends("harmed"),
        TableColumn("rescued_share", "rescued of collapsed", "percent"),
        *_ends("rescued"),
    )
    rows: list[tuple[CellValue, ...]] = []
    for condition, places in pairs.conditions():
        before = pairs.collapsed[pairs.base[places]]
        after = pairs.collapsed[pairs.rows[places]]
        found = health_matrix(before.tolist(), after.tolist(), pairs.unit(places))
        harmed = _share(found.harmed, found.healthy + found.harmed)
        rescued = _share(found.rescued, found.rescued + found.collapsed)
        counts = (found.units, found.healthy, found.harmed, found.rescued, found.collapsed)
        rows.append((condition.label, *counts, *harmed, *rescued))
    return TableFigure("collapse", "Texts that collapse, and texts that are rescued", columns, tuple(rows))


def run_table(pairs: PairedTexts) -> TableFigure:
    """Every run beside its baseline, the most moved first."""
    scored = bool(np.isfinite(pairs.kl).any())
    columns = [
        TableColumn("run", "run", "index", 2),
        TableColumn("value", "value", "text"),
        TableColumn("first_change", "first change", "index"),
        TableColumn("collapse", "collapse", "text"),
    ]
    if scored:
        columns += [
            TableColumn("margin", "margin there", "number", 2),
            TableColumn("kl", "KL nats"),
            TableColumn("kl_max", "largest", "number", 1),
            TableColumn("kl_at", "at token", "index", 1),
            TableColumn("perplexity", "perplexity"),
        ]
    columns.append(TableColumn("prompt", "prompt", "text", 1))
    order = np.concatenate([places for _, places in pairs.conditions()]) if pairs.conditions() else np.empty(0, int)
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
    row += [int(first) if np.isfinite(first) else None, state or ""]
    if scored:
        found, scores = pairs.found(at), pairs.scores(at)
        largest = int(np.argmax(scores.kl)) if scores and scores.kl else None
        row.append(found.margin if found else None)
        row.append(float(pairs.kl[at]) if np.isfinite(pairs.kl[at]) else None)
        row += [None if largest is None or scores is None else scores.kl[largest], largest]
        row.append(found.perplexity if found else None)
    return (*row, pairs.session.prompts[run.prompt].text)


def _interval(
    pairs: PairedTexts, values: Floats, places: NDArray[np.int64], resamples: int, seed: int
) -> list[CellValue]:
    """The mean over runs and the ends of its interval from resampled units."""
    totals = unit_totals(values, pairs.unit(places), len(pairs.units))
    return told(pairs, totals, resamples, seed)


def _share(hits: int, of: int) -> list[CellValue]:
    if not of:
        return [None, None, None]
    low, high = binomial_interval(hits, of).tolist()
    return [hits / of, low, high]


def _with_interval(key: str, title: str) -> list[TableColumn]:
    return [
        TableColumn(key, title),
        TableColumn(f"{key}_low", "from", "number", 1),
        TableColumn(f"{key}_high", "to", "number", 1),
    ]


def _ends(key: str) -> tuple[TableColumn, TableColumn]:
    return TableColumn(f"{key}_low", "from", "percent"), TableColumn(f"{key}_high", "to", "percent")
