"""What a scoring of the texts found, as a session holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, GetPydanticSchema
from pydantic_core import core_schema

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.session.codec import DamagedError, Number, Text, Whole, plain, read_record
from srm_explorer.engine.session.session import Session

TextName: TypeAlias = Literal["baseline", "condition", "given"]
"""Which text was scored: the baseline's continuation, the condition's own, or one that was given."""

TEXT_NAMES: tuple[TextName, ...] = get_args(TextName)

Pair: TypeAlias = tuple[Number, Number]


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

    kl: tuple[Number, ...]
    dlogp: tuple[Number, ...]
    rank: tuple[Whole, ...]
    rank_untouched: Number
    entropy: Number
    entropy_untouched: Number
    promoted: tuple[Whole, ...]
    suppressed: tuple[Whole, ...]


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

    norms: Mapping[Text, Number]
    shares: Mapping[Text, Number]
    cosine: Number | None
    planes: tuple[Mapping[Text, Pair], ...]
    prefix_tokens: Whole | None
    prefix: Number | None


@dataclass(frozen=True)
class MeanParts:
    """The parts of the mean change of all runs of a condition at one site, in which what differs by text averages out.

    Attributes:
        norms: length of each part of the mean change, by name.
        shares: how much of the mean total lies in each part, by name; empty where it is 0.
    """

    site: Text
    condition: Whole
    runs: Whole
    norms: Mapping[Text, Number]
    shares: Mapping[Text, Number]


@dataclass(frozen=True)
class MovedToken:
    """A token id that a condition promotes or suppresses on a text, over all its runs.

    Attributes:
        dlogp: mean change of its log-probability over all tokens of the texts, nats.
        p: its mean probability under the condition.
        p_untouched: the same without it.
    """

    id: Whole
    text: Text
    dlogp: Number
    p: Number
    p_untouched: Number


@dataclass(frozen=True)
class Moves:
    """The token ids that a condition moves most.

    Attributes:
        tokens: token positions that were averaged over.
        lists: by list: "promoted", "suppressed" by log-probability, "gained", "lost" by probability.
    """

    text: Text
    condition: Whole
    tokens: Whole
    lists: Mapping[Text, tuple[MovedToken, ...]]


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

    run: Whole
    perplexity: Number | None
    margin: Number | None
    texts: Mapping[Text, TextScores]
    sites: Mapping[Text, SiteParts]


VERSION = 1


@dataclass(frozen=True)
class _Version:
    version: Whole


def _by_index(runs: tuple[RunEffects, ...]) -> dict[int, RunEffects]:
    return {effects.run: effects for effects in runs}


ByIndex: TypeAlias = Annotated[
    Mapping[int, RunEffects],
    GetPydanticSchema(
        lambda _kind, handler: core_schema.no_info_after_validator_function(
            _by_index, handler.generate_schema(tuple[RunEffects, ...])
        )
    ),
]
"""By index of the run; a list in the file."""

PlaneName: TypeAlias = Annotated[str, BeforeValidator(str, json_schema_input_type=str | int)]
"""A site, or a direction, whose number counts as text."""


@dataclass(frozen=True)
class Effects:
    """What a scoring found.

    Attributes:
        scored: when, ISO 8601.
        given: the text that was given; empty where none was.
        planes: (site, a, b) of the planes whose coordinates are kept.
        origin: model, hashes, device and versions, by name.
        reproduced: by site, the largest difference of a scored free run's vector from the one that was saved, over
            the largest number there; empty where none was at hand.
        moves: by text and condition.
        means: by site and condition, those that have a baseline.
        runs: by index of the run.
    """

    scored: Text
    texts: tuple[Text, ...]
    given: Text
    sites: tuple[Text, ...]
    planes: tuple[tuple[PlaneName, PlaneName, PlaneName], ...]
    origin: Mapping[Text, Text]
    reproduced: Mapping[Text, Number]
    moves: tuple[Moves, ...]
    means: tuple[MeanParts, ...]
    runs: ByIndex

    def to_dict(self) -> dict[str, Any]:
        runs = [self.runs[index] for index in sorted(self.runs)]
        return plain({"version": VERSION, **vars(self), "runs": runs})


def effects_of(session: Session) -> Effects | None:
    """Read what a scoring has left in a session; None where there was none.

    Raises:
        ExplorerError: it is damaged, or of a newer version.
    """
    data = session.effects
    if not data:
        return None
    try:
        if read_record(_Version, data).version != VERSION:
            raise ExplorerError("its effects are of another version", where=session.name, remedy="score it again")
        effects = read_record(Effects, data)
        for run in effects.runs.values():
            for name, scores in run.texts.items():
                if not len(scores.kl) == len(scores.dlogp) == len(scores.rank):
                    raise DamagedError(f"kl, dlogp and rank of {name} differ in length in run {run.run}")
    except DamagedError as error:
        what = f"its effects are not what was saved: {error}"
        raise ExplorerError(what, where=session.name, remedy="score it again: srm-explorer effects --score") from None
    return effects
