"""Which positions of a prompt are edited: by a word, by their numbers, or by the text of a token."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, cast, get_args

from pydantic import PlainSerializer, PlainValidator

from srm_explorer.engine.errors import SpecValueError, nearest
from srm_explorer.engine.experiment.half_characters import joined, without_half
from srm_explorer.engine.experiment.values import parse_values, shown

Positions = Literal["all", "prompt", "last", "predicting", "generated"]

POSITION_FORMS = f"{', '.join(get_args(Positions))}, [3, -1], {{ token = ' door' }} or {{ after = ' door' }}"
"""What a choice of positions may be, for remedies."""

MOST_NUMBERS = 10_000
_TOKEN = re.compile(r"""\{?\s*(token|after)\s*=?\s*("(?:[^"\\]|\\.)*"|'[^']*')\s*\}?""", re.DOTALL)


@dataclass(frozen=True)
class TokenChoice:
    """Positions by the text of a token, or of several in a row.

    Attributes:
        text: every occurrence of it: " door".
        after: True for every position behind the last occurrence instead, generated ones included.
    """

    text: str
    after: bool = False

    @property
    def name(self) -> Literal["token", "after"]:
        """Its key in an experiment file."""
        return "after" if self.after else "token"


@dataclass(frozen=True)
class RowPositions:
    """Positions of one prompt, resolved.

    Attributes:
        at: absolute positions, ascending.
        start: every position from here on, too; None for none.
    """

    at: tuple[int, ...] = ()
    start: int | None = None

    @property
    def first(self) -> int:
        """The first of them; one of the two attributes names it."""
        return min((*self.at, *(() if self.start is None else (self.start,))))


def read_positions(value: object) -> Positions | tuple[int, ...] | TokenChoice:
    """What a field of positions means; SpecValueError for anything else."""
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, TokenChoice):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if isinstance(value, Mapping):
        table = cast("Mapping[object, object]", value)
        key, text = next(iter(table.items())) if len(table) == 1 else ("", None)
        if key in ("token", "after") and isinstance(text, str) and text:
            return TokenChoice(text, key == "after")
    elif isinstance(value, list | tuple):
        numbers = cast("Sequence[object]", value)
        if numbers and all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
            return _distinct(cast("Sequence[int]", numbers))
    raise SpecValueError(f"{shown(cast('object', value))} is no choice of positions", f"choose {POSITION_FORMS}")


def _from_text(text: str) -> Positions | tuple[int, ...] | TokenChoice:
    """A word, numbers as they are typed, or a token in the form `token " door"`."""
    word = text.strip()
    if word in get_args(Positions):
        return cast("Positions", word)
    if match := _TOKEN.fullmatch(word):
        quoted = match[2]
        try:
            token = json.loads(quoted, strict=False) if quoted[0] == '"' else quoted[1:-1]
        except ValueError:
            token = quoted[1:-1]
        if token:
            return TokenChoice(token, match[1] == "after")
    if re.fullmatch(r"\[?(?:[-+\N{MINUS SIGN}0-9.,;/\s]|step)+\]?", word):
        numbers = parse_values(word)
        if all(number == int(number) for number in numbers):
            return _distinct([int(number) for number in numbers])
    close = nearest(word, get_args(Positions))
    hint = f"; did you mean '{close}'?" if close else ""
    raise SpecValueError(f"{shown(text)} is no choice of positions", f"choose {POSITION_FORMS}{hint}")


def _distinct(numbers: Sequence[int]) -> tuple[int, ...]:
    if len(set(numbers)) < len(numbers):
        twice = next(number for index, number in enumerate(numbers) if number in numbers[:index])
        raise SpecValueError(f"{twice} stands there twice", "list each once")
    if len(numbers) > MOST_NUMBERS:
        raise SpecValueError(f"it holds more than {MOST_NUMBERS:,} positions", "choose a word, as 'prompt'")
    return tuple(numbers)


def _plain(value: Positions | tuple[int, ...] | TokenChoice) -> str | list[int] | dict[str, str]:
    if isinstance(value, TokenChoice):
        return {value.name: value.text}
    return list(value) if isinstance(value, tuple) else value


_Input: TypeAlias = str | int | list[int] | dict[Literal["token", "after"], str]
"""What a file may hold."""

PositionChoice = Annotated[
    Positions | tuple[int, ...] | TokenChoice,
    PlainValidator(read_positions, json_schema_input_type=_Input),
    PlainSerializer(_plain, return_type=Any),
]
"""A word, positions by number (negative ones from the prompt's end), or by the text of a token."""


def parse_positions(text: str) -> str | list[int] | dict[str, str]:
    """Read positions as a person types them, into plain data; SpecValueError for anything else."""
    return _plain(_from_text(text))


def positions_text(value: object) -> str:
    """Positions as a person types them: `all`, `3, -1`, `token " door"`; what is none of them, as it is."""
    try:
        choice = read_positions(value)
    except SpecValueError:
        return str(value)
    if isinstance(choice, TokenChoice):
        return f"{choice.name} {json.dumps(choice.text, ensure_ascii=False)}"
    return ", ".join(map(str, choice)) if isinstance(choice, tuple) else choice


def resolve_positions(
    choice: Positions | tuple[int, ...] | TokenChoice, pieces: Sequence[str]
) -> Positions | RowPositions:
    """Find the positions of one prompt, as `find_positions` does; a word means the same in each, and stays."""
    return choice if isinstance(choice, str) else find_positions(choice, pieces)


def find_positions(choice: tuple[int, ...] | TokenChoice, pieces: Sequence[str]) -> RowPositions:
    """Find the positions of one prompt that numbers or the text of a token mean.

    Args:
        choice: of an intervention.
        pieces: the text of each token that is fed, a BOS included.

    Raises:
        SpecValueError: a number beyond the prompt, or a token that is not in it.
    """
    count = len(pieces)
    if isinstance(choice, tuple):
        for number in choice:
            if not -count <= number < count:
                raise SpecValueError(
                    f"there is no position {number} among its {count} tokens", f"choose from {-count} to {count - 1}"
                )
        return RowPositions(tuple(sorted({number % count for number in choice})))
    spans = _occurrences(choice.text, pieces)
    if not spans:
        raise SpecValueError(
            f"no token of it is {json.dumps(choice.text, ensure_ascii=False)}", f"its tokens are {_listed(pieces)}"
        )
    if choice.after:
        return RowPositions(start=spans[-1].stop)
    return RowPositions(tuple(sorted({position for span in spans for position in span})))


def positions_caption(positions: RowPositions, pieces: Sequence[str]) -> str:
    """Resolved positions and what stands there: `3 " door", 7 " door"`; `from 4 " opened"` for what goes on."""
    told = [f"{at} {json.dumps(pieces[at], ensure_ascii=False)}" for at in positions.at]
    if positions.start is not None:
        there = positions.start < len(pieces)
        token = json.dumps(pieces[positions.start], ensure_ascii=False) if there else "(generated)"
        told.append(f"from {positions.start} {token}")
    return ", ".join(told) if len(told) <= 6 else f"{', '.join(told[:5])} … ({len(told)})"


def _occurrences(text: str, pieces: Sequence[str]) -> list[range]:
    """The runs of tokens whose texts together are the text."""
    spans: list[range] = []
    for begin in range(len(pieces)):
        there = ""
        for end in range(begin, len(pieces)) if pieces[begin] else ():
            there = joined(there + pieces[end])
            if there == text:
                spans.append(range(begin, end + 1))
            whole = without_half(there)
            if len(whole) >= len(text) or not text.startswith(whole):
                break
    return spans


def _listed(pieces: Sequence[str]) -> str:
    quoted = [json.dumps(piece, ensure_ascii=False) for piece in pieces]
    return ", ".join(quoted) if len(quoted) <= 12 else f"{', '.join(quoted[:11])} … ({len(quoted)})"
