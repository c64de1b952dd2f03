"""The planes of a session: what spans them, how much of the data they hold; and further ones, made from its vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from srm_explorer.engine.analyses.directions import (
    DIRECTIONS,
    SiteRuns,
    Vector,
    known_directions,
    plane_through,
)
from srm_explorer.engine.analyses.plane_search import FEWEST, halves
from srm_explorer.engine.analyses.registry import Findings, StudyArguments, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.directions import Component, Direction, canonical, direction_of, needs_runs
from srm_explorer.engine.figures.captions import direction_caption, plane_captions, plane_title, site_caption
from srm_explorer.engine.figures.groups import energies_by_group, grey_vector, swept_groups
from srm_explorer.engine.figures.numbers import three_digits
from srm_explorer.engine.figures.table import CellValue, PlaneChoice, TableFigure, table_columns
from srm_explorer.engine.figures.warnings import NEAR_DEG, dipped
from srm_explorer.engine.io.vectors import Matrix, as_rows
from srm_explorer.engine.session import HeldOut, PlaneRecord, Session, chosen_on, units_of
from srm_explorer.engine.session.export import chosen_site
from srm_explorer.engine.session.lengths import by_mark, marks_of, shorter_means
from srm_explorer.engine.session.session import ShorterShadows
from srm_explorer.engine.stats.planes import Plane, coordinates

_COLUMNS = table_columns(
    "plane::index; site::text:3; a:0°:text; b:90°:text; raw_angle_deg:angle::1; group::text; "
    "n_runs:runs:whole:4; energy:energy in plane:percent; mean_a:A::2; mean_b:B::2; amplitude; "
    "phase_deg:phase:degrees"
)


def basis_of(
    session: Session, vectors: Matrix | list[Matrix], choice: PlaneChoice, weights: Mapping[str, Vector] | None = None
) -> Plane:
    """The two orthonormal directions of a plane of a session.

    Args:
        vectors: [run, d] of the site that `choice` names, or a list of [token, d], as `Session.vectors` gives them.
        weights: vectors [d] of files and weights, by their text, beside those that the session holds.

    Raises:
        ExplorerError: the site was not captured, or the directions mean nothing there or span no plane.
    """
    chosen_site(session, choice.site)
    runs = SiteRuns.of(session, choice.site, vectors, weights)
    split = split_of(session, choice)
    made = runs if split is None else runs.of_prompts(split.prompts)
    return plane_through(canonical(choice.a), canonical(choice.b), made)


def split_of(session: Session, choice: PlaneChoice) -> HeldOut | None:
    """The split of the units of a plane that is shown on others than it is made of; None for one of all units.

    A plane of two coordinates that the finder chose is made of the half it was chosen on, and shown on the half it was
    tested on; any other of a random half of the units of each prompt set, by the seed.

    Raises:
        ExplorerError: nothing of it was made of runs or chosen on them, or a half has too few units.
    """
    if choice.held_out is None:
        return None
    units = units_of(session)
    a, b = canonical(choice.a), canonical(choice.b)
    chosen = np.array(chosen_on(session, choice.site, a, b), np.int64)
    if needs_runs(a) or needs_runs(b):
        present = np.unique(units.of_run[session.seen])
        chosen = halves(present, units.stratum, np.random.default_rng(choice.held_out))[0]
    elif not chosen.size:
        what = f"{direction_caption(choice.site, a)} × {direction_caption(choice.site, b)} was neither made of runs nor"
        remedy = "show it as it is: there is nothing to hold out"
        raise ExplorerError(f"{what} chosen on them", where=session.name, remedy=remedy)
    shown = np.setdiff1d(units.of_run[session.seen], chosen)
    if min(len(chosen), len(shown)) < FEWEST:
        what = f"{len(chosen) + len(shown)} units cannot be split into a half to make a plane of and a half to show"
        raise ExplorerError(what, where=session.name, remedy=f"run {2 * FEWEST} prompts or more, better 50")
    runs = np.isin(units.of_run, chosen)
    prompts = sorted({run.prompt for run, is_made in zip(session.runs, runs.tolist(), strict=True) if is_made})
    return HeldOut(choice.held_out, tuple(prompts), len(chosen), len(shown))


def plane_of(
    session: Session, vectors: Matrix | list[Matrix], choice: PlaneChoice, weights: Mapping[str, Vector] | None = None
) -> PlaneRecord:
    """Where every run of a session lies in a plane; arguments and errors as `basis_of`."""
    plane = basis_of(session, vectors, choice, weights)
    xy, norm = coordinates(as_rows(vectors), plane)
    means = shorter_means(session, {choice.site: vectors}).get(choice.site)
    shorter: ShorterShadows = ()
    if means is not None:
        marks = marks_of(session.spec, session.conditions, session.runs)
        shorter = by_mark(marks, *coordinates(np.concatenate(means), plane))
    a, b = canonical(choice.a), canonical(choice.b)
    record = PlaneRecord.of(choice.site, a, b, xy, norm, plane.raw_angle_deg, shorter)
    split = split_of(session, choice)
    return record if split is None else _without(record, session, split)


def _without(record: PlaneRecord, session: Session, split: HeldOut) -> PlaneRecord:
    """A plane in which the runs that it was made of lie nowhere."""
    made = set(split.prompts)
    is_made = [run.prompt in made for run in session.runs]
    x, y, norm = (
        tuple(np.nan if gone else value for gone, value in zip(is_made, column, strict=True))
        for column in (record.x, record.y, record.norm)
    )
    shorter = tuple(() if gone else kept for gone, kept in zip(is_made, record.shorter, strict=False))
    return replace(record, x=x, y=y, norm=norm, shorter=shorter, held_out=split)


def held_out(session: Session, plane: PlaneRecord, seed: int = 0) -> PlaneRecord:
    """A plane of a session made on half of its units, and shown on the other half; reads the session's vectors.

    Raises:
        ExplorerError: as `split_of`; the vectors are not there.
    """
    choice = PlaneChoice(plane.site, plane.a, plane.b, seed)
    there = find_plane(session, choice)
    if there is not None:
        return session.planes[there]
    # Before the vectors are read, whether there is anything to hold out.
    split_of(session, choice)
    return plane_of(session, session.vectors([plane.site])[plane.site], choice)


def with_plane(
    session: Session, vectors: Matrix | list[Matrix], choice: PlaneChoice, weights: Mapping[str, Vector] | None = None
) -> Session:
    """The session with one plane more, after those it has; itself where it has this one already.

    Its spec stays as it was run. Vectors of files and weights that the plane needs are kept in the session, so that it
    can be spanned again. The caller saves it. Arguments and errors as `basis_of`.
    """
    if find_plane(session, choice) is not None:
        return session
    record = plane_of(session, vectors, choice, weights)
    known = known_directions(session.provenance)
    used = {text: vector for text, vector in (weights or {}).items() if text in (record.a, record.b)}
    for text, vector in used.items():
        if text in known and not np.array_equal(known[text], vector):
            what = f"the session holds another vector as {text}"
            raise ExplorerError(what, where=session.name, remedy="give the file another name")
    kept = {text: vector.tolist() for text, vector in {**known, **used}.items()}
    provenance = {**session.provenance, DIRECTIONS: kept} if kept else session.provenance
    return session.changed(planes=(*session.planes, record), provenance=provenance)


def find_plane(session: Session, choice: PlaneChoice) -> int | None:
    split = () if choice.held_out is None else ("held out", choice.held_out)
    key = (choice.site, canonical(choice.a), canonical(choice.b), *split)
    return next((index for index, plane in enumerate(session.planes) if plane.key == key), None)


def planes_study(session: Session, arguments: Mapping[str, Any]) -> Findings:
    """A table of the session's planes, a row a plane and group.

    Args:
        arguments: `by`, as charts group runs: texts, none for the baseline and all values pooled.
    """
    settings = StudyArguments(arguments, ("by",), "planes")
    return findings_of(planes_table(session, settings.texts("by")))


def planes_table(session: Session, by: list[str] | None = None) -> TableFigure:
    """The planes of a session: their directions, how much of each group they hold, and where its mean lies.

    Raises:
        ExplorerError: no run is finished, or no prompt has such a factor.
    """
    rows: list[tuple[CellValue, ...]] = []
    planes: list[PlaneChoice] = []
    for number, plane in enumerate(session.planes, 1):
        a, b = plane_captions(plane)
        energies = energies_by_group(session, plane, by or ())
        for group in swept_groups(session, plane, by or ()):
            sweep = group.sweep
            head = (number, site_caption(plane.site), a, b, plane.raw_angle_deg, group.label, group.n_runs)
            rows.append((*head, energies[group.label], sweep.a, sweep.b, sweep.amplitude, sweep.phase_deg))
            seed = None if plane.held_out is None else plane.held_out.seed
            planes.append(PlaneChoice(plane.site, plane.a, plane.b, seed))
    return TableFigure("planes", f"planes of {session.name}", _COLUMNS, tuple(rows), _notes(session), tuple(planes))


def _notes(session: Session) -> tuple[str, ...]:
    if not session.spec.capture.sites:
        return ("texts alone, no vectors: there is nothing to lay a plane through",)
    if not session.planes:
        return ("no plane yet: srm-explorer planes SESSION --add A B makes one",)
    near = [plane for plane in session.planes if min(plane.raw_angle_deg, 180 - plane.raw_angle_deg) < NEAR_DEG]
    notes = [
        f"{plane_title(plane)}: only {three_digits(plane.raw_angle_deg)}° apart, so that 90° is what little the second"
        " adds to the first"
        for plane in near
    ]
    sites = dict.fromkeys(plane.site for plane in session.planes)
    widths = session.widths
    shares = [f"{three_digits(200 / widths[site])} % at {site_caption(site)}" for site in sites if widths.get(site)]
    if shares:
        notes.append(f"energy: mean of (x² + y²) / |v|²; a plane of random directions holds {', '.join(shares)}")
    greys: list[str] = []
    for number, plane in enumerate(session.planes, 1):
        x, y = grey_vector(session, plane)
        greys.append(f"{number} ({three_digits(x)}, {three_digits(y)})")
    notes.append(f"grey vector, the mean of normalised baseline vectors: plane {'; '.join(greys)}")
    notes.append("the first direction itself draws cos θ; the second has its largest value at the angle between them")
    notes += [f"plane {at}: {note}" for at, plane in enumerate(session.planes, 1) for note in dipped(session, plane)]
    if any(isinstance(direction, Component) and not direction.runs.at for direction in _directions(session)):
        notes.append("components without a condition hold what was clamped too: pc1(at=baseline) leaves it out")
    return tuple(notes)


def _directions(session: Session) -> list[int | Direction]:
    return [direction_of(along) for plane in session.planes for along in (plane.a, plane.b)]
