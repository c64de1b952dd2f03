"""What the journal holds of a survey: its plan, whom it goes on with, and its parts as they are finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.survey import Depth
from srm_explorer.engine.runs.journal_reader import JournalReader
from srm_explorer.engine.runs.plan import SurveyLayout
from srm_explorer.engine.runs.survey import FORCED, FREE, PLAN, Arrays, Plan, Span
from srm_explorer.engine.session import ForcedScores, FreeRuns, SurveyTables, Text, Whole
from srm_explorer.engine.session.standing import Standing
from srm_explorer.engine.session.survey import FORCED_AXES, FREE_AXES, PLAN_TABLES, texts_in


@dataclass(frozen=True)
class SurveyPlanned:
    """What a survey clamps is known, and fixed from here on.

    Attributes:
        shard: name of the file with the plan's arrays, see `Plan`.
        forced: places of cells that are scored together, each of one layer.
        free: places of cells that are written under together; none where they are to be chosen first.
        rows: the most rows of a batch.
        together: about how many rows a free part has.
    """

    EVENT: ClassVar[str] = "survey planned"
    shard: Text
    sha256: Text
    forced: tuple[Span, ...]
    free: tuple[Span, ...]
    rows: Annotated[Whole, Field(ge=1)]
    together: Annotated[Whole, Field(ge=1)]


@dataclass(frozen=True)
class SurveyChosen:
    """The neurons that a survey goes on with.

    Attributes:
        cells: their places in the plan, ascending.
        free: places in `cells` of those that are written under together.
    """

    EVENT: ClassVar[str] = "survey chosen"
    cells: tuple[Whole, ...]
    free: tuple[Span, ...]


@dataclass(frozen=True)
class SurveyKept:
    """A finished part.

    Attributes:
        depth: of which list it is.
        part: its number there.
        shard: name of the file with its arrays.
        rows: the most that went through the model together, which decides the last bits.
    """

    EVENT: ClassVar[str] = "survey part"
    depth: Depth
    part: Whole
    shard: Text
    sha256: Text
    rows: Annotated[Whole, Field(ge=1)]


class SurveyJournal:
    """What a journal holds of a survey; `poll` takes what came. A part is read when it is asked for, and once.

    Attributes:
        plan: None before it is fixed.
    """

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self._events = 0
        self.plan: Plan | None = None
        self._kept: dict[tuple[Depth, int], SurveyKept] = {}
        self._read: dict[tuple[Depth, int], Arrays] = {}
        self._tables: SurveyTables | None = None

    def poll(self) -> bool:
        """Take what the reader has read since; tell whether that was anything of the survey.

        Raises:
            ExplorerError: a shard is missing or damaged.
        """
        events, self._events = self._reader.events[self._events :], len(self._reader.events)
        grown = False
        for event in events:
            match event["event"]:
                case SurveyPlanned.EVENT:
                    self._take_plan(self._reader.read_event(SurveyPlanned, event))
                case SurveyChosen.EVENT:
                    self._take_chosen(self._reader.read_event(SurveyChosen, event))
                case SurveyKept.EVENT:
                    part = self._reader.read_event(SurveyKept, event)
                    self._kept[part.depth, part.part] = part
                case _:
                    continue
            grown = True
        self._tables = None if grown else self._tables
        return grown

    @property
    def standing(self) -> Standing:
        """How far it is."""
        if self.plan is None:
            return Standing()
        return _standing(self.plan.spans, self._kept)

    def done(self, depth: Depth) -> set[int]:
        """Numbers of the finished parts."""
        return {number for kind, number in self._kept if kind == depth}

    def forced_kl(self) -> NDArray[np.float32]:
        """[cell, value, text] of all cells, which are finished."""
        return np.concatenate([self._part("forced", n)[f"{FORCED}kl"] for n in sorted(self.done("forced"))])

    def _part(self, depth: Depth, number: int) -> Arrays:
        if (depth, number) not in self._read:
            kept = self._kept[depth, number]
            self._read[depth, number] = self._reader.tables(kept.shard, kept.sha256)
        return self._read[depth, number]

    def tables(self) -> SurveyTables | None:
        """What is finished so far; None before the plan is fixed.

        Raises:
            ExplorerError: a part does not fit the plan.
        """
        if self.plan is not None and self._tables is None:
            try:
                self._tables = self.plan.tables(self._forced(self.plan), self._free(self.plan))
            except (KeyError, ValueError) as error:
                raise self._damaged(f"a part of the survey is not what was written: {error}") from None
        return self._tables

    def _take_plan(self, event: SurveyPlanned) -> None:
        arrays = self._reader.tables(event.shard, event.sha256)
        try:
            own: dict[str, Any] = {name: arrays[f"{PLAN}{name}"] for name in PLAN_TABLES}
            chose = arrays[f"{PLAN}chose"].astype(np.bool_)
        except KeyError as error:
            raise self._damaged(f"the plan of the survey lacks {error}") from None
        everyone = tuple(range(len(own["layer"]))) if event.free else ()
        self.plan = Plan(
            **own,
            chose=chose,
            forced=event.forced,
            free=event.free,
            chosen=everyone,
            rows=event.rows,
            together=event.together,
        )

    def _take_chosen(self, event: SurveyChosen) -> None:
        if self.plan is None or max(event.cells, default=0) >= len(self.plan.layer):
            raise self._damaged("the survey goes on with neurons that are not in its plan")
        self.plan = dataclasses.replace(self.plan, chosen=event.cells, free=event.free)

    def _forced(self, plan: Plan) -> ForcedScores | None:
        numbers = sorted(self.done("forced"))
        if not numbers:
            return None
        cells = np.concatenate([plan.cells("forced", number) for number in numbers])
        parts = [self._part("forced", number) for number in numbers]
        joined = {name: _joined(parts, f"{FORCED}{name}", axis) for name, axis in FORCED_AXES.items()}
        texts = {token: text for part in parts for token, text in texts_in(part, FORCED).items()}
        return ForcedScores(cells=cells, **joined, token_texts=texts)

    def _free(self, plan: Plan) -> FreeRuns | None:
        numbers = sorted(self.done("free"))
        if not numbers:
            return None
        cells = np.concatenate([plan.cells("free", number) for number in numbers])
        parts = [self._part("free", number) for number in numbers]
        joined = {name: _joined(parts, f"{FREE}{name}", axis) for name, axis in FREE_AXES.items()}
        full = f"{FREE}vectors/"
        sites = [name.removeprefix(full) for name in parts[0] if name.startswith(full)]
        vectors = {site: _joined(parts, f"{full}{site}", 0) for site in sites}
        kept = _joined(parts, f"{FREE}kept", 0)
        return FreeRuns(cells=cells, texts=plan.written_texts, **joined, kept=kept, vectors=vectors)

    def _damaged(self, what: str) -> ExplorerError:
        return ExplorerError(what, where=str(self._reader.folder), remedy="start the run again with --restart")


def _joined(parts: Sequence[Arrays], name: str, axis: int) -> NDArray[Any]:
    return np.concatenate([part[name] for part in parts], axis=axis)


def survey_tables(journal: JournalReader) -> SurveyTables | None:
    """What a journal, read to its end, holds of a survey; None of none, and before its plan is fixed.

    Raises:
        ExplorerError: a shard is missing or damaged.
    """
    if not journal.experiment.survey:
        return None
    survey = SurveyJournal(journal)
    survey.poll()
    return survey.tables()


def survey_layout(journal: JournalReader) -> SurveyLayout | None:
    """Which cells shared a part, of those that are finished; None before there is one."""
    parts = sorted(journal.events_of(SurveyKept), key=lambda part: part.part)
    if not parts:
        return None
    spans = _spans(journal)
    sizes: dict[Depth, list[tuple[int, int]]] = {"forced": [], "free": []}
    for part in parts:
        start, stop = spans[part.depth][part.part]
        sizes[part.depth].append((stop - start, part.rows))
    return SurveyLayout(tuple(sizes["forced"]), tuple(sizes["free"]))


def survey_standing(journal: JournalReader) -> Standing | None:
    """How far a survey is, by its events alone: no shard is read; None of an experiment without one."""
    if not journal.experiment.survey:
        return None
    return _standing(_spans(journal), _done(journal))


def survey_is_complete(journal: JournalReader) -> bool:
    """Whether nothing of a survey is left to be done; True of an experiment without one."""
    survey, spans = journal.experiment.survey, _spans(journal)
    if not survey:
        return True
    is_planned = bool(spans["free"] or (spans["forced"] and not survey.goes_on))
    return is_planned and {(depth, at) for depth in spans for at in range(len(spans[depth]))} <= _done(journal)


def _spans(journal: JournalReader) -> dict[Depth, tuple[Span, ...]]:
    """By depth, the cells of its parts; none of what is not planned, or chosen, yet."""
    spans: dict[Depth, tuple[Span, ...]] = {"forced": (), "free": ()}
    for planned in journal.events_of(SurveyPlanned):
        spans = {"forced": planned.forced, "free": planned.free}
    for chosen in journal.events_of(SurveyChosen):
        spans["free"] = chosen.free
    return spans


def _done(journal: JournalReader) -> set[tuple[Depth, int]]:
    return {(part.depth, part.part) for part in journal.events_of(SurveyKept)}


def _standing(spans: Mapping[Depth, Sequence[Span]], done: Container[tuple[Depth, int]]) -> Standing:
    counts: list[int] = []
    for depth, of_depth in spans.items():
        finished = (stop - start for at, (start, stop) in enumerate(of_depth) if (depth, at) in done)
        counts += [sum(finished), sum(stop - start for start, stop in of_depth)]
    return Standing(*counts)
