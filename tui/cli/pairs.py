"""`srm-explorer pairs`: what rises and falls with a neuron."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine import paths
from engine.errors import ExplorerError
from engine.session import Session, load_session
from engine.spec import Site
from engine.studies.pairs import pair_tables
from engine.studies.study import tables_in
from engine.studies.subject import chosen_neuron
from tui.cli.output import note
from tui.cli.tables import say_tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    opened = load_session(paths.session_path(session))
    given = {
        "neuron": neuron,
        "site": site,
        "partners": partners,
        "top": None if csv_file is not None else top,
        "permutations": permutations,
        "seed": seed,
    }
    found = pair_tables(opened, given, _weights(opened, site, neuron) if weights else None)
    further = {"session": opened.name, "neuron": found["neuron"], "site": found["site"]}
    form = "json" if as_json else "text"
    say_tables(tables_in(found), form=form, file=csv_file, most=top, further=further)
    if csv_file is not None and not as_json:
        note(f"every partner written to {csv_file}")


def _weights(session: Session, site: str | None, neuron: int | None) -> NDArray | None:
    """W_out of the neuron's layer, from the session's model, which must still be the one that ran."""
    chosen, _ = chosen_neuron(session, site, neuron)
    parsed = Site.parse(chosen)
    if not parsed.is_mlp:
        raise ExplorerError(f"{chosen} has no W_out", where="--weights", remedy="choose an MLP's site, or leave it out")
    from engine.model.weights import w_out_rows
    from tui.cli.model import model_of

    return w_out_rows(model_of(session), parsed.layer)
