"""`srm-explorer sessions diff`: two groups of runs compared, of one session or of two."""

from __future__ import annotations

from pathlib import Path

from engine import paths
from engine.figures.captions import plane_title
from engine.session import load_session
from engine.studies.compare import compare_study, curves_table_of
from engine.studies.study import tables_in
from tui.cli.output import note
from tui.cli.tables import say_tables


def diff_command(
    session: str,
    other: str | None,
    plane: int,
    groups: tuple[str, str] | None,
    a_group: str | None,
    b_group: str | None,
    resamples: int,
    seed: int,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Print the difference of two groups, where it is largest, and what differs between the experiments."""
    opened = load_session(paths.session_path(session))
    given = {
        "other": None if other is None else str(paths.session_path(other)),
        "plane": plane,
        "groups": None if groups is None else list(groups),
        "a_group": a_group,
        "b_group": b_group,
        "resamples": resamples,
        "seed": seed,
    }
    found = compare_study(opened, given)
    title = plane_title(opened.planes[plane - 1])
    tables = tables_in(found)
    if csv_file is not None:
        say_tables((curves_table_of(found),), form="csv", file=csv_file)
    say_tables(tables, form="json" if as_json else "text", further={"plane": title, "curves": found["curves"]})
    if csv_file is not None and not as_json:
        note(f"the curves of {title} written to {csv_file}")
