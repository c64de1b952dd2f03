"""The commands that analyse a session, or a neuron, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import BadParameter, Option

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui import cli
from srm_explorer.tui.cli.options import (
    ChatTemplate,
    Column,
    Family,
    Figure,
    Height,
    HeldOut,
    Json,
    Pairing,
    PrependBos,
    SessionName,
    System,
    TextColumn,
    TwoNames,
    Width,
    about,
    argument,
    taking,
)

analyses_app = typer.Typer(rich_markup_mode=None)


@analyses_app.command()
def effects(
    session: SessionName,
    score: Annotated[
        bool | None,
        about("Score again; or show what needs no model. By default, score once.", "--score/--no-score"),
    ] = None,
    texts: Annotated[
        str, taking("baseline,condition", "Whose texts are scored; both: direct and through text.")
    ] = "baseline,condition",
    text: Annotated[Path | None, taking("FILE", "Also score this text after every prompt, spaces included.")] = None,
    sites: Annotated[str | None, taking("SITE,...", "Where vectors are compared; captured sites by default.")] = None,
    controls: Annotated[bool, about("Score the runs of control neurons too.", "--controls")] = False,
    npz: Annotated[Path | None, taking("FILE", "Score, and write the full vectors.")] = None,
    tokens: Annotated[
        str | None, taking("' yes, no'", "Instead: effect on logits of these tokens, with spaces.")
    ] = None,
    over: Annotated[Literal["first", "text"], about("--tokens where the text begins, or all along it.")] = "first",
    rule: Annotated[
        Literal["published", "calibrated"] | None,
        about("Which texts collapsed, by this rule; alone it needs no model, and --csv is a row a value."),
    ] = None,
    family: Family = None,
    csv: Annotated[Path | None, taking("FILE", "Write every table as CSV.")] = None,
    figure: Figure = None,
    column: Column = "single",
    as_json: Json = False,
) -> None:
    """Tell what an intervention did to texts or chosen tokens."""
    scores = score is not None or text is not None or sites is not None or controls or npz is not None or rule
    if tokens is not None and scores:
        raise BadParameter("--tokens reads logits and scores no texts: leave the other options out")
    if tokens is None and over != "first":
        raise BadParameter("it is about --tokens: give them too", param_hint="--over")
    out = cli.tables.Output.of(csv, as_json, figure, column)
    if tokens is not None:
        cli.analyses.tokens_command(session, {"tokens": tokens, "over": over, "family": family}, out)
    else:
        cli.analyses.effects_command(session, score, texts, text, sites, controls, npz, rule, family, out)


@analyses_app.command()
def patching(
    session: SessionName,
    tokens: Annotated[str | None, taking("' yes, no'", "The difference of these two tokens' logits.")] = None,
    answer: Annotated[str | None, taking("FACTOR", "Instead: each prompt's answer less its partner's.")] = None,
    clean: Annotated[str | None, taking("FACTOR=LEVEL", "Prompts values come from; both of a pair without.")] = None,
    family: Family = None,
    csv: Annotated[Path | None, taking("FILE", "Write both tables as CSV.")] = None,
    figure: Figure = None,
    column: Column = "single",
    as_json: Json = False,
) -> None:
    """Tell whether a patch suffices for an answer, and is needed."""
    settings = {"tokens": tokens, "answer": answer, "clean": clean, "family": family}
    cli.analyses.patching_command(session, settings, cli.tables.Output.of(csv, as_json, figure, column))


@analyses_app.command()
def pairs(
    session: SessionName,
    neuron: Annotated[int | None, taking("N", "Which; by default the one that was changed.")] = None,
    site: Annotated[str | None, about("Where it is.")] = None,
    partners: Annotated[
        Literal["both", "site", "residual"], about("Others of its site, the residual stream.", "--with")
    ] = "both",
    top: Annotated[int, taking("K", "Rows of a table that are printed.", min=1)] = 20,
    permutations: Annotated[int, Option(min=0, max=100_000, help="Of units, or flips of signs; 0 for no p.")] = 2000,
    seed: Annotated[int, Option(min=0, help="Of these.")] = 0,
    weights: Annotated[bool, about("Load the session's model for cosines of W_out rows.", "--weights")] = False,
    family: Family = None,
    csv: Annotated[Path | None, taking("FILE", "Write every partner as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """List what rises and falls with a neuron."""
    settings = {
        "neuron": neuron, "site": site, "partners": partners, "permutations": permutations, "seed": seed,
        "family": family,
    }  # fmt: skip
    cli.analyses.pairs_command(session, settings, top, weights, cli.tables.Output(csv, as_json))


@analyses_app.command()
def dose(
    session: SessionName,
    plane: Annotated[int, taking("N", "Which of its planes, from 1.", min=1)] = 1,
    interest: Annotated[float | None, taking("X", "Test that the change over the values is smaller than this.")] = None,
    resamples: Annotated[int, Option(min=100, max=100_000, help="Of the units.")] = 10_000,
    seed: Annotated[int, Option(min=0, help="Of these.")] = 0,
    family: Family = None,
    csv: Annotated[Path | None, taking("FILE", "Write the tables as CSV.")] = None,
    figure: Figure = None,
    column: Column = "single",
    as_json: Json = False,
) -> None:
    """Follow a plane's quantities over the value, unit by unit."""
    settings = {"plane": plane, "interest": interest, "resamples": resamples, "seed": seed, "family": family}
    cli.analyses.dose_command(session, settings, cli.tables.Output.of(csv, as_json, figure, column))


@analyses_app.command()
def planes(
    session: SessionName,
    add: Annotated[
        TwoNames, taking("A B", "Make and save a plane: 'mean(type=plain)' pc1, w_out(11.373) 5.", "--add")
    ] = None,
    held_out: HeldOut = False,
    site: Annotated[str | None, about("Where it lies; needed where several sites were captured.")] = None,
    ensemble: Annotated[Pairing, about("All planes of --basis: ordered pairs, or each pair once.")] = None,
    basis: Annotated[list[str] | None, taking("A", "Directions of --ensemble: 'mean(type=*)'; more than once.")] = None,
    thresholds: Annotated[str | None, taking("T,...", "Cosines of --ensemble.")] = None,
    angles: Annotated[int | None, Option(min=1, help="Equally spaced angles of --ensemble.")] = None,
    find: Annotated[bool, about("Search planes in which two groups differ.", "--find")] = False,
    neuron: Annotated[int | None, taking("N", "In every plane of --find.")] = None,
    every: Annotated[bool, about("--find among all pairs.", "--all")] = False,
    changed: Annotated[int | None, taking("K", "--find among pairs of so many that changed most.")] = None,
    criterion: Annotated[Literal["separation", "change", "anisotropy"], about("What --find looks for.")] = "separation",
    groups: Annotated[TwoNames, taking("X Y", "Groups that --find tells apart.")] = None,
    seed: Annotated[int, Option(min=0, help="Of --find's split and permutations, and of --held-out.")] = 0,
    by: Annotated[str, taking("pooled|condition|FACTOR,...", "A row by condition, by factors, or both.")] = "pooled",
    csv: Annotated[Path | None, taking("FILE", "Write the table, or the ensemble's curves.")] = None,
    figure: Figure = None,
    column: Column = "single",
    as_json: Json = False,
) -> None:
    """List, make, find planes of a session, or sweep ensembles."""
    if sum((add is not None, ensemble is not None or bool(basis), find)) > 1:
        raise BadParameter("ask for one of --add, --ensemble and --find")
    if held_out and add is None:
        raise BadParameter("this makes a plane: give --add too, or show SESSION --held-out", param_hint="--held-out")
    if figure is not None and not find:
        raise BadParameter(
            "it draws the planes that --find found; show SESSION --figure draws a plane", param_hint="--figure"
        )
    if find:
        ways = {"--neuron": neuron is not None, "--all": every, "--changed": changed is not None}
        asked = [name for name, given in ways.items() if given]
        if len(asked) > 1:
            raise ExplorerError(f"{' and '.join(asked)} ask for different planes", remedy="give one of them")
        among = "all" if every else "changed" if changed is not None else "partners"
        settings = {
            "neuron": neuron, "among": among, "k": changed, "criterion": criterion, "groups": list(groups or ()),
            "site": site, "seed": seed,
        }  # fmt: skip
        cli.analyses.find_planes(session, settings, cli.tables.Output.of(csv, as_json, figure, column))
        return
    chosen = [] if by == "pooled" else [name.strip() for name in by.split(",")]
    if add is not None:
        cli.analyses.add_plane(session, *add, site, seed if held_out else None, chosen, csv, as_json)
    elif ensemble is not None or basis:
        if ensemble is None or not basis:
            raise BadParameter("give --ensemble perm or comb, and --basis 'mean(type=*)'")
        cli.analyses.ensemble_planes(session, basis, ensemble, site, chosen, thresholds, angles, csv, as_json)
    else:
        cli.analyses.list_planes(session, chosen, csv, as_json)


@analyses_app.command()
def controls(
    session: Annotated[str, argument("SESSION", "A session's name or file; to plan, also a spec.")],
    by: Annotated[Literal["pooled", "condition"], about("Every value by itself as well.")] = "pooled",
    chosen: Annotated[
        Literal["before", "after"] | None,
        about("Whether the target was chosen before or after looking, where the experiment does not say."),
    ] = None,
    candidates: Annotated[int | None, taking("M", "Chosen after looking at so many, itself included.", min=1)] = None,
    plan: Annotated[bool, about("Print what controls would cost, and run nothing.", "--plan")] = False,
    neurons: Annotated[int | None, taking("K", "How many controls to plan.", min=0, max=999)] = None,
    overrides: Annotated[list[str] | None, taking("KEY=VALUE", "Set a field of the spec to plan.", "--set")] = None,
    csv: Annotated[Path | None, taking("FILE", "Write both tables as CSV.")] = None,
    figure: Figure = None,
    column: Column = "single",
    as_json: Json = False,
) -> None:
    """Rank a neuron among matched ones clamped alike."""
    if plan:
        cli.analyses.plan_command(session, neurons, list(overrides or ()), as_json)
        return
    if neurons is not None or overrides:
        raise BadParameter("this plans a run: give --plan too", param_hint="--neurons")
    settings = {"by": by, "chosen": chosen, "candidates": candidates}
    cli.analyses.controls_command(session, settings, cli.tables.Output.of(csv, as_json, figure, column))


@analyses_app.command()
def analysis(
    session: SessionName,
    csv: Annotated[Path | None, taking("FILE", "Write the tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Compute the analysis that was frozen before the run, no more."""
    settings = {"confirm": False, "plane": None, "groups": []}
    cli.analyses.frozen_command(session, settings, cli.tables.Output(csv, as_json))


@analyses_app.command()
def confirm(
    session: SessionName,
    plane: Annotated[int | None, taking("N", "Instead of the frozen analysis.", min=1)] = None,
    groups: Annotated[TwoNames, taking("X Y", "Instead of the frozen analysis: groups to compare.")] = None,
    csv: Annotated[Path | None, taking("FILE", "Write the tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Test again on the prompts that were kept for confirmation."""
    settings = {"confirm": True, "plane": plane, "groups": list(groups or ())}
    cli.analyses.frozen_command(session, settings, cli.tables.Output(csv, as_json))


@analyses_app.command()
def neuron(
    model: Annotated[str, argument("MODEL", "A name, a folder, or 'demo'.")],
    layer: Annotated[int | None, argument("LAYER", "Its layer; without one, all of them.")] = None,
    neuron: Annotated[int | None, argument("NEURON", "Which; without one, how all are used.")] = None,
    prompts: Annotated[
        str | None, taking("SET,...", "Read these; the session's, else reasoning,watching; none for no text.")
    ] = None,
    session: Annotated[str | None, taking("SESSION", "Read its prompts, and mark the values it set.")] = None,
    text: Annotated[Literal["prompts", "generated"], about("Prompts, or what its baseline wrote.")] = "prompts",
    skip: Annotated[int, taking("N", "Leave out the first positions of each text.", min=0)] = 0,
    top: Annotated[int, taking("K", "Rows of a table.", min=1, max=1000)] = 10,
    all_layers: Annotated[bool, about("Neighbours in the whole model.", "--all-layers")] = False,
    weights: Annotated[bool, about("Of all neurons: what their weights say, without a text.", "--weights")] = False,
    text_column: TextColumn = None,
    chat_template: ChatTemplate = False,
    system: System = None,
    prepend_bos: Annotated[PrependBos, about("How the prompts get a BOS, as in the experiment.")] = "auto",
    device: Annotated[str | None, about("auto, cpu, cuda, cuda:1, mps, cuda:0-3 or cpu+disk.")] = None,
    csv: Annotated[Path | None, taking("FILE", "Write the tables, or all neurons, as CSV.")] = None,
    figure: Figure = None,
    column: Column = "single",
    as_json: Json = False,
    width: Width = None,
    height: Height = None,
) -> None:
    """Describe a neuron, or tell how much all are used."""
    feeding = (text_column, chat_template, system, prepend_bos)
    if weights and (neuron is not None or prompts is not None):
        what = "it is of all neurons, and reads no text: leave out " + ("NEURON" if neuron is not None else "--prompts")
        raise BadParameter(what, param_hint="--weights")
    query = cli.neuron.NeuronQuery(
        model, layer, neuron, prompts, text, skip, session, top, all_layers, device, *feeding, weights
    )
    file = cli.figures.FigureFile.of(figure, column)
    cli.neuron.neuron_command(query, csv, as_json, width, height, file)
