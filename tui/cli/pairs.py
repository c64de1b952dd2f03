"""`srm-explorer pairs`: what rises and falls with a neuron."""

from __future__ import annotations

from pathlib import Path

from engine import paths
from engine.session import load_session
from engine.studies.pairs import pair_tables
from engine.studies.study import tables_in
from tui.cli.output import note
from tui.cli.tables import say_tables

TOP = 20


def pairs_command(
    session: str,
    neuron: int | None,
    site: str | None,
    partners: str | None,
    top: int,
    permutations: int,
    seed: int,
    weights: bool,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Correlate a neuron of a session with all others of its site, and with the residual stream."""
    path = paths.session_path(session)
    opened = load_session(path)
    given = {
        "neuron": neuron,
        "site": site,
        "partners": partners,
        "top": None if csv_file is not None else top,
        "permutations": permutations,
        "seed": seed,
    }
    if weights:
        from tui.cli.study import model_findings

        found = model_findings("weighted-pairs", given, session=path, quiet=as_json)
    else:
        found = pair_tables(opened, given)
    further = {"session": opened.name, "neuron": found["neuron"], "site": found["site"]}
    form = "json" if as_json else "text"
    say_tables(tables_in(found), form=form, file=csv_file, most=top, further=further)
    if csv_file is not None and not as_json:
        note(f"every partner written to {csv_file}")
