"""`srm-explorer planes`: the planes of a session, further ones, and ensembles of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import paths
from engine.errors import ExplorerError
from engine.figures.table import PlaneChoice
from engine.session import Session, load_session, save_session
from engine.studies.captured import check_captured
from engine.studies.directions import file_vectors, missing_weights, weights_in
from engine.studies.ensemble import basis_names, ensemble_tables
from engine.studies.planes import find_plane, planes_table, with_plane
from engine.vectors import Matrix, read_vectors
from tui.cli.output import note, visible
from tui.cli.tables import say_tables

if TYPE_CHECKING:
    from engine.studies.directions import Vector


def list_planes(session: str, by: Sequence[str], csv_file: Path | None, as_json: bool) -> None:
    """Print the planes of a session: what spans them, how much of the data they hold, where means lie."""
    _say_planes(load_session(paths.session_path(session)), by, csv_file, as_json)


def add_plane(
    session: str, a: str, b: str, site: str | None, by: Sequence[str], csv_file: Path | None, as_json: bool
) -> None:
    """Make a plane of a session's vectors, save it in the session, and print all of its planes."""
    opened = load_session(paths.session_path(session))
    choice = PlaneChoice(_site(opened, site), a, b)
    there = find_plane(opened, choice)
    if there is not None:
        note(f"it is plane {there + 1} of {opened.name} already")
    else:
        vectors = vectors_at(opened, choice.site)
        changed = with_plane(opened, vectors, choice, outside_vectors(opened, choice.site, [a, b]))
        saved = save_session(changed, paths.session_path(session))
        opened = saved.session
        note(f"plane {len(opened.planes)} of {opened.name} is saved" + (f": {saved.told}" if saved.told else ""))
    _say_planes(opened, by, csv_file, as_json)


def ensemble_planes(
    session: str,
    basis: Sequence[str],
    ensemble: str,
    site: str | None,
    by: Sequence[str],
    thresholds: str | None,
    angles: int | None,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Sweep a session's runs through the planes that directions span in pairs."""
    opened = load_session(paths.session_path(session))
    chosen = _site(opened, site)
    given: dict[str, Any] = {
        "basis": list(basis),
        "ensemble": ensemble,
        "site": chosen,
        "by": list(by),
        "thresholds": thresholds,
        "angles": angles,
    }
    weights = outside_vectors(opened, chosen, [str(name) for name in basis_names(opened, basis)])
    summary, curves = ensemble_tables(opened, vectors_at(opened, chosen), given, weights)
    if csv_file is not None:
        say_tables([curves], form="csv", file=csv_file)
        note(f"the curves of every group written to {visible(str(csv_file))}")
    tables = [summary, curves] if as_json else [summary]
    say_tables(tables, form="json" if as_json else "text", further={"session": opened.name, "site": chosen})


def vectors_at(session: Session, site: str) -> Matrix | list[Matrix]:
    """The vectors of a session at one site; ExplorerError where they were not kept, or the site not captured."""
    check_captured(session, site)
    return read_vectors(session.vectors_path(), runs=len(session.runs), sites=[site])[site]


def outside_vectors(session: Session, site: str, directions: Sequence[str]) -> dict[str, Vector]:
    """Vectors that directions name and the session does not hold: of files, and of its model, which is asked for them.

    Raises:
        ExplorerError: a text that is no direction, a file or neuron that is not there, another model than the one of
            the session.
    """
    found = file_vectors(directions, Path.cwd())
    missing = missing_weights(session, site, directions)
    if missing:
        from tui.cli.study import model_findings

        findings = model_findings("directions", {"directions": missing}, session=session.path, quiet=False)
        found |= weights_in(findings)
    return found


def _site(session: Session, site: str | None) -> str:
    if site is None and len(session.spec.capture.sites) > 1:
        raise ExplorerError(
            f"it captured {len(session.spec.capture.sites)} sites",
            where=session.name,
            remedy=f"choose one: --site {' or '.join(session.spec.capture.sites)}",
        )
    captured = list(session.spec.capture.sites)
    chosen = site or captured[0]
    check_captured(session, chosen)
    return chosen


def _say_planes(session: Session, by: Sequence[str], csv_file: Path | None, as_json: bool) -> None:
    form = "json" if as_json else "text"
    say_tables([planes_table(session, list(by))], form=form, file=csv_file, further={"session": session.name})
    if csv_file is not None and not as_json:
        note(f"the planes written to {visible(str(csv_file))}")
