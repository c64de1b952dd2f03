"""JSONL prompt files: an object, or a bare string, on every line."""

from __future__ import annotations

import json
from typing import cast

from engine.prompts.prompt_set import Prompt
from engine.prompts.record import factor_name, prompt_field, prompt_of
from engine.prompts.source import Source, shown

_REMEDY = 'write {"prompt": "…"} with one string or number per factor'


class _Number(str):
    """A number as written: as a level it must not lose digits on the way."""

    __slots__ = ()


class _RepeatedKeyError(ValueError):
    """An object names a key twice, and JSON keeps the last in silence."""


def is_jsonl(source: Source) -> bool:
    """Whether the first line with something on it is a JSON object that has a prompt."""
    first = next((line for _, line in source.stripped() if line), "")
    try:
        record = _decode(first) if first.startswith("{") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and prompt_field(cast("dict[str, object]", record)) is not None


def parse_jsonl(source: Source) -> list[Prompt]:
    """Read one JSON value a line: an object with a `prompt` or `text` and scalar factors, or the text itself.

    Texts are kept exactly. A number or truth value becomes the string JSON writes; a factor that is null is left out.
    """
    broken = {problem.line for problem in source.problems}
    prompts: list[Prompt] = []
    for number, line in source.stripped():
        if not line:
            source.report(number, "the line is blank", "it is skipped")
        elif number not in broken:
            prompt = _prompt(source, number, line)
            if prompt:
                prompts.append(prompt)
    return prompts


def _prompt(source: Source, number: int, line: str) -> Prompt | None:
    try:
        value = _decode(line)
    except _RepeatedKeyError as error:
        return source.report(number, f"the key {shown(str(error))} occurs twice", "rename one of them", fatal=True)
    except (ValueError, RecursionError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else "too deeply nested"
        column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        return source.report(number, f"this is not JSON ({what}{column})", _REMEDY, fatal=True)
    record = {"prompt": value} if isinstance(value, str) and not isinstance(value, _Number) else value
    if not isinstance(record, dict):
        return source.report(number, f"{shown(line)} is no object and no string", _REMEDY, fatal=True)
    return _from_record(source, number, cast("dict[str, object]", record))


def _from_record(source: Source, number: int, record: dict[str, object]) -> Prompt | None:
    key = prompt_field(record)
    if key is None:
        found = ", ".join(record) or "none"
        return source.report(number, f"no `prompt` or `text` among the keys ({shown(found)})", _REMEDY, fatal=True)
    text = record[key]
    if not isinstance(text, str) or isinstance(text, _Number):
        return source.report(number, f"the value of `{key}` is no string", _REMEDY, fatal=True)
    factors: dict[str, str] = {}
    for name, value in record.items():
        if name == key or value is None:
            continue
        if isinstance(value, (dict, list)):
            return source.report(number, f"the factor {shown(name)} is nested", _REMEDY, fatal=True)
        if not factor_name(name) or factor_name(name) in factors:
            what = f"the factor name {shown(name)} is empty or occurs twice"
            return source.report(number, what, "rename it", fatal=True)
        factors[factor_name(name)] = str(value) if isinstance(value, str) else json.dumps(value)
    usable = all(source.check_value(number, part) for part in (text, *factors, *factors.values()))
    return prompt_of(source, number, text, factors) if usable else None


def _decode(line: str) -> object:
    return json.loads(line, object_pairs_hook=_unique, parse_int=_Number, parse_float=_Number, parse_constant=_Number)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record: dict[str, object] = {}
    for key, value in pairs:
        if key in record:
            raise _RepeatedKeyError(key)
        record[key] = value
    return record
