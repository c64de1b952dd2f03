"""Reading given texts once: what a site holds at every position that counts, part by part, nothing kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.model.decoding import Padded
from srm_explorer.engine.model.device import array_of
from srm_explorer.engine.model.hooks import HookNeverFired, by_coordinate
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.stats.streaming import ColumnStatistics, RunningColumns

TOKENS = 4096
"""Columns of a pass, pads included."""


@dataclass(frozen=True)
class ReadText:
    """A text and which of its positions count.

    Args:
        ids: token ids, at least one.
        first: the first position that counts; all after it do.
    """

    ids: tuple[int, ...]
    first: int = 0

    @property
    def counted(self) -> int:
        """Positions that count."""
        return max(len(self.ids) - self.first, 0)


Sink = Callable[[str, NDArray[Any], NDArray[np.int64]], None]
"""Takes a site, [position, d] activations, and [position] their numbers among all that count, texts in order."""


def stream_activations(
    model: LoadedModel,
    texts: Sequence[ReadText],
    sites: Sequence[str],
    take: Sink,
    *,
    columns: Sequence[int] | None = None,
    tokens: int = TOKENS,
    on_pass: Callable[[int, int], None] | None = None,
) -> None:
    """Read texts with an untouched model and hand over what sites hold.

    Texts of similar length share a pass; a text does not feel the others beyond floating point. Blocks above the last
    site are not run.

    Args:
        model: what reads them.
        texts: in any order.
        sites: TransformerLens names.
        take: called for every site in every pass.
        columns: hand over these coordinates only; None for all.
        tokens: the most columns of a pass, pads included; a text that is longer goes alone.
        on_pass: called after each pass with the texts and the positions that went through; may raise to stop.

    Raises:
        ExplorerError: a site that does not exist, or a text longer than the model's context.
        HookNeverFired: the model never reached a site.
    """
    model.check_sites(sites)
    for text in texts:
        if len(text.ids) > model.shape.n_ctx:
            raise ExplorerError(
                f"a text has {len(text.ids):,} tokens and this model reads {model.shape.n_ctx:,}",
                where=model.tokenizer.decode(text.ids[:8]),
                remedy="shorten it or leave it out",
            )
    starts = np.concatenate([[0], np.cumsum([text.counted for text in texts])]).astype(np.int64)
    split = max(Site.parse(site).layer for site in sites) + 1
    for batch in _batches(texts, tokens, pads=model.pads):
        padded = Padded([texts[index].ids for index in batch], model.device)
        first = np.array([texts[index].first for index in batch], np.int64)
        positions = array_of(padded.positions)
        counts = positions >= first[:, None]
        numbers = (starts[batch][:, None] + positions - first[:, None])[counts]
        reached: set[str] = set()
        # Called before the next batch begins, so that what it closes over is its own.
        hooks = [(site, _hook(site, counts, numbers, columns, take, reached)) for site in sites]
        with torch.inference_mode(), model.hooks(hooks):
            if split < len(model.blocks):
                model.blocks.head(padded.feed(), model.blocks.new_cache(), split)
            else:
                model.blocks.whole(padded.feed(), model.blocks.new_cache())
        for site in sites:
            if site not in reached:
                raise HookNeverFired(site)
        if on_pass:
            on_pass(len(batch), len(numbers))


def _hook(
    site: str,
    counts: NDArray[np.bool_],
    numbers: NDArray[np.int64],
    columns: Sequence[int] | None,
    take: Sink,
    reached: set[str],
) -> Callable[..., None]:
    def on_activation(activation: Float[Tensor, "row col d"], hook: object) -> None:
        reached.add(site)
        activation = by_coordinate(activation)
        kept = activation if columns is None else activation[..., list(columns)]
        take(site, array_of(kept[torch.from_numpy(counts).to(kept.device)]), numbers)  # pyright: ignore[reportUnknownMemberType]

    return on_activation


def _batches(texts: Sequence[ReadText], tokens: int, *, pads: bool) -> list[list[int]]:
    batches: list[list[int]] = []
    for index in sorted(range(len(texts)), key=lambda index: len(texts[index].ids)):
        if not texts[index].counted:
            continue
        # Sorted by length: the one that comes is the longest, and sets the width.
        length = len(texts[index].ids)
        fits = bool(batches) and (len(batches[-1]) + 1) * length <= tokens
        if fits and (pads or len(texts[batches[-1][-1]].ids) == length):
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


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
        tokens: as `stream_activations` has it.
        on_pass: as `stream_activations` has it.

    Raises:
        ExplorerError: no position counts, a layer out of range, or as `stream_activations`.
    """
    layers = list(model.shape.neuron_layers or (0,)) if layers is None else list(layers)
    for layer in layers:
        check_layer(model, layer)
        model.shape.check_neurons(f"blocks.{layer}.mlp.hook_post")
    if not any(text.counted for text in texts):
        raise ExplorerError("no position of these texts counts", remedy="name other prompts")
    keep = max(FEWEST, kept_bytes // (4 * model.shape.d_mlp * len(layers)))
    running = {f"blocks.{layer}.mlp.hook_post": RunningColumns(keep, seed) for layer in layers}
    stream_activations(model, texts, list(running), partial(_take, running), tokens=tokens, on_pass=on_pass)
    return {layer: columns.result() for layer, columns in zip(layers, running.values(), strict=True)}


def check_layer(model: LoadedModel, layer: int) -> None:
    """Refuse a layer that a model does not have."""
    if not 0 <= layer < model.shape.n_layers:
        raise ExplorerError(
            f"layer {layer} is out of range for this model ({model.shape.n_layers} layers)",
            remedy=f"choose 0 to {model.shape.n_layers - 1}",
        )


def check_neuron(model: LoadedModel, layer: int, neuron: int) -> None:
    """Refuse a neuron that a layer does not have."""
    width = model.shape.neurons(layer)
    model.shape.check_neurons(f"blocks.{layer}.mlp.hook_post")
    if not 0 <= neuron < width:
        where = f"layer {layer} of this model" if model.shape.mlp_widths else "this model"
        raise ExplorerError(
            f"neuron {neuron} is out of range for {where} (d_mlp = {width})", remedy=f"choose 0 to {width - 1}"
        )


def _take(running: dict[str, RunningColumns], site: str, activations: NDArray[Any], numbers: NDArray[np.int64]) -> None:
    if not np.isfinite(activations).all():
        raise ExplorerError(
            "some activations are not finite", where=site, remedy="load the model with dtype float32, or other prompts"
        )
    running[site].add(activations, numbers)
