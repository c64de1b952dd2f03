"""Runs of two groups matched: prompt by prompt where they share any, else unit by unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.comparison import Sample
from engine.analysis.srm import UnitCoordinates
from engine.figures.numbers import count_of
from engine.figures.session import points_of
from engine.figures.units import UNIT_FACTOR
from engine.session import RunRecord, Session
from engine.studies.compared_sides import Side

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Matched:
    """What of two groups is compared.

    Attributes:
        rows: indices of the runs of either that are used, in their sessions.
        units: [run] of either: its unit, in the numbering of both.
        stratum: [unit] prompt set, and the side where units are not shared.
        paired: whether they share units, and only these are used.
        told: how much of either was matched, one line.
    """

    rows: tuple[Index, Index]
    units: tuple[Index, Index]
    stratum: Index
    paired: bool
    told: str

    def samples(self, one: UnitCoordinates, other: UnitCoordinates) -> tuple[Sample, Sample]:
        """Both groups, their sessions' runs lying at some points."""
        return Sample(one.xy[self.rows[0]], self.units[0]), Sample(other.xy[self.rows[1]], self.units[1])


@dataclass(frozen=True, eq=False)
class _Runs:
    """The finite runs of a side, and what each is across sessions."""

    rows: Index
    prompts: list[str]
    units: list[str]
    settings: list[str]
    sets: list[str]


def matched(one: Side, other: Side) -> Matched:
    """Match two groups' runs: by prompt where they share any, else by unit, else not at all.

    Groups of the same conditions of two sessions are matched value by value too. A run without a counterpart is left
    out; where nothing is shared, all runs are used and either group is resampled by itself.
    """
    first, second = _runs_of(one), _runs_of(other)
    if set(first.prompts) & set(second.prompts):
        how, idents = "prompt", (first.prompts, second.prompts)
    elif set(first.units) & set(second.units):
        how, idents = "unit", (first.units, second.units)
    else:
        return _apart(first, second)
    keys = idents
    if one.group.conditions == other.group.conditions and one.session is not other.session:
        by_value = (_joined(idents[0], first.settings), _joined(idents[1], second.settings))
        keys = by_value if set(by_value[0]) & set(by_value[1]) else idents
    shared = set(keys[0]) & set(keys[1])
    kept = [np.flatnonzero([key in shared for key in own]) for own in keys]
    # A prompt belongs to the first session's unit and set, whatever the second one's factors say.
    unit_of = dict(zip(idents[0], first.units, strict=True))
    set_of = dict(zip(first.units, first.sets, strict=True))
    units = [[unit_of[own[place]] for place in places.tolist()] for own, places in zip(idents, kept, strict=True)]
    order = {key: at for at, key in enumerate(dict.fromkeys(units[0]))}
    sets = list(dict.fromkeys(set_of[key] for key in order))
    told = "; ".join(_told(how, own, places) for own, places in zip(idents, kept, strict=True))
    return Matched(
        rows=(first.rows[kept[0]], second.rows[kept[1]]),
        units=(_numbers(units[0], order), _numbers(units[1], order)),
        stratum=np.array([sets.index(set_of[key]) for key in order], np.int64),
        paired=True,
        told=f"paired by {how}: {told}",
    )


def _apart(first: _Runs, second: _Runs) -> Matched:
    units = [[f"{side}{unit}" for unit in own.units] for side, own in enumerate((first, second))]
    sets = [f"{side}{name}" for side, own in enumerate((first, second)) for name in own.sets]
    set_of = dict(zip((*units[0], *units[1]), sets, strict=True))
    order = {key: at for at, key in enumerate(set_of)}
    names = list(dict.fromkeys(sets))
    return Matched(
        rows=(first.rows, second.rows),
        units=(_numbers(units[0], order), _numbers(units[1], order)),
        stratum=np.array([names.index(set_of[key]) for key in order], np.int64),
        paired=False,
        told="no prompt or unit in common: either group is resampled by itself",
    )


def _runs_of(side: Side) -> _Runs:
    session = side.session
    rows = side.group.runs[points_of(side.plane).finite[side.group.runs]]
    prompts = _prompt_keys(session)
    cores = [prompt.factors.get(UNIT_FACTOR) for prompt in session.prompts]
    runs: list[RunRecord] = [session.runs[int(row)] for row in rows]
    return _Runs(
        rows=rows,
        prompts=[prompts[run.prompt] for run in runs],
        units=[
            prompts[run.prompt]
            if cores[run.prompt] is None
            else f"{UNIT_FACTOR}\0{session.prompts[run.prompt].set}\0{cores[run.prompt]}"
            for run in runs
        ],
        settings=[f"{session.conditions[run.condition].label}\0{run.sample}" for run in runs],
        sets=[session.prompts[run.prompt].set for run in runs],
    )


def _prompt_keys(session: Session) -> list[str]:
    """What a prompt is, across sessions: its text, and how many before it have the same."""
    seen: Counter[str] = Counter()
    keys: list[str] = []
    for prompt in session.prompts:
        keys.append(f"{seen[prompt.text]}\0{prompt.text}")
        seen[prompt.text] += 1
    return keys


def _joined(idents: Sequence[str], settings: Sequence[str]) -> list[str]:
    return [f"{ident}\0{setting}" for ident, setting in zip(idents, settings, strict=True)]


def _numbers(keys: Sequence[str], order: dict[str, int]) -> Index:
    return np.array([order[key] for key in keys], np.int64)


def _told(how: str, idents: Sequence[str], kept: Index) -> str:
    found = {idents[place] for place in kept.tolist()}
    return f"{len(found)} of {count_of(len(set(idents)), how)}, {len(kept)} of {count_of(len(idents), 'run')}"
