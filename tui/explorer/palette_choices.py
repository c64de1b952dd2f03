"""What can be begun with or opened by name from the command palette."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import available_presets, read_experiment
from srm_explorer.engine.session import sessions_in
from srm_explorer.tui.palette import Command


def commands_of(begin: Callable[[dict[str, Any], str, Path], None], look: Callable[[Path], None]) -> list[Command]:
    """The presets and the sessions as commands of the palette; reads folders.

    Args:
        begin: takes an experiment: its data, its name, and where its relative paths start.
        look: opens a session's file.
    """
    found: list[Command] = []
    for name in available_presets():
        experiment, source = read_experiment(name)
        load = functools.partial(begin, experiment.to_dict(), source.name, source.base)
        found.append(Command(f"preset {name}", "Begin with this experiment", load))
    for path in sessions_in(paths.sessions_folder()):
        found.append(Command(f"session {path.stem}", "Open this session", functools.partial(look, path)))
    return found
