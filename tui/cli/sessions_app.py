"""`srm-explorer sessions ...`: the commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.cli.options import Json, SessionName

sessions_app = typer.Typer(help="List saved sessions, and export them.", rich_markup_mode=None)


@sessions_app.callback()
def sessions(context: typer.Context, as_json: Json = False) -> None:
    """List saved sessions, and export them."""
    if context.invoked_subcommand is None:
        list_sessions(as_json)


@sessions_app.command("list")
def list_sessions(as_json: Json = False) -> None:
    """List the sessions of the sessions folder."""
    from tui.cli.sessions import list_command

    list_command(as_json)


@sessions_app.command("export")
def export_session(
    session: SessionName,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one row a run.")] = None,
    npz: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one vector a run.")] = None,
    site: Annotated[str | None, typer.Option(help="Whose vectors; the first captured site by default.")] = None,
    controls: Annotated[bool, typer.Option("--controls", help="The runs of controls too.")] = False,
) -> None:
    """Export a session's runs as CSV, or its vectors as .npz."""
    if csv is None and npz is None:
        raise typer.BadParameter("name a file to write", param_hint="--csv or --npz")
    if site is not None and npz is None:
        raise typer.BadParameter("only vectors have a site: give --npz too", param_hint="--site")
    from tui.cli.export import export_command

    export_command(session, csv, npz, site, controls)


@sessions_app.command("diff")
def diff_sessions(
    session: SessionName,
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER", help="The one to compare it with; none to stay within it.")
    ] = None,
    plane: Annotated[int, typer.Option(min=1, metavar="N", help="Which of the first one's planes, from 1.")] = 1,
    groups: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="X Y", help="Groups to compare: baseline, clamped, +20, type=plain; or +20,type=plain."),
    ] = None,
    a_group: Annotated[str | None, typer.Option("--a-group", metavar="X", help="Of the first session.")] = None,
    b_group: Annotated[str | None, typer.Option("--b-group", metavar="Y", help="Of the second session.")] = None,
    resamples: Annotated[int, typer.Option(min=100, max=100_000, help="Of the units, and sign patterns.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the curves with their bands.")] = None,
    as_json: Json = False,
) -> None:
    """Compare two sessions, or two groups of one: curves, means, and what differs in the experiments."""
    from tui.cli.diff import diff_command

    diff_command(session, other, plane, groups, a_group, b_group, resamples, seed, csv, as_json)
