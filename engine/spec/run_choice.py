"""Which prompts and which conditions a direction's choice of runs means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.spec.conditions import Condition
from engine.spec.direction import AT, RunChoice
from engine.spec.refusal import RefusalError, did_you_mean
from engine.spec.values import format_number, shown

SET = "set"
"""The factor that every prompt has: the name of its prompt set, unless the set has a factor of that name."""

_GROUPS: dict[str, tuple[str, ...]] = {
    "baseline": ("baseline",),
    "reference": ("reference",),
    "swept": ("sweep",),
    "all": ("baseline", "sweep"),
}


def conditions_of(choice: RunChoice, known: Sequence[Condition], default: str) -> list[int]:
    """Indices of the conditions a choice means.

    Args:
        choice: `at` holds labels ("+20"), values ("20"), "baseline", "reference", "swept" or "all".
        known: all conditions of an experiment.
        default: what an empty `at` means.

    Raises:
        RefusalError: no condition is called so.
    """
    found: set[int] = set()
    for name in choice.at or (default,):
        own = [one.index for one in known if name == one.label or one.kind in _GROUPS.get(name, ())]
        own = own or [one.index for one in known if one.kind == "sweep" and name == _value(one)]
        if not own:
            labels = [one.label for one in known if one.kind != "control"]
            raise RefusalError(
                f"no condition is called {shown(name)}", did_you_mean(name, dict.fromkeys([*labels, *_GROUPS]))
            )
        found.update(own)
    return sorted(found)


def prompts_of(choice: RunChoice, prompts: Sequence[tuple[str, Mapping[str, str]]]) -> list[int]:
    """Indices of the prompts a choice means: those that have, of every factor named, one of the levels named.

    Args:
        choice: a factor named several times means any of its levels.
        prompts: the set and the factors of each.

    Raises:
        RefusalError: a factor or level that no prompt has, or no prompt that has them all.
    """
    wanted: dict[str, list[str]] = {}
    for factor, level in choice.levels:
        wanted.setdefault(factor, []).append(level)
    rows = [{SET: name, **factors} for name, factors in prompts]
    for factor, levels in wanted.items():
        known = list(dict.fromkeys(row[factor] for row in rows if factor in row))
        if not known:
            factors = list(dict.fromkeys(name for row in rows for name in row))
            raise RefusalError(f"no prompt has a factor {shown(factor)}", did_you_mean(factor, [*factors, AT]))
        for level in levels:
            if level not in known:
                raise RefusalError(f"factor {factor!r} has no level {shown(level)}", did_you_mean(level, known))
    found = [i for i, row in enumerate(rows) if all(row.get(name) in levels for name, levels in wanted.items())]
    if not found:
        raise RefusalError(f"no prompt has {choice}", "choose fewer factors")
    return found


def levels_of(prompts: Sequence[tuple[str, Mapping[str, str]]], known: Sequence[Condition]) -> dict[str, list[str]]:
    """The levels of every factor, in order of first appearance; those of "at" are the conditions' labels."""
    found: dict[str, list[str]] = {}
    for name, factors in prompts:
        for factor, level in {SET: name, **factors}.items():
            levels = found.setdefault(factor, [])
            if level not in levels:
                levels.append(level)
    return {**found, AT: [one.label for one in known if one.kind in ("baseline", "sweep")]}


def _value(one: Condition) -> str | None:
    return None if one.value is None else format_number(one.value)
