"""Fields of plain JSON data, taken out with their type checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import numpy as np

T = TypeVar("T")


class DamagedError(Exception):
    """Data that is not what was written; `str` names the field and what it should hold."""

    def within(self, place: str) -> DamagedError:
        """The same with the place of the record that the field belongs to."""
        return DamagedError(f"{place}.{self}")


def take(data: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """The field of a record; a truth value is no int."""
    try:
        value = data[key]
    except KeyError:
        raise DamagedError(f"{key} is missing") from None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DamagedError(f"{key} is no {_NAMES.get(kind, kind.__name__)}")
    return value


def take_list(data: Mapping[str, Any], key: str) -> list[Any]:
    """A list of whatever."""
    return cast("list[Any]", take(data, key, list))


def take_table(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A table of whatever."""
    return cast("dict[str, Any]", take(data, key, dict))


def take_choice(data: Mapping[str, Any], key: str, allowed: tuple[T, ...]) -> T:
    """A field that holds one of a few texts."""
    value = take(data, key, object)
    if value not in allowed:
        raise DamagedError(f"{key} is none of {', '.join(map(str, allowed))}")
    return cast("T", value)


def take_ints(data: Mapping[str, Any], key: str) -> tuple[int, ...]:
    """A list of whole numbers."""
    values = take_list(data, key)
    # A set of types takes a tenth of the time of a loop, and a large session holds 100,000 of these numbers.
    if not {int}.issuperset(map(type, values)):
        raise DamagedError(f"{key} is no list of whole numbers")
    return tuple(values)


def take_floats(data: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """A list of numbers, as `plain_floats` wrote them."""
    return tuple(as_float(value, key) for value in take_list(data, key))


def take_float_or_none(data: Mapping[str, Any], key: str) -> float | None:
    """A number or null."""
    value = take(data, key, object)
    return None if value is None else as_float(value, key)


def take_texts(data: Mapping[str, Any], key: str) -> dict[str, str]:
    """A table of texts."""
    table = take_table(data, key)
    if any(type(value) is not str for value in table.values()):
        raise DamagedError(f"{key} is no table of texts")
    return table


def take_records(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of tables."""
    values = take_list(data, key)
    if any(type(value) is not dict for value in values):
        raise DamagedError(f"{key} is no list of tables")
    return values


def as_float(value: object, key: str) -> float:
    """A number as `plain_float` wrote it."""
    if type(value) is float or type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise DamagedError(f"{key} is too large") from None
    if value in _NOT_FINITE:
        return float(cast("str", value))
    raise DamagedError(f"{key} is no number")


def plain_float(value: float) -> float | str:
    """A number for JSON, which has no word for what is not finite: that becomes "nan", "inf" or "-inf"."""
    return value if math.isfinite(value) else str(value)


def json_line(data: object) -> bytes:
    """Plain data as JSON on one line: numbers that are not finite as `plain_float`, arrays as lists, in UTF-8.

    A half of a surrogate pair, which UTF-8 cannot hold and a model's text may, is written as JSON's own escape.
    """
    text = json.dumps(_jsonable(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def _jsonable(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        value = cast("object", value.tolist())
    if isinstance(value, float):
        return plain_float(value)
    if isinstance(value, Mapping):
        return {str(name): _jsonable(item) for name, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in cast("list[object]", value)]
    return value


_NOT_FINITE = ("nan", "inf", "-inf")
_NAMES: dict[type, str] = {int: "whole number", str: "text", list: "list", dict: "table", bool: "truth value"}
