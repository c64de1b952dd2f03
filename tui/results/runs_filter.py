"""The line that filters runs: words and comparisons, all of which a run must meet.

door                  prompt or continuation contains the word, in either case
"the door"            the same for several words
value>3  cos>=.5      compares a number: > >= < <= = !=
value=baseline        a condition by its name
kind=sweep            with controls: baseline, reference, sweep or control; control=3 is the third
set=watching          a prompt set, a factor or another text, in either case: = !=
prompt=door           the prompt alone contains it; likewise text=door
lit                   under the spotlight now
changed               tokens differ from the baseline's
!lit  !door           not
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from srm_explorer.engine.errors import ExplorerError, did_you_mean, nearest
from srm_explorer.engine.figures import MINUS
from srm_explorer.tui.results.runs_rows import COSINE, FACTOR, LIT, Mask, Numbers, RunRows

CONTAINED = ("prompt", "text")
"""Columns of which a part is enough."""
LISTED = 6
"""Levels that a remedy names at most."""
COMPARE: dict[str, Callable[..., Mask]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": lambda numbers, number: ~np.isclose(numbers, number, rtol=1e-9, atol=1e-12),
    ">": operator.gt,
    "<": operator.lt,
    "=": lambda numbers, number: np.isclose(numbers, number, rtol=1e-9, atol=1e-12),
}
_QUOTED = r'"[^"]*"?'
_TERM = re.compile(rf'(?P<term>!?(?:{_QUOTED}|[^\s"])+)')
COMPARISON = re.compile(rf'(?P<name>{_QUOTED}|[^\s"<>=!]+)(?P<op>>=|<=|!=|>|<|=)(?P<value>.*)', re.DOTALL)


@dataclass(frozen=True)
class RunFilter:
    """A filter line that was understood.

    Attributes:
        text: the line.
        fixed: [run] which runs meet what no turn of the spotlight changes.
        moving: what depends on the spotlight: (cosines, lit) -> [run].
    """

    text: str
    fixed: Mask
    moving: tuple[Callable[[Numbers, Mask], Mask], ...] = ()

    def mask(self, cosines: Numbers, lit: Mask) -> Mask:
        """[run] which runs meet the whole line."""
        mask = self.fixed
        for meets in self.moving:
            mask = mask & meets(cosines, lit)
        return mask


def terms(line: str) -> Iterator[tuple[str, bool]]:
    """Each term of a line without the sign that turns it round, and whether that stands before it."""
    for match in _TERM.finditer(line):
        term = match["term"]
        negated = term.startswith("!") and len(term) > 1
        yield term[1:] if negated else term, negated


def parse_filter(text: str, rows: RunRows) -> RunFilter:
    """Understand a filter line; ExplorerError for an unknown column or level, or something that is no number."""
    fixed: Mask = np.ones(len(rows), np.bool_)
    moving: list[Callable[[Numbers, Mask], Mask]] = []
    for term, negated in terms(text):
        mask = _term(term, rows)
        if callable(mask):
            moving.append(_not(mask) if negated else mask)
        else:
            fixed &= ~mask if negated else mask
    return RunFilter(text, fixed, tuple(moving))


def _term(term: str, rows: RunRows) -> Mask | Callable[[Numbers, Mask], Mask]:
    if comparison := COMPARISON.fullmatch(term):
        return _comparison(unquoted(comparison["name"]), comparison["op"], unquoted(comparison["value"]), rows)
    if term.casefold() == LIT:
        return lambda cosines, lit: lit
    if term.casefold() == "changed":
        return rows.changed.copy()
    word = unquoted(term).casefold()
    return np.array([word in words for words in rows.words], np.bool_)


def _comparison(name: str, sign: str, value: str, rows: RunRows) -> Mask | Callable[[Numbers, Mask], Mask]:
    column = _column(name, rows)
    if not value:
        remedy = f"write {name}{sign}{_example(column, rows)}"
        raise ExplorerError(f"{name}{sign} compares with nothing", remedy=remedy)
    if column in rows.texts:
        return _text_comparison(column, name, sign, value, rows)
    if column == "value" and sign in ("=", "!="):
        labels = {condition.index: _folded(condition.label) for condition in rows.session.conditions}
        if _folded(value) in labels.values():
            same = np.array([labels[condition.index] == _folded(value) for condition in rows.conditions], np.bool_)
            return same if sign == "=" else ~same
    number = _number(value, column, name, sign, rows)
    compare = COMPARE[sign]
    if column == COSINE:
        return lambda cosines, lit: compare(cosines, number) & np.isfinite(cosines)
    numbers = rows.numbers[column]
    return compare(numbers, number) & np.isfinite(numbers)


def _column(name: str, rows: RunRows) -> str:
    # A factor may be called as a number is: then the number is meant, and factor.<name> the factor.
    columns = {factor.casefold(): f"{FACTOR}{factor}" for factor in rows.factors}
    columns |= {column.casefold(): column for column in (*rows.texts, *rows.numbers, COSINE)}
    column = columns.get(name.casefold())
    if column is None:
        remedy = did_you_mean(name, ["value", "cos", "set", "prompt", "text", *rows.factors])
        raise ExplorerError(f"there is no column '{name}'", remedy=f"{remedy}, or quote what is to be found")
    return column


def _text_comparison(column: str, name: str, sign: str, value: str, rows: RunRows) -> Mask:
    if sign not in ("=", "!="):
        raise ExplorerError(f"{name} is a text, so {sign} means nothing", remedy=f"write {name}={value}")
    texts, folded = rows.texts[column], value.casefold()
    if column in CONTAINED:
        mask = np.array([folded in (text or "").casefold() for text in texts], np.bool_)
    else:
        levels = list(dict.fromkeys(text for text in texts if text is not None))
        if folded not in (level.casefold() for level in levels):
            close = nearest(value, levels)
            remedy = f"did you mean '{close}'?" if close else _choose(levels)
            raise ExplorerError(f"no run has {name} '{value}'", remedy=remedy)
        mask = np.array([text is not None and text.casefold() == folded for text in texts], np.bool_)
    return mask if sign == "=" else ~mask


def _number(value: str, column: str, name: str, sign: str, rows: RunRows) -> float:
    try:
        number = float(value.replace(MINUS, "-").strip("σ×"))
    except ValueError:
        number = float("nan")
    if np.isnan(number):
        remedy = f"write {name}{sign}" + _example(column, rows)
        if column == "value":
            remedy += f", or value={rows.session.conditions[0].label}"
        raise ExplorerError(f"'{value}' is not a number", remedy=remedy)
    return number


def _folded(label: str) -> str:
    return label.casefold().replace(MINUS, "-")


def _example(column: str, rows: RunRows) -> str:
    if column in rows.numbers or column == COSINE:
        return ".5" if column == COSINE else "3"
    levels = [text for text in rows.texts.get(column, []) if text]
    return "door" if column in CONTAINED or not levels else levels[0]


def _choose(levels: list[str]) -> str:
    listed = ", ".join(levels[:LISTED])
    return f"choose one of {listed}{', …' if len(levels) > LISTED else ''}" if levels else "remove it"


def unquoted(text: str) -> str:
    return text[1:].removesuffix('"') if text.startswith('"') else text


def _not(meets: Callable[[Numbers, Mask], Mask]) -> Callable[[Numbers, Mask], Mask]:
    return lambda cosines, lit: ~meets(cosines, lit)
