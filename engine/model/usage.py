"""How much every neuron is used on given texts, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.analysis.running import ColumnStatistics, RunningColumns
from engine.errors import ExplorerError
from engine.model.load import LoadedModel
from engine.model.walk import TOKENS, ReadText, read_texts

KEPT_BYTES = 512 * 1024 * 1024
"""Memory of the activations that quantiles are taken from, all layers together."""

FEWEST = 256
"""Positions that are kept however large the model is."""


def neuron_usage(
    model: LoadedModel,
    texts: Sequence[ReadText],
    layers: Sequence[int] | None = None,
    *,
    kept_bytes: int = KEPT_BYTES,
    seed: int = 0,
    tokens: int = TOKENS,
    on_pass: Callable[[int, int], None] | None = None,
) -> dict[int, ColumnStatistics]:
    """Measure every neuron's activation (`mlp.hook_post`) over the positions of texts that count.

    Moments, extremes and the share above 0 are exact. Quantiles are exact while all activations fit into
    `kept_bytes`; beyond that they are those of a random choice of positions, the same for every neuron.

    Args:
        model: what reads them.
        texts: at least one position counts.
        layers: which; None for all that have neurons.
        kept_bytes: memory for the activations that are kept.
        seed: of the choice of positions.
        tokens: as `read_texts` has it.
        on_pass: as `read_texts` has it.

    Raises:
        ExplorerError: no position counts, a layer out of range, or as `read_texts`.
    """
    wanted = list(model.shape.neuron_layers or (0,)) if layers is None else list(layers)
    for layer in wanted:
        check_layer(model, layer)
        model.shape.check_neurons(f"blocks.{layer}.mlp.hook_post")
    if not any(text.counted for text in texts):
        raise ExplorerError("no position of these texts counts", remedy="name other prompts")
    keep = max(FEWEST, kept_bytes // (4 * model.shape.d_mlp * len(wanted)))
    running = {f"blocks.{layer}.mlp.hook_post": RunningColumns(keep, seed) for layer in wanted}
    read_texts(model, texts, list(running), partial(_take, running), tokens=tokens, on_pass=on_pass)
    return {layer: one.result() for layer, one in zip(wanted, running.values(), strict=True)}


def check_layer(model: LoadedModel, layer: int) -> None:
    """Refuse a layer that a model does not have."""
    if not 0 <= layer < model.shape.n_layers:
        raise ExplorerError(
            f"layer {layer} is out of range for this model ({model.shape.n_layers} layers)",
            remedy=f"choose 0 to {model.shape.n_layers - 1}",
        )


def check_neuron(model: LoadedModel, neuron: int) -> None:
    """Refuse a neuron that a model does not have."""
    if not 0 <= neuron < model.shape.d_mlp:
        raise ExplorerError(
            f"neuron {neuron} is out of range for this model (d_mlp = {model.shape.d_mlp})",
            remedy=f"choose 0 to {model.shape.d_mlp - 1}",
        )


def _take(running: dict[str, RunningColumns], site: str, activations: NDArray[Any], numbers: NDArray[np.int64]) -> None:
    if not np.isfinite(activations).all():
        raise ExplorerError(
            "some activations are not finite", where=site, remedy="load the model with dtype float32, or other prompts"
        )
    running[site].add(activations, numbers)
