"""A prompt set and what may be wrong with one."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from engine.errors import ExplorerError

Format = Literal["plain", "grid", "csv", "jsonl"]


@dataclass(frozen=True)
class Prompt:
    """A text to be continued, with the factors it varies.

    Args:
        text: what the model reads, exactly.
        factors: name to level, both strings: ``{"core_id": "door", "type": "declarative", "level": "3"}``.
        line: where it begins in its file, from 1; 0 where there is no file. It doesn't count when prompts are compared.
    """

    text: str
    factors: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    line: int = field(default=0, compare=False)

    @property
    def unit(self) -> str:
        """What statistics resample: the `core_id` where there is one, else the text."""
        return self.factors.get("core_id") or self.text


@dataclass(frozen=True)
class Problem:
    """Something about one line of a prompt file; a fatal one keeps the set from being used."""

    path: Path
    line: int
    what: str
    remedy: str
    fatal: bool

    def __str__(self) -> str:
        return " ".join(f"{self.path}:{self.line}: {self.what}; {self.remedy}".split())


@dataclass(frozen=True)
class PromptSet:
    """Prompts in the order of their file, and every problem met while reading it."""

    name: str
    prompts: tuple[Prompt, ...]
    path: Path
    format: Format
    problems: tuple[Problem, ...] = ()

    @property
    def factor_names(self) -> tuple[str, ...]:
        """The names of all factors, in order of first appearance."""
        return tuple(dict.fromkeys(name for prompt in self.prompts for name in prompt.factors))

    @property
    def sha256(self) -> str:
        """Hex digest of the texts and factors in order; comments, layout, format and name don't count."""
        content = [[prompt.text, sorted(prompt.factors.items())] for prompt in self.prompts]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode("ascii")).hexdigest()

    def levels(self, factor: str) -> tuple[str, ...]:
        """The levels of a factor, in order of first appearance."""
        return tuple(dict.fromkeys(prompt.factors[factor] for prompt in self.prompts if factor in prompt.factors))

    def where(self, choice: Mapping[str, object]) -> PromptSet:
        """Keep the prompts whose every chosen factor has one of the chosen levels.

        Args:
            choice: factor to a level or a list of levels; levels are compared as strings, so 2 is "2".

        Raises:
            ExplorerError: a factor or level that this set doesn't have, or no prompt left.
        """
        if not choice:
            return self
        wanted = {factor: self._chosen_levels(factor, chosen) for factor, chosen in choice.items()}
        kept = tuple(p for p in self.prompts if all(p.factors.get(name) in levels for name, levels in wanted.items()))
        if not kept:
            chosen = " and ".join(f"{name} {' or '.join(sorted(levels))}" for name, levels in wanted.items())
            raise ExplorerError(
                f"no prompt of set {self.name!r} has {chosen}", where=str(self.path), remedy="choose fewer factors"
            )
        return replace(self, prompts=kept)

    def _chosen_levels(self, factor: str, chosen: object) -> set[str]:
        if factor not in self.factor_names:
            raise unknown(f"prompt set {self.name!r} has no factor", factor, self.factor_names, self.path)
        known = self.levels(factor)
        wanted = [_as_level(level) for level in _as_list(chosen)]
        if not wanted:
            raise ExplorerError(
                f"no level of factor {factor!r} is chosen",
                where=str(self.path),
                remedy=f"choose from: {', '.join(known)}; or leave the factor out",
            )
        for level in wanted:
            if level not in known:
                raise unknown(f"factor {factor!r} has no level", level, known, self.path)
        return set(wanted)


def prompts_longer_than(prompt_set: PromptSet, token_counts: Sequence[int], limit: int) -> list[Problem]:
    """Report the prompts that have more than `limit` tokens.

    Args:
        prompt_set: the prompts.
        token_counts: [prompt] tokens of each prompt, in the order of the set.
        limit: the most tokens a prompt may have: the model's context less what is to be generated.

    Raises:
        ValueError: not one count per prompt.
    """
    return [
        Problem(
            prompt_set.path,
            prompt.line,
            f"the prompt has {count:,} tokens and at most {limit:,} fit",
            "shorten it or take it out",
            fatal=True,
        )
        for prompt, count in zip(prompt_set.prompts, token_counts, strict=True)
        if count > limit
    ]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like this one, case aside; None where none is near."""
    folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[matches[0]] if matches else None


def unknown(what: str, name: str, known: Sequence[str], where: object) -> ExplorerError:
    """The error for a name that is none of those known, with the nearest of them."""
    guess = nearest(name, known)
    remedy = f"choose from: {', '.join(known)}" if known else "this set has no factors: leave `where` out"
    return ExplorerError(
        f"{what} {name!r}", where=str(where), remedy=f"did you mean {guess!r}? {remedy}" if guess else remedy
    )


def _as_list(chosen: object) -> Iterable[object]:
    return chosen if isinstance(chosen, Iterable) and not isinstance(chosen, str) else [chosen]  # pyright: ignore[reportUnknownVariableType]


def _as_level(value: object) -> str:
    # JSON and TOML write truth in lower case; so do the levels read from files.
    return str(value).lower() if isinstance(value, bool) else str(value)
