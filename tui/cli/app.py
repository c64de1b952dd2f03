"""The commands and their options; what they do is imported when they are called."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

import srm_explorer
from srm_explorer.tui import cli

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Width = Annotated[int | None, typer.Option(min=1, max=1000, help="Columns of a chart.", metavar="W")]
TextColumn = Annotated[str | None, typer.Option(metavar="NAME", help="The column or key that holds the prompts.")]
ChatTemplate = Annotated[
    bool, typer.Option("--chat-template", help="Feed each text as a message, as the model's template has it.")
]
System = Annotated[str | None, typer.Option(metavar="TEXT", help="System message of the chat template.")]
Height = Annotated[int | None, typer.Option(min=1, max=1000, help="Rows of a chart.", metavar="H")]
Family = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The family its tests belong to: q is over all that it holds so far."),
]
HeldOut = Annotated[
    bool, typer.Option("--held-out", help="Make the plane on half of the units, and show the other half.")
]
SplitSeed = Annotated[int, typer.Option(min=0, help="Of the split of --held-out.")]
SessionName = Annotated[str, typer.Argument(metavar="SESSION", help="A session's name, or the path of its file.")]


def end(status: int | None) -> None:
    """End a command with its exit status."""
    if status:
        raise typer.Exit(status)


sessions_app = typer.Typer(help="List saved sessions, and export them.", rich_markup_mode=None)


@sessions_app.callback()
def sessions(context: typer.Context, as_json: Json = False) -> None:
    """List saved sessions, and export them."""
    if context.invoked_subcommand is None:
        list_sessions(as_json)


@sessions_app.command("list")
def list_sessions(as_json: Json = False) -> None:
    """List the sessions of the sessions folder."""
    cli.sessions.list_command(as_json)


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
    cli.sessions.export_command(session, csv, npz, site, controls)


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
    held_out: HeldOut = False,
    family: Family = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the curves with their bands.")] = None,
    as_json: Json = False,
) -> None:
    """Compare two sessions, or two groups of one: curves, means, and what differs in the experiments."""
    cli.sessions.diff_command(
        session, other, plane, groups, a_group, b_group, resamples, seed, family, held_out, csv, as_json
    )


@sessions_app.command("ledger")
def session_ledger(session: SessionName, as_json: Json = False) -> None:
    """List the tests that were computed on a session, with the families they belong to."""
    cli.sessions.ledger_command(session, as_json)


prompts_app = typer.Typer(help="List prompt sets, and check a file of prompts.", rich_markup_mode=None)


@prompts_app.callback()
def prompts(context: typer.Context, as_json: Json = False) -> None:
    """List prompt sets, and check a file of prompts."""
    if context.invoked_subcommand is None:
        list_prompts(as_json)


@prompts_app.command("list")
def list_prompts(as_json: Json = False) -> None:
    """List the prompt sets that an experiment can name."""
    cli.prompts.list_command(as_json)


@prompts_app.command("check")
def check_prompts(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A prompt file, or a set's name.")],
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Also report prompts too long for it.")] = None,
    tokens: Annotated[int, typer.Option(min=0, help="Tokens to be generated after each prompt.")] = 50,
    text_column: TextColumn = None,
    chat_template: ChatTemplate = False,
    system: System = None,
    positions: Annotated[
        str | None,
        typer.Option(metavar="CHOICE", help="Also show which these are in each prompt: '3, -1', 'token \" door\"'."),
    ] = None,
    prepend_bos: Annotated[
        Literal["auto", "once", "true", "false"],
        typer.Option(help="How the prompts get a BOS, as in the experiment: positions count it."),
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Report everything that is wrong with a prompt file, by line."""
    end(
        cli.prompts.check_command(
            file, model, tokens, as_json, text_column, chat_template, system, positions, prepend_bos
        )
    )


worker_app = typer.Typer(help="Look after the background process that keeps a model warm.", rich_markup_mode=None)


@worker_app.callback()
def worker(context: typer.Context, as_json: Json = False) -> None:
    """Look after the background process that keeps a model warm."""
    if context.invoked_subcommand is None:
        worker_status(as_json)


@worker_app.command("status")
def worker_status(as_json: Json = False) -> None:
    """Tell whether a worker lives, what it does and what waits."""
    end(cli.worker.status_command(as_json))


@worker_app.command("queue")
def worker_queue(as_json: Json = False) -> None:
    """List its jobs: the one that runs, those that wait, those that ended lately."""
    end(cli.worker.queue_command(as_json))


@worker_app.command("prune")
def worker_prune(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Jobs that wait, as `queue` names them.")],
    as_json: Json = False,
) -> None:
    """Take waiting jobs off the queue."""
    end(cli.worker.prune_command(jobs, as_json))


@worker_app.command("stop")
def worker_stop(as_json: Json = False) -> None:
    """Have it stop now; what is finished is saved."""
    end(cli.worker.stop_command(as_json))


@worker_app.command("restart")
def worker_restart(as_json: Json = False) -> None:
    """Have it finish its queue and end, then start a new one; after an upgrade, say."""
    end(cli.worker.restart_command(as_json))


@worker_app.command("logs")
def worker_logs(
    lines: Annotated[int, typer.Option(min=1, help="How many, from the end.", metavar="N")] = 50, as_json: Json = False
) -> None:
    """Print the last lines of its log."""
    end(cli.worker.logs_command(lines, as_json))


study_app = typer.Typer(rich_markup_mode=None)


@study_app.command()
def effects(
    session: SessionName,
    score: Annotated[
        bool | None,
        typer.Option("--score/--no-score", help="Score again; or show what needs no model. By default, score once."),
    ] = None,
    texts: Annotated[
        str, typer.Option(metavar="baseline,condition", help="Whose texts are scored; both: direct and through text.")
    ] = "baseline,condition",
    text: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also score this text after every prompt, spaces included.")
    ] = None,
    sites: Annotated[
        str | None, typer.Option(metavar="SITE,...", help="Where vectors are compared; the captured sites by default.")
    ] = None,
    controls: Annotated[bool, typer.Option("--controls", help="Score the runs of control neurons too.")] = False,
    npz: Annotated[Path | None, typer.Option(metavar="FILE", help="Score, and write the full vectors.")] = None,
    tokens: Annotated[
        str | None,
        typer.Option(metavar="' yes, no'", help="Effect on the logits of these tokens, spaces included, instead."),
    ] = None,
    over: Annotated[
        Literal["first", "text"], typer.Option(help="--tokens where the text begins, or all along the baseline's.")
    ] = "first",
    rule: Annotated[
        Literal["published", "calibrated"] | None,
        typer.Option(help="Which texts collapsed, by this rule; alone it needs no model, and --csv is a row a value."),
    ] = None,
    family: Family = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every table as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Tell what an intervention did to the texts, or to chosen tokens."""
    if tokens is not None:
        if score is not None or text is not None or sites is not None or controls or npz is not None or rule:
            raise typer.BadParameter("--tokens reads logits and scores no texts: leave the other options out")
        end(cli.analyses.tokens_command(session, tokens, over, family, csv, as_json))
        return
    if over != "first":
        raise typer.BadParameter("it is about --tokens: give them too", param_hint="--over")
    end(cli.analyses.effects_command(session, score, texts, text, sites, controls, npz, rule, family, csv, as_json))


@study_app.command()
def patching(
    session: SessionName,
    tokens: Annotated[
        str | None, typer.Option(metavar="' yes, no'", help="The difference of these two tokens' logits.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option(metavar="FACTOR", help="Instead: each prompt's answer less its partner's.")
    ] = None,
    clean: Annotated[
        str | None, typer.Option(metavar="FACTOR=LEVEL", help="Prompts that values come from; both of a pair without.")
    ] = None,
    family: Family = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write both tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Tell whether a patch suffices for an answer, and is needed."""
    end(cli.analyses.patching_command(session, tokens, answer, clean, family, csv, as_json))


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
    family: Family = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every partner as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """List what rises and falls with a neuron."""
    cli.analyses.pairs_command(session, neuron, site, partners, top, permutations, seed, weights, family, csv, as_json)


@study_app.command()
def dose(
    session: SessionName,
    plane: Annotated[int, typer.Option(min=1, metavar="N", help="Which of its planes, from 1.")] = 1,
    interest: Annotated[
        float | None, typer.Option(metavar="X", help="Test that the change over the values is smaller than this.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, max=100_000, help="Of the units.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of these.")] = 0,
    family: Family = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Follow a plane's quantities over the value, unit by unit."""
    cli.analyses.dose_command(session, plane, interest, resamples, seed, family, csv, as_json)


@study_app.command()
def planes(
    session: SessionName,
    add: Annotated[
        tuple[str, str] | None,
        typer.Option("--add", metavar="A B", help="Make and save a plane: 'mean(type=plain)' pc1, w_out(11.373) 5."),
    ] = None,
    held_out: HeldOut = False,
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
    seed: Annotated[int, typer.Option(min=0, help="Of --find's split and permutations, and of --held-out.")] = 0,
    by: Annotated[
        str, typer.Option(metavar="pooled|condition|FACTOR,...", help="A row by condition, by factors, or both.")
    ] = "pooled",
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table, or the ensemble's curves.")] = None,
    as_json: Json = False,
) -> None:
    """List, make, find planes of a session, or sweep ensembles."""
    if sum((add is not None, ensemble is not None or bool(basis), find)) > 1:
        raise typer.BadParameter("ask for one of --add, --ensemble and --find")
    if held_out and add is None:
        raise typer.BadParameter(
            "this makes a plane: give --add too, or show SESSION --held-out", param_hint="--held-out"
        )
    if find:
        cli.analyses.find_planes(session, neuron, every, changed, criterion, groups or (), site, seed, csv, as_json)
        return
    chosen = [] if by == "pooled" else [name.strip() for name in by.split(",")]
    if add is not None:
        cli.analyses.add_plane(session, *add, site, seed if held_out else None, chosen, csv, as_json)
    elif ensemble is not None or basis:
        if ensemble is None or not basis:
            raise typer.BadParameter("give --ensemble perm or comb, and --basis 'mean(type=*)'")
        cli.analyses.ensemble_planes(session, basis, ensemble, site, chosen, thresholds, angles, csv, as_json)
    else:
        cli.analyses.list_planes(session, chosen, csv, as_json)


@study_app.command()
def controls(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="A session's name or file; to plan, also a spec.")],
    by: Annotated[Literal["pooled", "condition"], typer.Option(help="Every value by itself as well.")] = "pooled",
    chosen: Annotated[
        Literal["before", "after"] | None,
        typer.Option(help="Whether the target was chosen before or after looking, where the experiment does not say."),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, metavar="M", help="Chosen after looking at so many, itself included.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what controls would cost, and run nothing.")] = False,
    neurons: Annotated[int | None, typer.Option(min=0, max=999, metavar="K", help="How many controls to plan.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a field of the spec to plan.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write both tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Rank a neuron among matched ones clamped alike."""
    if plan:
        cli.analyses.plan_command(session, neurons, list(overrides or ()), as_json)
        return
    if neurons is not None or overrides:
        raise typer.BadParameter("this plans a run: give --plan too", param_hint="--neurons")
    cli.analyses.controls_command(session, by, chosen, candidates, csv, as_json)


@study_app.command()
def analysis(
    session: SessionName,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Compute the analysis that was frozen before the run, no more."""
    cli.analyses.frozen_command(session, confirm=False, csv_file=csv, as_json=as_json)


@study_app.command()
def confirm(
    session: SessionName,
    plane: Annotated[int | None, typer.Option(min=1, metavar="N", help="Instead of the frozen analysis.")] = None,
    groups: Annotated[
        tuple[str, str] | None, typer.Option(metavar="X Y", help="Instead of the frozen analysis: groups to compare.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Test again on the prompts that were kept for confirmation."""
    cli.analyses.frozen_command(session, confirm=True, plane=plane, groups=groups or (), csv_file=csv, as_json=as_json)


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
    text_column: TextColumn = None,
    chat_template: ChatTemplate = False,
    system: System = None,
    prepend_bos: Annotated[
        Literal["auto", "once", "true", "false"], typer.Option(help="How the prompts get a BOS, as in the experiment.")
    ] = "auto",
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the tables, or all neurons, as CSV.")] = None,
    as_json: Json = False,
    width: Width = None,
    height: Height = None,
) -> None:
    """Describe a neuron, or tell how much all are used."""
    feeding = (text_column, chat_template, system, prepend_bos)
    query = cli.neuron.NeuronQuery(
        model, layer, neuron, prompts, text, skip, session, top, all_layers, device, *feeding
    )
    cli.neuron.neuron_command(query, csv, as_json, width, height)


_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    help="Explore what one neuron of a language model does.",
    epilog="What a heading or a word of a legend means: srm-explorer explain WORD."
    " Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings=_SETTINGS,
)
app.add_typer(sessions_app, name="sessions", invoke_without_command=True)
app.add_typer(prompts_app, name="prompts", invoke_without_command=True)
app.add_typer(worker_app, name="worker", invoke_without_command=True)
app.add_typer(study_app)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"srm-explorer {srm_explorer.__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Explore what one neuron of a language model does."""


@app.command()
def demo(
    no_open: Annotated[bool, typer.Option("--no-open", help="Don't open the full screen after it.")] = False,
) -> None:
    """Run an experiment on the bundled model and draw its charts."""
    end(cli.demo.demo_command(no_open))


@app.command("open")
def open_screen(
    session: Annotated[str | None, typer.Argument(metavar="SESSION", help="A session to look at first.")] = None,
    spec: Annotated[
        str | None, typer.Option(metavar="FILE|PRESET", help="Begin with this experiment, not with the last one.")
    ] = None,
    prompts: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Add these prompts to the experiment; more than once.")
    ] = None,
) -> None:
    """Open the full screen, as `srm-explorer` alone does."""
    end(cli.screen.open_command(session, spec, list(prompts or ())))


@app.command()
def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC.toml|PRESET", help="An experiment file, or a preset's name.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a field: generation.tokens=20.")
    ] = None,
    session: Annotated[str | None, typer.Option(metavar="NAME|PATH", help="What to save it as.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew; the old session goes to the trash.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Run nothing: print what it costs, and what so many prompts can see.")
    ] = False,
    interest: Annotated[
        float | None, typer.Option(metavar="X", help="Of a plan: how many units a change of X over the values takes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run an experiment and save its session; again, resume it."""
    if plan:
        cli.run.plan_run(spec, list(overrides or ()), interest, as_json)
        return
    if interest is not None:
        raise typer.BadParameter("this plans a run: give --plan too", param_hint="--interest")
    end(cli.run.run_command(spec, list(overrides or ()), session, restart, as_json))


@app.command()
def sweep(
    files: Annotated[
        list[Path], typer.Argument(metavar="VECTORS...", help="Files .npz, .npy or .safetensors, pooled in order.")
    ],
    a: Annotated[int | None, typer.Option("--a", help="Neuron at 0 degrees.")] = None,
    b: Annotated[int | None, typer.Option("--b", help="Neuron at 90 degrees.")] = None,
    basis: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead: planes of all pairs of these vectors.")
    ] = None,
    ensemble: Annotated[
        Literal["perm", "comb"] | None, typer.Option(help="Ordered pairs of the basis, or each pair once.")
    ] = None,
    thresholds: Annotated[str, typer.Option(metavar="T,...", help="Cosines to count above.")] = "0.7,0.5,0.3,0.1",
    angles: Annotated[int, typer.Option(help="Equally spaced angles.")] = 360,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the curves as CSV.")] = None,
    as_json: Json = False,
    reduce: Annotated[
        Literal["mean", "last"] | None, typer.Option(help="Of arrays [n, token, d]: the mean, or the last token.")
    ] = None,
    chart: Annotated[Literal["polar", "thresholds", "both", "none"], typer.Option(help="What to draw.")] = "both",
    width: Width = None,
    height: Height = None,
) -> None:
    """Turn a spotlight through saved vectors in a plane."""
    levels = _numbers(thresholds, "--thresholds")
    if basis is not None or ensemble is not None:
        if a is not None or b is not None:
            raise typer.BadParameter("planes are those of --basis", param_hint="--a and --b")
        if basis is None or ensemble is None:
            missing = "--basis FILE" if basis is None else "--ensemble perm (ordered pairs) or comb (each pair once)"
            raise typer.BadParameter(f"give {missing} too", param_hint="--basis" if ensemble is None else "--ensemble")
        cli.ensembles.ensemble_command(files, basis, ensemble, levels, angles, csv, as_json, reduce)
        return
    if a is None or b is None:
        hint = "--a" if a is None else "--b"
        raise typer.BadParameter("name the plane: --a and --b, or --basis and --ensemble", param_hint=hint)
    cli.sweep.sweep_command(files, a, b, levels, angles, csv, as_json, chart, width, height, reduce)


@app.command()
def show(
    session: SessionName,
    chart: Annotated[
        Literal["polar", "thresholds", "dose"] | None, typer.Option(help="Draw this one, not polar and thresholds.")
    ] = None,
    view: Annotated[Literal["counts", "mean"], typer.Option(help="What the polar chart's radius is.")] = "counts",
    plane: Annotated[int | None, typer.Option(metavar="N", help="This plane only, from 1.")] = None,
    threshold: Annotated[float | None, typer.Option(metavar="T", help="Cosine the polar chart counts above.")] = None,
    by: Annotated[
        str, typer.Option(metavar="pooled|condition|FACTOR,...", help="Curves by condition, by factors, or both.")
    ] = "pooled",
    minus: Annotated[
        bool, typer.Option("--minus-arithmetic", help="Draw what is beyond the arithmetic of the intervention.")
    ] = False,
    axis_out: Annotated[
        bool, typer.Option("--axis-out", help="Take what was intervened on out of the vectors.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Draw no bands, chance and arithmetic.")] = False,
    chance: Annotated[
        Literal["partners", "controls", "isotropic", "second moment"] | None,
        typer.Option(help="What chance is drawn by; controls where there are any, else random partners."),
    ] = None,
    held_out: HeldOut = False,
    seed: SplitSeed = 0,
    family: Family = None,
    as_json: Json = False,
    width: Width = None,
    height: Height = None,
) -> None:
    """Show a session: what was done, its numbers and its charts."""
    if minus and axis_out:
        raise typer.BadParameter("choose one of --minus-arithmetic and --axis-out")
    transform = "minus arithmetic" if minus else "axis out" if axis_out else "observed"
    split = seed if held_out else None
    cli.show.show_command(
        session, chart, view, plane, threshold, by, as_json, width, height, transform, plain, chance, family, split
    )


@app.command()
def replay(session: SessionName, as_json: Json = False) -> None:
    """Run a session again and compare every token and vector."""
    end(cli.sessions.replay_command(session, as_json))


@app.command()
def explain(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help='A heading or a word of a legend: "first change" q.')
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a heading of a table, or a word of a legend, means."""
    cli.tables.explain_command(list(words or ()), as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Tell what this machine offers and what is missing."""
    end(cli.doctor.doctor_command(as_json))


def _numbers(text: str, option: str) -> list[float]:
    numbers: list[float] = []
    for part in text.split(","):
        try:
            numbers.append(float(part))
        except ValueError:
            numbers.append(math.nan)
        if not math.isfinite(numbers[-1]):
            raise typer.BadParameter(f"{part.strip()!r} is not a number; write 0.7,0.5", param_hint=option)
    return numbers
