"""The tables of what an intervention did to the texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.paired_texts import Floats, PairedTexts
from srm_explorer.engine.experiment.conditions import swept_as
from srm_explorer.engine.figures.captions import site_caption
from srm_explorer.engine.figures.table import CellValue, TableColumn, TableFigure, table_columns
from srm_explorer.engine.session.controls import selection_of
from srm_explorer.engine.session.effects import RunEffects
from srm_explorer.engine.stats.matching import rank_p
from srm_explorer.engine.stats.permutation import benjamini_hochberg
from srm_explorer.engine.stats.resampling import UnitTotals, bca_interval, binomial_interval, unit_totals
from srm_explorer.engine.stats.text import GRAM, health_matrix, text_metrics


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
    for run in pairs.session.runs:
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
        "value::text; by::text; promoted::text; promoted_change:change; promoted_p:p with it; suppressed::text; "
        "suppressed_change:change; suppressed_p:p without it"
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
                        # Half a character, as byte tokens are, says nothing: its number does.
                        name = f"#{token.id}" if "\ufffd" in token.text else repr(token.text)
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
)


def value_table(pairs: PairedTexts, resamples: int, seed: int) -> TableFigure:
    """How many texts changed and how far the distributions moved, a row a value."""
    columns = [
        *table_columns(
            "value::text; units::whole:2; runs::whole:3; changed::percent; first_change_from_1:first change::1"
        )
    ]
    scored = bool(np.isfinite(pairs.kl).any())
    rated = bool(np.isfinite(pairs.log_ratio).any())
    if scored:
        columns += _with_interval("kl", "KL nats")
        columns.append(TableColumn("dlogp", "Δ log p", "number", 2))
    if rated:
        columns += _with_interval("perplexity_ratio", "perplexity ×")
    rows: list[tuple[CellValue, ...]] = []
    for condition, members in pairs.conditions():
        first = pairs.first[members]
        row: list[CellValue] = [condition.label, len(np.unique(pairs.unit(members))), len(members)]
        row += [
            float(pairs.changed[members].mean()),
            1.0 + float(np.nanmedian(first)) if np.isfinite(first).any() else None,
        ]
        if scored:
            mean, low, high = _interval(pairs, pairs.kl[members], members, resamples, seed)
            # A divergence is never below 0; the interval of a few units may be.
            row += [mean, None if low is None else max(0.0, float(low)), high]
            row.append(mean_of(pairs.dlogp[members]))
        if rated:
            row += [
                None if value is None else float(np.exp(value))
                for value in _interval(pairs, pairs.log_ratio[members], members, resamples, seed)
            ]
        rows.append(tuple(row))
    return TableFigure("effects", "What the intervention did to the texts", tuple(columns), tuple(rows))


def text_table(pairs: PairedTexts) -> TableFigure:
    """What the texts are like by their tokens, a row a condition, the baseline first."""
    columns = [
        *table_columns("value::text; runs::whole:1; tokens"),
        *(TableColumn(key, title) for key, title in _METRICS),
        TableColumn("collapsed", "collapsed", "percent"),
    ]
    metrics = [text_metrics(pairs.run(at).token_ids) for at in range(len(pairs.rows))]
    lengths = np.array([len(pairs.run(at).token_ids) for at in range(len(pairs.rows))])
    of = np.array([pairs.run(at).condition for at in range(len(pairs.rows))])
    rows: list[tuple[CellValue, ...]] = []
    for condition in pairs.session.conditions:
        members = np.flatnonzero(of == condition.index)
        if not len(members):
            continue
        row: list[CellValue] = [condition.label, len(members), float(lengths[members].mean())]
        row += [mean_of(np.array([metrics[at].get(key, np.nan) for at in members])) for key, _ in _METRICS]
        rows.append((*row, float(pairs.collapsed[pairs.rows[members]].mean())))
    return TableFigure("texts", "What the texts are like", tuple(columns), tuple(rows))


def collapse_table(pairs: PairedTexts) -> TableFigure:
    """Units harmed and rescued, a row a value."""
    columns = (
        *table_columns(
            "value::text; units::whole:1; healthy::whole; harmed::whole; rescued::whole; "
            "collapsed:both collapsed:whole; harmed_share:harmed of healthy:percent"
        ),
        *_ends("harmed"),
        TableColumn("rescued_share", "rescued of collapsed", "percent"),
        *_ends("rescued"),
    )
    rows: list[tuple[CellValue, ...]] = []
    for condition, members in pairs.conditions():
        before = pairs.collapsed[pairs.base[members]]
        after = pairs.collapsed[pairs.rows[members]]
        health = health_matrix(before.tolist(), after.tolist(), pairs.unit(members))
        harmed = _share(health.harmed, health.healthy + health.harmed)
        rescued = _share(health.rescued, health.rescued + health.collapsed)
        counts = (health.units, health.healthy, health.harmed, health.rescued, health.collapsed)
        rows.append((condition.label, *counts, *harmed, *rescued))
    return TableFigure("collapse", "Texts that collapse, and texts that are rescued", columns, tuple(rows))


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


def _interval(
    pairs: PairedTexts, values: Floats, members: NDArray[np.int64], resamples: int, seed: int
) -> list[CellValue]:
    """The mean over runs and the ends of its interval from resampled units."""
    totals = unit_totals(values, pairs.unit(members), len(pairs.units))
    return _mean_and_ends(pairs, totals, resamples, seed)


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
