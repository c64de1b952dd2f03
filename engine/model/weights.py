"""Weights of a model as arrays: what a neuron reads, what it writes, and what the vocabulary makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import ExplorerError
from engine.model.arrays import array_of, tensor_of
from engine.model.load import LoadedModel

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
    except (AttributeError, ValueError, NotImplementedError) as error:
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
        f"the MLP of layer {layer} of {model.name} has no {name}",
        remedy="choose a model whose MLPs are plain",
    )


def _float32(tensor: Tensor) -> Weights:
    return array_of(tensor.detach()).astype(np.float32)
