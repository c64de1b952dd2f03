"""Units: the independent pieces of a session, in which everything else is nested. Here alone they are defined."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.prompts.prompt_set import shown
from srm_explorer.engine.session.session import PromptRecord, RunRecord, Session
from srm_explorer.engine.stats.text import near_duplicates

UNIT_FACTOR = "core_id"


Told = TypeVar("Told")


def once(ask: Callable[[Session], Told]) -> Callable[[Session], Told]:
    """Have what is asked of a session worked out once, since a session never changes; arrays are not to be written."""
    name = f"_{ask.__name__}"

    @functools.wraps(ask)
    def told(session: Session) -> Told:
        known = vars(session)
        if name not in known:
            answer = ask(session)
            for part in cast("tuple[object, ...]", answer if isinstance(answer, tuple) else (answer,)):
                if isinstance(part, np.ndarray):
                    part.setflags(write=False)
            known[name] = answer
        return known[name]

    return told


@dataclass(frozen=True, eq=False)
class Units:
    """The independent pieces of a session; everything else is nested in them.

    Attributes:
        names: [unit] `core_id` where prompts have one, else the prompt's text; that of its first prompt.
        of_run: [run] index of the unit each run belongs to.
        stratum: [unit] index of the prompt set that its first prompt belongs to.
    """

    names: tuple[str, ...]
    of_run: NDArray[np.int64]
    stratum: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


@once
def units_of(session: Session) -> Units:
    """Find the units of a session's runs: `prompt_units`."""
    of_prompt = prompt_units(session.prompts)
    sets: dict[str, int] = {}
    first: dict[int, PromptRecord] = {}
    for unit, prompt in zip(of_prompt, session.prompts, strict=True):
        sets.setdefault(prompt.set, len(sets))
        first.setdefault(unit, prompt)
    return Units(
        names=tuple(prompt.factors.get(UNIT_FACTOR) or prompt.text for prompt in first.values()),
        of_run=np.array([of_prompt[run.prompt] for run in session.runs], np.int64),
        stratum=np.array([sets[prompt.set] for prompt in first.values()], np.int64),
    )


def prompt_units(prompts: Sequence[PromptRecord]) -> list[int]:
    """[prompt] the unit each belongs to, numbered as they appear: what every statistic resamples, flips or exchanges.

    Prompts of one set that share a `core_id` are one unit, and so are prompts with equal token ids, whatever their sets
    and factors: greedy decoding makes the same run of each, and sampling makes further draws of one prompt. Units that
    share a prompt are one, since neither varies without the other.
    """
    return linked([unit_keys(prompt, index) for index, prompt in enumerate(prompts)])


def unit_keys(prompt: PromptRecord, index: int) -> tuple[Hashable, ...]:
    """What a prompt may share with others of its unit, see `linked`.

    Args:
        index: its place among the prompts of the session.
    """
    core = prompt.factors.get(UNIT_FACTOR)
    member = (UNIT_FACTOR, prompt.set, core) if core else ("prompt", index)
    # What was imported may tell neither its tokens nor its text: such prompts are not known to be equal.
    ids = prompt.token_ids or prompt.text
    return (member, ids) if ids else (member,)


def repeated_prompts(prompts: Sequence[PromptRecord]) -> list[tuple[int, ...]]:
    """The prompts whose token ids are equal, as their places, two or more at a time, in the order of the first."""
    alike: dict[Hashable, list[int]] = {}
    for index, prompt in enumerate(prompts):
        if ids := prompt.token_ids or prompt.text:
            alike.setdefault(ids, []).append(index)
    return [tuple(places) for places in alike.values() if len(places) > 1]


def linked(keys: Iterable[Iterable[Hashable]]) -> list[int]:
    """[item] the group each belongs to, numbered as they appear: items that share a key, by whatever chain, are one.

    Args:
        keys: [item] of each.
    """
    parent: list[int] = []
    first: dict[Hashable, int] = {}

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for item, shared in enumerate(keys):
        parent.append(item)
        for key in shared:
            roots = root(first.setdefault(key, item)), root(item)
            # The earlier one leads, so that numbers follow the order of appearance.
            parent[max(roots)] = min(roots)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(item), len(numbers)) for item in range(len(parent))]


def seen_units(session: Session) -> int:
    """How many units analyses look at."""
    return len(np.unique(units_of(session).of_run[session.seen]))


@once
def baseline_of(session: Session) -> NDArray[np.int64]:
    """[run] place of the baseline run of the same prompt and sample; -1 where it is not there, or broken."""
    bases = {
        (run.prompt, run.sample): index
        for index, run in enumerate(session.runs)
        if session.kinds[index] == "baseline" and not run.is_broken
    }
    return np.array([bases.get((run.prompt, run.sample), -1) for run in session.runs], np.int64)


@dataclass(frozen=True)
class ChangedUnits:
    """How many units of some runs wrote other tokens than their baselines did.

    Where arithmetic is exact only these carry evidence: a run that wrote its baseline's tokens differs from it by what
    was set, and by nothing else.

    Attributes:
        changed: units in which a run's token ids differ from its baseline's (same prompt and sample).
        units: those in which a run's baseline is known; a run of the baseline itself tells nothing.
    """

    changed: int
    units: int

    @property
    def caption(self) -> str:
        """ "text changed in 12 of 50 units"; empty where no text was compared."""
        if not self.units:
            return ""
        return f"text changed in {self.changed:,} of {self.units:,} unit{'' if self.units == 1 else 's'}"


@once
def changed_texts(session: Session) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[run] whether its token ids differ from its baseline's, and [run] whether that can be told.

    Where tokens are unknown, texts are compared, which may be empty. It cannot of a baseline run, where the baseline's
    run is not there, and where neither has tokens: nothing was to be written, or what was written is not known.
    """
    base = baseline_of(session)
    if session.is_unknown("tokens"):
        known = (base >= 0) & (base != np.arange(len(base))) & (not session.is_unknown("texts"))
        runs = session.runs
        unlike = [told and runs[row].text != runs[int(base[row])].text for row, told in enumerate(known.tolist())]
        return np.array(unlike, np.bool_), known
    texts = [run.token_ids for run in session.runs]
    nothing: tuple[tuple[int, ...], tuple[int, ...]] = (), ()
    places: list[int] = base.tolist()
    paired = [nothing if at in (-1, row) else (texts[row], texts[at]) for row, at in enumerate(places)]
    differs = np.array([text != other for text, other in paired], np.bool_)
    return differs, np.array([bool(text or other) for text, other in paired], np.bool_)


def changed_units(session: Session, runs: ArrayLike | None = None) -> ChangedUnits:
    """Count the units whose text changed in some runs, such as those of a group that a p is printed for.

    Args:
        runs: [n] places or a mask [run]; by default all that analyses look at, but those of controls.
    """
    differs, known = changed_texts(session)
    chosen = (session.kinds != "control") & session.seen
    if runs is not None:
        chosen[:] = False
        chosen[np.asarray(runs)] = True
    of_run = units_of(session).of_run
    return ChangedUnits(len(set(of_run[chosen & differs].tolist())), len(set(of_run[chosen & known].tolist())))


def unit_warnings(session: Session) -> tuple[str, ...]:
    """What stands beside a session's statistics: `broken_texts`, and `prompt_warnings` of the prompts they look at."""
    prompts = [prompt for prompt, is_seen in zip(session.prompts, session.prompts_seen, strict=True) if is_seen]
    sampled = session.spec.generation.mode == "sample"
    return (*broken_texts(session.runs_of_seen), *prompt_warnings(prompts, sampled=sampled))


def broken_texts(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Say in which runs the logits were no numbers, so that no analysis looks at them, see `RunRecord.is_broken`."""
    broken = [str(run.index) for run in runs if run.is_broken]
    if not broken:
        return ()
    listed = ", ".join(broken[:5]) + (", …" if len(broken) > 5 else "")
    return (
        f"in {len(broken):,} of {len(runs):,} runs ({listed}) logits were NaN: the model did not choose their text, and"
        " they are left out here; choose smaller values, or dtype float32",
    )


def nan_logits(number: int, of: int, what: str) -> str:
    """Say that some of what was read with the model was no number: "3 of 40 texts"."""
    return (
        f"{number:,} of {of:,} {what} are left out, of which logits were NaN: choose smaller values, or dtype float32"
    )


def prompt_warnings(prompts: Sequence[PromptRecord], *, sampled: bool) -> tuple[str, ...]:
    """What whoever reads a p or an interval should know of prompts: which are one unit, and which hardly are two.

    Args:
        sampled: whether their continuations are drawn, not greedy.
    """
    notes: list[str] = []
    if repeated := repeated_prompts(prompts):
        most = max(repeated, key=len)
        how = "in which their samples are nested" if sampled else "however often they stand there"
        notes.append(
            f"{sum(map(len, repeated)):,} of {len(prompts):,} prompts are the same as another"
            f" ({shown(prompts[most[0]].text)} {len(most):,} times): equal prompts are one unit, {how}; means and"
            " counts hold each of them, and their intervals are the rougher; take the copies out"
        )
    # Texts that are unknown are like nothing.
    told = [(prompt.text, unit) for prompt, unit in zip(prompts, prompt_units(prompts), strict=True) if prompt.text]
    texts, units = tuple(text for text, _ in told), tuple(unit for _, unit in told)
    if alike := near_duplicates(texts, units):
        first, other = alike[0]
        notes.append(
            f"{len(alike):,} of {len(prompts):,} prompts are nearly another ({shown(texts[first])},"
            f" {shown(texts[other])}): they count as units of their own and hardly are; give them one core_id, or take"
            " them out"
        )
    return tuple(notes)
