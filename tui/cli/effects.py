"""`srm-explorer effects`: what an intervention did to the texts of a session."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import ExplorerError
from engine.reading import read_text
from engine.session import Session, load_session
from engine.studies.effects import effects_study
from engine.studies.scoring_cost import cost_of
from engine.studies.study import tables_in
from tui.cli.output import note
from tui.cli.study import model_findings
from tui.cli.tables import say_tables

MOST = 24
"""Rows of a table that are printed."""


def effects_command(
    session: str,
    score: bool | None,
    texts: str,
    text: Path | None,
    sites: str | None,
    controls: bool,
    npz: Path | None,
    csv: Path | None,
    as_json: bool,
) -> int:
    """Print what is known of the effects on a session's texts, scoring them first where they are not; exit status."""
    path = paths.session_path(session)
    opened = load_session(path)
    wanted = {
        "texts": [name.strip() for name in texts.split(",")],
        "given": _given(text) if text is not None else None,
        "sites": None if sites is None else [name.strip() for name in sites.split(",")],
        "controls": controls or None,
        "npz": None if npz is None else str(npz.absolute()),
    }
    if score is None:
        score = not opened.effects or text is not None or npz is not None or controls or sites is not None
    if score:
        try:
            found = _scored(opened, path, wanted, quiet=as_json)
        except KeyboardInterrupt:
            note("stopped; nothing was saved")
            return 130
        if found["told"]:
            note(found["told"])
    else:
        found = effects_study(opened, {})
    further = {"session": opened.name, "scored": found["scored"]}
    say_tables(tables_in(found), form="json" if as_json else "text", file=csv, most=MOST, further=further)
    for file, what in ((csv, "every row"), (npz, "the vectors")):
        if file is not None and not as_json:
            note(f"{what} written to {file}")
    return 0


def _scored(session: Session, path: Path, wanted: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    tokens = cost_of(session, wanted["texts"], given=bool(wanted["given"]), controls=bool(wanted["controls"]))
    if sys.stderr.isatty() and not quiet:
        note(f"scoring: {tokens:,} tokens through the model, in batches; a run writes them one by one")
    return model_findings("score", wanted, session=path, quiet=quiet)


def _given(file: Path) -> str:
    text = read_text(file).rstrip("\n")
    if not text:
        raise ExplorerError("there is no text", where=str(file), remedy="write what is to follow every prompt into it")
    return text
