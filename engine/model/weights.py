"""Weights of a model as arrays: what a neuron reads, what it writes, and what the vocabulary makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srm_explorer.engine.errors import ExplorerError, is_out_of_memory
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.model.activations import ReadText, check_layer, check_neuron, stream_activations
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.device import array_of, exact_products, tensor_of
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.placement import at_hand

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


def writing_rows(model: LoadedModel, layer: int) -> Weights:
    """Return the direction in which each neuron of a layer writes: its row of W_out, times the gain of a norm after it.

    Such a norm (Gemma-2) divides what all neurons of the layer write by one number a position; without one these are
    the rows.

    Returns:
        [d_mlp, d_model] float32.

    Raises:
        ExplorerError: as `w_out_rows`.
    """
    rows, norm = w_out_rows(model, layer), _norm_after(model, layer)
    if norm is None:
        return rows
    with at_hand(norm):
        return rows * _gain(model, norm)


def _norm_after(model: LoadedModel, layer: int) -> Any:
    return getattr(getattr(model.bridge.blocks[layer], "ln2_post", None), "original_component", None)


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
    with at_hand(mlp):
        has_gate = getattr(mlp, "W_gate", None) is not None
    if not has_gate:
        return None
    return np.ascontiguousarray(_matrix(model, layer, "W_gate").T)


def b_out(model: LoadedModel, layer: int) -> Weights:
    """Return what a layer's MLP writes whatever its neurons do, [d_model] float32; zeros where it has no such bias."""
    mlp = _mlp(model, layer)
    with at_hand(mlp):
        bias: Tensor | None = getattr(mlp, "b_out", None)
        if bias is not None and bias.is_meta:
            # The name stands for the weight that was there as the bridge was made, before any came from the disk.
            bias = mlp.out.bias
        return np.zeros(model.shape.d_model, dtype=np.float32) if bias is None else _float32(bias)


def final_norm_weight(model: LoadedModel) -> Weights:
    """Return the gain of the norm before the unembedding, [d_model] float32; ones where there is no gain, or no norm.

    A Gemma norm's includes its 1.
    """
    return _gain(model, _final_norm(model))


def _gain(model: LoadedModel, norm: Any) -> Weights:
    gain: Tensor | None = getattr(norm, "weight", None)
    if gain is None:
        return np.ones(model.shape.d_model, dtype=np.float32)
    offset = 1.0 if getattr(model.bridge.cfg, "rmsnorm_uses_offset", False) else 0.0
    return _float32(gain) + np.float32(offset)


def final_logits(model: LoadedModel, residual: NDArray[Any]) -> NDArray[Any]:
    """Finish residual streams that leave the last block, by the model's code: norm, unembedding, whatever scales them.

    Args:
        model: loaded.
        residual: [..., d_model] raw residual stream, not centred.

    Returns:
        [..., vocabulary] logits, in the model's precision (float32 where that is half).
    """
    with torch.inference_mode():
        rows = np.ascontiguousarray(residual).reshape(-1, model.shape.d_model)
        logits = model.blocks.finish(tensor_of(rows, model.device).to(model.dtype))
        return array_of(logits).reshape(*residual.shape[:-1], logits.shape[-1])


def _final_norm(model: LoadedModel) -> Any:
    return getattr(getattr(model.bridge, "ln_final", None), "original_component", None)


def final_scale(model: LoadedModel, residual: NDArray[Any]) -> NDArray[np.float64]:
    """What the norm before the unembedding divides residual streams by, one number a stream; 1 without a norm.

    Read off what the model's own norm makes of them, so that its epsilon and its precision are those of a run.

    Args:
        model: loaded.
        residual: [..., d_model] raw residual stream that leaves the last block.

    Returns:
        [...] float64.
    """
    return _scale(model, _final_norm(model), residual, centres=model.shape.centres)


def _scale(model: LoadedModel, norm: Any, vectors: NDArray[Any], *, centres: bool) -> NDArray[np.float64]:
    """What a norm divides vectors [..., d_model] by, one number each; 1 without a norm."""
    scales = np.ones(vectors.shape[:-1])
    if norm is None:
        return scales
    rows = np.ascontiguousarray(vectors).reshape(-1, 1, model.shape.d_model)
    with torch.inference_mode(), at_hand(norm):
        weight: Tensor | None = getattr(norm, "weight", None)
        device = model.device if weight is None else weight.device
        streams = tensor_of(rows, device).to(model.dtype)
        # A vector of zeros becomes the norm's bias, which no vector scales.
        normed = array_of(norm(streams) - norm(torch.zeros_like(streams[:1]))).astype(np.float64)
        gain = _gain(model, norm)
    wide = rows.astype(np.float64)
    wide = (wide - wide.mean(axis=-1, keepdims=True) if centres else wide) * gain
    size, along = (wide**2).sum(axis=(1, 2)), (wide * normed).sum(axis=(1, 2))
    return np.divide(size, along, out=scales.reshape(-1), where=along != 0).reshape(vectors.shape[:-1])


def logit_cap(model: LoadedModel) -> float | None:
    """The c of a model whose logits are c tanh(x / c) of what its unembedding gives (Gemma 2); None where none is."""
    # Of a model that reads pictures too, the part that reads text says so.
    config = model.bridge.original_model.config.get_text_config(decoder=True)
    cap = getattr(config, "final_logit_softcapping", None) or getattr(config, "logits_soft_cap", None)
    return float(cap) if cap else None


def _narrowed(model: LoadedModel, rows: Tensor) -> Tensor:
    """Take rows of the width of the residual stream to that of the unembedding, where a matrix lies between (OPT)."""
    decoder = getattr(getattr(model.bridge.original_model, "model", None), "decoder", None)
    matrix: Any = getattr(decoder, "project_out", None)
    return rows if matrix is None else rows @ matrix.weight.detach().to(rows).T


def _logit_factor(model: LoadedModel) -> float:
    """What the model multiplies its logits by: Cohere, Granite, Falcon-H1."""
    config = model.bridge.original_model.config
    factor = getattr(config, "logit_scale", None) or getattr(config, "lm_head_multiplier", None) or 1.0
    return float(factor) / float(getattr(config, "logits_scaling", None) or 1.0)


def _matrix(model: LoadedModel, layer: int, name: str) -> Weights:
    try:
        mlp = _mlp(model, layer)
        with at_hand(mlp):
            weight: Tensor | None = getattr(mlp, name, None)
            rows = None if weight is None else _float32(weight)
    except (AttributeError, ValueError, RuntimeError) as error:
        # The bridge says in any of these ways that a block has no such weight; a full memory says something else.
        if is_out_of_memory(error):
            raise
        raise _without(model, layer, name) from error
    if rows is None:
        raise _without(model, layer, name)
    return rows


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

_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3}
_HALF = 0.1
_PROBE = (0, 1)
"""Any two tokens."""


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
        logits: [vocabulary] see `direct_logits`: of what the neuron writes, with the factor that the block adds its MLP
            with (Granite) and the gain of a norm that follows W_out (Gemma-2); None where the block adds something else
            (OPT-350m, whose norms lie behind the sum).
        writes_alike: neighbours by the cosine of W_out rows, the largest in size first.
        reads_alike: neighbours by the cosine of W_in columns (`up` in a gated MLP).
        compared: neurons that were compared with.
        gated: whether the MLP is gated.
        is_normed: whether a norm follows W_out before the residual stream, as in Gemma-2; its division is not in
            `logits`.
    """

    norms: tuple[Norm, ...]
    logits: NDArray[np.float64] | None
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
        ExplorerError: the layer or neuron is out of range, the layer has no plain MLP, or more than a norm and a matrix
            lies between the residual stream and the logits.
    """
    check_layer(model, layer)
    check_neuron(model, layer, neuron)
    check_direct(model)
    gate = w_gate_columns(model, layer)
    written, read = w_out_rows(model, layer), w_in_columns(model, layer)
    norms = [_norm("W_out", written, neuron), _norm("W_in", read, neuron)]
    norms += [] if gate is None else [_norm("W_gate", gate, neuron)]
    layers = [layer] if layers is None else list(dict.fromkeys(layers))
    out, writing = partial(_written, model), Writing.of(model, layer, neuron)
    return WeightCard(
        norms=tuple(norms),
        logits=None if writing is None else direct_logits(model, writing.gain * written[neuron]),
        writes_alike=_neighbours(out, (layer, neuron), layers, top),
        reads_alike=_neighbours(partial(w_in_columns, model), (layer, neuron), layers, top),
        compared=sum(map(model.shape.neurons, layers)) - int(layer in layers),
        gated=gate is not None,
        is_normed=writing is not None and writing.norm is not None,
    )


@dataclass(frozen=True, eq=False)
class Writing:
    """How what the neurons of a layer write reaches the residual stream: gain x (hook_post @ W_out + b_out) / division.

    Attributes:
        gain: [d_model] of a norm that follows W_out, times the factors that the block adds its MLP with and that it
            and later blocks multiply the stream by (Gemma 4).
        norm: that divides; None where nothing does.
    """

    gain: NDArray[np.float64]
    norm: Any

    @classmethod
    @exact_products()
    def of(cls, model: LoadedModel, layer: int, neuron: int) -> Writing | None:
        """Ask the model, by moving a neuron; None where the block adds something else."""
        site, stream = f"blocks.{layer}.mlp.hook_post", f"blocks.{layer}.hook_resid_post"
        captures = [Capture(stream, "last", "prompt"), Capture(site, "last", "prompt")]
        written = w_out_rows(model, layer)
        row = written[neuron].astype(np.float64)

        def last(*edits: Edit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            decoded = decode(model, [Row(_PROBE, edits)], Generation(0), captures, share=False)
            after, neurons = (one.astype(np.float64) for one in decoded.rows[0].captured)
            return after, neurons

        before, neurons = last()
        norm = _norm_after(model, layer)
        step = max(float(np.linalg.norm(before)), 1.0) / max(float(np.linalg.norm(row)), 1e-30)
        moved = last(Edit(site, "add", "all", (neuron,), (step,)))[0] - before
        if norm is None:
            gain, expected = np.ones(len(row)), step * row
        else:
            with at_hand(norm):
                gain = _gain(model, norm).astype(np.float64)
            own = neurons @ written + b_out(model, layer)
            ends = np.stack([own, own + step * row])
            expected = np.subtract(*(gain * ends / _scale(model, norm, ends, centres=False)[:, None])[::-1])
        size = float(expected @ expected)
        if not size:
            return cls(gain, norm)
        factor, tolerance = float(moved @ expected) / size, _TOLERANCE.get(model.dtype, _HALF)
        if float(np.linalg.norm(moved - factor * expected)) > tolerance * float(np.linalg.norm(moved)):
            return None
        later = [getattr(block.original_component, "layer_scalar", None) for block in model.bridge.blocks[layer + 1 :]]
        factor = 1.0 if abs(factor - 1.0) <= tolerance else factor
        return cls(gain * factor * math.prod(float(one) for one in later if one is not None), norm)


@exact_products()
def check_direct(model: LoadedModel) -> None:
    """Refuse a model whose logits are not what `direct_logits` takes them for, by an ExplorerError.

    Two residual streams of mean 0 and size 1 are divided by the same number, 1, so that their logits differ by those of
    their difference.
    """
    streams = np.random.default_rng(0).normal(size=(2, model.shape.d_model))
    streams -= streams.mean(axis=1, keepdims=True)
    streams /= np.sqrt((streams**2).mean(axis=1, keepdims=True))
    logits = final_logits(model, streams).astype(np.float64)
    cap = logit_cap(model)
    if cap:
        logits = cap * np.arctanh(np.clip(logits / cap, -0.9, 0.9))
    kept = np.abs(logits).max(axis=0) < 0.9 * cap if cap else np.full(logits.shape[1], True)
    expected = direct_logits(model, streams[0] - streams[1])
    off = float(np.linalg.norm((logits[0] - logits[1] - expected)[kept]))
    if not off <= _TOLERANCE.get(model.dtype, _HALF) * float(np.linalg.norm(expected[kept])):
        raise ExplorerError(
            f"the logits of {type(model.bridge.original_model).__name__} are no matrix times a normed residual stream",
            where=f"the card of a neuron of {model.name}",
            remedy="use `usage`, or clamp the neuron and look at what is written",
        )


def direct_logits(
    model: LoadedModel, direction: NDArray[Any], tokens: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """Compute what one unit of a direction in the residual stream adds to each logit, the last norm's division aside.

    ``(g * c(w)) @ W_U`` with the gain g of the norm before the unembedding, and c subtracting the mean over d_model
    where that norm does. The norm then divides by the size of the residual stream, one positive number for all tokens
    at a position, so the order of tokens and their proportions are right and the scale is not; what later layers make
    of the direction is not in it (direct logit attribution; nostalgebraist, 2020; Elhage et al., 2021).

    Args:
        model: loaded.
        direction: [..., d_model] raw.
        tokens: ids whose logits are wanted; None for the whole vocabulary.

    Returns:
        [..., vocabulary or token] float64.
    """
    scaled = unembedded_by(model, direction)
    with torch.inference_mode():
        logits = [array_of(scaled @ part).astype(np.float64) for part in vocabulary_chunks(model, scaled, tokens)]
    return np.concatenate(logits, axis=-1)


def unembedded_by(model: LoadedModel, direction: NDArray[Any]) -> Tensor:
    """What the unembedding multiplies where the residual stream moves along directions [..., d_model], in float64."""
    direction = np.asarray(direction, np.float64)
    if model.shape.centres and _final_norm(model) is not None:
        direction = direction - direction.mean(axis=-1, keepdims=True)
    direction = direction * (final_norm_weight(model) * _logit_factor(model))
    device = model.bridge.unembed.W_U.device
    wide = torch.float32 if device.type == "mps" else torch.float64
    with torch.inference_mode():
        return _narrowed(model, tensor_of(direction, torch.device("cpu")).to(device, wide))


def vocabulary_chunks(model: LoadedModel, like: Tensor, tokens: Sequence[int] | None = None) -> Iterator[Tensor]:
    """The unembedding as another tensor is, [d, token] so many token ids at a time; of all, or some of them."""
    unembed: Tensor = model.bridge.unembed.W_U
    if tokens is not None:
        unembed = unembed[:, torch.tensor(tokens, dtype=torch.long, device=unembed.device)]
    for start in range(0, unembed.shape[1], _CHUNK):
        yield unembed[:, start : start + _CHUNK].to(like)


@dataclass(frozen=True, eq=False)
class NeuronLogits:
    """What neurons of a layer add to the logits of some tokens, norms' divisions aside.

    Attributes:
        model: whose.
        neurons: their numbers.
        norm: that follows W_out; None where none does.
        rows: [k, d_model] of W_out, of these neurons; where a norm follows, of all of the layer, and after them b_out.
        adds: [k, token] what a unit of each row adds, see `direct_logits`.
    """

    model: LoadedModel
    neurons: tuple[int, ...]
    norm: Any
    rows: Weights
    adds: NDArray[np.float64]

    @classmethod
    def of(cls, model: LoadedModel, layer: int, neurons: Sequence[int], tokens: Sequence[int]) -> NeuronLogits:
        """Calculate it.

        Raises:
            ExplorerError: the layer has no plain MLP, the block adds something else than its rows of W_out, or the
                logits are not what a norm and a matrix make of the residual stream.
        """
        check_direct(model)
        rows = w_out_rows(model, layer)
        for neuron in neurons:
            check_neuron(model, layer, neuron)
        loudest = max(neurons, key=lambda neuron: float(np.linalg.norm(rows[neuron])))
        writing = Writing.of(model, layer, loudest)
        if writing is None:
            raise ExplorerError(
                f"what a neuron of layer {layer} adds to the residual stream is not its row of W_out: more than a norm"
                " lies between",
                where=model.name,
                remedy="look at the observed effect",
            )
        rows = rows[list(neurons)] if writing.norm is None else np.vstack([rows, b_out(model, layer)])
        return cls(model, tuple(neurons), writing.norm, rows, direct_logits(model, writing.gain * rows, tokens))

    @property
    def columns(self) -> tuple[int, ...] | None:
        """Neurons whose activations are needed: these, and where a norm follows W_out all of the layer."""
        return self.neurons if self.norm is None else None

    def split(
        self, activations: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Split what the layer's MLP adds to logits.

        Args:
            activations: [position, k] of `columns`.

        Returns:
            [position, token] what these neurons add and, where a norm follows W_out, what the rest of the MLP does;
            and [position, 1] what both are divided by there.
        """
        if self.norm is None:
            neurons = activations @ self.adds
            return neurons, np.zeros_like(neurons), np.ones((len(neurons), 1))
        own = list(self.neurons)
        neurons = activations[:, own] @ self.adds[own]
        every = np.hstack([activations, np.ones((len(activations), 1))])
        division = _scale(self.model, self.norm, every @ self.rows, centres=False)[:, None]
        return neurons, every @ self.adds - neurons, division


@dataclass(frozen=True, eq=False)
class StreamLogits:
    """What the part of the residual stream that lies along some directions adds to the logits of some tokens.

    The last norm's division is aside, and so is what later layers make of it: they leave it where it is, and add.

    Attributes:
        basis: [k, d_model] orthonormal, of the directions.
        adds: [k, token] what a unit of each adds, see `direct_logits`.
    """

    basis: NDArray[np.float64]
    adds: NDArray[np.float64]

    @classmethod
    def of(cls, model: LoadedModel, site: Site, directions: NDArray[np.float64], tokens: Sequence[int]) -> StreamLogits:
        """Calculate it.

        Args:
            site: of the residual stream.
            directions: [direction, d_model] of any length.

        Raises:
            ExplorerError: the logits are not what a norm and a matrix make of the residual stream, or the next layer
                does not only add to it, or has no plain MLP of which that can be told.
        """
        check_direct(model)
        _, sizes, rows = np.linalg.svd(directions, full_matrices=False)
        basis = rows[sizes > 1e-9 * sizes[0]]
        after = site.layer + (site.kind == "hook_resid_post")
        if after < model.shape.n_layers and Writing.of(model, after, 0) is None:
            what = f"layer {after} does more to the residual stream than add to it"
            raise ExplorerError(what, where=model.name, remedy="look at the observed effect")
        scalars = [getattr(block.original_component, "layer_scalar", None) for block in model.bridge.blocks[after:]]
        factor = math.prod(float(one) for one in scalars if one is not None)
        return cls(basis, factor * direct_logits(model, basis, tokens))

    @property
    def columns(self) -> None:
        """All coordinates are needed."""

    def split(
        self, stream: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """As `NeuronLogits.split`, of [position, d_model]: nothing else is divided by anything else."""
        along = stream @ self.basis.T @ self.adds
        return along, np.zeros_like(along), np.ones((len(along), 1))


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
    rows = writing_rows(model, layer)
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
