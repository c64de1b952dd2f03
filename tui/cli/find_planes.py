"""`srm-explorer planes --find`: planes in which groups of runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine import paths
from engine.errors import ExplorerError
from engine.session import load_session
from engine.studies.finder import finder_study
from engine.studies.study import tables_in
from tui.cli.output import note
from tui.cli.tables import say_tables

TOP = 20


def find_planes(
    session: str,
    *,
    neuron: int | None = None,
    every: bool = False,
    changed: int | None = None,
    criterion: str = "separation",
    groups: Sequence[str] = (),
    site: str | None = None,
    seed: int = 0,
    csv_file: Path | None = None,
    as_json: bool = False,
) -> None:
    """Search planes and print the best.

    Args:
        session: a name or path.
        neuron: in every plane; by default the one that was changed.
        every: all pairs of the site instead.
        changed: all pairs of so many that changed most instead.
        criterion: "separation", "change" or "anisotropy".
        groups: labels, as charts show them.
        site: whose coordinates.
        seed: of the split and the permutations.
        csv_file: where to write all planes that were tested.
        as_json: print one JSON object.
    """
    asked = [
        name for name, on in (("--neuron", neuron), ("--all", every or None), ("--changed", changed)) if on is not None
    ]
    if len(asked) > 1:
        raise ExplorerError(f"{' and '.join(asked)} ask for different planes", remedy="give one of them")
    opened = load_session(paths.session_path(session))
    given = {
        "neuron": neuron,
        "among": "all" if every else "changed" if changed is not None else "partners",
        "k": changed,
        "criterion": criterion,
        "groups": list(groups),
        "site": site,
        "seed": seed,
    }
    found = finder_study(opened, given)
    further = {"session": opened.name, "site": found["site"]}
    say_tables(tables_in(found), form="json" if as_json else "text", file=csv_file, most=TOP, further=further)
    if csv_file is not None and not as_json:
        note(f"every plane that was tested written to {csv_file}")
