"""Weights of a model as arrays: what a neuron reads, what it writes, and what the vocabulary makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.model.activations import ReadText, check_layer, check_neuron, stream_activations
from srm_explorer.engine.model.device import array_of, is_out_of_memory, tensor_of
from srm_explorer.engine.model.load import LoadedModel

Weights = NDArray[np.float32]


def w_out_rows(model: LoadedModel, layer: int) -> Weights:
    """Return what each neuron of a layer writes: row n of W_out, so that hook_post @ W_out + b_out = hook_mlp_out.

    Where a norm follows W_out (Gemma-2), the block adds the normed sum of these rows instead.

    Returns:
        [d_mlp, d_model] float32.

    Raises:
        ExplorerError: the layer has no such matrix (a mixture of experts), or is out of range.
    """
    return _matrix(model, layer, "W_out")


def w_in_columns(model: LoadedModel, layer: int) -> Weights:
    """Return what each neuron of a layer reads: row n of the result is column n of W_in (of `up` in a gated MLP).

    Returns:
        [d_mlp, d_model] float32, one neuron a row.

    Raises:
        ExplorerError: as `w_out_rows`.
    """
    return np.ascontiguousarray(_matrix(model, layer, "W_in").T)


def w_gate_columns(model: LoadedModel, layer: int) -> Weights | None:
    """Return what opens each neuron of a gated layer, one neuron a row; None where the MLP has no gate.

    Returns:
        [d_mlp, d_model] float32.
    """
    mlp = _mlp(model, layer)
    if getattr(mlp, "W_gate", None) is None:
        return None
    return np.ascontiguousarray(_matrix(model, layer, "W_gate").T)


def b_out(model: LoadedModel, layer: int) -> Weights:
    """Return what a layer's MLP writes whatever its neurons do, [d_model] float32; zeros where it has no such bias."""
    bias: Tensor | None = getattr(_mlp(model, layer), "b_out", None)
    return np.zeros(model.shape.d_model, dtype=np.float32) if bias is None else _float32(bias)


def unembedding(model: LoadedModel) -> Weights:
    """Return W_U, [d_model, vocabulary] float32: column t is the direction that raises token t's logit."""
    return _float32(model.bridge.unembed.W_U)


def unembedding_bias(model: LoadedModel) -> Weights:
    """Return b_U, [vocabulary] float32; zeros where the model has none."""
    return _float32(model.bridge.unembed.b_U)


def final_norm_weight(model: LoadedModel) -> Weights:
    """Return the gain of the norm before the unembedding, [d_model] float32; a Gemma norm's includes its 1."""
    norm: Any = model.bridge.ln_final.original_component
    gain: Tensor | None = getattr(norm, "weight", None)
    if gain is None:
        return np.ones(model.shape.d_model, dtype=np.float32)
    offset = 1.0 if getattr(model.bridge.cfg, "rmsnorm_uses_offset", False) else 0.0
    return _float32(gain) + np.float32(offset)


def final_logits(model: LoadedModel, residual: NDArray[Any]) -> NDArray[Any]:
    """Finish residual streams that leave the last block: the final norm, the unembedding, a soft cap where it has one.

    Args:
        model: loaded.
        residual: [..., d_model] raw residual stream, not centred.

    Returns:
        [..., vocabulary] logits, in the model's precision (float32 where that is half).
    """
    with torch.inference_mode():
        stream = tensor_of(np.ascontiguousarray(residual), model.device).to(model.dtype)
        logits: Tensor = model.bridge.unembed(model.bridge.ln_final(stream))
        cap = getattr(model.bridge.original_model.config, "final_logit_softcapping", None)
        return array_of(torch.tanh(logits / cap) * cap if cap else logits)


def _matrix(model: LoadedModel, layer: int, name: str) -> Weights:
    try:
        weight: Tensor | None = getattr(_mlp(model, layer), name, None)
    except (AttributeError, ValueError, RuntimeError) as error:
        # The bridge says in any of these ways that a block has no such weight; a full memory says something else.
        if is_out_of_memory(error):
            raise
        raise _without(model, layer, name) from error
    if weight is None:
        raise _without(model, layer, name)
    return _float32(weight)


def _mlp(model: LoadedModel, layer: int) -> Any:
    if not 0 <= layer < model.shape.n_layers:
        raise ExplorerError(
            f"layer {layer} is out of range for this model ({model.shape.n_layers} layers)",
            remedy=f"choose 0 to {model.shape.n_layers - 1}",
        )
    return model.bridge.blocks[layer].mlp


def _without(model: LoadedModel, layer: int, name: str) -> ExplorerError:
    return ExplorerError(
        f"the MLP of layer {layer} of {model.name} has no {name}", remedy="choose a model whose MLPs are plain"
    )


def _float32(tensor: Tensor) -> Weights:
    return array_of(tensor.detach()).astype(np.float32)


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
    check_neuron(model, layer, neuron)
    gate = w_gate_columns(model, layer)
    written, read = w_out_rows(model, layer), w_in_columns(model, layer)
    norms = [_norm("W_out", written, neuron), _norm("W_in", read, neuron)]
    norms += [] if gate is None else [_norm("W_gate", gate, neuron)]
    layers = [layer] if layers is None else list(dict.fromkeys(layers))
    out = partial(_written, model)
    return WeightCard(
        norms=tuple(norms),
        logits=direct_logits(model, written[neuron]),
        writes_alike=_neighbours(out, (layer, neuron), layers, top),
        reads_alike=_neighbours(partial(w_in_columns, model), (layer, neuron), layers, top),
        compared=sum(map(model.shape.neurons, layers)) - int(layer in layers),
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
    direction = np.asarray(direction, np.float64)
    if model.shape.centres:
        direction = direction - direction.mean()
    direction = direction * final_norm_weight(model)
    unembed: Tensor = model.bridge.unembed.W_U
    logits: list[NDArray[np.float64]] = []
    with torch.inference_mode():
        wide = torch.float32 if unembed.device.type == "mps" else torch.float64
        scaled = tensor_of(direction, torch.device("cpu")).to(unembed.device, wide)
        for start in range(0, unembed.shape[1], _CHUNK):
            logits.append(array_of(scaled @ unembed[:, start : start + _CHUNK].to(wide)).astype(np.float64))
    return np.concatenate(logits)


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
        ExplorerError: as `stream_activations`, or the layer or neuron is out of range.
    """
    check_layer(model, layer)
    check_neuron(model, layer, neuron)
    values = np.zeros(sum(text.counted for text in texts))

    def take(site: str, activations: NDArray[Any], numbers: NDArray[np.int64]) -> None:
        values[numbers] = activations[:, 0]

    stream_activations(model, texts, [f"blocks.{layer}.mlp.hook_post"], take, columns=[neuron], on_pass=on_pass)
    return values


def _norm(name: str, rows: NDArray[np.float32], neuron: int) -> Norm:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    length = lengths[neuron]
    others = np.delete(lengths, neuron)
    share = float(((others < length).sum() + (others <= length).sum()) / (2 * len(others))) if len(others) else 0.5
    return Norm(name, float(length), share)


def _written(model: LoadedModel, layer: int) -> NDArray[np.float32]:
    rows = w_out_rows(model, layer)
    return rows - rows.mean(axis=1, keepdims=True) if model.shape.centres else rows


def _neighbours(
    rows_of: Callable[[int], NDArray[np.float32]], neuron: tuple[int, int], layers: Sequence[int], top: int
) -> tuple[Neighbour, ...]:
    target = rows_of(neuron[0])[neuron[1]].astype(np.float64)
    size = float(np.linalg.norm(target))
    neighbours: list[Neighbour] = []
    if not size:
        return ()
    for layer in layers:
        rows = rows_of(layer).astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1)
        cosines = np.divide(rows @ target, lengths * size, out=np.zeros(len(rows)), where=lengths > 0)
        if layer == neuron[0]:
            cosines[neuron[1]] = 0.0
        best = np.argsort(-np.abs(cosines), kind="stable")[:top]
        neighbours += [Neighbour(layer, int(n), float(cosines[n])) for n in best if (layer, int(n)) != neuron]
    return tuple(sorted(neighbours, key=lambda neighbour: -abs(neighbour.cosine))[:top])
