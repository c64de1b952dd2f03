"""The kinds of fields an experiment file has: what each accepts, and what it refuses with which remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StrictInt

from srm_explorer.engine.errors import SpecValueError
from srm_explorer.engine.experiment.directions import ANY, FORMS, canonical, choices_of, direction_of
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.experiment.values import format_number, number, parse_values, plain_number, shown

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise SpecValueError(f"{shown(value)} is not text", "put it in quotes")
    if not value.strip():
        raise SpecValueError("it is empty", "write a name")
    if _CONTROL.search(value):
        raise SpecValueError(f"{shown(value)} holds a control character", "remove it")
    return value


def _passage(value: object) -> str:
    """Text that may have several lines."""
    _text(value.translate({9: " ", 10: " "}) if isinstance(value, str) else value)
    return cast("str", value)


def _words(value: object) -> object:
    """One text stands for a list: "reasoning, watching"."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(","))
    return _tuple(value)


def _numbers(value: object) -> object:
    """One number stands for a list, and a text for the numbers and ranges in it."""
    if isinstance(value, str):
        return parse_values(value)
    return (number(value),) if isinstance(value, int | float) else _tuple(value)


def _whole_numbers(value: object) -> object:
    numbers = _numbers(value)
    if isinstance(value, str):
        return tuple(int(n) if n == int(n) else n for n in cast("tuple[float, ...]", numbers))
    return (value,) if isinstance(value, int | float) else numbers


def _tuple(value: object) -> object:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _filters(value: object) -> object:
    """Levels by factor, of every set; or by set, of which the factors are."""
    if not isinstance(value, dict):
        return value
    filters: dict[str, object] = {}
    for name, levels in cast("dict[object, object]", value).items():
        if isinstance(levels, dict):
            factors = cast("dict[object, object]", levels)
            filters[str(name)] = {str(factor): _levels(of, f"{name}.{factor}") for factor, of in factors.items()}
        else:
            filters[str(name)] = _levels(levels, str(name))
    return filters


def _levels(levels: object, field: str) -> tuple[str, ...]:
    """Levels of factors are compared as text, so 4 and "4" are the same level."""
    is_list = isinstance(levels, list | tuple)
    many = cast("Sequence[object]", levels) if is_list else (levels,)
    return tuple(_level(level, f"{field}[{at}]" if is_list else field) for at, level in enumerate(many))


def _level(level: object, field: str) -> str:
    if isinstance(level, bool):
        return str(level).lower()
    try:
        return format_number(number(level)) if isinstance(level, int | float) else _text(level)
    except SpecValueError as error:
        raise SpecValueError(error.what, error.remedy, field) from None


def _numbers_by_name(value: object) -> object:
    """One number, or a text with ranges, stands for a list here too."""
    if not isinstance(value, dict):
        return value
    return {str(name): _whole_numbers(numbers) for name, numbers in cast("dict[object, object]", value).items()}


def _in_order(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """What is chosen by number has no order of its own, so equal choices are equal specs."""
    return tuple(sorted(numbers))


def check_distinct(values: Iterable[object], field: str) -> None:
    """Refuse a list that names something twice; `field` is the key it stands under."""
    seen: set[object] = set()
    for value in values:
        if value in seen:
            text = format_number(value) if isinstance(value, float) else shown(value)
            raise SpecValueError(f"{text} stands there twice", "list each once", field)
        seen.add(value)


def _along(value: object) -> int | str:
    """A coordinate's number, or a direction in its canonical text, so that equal directions are equal specs."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise SpecValueError(f"{shown(value)} is neither a coordinate's number nor a direction", f"write {FORMS}")
    if isinstance(value, int) and value < 0:
        raise SpecValueError(f"{value} is not accepted", "it should be greater than or equal to 0")
    direction = canonical(_text(value)) if isinstance(value, str) else value
    if any(choice.is_open() for choice in choices_of(direction_of(direction))):
        raise SpecValueError(f"{shown(direction)} stands for several directions", f"name one level in place of {ANY}")
    return direction


def _bos(value: object) -> object:
    if isinstance(value, bool) or value in ("auto", "once"):
        return value
    raise SpecValueError(f"{shown(value)} is not allowed", "choose true, false, 'auto' or 'once'")


# What a file may hold where that is more than the field's own type, for the schema of the file.
_Scalar: TypeAlias = str | float | bool
_Several: TypeAlias = _Scalar | list[_Scalar]

Text = Annotated[str, BeforeValidator(_text)]
Number = Annotated[float, BeforeValidator(number)]
Index = Annotated[StrictInt, Field(ge=0)]
Words = Annotated[tuple[Text, ...], BeforeValidator(_words, json_schema_input_type=str | list[str])]
Numbers = Annotated[tuple[Number, ...], BeforeValidator(_numbers, json_schema_input_type=str | float | list[float])]
Indices = Annotated[
    tuple[Index, ...], BeforeValidator(_whole_numbers, json_schema_input_type=str | Index | list[Index])
]
Passage = Annotated[str, BeforeValidator(_passage)]
Bos = Annotated[
    bool | Literal["auto", "once"], BeforeValidator(_bos, json_schema_input_type=bool | Literal["auto", "once"])
]
BOS_WORDS = ("auto", "once", "true", "false")
"""Policies for the BOS as they are typed."""
Along = Annotated[int | str, PlainValidator(_along, json_schema_input_type=Index | str)]
Ordinal = Annotated[StrictInt, Field(ge=1)]
Seed = Annotated[StrictInt, Field(ge=0, lt=2**63)]
Ordinals = Annotated[tuple[Ordinal, ...], AfterValidator(_in_order)]
_NumberedInput: TypeAlias = str | Ordinal | list[Ordinal]
NumberedFrom1 = Annotated[Ordinals, BeforeValidator(_whole_numbers, json_schema_input_type=_NumberedInput)]
OrdinalsByName = Annotated[
    dict[Text, Ordinals], BeforeValidator(_numbers_by_name, json_schema_input_type=dict[str, _NumberedInput])
]
Levels: TypeAlias = tuple[Text, ...]
Filters = Annotated[
    dict[Text, Levels | dict[Text, Levels]],
    BeforeValidator(_filters, json_schema_input_type=dict[str, _Several | dict[str, _Several]]),
]
"""Levels that are wanted: by factor, or by set and factor."""


def bos_of(word: str) -> Bos:
    """The policy that one of `BOS_WORDS` stands for."""
    return word == "true" if word in ("true", "false") else "once" if word == "once" else "auto"


class SpecPart(BaseModel):
    """A table of the experiment file: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def check_site(name: str, field: str) -> Site:
    try:
        return Site.parse(name)
    except SpecValueError as refusal:
        raise SpecValueError(refusal.what, refusal.remedy, field) from None


def dumped(part: BaseModel, **options: Any) -> dict[str, Any]:
    """A part as plain data, numbers as a person would write them: the form that files and digests are made of."""
    return cast("dict[str, Any]", _plain(part.model_dump(by_alias=True, **options)))


def _plain(value: object) -> object:
    if isinstance(value, float):
        return plain_number(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("Sequence[object]", value)]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in cast("dict[str, object]", value).items()}
    return value
