"""Study "weighted-pairs": what rises and falls with a neuron, beside what the weights say of the two."""

from __future__ import annotations

from engine.errors import ExplorerError
from engine.model.load import LoadedModel
from engine.model.weights import w_out_rows
from engine.runner.progress import Meter
from engine.session import Session
from engine.spec import Site
from engine.studies.arguments import Given
from engine.studies.pairs import SETTINGS, pair_tables
from engine.studies.study import Arguments, Findings
from engine.studies.subject import chosen_neuron


def weighted_pairs_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Do what the study "pairs" does, with the cosines of the rows of W_out beside the correlations.

    Args:
        session: with its vectors.
        arguments: as `pairs_study`.
        model: the session's.
        meter: not told anything; the study takes seconds.

    Raises:
        ExplorerError: as `pairs_study`, and for a neuron that is no MLP's.
    """
    if session is None:
        raise ExplorerError("pairings are those of a session", remedy="name one")
    given = Given(arguments, SETTINGS, "pairs")
    site, _ = chosen_neuron(session, given.text("site"), given.whole("neuron"))
    parsed = Site.parse(site)
    if not parsed.is_mlp:
        raise ExplorerError(f"{site} has no W_out", where=session.name, remedy="choose an MLP's site")
    return pair_tables(session, arguments, w_out_rows(model, parsed.layer))
