"""Numbers of a spec: lists written as text, and numbers written as a person would."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal

from srm_explorer.engine.errors import SpecValueError

MOST_VALUES = 10_000
"""A longer list is taken for a slip of the step."""

_ENDS, _STEP = re.compile(r"\s*\.\.\s*"), re.compile(r"\s*/\s*|\s+step\s+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def parse_values(text: str) -> tuple[float, ...]:
    """Read "-20..-5 step 5, 0 5": numbers and ranges, in the order written.

    Spaces, tabs, lines, commas and semicolons part them, a minus may be the sign U+2212, and brackets may
    stand around the whole. A range is written
    "from..to step n", "from..to/n", or with nothing but its step after it, "from..to n". It includes its end when the
    end falls on its grid, and runs downwards when `to` is below `from`. It is counted in decimal, so "-0.3..0.3/0.1"
    holds exactly the numbers a person would write.

    Raises:
        SpecValueError: not a number, a step that is not above 0, more than 10,000 values, or commas beside semicolons
            that may be decimal ones.
    """
    plain = text.replace("\N{MINUS SIGN}", "-").strip()
    plain = plain[1:-1] if plain.startswith("[") and plain.endswith("]") else plain
    if ";" in plain and re.search(r"[0-9],[0-9]", plain):
        remedy = "write decimals with a point, as 1.5; 2.5, and the same sign between all numbers"
        raise SpecValueError(f"{shown(text.strip())} has a comma inside numbers or between them", remedy)
    values: list[float] = []
    for part in re.split("[,;]", plain):
        for item in _items(part):
            values.extend(_parse_range(item) if ".." in item else [_finite(_decimal(item), item)])
            if len(values) > MOST_VALUES:
                raise _too_many(text)
    return tuple(values)


def _items(part: str) -> list[str]:
    """Numbers and ranges between two commas, each range as from..to/step."""
    items = _STEP.sub("/", _ENDS.sub("..", part)).split()
    if len(items) == 2 and ".." in items[0] and "/" not in items[0]:
        return ["/".join(items)]
    return items or [""]


def number(value: object) -> float:
    """Take an int or a float that is finite; SpecValueError for anything else, a truth value included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecValueError(f"{shown(value)} is not a number", "write a number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise SpecValueError(f"{result} is not a finite number", "write a finite number")
    return result + 0.0  # -0.0 and 0.0 are the same value and must have the same digest


def format_number(value: float) -> str:
    """The shortest text that reads back as the same number; a whole number has no ".0"."""
    return repr(plain_number(value))


def plain_number(value: float) -> int | float:
    """The same number as an int where it is whole and short enough to read."""
    if isinstance(value, int) or (abs(value) < 1e15 and value.is_integer()):
        return int(value)
    return float(value)


def shown(value: object) -> str:
    """A value as an error message shows it: short, one line."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _parse_range(item: str) -> list[float]:
    ends, slash, step_text = item.partition("/")
    first_text, _, last_text = ends.partition("..")
    if not slash or last_text.startswith("."):
        raise SpecValueError(f"{shown(item.strip())} is not a range", "write from..to step n, as -20..20 step 5")
    first, last, step = (_decimal(part) for part in (first_text, last_text, step_text))
    if step <= 0:
        raise SpecValueError(f"the step of {shown(item.strip())} is not above 0", "write from..to step n, n above 0")
    for part in (first, last, step):
        _finite(part, item)
    if abs(last - first) > step * MOST_VALUES:
        raise _too_many(item)
    signed = step if last >= first else -step
    return [_finite(first + i * signed, item) for i in range(int(abs(last - first) / step) + 1)]


def _decimal(text: str) -> Decimal:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise SpecValueError(
            f"{shown(text)} is not a number", "write numbers as -20 -10 0, or from..to step n: -20..20 step 5"
        )
    return Decimal(text)


def _finite(value: Decimal, text: str) -> float:
    result = float(value)
    if not math.isfinite(result):
        raise SpecValueError(f"{shown(text.strip())} is not a finite number", "write a finite number")
    return result + 0.0


def _too_many(text: str) -> SpecValueError:
    return SpecValueError(f"{shown(text.strip())} holds more than {MOST_VALUES:,} values", "choose a larger step")


def spans(numbers: Sequence[int]) -> str:
    """Write rising numbers in short: "0, 2 to 5"."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1] = [groups[-1][0], number]
        else:
            groups.append([number])
    return ", ".join(" to ".join(map(str, group)) for group in groups)
