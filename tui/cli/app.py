"""The commands and their options; what they do is imported when they are called."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from tui.cli.options import Height, Json, SessionName, Width, end
from tui.cli.prompts_app import prompts_app
from tui.cli.sessions_app import sessions_app
from tui.cli.study_app import study_app
from tui.cli.worker_app import worker_app

_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    help="Explore what one neuron of a language model does.",
    epilog="Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
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


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            told = version("srm-explorer")
        except PackageNotFoundError:
            told = "(not installed, run from its source)"
        typer.echo(f"srm-explorer {told}")
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
    from tui.cli.demo import demo_command

    end(demo_command(no_open))


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
    from tui.cli.open import open_command

    end(open_command(session, spec, list(prompts or ())))


@app.command()
def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC.toml|PRESET", help="An experiment file, or a preset's name.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a field: generation.tokens=20.")
    ] = None,
    session: Annotated[str | None, typer.Option(metavar="NAME|PATH", help="What to save it as.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew; the old session goes to the trash.")] = False,
    as_json: Json = False,
) -> None:
    """Run an experiment and save its session; again, resume it."""
    from tui.cli.run import run_command

    end(run_command(spec, list(overrides or ()), session, restart, as_json))


@app.command()
def sweep(
    files: Annotated[list[Path], typer.Argument(metavar="VECTORS.npz...", help="Files of vectors, pooled in order.")],
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
        from tui.cli.ensemble import ensemble_command

        ensemble_command(files, basis, ensemble, levels, angles, csv, as_json)
        return
    if a is None or b is None:
        hint = "--a" if a is None else "--b"
        raise typer.BadParameter("name the plane: --a and --b, or --basis and --ensemble", param_hint=hint)
    from tui.cli.sweep import sweep_command

    sweep_command(files, a, b, levels, angles, csv, as_json, chart, width, height)


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
    as_json: Json = False,
    width: Width = None,
    height: Height = None,
) -> None:
    """Show a session: what was done, its numbers and its charts."""
    from tui.cli.show import show_command

    if minus and axis_out:
        raise typer.BadParameter("choose one of --minus-arithmetic and --axis-out")
    sight = "minus arithmetic" if minus else "axis out" if axis_out else "observed"
    show_command(session, chart, view, plane, threshold, by, as_json, width, height, sight, plain, chance)


@app.command()
def replay(session: SessionName, as_json: Json = False) -> None:
    """Run a session again and compare every token and vector."""
    from tui.cli.replay import replay_command

    end(replay_command(session, as_json))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Tell what this machine offers and what is missing."""
    from tui.cli.doctor import doctor_command

    end(doctor_command(as_json))


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
