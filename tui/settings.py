"""What a user has set: on the command line, in the environment, in a TOML file; mistakes never stop the screen."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import open_regular, write_atomic

Markers = Literal["braille", "block", "ascii"]
GlyphMode = Literal["unicode", "ascii"]
Bell = Literal["none", "bell", "osc9"]
Pictures = Literal["auto", "on", "off"]

THEMES = (
    *("dark", "light", "terminal", "textual-dark", "textual-light", "nord", "gruvbox", "catppuccin-mocha", "dracula"),
    *("tokyo-night", "monokai", "flexoki", "catppuccin-latte", "catppuccin-frappe", "catppuccin-macchiato"),
    *("solarized-light", "solarized-dark", "rose-pine", "rose-pine-moon", "rose-pine-dawn", "atom-one-dark"),
    *("atom-one-light", "ansi-dark", "ansi-light"),
)
"""Ours, of which "terminal" has the terminal's own colours, and Textual's by their names."""
CHOICES: dict[str, tuple[str, ...]] = {
    "theme": THEMES,
    "markers": ("braille", "block", "ascii"),
    "glyphs": ("unicode", "ascii"),
    "bell": ("none", "bell", "osc9"),
    "pictures": ("auto", "on", "off"),
}
"""What settings may be that are one of some words."""
_KEYS, _HINTS, _SESSIONS = "keys", "hints_left", "sessions"
NAMES = (*CHOICES, _HINTS, _SESSIONS, _KEYS)
"""All settings, as the file has them."""
PREFIX = "SRM_EXPLORER_"
_OTHERS = ("SRM_EXPLORER_DATA",)
"""Variables that are no settings: where published vectors are, for tools and tests."""
USES = 3
"""Uses of the screen with the line of first hints, where nothing is set."""
_MOST = 5
"""Mistakes that are told one by one."""
_LARGEST, _DEEPEST = paths.LARGEST_SETTINGS, 100
"""Bytes of a file, and dots of a line: no settings have more, and parsing takes the square of either."""

TEMPLATE = """\
# srm-explorer: what the full screen looks like, and its keys. A line that is wrong is told on the screen and left out.
# The variable SRM_EXPLORER_THEME, and so for each, goes before what stands here, and the command line before both:
# `srm-explorer --theme nord`, `--setting bell=bell`. `srm-explorer config show` tells where each value comes from.

theme = "dark"          # dark, light, terminal (the terminal's own colours), or one of Textual's: nord, gruvbox, ...
markers = "braille"     # what charts are drawn with: braille, block, ascii
glyphs = "unicode"      # unicode, ascii (where the font lacks the signs)
bell = "none"           # at the end of a run: none, bell, osc9 (a notification of the terminal)
pictures = "auto"       # charts as pictures, in terminals that show them: auto (not over SSH or in tmux), on, off
hints_left = 3          # uses until the line of first hints goes; 0 and it is gone
# sessions = "~/runs"   # where sessions are; else ./saved_sessions where it is there, else with the user's other data

[keys]                  # other keys for an action, by its name, which `srm-explorer keys` lists
# "results.turn_left" = "left,h"
"""


@dataclass(frozen=True)
class Settings:
    """What a user has set, defaults where nothing valid is.

    Attributes:
        theme: colours: a dark or light theme, those of the terminal, or a theme of Textual's.
        markers: what charts are drawn with.
        glyphs: which signs the screen draws.
        bell: what happens at the end of a run.
        pictures: whether charts are drawn as pictures, where the terminal shows any.
        hints_left: in how many more uses the line of first hints is shown.
        sessions: the folder of sessions, as it was written; empty for the default.
        keys: by the id of a binding, the keys it has instead of its own, separated by commas.
        problems: what is wrong with what was set, a line each.
        origins: by its name, or "keys." and the id of a binding, where a setting that was set comes from: the file with
            its line, a variable, an option of the command line.
    """

    theme: str = "dark"
    markers: Markers = "braille"
    glyphs: GlyphMode = "unicode"
    bell: Bell = "none"
    pictures: Pictures = "auto"
    hints_left: int = USES
    sessions: str = ""
    keys: Mapping[str, str] = field(default_factory=dict[str, str])
    problems: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)


def settings_path() -> Path:
    """The user's settings file, which need not exist."""
    return paths.settings_file()


def variable(name: str) -> str:
    """The variable of the environment that a setting is taken from."""
    return f"{PREFIX}{name.upper()}"


def load_settings(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    command_line: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings: the command line goes before the environment, that before the file, that before defaults.

    What is missing or wrong has what goes after it, and what is wrong is in `problems`.

    Args:
        path: the file; the user's own by default.
        environment: variables, SRM_EXPLORER_THEME and so on; the process's by default, of whose an empty one is none.
        command_line: by the name of a setting, what was typed.

    Raises:
        ExplorerError: what was typed is wrong; it is told before anything is shown.
    """
    taking = _Taking()
    _take_file(path or settings_path(), taking)
    variables = os.environ if environment is None else environment
    for name in NAMES:
        text = variables.get(variable(name), "").strip()
        if text:
            taking.take_text(name, text, variable(name))
    known = frozenset((*map(variable, NAMES), *_OTHERS))
    for name in sorted(name for name in variables if name.startswith(PREFIX) and name not in known):
        meant = _meant(name, known) or "; `srm-explorer config show --json` names those that there are"
        taking.problems.append(f"{name:.60}: there is no such setting{meant}")
    problems = len(taking.problems)
    for name, text in (command_line or {}).items():
        taking.take_text(name, text, f"--setting {name}" if name != "theme" else "--theme")
    if len(taking.problems) > problems:
        raise ExplorerError(taking.problems[problems])
    return taking.settings()


class _Taking:
    """Takes settings one after the other, each over what was taken before."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []

    def settings(self) -> Settings:
        told = (*self.problems[:_MOST], *_rest(self.problems, "settings"))
        return Settings(**self.values, problems=told, origins=self.origins)

    def take_text(self, name: str, text: str, where: str) -> None:
        """Take what was typed, or stands in a variable."""
        if name == _KEYS:
            entries = [part.partition("=") for part in text.split(";") if part.strip()]
            self.take(name, {binding.strip(): keys.strip() for binding, _, keys in entries}, where)
        elif name == _HINTS:
            self.take(name, int(text) if text.isdecimal() and text.isascii() else text, where)
        else:
            self.take(name, text, where)

    def take(self, name: str, value: object, where: str, line: Callable[[str], str] = lambda _: "") -> None:
        """Take a setting; `line` tells where in a file something of it stands."""
        if name == _KEYS:
            self._take_keys(value, where, line)
        elif name == _HINTS:
            is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1_000
            self._keep(name, value, where, "" if is_number else "write a number from 0 to 999")
        elif name == _SESSIONS:
            is_folder = isinstance(value, str) and value.strip() and value.isprintable()
            self._keep(name, value, where, "" if is_folder else 'write a folder, as "~/runs"')
        elif name not in CHOICES:
            meant = _meant(name, frozenset(NAMES)) if len(self.problems) < _MOST else ""
            self.problems.append(f"{where}: unknown key '{name:.60}'{meant or '; choose ' + ', '.join(NAMES)}")
        elif name == "theme" and isinstance(value, str):
            self._keep(name, value, where, "" if is_theme(value) else _meant_theme(value))
        else:
            self._keep(name, value, where, "" if value in CHOICES[name] else f"choose {', '.join(CHOICES[name])}")

    def _keep(self, name: str, value: Any, where: str, problem: str) -> None:
        if problem:
            self.problems.append(f"{where}: {name} = {value!r:.60} is not allowed; {problem}")
            return
        self.values[name] = value
        self.origins[name] = where

    def _take_keys(self, value: object, where: str, line: Callable[[str], str]) -> None:
        if not isinstance(value, dict):
            self.problems.append(f"{where}: keys is not a table; write it under [keys]")
            return
        for name, typed in cast("dict[str, object]", value).items():
            place = f"{where}{line(name)}"
            if name and isinstance(typed, str) and all(part.strip() for part in typed.split(",")):
                keys = ",".join(part.strip() for part in typed.split(","))
                self.values["keys"] = {**self.values.get("keys", {}), name: keys}
                self.origins[f"keys.{name}"] = self.origins["keys"] = place
            else:
                self.problems.append(f'{place}: keys."{name:.60}" is not a list of keys; write "left,h"')


def settings_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the settings file, as TOML gives it."""
    properties: dict[str, Any] = {name: {"enum": list(choices)} for name, choices in CHOICES.items()}
    keys = {"type": "string", "pattern": r"^[^,]*[^,\s][^,]*(,[^,]*[^,\s][^,]*)*$"}
    properties |= {
        _HINTS: {"type": "integer", "minimum": 0, "maximum": 999},
        _SESSIONS: {"type": "string", "pattern": r"\S"},
        _KEYS: {"type": "object", "additionalProperties": keys},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of srm-explorer",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def is_theme(name: str) -> bool:
    """Whether there is a theme of this name; one that is none of `THEMES` may be of a newer Textual."""
    if name in THEMES:
        return True
    from textual.theme import BUILTIN_THEMES  # only where a name is not ours

    return name in BUILTIN_THEMES


def _meant_theme(name: str) -> str:
    near = _meant(name, frozenset(THEMES)).removeprefix("; ")
    return near or f"choose {', '.join(THEMES[:3])}, or a theme of Textual's: {', '.join(THEMES[5:8])}, ..."


def _take_file(file: Path, taking: _Taking) -> None:
    problems = taking.problems
    try:
        with open_regular(file) as opened:
            text = opened.read(_LARGEST + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(f"{file.name} cannot be read: {(error.strerror or str(error)).lower()}")
        return
    if len(text) > _LARGEST or any(
        line.count(b".") > _DEEPEST for line in text.splitlines() if not line.lstrip().startswith(b"#")
    ):
        problems.append(f"{file.name} is longer, or deeper nested, than settings are; the defaults hold")
        return
    # Parsing costs time before the first frame, which only those pay who have settings.
    import tomllib

    try:
        decoded = text.decode("utf-8-sig")
        table = tomllib.loads(decoded)
    except (ValueError, RecursionError) as error:
        what = "it is too deeply nested" if isinstance(error, RecursionError) else error
        problems.append(f"{file.name} is no TOML: {what}; the defaults hold")
        return
    lines = decoded.splitlines()

    def line(name: str) -> str:
        begins = re.compile(rf"""[ \t]*\[?[ \t]*["']?{re.escape(name)}["']?[ \t]*[\]=.]""")
        number = next((at for at, text in enumerate(lines, 1) if begins.match(text)), 0)
        return f", line {number}" if number else ""

    for name, value in table.items():
        taking.take(name, value, file.name if name == _KEYS else f"{file.name}{line(name)}", line)


def count_use(path: Path | None = None) -> None:
    """Take note, in the user's file, that a screen with the line of first hints was used; the rest of it stays.

    A file that is no TOML is left alone, and so is one that the number cannot be written into.

    Args:
        path: the file; the user's own by default.

    Raises:
        ExplorerError: it cannot be written.
    """
    file = (path or settings_path()).resolve()
    left = load_settings(file, environment={}).hints_left
    if left < 1:
        return
    try:
        before = file.read_text("utf-8-sig") if file.exists() else TEMPLATE
    except (OSError, ValueError):
        return
    _write_setting(file, before, _HINTS, str(left - 1))


def keep_theme(theme: str, path: Path | None = None) -> bool:
    """Write a theme into the user's file; the rest of it stays.

    Returns:
        Whether it is there now: a file that is no TOML is left alone.

    Raises:
        ExplorerError: it cannot be written.
    """
    file = (path or settings_path()).resolve()
    try:
        before = file.read_text("utf-8-sig") if file.exists() else TEMPLATE
    except (OSError, ValueError):
        return False
    return _write_setting(file, before, "theme", f'"{theme}"')


def _write_setting(file: Path, before: str, name: str, value: str) -> bool:
    """Write one value into the text of a file; False where that cannot be done without changing anything else."""
    after = {**_parsed(before), **_parsed(f"{name} = {value}")}
    line = re.compile(rf"^({name}[ \t]*=[ \t]*)(?:\d+|\"[^\"\n]*\"|'[^'\n]*')", re.MULTILINE)
    text = line.sub(rf"\g<1>{value}", before, count=1)
    if text == before and _parsed(before) != after:
        # Before the first table: what stands below its heading is a part of it.
        text = re.sub(r"(?m)^(?=[ \t]*\[)|\Z", f"{name} = {value}\n", _ended(before), count=1)
    if _parsed(text) != after:
        return False
    write_atomic(file, text.encode())
    return True


def _ended(text: str) -> str:
    return text if text.endswith("\n") or not text else f"{text}\n"


def _parsed(text: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


def unknown_keys(settings: Settings, known: frozenset[str]) -> list[str]:
    """Say which entries of the keys table name no binding.

    Args:
        settings: as read.
        known: the ids of all bindings.
    """
    unknown = [name for name in settings.keys if name not in known]
    told = [f"settings: there is no key named '{name}'{_meant(name, known)}" for name in unknown[:_MOST]]
    return [*told, *_rest(unknown, "settings")]


def _rest(problems: Sequence[str], where: str) -> list[str]:
    return [f"{where}: {len(problems) - _MOST:,} more lines are wrong"] if len(problems) > _MOST else []


def _meant(name: str, known: frozenset[str]) -> str:
    # Only a mistake needs it, and the first frame waits for what is imported with this module.
    from difflib import get_close_matches

    close = get_close_matches(name, sorted(known), 1)
    return f"; did you mean '{close[0]}'?" if close else ""
