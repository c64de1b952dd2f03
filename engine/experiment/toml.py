"""Experiment files as TOML, in and out."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, cast

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.values import plain_number

_ALWAYS_WRITTEN = {
    "model": {"name", "device", "dtype"},
    "prompts": {"sets", "prepend_bos"},
    "interventions": {"site", "op", "unit", "positions"},
    "generation": {"tokens", "mode", "stop_at_eos"},
    "capture": {"sites", "reduce", "positions", "residual"},
    "planes": set[str](),
    "spotlight": {"angles", "thresholds"},
    "controls": set[str](),
    "survey": set[str](),
    "analysis": set[str](),
    "execution": set[str](),
}
"""Keys that a written file shows even at their default."""

_DEEPEST = 100
"""Dots of a key; the parser takes the square of them."""
_KEY = r"(?:[\w-]+|\"[^\"]*\"|'[^']*')"
_DOTTED = re.compile(rf"[\s\[]*{_KEY}(?:\s*\.\s*{_KEY}){{{_DEEPEST}}}")
_PLACE = re.compile(r"(.*?)\s*\(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def parse(text: str, where: str) -> dict[str, Any]:
    """Read TOML into plain data; ExplorerError for broken TOML, with its line and column."""
    try:
        if any(line.count(".") > _DEEPEST and _DOTTED.match(line) for line in text.splitlines()):
            raise RecursionError
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        match = _PLACE.fullmatch(str(error))
        what = match[1] if match else str(error)
        end = text.rstrip().count("\n") + 1
        line = f"line {match[2]}, column {match[3]}" if match and match[2] else f"line {end}, the end of the file"
        remedy = "text stands in quotes, lists in [ ]; `#` begins a comment"
        raise ExplorerError(
            f"broken TOML: {what}", where=f"{where}, {line}" if where else line, remedy=remedy
        ) from None
    except (RecursionError, ValueError) as error:
        what = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise ExplorerError(f"broken TOML: {what}", where=where, remedy="write it as the shipped presets are") from None


def write(full: dict[str, Any], explicit: dict[str, Any]) -> str:
    """Write plain data as TOML, a table a paragraph: every field, and the same without those at their default."""
    top = [f"{name} = {literal(value)}" for name, value in explicit.items() if not _is_table(value)]
    paragraphs = ["\n".join(top)] if top else []
    for name, value in full.items():
        if isinstance(value, dict):
            if name not in explicit and not _ALWAYS_WRITTEN[name]:
                continue
            explicit_table = explicit.get(name, {})
            paragraphs.append(_table(f"[{name}]", name, cast("dict[str, Any]", value), explicit_table))
        elif _is_table(value):
            for full_table, explicit_table in zip(value, explicit.get(name, ()), strict=True):
                paragraphs.append(_table(f"[[{name}]]", name, full_table, explicit_table))
    return "\n\n".join(paragraphs) + "\n"


def _is_table(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, dict) for item in cast("list[object]", value))
    return isinstance(value, dict)


def _table(header: str, name: str, full: dict[str, Any], explicit: dict[str, Any]) -> str:
    shown = _ALWAYS_WRITTEN[name]
    return "\n".join([header, *(f"{key} = {literal(full[key])}" for key in full if key in explicit or key in shown)])


def literal(value: object) -> str:
    """Write a value of plain data as TOML does: a number, a text in quotes, a list, a table on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(plain_number(value))
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, dict):
        pairs = (f"{_key(name)} = {literal(item)}" for name, item in cast("dict[str, object]", value).items())
        return "{ " + ", ".join(pairs) + " }"
    return "[" + ", ".join(literal(item) for item in cast("list[object]", value)) + "]"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _string(name)


def _string(text: str) -> str:
    # Control characters are the one thing that TOML escapes and JSON may leave as it is (DEL); no spec holds one.
    return json.dumps(text, ensure_ascii=False)
