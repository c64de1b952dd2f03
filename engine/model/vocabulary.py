"""What neurons write over the whole vocabulary, and how much of it the unembedding hardly reads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srm_explorer.engine.model.activations import check_layer
from srm_explorer.engine.model.device import array_of
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.weights import (
    Writing,
    check_direct,
    unembedded_by,
    vocabulary_chunks,
    w_gate_columns,
    w_in_columns,
    w_out_rows,
)

_NEURONS = 512
"""Whose logits are there at once."""

_PRODUCTS = {"cpu": 5e10, "mps": 5e10, "cuda": 1e12}
"""Products of two numbers that `weakest_directions` may take for one neuron alone: a second or two."""

UNREAD = 64
"""One in so many directions of the residual stream is among the weakest of the unembedding: 12 of 768."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LogitMoments:
    """What directions in the residual stream add to logits, over all token ids: see `direct_logits`.

    Attributes:
        mean: [k] which no probability depends on.
        std: [k] standard deviation (ddof 0).
        skew: [k] above 0 where few tokens rise far; NaN where all logits are the same.
        kurtosis: [k] excess: above 0 where few tokens are moved far; NaN likewise.
    """

    mean: Floats
    std: Floats
    skew: Floats
    kurtosis: Floats


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """What the weights say of neurons of a layer, one number each.

    Attributes:
        neurons: [k] their numbers.
        norms: [k] lengths of raw weights, by "W_out", "W_in" and, where the MLP is gated, "W_gate".
        cosines: [k] of what each reads with what it writes, by "W_in" and "W_gate": rows of W_out times the gain of a
            norm after it, centred where the model's norms centre; what reads raw.
        moments: of what a unit of activation adds to logits, norms' divisions aside; None where the block adds no
            multiple of a row of W_out.
        unread: [k] length of the part of what it writes that lies along the `weakest` directions of the unembedding,
            over the whole length, 0 to 1; None likewise, and of some neurons where these directions are not known yet
            and would take long.
        weakest: how many directions these are.
    """

    neurons: NDArray[np.int64]
    norms: dict[str, Floats]
    cosines: dict[str, Floats]
    moments: LogitMoments | None
    unread: Floats | None
    weakest: int


def layer_weights(
    model: LoadedModel,
    layer: int,
    neurons: NDArray[np.int64] | None = None,
    on_step: Callable[[float], None] | None = None,
) -> LayerWeights:
    """Read what the weights say of the neurons of a layer.

    Moments over the vocabulary part neurons that promote a few tokens, suppress a few, or part it in two (Gurnee et
    al., 2024, "Universal neurons in GPT-2"); what lies where the unembedding hardly reads scales the last norm and so
    the confidence alone (Stolfo et al., 2024, "Confidence regulation neurons"); the cosine of what is read with what is
    written tells whether a neuron adds to what it finds or takes it away (Gurnee et al.; Gerstner and Schütze, 2025).

    Args:
        neurons: [k] which; None for all.
        on_step: told after each step what share is done; may raise to stop.

    Raises:
        ExplorerError: the layer is out of range or has no plain MLP, or more than a norm and a matrix lies between the
            residual stream and the logits.
    """
    check_layer(model, layer)
    check_direct(model)
    out, read, gate = w_out_rows(model, layer), w_in_columns(model, layer), w_gate_columns(model, layer)
    chosen = np.arange(len(out)) if neurons is None else neurons
    reads = {"W_in": read[chosen].astype(np.float64)}
    reads |= {} if gate is None else {"W_gate": gate[chosen].astype(np.float64)}
    lengths = np.linalg.norm(out, axis=1)
    writing = Writing.of(model, layer, int(lengths.argmax()))
    written = out[chosen].astype(np.float64) * (1.0 if writing is None else writing.gain)
    heard = written - written.mean(axis=1, keepdims=True) if model.shape.centres else written
    products = model.shape.d_model**2 * model.bridge.unembed.W_U.shape[1]
    is_quick = model.kept_weakest is not None or products <= _PRODUCTS[model.device.type]
    weakest = weakest_directions(model) if neurons is None or is_quick else None
    return LayerWeights(
        neurons=chosen,
        norms={"W_out": lengths[chosen].astype(np.float64)} | {name: _lengths(rows) for name, rows in reads.items()},
        cosines={name: _share((heard * rows).sum(axis=1), heard, rows) for name, rows in reads.items()},
        moments=None if writing is None else logit_moments(model, written, on_step),
        unread=None if writing is None or weakest is None else _share(_lengths(heard @ weakest.T), heard),
        weakest=math.ceil(model.shape.d_model / UNREAD),
    )


def logit_moments(
    model: LoadedModel, directions: NDArray[np.floating], on_step: Callable[[float], None] | None = None
) -> LogitMoments:
    """Sum up what directions [k, d_model] add to the logit of every token id, in float64, a piece at a time."""
    scaled = unembedded_by(model, directions)
    vocab = model.bridge.unembed.W_U.shape[1]
    sums = np.zeros((3, len(directions)))
    with torch.inference_mode():
        mean = scaled @ torch.stack([part.sum(dim=1) for part in vocabulary_chunks(model, scaled)]).sum(dim=0) / vocab
        for start in range(0, len(directions), _NEURONS):
            few = slice(start, start + _NEURONS)
            powers: list[Tensor] = []
            for part in vocabulary_chunks(model, scaled):
                apart = scaled[few] @ part - mean[few, None]
                square = apart * apart
                powers.append(torch.stack([square.sum(1), (square * apart).sum(1), (square * square).sum(1)]))
                if on_step:
                    on_step((start + len(scaled[few]) * len(powers) * part.shape[1] / vocab) / len(directions))
            sums[:, few] = array_of(torch.stack(powers).sum(dim=0))
    second, third, fourth = sums / vocab
    std = np.sqrt(second)
    # Of equal logits, what is left is rounding.
    flat = std <= 1e-12 * np.maximum(np.abs(array_of(mean)), _lengths(np.asarray(directions, np.float64)))
    with np.errstate(divide="ignore", invalid="ignore"):
        skew, kurtosis = third / std**3, fourth / second**2 - 3
    return LogitMoments(
        array_of(mean).astype(np.float64), std, np.where(flat, np.nan, skew), np.where(flat, np.nan, kurtosis)
    )


def weakest_directions(model: LoadedModel) -> Floats:
    """Return the directions of the residual stream that move logits least, [d_model / 64, d_model] orthonormal.

    Those of the smallest singular values of what the last norm's gain and the unembedding make of a residual stream,
    less its mean over the vocabulary, which no probability depends on; where the norm takes out the mean over d_model,
    of what is left. Stolfo et al. (2024) take 12 of the 768 of GPT-2 for its null space, where singular values drop.
    """
    if model.kept_weakest is not None:
        return model.kept_weakest
    d_model = model.shape.d_model
    scaled = unembedded_by(model, np.eye(d_model))
    with torch.inference_mode():
        gram, total = scaled.new_zeros(scaled.shape[1], scaled.shape[1]), scaled.new_zeros(scaled.shape[1])
        for part in vocabulary_chunks(model, scaled):
            gram += part @ part.T
            total += part.sum(dim=1)
        gram -= torch.outer(total, total) / model.bridge.unembed.W_U.shape[1]
        square = array_of(scaled @ gram @ scaled.T).astype(np.float64)
    if model.shape.centres:
        # What is taken out of the stream is nobody's to read: it is not among the weakest.
        square += max(float(np.trace(square)), 1.0) / d_model
    vectors = np.linalg.eigh(square)[1]
    model.kept_weakest = np.ascontiguousarray(vectors[:, : math.ceil(d_model / UNREAD)].T)
    return model.kept_weakest


def _lengths(rows: Floats) -> Floats:
    return np.linalg.norm(rows, axis=1)


def _share(part: Floats, *of: Floats) -> Floats:
    """[k] numbers over the product of the lengths of rows [k, d]; 0 where one has none."""
    whole = np.prod([_lengths(rows) for rows in of], axis=0)
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
