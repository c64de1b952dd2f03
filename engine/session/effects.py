"""What a scoring of the texts found, as a session holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

from engine.errors import ExplorerError
from engine.session.effect_records import MeanParts, Moves, SiteParts, TextScores, floats_by_name
from engine.session.fields import DamagedError, take, take_float_or_none, take_records, take_table, take_texts
from engine.session.session import Session

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
