"""Study "pairs": what rises and falls with a neuron, at its site and in the residual stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.captured import captured, is_steered
from srm_explorer.engine.analyses.pairs_measures import (
    Floats,
    Partners,
    Way,
    WayName,
    as_captured,
    holds_writes,
    ways_of,
)
from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.figures.captions import coordinate_caption, site_caption
from srm_explorer.engine.figures.numbers import count_of, three_digits
from srm_explorer.engine.figures.table import CellValue, PlaneChoice, TableColumn, TableFigure, as_cell
from srm_explorer.engine.session import (
    ComputedTest,
    Counted,
    Session,
    changed_units,
    check_family,
    record_tests,
    unit_warnings,
)
from srm_explorer.engine.session.export import chosen_site
from srm_explorer.engine.stats.pairings import MORE, REFINED, Method, Pairing, pair, row_cosines
from srm_explorer.engine.stats.permutation import FEWEST_UNITS, Blocks
from srm_explorer.engine.stats.resampling import MOST_RESAMPLES
from srm_explorer.engine.stats.unit_slopes import SlopeTest, mean_slopes, slope_test

METHODS: tuple[Method, ...] = ("pearson", "spearman")
WAYS: tuple[WayName, ...] = ("within", "baseline", "pooled", "partial")
FAMILY = "pairs"
"""That correlations are in where nobody names another."""


@dataclass(frozen=True, eq=False)
class Compared:
    """All correlations of a neuron.

    Attributes:
        pairings: [partner] r and p, by way and method; NaN where nothing was computed.
        q: [partner] corrected over all p of the family so far, these together among them.
        counted: the family.
        permutations: of the first round, and flips of signs.
        slopes: of the ways in which the experimenter set the neuron; None without.
        effects: [partner] mean slope on the neuron, its interval and the p of that mean; None likewise.
    """

    partners: Partners
    ways: tuple[Way, ...]
    pairings: Mapping[tuple[WayName, Method], Pairing]
    q: Mapping[tuple[WayName, Method], Floats]
    counted: Counted
    permutations: int
    seed: int
    slopes: SlopeTest | None
    effects: Mapping[str, Floats] | None

    @classmethod
    def of(cls, partners: Partners, permutations: int, seed: int, *, with_site: bool, family: str = FAMILY) -> Compared:
        """Compare in every way that the session has runs for; `with_site` False leaves out the neuron's own site.

        Raises:
            ExplorerError: there are too few runs for any.
        """
        check_family(family)
        ways = ways_of(partners)
        if not ways:
            what = "it has fewer than three runs to correlate over"
            raise ExplorerError(what, where=partners.caught.session.name, remedy="run more prompts")
        pairings: dict[tuple[WayName, Method], Pairing] = {}
        slopes: dict[Method, SlopeTest] = {}
        effects: dict[str, Floats] | None = None
        for way in ways:
            usable = way.usable.copy()
            usable[: partners.n_site] &= with_site
            columns = np.flatnonzero(usable)
            y, by_slopes = way.y[:, columns], way.blocks is None
            both = pair(
                way.x,
                y,
                way.blocks or Blocks(len(y), ()),
                labels=way.labels.tolist(),
                scale=way.scale,
                methods=METHODS,
                unit=way.unit,
                permutations=0 if by_slopes else permutations,
                seed=seed,
            )
            if by_slopes and not slopes:
                # Pooled or partial, the runs and so the slopes of units are the same.
                caught = partners.caught
                slopes = slope_test(
                    way.x, y, caught.prompt, caught.unit, methods=METHODS, flips=permutations, seed=seed
                )
                mean = mean_slopes(way.x, y, caught.prompt, caught.unit, caught.units.stratum, seed=seed)
                found = {
                    "mean_slope": mean.mean,
                    "mean_slope_low": mean.low,
                    "mean_slope_high": mean.high,
                    "mean_slope_p": mean.p,
                }
                moves = ~np.isnan(slopes["pearson"].p)
                effects = {
                    name: _wide(np.where(moves, values, np.nan), columns, len(usable)) for name, values in found.items()
                }
            for method, pairing in both.items():
                with_p = (
                    replace(pairing, p=np.where(np.isnan(pairing.r), np.nan, slopes[method].p))
                    if by_slopes
                    else pairing
                )
                pairings[way.name, method] = _spread(with_p, columns, len(usable))
        # Pooled and partial are one test where units' slopes are tested, and count once.
        twice = {"partial"} if slopes and ("pooled", "pearson") in pairings else set[str]()
        tested = {key: pairing for key, pairing in pairings.items() if key[0] not in twice}
        counted = record_tests(partners.caught.session, _tests_of(partners, tested), family)
        by_site = iter(counted.q)
        q = {key: np.concatenate([next(by_site), next(by_site)]) for key in tested}
        for (way, method), pairing in pairings.items():
            if way in twice:
                q[way, method] = np.where(np.isnan(pairing.p), np.nan, q["pooled", method])
        return cls(partners, ways, pairings, q, counted, permutations, seed, slopes.get("pearson"), effects)

    @cached_property
    def leading(self) -> WayName:
        """The way that rows are ordered by: within a value where there are values."""
        for name in WAYS:
            if (name, "pearson") in self.pairings and np.isfinite(self.pairings[name, "pearson"].r).any():
                return name
        return self.ways[0].name

    def columns(self) -> list[TableColumn]:
        columns: list[TableColumn] = []
        for rank, name in enumerate(self._ordered()):
            keep = 2 * rank
            columns += [
                TableColumn(f"{name}_r", f"r {name}", "number", keep),
                TableColumn(f"{name}_p", "p", "p", 30 + rank),
                TableColumn(f"{name}_q", "q", "p", keep + (1 if rank else 0)),
                TableColumn(f"{name}_rho", f"ρ {name}", "number", 10 + keep),
                TableColumn(f"{name}_rho_p", "p of ρ", "p", 40 + rank),
                TableColumn(f"{name}_rho_q", "q of ρ", "p", 20 + keep),
            ]
        for name in self._ordered():
            for key, title in (("r", "r"), ("rho", "ρ")):
                columns += [
                    TableColumn(f"{name}_{key}_{end}", f"{title} {name} {word}", "number", 60)
                    for end, word in (("low", "from"), ("high", "to"))
                ]
        if self.effects is not None:
            columns += [
                TableColumn("mean_slope", "mean slope", "number", 5),
                TableColumn("mean_slope_low", "mean slope from", "number", 25),
                TableColumn("mean_slope_high", "mean slope to", "number", 25),
                TableColumn("mean_slope_p", "p of mean slope", "p", 26),
            ]
        labels = [label for way in self.ways for label in way.values]
        return columns + [TableColumn(f"r_at_{label}", f"r at {label}", "number", 50) for label in labels]

    def cells(self, partner: int) -> list[CellValue]:
        cells: list[CellValue] = []
        for name in self._ordered():
            for method in METHODS:
                pairing, q = self.pairings[name, method], self.q[name, method]
                cells += [as_cell(pairing.r[partner]), as_cell(pairing.p[partner]), as_cell(q[partner])]
        for name in self._ordered():
            for method in METHODS:
                cells += [as_cell(end) for end in self.pairings[name, method].ends[:, partner]]
        cells += [as_cell(values[partner]) for values in (self.effects or {}).values()]
        each = [self.pairings[way.name, "pearson"].each for way in self.ways if way.values]
        return cells + [as_cell(row[partner]) for rows in each for row in rows]

    def _ordered(self) -> list[WayName]:
        return sorted((way.name for way in self.ways), key=lambda name: (name != self.leading, WAYS.index(name)))


def _spread(pairing: Pairing, columns: NDArray[np.int64], partners: int) -> Pairing:
    parts = (pairing.r, pairing.p, pairing.each, pairing.ends)
    r, p, each, ends = (_wide(values, columns, partners) for values in parts)
    return Pairing(r, p, each, ends)


def _wide(values: Floats, columns: NDArray[np.int64], partners: int) -> Floats:
    """Put the columns that were compared back to their places, NaN between them."""
    padded = np.full((*values.shape[:-1], partners), np.nan)
    padded[..., columns] = values
    return padded


W_OUT = "w_out"
"""In a session's provenance: by MLP site and neuron, the row of W_out of each neuron that was changed."""

_STREAM = ("hook_resid_post", "hook_resid_mid", "hook_resid_pre", "hook_mlp_out", "hook_attn_out")


def chosen_neuron(session: Session, site: str | None, neuron: int | None) -> tuple[str, int]:
    """The site and coordinate that were asked for.

    By default those of the first intervention on coordinates of a captured site, else those of the first plane.

    Raises:
        ExplorerError: the site was not captured, or nothing tells which neuron is meant.
    """
    if site is not None:
        chosen_site(session, site)
    planes = [(plane.site, plane.a) for plane in session.planes]
    named = [(edit.site, edit.neurons[0]) for edit in session.spec.interventions if edit.neurons]
    known = [
        (at, index)
        for at, index in (*named, *planes)
        if at in session.spec.capture.sites and isinstance(index, int) and site in (None, at)
    ]
    if neuron is not None:
        default = known[0][0] if known else chosen_site(session, site)
        return site or default, neuron
    if not known:
        chosen_site(session, site)
        what = "no neuron of a captured site was changed, and no plane shows one"
        raise ExplorerError(what, where=session.name, remedy="name a neuron, and its site")
    return known[0]


def residual_site(session: Session, site: str) -> str | None:
    """The captured site of the residual stream nearest to an MLP's site: after it, then of its layer; None without."""
    home = Site.parse(site)
    if not home.is_mlp:
        return None
    others = [Site.parse(other) for other in session.spec.capture.sites]
    stream = [candidate for candidate in others if candidate.is_stream]
    if not stream:
        return None
    return str(
        min(
            stream,
            key=lambda candidate: (
                candidate.layer < home.layer,
                abs(candidate.layer - home.layer),
                _STREAM.index(candidate.kind),
            ),
        )
    )


def known_rows(session: Session, site: str) -> dict[int, NDArray[np.float64]]:
    """Rows of W_out that the session holds, by neuron of an MLP's site: those of neurons that were changed."""
    rows: object = session.told(W_OUT).get(site)
    if not isinstance(rows, dict):
        return {}
    return {int(neuron): np.array(row, np.float64) for neuron, row in cast("dict[str, Any]", rows).items()}


FEW_UNITS = 10


def _tests_of(partners: Partners, pairings: Mapping[tuple[WayName, Method], Pairing]) -> list[ComputedTest]:
    """Two a pairing: with the others of the neuron's site, and with the residual stream."""
    return [
        ComputedTest(
            f"{'correlation' if method == 'pearson' else 'rank correlation'}, {way}",
            {"neuron": partners.neuron, "site": partners.site, "with": where},
            p,
        )
        for (way, method), pairing in pairings.items()
        for where, p in zip(
            (partners.site, partners.residual or ""), np.split(pairing.p, [partners.n_site]), strict=True
        )
    ]


FEWEST_SLOPES = 6
"""Units below which flips of signs give no two-sided p below .05: 2 of 2^5 patterns are .0625."""
SETTINGS = ("neuron", "site", "partners", "top", "permutations", "seed", "family")


def pairs_study(session: Session, arguments: Arguments) -> Findings:
    """List co-activators and antagonists of a neuron, and the residual stream's coordinates that go with it.

    Args:
        arguments: "neuron" (of the first intervention or plane by default), "site" (where it is), "partners" ("site",
            "residual" or "both"), "top" (rows a table; None for all), "permutations", "seed", "family" (that its tests
            belong to).

    Raises:
        ExplorerError: an argument that is none, no such site or neuron, or too few runs.
    """
    return pair_tables(session, arguments)


def pair_tables(
    session: Session, arguments: Arguments, weights: NDArray[np.floating] | None = None, *, adds_up: bool = True
) -> Findings:
    """The same with the weights of the neuron's layer, where they are at hand.

    Args:
        weights: [d_mlp, d_model] the direction in which each neuron of the layer writes, as in the model: not centred.
        adds_up: whether the stream holds the sum of them, each times its neuron's value.

    Raises:
        ExplorerError: a setting, site or neuron that is none, or vectors that were not kept.
    """
    settings = StudyArguments(arguments, SETTINGS, "pairs")
    site, neuron = chosen_neuron(session, settings.text("site"), settings.whole("neuron"))
    scope = settings.choice("partners", ("both", "site", "residual"))
    residual = residual_site(session, site) if scope != "site" else None
    if scope == "residual" and residual is None:
        what = "it captured nothing of the residual stream" if Site.parse(site).is_mlp else f"{site} is no MLP's"
        remedy = "capture blocks.L.hook_resid_post beside the MLP's site"
        raise ExplorerError(what, where=session.name, remedy=remedy)
    caught = captured(session, [site] if residual is None else [site, residual])
    d = caught.vectors[site].shape[1]
    if not 0 <= neuron < d:
        raise ExplorerError(f"neuron {neuron} is out of range ({site} has {d})", remedy=f"choose 0 to {d - 1}")
    partners = Partners(caught, site, neuron, residual, _rows(session, site, residual, weights), adds_up)
    number, seed = (
        settings.whole("permutations", 2000, least=0, most=MOST_RESAMPLES),
        settings.whole("seed", 0, least=0),
    )
    family = settings.text("family") or FAMILY
    compared = Compared.of(partners, number, seed, with_site=scope != "residual", family=family)
    top = settings.whole("top", None, least=1)
    tables: list[TableFigure] = []
    if scope != "residual":
        tables += [_at_site(compared, weights, top, sign) for sign in (1, -1)]
    if residual is not None:
        tables.append(_in_stream(compared, residual, top))
    return findings_of(*tables, neuron=neuron, site=site, family=compared.counted.to_dict())


def _at_site(compared: Compared, weights: NDArray[np.floating] | None, top: int | None, sign: int) -> TableFigure:
    partners, lead = compared.partners, compared.leading
    site, neuron = partners.site, partners.neuron
    r = compared.pairings[lead, "pearson"].r[: partners.n_site]
    order = np.argsort(-sign * np.where(np.isfinite(r), r, 0.0), kind="stable")
    chosen = [int(partner) for partner in order if np.isfinite(r[partner]) and sign * r[partner] > 0][:top]
    cosines = None if weights is None else row_cosines(weights, neuron)
    columns = [TableColumn("partner", "partner", "text"), *compared.columns()]
    if cosines is not None:
        columns.append(TableColumn("w_out_cosine", "cos W_out", "number", 1))
    rows = [
        (
            coordinate_caption(site, partner),
            *compared.cells(partner),
            *([] if cosines is None else [as_cell(cosines[partner])]),
        )
        for partner in chosen
    ]
    caption = coordinate_caption(site, neuron)
    kind = "co-activators" if sign > 0 else "antagonists"
    silent = int(partners.n_site - 1 - np.isfinite(np.delete(r, neuron)).sum())
    notes = [f"ordered by r {_in_words(lead)}, {'largest' if sign > 0 else 'most negative'} first", *_notes(compared)]
    if is_steered(partners.caught.session, site):
        notes.append("pooled and partial are left out: all coordinates were moved along a direction by design")
    if silent:
        notes.append(f"{silent:,} of {partners.n_site - 1:,} others are constant or were set, and are left out")
    if cosines is None and partners.caught.session.spec.model.is_known:
        notes.append("cos W_out needs the model: `srm-explorer pairs SESSION --weights`")
    return TableFigure(
        kind.replace("-", "_"),
        f"{kind} of {caption} · {site_caption(site)}",
        tuple(columns),
        tuple(rows),
        tuple(notes),
        tuple(PlaneChoice(site, neuron, partner) for partner in chosen),
    )


def _in_stream(compared: Compared, residual: str, top: int | None) -> TableFigure:
    partners, lead = compared.partners, compared.leading
    d, width = partners.n_site, partners.n_residual
    caption = coordinate_caption(partners.site, partners.neuron)
    w_out = partners.rows.get(partners.neuron)
    r = compared.pairings[lead, "pearson"].r[d : d + width]
    order = np.argsort(-np.where(np.isfinite(r), np.abs(r), -1.0), kind="stable")
    projected = partners.direction is not None
    chosen = [int(partner) for partner in order if np.isfinite(r[partner])][: None if top is None else top - projected]
    columns = [TableColumn("coordinate", "coordinate", "text"), *compared.columns()]
    columns.append(TableColumn("w_out", "W_out entry", "number", 1))
    rows: list[tuple[CellValue, ...]] = []
    if projected:
        rows.append((f"along W_out of {caption}", *compared.cells(d + width), None))
    rows += [
        (
            coordinate_caption(residual, partner),
            *compared.cells(d + partner),
            None if w_out is None else float(w_out[partner]),
        )
        for partner in chosen
    ]
    notes = [
        f"ordered by |r| {_in_words(lead)}",
        "coordinate i of the residual stream has nothing to do with neuron i: the neuron's direction there is its row"
        " of W_out",
    ]
    if {"pooled", "partial"} & {way.name for way in compared.ways}:
        names = ", ".join(coordinate_caption(partners.site, neuron) for neuron in partners.written())
        mixed = partners.mixed()
        if mixed is not None:
            notes.append(f"pooled and partial are left out: {mixed}")
        elif names:
            notes.append(
                f"pooled and partial: activation × W_out of {names} is subtracted, it is there by construction"
            )
    if any(way.name == "baseline" for way in compared.ways) and projected:
        notes.append(
            f"at baseline the stream holds what {caption} itself writes: r follows the W_out entry by construction"
        )
    notes += _notes(compared)
    return TableFigure(
        "residual",
        f"{caption} and the residual stream · {site_caption(residual)}",
        tuple(columns),
        tuple(rows),
        tuple(notes),
        _planes_in_stream(partners, residual, len(rows) - len(chosen), chosen),
    )


def _planes_in_stream(
    partners: Partners, residual: str, before: int, chosen: Sequence[int]
) -> tuple[PlaneChoice | None, ...]:
    """The neuron's direction and a coordinate, where the neuron has a direction there."""
    if not holds_writes(partners.site, residual):
        return ()
    direction = f"w_out({Site.parse(partners.site).layer}.{partners.neuron})"
    return (*[None] * before, *(PlaneChoice(residual, direction, partner) for partner in chosen))


def _notes(compared: Compared) -> list[str]:
    partners = compared.partners
    caught = partners.caught
    caption = coordinate_caption(partners.site, partners.neuron)
    notes: list[str] = []
    if partners.replaced().any():
        notes.append(
            f"{caption} is set by design where it is clamped: within a value its own baseline activation on the same"
            " prompt stands for it"
        )
    by_inference: dict[str, list[str]] = {way.inference: [] for way in compared.ways}
    for way in compared.ways:
        by_inference[way.inference].append(way.name)
    inference = "; ".join(f"{what}: {', '.join(names)}" for what, names in by_inference.items())
    units = len(set(caught.unit.tolist()))
    notes.append(
        f"{count_of(units, 'unit')} · {count_of(len(caught.rows), 'run')} · p: {inference} · "
        f"{compared.permutations:,} times, {compared.permutations * (1 + MORE):,} for the {REFINED} furthest out"
        f" · seed {compared.seed}"
    )
    if any(way.blocks is not None for way in compared.ways):
        notes.append(
            "where units are exchanged p is of no connection at all: that r alone is 0 is less, and not tested"
        )
    notes += _of_slopes(compared, caption)
    changed = changed_units(caught.session, caught.rows).caption
    if changed:
        notes.append(f"{changed}: where only texts can move the partners, the others are no evidence")
    notes += compared.counted.lines
    notes.append("q: Benjamini-Hochberg over all correlations of the family that were computed, shown or not")
    notes += unit_warnings(partners.caught.session)
    if units < FEW_UNITS:
        notes.append(f"fewer than {FEW_UNITS} units: correlations of so few say little, and p cannot become small")
    if caught.left_out:
        notes.append(f"{count_of(caught.left_out, 'run')} with vectors that are not finite left out")
    notes.append("going together is no proof that one moves the other: clamp the partner to see")
    return notes


def _of_slopes(compared: Compared, caption: str) -> list[str]:
    tested = compared.slopes
    if tested is None or not compared.permutations:
        return []
    if tested.units < FEWEST_UNITS:
        return [f"{caption} was set in {count_of(tested.units, 'unit')}: pooled and partial have no p; add prompts"]
    n = count_of(tested.units, "unit")
    notes = [
        f"{caption} was set: pooled and partial share one p, whether units' slopes on it (ρ: of ranks) are symmetric"
        f" around 0; with {n}{f' (all {2**tested.units:,} patterns)' if tested.exact else ''} it is at least"
        f" {three_digits(tested.least)}"
    ]
    if compared.effects is not None:
        notes.append(
            f"mean slope: over units, of the partner's change a unit of {caption}, from and to: its 95 % interval, p of"
            " mean slope: of this mean being 0, by resampled units, not corrected over partners"
        )
    if tested.units == 2:
        notes.append("of two units r within a value and at baseline is 1 or −1 whatever they are")
    if tested.units < FEWEST_SLOPES:
        notes.append(f"too few units for a p of pooled and partial below .05: {FEWEST_SLOPES} are needed")
    return notes


def _rows(session: Session, site: str, residual: str | None, weights: NDArray[np.floating] | None) -> dict[int, Floats]:
    if residual is None:
        return {}
    known = known_rows(session, site)
    if weights is not None:
        known |= {index: np.asarray(row, np.float64) for index, row in enumerate(weights)}
    return {index: as_captured(row, session.spec, residual) for index, row in known.items()}


def _in_words(way: WayName) -> str:
    return {
        "within": "within a value (mean over values)",
        "baseline": "at baseline",
        "pooled": "over everything",
        "partial": "partial on the prompt",
    }[way]
