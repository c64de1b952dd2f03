"""What the commands of several files share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def end(status: int | None) -> None:
    """End a command with its exit status."""
    if status:
        raise typer.Exit(status)
