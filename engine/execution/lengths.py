"""The pass that feeds texts again which others of their prompt end before, for their means at those lengths."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from srm_explorer.engine.errors import is_out_of_memory
from srm_explorer.engine.execution.rows import RowMaker, as_saved
from srm_explorer.engine.experiment import Site
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
        batches: indices of the runs as they shared batches.
        runs: all of them.
    """

    maker: RowMaker
    batches: Sequence[Sequence[int]]
    runs: Sequence[RunRecord]

    @cached_property
    def parts(self) -> list[tuple[int, ...]]:
        """Indices of the runs that go together."""
        marks = self.marks
        numbers = sum(self.maker.model.shape.width(Site.parse(site)) for site in self.maker.experiment.capture.sites)
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
        maker = self.maker
        if not takes_pass(maker.experiment):
            return {run.index: () for run in self.runs}
        kept = marks_of(maker.experiment, maker.conditions, self.runs)
        return {run.index: marks for run, marks in zip(self.runs, kept, strict=True)}

    def means(
        self,
        part: Sequence[int],
        resolved: Resolved,
        controls: Controls | None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Means:
        """Feed the texts of some runs again, as far as their longest mark; halved where they do not fit into memory."""
        marks, texts = self.marks, {run.index: run.token_ids for run in self.runs}
        named = self.maker.captures()
        decoded: Decoded | None = None
        try:
            rows = [
                dataclasses.replace(row, forced=texts[index][: marks[index][-1]], marks=marks[index])
                for index, row in zip(part, self.maker.rows(part, resolved, controls), strict=True)
            ]
            captures = [capture for _, capture in named]
            # Nothing is chosen, so nothing is drawn.
            generation = dataclasses.replace(self.maker.generation(), sampling=Sampling())
            decoded = decode(self.maker.model, rows, generation, captures, on_step=on_step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(part) == 1:
                raise
        if decoded is None:
            # Outside the handler, so that the traceback no longer holds the tensors that did not fit.
            release_memory()
            half = len(part) // 2
            first = self.means(part[:half], resolved, controls, on_step)
            return first | self.means(part[half:], resolved, controls, on_step)
        return {
            index: {
                name: as_saved(means)
                for (name, capture), means in zip(named, row.marked, strict=True)
                if capture.reduce == "mean"
            }
            for index, row in zip(part, decoded.rows, strict=True)
        }


def by_name(means: Means, runs: Sequence[int]) -> dict[str, list[Matrix]]:
    """Means of some runs, in their order, by name."""
    names = dict.fromkeys(name for index in runs for name in means[index])
    return {name: [np.asarray(means[index][name]) for index in runs] for name in names}
