"""Prompts and what was written after them, as a reader sees them: chosen, cut to size, differences marked."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.figures.stretches import Stretch, aligned
from srm_explorer.engine.lines import escaped
from srm_explorer.engine.session import Session

MOST_PROMPTS = 24
"""Prompts whose texts are shown where nobody says how many."""
MOST_VALUES = 16
"""Conditions that are shown of a prompt."""
MOST_CHARACTERS = 2_000
"""Of a text, or of a prompt."""
MOST_ALIGNED = 400
"""Words after the first difference beyond which two texts are not aligned."""

_KEPT = {"\u200c", "\u200d", "\u00ad"}
"""Joiners and soft hyphens that words are written with."""


def plain(text: str) -> str:
    """A text without what commands a terminal or turns the order of letters, and that any file can hold.

    Controls, surrogates and marks of direction are written as their codes; line breaks, tabs and spaces stay.
    """
    if text.isprintable():
        return text
    return "".join(character if _is_plain(character) else escaped(character) for character in text)


def _is_plain(character: str) -> bool:
    if character.isprintable() or character in "\n\t" or character in _KEPT:
        return True
    return unicodedata.category(character) == "Zs"


def clipped(text: str, most: int = MOST_CHARACTERS) -> tuple[str, str]:
    """A text as `plain` has it, as far as it is shown, and what is said of the rest; empty where there is none."""
    rest = len(text) - most
    return plain(text[:most]), f"… {rest:,} more characters" if rest > 0 else ""


@dataclass(frozen=True)
class Pair:
    """A text beside the baseline's.

    Attributes:
        label: of its condition: "+20".
        text: cut where it differs from the baseline's.
        baseline: the baseline's, cut likewise; None where there is none.
        is_same: whether both wrote the same.
        rest: what is said of characters that are not shown, of the text and of the baseline.
    """

    label: str
    text: tuple[Stretch, ...]
    baseline: tuple[Stretch, ...] | None
    is_same: bool = False
    rest: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class PromptTexts:
    """A prompt with what was written after it.

    Attributes:
        number: of the prompt, from 1.
        set: it came from.
        prompt: its text.
        rest: what is said of characters that are not shown.
        factors: as text: "type=plain, level=2".
    """

    number: int
    set: str
    prompt: str
    rest: str
    factors: str
    baseline: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class ShownTexts:
    """The texts that a report shows, and what is said of those that it does not."""

    prompts: tuple[PromptTexts, ...]
    told: tuple[str, ...]


def shown_texts(session: Session, most: int = MOST_PROMPTS) -> ShownTexts:
    """Choose prompts at equal distances over all that analyses look at, whatever was written, and pair their texts.

    Args:
        most: prompts; each with the baseline and at most `MOST_VALUES` conditions, the first sample of each.
    """
    if session.is_unknown("texts"):
        return ShownTexts((), ("what its runs wrote is unknown",))
    if not session.spec.generation.tokens and not any(run.text for run in session.runs):
        return ShownTexts((), ("nothing was generated: the prompts alone went through the model",))
    kinds = [condition.kind for condition in session.conditions]
    rows: dict[int, dict[int, int]] = {}
    for row, run in enumerate(session.runs):
        if session.seen[row] and kinds[run.condition] != "control":
            of_prompt = rows.setdefault(run.prompt, {})
            first = of_prompt.setdefault(run.condition, row)
            if run.sample < session.runs[first].sample:
                of_prompt[run.condition] = row
    numbers = _spread(sorted(rows), most)
    told: list[str] = []
    if len(numbers) < len(rows):
        told.append(
            f"{len(numbers):,} of {count_of(len(rows), 'prompt')}, at equal distances in the session's order,"
            " not chosen by what was written after them"
            if numbers
            else f"the texts of {count_of(len(rows), 'prompt')} are left out"
        )
    conditions = [index for index, kind in enumerate(kinds) if kind not in ("baseline", "control")]
    chosen = _spread(conditions, MOST_VALUES)
    if len(chosen) < len(conditions):
        told.append(f"{len(chosen)} of {len(conditions)} conditions")
    if "control" in kinds:
        told.append("runs of controls are left out")
    if session.spec.generation.samples > 1:
        told.append(f"the first of {session.spec.generation.samples} samples of each")
    return ShownTexts(tuple(_prompt(session, number, rows[number], chosen) for number in numbers), tuple(told))


def _prompt(session: Session, number: int, rows: dict[int, int], chosen: Sequence[int]) -> PromptTexts:
    prompt = session.prompts[number]
    text, rest = ("unknown", "") if session.is_unknown("prompts") else clipped(prompt.text)
    factors = ", ".join(f"{plain(name)}={plain(level)}" for name, level in prompt.factors.items())
    base = rows.get(0)
    pairs = [_pair(session, condition, rows[condition], base) for condition in chosen if condition in rows]
    alone = "".join(clipped(session.runs[base].text)) if base is not None else ""
    return PromptTexts(number + 1, plain(prompt.set), text, rest, factors, alone, tuple(pairs))


def _pair(session: Session, condition: int, row: int, base: int | None) -> Pair:
    label, run = plain(session.conditions[condition].label), session.runs[row]
    text, rest = clipped(run.text)
    if base is None:
        return Pair(label, (Stretch(text, "shared"),), None, rest=(rest, ""))
    other, other_rest = clipped(session.runs[base].text)
    left, right = aligned(text, other, MOST_ALIGNED)
    is_same = session.same_text(run, session.runs[base])
    return Pair(label, tuple(left), tuple(right), is_same, (rest, other_rest))


def _spread(items: Sequence[int], most: int) -> list[int]:
    """At most so many of some things, at equal distances, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    places = np.unique(np.linspace(0, len(items) - 1, max(0, most)).round().astype(np.int64))
    return [items[place] for place in places.tolist()]
