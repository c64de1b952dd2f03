"""Changes to an experiment's table of prompts, each giving a new table, and what a run would make of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from engine.errors import ExplorerError
from engine.prompts import PromptSet, choose, fitting
from tui.state.prompt_catalogue import ListedSet

Table: TypeAlias = dict[str, Any]
"""The table of prompts as `Experiment.to_dict()` has it."""


@dataclass(frozen=True)
class Selected:
    """What a run would use.

    Attributes:
        numbers: by the name of each chosen set that can be used, the numbers of its prompts, from 1.
        error: why a run would refuse; None where it would not.
    """

    numbers: Mapping[str, tuple[int, ...]]
    error: ExplorerError | None = None

    @property
    def total(self) -> int:
        """Prompts in all."""
        return sum(len(numbers) for numbers in self.numbers.values())


def sets_of(table: Table) -> list[str]:
    """The chosen sets, in order."""
    return list(table.get("sets") or ())


def omitted(table: Table, name: str) -> list[int]:
    """The numbers of a set's prompts that are left out."""
    return list((table.get("omit") or {}).get(name, ()))


def where_of(table: Table) -> dict[str, list[str]]:
    """The levels wanted of each factor."""
    return {factor: list(levels) for factor, levels in (table.get("where") or {}).items()}


def select(table: Table, listed: Mapping[str, ListedSet]) -> Selected:
    """Resolve the table as a run does; sets that are not usable are left aside and told of."""
    names = sets_of(table)
    found: dict[str, PromptSet] = {}
    error = None if names else ExplorerError("no prompt set is chosen", remedy="space chooses one")
    for name in names:
        one = listed.get(name)
        if one is not None and one.found is not None and one.is_usable:
            found[name] = one.found
        elif one is not None and one.is_read and error is None:
            error = ExplorerError(one.error_lines()[0])
    omit = {name: omitted(table, name) for name in names if omitted(table, name)}
    if not found:
        return Selected({}, error)
    try:
        return Selected(choose(found, where=where_of(table), omit=omit, limit=table.get("limit")), error)
    except ExplorerError as refused:
        rest = {
            name: tuple(number for number in fitting(one, where_of(table)) if number not in set(omit.get(name, ())))
            for name, one in found.items()
        }
        return Selected(rest, error or refused)


def with_set(table: Table, name: str, omit: Sequence[int] = (), place: int | None = None) -> Table:
    """Choose a set, after all others unless a place is given, leaving out some of its prompts."""
    names = [other for other in sets_of(table) if other != name]
    names.insert(len(names) if place is None else place, name)
    return with_omitted({**table, "sets": names}, name, omit)


def without_set(table: Table, name: str) -> Table:
    """Choose a set no longer."""
    changed = {**table, "sets": [other for other in sets_of(table) if other != name]}
    return with_omitted(changed, name, ())


def with_omitted(table: Table, name: str, numbers: Collection[int]) -> Table:
    """Leave exactly these prompts of a set out."""
    omit = {other: list(out) for other, out in (table.get("omit") or {}).items() if other != name}
    if numbers:
        omit[name] = sorted(set(numbers))
    order = sets_of(table)
    return {
        **table,
        "omit": dict(sorted(omit.items(), key=lambda item: order.index(item[0]) if item[0] in order else 0)),
    }


def with_prompts(table: Table, name: str, count: int, numbers: Collection[int], chosen: bool) -> Table:
    """Choose some prompts of a set, or leave them out; a set of which nothing is left is no longer chosen.

    Args:
        table: the table of prompts.
        name: the set.
        count: prompts of its file.
        numbers: the prompts concerned.
        chosen: whether they shall be used; in a set that was not chosen all the others are then left out.
    """
    whole = set(range(1, count + 1))
    out = set(omitted(table, name)) & whole if name in sets_of(table) else whole
    out = out - set(numbers) if chosen else out | (set(numbers) & whole)
    if out == whole:
        return without_set(table, name)
    if name in sets_of(table):
        return with_omitted(table, name, out)
    return with_set(table, name, sorted(out))


def with_level(table: Table, factor: str, level: str, order: Sequence[str]) -> Table:
    """Want a level of a factor if it was not wanted, else no longer; a factor without levels filters nothing."""
    where = where_of(table)
    levels = where.get(factor, [])
    levels = [other for other in levels if other != level] if level in levels else [*levels, level]
    levels.sort(key=lambda one: order.index(one) if one in order else len(order))
    where[factor] = levels
    return {**table, "where": {name: chosen for name, chosen in where.items() if chosen}}


def renamed(table: Table, old: str, new: str) -> Table:
    """Let another set take a chosen set's place, with the same prompts left out."""
    if new in sets_of(table):
        return without_set(table, old)
    out = omitted(table, old)
    names = [new if name == old else name for name in sets_of(table)]
    return with_omitted({**with_omitted(table, old, ()), "sets": names}, new, out)
