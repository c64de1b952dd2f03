"""What a direction of a site's space may be; `str` of one is its canonical text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

AT = "at"
"""What names the condition of the runs in a choice of runs; no factor can be chosen by that name."""
ANY = "*"
"""Stands for each level of a factor in turn, where several directions are named at once."""

_PLAIN = re.compile(r"""[^"'=,|()\s]([^"'=,|()]*[^"'=,|()\s])?""")


@dataclass(frozen=True)
class FileVector:
    """A vector of a file: "vectors.safetensors#name", "file.npz#key"."""

    file: str
    name: str

    def __str__(self) -> str:
        return f"{self.file}#{self.name}"


@dataclass(frozen=True)
class RunChoice:
    """Runs by the factors of their prompts and by their condition: "type=declarative, at=+20".

    A factor that stands several times stands for any of its levels; "set" is the prompt set.

    Attributes:
        levels: factor and level, in the order written.
        at: labels or values of conditions, "baseline", "reference", "swept" (every value) or "all" (the baseline and
            every value); empty where it is not said.
    """

    levels: tuple[tuple[str, str], ...] = ()
    at: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = [*self.levels, *((AT, one) for one in self.at)]
        return ", ".join(f"{_quoted(name)}={_quoted(level)}" for name, level in named)

    def is_open(self) -> bool:
        """Whether it stands for each level of a factor in turn."""
        return any(level == ANY for _, level in self.levels) or ANY in self.at


@dataclass(frozen=True)
class GroupMean:
    """The mean vector of some runs, of the baseline where it is not said: "mean(type=declarative)"."""

    runs: RunChoice = field(default_factory=RunChoice)

    def __str__(self) -> str:
        return f"mean({self.runs})"


@dataclass(frozen=True)
class MeanDifference:
    """The mean vector of some runs minus that of others: "difference(type=declarative | type=rhetorical)"."""

    runs: RunChoice
    others: RunChoice

    def __str__(self) -> str:
        return f"difference({self.runs} | {self.others})"


@dataclass(frozen=True)
class Component:
    """A principal component of some runs, of all but controls where it is not said: "pc1", "pc2(at=baseline)"."""

    number: int
    runs: RunChoice = field(default_factory=RunChoice)

    def __str__(self) -> str:
        told = str(self.runs)
        return f"pc{self.number}({told})" if told else f"pc{self.number}"


@dataclass(frozen=True)
class RandomDirection:
    """A direction drawn uniformly from the sphere: "random(0)"."""

    seed: int

    def __str__(self) -> str:
        return f"random({self.seed})"


@dataclass(frozen=True)
class NeuronWeights:
    """What a neuron writes into the residual stream, or reads from it: "w_out(11.373)", "w_in(11.373)"."""

    kind: Literal["w_out", "w_in"]
    layer: int
    neuron: int

    def __str__(self) -> str:
        return f"{self.kind}({self.layer}.{self.neuron})"


Direction: TypeAlias = FileVector | GroupMean | MeanDifference | Component | RandomDirection | NeuronWeights


def choices_of(direction: int | Direction) -> tuple[RunChoice, ...]:
    """The choices of runs that a direction is made of; none for one that needs no run."""
    match direction:
        case GroupMean() | Component():
            return (direction.runs,)
        case MeanDifference():
            return (direction.runs, direction.others)
        case _:
            return ()


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    return f"'{word}'" if '"' in word else f'"{word}"'
