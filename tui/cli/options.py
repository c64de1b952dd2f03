"""What the options of commands are made of, and those that several commands have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, BadParameter, Option


def taking(metavar: str, meaning: str, *names: str, **limits: Any) -> Any:
    """An option, named by its parameter or by names, that takes what `metavar` stands for, from `min` to `max`."""
    return Option(*names, metavar=metavar, help=meaning, **limits)


def about(meaning: str, *names: str) -> Any:
    """An option whose type says what it takes."""
    return Option(*names, help=meaning)


def argument(metavar: str, meaning: str) -> Any:
    """What stands on the line without a name."""
    return Argument(metavar=metavar, help=meaning)


def _choose_pictures(choice: str | None) -> str | None:
    """Have the rest of this process, which knows the variable and the settings, do as the command line says."""
    if choice is not None:
        os.environ["SRM_EXPLORER_PICTURES"] = choice
    return choice


Pictures = Annotated[
    Literal["auto", "on", "off"] | None,
    Option("--pictures", callback=_choose_pictures, help="Charts as pictures, if the terminal shows any."),
]
"""Acts by itself; whatever takes it need not look at it."""
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
Figure = Annotated[Path | None, taking("F.pdf|svg|png", "Write the chart to this file, drawn for a paper.", "--figure")]
Column = Annotated[Literal["single", "double"], about("Columns of text that such a figure is wide.", "--column")]
Executor = Annotated[
    Literal["local", "ray"] | None, about("Who decodes: this process, or actors of Ray.", "--executor")
]
Actors = Annotated[int | None, taking("N", "Actors of Ray; one for each GPU unless said.", "--actors", min=1)]
Address = Annotated[str | None, taking("auto|HOST:PORT", "A running cluster of Ray; without it, one starts here.")]
SessionName = Annotated[str, argument("SESSION", "A session's name, or the path of its file.")]

Theme = Annotated[str | None, taking("THEME", "Colours for this time: dark, light, terminal, or one of Textual's.")]
Changes = Annotated[
    list[str] | None, taking("SETTING=VALUE", "Another setting for this time, as in the file.", "--setting")
]


def changed(theme: str | None, changes: list[str] | None) -> dict[str, str]:
    """Settings of a command line by their names.

    Raises:
        BadParameter: one without "=".
    """
    typed = {} if theme is None else {"theme": theme}
    for change in changes or ():
        name, equals, value = change.partition("=")
        if not equals or not value.strip():
            raise BadParameter(f"{change!r} sets nothing; write it as bell=bell", param_hint="--setting")
        typed[name.strip()] = value.strip()
    return typed


def executing(executor: str | None, actors: int | None, address: str | None) -> list[str]:
    """Who decodes, as overrides of an experiment's fields; what a file says of actors ends where it is this process."""
    given = {"executor": executor, "actors": actors, "address": address}
    if executor == "local":
        given = {name: value or "" for name, value in given.items()}
    return [f"execution.{name}={value}" for name, value in given.items() if value is not None]


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
