"""Naming a group of a session's runs: "+20", "baseline", "type=declarative", "clamped · type=declarative"."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.groups import BASELINE, NO_LEVEL, REFERENCE
from engine.errors import ExplorerError
from engine.figures.captions import pooled_caption
from engine.figures.session import CONDITION, factor_columns, run_groups
from engine.session import Session
from engine.spec.refusal import did_you_mean

EVERY = "all"
"""What the conditions of a group are called that is chosen by factors alone."""
MOST_LEVELS = 6
"""Levels of a factor that are offered one by one; a factor with more of them names prompts rather than groups them."""


@dataclass(frozen=True, eq=False)
class GroupChoice:
    """A group of runs by its name.

    Attributes:
        label: its name, written the one way.
        conditions: what its conditions are called: "baseline", "clamped", "+20"; "all" for every one but controls.
        levels: the factor levels it is restricted to.
        runs: [n] indices of its runs in the session, ascending.
    """

    label: str
    conditions: str
    levels: tuple[tuple[str, str], ...]
    runs: NDArray[np.int64]


def group_choice(session: Session, text: str) -> GroupChoice:
    """Find a group by its name.

    Args:
        session: with at least one run.
        text: conditions ("baseline", "clamped" for all values together, "+20" or 20), factor levels ("type=plain"), or
            both, parted by "," or "·". Without conditions: every run of those levels, controls left out.

    Raises:
        ExplorerError: there is no such condition, factor or level, or none of its runs.
    """
    groups = {**run_groups(session, (CONDITION,)), **run_groups(session, ())}
    if text.strip() in groups:
        label = text.strip()
        return GroupChoice(label, label, (), groups[label].runs)
    known = factor_columns(session)
    conditions = ""
    levels: list[tuple[str, str]] = []
    for part in (one.strip() for one in re.split(r"[·,]", text)):
        name, equals, level = (one.strip() for one in part.partition("="))
        if equals and name in known:
            levels.append((name, _level(session, known[name], name, level)))
        elif equals:
            raise ExplorerError(f"no factor '{name}'", where=session.name, remedy=did_you_mean(name, list(known)))
        elif conditions:
            what = f"'{text}' names two conditions, {conditions} and {part}"
            raise ExplorerError(what, where=session.name, remedy="name one group at a time")
        else:
            conditions = _conditions(session, part, list(groups))
    whole = run_groups(session, [name for name, _ in levels] if levels else ())
    mask = np.zeros(len(session.runs), np.bool_)
    chosen = groups[conditions].runs if conditions else np.concatenate([one.runs for one in whole.values()])
    mask[chosen] = True
    for name, level in levels:
        own = [NO_LEVEL if one is None else one for one in known[name]]
        mask &= np.array([one == level for one in own], np.bool_)
    label = " · ".join([*([conditions] if conditions else []), *(f"{name}={level}" for name, level in levels)])
    if not mask.any():
        raise ExplorerError(f"the group {label} has no run", where=session.name, remedy="choose another")
    return GroupChoice(label, conditions or EVERY, tuple(levels), np.flatnonzero(mask))


def group_names(session: Session) -> tuple[str, ...]:
    """Names of groups worth choosing: baseline, all values together, each value, each level of a factor of few."""
    names = [*run_groups(session, ()), *run_groups(session, (CONDITION,))]
    for factor, column in factor_columns(session).items():
        levels = list(dict.fromkeys(level for level in column if level is not None))
        if 2 <= len(levels) <= MOST_LEVELS:
            names += [f"{factor}={level}" for level in levels]
    return tuple(dict.fromkeys(names))


def _conditions(session: Session, part: str, known: list[str]) -> str:
    if part in known:
        return part
    lowered = part.replace("−", "-").lower()
    if lowered in ("pooled", "swept", "values"):
        return pooled_caption(session.spec)
    for name in known:
        if lowered in (name.lower(), name.lower().lstrip("+")):
            return name
    try:
        value = float(lowered)
    except ValueError:
        value = None
    for condition in session.conditions:
        if value is not None and condition.kind == "sweep" and condition.value == value and condition.label in known:
            return condition.label
    shown = [name for name in known if name not in (BASELINE, REFERENCE)]
    remedy = did_you_mean(part, [BASELINE, *shown, *(f"{factor}=…" for factor in factor_columns(session))])
    raise ExplorerError(f"no run of a condition '{part}'", where=session.name, remedy=remedy)


def _level(session: Session, column: list[str | None], factor: str, level: str) -> str:
    there = list(dict.fromkeys(NO_LEVEL if one is None else one for one in column))
    for one in there:
        if one.casefold() == level.casefold():
            return one
    raise ExplorerError(f"no prompt has {factor} = '{level}'", where=session.name, remedy=did_you_mean(level, there))
