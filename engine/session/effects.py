"""What a scoring of the texts found, as a session holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias, cast

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.session.fields import (
    DamagedError,
    as_float,
    take,
    take_float_or_none,
    take_floats,
    take_ints,
    take_records,
    take_table,
    take_texts,
)
from srm_explorer.engine.session.session import Session

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
    """The parts of one run's change at one site, see `srm_explorer.engine.stats.planes`.

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


VERSION = 1


@dataclass(frozen=True)
class RunEffects:
    """What was found of one run.

    Attributes:
        run: its index among all planned ones.
        perplexity: of its text under the untouched model, exp(-mean log-probability); None where it was not scored.
        margin: lead of the untouched model's largest logit at the first token that differs; None where none does.
        texts: by name of the text; empty for a baseline.
        sites: by site; empty for a baseline, and without one.
    """

    run: int
    perplexity: float | None = None
    margin: float | None = None
    texts: Mapping[str, TextScores] = field(default_factory=dict[str, TextScores])
    sites: Mapping[str, SiteParts] = field(default_factory=dict[str, SiteParts])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `json_line`."""
        return {
            "run": self.run,
            "perplexity": self.perplexity,
            "margin": self.margin,
            "texts": {name: own.to_dict() for name, own in self.texts.items()},
            "sites": {name: own.to_dict() for name, own in self.sites.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; DamagedError names the field that is not."""
        texts, sites = take_table(data, "texts"), take_table(data, "sites")
        return cls(
            run=take(data, "run", int),
            perplexity=take_float_or_none(data, "perplexity"),
            margin=take_float_or_none(data, "margin"),
            texts={name: TextScores.from_dict(take_table(texts, name)) for name in texts},
            sites={name: SiteParts.from_dict(take_table(sites, name)) for name in sites},
        )


@dataclass(frozen=True)
class Effects:
    """What a scoring found.

    Attributes:
        scored: when, ISO 8601.
        texts: which texts.
        given: the text that was given; empty where none was.
        sites: where vectors were compared.
        planes: (site, a, b) of the planes whose coordinates are kept.
        origin: model, hashes, device and versions, by name.
        reproduced: by site, the largest difference of a scored free run's vector from the one that was saved, over
            the largest number there; empty where none was at hand.
        runs: by index of the run.
        moves: by text and condition.
        means: by site and condition, those that have a baseline.
    """

    scored: str
    texts: tuple[str, ...]
    given: str
    sites: tuple[str, ...]
    planes: tuple[tuple[str, str, str], ...]
    origin: Mapping[str, str]
    reproduced: Mapping[str, float]
    runs: Mapping[int, RunEffects]
    moves: tuple[Moves, ...]
    means: tuple[MeanParts, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `Session.effects`."""
        return {
            "version": VERSION,
            "scored": self.scored,
            "texts": list(self.texts),
            "given": self.given,
            "sites": list(self.sites),
            "planes": [list(plane) for plane in self.planes],
            "origin": dict(self.origin),
            "reproduced": dict(self.reproduced),
            "moves": [one.to_dict() for one in self.moves],
            "means": [one.to_dict() for one in self.means],
            "runs": [own.to_dict() for _, own in sorted(self.runs.items())],
        }


def effects_of(session: Session) -> Effects | None:
    """Read what a scoring has left in a session; None where there was none.

    Raises:
        ExplorerError: it is damaged, or of a newer version.
    """
    data = session.effects
    if not data:
        return None
    try:
        if take(data, "version", int) != VERSION:
            raise ExplorerError("its effects are of another version", where=session.name, remedy="score it again")
        return Effects(
            scored=take(data, "scored", str),
            texts=_texts(data, "texts"),
            given=take(data, "given", str),
            sites=_texts(data, "sites"),
            planes=tuple(map(_plane, cast("list[object]", take(data, "planes", list)))),
            origin=take_texts(data, "origin"),
            reproduced=floats_by_name(data, "reproduced"),
            runs={run.run: run for run in map(RunEffects.from_dict, take_records(data, "runs"))},
            moves=tuple(map(Moves.from_dict, take_records(data, "moves"))),
            means=tuple(map(MeanParts.from_dict, take_records(data, "means"))),
        )
    except DamagedError as error:
        what = f"its effects are not what was saved: {error}"
        raise ExplorerError(what, where=session.name, remedy="score it again: srm-explorer effects --score") from None


def _texts(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = cast("list[object]", take(data, key, list))
    if not all(isinstance(value, str) for value in values):
        raise DamagedError(f"{key} is no list of texts")
    return tuple(map(str, values))


def _plane(value: object) -> tuple[str, str, str]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    if len(items) != 3:
        raise DamagedError("planes is no list of planes")
    return str(items[0]), str(items[1]), str(items[2])
