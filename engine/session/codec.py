"""Records as JSON and back: dataclasses are written by their fields, and read and checked by pydantic."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar, cast

import numpy as np
from pydantic import GetPydanticSchema, Strict, TypeAdapter, ValidationError
from pydantic_core import core_schema

T = TypeVar("T")

Text: TypeAlias = Annotated[str, Strict()]
Whole: TypeAlias = Annotated[int, Strict()]
"""A whole number; a truth value is none."""

_NOT_FINITE = ["nan", "inf", "-inf"]
_NUMBER = core_schema.union_schema(
    [
        core_schema.float_schema(strict=True),
        core_schema.no_info_after_validator_function(float, core_schema.literal_schema(_NOT_FINITE)),
    ],
    mode="left_to_right",
    custom_error_type="number",
    custom_error_message="no number",
)
Number: TypeAlias = Annotated[float, GetPydanticSchema(lambda _kind, _handler: _NUMBER)]
"""A number as `plain` writes it."""

Table: TypeAlias = dict[str, Any]


class DamagedError(Exception):
    """Data that is not what was written; `str` names the field and what it should hold."""


def read_record(kind: type[T], data: object, name: str = "") -> T:
    """Read what `plain` made of a dataclass, or of another type, from parsed JSON; unknown fields are left out.

    Args:
        kind: its fields are of the types above, so that nothing is converted that was not written that way.

    Raises:
        DamagedError: names the first field that is missing or of another type.
    """
    try:
        return _adapter(kind).validate_python(data)
    except ValidationError as error:
        raise DamagedError(_problem(error, name)) from None


@functools.cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    # Made when the first record of a kind is read: a schema takes milliseconds, which no start should wait for.
    return TypeAdapter(kind)


def _problem(error: ValidationError, name: str) -> str:
    first = cast("Mapping[str, Any]", error.errors(include_url=False)[0])
    where = name
    for step in first["loc"]:
        where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else step
    match first["type"]:
        case "missing":
            return f"{where} is missing"
        case "literal_error":
            allowed = re.findall("'(.*?)'", first["ctx"]["expected"])
            return f"{where} is none of {', '.join(allowed)}"
        case "value_error":
            return f"{where} {first['ctx']['error']}"
        case "number" if type(first["input"]) is int:
            return f"{where} is too large"
        case "greater_than_equal":
            return f"{where} is less than {first['ctx']['ge']}"
        case kind:
            return f"{where} is no {_KINDS.get(kind, kind)}"


_KINDS = {
    "int_type": "whole number",
    "string_type": "text",
    "bool_type": "truth value",
    "tuple_type": "list",
    "list_type": "list",
    "dict_type": "table",
    "mapping_type": "table",
    "dataclass_type": "table",
}


def plain_float(value: float) -> float | str:
    """A number for JSON, which has no word for what is not finite: that becomes "nan", "inf" or "-inf"."""
    return value if math.isfinite(value) else str(value)


def json_line(data: object) -> bytes:
    """Data as JSON on one line, as `plain` has it, in UTF-8.

    A half of a surrogate pair, which UTF-8 cannot hold and a model's text may, is written as JSON's own escape.
    """
    text = json.dumps(plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def plain(value: object) -> Any:
    """Data as JSON has it: dataclasses as tables of their fields, arrays as lists, numbers as `plain_float`."""
    if isinstance(value, np.ndarray | np.generic):
        value = cast("object", value.tolist())
    if isinstance(value, float):
        return plain_float(value)
    if isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("list[object]", value)]
    if dataclasses.is_dataclass(value):
        return {name: plain(getattr(value, name)) for name in _names(type(value))}
    return value


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))
