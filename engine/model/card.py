"""What the weights say of one neuron: its norms, the tokens it promotes, and the neurons that are like it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.model.arrays import array_of, tensor_of
from engine.model.load import LoadedModel
from engine.model.usage import check_layer, check_neuron
from engine.model.walk import ReadText, read_texts
from engine.model.weights import final_norm_weight, w_gate_columns, w_in_columns, w_out_rows

_CHUNK = 16_384
"""Tokens of the vocabulary that are worked on at a time."""


@dataclass(frozen=True)
class Norm:
    """How long one of a neuron's weight vectors is.

    Attributes:
        name: "W_out", "W_in" or "W_gate".
        length: of the raw weights.
        share: of the layer's neurons with a smaller one, half of the equal ones included.
    """

    name: str
    length: float
    share: float


@dataclass(frozen=True)
class Neighbour:
    """A neuron whose weights point along another's, or against it where the cosine is negative."""

    layer: int
    neuron: int
    cosine: float


@dataclass(frozen=True, eq=False)
class WeightCard:
    """What the weights say of a neuron.

    Attributes:
        norms: W_out, W_in and, where the MLP is gated, W_gate.
        logits: [vocabulary] see `direct_logits`.
        writes_alike: neighbours by the cosine of W_out rows, the largest in size first.
        reads_alike: neighbours by the cosine of W_in columns (`up` in a gated MLP).
        compared: neurons that were compared with.
        gated: whether the MLP is gated.
        is_normed: whether a norm follows W_out before the residual stream, as in Gemma-2.
    """

    norms: tuple[Norm, ...]
    logits: NDArray[np.float64]
    writes_alike: tuple[Neighbour, ...]
    reads_alike: tuple[Neighbour, ...]
    compared: int
    gated: bool
    is_normed: bool


def weight_card(
    model: LoadedModel, layer: int, neuron: int, *, top: int = 10, layers: Sequence[int] | None = None
) -> WeightCard:
    """Read what the weights say of a neuron.

    W_out rows are centred over d_model before their cosine is taken where the model's norms centre (LayerNorm), since
    nothing reads their mean; W_in columns are taken as they are. Norms are those of the raw weights.

    Args:
        model: loaded; its weights are not folded.
        layer: the neuron's.
        neuron: its number.
        top: neighbours that are listed.
        layers: where neighbours are looked for; None for its own layer.

    Raises:
        ExplorerError: the layer or neuron is out of range, or the layer has no plain MLP.
    """
    check_layer(model, layer)
    check_neuron(model, neuron)
    gate = w_gate_columns(model, layer)
    written, read = w_out_rows(model, layer), w_in_columns(model, layer)
    norms = [_norm("W_out", written, neuron), _norm("W_in", read, neuron)]
    norms += [] if gate is None else [_norm("W_gate", gate, neuron)]
    wanted = [layer] if layers is None else list(dict.fromkeys(layers))
    out = partial(_written, model)
    return WeightCard(
        norms=tuple(norms),
        logits=direct_logits(model, written[neuron]),
        writes_alike=_neighbours(out, (layer, neuron), wanted, top),
        reads_alike=_neighbours(partial(w_in_columns, model), (layer, neuron), wanted, top),
        compared=len(wanted) * model.shape.d_mlp - int(layer in wanted),
        gated=gate is not None,
        is_normed=hasattr(model.bridge.blocks[layer], "ln2_post"),
    )


def direct_logits(model: LoadedModel, direction: NDArray[Any]) -> NDArray[np.float64]:
    """Compute what one unit of a direction in the residual stream adds to each logit, the last norm's division aside.

    ``(g * c(w)) @ W_U`` with the gain g of the norm before the unembedding, and c subtracting the mean over d_model
    where that norm does. The norm then divides by the size of the residual stream, one positive number for all tokens
    at a position, so the order of tokens and their proportions are right and the scale is not; what later layers make
    of the direction is not in it (direct logit attribution; nostalgebraist, 2020; Elhage et al., 2021).

    Args:
        model: loaded.
        direction: [d_model] raw.

    Returns:
        [vocabulary] float64.
    """
    own = np.asarray(direction, np.float64)
    if model.shape.centres:
        own = own - own.mean()
    own = own * final_norm_weight(model)
    unembed: Tensor = model.bridge.unembed.W_U
    found: list[NDArray[np.float64]] = []
    with torch.inference_mode():
        wide = torch.float32 if unembed.device.type == "mps" else torch.float64
        scaled = tensor_of(own, torch.device("cpu")).to(unembed.device, wide)
        for start in range(0, unembed.shape[1], _CHUNK):
            found.append(array_of(scaled @ unembed[:, start : start + _CHUNK].to(wide)).astype(np.float64))
    return np.concatenate(found)


def neuron_activations(
    model: LoadedModel,
    texts: Sequence[ReadText],
    layer: int,
    neuron: int,
    *,
    on_pass: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Read one neuron's activation at every position of texts that counts.

    Returns:
        [position] texts in order.

    Raises:
        ExplorerError: as `read_texts`, or the layer or neuron is out of range.
    """
    check_layer(model, layer)
    check_neuron(model, neuron)
    values = np.zeros(sum(text.counted for text in texts))

    def take(site: str, activations: NDArray[Any], numbers: NDArray[np.int64]) -> None:
        values[numbers] = activations[:, 0]

    read_texts(model, texts, [f"blocks.{layer}.mlp.hook_post"], take, columns=[neuron], on_pass=on_pass)
    return values


def _norm(name: str, rows: NDArray[np.float32], neuron: int) -> Norm:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    own = lengths[neuron]
    others = np.delete(lengths, neuron)
    share = float(((others < own).sum() + (others <= own).sum()) / (2 * len(others))) if len(others) else 0.5
    return Norm(name, float(own), share)


def _written(model: LoadedModel, layer: int) -> NDArray[np.float32]:
    rows = w_out_rows(model, layer)
    return rows - rows.mean(axis=1, keepdims=True) if model.shape.centres else rows


def _neighbours(
    rows_of: Callable[[int], NDArray[np.float32]], own: tuple[int, int], layers: Sequence[int], top: int
) -> tuple[Neighbour, ...]:
    target = rows_of(own[0])[own[1]].astype(np.float64)
    size = float(np.linalg.norm(target))
    found: list[Neighbour] = []
    if not size:
        return ()
    for layer in layers:
        rows = rows_of(layer).astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1)
        cosines = np.divide(rows @ target, lengths * size, out=np.zeros(len(rows)), where=lengths > 0)
        if layer == own[0]:
            cosines[own[1]] = 0.0
        best = np.argsort(-np.abs(cosines), kind="stable")[:top]
        found += [Neighbour(layer, int(n), float(cosines[n])) for n in best if (layer, int(n)) != own]
    return tuple(sorted(found, key=lambda one: -abs(one.cosine))[:top])
