"""The commands about saved sessions and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import BadParameter, Option

from srm_explorer.tui import cli
from srm_explorer.tui.cli.options import (
    Column,
    Family,
    Figure,
    Height,
    HeldOut,
    Json,
    SessionName,
    TwoNames,
    Width,
    about,
    argument,
    group,
    taking,
)

sessions_app = group(
    "List saved sessions; export, pack, rename, compare them.",
    {"list": ("List the sessions of the sessions folder.", lambda as_json: cli.sessions.list_command(as_json))},
)


@sessions_app.command("search")
def search_sessions(
    words: Annotated[list[str], argument("WORD...", "Each of them occurs in every session that is listed.")],
    as_json: Json = False,
) -> None:
    """List the sessions that have words in their name, model, what was done, notes, prompts or texts."""
    cli.sessions.search_command(words, as_json)


@sessions_app.command("rename")
def rename_session(
    session: SessionName, name: Annotated[str, argument("NAME", "The new one, in the same folder.")]
) -> None:
    """Give a session another name; its vectors, its ledger and an unfinished run go with it."""
    cli.sessions.rename_command(session, name)


@sessions_app.command("trash")
def trash_sessions(
    sessions: Annotated[
        list[str] | None, argument("SESSION...", "Sessions to throw away; without any, a list.")
    ] = None,
    delete: Annotated[bool, about("Delete those of the trash, or all of it, for good.", "--delete")] = False,
    yes: Annotated[bool, about("Do not ask before something is deleted for good.", "--yes")] = False,
    as_json: Json = False,
) -> None:
    """List the trash, or move sessions there; `restore` brings them back."""
    if sessions and as_json:
        raise BadParameter("only the list is printed as JSON: name no session", param_hint="--json")
    cli.sessions.trash_command(sessions or [], delete, yes, as_json)


@sessions_app.command("restore")
def restore_session(
    session: Annotated[str | None, argument("SESSION", "One of the trash; the last one by default.")] = None,
    name: Annotated[str | None, taking("NAME", "Bring it back under another name.", "--as")] = None,
) -> None:
    """Bring a session back from the trash, with everything that went there with it."""
    cli.sessions.restore_command(session, name)


@sessions_app.command("pack")
def pack_session(
    session: SessionName,
    output: Annotated[
        Path | None, taking("FILE", "The file to write; NAME.srm.zip here by default.", "--output", "-o")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a session with its vectors, notes and ledger into one checked file, to be sent or kept."""
    cli.sessions.pack_command(session, output, as_json)


@sessions_app.command("unpack")
def unpack_session(
    file: Annotated[Path, argument("FILE", "What `sessions pack` wrote.")],
    session: Annotated[str | None, taking("NAME|PATH", "What to save it as; as it was by default.")] = None,
    as_json: Json = False,
) -> None:
    """Check a packed session, every byte of it, and save it; one that is there is never replaced."""
    cli.sessions.unpack_command(file, session, as_json)


@sessions_app.command("notes")
def session_notes(
    session: SessionName,
    text: Annotated[str | None, argument("TEXT", "New notes in place of the old ones; - reads them.")] = None,
    add: Annotated[bool, about("Put the text after the notes that are there.", "--add")] = False,
) -> None:
    """Print the notes on a session, or write them."""
    if add and text is None:
        raise BadParameter("give the text to be added", param_hint="--add")
    cli.sessions.notes_command(session, text, add)


@sessions_app.command("export")
def export_session(
    session: SessionName,
    csv: Annotated[Path | None, taking("FILE", "Write one row a run; with tabs into .tsv.")] = None,
    parquet: Annotated[Path | None, taking("FILE", "The same rows as a Parquet file.")] = None,
    npz: Annotated[Path | None, taking("FILE", "Write one vector a run.")] = None,
    site: Annotated[str | None, about("Whose vectors; the first captured site by default.")] = None,
    keys: Annotated[
        Literal["number", "factors"] | None,
        about("Name vectors by prompt number, or factors; factors: CSV of core_id ... sweep, prompt, output."),
    ] = None,
    controls: Annotated[bool, about("The runs of controls too.", "--controls")] = False,
    survey: Annotated[bool, about("A survey's neurons, a row a value of each, in place of runs.", "--survey")] = False,
) -> None:
    """Export runs as CSV or Parquet, vectors as .npz."""
    if csv is None and npz is None and parquet is None:
        raise BadParameter("name a file to write", param_hint="--csv, --parquet or --npz")
    if site is not None and npz is None:
        raise BadParameter("only vectors have any: give --npz too", param_hint="--site")
    if keys is not None and npz is None and (csv is None or keys == "number"):
        raise BadParameter("only vectors have any: give --npz too", param_hint="--keys")
    if survey:
        if npz is not None or keys is not None or controls:
            raise BadParameter("a survey's neurons are rows: give --csv or --parquet alone", param_hint="--survey")
        cli.sessions.export_survey(session, csv, parquet)
        return
    cli.sessions.export_command(session, csv, parquet, npz, site, keys, controls)


@sessions_app.command("diff")
def diff_sessions(
    session: SessionName,
    others: Annotated[
        list[str] | None, argument("OTHER", "Those to compare it with, up to seven; none to stay within it.")
    ] = None,
    plane: Annotated[int, taking("N", "Which of the first one's planes, from 1.", min=1)] = 1,
    groups: Annotated[TwoNames, taking("X Y", "Groups to compare: baseline, clamped, '+20,type=plain'.")] = None,
    a_group: Annotated[str | None, taking("X", "Of the first session.", "--a-group")] = None,
    b_group: Annotated[str | None, taking("Y", "Of the second session.", "--b-group")] = None,
    resamples: Annotated[int, Option(min=100, max=100_000, help="Of the units, and sign patterns.")] = 10_000,
    seed: Annotated[int, Option(min=0, help="Of all that is drawn.")] = 0,
    held_out: HeldOut = False,
    family: Family = None,
    chart: Annotated[
        Literal["counts", "mean", "thresholds", "dose", "amplitude", "changed", "kl"] | None,
        about("Also draw: over the angle, or by the value all measures or one."),
    ] = None,
    width: Width = None,
    height: Height = None,
    csv: Annotated[Path | None, taking("FILE", "Write the curves with their bands; of several, the tables.")] = None,
    figure: Figure = None,
    column: Column = "single",
    as_json: Json = False,
) -> None:
    """Compare up to eight sessions, of any neurons and models, or two groups of one: effects, curves, experiments."""
    settings = {
        "plane": plane, "groups": None if groups is None else list(groups), "a_group": a_group, "b_group": b_group,
        "resamples": resamples, "seed": seed, "family": family, "held_out": held_out or None,
    }  # fmt: skip
    out = cli.tables.Output.of(csv, as_json, figure, column)
    cli.sessions.diff_command(session, others or [], settings, chart, (width, height), out)


@sessions_app.command("ledger")
def session_ledger(session: SessionName, as_json: Json = False) -> None:
    """List the tests that were computed on a session, with the families they belong to."""
    cli.sessions.ledger_command(session, as_json)
