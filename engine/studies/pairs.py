"""Study "pairs": what rises and falls with a neuron, at its site and in the residual stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.analysis.pairings import MORE, REFINED, row_cosines
from engine.analysis.resampling import MOST_RESAMPLES
from engine.errors import ExplorerError
from engine.figures.captions import coordinate_caption, site_caption
from engine.figures.numbers import count_of, three_digits
from engine.figures.table import CellValue, PlaneChoice, TableColumn, TableFigure
from engine.session import Session
from engine.spec import Site
from engine.studies.arguments import Given
from engine.studies.captured import captured, is_steered
from engine.studies.pair_ways import Floats, Partners, WayName, as_captured, holds_writes
from engine.studies.paired import Compared, cell
from engine.studies.study import Arguments, Findings, findings_of
from engine.studies.subject import chosen_neuron, known_rows, residual_site

FEW_UNITS = 10
FEWEST_SLOPES = 6
"""Units below which flips of signs give no two-sided p below .05: 2 of 2^5 patterns are .0625."""
SETTINGS = ("neuron", "site", "partners", "top", "permutations", "seed")


def pairs_study(session: Session, arguments: Arguments) -> Findings:
    """List co-activators and antagonists of a neuron, and the residual stream's coordinates that go with it.

    Args:
        session: with its vectors.
        arguments: "neuron" (of the first intervention or plane by default), "site" (where it is), "partners" ("site",
            "residual" or "both"), "top" (rows a table; None for all), "permutations", "seed".

    Raises:
        ExplorerError: an argument that is none, no such site or neuron, or too few runs.
    """
    return pair_tables(session, arguments)


def pair_tables(session: Session, arguments: Arguments, weights: NDArray[np.floating] | None = None) -> Findings:
    """The same with the weights of the neuron's layer, where they are at hand.

    Args:
        session: with its vectors.
        arguments: as `pairs_study`.
        weights: [d_mlp, d_model] W_out of the neuron's layer, a neuron a row, as in the model: not centred.
    """
    given = Given(arguments, SETTINGS, "pairs")
    site, neuron = chosen_neuron(session, given.text("site"), given.whole("neuron"))
    wanted = given.choice("partners", ("both", "site", "residual"))
    residual = residual_site(session, site) if wanted != "site" else None
    if wanted == "residual" and residual is None:
        what = "it captured nothing of the residual stream" if Site.parse(site).is_mlp else f"{site} is no MLP's"
        remedy = "capture blocks.L.hook_resid_post beside the MLP's site"
        raise ExplorerError(what, where=session.name, remedy=remedy)
    caught = captured(session, [site] if residual is None else [site, residual])
    d = caught.vectors[site].shape[1]
    if not 0 <= neuron < d:
        raise ExplorerError(f"neuron {neuron} is out of range ({site} has {d})", remedy=f"choose 0 to {d - 1}")
    partners = Partners(caught, site, neuron, residual, _rows(session, site, residual, weights))
    number, seed = given.whole("permutations", 2000, least=0, most=MOST_RESAMPLES), given.whole("seed", 0, least=0)
    compared = Compared.of(partners, number, seed, with_site=wanted != "residual")
    top = given.whole("top", None, least=1)
    tables: list[TableFigure] = []
    if wanted != "residual":
        tables += [_at_site(compared, weights, top, sign) for sign in (1, -1)]
    if residual is not None:
        tables.append(_in_stream(compared, residual, top))
    return findings_of(*tables, neuron=neuron, site=site)


def _at_site(compared: Compared, weights: NDArray[np.floating] | None, top: int | None, sign: int) -> TableFigure:
    partners, lead = compared.partners, compared.leading
    site, neuron = partners.site, partners.neuron
    r = compared.pairings[lead, "pearson"].r[: partners.n_site]
    order = np.argsort(-sign * np.where(np.isfinite(r), r, 0.0), kind="stable")
    chosen = [int(one) for one in order if np.isfinite(r[one]) and sign * r[one] > 0][:top]
    cosines = None if weights is None else row_cosines(weights, neuron)
    columns = [TableColumn("partner", "partner", "text"), *compared.columns()]
    if cosines is not None:
        columns.append(TableColumn("w_out_cosine", "cos W_out", "number", 1))
    rows = [
        (coordinate_caption(site, one), *compared.cells(one), *([] if cosines is None else [cell(cosines[one])]))
        for one in chosen
    ]
    who = coordinate_caption(site, neuron)
    found = "co-activators" if sign > 0 else "antagonists"
    silent = int(partners.n_site - 1 - np.isfinite(np.delete(r, neuron)).sum())
    notes = [f"ordered by r {_in_words(lead)}, {'largest' if sign > 0 else 'most negative'} first", *_notes(compared)]
    if is_steered(partners.caught.session, site):
        notes.append("pooled and partial are left out: all coordinates were moved along a direction by design")
    if silent:
        notes.append(f"{silent:,} of {partners.n_site - 1:,} others are constant or were set, and are left out")
    if cosines is None:
        notes.append("cos W_out needs the model: `srm-explorer pairs SESSION --weights`")
    return TableFigure(
        found.replace("-", "_"),
        f"{found} of {who} · {site_caption(site)}",
        tuple(columns),
        tuple(rows),
        tuple(notes),
        tuple(PlaneChoice(site, neuron, one) for one in chosen),
    )


def _in_stream(compared: Compared, residual: str, top: int | None) -> TableFigure:
    partners, lead = compared.partners, compared.leading
    d, width = partners.n_site, partners.n_residual
    who = coordinate_caption(partners.site, partners.neuron)
    own = partners.rows.get(partners.neuron)
    r = compared.pairings[lead, "pearson"].r[d : d + width]
    order = np.argsort(-np.where(np.isfinite(r), np.abs(r), -1.0), kind="stable")
    projected = partners.direction is not None
    chosen = [int(one) for one in order if np.isfinite(r[one])][: None if top is None else top - projected]
    columns = [TableColumn("coordinate", "coordinate", "text"), *compared.columns()]
    columns.append(TableColumn("w_out", "W_out entry", "number", 1))
    rows: list[tuple[CellValue, ...]] = []
    if projected:
        rows.append((f"along W_out of {who}", *compared.cells(d + width), None))
    rows += [
        (coordinate_caption(residual, one), *compared.cells(d + one), None if own is None else float(own[one]))
        for one in chosen
    ]
    notes = [
        f"ordered by |r| {_in_words(lead)}",
        "coordinate i of the residual stream has nothing to do with neuron i: the neuron's direction there is its row"
        " of W_out",
    ]
    if {"pooled", "partial"} & {way.name for way in compared.ways}:
        names = ", ".join(coordinate_caption(partners.site, one) for one in partners.written())
        mixed = partners.mixed()
        if mixed is not None:
            notes.append(f"pooled and partial are left out: {mixed}")
        elif names:
            notes.append(
                f"pooled and partial: activation × W_out of {names} is subtracted, it is there by construction"
            )
    if any(way.name == "baseline" for way in compared.ways) and projected:
        notes.append(
            f"at baseline the stream holds what {who} itself writes: r follows the W_out entry by construction"
        )
    notes += _notes(compared)
    return TableFigure(
        "residual",
        f"{who} and the residual stream · {site_caption(residual)}",
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
    return (*[None] * before, *(PlaneChoice(residual, direction, one) for one in chosen))


def _notes(compared: Compared) -> list[str]:
    partners = compared.partners
    caught = partners.caught
    who = coordinate_caption(partners.site, partners.neuron)
    notes: list[str] = []
    if partners.replaced().any():
        notes.append(
            f"{who} is set by design where it is clamped: within a value its own baseline activation on the same prompt"
            " stands for it"
        )
    told: dict[str, list[str]] = {way.inference: [] for way in compared.ways}
    for way in compared.ways:
        told[way.inference].append(way.name)
    inference = "; ".join(f"{what}: {', '.join(names)}" for what, names in told.items())
    units = len(set(caught.unit.tolist()))
    notes.append(
        f"{count_of(units, 'unit')} · {count_of(len(caught.rows), 'run')} · p: {inference} · "
        f"{compared.permutations:,} times, {compared.permutations * (1 + MORE):,} for the {REFINED} furthest out"
        f" · seed {compared.seed}"
    )
    notes += _of_slopes(compared, who)
    notes.append(f"q: Benjamini-Hochberg over all {compared.family:,} correlations computed, shown or not")
    if units < FEW_UNITS:
        notes.append(f"fewer than {FEW_UNITS} units: correlations of so few say little, and p cannot become small")
    if caught.left_out:
        notes.append(f"{count_of(caught.left_out, 'run')} with vectors that are not finite left out")
    notes.append("going together is no proof that one moves the other: clamp the partner to see")
    return notes


def _of_slopes(compared: Compared, who: str) -> list[str]:
    tested = compared.slopes
    if tested is None or not compared.permutations:
        return []
    n = count_of(tested.units, "unit")
    found = [
        f"{who} was set: pooled and partial share one p, whether units' slopes on it (ρ: of ranks) are 0 on average;"
        f" with {n}{f' (all {2**tested.units:,} patterns)' if tested.exact else ''} it is at least"
        f" {three_digits(tested.least)}"
    ]
    if tested.units < FEWEST_SLOPES:
        found.append(f"too few units for a p of pooled and partial below .05: {FEWEST_SLOPES} are needed")
    return found


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
