"""How many rows a batch may have on the memory that is free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.model.capture import Capture
from engine.model.device import free_bytes
from engine.model.load import LoadedModel
from engine.spec.site import Site

# On a processor, more rows than these make matrix products no faster; small batches lose less to a crash.
_MOST_ROWS = {"cpu": 96, "mps": 256, "cuda": 1024}
_CPU_BUDGET = 700 * 2**20


def row_bytes(model: LoadedModel, positions: int, captures: Sequence[Capture]) -> int:
    """Estimate what one row of a batch needs at its longest: cache, logits, activations, captures.

    Args:
        positions: tokens of the prompt and of what is generated.
        captures: what is kept of a row.
    """
    config: Any = model.bridge.cfg
    heads: int = config.n_key_value_heads or config.n_heads
    cache = 2 * config.n_layers * heads * config.d_head * positions * model.dtype.itemsize
    logits = 4 * config.d_vocab * 4
    activations = 8 * model.shape.d_mlp * model.dtype.itemsize
    kept = sum(
        Site.parse(one.site).width(model.shape) * (4 * positions if one.reduce == "tokens" else 8)
        for one in captures
        if one.columns is None
    )
    # A cache grows by concatenation and is copied when rows part: for an instant, layers of it are there twice.
    return int(1.3 * cache) + logits + activations + kept


def rows_that_fit(model: LoadedModel, positions: int, captures: Sequence[Capture]) -> int:
    """Choose the most rows of a batch, at least 1."""
    free = free_bytes(model.device)
    budget = 0.6 * free if model.device.type == "cuda" else min(0.5 * free, _CPU_BUDGET)
    return max(1, min(_MOST_ROWS[model.device.type], int(budget // row_bytes(model, positions, captures))))
