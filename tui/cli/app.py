"""The commands and their options; what they do is imported when they are called."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, BadParameter, Option

import srm_explorer
from srm_explorer.tui import cli


def taking(metavar: str, meaning: str, *names: str, **limits: Any) -> Any:
    """An option, named by its parameter or by names, that takes what `metavar` stands for, from `min` to `max`."""
    return Option(*names, metavar=metavar, help=meaning, **limits)


def about(meaning: str, *names: str) -> Any:
    """An option whose type says what it takes."""
    return Option(*names, help=meaning)


def argument(metavar: str, meaning: str) -> Any:
    """What stands on the line without a name."""
    return Argument(metavar=metavar, help=meaning)


PrependBos = Literal["auto", "once", "true", "false"]
Pairing = Literal["perm", "comb"] | None
TwoNames = tuple[str, str] | None
Json = Annotated[bool, about("Print one JSON object and nothing else.", "--json")]
Width = Annotated[int | None, taking("W", "Columns of a chart.", min=1, max=1000)]
TextColumn = Annotated[str | None, taking("NAME", "The column or key that holds the prompts.")]
ChatTemplate = Annotated[bool, about("Feed each text as a message, as the model's template has it.", "--chat-template")]
System = Annotated[str | None, taking("TEXT", "System message of the chat template.")]
Height = Annotated[int | None, taking("H", "Rows of a chart.", min=1, max=1000)]
Family = Annotated[str | None, taking("NAME", "The family its tests belong to: q is over all that it holds so far.")]
HeldOut = Annotated[bool, about("Make the plane on half of the units, and show the other half.", "--held-out")]
SplitSeed = Annotated[int, Option(min=0, help="Of the split of --held-out.")]
SessionName = Annotated[str, argument("SESSION", "A session's name, or the path of its file.")]


def end(status: int | None) -> None:
    """End a command with its exit status."""
    if status:
        raise typer.Exit(status)


Alone = Callable[[bool], int | None]
"""What a command does that takes --json alone, told whether it was given."""


def group(meaning: str, commands: dict[str, tuple[str, Alone]]) -> typer.Typer:
    """Commands under one name, those that take --json alone among them; the name by itself does the first of these."""
    app = typer.Typer(help=meaning, rich_markup_mode=None)
    first = next(iter(commands.values()))[1]

    @app.callback(help=meaning)
    def by_itself(context: typer.Context, as_json: Json = False) -> None:  # pyright: ignore[reportUnusedFunction]
        if context.invoked_subcommand is None:
            end(first(as_json))

    for name, (what, does) in commands.items():
        app.command(name, help=what)(_taking_json(does))
    return app


def _taking_json(does: Alone) -> Callable[[bool], None]:
    def command(as_json: Json = False) -> None:
        end(does(as_json))

    return command


sessions_app = group(
    "List saved sessions, and export them.",
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
    csv: Annotated[Path | None, taking("FILE", "Write one row a run.")] = None,
    parquet: Annotated[Path | None, taking("FILE", "The same rows as a Parquet file.")] = None,
    npz: Annotated[Path | None, taking("FILE", "Write one vector a run.")] = None,
    site: Annotated[str | None, about("Whose vectors; the first captured site by default.")] = None,
    keys: Annotated[Literal["number", "factors"] | None, about("Name vectors by prompt number, or factors.")] = None,
    controls: Annotated[bool, about("The runs of controls too.", "--controls")] = False,
) -> None:
    """Export a session's runs as CSV or Parquet, its vectors as .npz."""
    if csv is None and npz is None and parquet is None:
        raise BadParameter("name a file to write", param_hint="--csv, --parquet or --npz")
    for option, given in (("--site", site), ("--keys", keys)):
        if given is not None and npz is None:
            raise BadParameter("only vectors have any: give --npz too", param_hint=option)
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
    as_json: Json = False,
) -> None:
    """Compare up to eight sessions, of any neurons and models, or two groups of one: effects, curves, experiments."""
    chosen = (plane, groups, a_group, b_group, resamples, seed, family, held_out)
    cli.sessions.diff_command(session, others or [], *chosen, chart, (width, height), csv, as_json)


@sessions_app.command("ledger")
def session_ledger(session: SessionName, as_json: Json = False) -> None:
    """List the tests that were computed on a session, with the families they belong to."""
    cli.sessions.ledger_command(session, as_json)


prompts_app = group(
    "List prompt sets, and check a file of prompts.",
    {"list": ("List the prompt sets that an experiment can name.", lambda as_json: cli.prompts.list_command(as_json))},
)


@prompts_app.command("check")
def check_prompts(
    file: Annotated[str, argument("FILE", "A prompt file, or a set's name.")],
    model: Annotated[str | None, taking("NAME", "Also report prompts too long for it.")] = None,
    tokens: Annotated[int, Option(min=0, help="Tokens to be generated after each prompt.")] = 50,
    text_column: TextColumn = None,
    chat_template: ChatTemplate = False,
    system: System = None,
    positions: Annotated[
        str | None, taking("CHOICE", "Also show which these are in each prompt: '3, -1', 'token \" door\"'.")
    ] = None,
    prepend_bos: Annotated[PrependBos, about("How prompts get a BOS, as in the experiment; it is counted.")] = "auto",
    as_json: Json = False,
) -> None:
    """Report everything that is wrong with a prompt file, by line."""
    feeding = (text_column, chat_template, system, positions, prepend_bos)
    end(cli.prompts.check_command(file, model, tokens, as_json, *feeding))


worker_app = group(
    "Look after the background process that keeps a model warm.",
    {
        "status": (
            "Tell whether a worker lives, what it does and what waits.",
            lambda as_json: cli.worker.status_command(as_json),
        ),
        "queue": (
            "List its jobs: the one that runs, those that wait, those that ended lately.",
            lambda as_json: cli.worker.queue_command(as_json),
        ),
        "stop": ("Have it stop now; what is finished is saved.", lambda as_json: cli.worker.stop_command(as_json)),
        "restart": (
            "Have it finish its queue and end, then start a new one; after an upgrade, say.",
            lambda as_json: cli.worker.restart_command(as_json),
        ),
    },
)


@worker_app.command("prune")
def worker_prune(
    jobs: Annotated[list[str], argument("JOB...", "Jobs that wait, as `queue` names them.")],
    as_json: Json = False,
) -> None:
    """Take waiting jobs off the queue."""
    end(cli.worker.prune_command(jobs, as_json))


@worker_app.command("logs")
def worker_logs(
    lines: Annotated[int, taking("N", "How many, from the end.", min=1)] = 50, as_json: Json = False
) -> None:
    """Print the last lines of its log."""
    end(cli.worker.logs_command(lines, as_json))


study_app = typer.Typer(rich_markup_mode=None)


@study_app.command()
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
    as_json: Json = False,
) -> None:
    """Tell what an intervention did to the texts, or to chosen tokens."""
    if tokens is not None:
        if score is not None or text is not None or sites is not None or controls or npz is not None or rule:
            raise BadParameter("--tokens reads logits and scores no texts: leave the other options out")
        end(cli.analyses.tokens_command(session, tokens, over, family, csv, as_json))
        return
    if over != "first":
        raise BadParameter("it is about --tokens: give them too", param_hint="--over")
    end(cli.analyses.effects_command(session, score, texts, text, sites, controls, npz, rule, family, csv, as_json))


@study_app.command()
def patching(
    session: SessionName,
    tokens: Annotated[str | None, taking("' yes, no'", "The difference of these two tokens' logits.")] = None,
    answer: Annotated[str | None, taking("FACTOR", "Instead: each prompt's answer less its partner's.")] = None,
    clean: Annotated[str | None, taking("FACTOR=LEVEL", "Prompts values come from; both of a pair without.")] = None,
    family: Family = None,
    csv: Annotated[Path | None, taking("FILE", "Write both tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Tell whether a patch suffices for an answer, and is needed."""
    end(cli.analyses.patching_command(session, tokens, answer, clean, family, csv, as_json))


@study_app.command()
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
    cli.analyses.pairs_command(session, neuron, site, partners, top, permutations, seed, weights, family, csv, as_json)


@study_app.command()
def dose(
    session: SessionName,
    plane: Annotated[int, taking("N", "Which of its planes, from 1.", min=1)] = 1,
    interest: Annotated[float | None, taking("X", "Test that the change over the values is smaller than this.")] = None,
    resamples: Annotated[int, Option(min=100, max=100_000, help="Of the units.")] = 10_000,
    seed: Annotated[int, Option(min=0, help="Of these.")] = 0,
    family: Family = None,
    csv: Annotated[Path | None, taking("FILE", "Write the tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Follow a plane's quantities over the value, unit by unit."""
    cli.analyses.dose_command(session, plane, interest, resamples, seed, family, csv, as_json)


@study_app.command()
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
    as_json: Json = False,
) -> None:
    """List, make, find planes of a session, or sweep ensembles."""
    if sum((add is not None, ensemble is not None or bool(basis), find)) > 1:
        raise BadParameter("ask for one of --add, --ensemble and --find")
    if held_out and add is None:
        raise BadParameter("this makes a plane: give --add too, or show SESSION --held-out", param_hint="--held-out")
    if find:
        cli.analyses.find_planes(session, neuron, every, changed, criterion, groups or (), site, seed, csv, as_json)
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


@study_app.command()
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
    as_json: Json = False,
) -> None:
    """Rank a neuron among matched ones clamped alike."""
    if plan:
        cli.analyses.plan_command(session, neurons, list(overrides or ()), as_json)
        return
    if neurons is not None or overrides:
        raise BadParameter("this plans a run: give --plan too", param_hint="--neurons")
    cli.analyses.controls_command(session, by, chosen, candidates, csv, as_json)


@study_app.command()
def analysis(
    session: SessionName,
    csv: Annotated[Path | None, taking("FILE", "Write the tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Compute the analysis that was frozen before the run, no more."""
    cli.analyses.frozen_command(session, confirm=False, csv_file=csv, as_json=as_json)


@study_app.command()
def confirm(
    session: SessionName,
    plane: Annotated[int | None, taking("N", "Instead of the frozen analysis.", min=1)] = None,
    groups: Annotated[TwoNames, taking("X Y", "Instead of the frozen analysis: groups to compare.")] = None,
    csv: Annotated[Path | None, taking("FILE", "Write the tables as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Test again on the prompts that were kept for confirmation."""
    cli.analyses.frozen_command(session, confirm=True, plane=plane, groups=groups or (), csv_file=csv, as_json=as_json)


@study_app.command()
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
    text_column: TextColumn = None,
    chat_template: ChatTemplate = False,
    system: System = None,
    prepend_bos: Annotated[PrependBos, about("How the prompts get a BOS, as in the experiment.")] = "auto",
    device: Annotated[str | None, about("auto, cpu, cuda, cuda:1 or mps.")] = None,
    csv: Annotated[Path | None, taking("FILE", "Write the tables, or all neurons, as CSV.")] = None,
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


Spec = Annotated[str | None, taking("FILE|PRESET", "Begin with this experiment, not with the last one.")]
Prompts = Annotated[list[str] | None, taking("FILE", "Add these prompts to the experiment; more than once.")]


@app.callback(invoke_without_command=True)
def program(
    context: typer.Context,
    spec: Spec = None,
    prompts: Prompts = None,
    version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Explore what one neuron of a language model does."""
    if context.invoked_subcommand is None:
        end(cli.screen.open_command(None, spec, list(prompts or ())))
    elif spec is not None or prompts:
        what = f"it opens the full screen, and '{context.invoked_subcommand}' is another command"
        raise BadParameter(f"{what}; try `srm-explorer open`", param_hint="--spec" if spec is not None else "--prompts")


@app.command()
def demo(
    no_open: Annotated[bool, about("Don't open the full screen after it.", "--no-open")] = False,
) -> None:
    """Run an experiment on the bundled model and draw its charts."""
    end(cli.demo.demo_command(no_open))


@app.command("open")
def open_screen(
    session: Annotated[str | None, argument("SESSION", "A session to look at first.")] = None,
    spec: Spec = None,
    prompts: Prompts = None,
) -> None:
    """Open the full screen, as `srm-explorer` alone does."""
    end(cli.screen.open_command(session, spec, list(prompts or ())))


@app.command()
def run(
    spec: Annotated[str, argument("SPEC.toml|PRESET", "An experiment file, or a preset's name.")],
    overrides: Annotated[list[str] | None, taking("KEY=VALUE", "Set a field: generation.tokens=20.", "--set")] = None,
    session: Annotated[str | None, taking("NAME|PATH", "What to save it as.")] = None,
    restart: Annotated[bool, about("Begin anew; the old session goes to the trash.", "--restart")] = False,
    plan: Annotated[bool, about("Run nothing: print what it costs, and what it can see.", "--plan")] = False,
    interest: Annotated[float | None, taking("X", "Of a plan: how many units a change of X takes.")] = None,
    as_json: Json = False,
) -> None:
    """Run an experiment and save its session; again, resume it."""
    if plan:
        cli.run.plan_run(spec, list(overrides or ()), interest, as_json)
        return
    if interest is not None:
        raise BadParameter("this plans a run: give --plan too", param_hint="--interest")
    end(cli.run.run_command(spec, list(overrides or ()), session, restart, as_json))


@app.command()
def sweep(
    files: Annotated[list[Path], argument("VECTORS...", "Files .npz, .npy or .safetensors, pooled in order.")],
    a: Annotated[int | None, about("Neuron at 0 degrees.", "--a")] = None,
    b: Annotated[int | None, about("Neuron at 90 degrees.", "--b")] = None,
    basis: Annotated[Path | None, taking("FILE", "Instead: planes of all pairs of these vectors.")] = None,
    ensemble: Annotated[Pairing, about("Ordered pairs of the basis, or each pair once.")] = None,
    thresholds: Annotated[str, taking("T,...", "Cosines to count above.")] = "0.7,0.5,0.3,0.1",
    angles: Annotated[int, about("Equally spaced angles.")] = 360,
    csv: Annotated[Path | None, taking("FILE", "Write the curves as CSV.")] = None,
    as_json: Json = False,
    reduce: Annotated[Literal["mean", "last"] | None, about("Of arrays [n, token, d]: mean, or last token.")] = None,
    chart: Annotated[Literal["polar", "thresholds", "both", "none"], about("What to draw.")] = "both",
    width: Width = None,
    height: Height = None,
) -> None:
    """Turn a spotlight through saved vectors in a plane."""
    levels = _numbers(thresholds, "--thresholds")
    if basis is not None or ensemble is not None:
        if a is not None or b is not None:
            raise BadParameter("planes are those of --basis", param_hint="--a and --b")
        if basis is None or ensemble is None:
            missing = "--basis FILE" if basis is None else "--ensemble perm (ordered pairs) or comb (each pair once)"
            raise BadParameter(f"give {missing} too", param_hint="--basis" if ensemble is None else "--ensemble")
        cli.ensembles.ensemble_command(files, basis, ensemble, levels, angles, csv, as_json, reduce)
        return
    if a is None or b is None:
        hint = "--a" if a is None else "--b"
        raise BadParameter("name the plane: --a and --b, or --basis and --ensemble", param_hint=hint)
    cli.sweep.sweep_command(files, a, b, levels, angles, csv, as_json, chart, width, height, reduce)


@app.command()
def show(
    session: SessionName,
    chart: Annotated[Literal["polar", "thresholds", "dose"] | None, about("Draw this one alone.")] = None,
    view: Annotated[
        Literal["counts", "mean", "compass"] | None,
        about("Polar: counts, mean cosine, or every run; counts where they show something."),
    ] = None,
    plane: Annotated[int | None, taking("N", "This plane only, from 1.")] = None,
    threshold: Annotated[float | None, taking("T", "Cosine the polar chart counts above.")] = None,
    by: Annotated[str, taking("pooled|condition|FACTOR,...", "Curves by condition, by factors, or both.")] = "pooled",
    details: Annotated[bool, about("Legends with every detail, in place of a table.", "--details")] = False,
    minus: Annotated[bool, about("Draw what is beyond arithmetic.", "--minus-arithmetic")] = False,
    axis_out: Annotated[bool, about("Take what was intervened on out of the vectors.", "--axis-out")] = False,
    plain: Annotated[bool, about("Draw no bands, chance and arithmetic.", "--plain")] = False,
    chance: Annotated[
        Literal["partners", "controls", "isotropic", "second moment"] | None,
        about("What chance is drawn by; controls where there are any, else random partners."),
    ] = None,
    held_out: HeldOut = False,
    seed: SplitSeed = 0,
    family: Family = None,
    figure: Annotated[Path | None, taking("F.pdf|svg|png", "Draw the chart for a paper instead.")] = None,
    column: Annotated[Literal["single", "double"], about("How wide such a figure is.")] = "single",
    as_json: Json = False,
    width: Width = None,
    height: Height = None,
) -> None:
    """Show a session: what was done, its numbers and its charts."""
    if minus and axis_out:
        raise BadParameter("choose one of --minus-arithmetic and --axis-out")
    transform = "minus arithmetic" if minus else "axis out" if axis_out else "observed"
    split = seed if held_out else None
    cli.show.show_command(
        session,
        chart,
        view,
        plane,
        threshold,
        by,
        as_json,
        width,
        height,
        transform,
        plain,
        chance,
        family,
        split,
        details,
        figure,
        column,
    )


app.command("export")(export_session)


@app.command("import")
def import_files(
    files: Annotated[list[Path], argument("PATH...", "Files of vectors or texts, or folders of them.")],
    session: Annotated[str | None, taking("NAME|PATH", "What to save it as.")] = None,
    site: Annotated[str | None, about("Where the vectors were captured, if known.")] = None,
    neuron: Annotated[int | None, about("What was clamped there, if known.")] = None,
    reduce: Annotated[Literal["mean", "last"] | None, about("Of arrays [n, token, d]: mean, or last token.")] = None,
    as_json: Json = False,
) -> None:
    """Make a session of vectors and texts that other programs saved."""
    cli.imports.import_command(files, session, site, neuron, reduce, as_json)


@app.command()
def replay(session: SessionName, as_json: Json = False) -> None:
    """Run a session again and compare every token and vector."""
    end(cli.sessions.replay_command(session, as_json))


@app.command()
def explain(
    words: Annotated[
        list[str] | None, argument("[WORD]...", 'A heading, or a word of a legend: "first change".')
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a heading of a table, or a word of a legend, means."""
    cli.tables.explain_command(list(words or ()), as_json)


@app.command()
def keys(
    words: Annotated[list[str] | None, argument("[WORD]...", "Words for what a key does: prompt file.")] = None,
    as_json: Json = False,
) -> None:
    """List the full screen's keys, what they do, their settings."""
    cli.keys.keys_command(list(words or ()), as_json)


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
            raise BadParameter(f"{part.strip()!r} is not a number; write 0.7,0.5", param_hint=option)
    return numbers
