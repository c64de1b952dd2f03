"""What a scoring found of one text, of one site, of one condition: the pieces of `engine.session.effects`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, cast

from engine.session.fields import (
    DamagedError,
    as_float,
    take,
    take_float_or_none,
    take_floats,
    take_ints,
    take_records,
    take_table,
)

TextName: TypeAlias = Literal["baseline", "condition", "given"]
"""Which text was scored: the baseline's continuation, the condition's own, or one that was given."""

TEXT_NAMES: tuple[TextName, ...] = ("baseline", "condition", "given")

Pair: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class TextScores:
    """One text under one condition, compared with the untouched model token by token.

    Attributes:
        kl: [token] KL(untouched || condition), nats.
        dlogp: [token] change of the log-probability of the token that is there, condition minus untouched, nats.
        rank: [token] its rank under the condition, 1 the most probable.
        rank_untouched: mean rank without the condition.
        entropy: mean entropy under the condition, nats.
        entropy_untouched: the same without it.
        promoted: token ids whose log-probability rose most on average.
        suppressed: those whose log-probability fell most.
    """

    kl: tuple[float, ...]
    dlogp: tuple[float, ...]
    rank: tuple[int, ...]
    rank_untouched: float
    entropy: float
    entropy_untouched: float
    promoted: tuple[int, ...] = ()
    suppressed: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `json_line`."""
        return dict(self.__dict__)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; DamagedError names the field that is not."""
        found = cls(
            kl=take_floats(data, "kl"),
            dlogp=take_floats(data, "dlogp"),
            rank=take_ints(data, "rank"),
            **{name: as_float(data.get(name), name) for name in ("rank_untouched", "entropy", "entropy_untouched")},
            promoted=take_ints(data, "promoted"),
            suppressed=take_ints(data, "suppressed"),
        )
        if not len(found.kl) == len(found.dlogp) == len(found.rank):
            raise DamagedError("kl, dlogp and rank differ in length")
        return found


@dataclass(frozen=True)
class SiteParts:
    """The parts of one run's change at one site, see `engine.analysis.decomposition`.

    Attributes:
        norms: length of each part that was measured, by name.
        shares: how much of the total lies in each part, by name; empty where the total is 0.
        cosine: of direct and total; None where one is 0 or was not measured.
        planes: [plane of `Effects.planes` at this site] coordinates of each part by name.
        prefix_tokens: captured positions up to the first token that differs; None where there is no baseline.
        prefix: length of the change over those positions alone, where the text is the same: all of it is direct.
    """

    norms: Mapping[str, float]
    shares: Mapping[str, float]
    cosine: float | None
    planes: tuple[Mapping[str, Pair], ...] = ()
    prefix_tokens: int | None = None
    prefix: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `json_line`."""
        return dict(self.__dict__)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; DamagedError names the field that is not."""
        tokens = take(data, "prefix_tokens", object)
        if tokens is not None and type(tokens) is not int:
            raise DamagedError("prefix_tokens is no whole number")
        return cls(
            norms=floats_by_name(data, "norms"),
            shares=floats_by_name(data, "shares"),
            cosine=take_float_or_none(data, "cosine"),
            planes=tuple({part: _pair(own[part]) for part in own} for own in take_records(data, "planes")),
            prefix_tokens=tokens,
            prefix=take_float_or_none(data, "prefix"),
        )


@dataclass(frozen=True)
class MeanParts:
    """The parts of the mean change of all runs of a condition at one site, in which what differs by text averages out.

    Attributes:
        site: whose space.
        condition: index of the condition.
        runs: how many were averaged.
        norms: length of each part of the mean change, by name.
        shares: how much of the mean total lies in each part, by name; empty where it is 0.
    """

    site: str
    condition: int
    runs: int
    norms: Mapping[str, float]
    shares: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `json_line`."""
        return dict(self.__dict__)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; DamagedError names the field that is not."""
        return cls(
            site=take(data, "site", str),
            condition=take(data, "condition", int),
            runs=take(data, "runs", int),
            norms=floats_by_name(data, "norms"),
            shares=floats_by_name(data, "shares"),
        )


@dataclass(frozen=True)
class MovedToken:
    """A token id that a condition promotes or suppresses on a text, over all its runs.

    Attributes:
        id: token id.
        text: what it reads as.
        dlogp: mean change of its log-probability over all tokens of the texts, nats.
        p: its mean probability under the condition.
        p_untouched: the same without it.
    """

    id: int
    text: str
    dlogp: float
    p: float
    p_untouched: float


@dataclass(frozen=True)
class Moves:
    """The token ids that a condition moves most.

    Attributes:
        text: which text was scored.
        condition: index of the condition.
        tokens: token positions that were averaged over.
        lists: by list: "promoted", "suppressed" by log-probability, "gained", "lost" by probability.
    """

    text: str
    condition: int
    tokens: int
    lists: Mapping[str, tuple[MovedToken, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `json_line`."""
        lists = {name: [one.__dict__ for one in own] for name, own in self.lists.items()}
        return {"text": self.text, "condition": self.condition, "tokens": self.tokens, "lists": lists}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; DamagedError names the field that is not."""
        lists = take_table(data, "lists")
        return cls(
            text=take(data, "text", str),
            condition=take(data, "condition", int),
            tokens=take(data, "tokens", int),
            lists={name: tuple(map(_moved, take_records(lists, name))) for name in lists},
        )


def _moved(data: Mapping[str, Any]) -> MovedToken:
    numbers = {name: as_float(data.get(name), name) for name in ("dlogp", "p", "p_untouched")}
    return MovedToken(take(data, "id", int), take(data, "text", str), **numbers)


def floats_by_name(data: Mapping[str, Any], key: str) -> dict[str, float]:
    """A table of numbers."""
    return {name: as_float(value, f"{key}.{name}") for name, value in take_table(data, key).items()}


def _pair(value: object) -> Pair:
    items = cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()
    if len(items) != 2:
        raise DamagedError("planes holds no pairs of coordinates")
    return as_float(items[0], "planes"), as_float(items[1], "planes")
