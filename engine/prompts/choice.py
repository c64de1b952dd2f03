"""Which prompts of which sets an experiment uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.errors import ExplorerError
from engine.prompts.prompt_set import PromptSet, unknown


def choose(
    sets: Mapping[str, PromptSet],
    *,
    where: Mapping[str, Sequence[str]],
    omit: Mapping[str, Sequence[int]],
    limit: int | None = None,
) -> dict[str, tuple[int, ...]]:
    """Choose prompts by their levels, leave out those named by number, and keep the first of what remains.

    A set that lacks a factor, or every wanted level of it, has no prompt with one; numbers count the prompts of the
    file, whatever `where` keeps.

    Args:
        sets: the sets in the experiment's order, by the name they have there.
        where: factor to the levels wanted of it.
        omit: name of a set to the numbers of its prompts, from 1, that are left out.
        limit: the most prompts of the whole list; None keeps all.

    Returns:
        the numbers of each set's prompts that are used, by the set's name; at least one prompt in all.

    Raises:
        ExplorerError: a factor or level that no set has, a number that is none of a prompt, no prompt left.
    """
    _check_levels(sets, where)
    for name, numbers in omit.items():
        if name in sets:
            _check_numbers(sets[name], name, numbers)
    left = limit
    chosen: dict[str, tuple[int, ...]] = {}
    for name, one in sets.items():
        without = set(omit.get(name, ()))
        kept = [number for number in fitting(one, where) if number not in without][:left]
        chosen[name] = tuple(kept)
        left = None if left is None else left - len(kept)
    if not any(chosen.values()):
        raise _nothing_left(where, omit)
    return chosen


def fitting(prompt_set: PromptSet, where: Mapping[str, Sequence[str]]) -> tuple[int, ...]:
    """The numbers, from 1, of the prompts that have a wanted level of every factor; all of them without a factor."""
    wanted = [(factor, set(levels)) for factor, levels in where.items()]
    if not wanted:
        return tuple(range(1, len(prompt_set.prompts) + 1))
    return tuple(
        number
        for number, prompt in enumerate(prompt_set.prompts, 1)
        if all(prompt.factors.get(factor) in levels for factor, levels in wanted)
    )


def _check_levels(sets: Mapping[str, PromptSet], where: Mapping[str, Sequence[str]]) -> None:
    if not where:
        return
    factors = list(dict.fromkeys(factor for one in sets.values() for factor in one.factor_names))
    if not any(factor in factors for factor in where):
        remedy = f"choose from {', '.join(factors)}" if factors else "leave `where` out: these sets have no factors"
        raise ExplorerError(f"no set has the factors {', '.join(where)}", where="prompts.where", remedy=remedy)
    for factor, levels in where.items():
        if factor not in factors:
            raise unknown("no prompt set has the factor", factor, factors, "prompts.where")
        known = list(dict.fromkeys(level for one in sets.values() for level in one.levels(factor)))
        for level in levels:
            if level not in known:
                raise unknown(f"factor {factor!r} has no level", level, known, f"prompts.where.{factor}")


def _check_numbers(prompt_set: PromptSet, name: str, numbers: Sequence[int]) -> None:
    count = len(prompt_set.prompts)
    for number in numbers:
        if not 1 <= number <= count:
            raise ExplorerError(
                f"{prompt_set.path} has no prompt {number}, it has {count}",
                where=f"prompts.omit.{name}",
                remedy=f"choose from 1 to {count}, or leave it out",
            )


def _nothing_left(where: Mapping[str, Sequence[str]], omit: Mapping[str, Sequence[int]]) -> ExplorerError:
    if not where:
        return ExplorerError("every prompt is left out", where="prompts.omit", remedy="leave fewer out")
    levels = " and ".join(f"{factor} {' or '.join(chosen)}" for factor, chosen in where.items())
    if omit:
        what = f"every prompt that has {levels} is left out"
        return ExplorerError(what, where="prompts.omit", remedy="leave fewer out, or choose other levels")
    return ExplorerError(f"no prompt has {levels}", where="prompts.where", remedy="choose fewer factors")
