"""`srm-explorer sessions export`: a session's runs as CSV, its vectors as .npz."""

from __future__ import annotations

from pathlib import Path

from engine import paths
from engine.files import write_atomic
from engine.npz import write_npz
from engine.session import load_session
from engine.session.export import chosen_site, run_vectors, runs_csv
from tui.cli.output import count, say, visible


def export_command(session: str, csv_file: Path | None, npz_file: Path | None, site: str | None) -> None:
    """Write a session's runs, its vectors, or both; a file that is there is replaced in one step."""
    opened = load_session(paths.session_path(session))
    if csv_file is not None:
        write_atomic(csv_file, runs_csv(opened).encode("utf-8", "backslashreplace"))
        say(f"{count(len(opened.runs), 'run')} written to {visible(str(csv_file))}")
    if npz_file is not None:
        chosen = chosen_site(opened, site)
        write_npz(npz_file, run_vectors(opened, chosen))
        told = " (means over tokens)" if opened.spec.capture.reduce == "tokens" else ""
        say(f"{count(len(opened.runs), 'vector')} of {chosen} written to {visible(str(npz_file))}{told}")
