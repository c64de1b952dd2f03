"""Blocks of a few families of models, computed from their weights without the bridge's and the library's Python.

A step of a batch is a few hundred small operations, and what stands around each of them costs as much as they do. Here
stands the same arithmetic with fused operations, and hook points are called where somebody listens. It is taken only
where it was seen to compute what the bridge does (`agrees`), which stays the reference and does everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformer_lens.hook_points import HookPoint
from transformers.pytorch_utils import Conv1D

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""How far, of the largest logit, the two ways may be apart, in the precisions in which they are compared."""

_MIXES = Callable[[Tensor], Tensor]
_Update = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class _Points:
    """The hook points of one block, in the order in which a pass reaches them.

    Where attention and the MLP stand beside each other, both reading what enters the block, nothing is in the middle.
    """

    resid_pre: HookPoint
    z: HookPoint
    attn_out: HookPoint
    resid_mid: HookPoint | None
    hook_post: HookPoint
    mlp_out: HookPoint
    resid_post: HookPoint

    @classmethod
    def of(cls, points: Mapping[str, HookPoint], layer: int) -> _Points:
        """Find those of a layer.

        Raises:
            KeyError: one is not there that every block has.
        """
        every = ("hook_resid_pre", "attn.hook_z", "hook_attn_out", "mlp.hook_post", "hook_mlp_out", "hook_resid_post")
        pre, z, attn_out, hook_post, mlp_out, post = (points[f"blocks.{layer}.{name}"] for name in every)
        return cls(pre, z, attn_out, points.get(f"blocks.{layer}.hook_resid_mid"), hook_post, mlp_out, post)

    def all(self) -> tuple[HookPoint, ...]:
        """List them."""
        return tuple(point for point in vars(self).values() if point is not None)


def _at(point: HookPoint, activation: Tensor) -> Tensor:
    """Let who listens at a hook point see, and edit, an activation."""
    return point(activation) if point.fwd_hooks else activation


@dataclass(frozen=True)
class _Block:
    """What one block computes.

    Args:
        points: where it is listened to.
        before_attention: the norm that attention reads through.
        project: makes queries, keys and values, each [row, col, heads, d_head].
        attn_out: the matrix that attention writes with.
        before_mlp: the norm that the MLP reads through.
        neurons: what the MLP's last matrix reads, of what the norm gives.
        mlp_out: the MLP's last matrix.
        softens_in: the precision of attention's softmax; None for the model's.
    """

    points: _Points
    before_attention: _MIXES
    project: Callable[[Tensor], tuple[Tensor, ...]]
    attn_out: _MIXES
    before_mlp: _MIXES
    neurons: _MIXES
    mlp_out: _MIXES
    softens_in: torch.dtype | None = None


@dataclass(frozen=True)
class LastNorm:
    """The norm before the unembedding; but for a scale and a shift, what it makes of a vector is linear in it.

    Args:
        module: with its weights.
        way: norms with them.
        centers: whether it takes the mean out, as LayerNorm does and RMSNorm does not.
    """

    module: Any
    way: Callable[[Any, Tensor], Tensor]
    centers: bool

    def __call__(self, stream: Tensor) -> Tensor:
        """Norm vectors."""
        return self.way(self.module, stream)

    def linear(self, stream: Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
        """What is left of vectors without their scale and the shift."""
        return self._centered(stream) * self.module.weight

    def scale(self, stream: Float[Tensor, "row d"]) -> Float[Tensor, " row"]:
        """By what each is multiplied."""
        eps = self.module.eps if self.centers else self.module.variance_epsilon
        return torch.rsqrt(self._centered(stream).square().mean(dim=-1) + eps)

    @property
    def shift(self) -> Tensor | None:
        """What is added to all."""
        return getattr(self.module, "bias", None)

    def _centered(self, stream: Tensor) -> Tensor:
        return stream - stream.mean(dim=-1, keepdim=True) if self.centers else stream


@dataclass(frozen=True)
class _Angles:
    """Cosines and sines that turn the first coordinates of queries and keys, or all, [row, 1, col, turned]."""

    cos: Tensor
    sin: Tensor

    def turn(self, vectors: Float[Tensor, "row head col d"]) -> Tensor:
        """Turn the pairs of coordinates (i, i + turned/2); the others stay."""
        width = self.cos.shape[-1]
        first, others = vectors[..., :width], vectors[..., width:]
        paired = torch.cat([-first[..., width // 2 :], first[..., : width // 2]], dim=-1)
        turned = torch.addcmul(first * self.cos, paired, self.sin)
        return torch.cat([turned, others], dim=-1) if others.shape[-1] else turned


class DirectBlocks:
    """The stack of blocks of a model, with what stands before and after it.

    Args:
        blocks: first to last.
        embed: makes the residual stream of token ids and positions.
        angles: makes the angles of positions; None where positions are embedded.
        norm: the last one.
        unembedding: makes logits.
        others: hook points that are not called here: while somebody listens there, nothing can be computed here.
    """

    def __init__(
        self,
        blocks: Sequence[_Block],
        embed: Callable[[Tensor, Tensor], Tensor],
        angles: Callable[[Tensor, Tensor], _Angles] | None,
        norm: LastNorm,
        unembedding: nn.Linear,
        others: Sequence[HookPoint],
    ) -> None:
        self._blocks = blocks
        self._embed = embed
        self._angles = angles
        self.norm = norm
        self.unembedding = unembedding
        self._others = others

    @property
    def is_free(self) -> bool:
        """Whether nobody listens where nothing is called."""
        return not any(point.fwd_hooks for point in self._others)

    @contextmanager
    def disturbed(self, layer: int) -> Generator[None]:
        """Edit what every hook point of a layer holds while the block runs; nobody else may listen there."""
        points: tuple[Any, ...] = self._blocks[layer].points.all()
        for point in points:
            point.add_hook(_disturb)
        try:
            yield
        finally:
            for point in points:
                point.remove_hooks("fwd")

    def run(
        self,
        feed: dict[str, Tensor],
        cache: Any,
        *,
        start: int = 0,
        stop: int | None = None,
        residual: Float[Tensor, "row col d"] | None = None,
        watch: int | None = None,
    ) -> tuple[Float[Tensor, "row col d"], Float[Tensor, "row col d"] | None]:
        """Run the blocks from `start` to before `stop`.

        Args:
            feed: as `feed_of` lays it out.
            cache: takes the keys and values; None where nothing was, and nothing will be, fed beside.
            residual: what enters block `start`; None at the first.
            watch: a block whose input is returned.

        Returns:
            The residual stream that leaves, and the one that entered the block that was watched.
        """
        positions = feed["position_ids"]
        stream = self._embed(feed["input_ids"], positions) if residual is None else residual
        hidden = _hidden_keys(feed["attention_mask"], positions.shape[1], stream.dtype)
        angles = self._angles(stream, positions) if self._angles is not None else None
        watched = None
        for layer in range(start, len(self._blocks) if stop is None else stop):
            if layer == watch:
                watched = stream
            keep = None if cache is None else partial(_keep, cache, layer)
            stream = _through(self._blocks[layer], stream, hidden, angles, keep)
        return stream, stream if watch == len(self._blocks) else watched

    def to_neurons(
        self, feed: dict[str, Tensor], cache: Any
    ) -> tuple[Float[Tensor, "row col d"], Float[Tensor, "row col d_mlp"]]:
        """Run every block, the last one up to its neurons; nobody listens to those here.

        Returns:
            The residual stream that the last block's MLP writes to, and the neurons that it writes with.
        """
        last = len(self._blocks) - 1
        stream, _ = self.run(feed, cache, stop=last)
        hidden = _hidden_keys(feed["attention_mask"], stream.shape[1], stream.dtype)
        angles = self._angles(stream, feed["position_ids"]) if self._angles is not None else None
        return _to_neurons(self._blocks[last], stream, hidden, angles, partial(_keep, cache, last))

    def from_neurons(
        self, stream: Float[Tensor, "row col d"], neurons: Float[Tensor, "row col d_mlp"]
    ) -> tuple[Float[Tensor, "row col d"], Float[Tensor, "row col d_mlp"]]:
        """Go on from there, where somebody may listen; return the stream that leaves, and the neurons as edited."""
        return _from_neurons(self._blocks[-1], stream, neurons)

    def unheard(self, stream: Float[Tensor, "row d"], neurons: Float[Tensor, "row d_mlp"]) -> Float[Tensor, "row d"]:
        """Go on from there where nobody listens; return the stream that leaves."""
        return stream + self._blocks[-1].mlp_out(neurons)

    def written_by(self, neurons: Int[Tensor, " k"], d_mlp: int) -> Float[Tensor, "k d"]:
        """What the last block's MLP writes for 1 of each of some of its neurons."""
        one = torch.zeros(len(neurons) + 1, d_mlp, dtype=self.unembedding.weight.dtype, device=neurons.device)
        one[torch.arange(len(neurons)), neurons] = 1.0
        written = self._blocks[-1].mlp_out(one)
        return written[:-1] - written[-1]

    def normed(self, stream: Float[Tensor, "row col d"]) -> Float[Tensor, "row col d"]:
        """Return what the unembedding reads of what leaves the last block."""
        return self.norm(stream)

    def unembedded(self, hidden: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows vocab"]:
        """Make logits of what was normed."""
        return _product(self.unembedding, hidden)


def _disturb(activation: Tensor, hook: object) -> Tensor:
    return activation * 1.5 + 0.1


def _keep(cache: Any, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    return cache.update(keys, values, layer)


def _through(block: _Block, stream: Tensor, hidden: Tensor, angles: _Angles | None, keep: _Update | None) -> Tensor:
    return _from_neurons(block, *_to_neurons(block, stream, hidden, angles, keep))[0]


def _to_neurons(
    block: _Block, stream: Tensor, hidden: Tensor, angles: _Angles | None, keep: _Update | None
) -> tuple[Tensor, Tensor]:
    points = block.points
    entered = _at(points.resid_pre, stream)
    queries, keys, values = (part.transpose(1, 2) for part in block.project(block.before_attention(entered)))
    if angles is not None:
        queries, keys = angles.turn(queries), angles.turn(keys)
    if keep is not None:
        keys, values = keep(keys, values)
    mixed = _at(points.z, _attend(queries, keys, values, hidden, block.softens_in))
    # What is edited between the two halves is what the MLP reads: the stream passes it by, as in the model.
    stream = entered + _at(points.attn_out, block.attn_out(mixed))
    read = entered if points.resid_mid is None else _at(points.resid_mid, stream)
    return stream, block.neurons(block.before_mlp(read))


def _from_neurons(block: _Block, stream: Tensor, neurons: Tensor) -> tuple[Tensor, Tensor]:
    """What leaves the block, and its neurons as who listens left them."""
    neurons = _at(block.points.hook_post, neurons)
    written = _at(block.points.mlp_out, block.mlp_out(neurons))
    return _at(block.points.resid_post, stream + written), neurons


def _attend(
    queries: Float[Tensor, "row head col d"],
    keys: Float[Tensor, "row kv key d"],
    values: Float[Tensor, "row kv key d"],
    hidden: Float[Tensor, "row 1 col key"],
    softens_in: torch.dtype | None,
) -> Float[Tensor, "row col wide"]:
    """Mix values by how well queries meet keys; several heads may share the same keys."""
    rows, heads, columns, width = queries.shape
    groups = keys.shape[1]
    grouped = queries.reshape(rows, groups, heads // groups * columns, width)
    scores = (grouped @ keys.transpose(2, 3)).mul_(width**-0.5)
    scores.view(rows, heads, columns, -1).add_(hidden)
    mixed = (scores.softmax(dim=-1, dtype=softens_in).to(values.dtype) @ values).view(rows, heads, columns, width)
    return mixed.transpose(1, 2).reshape(rows, columns, heads * width)


def _hidden_keys(seen: Int[Tensor, "row key"], columns: int, dtype: torch.dtype) -> Float[Tensor, "row 1 col key"]:
    """Build what is added to scores: 0 where a key is seen, else hardly finite."""
    keys = seen.shape[1]
    visible = seen.bool()[:, None, None, :]
    if columns > 1:
        visible = visible & torch.ones(columns, keys, dtype=torch.bool, device=seen.device).tril(keys - columns)
    lowest = torch.finfo(torch.float32).min
    return torch.zeros(visible.shape, dtype=dtype, device=seen.device).masked_fill_(~visible, lowest)


def direct_blocks(model: Any, blocks: Sequence[Any], points: Mapping[str, HookPoint]) -> DirectBlocks | None:
    """Take a model apart, if it is of a family that is known here.

    Args:
        model: the Hugging Face model, whose parts a bridge may have wrapped.
        blocks: the bridge's blocks.
        points: hook points by name.

    Returns:
        None where it is of another family, or has what this one mostly has not.
    """
    parameters = [*model.parameters()]
    if {p.device for p in parameters} != {parameters[0].device} or parameters[0].dtype not in TOLERANCE:
        return None
    if parameters[0].device.type == "meta" or any(p.dtype != parameters[0].dtype for p in parameters):
        return None
    take = _FAMILIES.get(type(model).__name__)
    try:
        own = [_Points.of(points, layer) for layer in range(len(blocks))]
    except KeyError:
        return None
    is_parallel = own[0].resid_mid is None
    if take is None or is_parallel != getattr(model.config, "use_parallel_residual", False):
        return None
    called = {id(point) for one in own for point in one.all()}
    others = {id(point): point for point in points.values() if id(point) not in called}
    return take(model, [_raw(block) for block in blocks], own, [*others.values()])


def _raw(module: Any, *path: str) -> Any:
    """Follow a path of names from a module, without what a bridge wrapped around each."""
    inner: Any = getattr(module, "original_component", None)
    module = module if inner is None else inner
    return _raw(getattr(module, path[0]), *path[1:]) if path else module


def _linear(module: Any) -> _MIXES:
    if isinstance(module, Conv1D):
        return partial(_conv, module)
    return partial(_product, module)


def _conv(module: Any, activation: Tensor) -> Tensor:
    flat = torch.addmm(module.bias, activation.reshape(-1, activation.shape[-1]), module.weight)
    return flat.view(*activation.shape[:-1], -1)


def _product(module: Any, activation: Tensor) -> Tensor:
    return functional.linear(activation, module.weight, module.bias)


def _joint(product: _MIXES, parts: tuple[int, int], axis: int, activation: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values of one matrix: it has them, and heads, in the order of `parts`, them on `axis`."""
    every = product(activation)
    return every.view(*every.shape[:-1], *parts, -1).unbind(axis)


_APPROXIMATES = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
"""GELUs by the library's names: how each is computed."""


def _gelu(product: _MIXES, name: str, activation: Tensor) -> Tensor:
    return functional.gelu(product(activation), approximate=_APPROXIMATES[name])


def _layer_norm(module: Any, activation: Tensor) -> Tensor:
    return functional.layer_norm(activation, (activation.shape[-1],), module.weight, module.bias, module.eps)


def _rms_norm(module: Any, activation: Tensor) -> Tensor:
    # The library norms in float32, whatever the model's precision.
    narrow = activation.float()
    scale = torch.rsqrt(narrow.square().mean(dim=-1, keepdim=True) + module.variance_epsilon)
    return (narrow * scale).to(activation.dtype).mul_(module.weight)


def _gpt2(
    model: Any, blocks: Sequence[Any], points: Sequence[_Points], others: Sequence[HookPoint]
) -> DirectBlocks | None:
    config = model.config
    unusual = config.scale_attn_by_inverse_layer_idx or config.reorder_and_upcast_attn or config.add_cross_attention
    if unusual or not config.scale_attn_weights or config.activation_function not in _APPROXIMATES:
        return None
    tokens, places = _raw(model, "transformer", "wte"), _raw(model, "transformer", "wpe")

    made = [
        _Block(
            points=own,
            before_attention=partial(_layer_norm, _raw(block, "ln_1")),
            project=partial(_joint, _linear(_raw(block, "attn", "c_attn")), (3, config.n_head), -3),
            attn_out=_linear(_raw(block, "attn", "c_proj")),
            before_mlp=partial(_layer_norm, _raw(block, "ln_2")),
            neurons=partial(_gelu, _linear(_raw(block, "mlp", "c_fc")), config.activation_function),
            mlp_out=_linear(_raw(block, "mlp", "c_proj")),
        )
        for block, own in zip(blocks, points, strict=True)
    ]

    def embed(ids: Tensor, positions: Tensor) -> Tensor:
        return functional.embedding(ids, tokens.weight) + functional.embedding(positions, places.weight)

    norm = LastNorm(_raw(model, "transformer", "ln_f"), _layer_norm, centers=True)
    return DirectBlocks(made, embed, None, norm, _raw(model, "lm_head"), others)


def _llama(
    model: Any, blocks: Sequence[Any], points: Sequence[_Points], others: Sequence[HookPoint]
) -> DirectBlocks | None:
    config = model.config
    if config.hidden_act != "silu" or getattr(config, "sliding_window", None):
        return None
    tokens, rotary = _raw(model, "model", "embed_tokens"), _raw(model, "model", "rotary_emb")
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

    def split(parts: Sequence[Any], norms: Sequence[Any], activation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shape = (*activation.shape[:-1], -1, width)
        queries, keys, values = (_product(part, activation).view(shape) for part in parts)
        if norms:
            queries, keys = _rms_norm(norms[0], queries), _rms_norm(norms[1], keys)
        return queries, keys, values

    def projects(attention: Any) -> Callable[[Tensor], tuple[Tensor, ...]]:
        norms = [_raw(attention, f"{name}_norm") for name in "qk" if hasattr(attention, f"{name}_norm")]
        return partial(split, [_raw(attention, f"{name}_proj") for name in "qkv"], norms)

    def neurons(gate: Any, up: Any, activation: Tensor) -> Tensor:
        return functional.silu(_product(gate, activation)).mul_(_product(up, activation))

    made = [
        _Block(
            points=own,
            before_attention=partial(_rms_norm, _raw(block, "input_layernorm")),
            project=projects(_raw(block, "self_attn")),
            attn_out=_linear(_raw(block, "self_attn", "o_proj")),
            before_mlp=partial(_rms_norm, _raw(block, "post_attention_layernorm")),
            neurons=partial(neurons, _raw(block, "mlp", "gate_proj"), _raw(block, "mlp", "up_proj")),
            mlp_out=_linear(_raw(block, "mlp", "down_proj")),
            softens_in=torch.float32,
        )
        for block, own in zip(blocks, points, strict=True)
    ]

    norm, unembedding = LastNorm(_raw(model, "model", "norm"), _rms_norm, centers=False), _raw(model, "lm_head")
    return DirectBlocks(made, partial(_embedded, tokens), partial(_angles, rotary), norm, unembedding, others)


def _embedded(tokens: Any, ids: Tensor, positions: Tensor) -> Tensor:
    return functional.embedding(ids, tokens.weight)


def _angles(rotary: Any, stream: Tensor, positions: Tensor) -> _Angles:
    cos, sin = rotary(stream, positions)
    return _Angles(cos[:, None], sin[:, None])


def _neox(
    model: Any, blocks: Sequence[Any], points: Sequence[_Points], others: Sequence[HookPoint]
) -> DirectBlocks | None:
    config = model.config
    if config.hidden_act not in _APPROXIMATES:
        return None
    tokens, rotary = _raw(model, "gpt_neox", "embed_in"), _raw(model, "gpt_neox", "rotary_emb")
    heads = config.num_attention_heads

    made = [
        _Block(
            points=own,
            before_attention=partial(_layer_norm, _raw(block, "input_layernorm")),
            # The three of a head lie side by side.
            project=partial(_joint, _linear(_raw(block, "attention", "query_key_value")), (heads, 3), -2),
            attn_out=_linear(_raw(block, "attention", "dense")),
            before_mlp=partial(_layer_norm, _raw(block, "post_attention_layernorm")),
            neurons=partial(_gelu, _linear(_raw(block, "mlp", "dense_h_to_4h")), config.hidden_act),
            mlp_out=_linear(_raw(block, "mlp", "dense_4h_to_h")),
        )
        for block, own in zip(blocks, points, strict=True)
    ]

    norm = LastNorm(_raw(model, "gpt_neox", "final_layer_norm"), _layer_norm, centers=True)
    unembedding = _raw(model.get_output_embeddings())
    return DirectBlocks(made, partial(_embedded, tokens), partial(_angles, rotary), norm, unembedding, others)


_FAMILIES: Mapping[str, Callable[[Any, Sequence[Any], Sequence[_Points], Sequence[HookPoint]], DirectBlocks | None]] = {
    "GPT2LMHeadModel": _gpt2,
    "GPTNeoXForCausalLM": _neox,
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _llama,
    "Qwen2ForCausalLM": _llama,
    "Qwen3ForCausalLM": _llama,
}
"""How models are taken apart, by the name of their class: a class that another one derives from it may differ."""
