"""The pass that feeds texts again which others of their prompt end before, for their means at those lengths."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from srm_explorer.engine.errors import is_out_of_memory
from srm_explorer.engine.execution.bench import Bench, Report
from srm_explorer.engine.execution.rows import as_saved
from srm_explorer.engine.experiment import Experiment, ModelShape, Site, conditions
from srm_explorer.engine.io.vectors import Matrix
from srm_explorer.engine.model import Decoded, Sampling, decode, release_memory
from srm_explorer.engine.runs.collect import takes_pass
from srm_explorer.engine.session import Resolved, RunRecord
from srm_explorer.engine.session.controls import Controls
from srm_explorer.engine.session.lengths import marks_of

MOST_KEPT = 16_000_000
"""Numbers in the means of one pass: 128 MB."""

Means = dict[int, dict[str, Matrix]]
"""[mark, d] means over the first tokens, by index of the run and by name."""


@dataclasses.dataclass(frozen=True)
class LengthPass:
    """What must be fed once more of finished runs, and how; nothing where all texts of a prompt are as long.

    The rows of a pass are those of a batch, in its order, so that what comes of it depends on the layout alone: not on
    where a run was stopped, nor on what else is asked of it later.

    Args:
        shape: sizes of the model.
        batches: indices of the runs as they shared batches.
        runs: all of them.
    """

    experiment: Experiment
    shape: ModelShape
    batches: Sequence[Sequence[int]]
    runs: Sequence[RunRecord]

    @cached_property
    def parts(self) -> list[tuple[int, ...]]:
        """Indices of the runs that go together."""
        marks = self.marks
        numbers = sum(self.shape.width(Site.parse(site)) for site in self.experiment.capture.sites)
        parts: list[tuple[int, ...]] = []
        for batch in self.batches:
            part: list[int] = []
            kept = 0
            for index in batch:
                size = len(marks[index]) * numbers
                if part and kept + size > MOST_KEPT:
                    parts.append(tuple(part))
                    part, kept = [], 0
                part += [index] if size else []
                kept += size
            parts += [tuple(part)] if part else []
        return parts

    @cached_property
    def marks(self) -> dict[int, tuple[int, ...]]:
        """By index of the run, the lengths at which its means are taken."""
        if not takes_pass(self.experiment):
            return {run.index: () for run in self.runs}
        kept = marks_of(self.experiment, conditions(self.experiment), self.runs)
        return {run.index: marks for run, marks in zip(self.runs, kept, strict=True)}

    @cached_property
    def _texts(self) -> dict[int, tuple[int, ...]]:
        return {run.index: run.token_ids for run in self.runs}

    def task(self, part: Sequence[int], resolved: Resolved, controls: Controls | None) -> MeansTask:
        """What is to be done for some runs that go together."""
        marks = tuple(self.marks[index] for index in part)
        texts = tuple(self._texts[index][: own[-1]] for index, own in zip(part, marks, strict=True))
        return MeansTask(tuple(part), marks, texts, resolved, controls)


@dataclasses.dataclass(frozen=True)
class MeansTask:
    """Texts that are fed again, as far as their longest mark.

    Args:
        part: indices of the runs.
        marks: of each, at least one.
        texts: of each, the tokens that are fed.
    """

    part: tuple[int, ...]
    marks: tuple[tuple[int, ...], ...]
    texts: tuple[tuple[int, ...], ...]
    resolved: Resolved
    controls: Controls | None

    @property
    def rows(self) -> int:
        """A row a run."""
        return len(self.part)

    @property
    def tokens(self) -> int:
        """Not told."""
        return 0

    def carry_out(self, bench: Bench, report: Report) -> Means:
        """Take their means; halved where they do not fit into memory, other errors as a task's."""
        maker = bench.maker
        named = maker.captures()
        decoded: Decoded | None = None
        try:
            made = maker.rows(self.part, self.resolved, self.controls)
            rows = [
                dataclasses.replace(row, forced=text, marks=marks)
                for row, text, marks in zip(made, self.texts, self.marks, strict=True)
            ]
            captures = [capture for _, capture in named]
            # Nothing is chosen, so nothing is drawn.
            generation = dataclasses.replace(maker.generation(), sampling=Sampling())
            decoded = decode(bench.model, rows, generation, captures, on_step=report)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(self.part) == 1:
                raise
        if decoded is None:
            # Outside the handler, so that the traceback no longer holds the tensors that did not fit.
            bench.model.kept_step = None
            release_memory()
            half = self.rows // 2
            first = self._cut(slice(None, half)).carry_out(bench, report)
            return first | self._cut(slice(half, None)).carry_out(bench, report)
        return {
            index: {
                name: as_saved(means)
                for (name, capture), means in zip(named, row.marked, strict=True)
                if capture.reduce == "mean"
            }
            for index, row in zip(self.part, decoded.rows, strict=True)
        }

    def _cut(self, which: slice) -> MeansTask:
        return dataclasses.replace(self, part=self.part[which], marks=self.marks[which], texts=self.texts[which])


def by_name(means: Means, runs: Sequence[int]) -> dict[str, list[Matrix]]:
    """Means of some runs, in their order, by name."""
    names = dict.fromkeys(name for index in runs for name in means[index])
    return {name: [np.asarray(means[index][name]) for index in runs] for name in names}
