"""The tables of a scoring: what acts directly and what through the text, and which tokens are promoted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.analysis.bca import bca_interval
from engine.analysis.matching import rank_p
from engine.analysis.multiplicity import benjamini_hochberg
from engine.analysis.resampling import UnitTotals
from engine.figures.captions import site_caption
from engine.figures.table import CellValue, TableColumn, TableFigure
from engine.session.effects import RunEffects
from engine.spec.conditions import swept_as
from engine.studies.paired_texts import Floats, PairedTexts


def site_table(pairs: PairedTexts, resamples: int, seed: int) -> TableFigure | None:
    """What acts directly and what acts through changed text, a row a site and value; None where nothing was scored."""
    columns = (
        TableColumn("site", "site", "text"),
        TableColumn("value", "value", "text"),
        TableColumn("runs", "runs", "whole", 3),
        TableColumn("total", "|total|"),
        TableColumn("direct", "|direct|"),
        TableColumn("through", "|through text|"),
        TableColumn("direct_share", "direct share", "percent"),
        TableColumn("direct_share_low", "from", "percent", 1),
        TableColumn("direct_share_high", "to", "percent", 1),
        TableColumn("mean_share", "of mean change", "percent"),
        TableColumn("text_first_share", "text first, share", "percent", 2),
        TableColumn("cosine", "cos(direct, total)", "number", 2),
        TableColumn("prefix", "|prefix|", "number", 2),
        TableColumn("prefix_tokens", "prefix tokens", "number", 2),
    )
    rows: list[tuple[CellValue, ...]] = []
    means = {(one.site, one.condition): one for one in pairs.effects.means} if pairs.effects else {}
    for site in pairs.effects.sites if pairs.effects else ():
        for condition, places in pairs.conditions():
            found = [own.sites.get(site) if (own := pairs.found(int(at))) else None for at in places]
            norms = {
                part: np.array([np.nan if one is None else one.norms.get(part, np.nan) for one in found])
                for part in ("total", "direct", "through")
            }
            if not np.isfinite(norms["direct"]).any():
                continue
            shares = [
                _pooled(
                    pairs,
                    np.array([np.nan if one is None else one.shares.get(part, np.nan) for one in found]),
                    norms["total"],
                    places,
                    resamples,
                    seed,
                )
                for part in ("direct", "text_first")
            ]
            cosine = [np.nan if one is None or one.cosine is None else one.cosine for one in found]
            row: list[CellValue] = [site_caption(site), condition.label, int(np.isfinite(norms["direct"]).sum())]
            row += [mean_of(norms[part]) for part in ("total", "direct", "through")]
            of_mean = means[site, condition.index].shares.get("direct") if (site, condition.index) in means else None
            prefix = [np.nan if one is None or one.prefix is None else one.prefix for one in found]
            held = [np.nan if one is None or one.prefix_tokens is None else one.prefix_tokens for one in found]
            row += [*shares[0], of_mean, shares[1][0]]
            rows.append((*row, *(mean_of(np.array(one, np.float64)) for one in (cosine, prefix, held))))
    title = "What acts directly, and what acts through changed text"
    return TableFigure("direct", title, columns, tuple(rows)) if rows else None


def control_table(pairs: PairedTexts) -> TableFigure | None:
    """The mean KL beside that of control neurons clamped alike, a row a value; None where no control was scored."""
    columns = (
        TableColumn("value", "value", "text"),
        TableColumn("kl", "KL nats"),
        TableColumn("controls", "controls", "whole"),
        TableColumn("controls_median", "their median"),
        TableColumn("controls_low", "from"),
        TableColumn("controls_high", "to"),
        TableColumn("p", "p", "p"),
        TableColumn("q", "q", "p"),
    )
    found: dict[int, list[float]] = {}
    scored: Mapping[int, RunEffects] = pairs.effects.runs if pairs.effects else {}
    by_condition: dict[int, list[float]] = {}
    for run in pairs.session.runs:
        own = scored[run.index].texts.get(pairs.text) if run.index in scored else None
        if own is not None and own.kl:
            by_condition.setdefault(run.condition, []).append(float(np.mean(own.kl)))
    for index, swept in swept_as(pairs.session.conditions).items():
        if index in by_condition:
            found.setdefault(swept.index, []).append(float(np.mean(by_condition[index])))
    rows: list[list[CellValue]] = []
    for condition, _ in pairs.conditions():
        others, own = found.get(condition.index), by_condition.get(condition.index)
        if others and own:
            kl, ends = float(np.mean(own)), (float(np.median(others)), min(others), max(others))
            rows.append([condition.label, kl, len(others), *ends, rank_p(kl, others)])
    if not rows:
        return None
    q = benjamini_hochberg([np.nan if row[-1] is None else float(row[-1]) for row in rows]).tolist()
    told = tuple((*row, one) for row, one in zip(rows, q, strict=True))
    notes = (
        "mean KL a token beside that of matched neurons clamped alike; from, to: their range",
        "p: share of target and controls at least as far, so never below 1/(controls + 1);"
        f" q: Benjamini-Hochberg over {len(rows)} values",
    )
    return TableFigure("kl_controls", "How far controls move the same texts", columns, told, notes)


def plane_table(pairs: PairedTexts) -> TableFigure | None:
    """Where the parts of the mean change point in the session's planes; None where nothing was scored, or no plane."""
    names = ("total", "direct", "through")
    columns = (
        TableColumn("plane", "plane", "text"),
        TableColumn("value", "value", "text"),
        *(TableColumn(f"{name}_{axis}", f"{name} {axis}") for name in names for axis in ("x", "y")),
    )
    rows: list[tuple[CellValue, ...]] = []
    places_at: dict[str, int] = {}
    for site, a, b in pairs.effects.planes if pairs.effects else ():
        number = places_at[site] = places_at.get(site, -1) + 1
        for condition, places in pairs.conditions():
            found = [own.sites.get(site) if (own := pairs.found(int(at))) else None for at in places]
            known = [one.planes[number] for one in found if one is not None and number < len(one.planes)]
            cells = [
                mean_of(np.array([own[name][i] for own in known if name in own])) for name in names for i in (0, 1)
            ]
            if any(one is not None for one in cells):
                rows.append((f"{a} × {b} · {site_caption(site)}", condition.label, *cells))
    title = "The mean change in each plane, and its parts"
    return TableFigure("plane_parts", title, columns, tuple(rows)) if rows else None


def token_table(pairs: PairedTexts, top: int) -> TableFigure | None:
    """Token ids that every value promotes and suppresses; None where nothing was scored."""
    columns = (
        TableColumn("value", "value", "text"),
        TableColumn("by", "by", "text"),
        TableColumn("promoted", "promoted", "text"),
        TableColumn("promoted_change", "change"),
        TableColumn("promoted_p", "p with it"),
        TableColumn("suppressed", "suppressed", "text"),
        TableColumn("suppressed_change", "change"),
        TableColumn("suppressed_p", "p without it"),
    )
    rows: list[tuple[CellValue, ...]] = []
    labels = {one.index: one.label for one in pairs.session.conditions if one.kind != "control"}
    for moves in pairs.effects.moves if pairs.effects else ():
        if moves.text != pairs.text or moves.condition not in labels:
            continue
        for by, names in (("log p", ("promoted", "suppressed")), ("p", ("gained", "lost"))):
            rose, fell = (moves.lists.get(name, ())[:top] for name in names)
            for place in range(max(len(rose), len(fell))):
                row: list[CellValue] = [labels[moves.condition], by]
                for own, is_rise in ((rose, True), (fell, False)):
                    if place < len(own):
                        one = own[place]
                        change = one.dlogp if by == "log p" else one.p - one.p_untouched
                        # Half a character, as byte tokens are, says nothing: its number does.
                        name = f"#{one.id}" if "\ufffd" in one.text else repr(one.text)
                        row += [name, change, one.p if is_rise else one.p_untouched]
                    else:
                        row += ["", None, None]
                rows.append(tuple(row))
    return TableFigure("tokens", "Tokens that it promotes and suppresses", columns, tuple(rows)) if rows else None


def told(pairs: PairedTexts, totals: UnitTotals, resamples: int, seed: int) -> list[CellValue]:
    """A mean over runs and the ends of its interval from resampled units; None where there is none."""
    mean = float(totals.mean[0])
    ends = bca_interval(totals, pairs.units.stratum, resamples=resamples, seed=seed)[:, 0].tolist()
    return [one if np.isfinite(one) else None for one in (mean, *ends)]


def mean_of(values: Floats) -> float | None:
    """The mean of the numbers that are finite; None where none is."""
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else None


def _pooled(
    pairs: PairedTexts, shares: Floats, totals: Floats, places: NDArray[np.int64], resamples: int, seed: int
) -> list[CellValue]:
    """Shares of totals, each weighed by its total's square, so that runs in which nothing changes count nothing."""
    weights = totals**2
    there = np.isfinite(shares) & np.isfinite(weights)
    unit = pairs.unit(places)[there]
    sums, counts = np.zeros(len(pairs.units)), np.zeros(len(pairs.units))
    np.add.at(sums, unit, (shares * weights)[there])
    np.add.at(counts, unit, weights[there])
    return told(pairs, UnitTotals(sums[:, None], counts), resamples, seed)
