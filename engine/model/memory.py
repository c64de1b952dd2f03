"""How many rows a batch may have on the memory that is free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.model.device import free_bytes
from srm_explorer.engine.model.intervene import Capture
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.runs.batch_memory import Sizes, captured_bytes, rows_within


def sizes_of(model: LoadedModel) -> Sizes:
    """Sizes that decide what a row needs."""
    config: Any = model.bridge.cfg
    heads: int = config.n_key_value_heads or config.n_heads
    return Sizes(config.n_layers, heads * config.d_head, model.shape.d_mlp, config.d_vocab, model.dtype.itemsize)


def weight_bytes(model: LoadedModel) -> int:
    """Bytes of the weights, shared ones once."""
    weights: dict[int, torch.Tensor] = {one.data_ptr(): one for one in model.bridge.original_model.parameters()}
    return sum(one.numel() * one.element_size() for one in weights.values())


def row_bytes(model: LoadedModel, positions: int, captures: Sequence[Capture]) -> int:
    """Estimate what one row of a batch needs at its longest: cache, logits, activations, captures.

    Args:
        positions: tokens of the prompt and of what is generated.
        captures: what is kept of a row.
    """
    kept = sum(
        captured_bytes(model.shape.width(Site.parse(one.site)), one.reduce, positions)
        for one in captures
        if one.columns is None
    )
    return sizes_of(model).row_bytes(positions, kept)


def rows_that_fit(model: LoadedModel, positions: int, captures: Sequence[Capture]) -> int:
    """Choose the most rows of a batch, at least 1."""
    return rows_within(free_bytes(model.device), model.device.type, row_bytes(model, positions, captures))
