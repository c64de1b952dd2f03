"""`srm-explorer worker ...`: the commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.cli.options import Json, end

worker_app = typer.Typer(help="Look after the background process that keeps a model warm.", rich_markup_mode=None)


@worker_app.callback()
def worker(context: typer.Context, as_json: Json = False) -> None:
    """Look after the background process that keeps a model warm."""
    if context.invoked_subcommand is None:
        worker_status(as_json)


@worker_app.command("status")
def worker_status(as_json: Json = False) -> None:
    """Tell whether a worker lives, what it does and what waits."""
    from tui.cli.worker import status_command

    end(status_command(as_json))


@worker_app.command("queue")
def worker_queue(as_json: Json = False) -> None:
    """List its jobs: the one that runs, those that wait, those that ended lately."""
    from tui.cli.worker import queue_command

    end(queue_command(as_json))


@worker_app.command("prune")
def worker_prune(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Jobs that wait, as `queue` names them.")],
    as_json: Json = False,
) -> None:
    """Take waiting jobs off the queue."""
    from tui.cli.worker import prune_command

    end(prune_command(jobs, as_json))


@worker_app.command("stop")
def worker_stop(as_json: Json = False) -> None:
    """Have it stop now; what is finished is saved."""
    from tui.cli.worker import stop_command

    end(stop_command(as_json))


@worker_app.command("restart")
def worker_restart(as_json: Json = False) -> None:
    """Have it finish its queue and end, then start a new one; after an upgrade, say."""
    from tui.cli.worker import restart_command

    end(restart_command(as_json))


@worker_app.command("logs")
def worker_logs(
    lines: Annotated[int, typer.Option(min=1, help="How many, from the end.", metavar="N")] = 50,
    as_json: Json = False,
) -> None:
    """Print the last lines of its log."""
    from tui.cli.worker import logs_command

    end(logs_command(lines, as_json))
