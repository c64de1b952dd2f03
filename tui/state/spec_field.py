"""One field of an experiment: what it is called, and how it is typed and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tui.state.spec_text import (
    answer_text,
    direction_forms,
    number_text,
    numbers_text,
    parse_answer,
    parse_direction_text,
    parse_numbers,
    parse_whole,
    parse_word,
)

Forms = Callable[[Any], tuple[str, ...]]


@dataclass(frozen=True)
class Field:
    """One field: where it stands, what it is called, and how its value is read from a text and written as one.

    Attributes:
        key: its place in the data, "generation.tokens"; a site is two fields, ".layer" and ".kind".
        label: its name on the screen; `short` where room is short.
        read: the value that a typed text means; raises RefusalError.
        write: the text that is edited.
        forms: how the value is shown, from the longest way to the shortest; its text where there is none.
        choices: texts to choose from, each with how it is shown.
        typed, beside, hint: as `FormRow` has them.
    """

    key: str
    label: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    short: str = ""
    forms: Forms | None = None
    choices: tuple[tuple[str, str], ...] = ()
    typed: bool = True
    beside: bool = False
    hint: str = ""


def plain(choices: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Choices that are shown as they are written."""
    return tuple((choice, choice) for choice in choices)


def choice(key: str, label: str, choices: Iterable[str], hint: str, *, short: str = "", beside: bool = False) -> Field:
    """A field that is only chosen."""
    return Field(key, label, parse_word, str, short, None, plain(choices), False, beside, hint)


def answer(key: str, label: str, hint: str, *, short: str = "", beside: bool = False) -> Field:
    """A field that is yes or no."""
    return Field(key, label, parse_answer, answer_text, short, None, plain(("no", "yes")), False, beside, hint)


def whole(key: str, label: str, hint: str, *, short: str = "", beside: bool = False) -> Field:
    """A field that holds one whole number."""
    return Field(key, label, parse_whole, number_text, short, beside=beside, hint=hint)


def direction(key: str, label: str, site: str, *, short: str = "", beside: bool = False) -> Field:
    """A field that holds a direction of a site: a coordinate's number, or text."""
    return Field(
        key,
        label,
        parse_direction_text,
        str,
        short=short,
        forms=lambda value: direction_forms(site, value),
        beside=beside,
        hint="a number, mean(type=x), difference(at=swept | type=x), pc1, random(0), w_out(11.373), v.npz#key",
    )


def numbers(key: str, label: str, hint: str, short: str = "", forms: Forms | None = None) -> Field:
    """A field that holds a list of numbers."""
    return Field(key, label, parse_numbers, _list_text, short, forms, hint=hint)


def _list_text(value: Any) -> str:
    return numbers_text(value) if isinstance(value, list | tuple) else str(value)
