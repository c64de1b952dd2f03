"""The commands that ask what a session or a neuron means, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tui.cli.options import Height, Json, SessionName, Width, end

study_app = typer.Typer(rich_markup_mode=None)


@study_app.command()
def effects(
    session: SessionName,
    score: Annotated[
        bool | None,
        typer.Option("--score/--no-score", help="Score again; or show what needs no model. By default, score once."),
    ] = None,
    texts: Annotated[
        str,
        typer.Option(metavar="baseline,condition", help="Whose texts are scored; both: direct and through text."),
    ] = "baseline,condition",
    text: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also score this text after every prompt, spaces included.")
    ] = None,
    sites: Annotated[
        str | None, typer.Option(metavar="SITE,...", help="Where vectors are compared; the captured sites by default.")
    ] = None,
    controls: Annotated[bool, typer.Option("--controls", help="Score the runs of control neurons too.")] = False,
    npz: Annotated[Path | None, typer.Option(metavar="FILE", help="Score, and write the full vectors.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every table as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Tell what an intervention did to the texts."""
    from tui.cli.effects import effects_command

    end(effects_command(session, score, texts, text, sites, controls, npz, csv, as_json))


@study_app.command()
def pairs(
    session: SessionName,
    neuron: Annotated[int | None, typer.Option(metavar="N", help="Which; by default the one that was changed.")] = None,
    site: Annotated[str | None, typer.Option(help="Where it is.")] = None,
    partners: Annotated[
        Literal["both", "site", "residual"], typer.Option("--with", help="Others of its site, the residual stream.")
    ] = "both",
    top: Annotated[int, typer.Option(min=1, metavar="K", help="Rows of a table that are printed.")] = 20,
    permutations: Annotated[
        int, typer.Option(min=0, max=100_000, help="Of the units, or flips of their signs; 0 for no p.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of these.")] = 0,
    weights: Annotated[
        bool, typer.Option("--weights", help="Load the session's model for cosines of W_out rows.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every partner as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """List what rises and falls with a neuron."""
    from tui.cli.pairs import pairs_command

    pairs_command(session, neuron, site, partners, top, permutations, seed, weights, csv, as_json)


@study_app.command()
def planes(
    session: SessionName,
    add: Annotated[
        tuple[str, str] | None,
        typer.Option("--add", metavar="A B", help="Make and save a plane: 'mean(type=plain)' pc1, w_out(11.373) 5."),
    ] = None,
    site: Annotated[str | None, typer.Option(help="Where it lies; needed where several sites were captured.")] = None,
    ensemble: Annotated[
        Literal["perm", "comb"] | None, typer.Option(help="All planes of --basis: ordered pairs, or each pair once.")
    ] = None,
    basis: Annotated[
        list[str] | None, typer.Option(metavar="A", help="Directions of --ensemble: 'mean(type=*)'; more than once.")
    ] = None,
    thresholds: Annotated[str | None, typer.Option(metavar="T,...", help="Cosines of --ensemble.")] = None,
    angles: Annotated[int | None, typer.Option(min=1, help="Equally spaced angles of --ensemble.")] = None,
    find: Annotated[bool, typer.Option("--find", help="Search planes in which two groups differ.")] = False,
    neuron: Annotated[int | None, typer.Option(metavar="N", help="In every plane of --find.")] = None,
    every: Annotated[bool, typer.Option("--all", help="--find among all pairs.")] = False,
    changed: Annotated[
        int | None, typer.Option(metavar="K", help="--find among pairs of so many that changed most.")
    ] = None,
    criterion: Annotated[
        Literal["separation", "change", "anisotropy"], typer.Option(help="What --find looks for.")
    ] = "separation",
    groups: Annotated[
        tuple[str, str] | None, typer.Option(metavar="X Y", help="Groups that --find tells apart.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of --find's split and permutations.")] = 0,
    by: Annotated[
        str, typer.Option(metavar="pooled|condition|FACTOR,...", help="A row by condition, by factors, or both.")
    ] = "pooled",
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table, or the ensemble's curves.")] = None,
    as_json: Json = False,
) -> None:
    """List, make, find planes of a session, or sweep ensembles."""
    if sum((add is not None, ensemble is not None or bool(basis), find)) > 1:
        raise typer.BadParameter("ask for one of --add, --ensemble and --find")
    if find:
        from tui.cli.find_planes import find_planes

        find_planes(
            session,
            neuron=neuron,
            every=every,
            changed=changed,
            criterion=criterion,
            groups=list(groups or ()),
            site=site,
            seed=seed,
            csv_file=csv,
            as_json=as_json,
        )
        return
    from tui.cli.planes import add_plane, ensemble_planes, list_planes

    chosen = [] if by == "pooled" else [name.strip() for name in by.split(",")]
    if add is not None:
        add_plane(session, *add, site, chosen, csv, as_json)
    elif ensemble is not None or basis:
        if ensemble is None or not basis:
            raise typer.BadParameter("give --ensemble perm or comb, and --basis 'mean(type=*)'")
        ensemble_planes(session, basis, ensemble, site, chosen, thresholds, angles, csv, as_json)
    else:
        list_planes(session, chosen, csv, as_json)


@study_app.command()
def controls(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="A session's name or file; to plan, also a spec.")],
    by: Annotated[Literal["pooled", "condition"], typer.Option(help="Every value by itself as well.")] = "pooled",
    plan: Annotated[bool, typer.Option("--plan", help="Print what controls would cost, and run nothing.")] = False,
    neurons: Annotated[int | None, typer.Option(min=0, max=999, metavar="K", help="How many controls to plan.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a field of the spec to plan.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write both tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Rank a neuron among matched ones clamped alike."""
    from tui.cli.controls import controls_command, plan_command

    if plan:
        plan_command(session, neurons, list(overrides or ()), as_json)
        return
    if neurons is not None or overrides:
        raise typer.BadParameter("this plans a run: give --plan too", param_hint="--neurons")
    controls_command(session, by, csv, as_json)


@study_app.command()
def neuron(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, a folder, or 'demo'.")],
    layer: Annotated[int | None, typer.Argument(metavar="LAYER", help="Its layer; without one, all of them.")] = None,
    neuron: Annotated[
        int | None, typer.Argument(metavar="NEURON", help="Which; without one, how all are used.")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(metavar="SET,...", help="Read these; the session's, else reasoning,watching; none for no text."),
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="SESSION", help="Read its prompts, and mark the values it set.")
    ] = None,
    text: Annotated[
        Literal["prompts", "generated"], typer.Option(help="Prompts, or what the session's baseline wrote.")
    ] = "prompts",
    skip: Annotated[int, typer.Option(min=0, metavar="N", help="Leave out the first positions of each text.")] = 0,
    top: Annotated[int, typer.Option(min=1, max=1000, metavar="K", help="Rows of a table.")] = 10,
    all_layers: Annotated[bool, typer.Option("--all-layers", help="Neighbours in the whole model.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the tables, or all neurons, as CSV.")] = None,
    as_json: Json = False,
    width: Width = None,
    height: Height = None,
) -> None:
    """Describe a neuron, or tell how much all are used."""
    from tui.cli.neuron import Wanted, neuron_command

    wanted = Wanted(model, layer, neuron, prompts, text, skip, session, top, all_layers, device)
    neuron_command(wanted, csv, as_json, width, height)
