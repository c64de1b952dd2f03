"""`srm-explorer` alone, and `open`: the full screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from srm_explorer.engine import paths
from srm_explorer.tui.cli.output import note, visible
from srm_explorer.tui.explorer.startup import LaunchOptions
from srm_explorer.tui.settings import load_settings


def open_command(
    session: str | None, spec: str | None, prompts: Sequence[str], settings: Mapping[str, str] | None = None
) -> int:
    """Open the full screen; return the exit status.

    Raises:
        ExplorerError: there is no such session, experiment or file, or a setting is wrong; told before it opens.
    """
    path = None
    typed = settings or {}
    if typed:
        folder = load_settings(command_line=typed).sessions
        if "sessions" in typed:
            # Where everything that this process starts finds it too.
            os.environ["SRM_EXPLORER_SESSIONS"] = folder
    # Imported where there is something to read: without it the first frame is painted before numpy is loaded.
    if session is not None:
        from srm_explorer.engine.session import load_session

        path = load_session(paths.session_path(session)).path
    if spec is not None:
        from srm_explorer.engine.experiment import read_experiment

        read_experiment(spec)
    if prompts:
        from srm_explorer.engine.prompts import load_prompt_set

        for name in prompts:
            load_prompt_set(str(paths.absolute(paths.expanded(name))), folders=[], base=paths.working_folder())
    return open_explorer(LaunchOptions(path, spec, tuple(prompts), typed))


def has_terminal() -> bool:
    """Whether there is something to show the screen on: a terminal, or what Textual was told to use instead."""
    if os.environ.get("TEXTUAL_DRIVER"):
        return True
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def open_explorer(start: LaunchOptions | None = None) -> int:
    """Show the full screen until it is left; return the exit status.

    Without a terminal one line says what can be done instead, and the status is 2.
    """
    if not has_terminal():
        if sys.stdin.isatty() and sys.stdout.isatty():
            kind = f"TERM is {visible(os.environ['TERM'])!r}" if os.environ.get("TERM") else "TERM is not set"
            note(f"the full screen needs to know the terminal, and {kind}; try `TERM=xterm-256color srm-explorer`")
        else:
            note("the full screen needs a terminal; `srm-explorer --help` lists the commands that do without one")
        return 2
    from srm_explorer.tui.app import run_app

    return run_app(start)
