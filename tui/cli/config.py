"""`srm-explorer config` and `schema`: the settings file, where each value comes from, and what files may hold."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.io.files import write_atomic
from srm_explorer.tui.cli.output import note, say, say_json, table, table_width, visible
from srm_explorer.tui.settings import (
    NAMES,
    TEMPLATE,
    Settings,
    load_settings,
    settings_path,
    settings_schema,
    unknown_keys,
    variable,
)

DEFAULT = "default"


def path_command() -> None:
    """Print where the settings file is, or would be."""
    say(str(settings_path()))


def init_command(overwrite: bool) -> None:
    """Write a file of all settings at their defaults; one that is there is replaced only where that was asked for."""
    file = settings_path()
    if os.path.lexists(file) and not overwrite and not _is_default(file):
        remedy = "edit it, or write the defaults over it with --overwrite"
        raise ExplorerError("there is a settings file already", where=str(file), remedy=remedy)
    write_atomic(file, TEMPLATE.encode())
    say(f"every setting at its default, in {visible(str(file))}")


def _is_default(file: Path) -> bool:
    """Whether a file is as it would be written, as after a call that was killed once it was there."""
    try:
        return file.read_bytes() == TEMPLATE.encode()
    except OSError:
        return False


def schema_command(kind: Literal["session", "experiment", "settings"]) -> None:
    """Print the JSON Schema of a file of ours."""
    if kind == "settings":
        made = settings_schema()
    else:
        # The settings need neither numpy nor pydantic.
        from srm_explorer.engine.session.schema import schema

        made = schema(kind)
    say(json.dumps(made, ensure_ascii=False, indent=2))


def show_command(typed: dict[str, str], as_json: bool) -> int:
    """Print every setting with where it comes from; return 1 where something that was set is wrong."""
    settings = load_settings(command_line=typed)
    problems = list(settings.problems)
    if settings.keys:
        # It imports every widget that has keys.
        from srm_explorer.tui.keys import known_ids

        problems += unknown_keys(settings, known_ids())
    file = settings_path()
    rows = [_row(settings, name) for name in NAMES if name != "keys"]
    rows += [
        {"name": f"keys.{binding}", "value": keys, "origin": settings.origins[f"keys.{binding}"], "default": None}
        for binding, keys in settings.keys.items()
    ]
    if as_json:
        say_json({"file": file, "exists": file.is_file(), "settings": rows, "problems": problems}, "settings")
    else:
        cells = [(row["name"], str(row["value"]), row["origin"]) for row in rows]
        say(*table(("setting", "value", "from"), cells, width=table_width(), flexible=1))
        say("", f"file: {visible(str(file))}" + ("" if file.is_file() else " (not there; `srm-explorer config init`)"))
    for line in problems:
        note(line)
    return int(bool(problems))


def _row(settings: Settings, name: str) -> dict[str, Any]:
    value, default = getattr(settings, name), getattr(Settings(), name)
    if name == "sessions":
        value = str(paths.absolute(paths.expanded(value)) if value else paths.sessions_folder())
        default = str(paths.default_sessions_folder())
    row = {"name": name, "value": value, "origin": settings.origins.get(name, DEFAULT), "default": default}
    return {**row, "variable": variable(name)}
