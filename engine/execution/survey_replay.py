"""The parts of a survey done again, and what came out differently."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.batches import same_rows
from srm_explorer.engine.execution.bench import Bench
from srm_explorer.engine.execution.executor import flying
from srm_explorer.engine.execution.survey import FreePart, GivenTexts, OfBaseline, Part, PartMaker
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.experiment.survey import Depth, site_of
from srm_explorer.engine.model import LoadedModel
from srm_explorer.engine.runs.collect import SURVEY_LAYOUT
from srm_explorer.engine.runs.plan import PartSize, SurveyLayout
from srm_explorer.engine.runs.planes import Kept
from srm_explorer.engine.runs.progress import Meter
from srm_explorer.engine.runs.survey import FORCED, FREE
from srm_explorer.engine.session import DamagedError, Session, SurveyTables, read_record
from srm_explorer.engine.session.standing import Standing
from srm_explorer.engine.session.survey import FORCED_AXES, FREE_AXES

_NAMES = ("promoted", "demoted", "text_hash")
"""Tables whose numbers name something: how far two are apart says nothing."""


@dataclass(frozen=True)
class TableDifference:
    """A table of a survey that came out differently.

    Attributes:
        depth: whose it is.
        table: its name: "kl"; "vectors/SITE".
        neurons: how many have a number that differs.
        largest: largest absolute difference; None where numbers are names, as token ids are; infinite where there is
            nothing to compare with.
    """

    depth: Depth
    table: str
    neurons: int
    largest: float | None


@dataclass(frozen=True)
class SurveyAgain:
    """What came of doing the parts of a survey again.

    Attributes:
        scored: neurons under which the baseline's texts were scored again.
        written: neurons under which texts were written again.
        differing: tables that are not the same, number by number.
        why_not: why nothing was done again; empty where it was.
    """

    scored: int = 0
    written: int = 0
    differing: tuple[TableDifference, ...] = ()
    why_not: str = ""

    @property
    def bit_equal(self) -> bool:
        """Whether every number of every table is the same."""
        return not self.differing


@dataclass(frozen=True, eq=False)
class SavedParts:
    """The finished parts of a session's survey, as they were laid out."""

    session: Session
    tables: SurveyTables
    layout: SurveyLayout

    @classmethod
    def of(cls, session: Session) -> Self | None:
        """Read them; None where nothing is finished.

        Raises:
            ExplorerError: the tables are missing, or not those that were saved; nothing says how they were laid out.
            DamagedError: the layout is not theirs.
        """
        tables = session.survey()
        if tables is None or (tables.forced is None and tables.free is None):
            return None
        if SURVEY_LAYOUT not in session.layout:
            what = "the session does not say which of its neurons shared a part"
            remedy = "run its experiment again under another name"
            raise ExplorerError(what, where=session.name, remedy=remedy)
        layout = read_record(SurveyLayout, session.layout.get(SURVEY_LAYOUT), f"layout.{SURVEY_LAYOUT}")
        parts = cls(session, tables, layout)
        layout.check_holds(len(parts._cells("forced")), len(parts._cells("free")))
        for depth, _, cells, _ in parts:
            if len(np.unique(tables.layer[cells])) != 1:
                raise DamagedError(f"layout.{SURVEY_LAYOUT}.{depth} has parts of several layers")
        texts = parts._texts
        if (list(texts.prompt), list(texts.sample)) != (tables.prompt.tolist(), tables.sample.tolist()):
            raise DamagedError("the survey has other texts than the session")
        if tables.free is not None and not np.isin(tables.free.texts, np.arange(len(texts))).all():
            raise DamagedError("the survey was written on texts that are not there")
        return parts

    def __len__(self) -> int:
        return len(self.layout.forced) + len(self.layout.free)

    def __iter__(self) -> Iterator[tuple[Depth, slice, NDArray[np.int32], int]]:
        """Each part: whose it is, its rows in the tables, its cells, and the most rows that went through together."""
        both: tuple[tuple[Depth, tuple[PartSize, ...]], ...] = (
            ("forced", self.layout.forced),
            ("free", self.layout.free),
        )
        for depth, sizes in both:
            cells = self._cells(depth)
            edges = itertools.accumulate((size for size, _ in sizes), initial=0)
            for (start, stop), (_, rows) in zip(itertools.pairwise(edges), sizes, strict=True):
                yield depth, slice(start, stop), cells[start:stop], rows

    def check_fits(self, model: LoadedModel) -> None:
        """Refuse what the model cannot be fed, or does not have.

        Raises:
            DamagedError: a layer, neuron or token that is none of it.
        """
        template = self.session.spec.interventions[0]
        for layer in np.unique(self.tables.layer).tolist():
            width = model.shape.width(Site.parse(site_of(template, layer))) if 0 <= layer < model.shape.n_layers else 0
            neurons = self.tables.neuron[self.tables.layer == layer]
            if not 0 <= neurons.min() <= neurons.max() < width:
                raise DamagedError(f"the survey has neurons of layer {layer} that this model does not have")
        for place, tokens in zip(self._texts.prompt, self._texts.tokens, strict=True):
            fits = len(self.session.prompts[place].token_ids) + len(tokens) <= model.shape.n_ctx
            if not fits or not all(0 <= token < model.bridge.cfg.d_vocab for token in tokens):
                raise DamagedError("the survey has texts that cannot be fed to this model")

    def replay(self, bench: Bench, kept: Kept, meter: Meter) -> SurveyAgain:
        """Do them again, on the texts as they were saved.

        Args:
            kept: vectors of the runs, by site.

        Raises:
            Stopped: it was asked to stop.
            ExplorerError: a part does not fit into memory.
        """
        maker = PartMaker(self.session.spec, self.tables, self._texts, self.session.prompts)
        baseline = OfBaseline.of(self.session, kept) if self.layout.free else None
        found = _Comparison(self.tables)
        standing = Standing(to_score=len(self._cells("forced")), to_write=len(self._cells("free")))
        meter.begin_parts("survey", 0, len(self), standing)
        for number, (depth, where, cells, rows) in enumerate(self):
            if baseline is None or self.tables.free is None or depth == "forced":
                part: Part = maker.forced(number, cells, rows)
            else:
                part = maker.free(number, cells, rows, self.tables.free.texts, baseline)
            with same_rows(rows, bench.model):
                arrays = part.carry_out(bench, flying(part, meter))
            found.take(part, where, arrays)
            standing = dataclasses.replace(standing, **{"scored" if depth == "forced" else "written": where.stop})
            meter.part("survey", number + 1, len(self), standing)
        return SurveyAgain(standing.scored, standing.written, found.differing())

    @property
    def _texts(self) -> GivenTexts:
        return GivenTexts.of(self.session.runs)

    def _cells(self, depth: Depth) -> NDArray[np.int32]:
        part = self.tables.forced if depth == "forced" else self.tables.free
        return np.zeros(0, np.int32) if part is None else part.cells


@dataclass(eq=False)
class _Comparison:
    """Compares parts with tables, one after the other."""

    tables: SurveyTables
    _kept: int = 0
    _worst: dict[tuple[Depth, str], tuple[int, float]] = field(
        default_factory=dict[tuple[Depth, str], tuple[int, float]]
    )

    def take(self, part: Part, where: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Compare a part with the rows of the tables that it makes."""
        if isinstance(part, FreePart):
            for name, axis in FREE_AXES.items():
                self._compare("free", name, arrays[f"{FREE}{name}"], getattr(self.tables.free, name), where, axis)
            start, self._kept = self._kept, self._kept + sum(part.kept)
            own = slice(start, self._kept)
            for site, saved in self.tables.free.vectors.items() if self.tables.free else ():
                name = f"vectors/{site}"
                self._compare("free", name, arrays[f"{FREE}{name}"], saved, own, 0)
            return
        for name, axis in FORCED_AXES.items():
            self._compare("forced", name, arrays[f"{FORCED}{name}"], getattr(self.tables.forced, name), where, axis)

    def _compare(
        self, depth: Depth, name: str, now: NDArray[Any], table: NDArray[Any], where: slice, axis: int
    ) -> None:
        was = table[(slice(None),) * axis + (where,)]
        if now.shape != was.shape:
            cells, largest = now.shape[axis], np.inf
        else:
            differs = ~((now == was) | (np.isnan(now) & np.isnan(was)))
            others = tuple(other for other in range(now.ndim) if other != axis)
            cells = int(differs.any(axis=others).sum())
            apart = np.abs(now[differs].astype(np.float64) - was[differs].astype(np.float64))
            largest = float(np.where(np.isnan(apart), np.inf, apart).max(initial=0.0))
        if cells:
            before, most = self._worst.get((depth, name), (0, 0.0))
            self._worst[depth, name] = before + cells, max(most, largest)

    def differing(self) -> tuple[TableDifference, ...]:
        """Every table with a difference, in the order of the tables."""
        return tuple(
            TableDifference(depth, name, cells, None if name in _NAMES else largest)
            for (depth, name), (cells, largest) in self._worst.items()
        )
