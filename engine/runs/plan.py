"""From an experiment to numbered runs, and from runs to batches of rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.session.codec import Whole


@dataclass(frozen=True)
class Layout:
    """Which runs share a batch; fixed when planned, journalled, and reused by resume and replay.

    Args:
        rows: the most rows a batch was planned to have.
        first: how many of the batches hold the baseline runs that units are measured on, before all others.
        batches: run indices of each batch, in row order.
    """

    rows: Whole
    first: Whole
    batches: tuple[tuple[Whole, ...], ...]


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
    own = grid.conditions - controls
    last = _packed(grid, pairs, range(own, grid.conditions), rows)
    if not baseline_first:
        return Layout(rows, 0, _packed(grid, pairs, range(own), rows) + last)
    measured = _packed(grid, pairs, range(1), rows)
    rest = _packed(grid, pairs, range(1, own), rows)
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
