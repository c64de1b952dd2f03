"""The batches of a run, and what they wait for: pieces of work for whoever has the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError, is_out_of_memory
from srm_explorer.engine.execution.bench import Bench, Report
from srm_explorer.engine.execution.rows import as_saved
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.model import Capture, Decoded, LoadedModel, Prepared, writing_rows
from srm_explorer.engine.session import Resolved, RunRecord
from srm_explorer.engine.session.controls import Controls


@dataclass(frozen=True)
class BatchDone:
    """Finished runs of a batch.

    Attributes:
        runs: in the order of the task.
        vectors: by name, rows in the order of the runs, as the journal takes them.
        receipt: what the hooks reported.
    """

    runs: tuple[RunRecord, ...]
    vectors: dict[str, Any]
    receipt: dict[str, Any]

    @property
    def tokens(self) -> int:
        """How many were generated."""
        return sum(len(run.token_ids) for run in self.runs)


@dataclass(frozen=True)
class BatchTask:
    """Runs that go through the model together.

    Args:
        number: of the batch in the layout.
        indices: of the runs, all of the batch or a part of it.
        resolved: raw values; without them, only baseline runs can be laid out.
        controls: without them, no run of a control can be.
        following: what whoever carries this out is given next, if nothing comes between; it is laid out meanwhile.
    """

    number: int
    indices: tuple[int, ...]
    resolved: Resolved
    controls: Controls | None
    following: BatchTask | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def rows(self) -> int:
        """A row a run."""
        return len(self.indices)

    @property
    def tokens(self) -> int:
        """Told by the meter, which counts steps."""
        return 0

    def carry_out(self, bench: Bench, report: Report) -> BatchDone:
        """Decode them; errors as a task's."""
        then = None if bench.maker.asks_model else self.following
        prepared = bench.ahead.take(self, partial(BatchTask._prepared, bench=bench), then)
        decoded = prepared.decode(bench.model, report)
        records = [bench.maker.record(index, row) for index, row in zip(self.indices, decoded.rows, strict=True)]
        return BatchDone(
            runs=tuple(records),
            vectors=self._vectors(bench, decoded),
            receipt={
                "sites": [dataclasses.asdict(receipt) for receipt in decoded.receipts],
                "rows": self.rows,
                # What the self-test allows, a batch may not take: some sites ask the host.
                "static_steps": decoded.static_steps,
            },
        )

    def _prepared(self, bench: Bench) -> Prepared:
        rows = bench.maker.rows(self.indices, self.resolved, self.controls)
        captures = [capture for _, capture in self._captures(bench)]
        return Prepared.of(bench.model, rows, bench.maker.generation(), captures)

    def _captures(self, bench: Bench) -> list[tuple[str, Capture]]:
        has_baseline = any(bench.grid.condition(index) == 0 for index in self.indices)
        return [*bench.maker.captures(), *(bench.maker.moments() if has_baseline else [])]

    def _vectors(self, bench: Bench, decoded: Decoded) -> dict[str, Any]:
        """What was captured of a batch, as it is saved: as large again as it is in the model's precision."""
        vectors: dict[str, Any] = {}
        for column, (name, capture) in enumerate(self._captures(bench)):
            arrays = [as_saved(row.captured[column]) for row in decoded.rows]
            if capture.reduce == "moments":
                # Of the baseline alone: the other rows of its batches are not what is matched on.
                is_baseline = [bench.grid.condition(index) == 0 for index in self.indices]
                arrays = [array if kept else array[:0] for array, kept in zip(arrays, is_baseline, strict=True)]
            vectors[name] = np.stack(arrays) if capture.reduce in ("mean", "last") else arrays
        return vectors


@dataclass(frozen=True)
class NormsTask:
    """How much neurons write for 1 each, the lengths of their `writing_rows`, which controls are matched on."""

    sites: tuple[str, ...]

    @property
    def rows(self) -> int:
        """None: it is read."""
        return 0

    @property
    def tokens(self) -> int:
        """Not told."""
        return 0

    def carry_out(self, bench: Bench, report: Report) -> dict[str, NDArray[np.float64]]:
        """Measure them: [neuron] by site."""
        del report
        return {site: self._norms(bench, site) for site in self.sites}

    def _norms(self, bench: Bench, site: str) -> NDArray[np.float64]:
        rows = writing_rows(bench.model, Site.parse(site).layer).astype(np.float64)
        return np.sqrt((rows**2).sum(axis=1))


@contextmanager
def same_rows(rows: int, model: LoadedModel) -> Generator[None]:
    """Refuse to go on with fewer rows where so many do not fit: the last bits of what comes would be others.

    Raises:
        ExplorerError: there is not enough memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ExplorerError(
            f"a batch of {rows} rows does not fit into memory, and smaller ones would not be the same run",
            where=model.placement.describe(),
            remedy="free some memory, or replay where there is more",
        ) from None
