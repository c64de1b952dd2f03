"""`srm-explorer prompts ...`: the commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.cli.options import Json, end

prompts_app = typer.Typer(help="List prompt sets, and check a file of prompts.", rich_markup_mode=None)


@prompts_app.callback()
def prompts(context: typer.Context, as_json: Json = False) -> None:
    """List prompt sets, and check a file of prompts."""
    if context.invoked_subcommand is None:
        list_prompts(as_json)


@prompts_app.command("list")
def list_prompts(as_json: Json = False) -> None:
    """List the prompt sets that an experiment can name."""
    from tui.cli.prompts import list_command

    list_command(as_json)


@prompts_app.command("check")
def check_prompts(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A prompt file, or a set's name.")],
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Also report prompts too long for it.")] = None,
    tokens: Annotated[int, typer.Option(min=0, help="Tokens to be generated after each prompt.")] = 50,
    as_json: Json = False,
) -> None:
    """Report everything that is wrong with a prompt file, by line."""
    from tui.cli.prompts import check_command

    end(check_command(file, model, tokens, as_json))
