"""From an experiment to numbered runs, and from runs to batches of rows that fit into memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import Field

from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.session.codec import DamagedError, Whole

# On a processor, rows gain from one another up to a few hundred, the most where texts share their beginnings: few
# histories a step are left of them. Smaller batches lose less to a crash, and show the first runs sooner.
# On a GPU the protocol's 2,050 runs are one batch.
MOST_ROWS = {"cpu": 320, "mps": 320, "cuda": 2560}
CPU_BUDGET = 1600 * 2**20
"""Bytes that a batch may take on a processor or a shared memory, however much is free."""

COLUMNS = 32
"""A step in static tensors reads the cached columns in multiples of this, and there is one graph for each."""

FEW = 8
"""Batches in static tensors have a multiple of so many rows, or a power of two of fewer: one more is no other shape."""

_SHARE = 32  # and of the power of two that is this part of a large one, so that a batch grows by 3 % at most

ITEM_BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
"""Bytes of one number in each precision that a model may have."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model that decide what a row needs.

    Args:
        kv_width: heads that keep keys and values, times their width.
        n_heads: of one layer; 0 where it has none.
        d_mlp: number of neurons of one MLP.
    """

    n_layers: int
    kv_width: int
    n_heads: int
    d_mlp: int
    n_vocab: int
    item_bytes: int

    def row_bytes(self, prompt: int, tokens: int, kept: int, *, kind: str = "cpu", sampled: bool = False) -> int:
        """Estimate what one row of a batch needs at its longest: cache, logits, activations, captures.

        Args:
            prompt: its tokens.
            tokens: that are generated after it.
            kept: bytes of what is captured of a row.
            kind: of device; on "cuda" a batch lies in static tensors, and its steps are graphs.
            sampled: whether tokens are drawn.
        """
        positions, column = prompt + tokens, 2 * self.n_layers * self.kv_width * self.item_bytes
        activations = 8 * self.d_mlp * self.item_bytes
        if kind != "cuda":
            # A cache has room to grow, and is copied when rows part: for an instant, a layer of it is there twice.
            return int(1.1 * column * positions) + 4 * self.n_vocab * 4 + activations + kept
        room, logits = column * -(-positions // COLUMNS) * COLUMNS, self.n_vocab * self.item_bytes
        # Drawing sorts the vocabulary, and keeps what was and what became of it until it has chosen.
        step = self.n_vocab * (40 if sampled else 8) + activations
        # The room of the batch before is there already while prompts are fed, to a cache of their own.
        feeding = column * (prompt + 16) + logits
        feeding += prompt * 4 * self.d_mlp * max(self.item_bytes, 4) + 3 * self.n_heads * prompt**2 * 4
        # A step is tried in memory of its own, beside what the graphs that are there share.
        return room + logits + kept + step + max(feeding, step + logits)


def captured_bytes(width: int, reduce: str, positions: int) -> int:
    """Bytes that the capture of one site keeps of a row: sums in float64, or every token in float32.

    Args:
        width: coordinates of the site.
        reduce: "mean", "last", "tokens" or "moments".
        positions: tokens of the prompt and of what is generated.
    """
    return width * (4 * positions if reduce == "tokens" else 16 if reduce == "moments" else 8)


def filled(count: int) -> int:
    """How many rows a batch of so many has: numbers that are nearly alike are one, so that graphs are used again."""
    if count <= FEW:
        return 2 ** (count - 1).bit_length()
    step = max(FEW, 2 ** (count.bit_length() - 1) // _SHARE)
    return -(-count // step) * step


def rows_within(free: float, kind: str, row_bytes: int) -> int:
    """Choose the most rows of a batch, at least 1.

    Args:
        free: bytes that can still be allocated.
        kind: "cpu", "mps" or "cuda".
        row_bytes: what one row needs.
    """
    budget = 0.6 * free if kind == "cuda" else min(0.5 * free, CPU_BUDGET)
    rows = max(1, min(MOST_ROWS[kind], int(budget // row_bytes)))
    # What fills a batch up takes memory as well.
    return rows if kind != "cuda" else max(count for count in range(1, rows + 1) if filled(count) == count)


PartSize: TypeAlias = tuple[Annotated[Whole, Field(ge=1)], Annotated[Whole, Field(ge=1)]]
"""Cells of a part, and the most rows that went through the model together."""


@dataclass(frozen=True)
class Layout:
    """Which runs share a batch; fixed when planned, journalled, and reused by resume and replay.

    Args:
        rows: the most rows a batch was planned to have.
        first: how many of the batches hold the baseline runs that units are measured on, before all others.
        batches: run indices of each batch, in row order.
    """

    rows: Annotated[Whole, Field(ge=1)]
    first: Annotated[Whole, Field(ge=0)]
    batches: tuple[tuple[Whole, ...], ...]

    def check_holds(self, runs: int) -> None:
        """Make sure that every run has its place in one batch.

        Raises:
            DamagedError: a run is missing, there twice, or none of those.
        """
        places = sorted(index for batch in self.batches for index in batch)
        if places != list(range(runs)):
            raise DamagedError(f"batches do not hold each of {runs} runs once")
        if self.first > len(self.batches):
            raise DamagedError(f"first is more than {len(self.batches)}")


@dataclass(frozen=True)
class SurveyLayout:
    """Which cells of a survey shared a part, part by part as they lie in its tables; what was finished alone.

    Args:
        forced: how many cells a part scored, and the most rows of its passes.
        free: how many it wrote under, and the most rows of its batches.
    """

    forced: tuple[PartSize, ...]
    free: tuple[PartSize, ...]

    def check_holds(self, forced: int, free: int) -> None:
        """Make sure that parts hold as many cells as tables do.

        Raises:
            DamagedError: they hold more or fewer.
        """
        if (sum(cells for cells, _ in self.forced), sum(cells for cells, _ in self.free)) != (forced, free):
            raise DamagedError("parts hold other neurons than its tables")


def plan_layout(grid: Grid, lengths: Sequence[int], rows: int, *, baseline_first: bool, controls: int = 0) -> Layout:
    """Lay the runs of a grid out in batches.

    Prompts of similar length go together, so that little is padded; the conditions of a prompt go together, so that
    they share its prefill and the text they have in common. Batches are of nearly equal size.

    Args:
        lengths: tokens of each prompt.
        rows: the most rows of a batch, at least 1.
        baseline_first: put the baseline runs in batches of their own before the others, because the values of the
            others are given in units measured on them.
        controls: how many of the conditions, the last ones, belong to controls. Their runs come after all others: they
            are chosen by the baseline, and what they are compared with is there first, laid out as without them.
    """
    order = sorted(range(grid.prompts), key=lambda prompt: (lengths[prompt], prompt))
    pairs = [(prompt, sample) for prompt in order for sample in range(grid.samples)]
    first_control = grid.conditions - controls
    last = _packed(grid, pairs, range(first_control, grid.conditions), rows)
    if not baseline_first:
        return Layout(rows, 0, _packed(grid, pairs, range(first_control), rows) + last)
    measured = _packed(grid, pairs, range(1), rows)
    rest = _packed(grid, pairs, range(1, first_control), rows)
    return Layout(rows, len(measured), measured + rest + last)


def _packed(grid: Grid, pairs: Sequence[tuple[int, int]], conditions: range, rows: int) -> tuple[tuple[int, ...], ...]:
    if not conditions or not pairs:
        return ()
    if len(conditions) > rows:
        parts = math.ceil(len(conditions) / rows)
        chunks = [conditions[start:stop] for start, stop in _cuts(len(conditions), parts)]
        return tuple(tuple(grid.index(p, s, c) for c in chunk) for p, s in pairs for chunk in chunks)
    parts = math.ceil(len(pairs) / (rows // len(conditions)))
    return tuple(
        tuple(grid.index(p, s, c) for p, s in pairs[start:stop] for c in conditions)
        for start, stop in _cuts(len(pairs), parts)
    )


def _cuts(length: int, parts: int) -> list[tuple[int, int]]:
    edges = [length * part // parts for part in range(parts + 1)]
    return list(itertools.pairwise(edges))
