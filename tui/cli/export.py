"""`srm-explorer sessions export`: a session's runs as CSV, its vectors as .npz."""

from __future__ import annotations

from pathlib import Path

from engine import paths
from engine.files import write_atomic
from engine.npz import write_npz
from engine.session import load_session
from engine.session.export import chosen_site, exported, run_vectors, runs_csv
from tui.cli.output import count, say, visible


def export_command(
    session: str, csv_file: Path | None, npz_file: Path | None, site: str | None, controls: bool = False
) -> None:
    """Write a session's runs, its vectors, or both; a file that is there is replaced in one step."""
    opened = load_session(paths.session_path(session))
    runs = exported(opened, controls=controls)
    rest = len(opened.runs) - runs
    if csv_file is not None:
        write_atomic(csv_file, runs_csv(opened, controls=controls).encode("utf-8", "backslashreplace"))
        say(f"{count(runs, 'run')} written to {visible(str(csv_file))}")
    if npz_file is not None:
        chosen = chosen_site(opened, site)
        write_npz(npz_file, run_vectors(opened, chosen, controls=controls))
        told = " (means over tokens)" if opened.spec.capture.reduce == "tokens" else ""
        say(f"{count(runs, 'vector')} of {chosen} written to {visible(str(npz_file))}{told}")
    if rest:
        say(f"{count(rest, 'control run')} left out; --controls writes them too")
