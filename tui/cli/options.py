"""What the commands of several files share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Width = Annotated[int | None, typer.Option(min=1, max=1000, help="Columns of a chart.", metavar="W")]
Height = Annotated[int | None, typer.Option(min=1, max=1000, help="Rows of a chart.", metavar="H")]
SessionName = Annotated[str, typer.Argument(metavar="SESSION", help="A session's name, or the path of its file.")]


def end(status: int | None) -> None:
    """End a command with its exit status."""
    if status:
        raise typer.Exit(status)
