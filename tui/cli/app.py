"""The commands and their options; what they do is imported when they are called."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import BadParameter, Option

import srm_explorer
from srm_explorer.tui import cli
from srm_explorer.tui.cli.analyses_app import analyses_app
from srm_explorer.tui.cli.options import (
    Actors,
    Address,
    Changes,
    ChatTemplate,
    Column,
    Executor,
    Family,
    Figure,
    Height,
    HeldOut,
    Json,
    Pairing,
    Pictures,
    PrependBos,
    SessionName,
    SplitSeed,
    System,
    TextColumn,
    Theme,
    Width,
    about,
    argument,
    changed,
    end,
    executing,
    group,
    taking,
)
from srm_explorer.tui.cli.sessions_app import export_session, sessions_app

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


config_app = typer.Typer(rich_markup_mode=None)


@config_app.callback(invoke_without_command=True)
def config(context: typer.Context, as_json: Json = False) -> None:
    """Show the settings and where each comes from, or write them."""
    if context.invoked_subcommand is None:
        end(cli.config.show_command({}, as_json))


@config_app.command("show")
def show_config(theme: Theme = None, changes: Changes = None, as_json: Json = False) -> None:
    """List every setting with where it comes from: command line, variable, file or default."""
    end(cli.config.show_command(changed(theme, changes), as_json))


@config_app.command("init")
def init_config(
    overwrite: Annotated[bool, about("Replace the file that is there.", "--overwrite")] = False,
) -> None:
    """Write the settings file: every setting at its default, with what it may be."""
    cli.config.init_command(overwrite)


@config_app.command("path")
def config_path() -> None:
    """Print where the settings file is, or would be."""
    cli.config.path_command()


_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    help="Explore what one neuron of a language model does.",
    epilog="What a heading or a word of a legend means: srm-explorer explain WORD."
    " Exit status: 0 done, 1 failed or done in part, 2 wrong usage, 130 interrupted.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings=_SETTINGS,
)
app.add_typer(sessions_app, name="sessions", invoke_without_command=True)
app.add_typer(prompts_app, name="prompts", invoke_without_command=True)
app.add_typer(worker_app, name="worker", invoke_without_command=True)
app.add_typer(analyses_app)
app.add_typer(config_app, name="config")


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
    theme: Theme = None,
    changes: Changes = None,
    version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Explore what one neuron of a language model does."""
    if context.invoked_subcommand is None:
        end(cli.screen.open_command(None, spec, list(prompts or ()), changed(theme, changes)))
        return
    for option, given in (("--spec", spec), ("--prompts", prompts), ("--theme", theme), ("--setting", changes)):
        if given:
            what = f"it is of the full screen, and '{context.invoked_subcommand}' is another command"
            raise BadParameter(f"{what}; try `srm-explorer open`", param_hint=option)


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
    theme: Theme = None,
    changes: Changes = None,
    pictures: Pictures = None,
) -> None:
    """Open the full screen, as `srm-explorer` alone does."""
    end(cli.screen.open_command(session, spec, list(prompts or ()), changed(theme, changes)))


@app.command()
def serve(
    session: Annotated[str | None, argument("SESSION", "A session to look at first.")] = None,
    port: Annotated[int, Option(min=0, max=65535, help="Of this machine; 0 takes any that is free.")] = 8000,
) -> None:
    """Show the full screen in a browser; a local port is opened."""
    cli.serve.serve_command(session, port)


@app.command()
def run(
    spec: Annotated[str, argument("SPEC.toml|PRESET", "An experiment file, or a preset's name.")],
    overrides: Annotated[list[str] | None, taking("KEY=VALUE", "Set a field: generation.tokens=20.", "--set")] = None,
    session: Annotated[str | None, taking("NAME|PATH", "What to save it as.")] = None,
    restart: Annotated[bool, about("Begin anew; the old session goes to the trash.", "--restart")] = False,
    plan: Annotated[bool, about("Run nothing: print what it costs, and what it can see.", "--plan")] = False,
    interest: Annotated[float | None, taking("X", "Of a plan: how many units a change of X takes.")] = None,
    executor: Executor = None,
    actors: Actors = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Run an experiment and save its session; again, resume it."""
    fields = [*(overrides or ()), *executing(executor, actors, address)]
    if plan:
        cli.run.plan_run(spec, fields, interest, as_json)
        return
    if interest is not None:
        raise BadParameter("this plans a run: give --plan too", param_hint="--interest")
    end(cli.run.run_command(spec, fields, session, restart, as_json))


@app.command()
def survey(
    named: Annotated[
        str, argument("SPEC.toml|PRESET|SESSION", "What to do to many neurons; or a survey that was made.")
    ],
    overrides: Annotated[list[str] | None, taking("KEY=VALUE", "Set a field: generation.tokens=20.", "--set")] = None,
    neurons: Annotated[
        str | None, taking("all|0..99|FILE|top:N", "Which: also 0..99,373 and 11.373; top: those that write most.")
    ] = None,
    layers: Annotated[str | None, taking("0..11|all", "Of which layers; the intervention's own by default.")] = None,
    depth: Annotated[
        Literal["forced", "free"] | None,
        about("Score texts (forced, the default), or have texts written; of a survey, which is told."),
    ] = None,
    score: Annotated[
        Literal["generated", "prompts"] | None,
        about("What is scored: what the baseline writes (the default), or the prompts themselves."),
    ] = None,
    then: Annotated[
        str | None, taking("top:N", "Have texts written under those that moved most, on the other half of the prompts.")
    ] = None,
    vectors: Annotated[str | None, taking("373,...", "Keep full vectors of these, where texts are written.")] = None,
    session: Annotated[str | None, taking("NAME|PATH", "What to save it as.")] = None,
    restart: Annotated[bool, about("Begin anew; the old session goes to the trash.", "--restart")] = False,
    plan: Annotated[bool, about("Run nothing: print what it costs.", "--plan")] = False,
    executor: Executor = None,
    actors: Actors = None,
    address: Address = None,
    cell: Annotated[str | None, taking("L.N", "Run this neuron of a survey as a session of its own.", "--open")] = None,
    neuron: Annotated[
        str | None, taking("N|L.N", "The one that was named before; the experiment's own by default.")
    ] = None,
    measure: Annotated[
        Literal["kl", "logp", "flips", "change", "changed"] | None,
        about("What ranks are by: KL of what was scored, the share of changed texts of what was written."),
    ] = None,
    value: Annotated[str | None, taking("LABEL", "Rank by this value alone: +20.")] = None,
    texts: Annotated[
        Literal["reported", "all"] | None,
        about("All of them, also those on which it was chosen who went on."),
    ] = None,
    top: Annotated[int, taking("K", "Rows of a table that are printed.", min=1)] = 20,
    chart: Annotated[Literal["distribution", "map", "none"], about("Which is drawn, here or by --figure.")] = (
        "distribution"
    ),
    family: Family = None,
    csv: Annotated[
        Path | None,
        taking("FILE", "Write a row a layer, neuron and value, promoted tokens as text; with tabs into .tsv."),
    ] = None,
    figure: Figure = None,
    column: Column = "single",
    width: Width = None,
    height: Height = None,
    as_json: Json = False,
) -> None:
    """Do to many neurons what is done to one, and rank them."""
    of_run = {"--neurons": neurons, "--layers": layers, "--then": then, "--vectors": vectors, "--score": score}
    settings = {
        "depth": depth, "neuron": neuron, "measure": measure, "value": value, "texts": texts, "family": family,
    }  # fmt: skip
    fields = [*(overrides or ()), *executing(executor, actors, address)]
    asked = [option for option, given in of_run.items() if given is not None] + (["--set"] if overrides else [])
    begins = bool(fields) or restart or plan or session is not None or bool(asked)
    if cell is not None:
        if asked or fields:
            beside = ", ".join(asked) or "--executor, --actors and --address"
            raise BadParameter(f"it opens a neuron of a survey that was made: leave out {beside}", param_hint="--open")
        end(cli.survey.open_cell(named, cell, session, plan=plan, restart=restart, as_json=as_json))
        return
    file = cli.figures.FigureFile.of(figure, column)
    view = cli.survey.SurveyView(settings, chart, top, csv, file, width, height, as_json)
    if not begins and cli.survey.is_survey(named):
        cli.survey.show_survey(named, view)
        return
    what = cli.survey.SurveyRun(neurons, layers, depth, then, vectors, score)
    end(cli.survey.survey_command(named, fields, what, session, view, restart=restart, plan=plan))


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
    figure: Figure = None,
    column: Column = "single",
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
    file = cli.figures.FigureFile.of(figure, column)
    cli.sweep.sweep_command(files, a, b, levels, angles, csv, as_json, chart, width, height, reduce, file)


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
    figure: Figure = None,
    column: Column = "single",
    pictures: Pictures = None,
    as_json: Json = False,
    width: Width = None,
    height: Height = None,
) -> None:
    """Show a session: what was done, its numbers and its charts."""
    if minus and axis_out:
        raise BadParameter("choose one of --minus-arithmetic and --axis-out")
    transform = "minus arithmetic" if minus else "axis out" if axis_out else "observed"
    split = seed if held_out else None
    grouping = [] if by in ("", "pooled") else [name.strip() for name in by.split(",")]
    choice = cli.show.ChartChoice(chart, view, threshold, grouping, transform, plain, chance, family, details)
    file = cli.figures.FigureFile.of(figure, column)
    cli.show.show_command(session, choice, plane, split, file, as_json, width, height)


app.command("export")(export_session)


@app.command()
def report(
    session: SessionName,
    output: Annotated[Path, taking("F.html", "The file.", "--output", "-o")],
    texts: Annotated[int, taking("N", "Prompts whose texts are shown side by side.", min=0)] = 24,
) -> None:
    """Write a session as one HTML page that stands by itself."""
    cli.report.report_command(session, output, texts)


@app.command()
def script(
    session: SessionName,
    output: Annotated[Path | None, taking("F.py", "The file; printed without one.", "--output", "-o")] = None,
    controls: Annotated[bool, about("The runs of controls too.", "--controls")] = False,
) -> None:
    """Write a Python file that repeats a session's experiment."""
    cli.report.script_command(session, output, controls)


@app.command("import")
def import_files(
    files: Annotated[list[Path], argument("PATH...", "Files of vectors or texts, or folders of them.")],
    session: Annotated[str | None, taking("NAME|PATH", "What to save it as.")] = None,
    site: Annotated[str | None, about("Where the vectors were captured, if known.")] = None,
    neuron: Annotated[int | None, about("What was clamped there, if known.")] = None,
    reduce: Annotated[Literal["mean", "last"] | None, about("Of arrays [n, token, d]: mean, or last token.")] = None,
    tokenizer: Annotated[
        str | None, taking("MODEL|PATH", "Part texts into its tokens; without it, repetitions are of words.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a session of vectors and texts that other programs saved.

    Where one of several files cannot be read, the others are imported, and the exit status is 1.
    """
    end(cli.imports.import_command(files, session, site, neuron, reduce, tokenizer, as_json))


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
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], argument("SHELL", "Whose script: bash, zsh or fish.")],
) -> None:
    """Print what makes a shell complete commands, options, names."""
    cli.completion.completion_command(shell)


@app.command("schema")
def print_schema(
    kind: Annotated[Literal["session", "experiment", "settings"], argument("KIND", "session, experiment or settings.")],
) -> None:
    """Print the JSON Schema of what our files hold, for editors."""
    cli.config.schema_command(kind)


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
