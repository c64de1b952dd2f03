"""What a direction of a site's space may be; `str` of one is its canonical text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from srm_explorer.engine.errors import SpecValueError, nearest
from srm_explorer.engine.experiment.values import shown

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
        named = [*self.levels, *((AT, label) for label in self.at)]
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
        runs = str(self.runs)
        return f"pc{self.number}({runs})" if runs else f"pc{self.number}"


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


FORMS = (
    "a number, file.npz#key, mean(factor=level), difference(a=x | a=y), pc1, random(0), w_out(layer.neuron), "
    "w_in(layer.neuron)"
)
"""What a direction may be, for remedies."""

_EXAMPLES = {
    "mean": "mean(type=declarative)",
    "difference": "difference(type=declarative | type=rhetorical)",
    "random": "random(0)",
    "w_out": "w_out(11.373)",
    "w_in": "w_in(11.373)",
    "pc1": "pc1",
}
_CALL = re.compile(r"(?P<name>[A-Za-z_]+)\s*\((?P<inside>.*)\)", re.DOTALL)
_COMPONENT = re.compile(r"pc(?P<number>[1-9][0-9]{0,5})\s*(\((?P<inside>.*)\))?", re.DOTALL | re.IGNORECASE)
_NEURON = re.compile(r"\s*(?P<layer>[0-9]{1,6})\s*[.,]\s*(?P<neuron>[0-9]{1,9})\s*")
_SEED = re.compile(r"\s*[0-9]{1,18}\s*")
_WORD = re.compile(r"""\s*("(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<plain>[^"'=,|()]*?))\s*(?P<end>[=,|]|$)""")
_NAMES = ("mean", "difference", "random", "w_out", "w_in")


def parse_direction(text: str) -> Direction:
    """Read a direction that is no number; `str` of it is its one canonical text. SpecValueError for anything else."""
    text = text.strip()
    if component := _COMPONENT.fullmatch(text):
        runs = _runs(component["inside"], text) if component["inside"] is not None else RunChoice()
        return Component(int(component["number"]), runs)
    call = _CALL.fullmatch(text)
    if call and call["name"].lower() in _NAMES:
        return _called(call["name"].lower(), call["inside"], text)
    file, hash_sign, name = text.rpartition("#")
    if hash_sign:
        if file.strip() and name.strip():
            return FileVector(file.strip(), name.strip())
        raise SpecValueError(f"{shown(text)} does not name a vector", "write file.npz#key")
    word = re.match(r"[A-Za-z_]*", text)
    close = nearest(word[0], [*_NAMES, "pc1"]) if word and word[0] else None
    hint = f"did you mean {_EXAMPLES[close]}?" if close else f"write {FORMS}"
    raise SpecValueError(f"{shown(text)} is no direction", hint)


def canonical(value: int | str) -> int | str:
    """A coordinate's number, also written as text, or a direction's canonical text; SpecValueError for neither."""
    if isinstance(value, int):
        return value
    text = value.strip()
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else str(parse_direction(text))


def direction_of(value: int | str) -> int | Direction:
    """What a plane's field holds: a coordinate's number, or a direction; errors as `parse_direction`."""
    parsed = canonical(value)
    return parsed if isinstance(parsed, int) else parse_direction(parsed)


def needs_runs(value: int | str) -> bool:
    """Whether a plane's field means another direction with other runs: a mean, a difference, a component."""
    try:
        return bool(choices_of(direction_of(value)))
    except SpecValueError:
        return True


def expanded(direction: Direction, levels: Mapping[str, Sequence[str]]) -> Iterator[Direction]:
    """Every direction that one with `*` stands for, in the levels' order; the direction itself without.

    Args:
        direction: as `parse_direction` gives it.
        levels: of every factor; those of "at" are conditions.

    Raises:
        SpecValueError: a factor that is none, or `*` where only one direction can be meant.
    """
    if not any(choice.is_open() for choice in choices_of(direction)):
        yield direction
        return
    if not isinstance(direction, GroupMean):
        raise SpecValueError(f"{shown(str(direction))} names no list of directions", "use * in mean(...) alone")
    runs = direction.runs
    name = next((factor for factor, level in runs.levels if level == ANY), AT)
    if name not in levels:
        raise SpecValueError(f"no prompt has a factor {name!r}", f"choose one of {', '.join(levels)}")
    for level in levels[name]:
        if name == AT:
            chosen = RunChoice(runs.levels, (*(label for label in runs.at if label != ANY), level))
        else:
            at = runs.levels.index((name, ANY))
            chosen = RunChoice((*runs.levels[:at], (name, level), *runs.levels[at + 1 :]), runs.at)
        yield from expanded(GroupMean(chosen), levels)


def _called(name: str, inside: str, text: str) -> Direction:
    if name == "mean":
        return GroupMean(_runs(inside, text))
    if name == "difference":
        parts = list(_parts(inside, text))
        if len(parts) != 2:
            raise SpecValueError(f"{shown(text)} is no difference of two groups", f"write {_EXAMPLES[name]}")
        return MeanDifference(*parts)
    if name == "random":
        if not _SEED.fullmatch(inside):
            raise SpecValueError(f"{shown(text)} has no seed", "write random(0), or another whole number")
        return RandomDirection(int(inside))
    match = _NEURON.fullmatch(inside)
    if not match:
        raise SpecValueError(f"{shown(text)} names no neuron of a layer", f"write {_EXAMPLES[name]}")
    return NeuronWeights("w_out" if name == "w_out" else "w_in", int(match["layer"]), int(match["neuron"]))


def _runs(inside: str, text: str) -> RunChoice:
    parts = list(_parts(inside, text))
    if len(parts) != 1:
        raise SpecValueError(f"{shown(text)} holds a | that belongs into difference(... | ...)", "remove it")
    return parts[0]


def _parts(inside: str, text: str) -> Iterator[RunChoice]:
    """Read `factor=level, ...` and yield what stands between bars."""
    levels: list[tuple[str, str]] = []
    at: list[str] = []
    words: list[str] = []
    position = 0
    while True:
        match = _WORD.match(inside, position)
        if match is None:
            raise SpecValueError(f"{shown(text)} cannot be read", "write factor=level, and put odd names in quotes")
        words.append(next(part for part in (match["double"], match["single"], match["plain"]) if part is not None))
        position = match.end()
        if match["end"] == "=":
            continue
        if len(words) == 2 and all(words):
            if words[0] == AT:
                at.append(words[1])
            else:
                levels.append((words[0], words[1]))
        elif words != [""] or match["end"] == "," or levels or at:
            raise SpecValueError(f"{shown(text)} is not made of factor=level", "write mean(type=declarative, level=5)")
        words = []
        if match["end"] != ",":
            yield RunChoice(tuple(levels), tuple(at))
            levels, at = [], []
        if not match["end"]:
            return
