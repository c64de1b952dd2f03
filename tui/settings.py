"""What a user has set: a TOML file whose mistakes are told and never stop the program."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from srm_explorer.engine import paths
from srm_explorer.engine.io.files import open_regular, write_atomic

Theme = Literal["dark", "light", "terminal"]
Markers = Literal["braille", "block", "ascii"]
GlyphMode = Literal["unicode", "ascii"]
Bell = Literal["none", "bell", "osc9"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "theme": ("dark", "light", "terminal"),
    "markers": ("braille", "block", "ascii"),
    "glyphs": ("unicode", "ascii"),
    "bell": ("none", "bell", "osc9"),
}
_KEYS, _HINTS = "keys", "hints_left"
USES = 3
"""Uses of the screen with the line of first hints, where nothing is set."""
_MOST = 5
"""Mistakes that are told one by one."""
_LARGEST, _DEEPEST = 65_536, 100
"""Bytes of a file, and dots of a line: no settings have more, and parsing takes the square of either."""

TEMPLATE = """\
# srm-explorer: what the full screen looks like, and its keys. A line that is wrong is told on the screen and left out.

theme = "dark"          # dark, light, terminal (the terminal's own colours)
markers = "braille"     # what charts are drawn with: braille, block, ascii
glyphs = "unicode"      # unicode, ascii (where the font lacks the signs)
bell = "none"           # at the end of a run: none, bell, osc9 (a notification of the terminal)
hints_left = 3          # uses until the line of first hints goes; 0 and it is gone

[keys]                  # other keys for an action, by its name, which `srm-explorer keys` lists
# "results.turn_left" = "left,h"
"""


@dataclass(frozen=True)
class Settings:
    """What a user has set, defaults where nothing valid is.

    Attributes:
        theme: colours: a dark or light theme, or those of the terminal.
        markers: what charts are drawn with.
        glyphs: which signs the screen draws.
        bell: what happens at the end of a run.
        hints_left: in how many more uses the line of first hints is shown.
        keys: by the id of a binding, the keys it has instead of its own, separated by commas.
        problems: what is wrong with the file, a line each.
    """

    theme: Theme = "dark"
    markers: Markers = "braille"
    glyphs: GlyphMode = "unicode"
    bell: Bell = "none"
    hints_left: int = USES
    keys: Mapping[str, str] = field(default_factory=dict[str, str])
    problems: tuple[str, ...] = ()


def settings_path() -> Path:
    """The user's settings file, which need not exist."""
    return paths.config_folder() / "settings.toml"


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings; what is missing or wrong has its default, and what is wrong is in `problems`.

    Args:
        path: the file; the user's own by default.
    """
    file = path or settings_path()
    try:
        with open_regular(file) as opened:
            text = opened.read(_LARGEST + 1)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        return Settings(problems=(f"{file.name} cannot be read: {(error.strerror or str(error)).lower()}",))
    if len(text) > _LARGEST or any(
        line.count(b".") > _DEEPEST for line in text.splitlines() if not line.lstrip().startswith(b"#")
    ):
        return Settings(problems=(f"{file.name} is longer, or deeper nested, than settings are; the defaults hold",))
    # Parsing costs time before the first frame, which only those pay who have settings.
    import tomllib

    try:
        return _taken(tomllib.loads(text.decode("utf-8-sig")), file.name)
    except (ValueError, RecursionError) as error:
        what = "it is too deeply nested" if isinstance(error, RecursionError) else error
        return Settings(problems=(f"{file.name} is no TOML: {what}; the defaults hold",))


def count_use(path: Path | None = None) -> None:
    """Take note, in the user's file, that a screen with the line of first hints was used; the rest of it stays.

    A file that is no TOML is left alone, and so is one that the number cannot be written into.

    Args:
        path: the file; the user's own by default.

    Raises:
        ExplorerError: it cannot be written.
    """
    file = (path or settings_path()).resolve()
    left = load_settings(file).hints_left
    if left < 1:
        return
    try:
        before = file.read_text("utf-8-sig") if file.exists() else TEMPLATE
    except (OSError, ValueError):
        return
    line = re.compile(rf"^{_HINTS}([ \t]*=[ \t]*)\d+", re.MULTILINE)
    text = line.sub(rf"{_HINTS}\g<1>{left - 1}", before, count=1)
    if text == before:
        # Before the first table: what stands below its heading is a part of it.
        text = re.sub(r"(?m)^(?=[ \t]*\[)|\Z", f"{_HINTS} = {left - 1}\n", _ended(before), count=1)
    if _parsed(text) == {**_parsed(before), _HINTS: left - 1}:
        write_atomic(file, text.encode())


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


def editor_command() -> list[str]:
    """The user's editor with its arguments, as $VISUAL or $EDITOR names it, else `vi`."""
    import shlex

    for name in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(os.environ.get(name, ""))
        except ValueError:
            continue
        if words:
            return words
    return ["vi"]


def _taken(table: Mapping[str, Any], where: str) -> Settings:
    chosen: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in table.items():
        if name == _KEYS:
            chosen["keys"] = _keymap(value, where, problems)
        elif name == _HINTS:
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1_000:
                chosen[_HINTS] = value
            else:
                problems.append(f"{where}: {_HINTS} = {value!r:.60} is not allowed; write a number from 0 to 999")
        elif name not in _CHOICES:
            meant = _meant(name, frozenset((*_CHOICES, _KEYS, _HINTS))) if len(problems) < _MOST else ""
            problems.append(f"{where}: unknown key '{name:.60}'{meant}")
        elif value in _CHOICES[name]:
            chosen[name] = value
        else:
            problems.append(f"{where}: {name} = {value!r:.60} is not allowed; choose {', '.join(_CHOICES[name])}")
    return Settings(**chosen, problems=(*problems[:_MOST], *_rest(problems, where)))


def _rest(problems: Sequence[str], where: str) -> list[str]:
    return [f"{where}: {len(problems) - _MOST:,} more lines are wrong"] if len(problems) > _MOST else []


def _keymap(value: object, where: str, problems: list[str]) -> dict[str, str]:
    if not isinstance(value, dict):
        problems.append(f"{where}: keys is not a table; write it under [keys]")
        return {}
    keys: dict[str, str] = {}
    for name, typed in cast("dict[str, object]", value).items():
        if isinstance(typed, str) and all(part.strip() for part in typed.split(",")):
            keys[name] = ",".join(part.strip() for part in typed.split(","))
        else:
            problems.append(f'{where}: keys."{name:.60}" is not a list of keys; write "left,h"')
    return keys


def _meant(name: str, known: frozenset[str]) -> str:
    # Only a mistake needs it, and the first frame waits for what is imported with this module.
    from difflib import get_close_matches

    close = get_close_matches(name, sorted(known), 1)
    return f"; did you mean '{close[0]}'?" if close else ""
