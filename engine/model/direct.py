"""Blocks of a few families of models, computed from their weights without the bridge's and the library's Python.

A step of a batch is a few hundred small operations, and what stands around each of them costs as much as they do. Here
stands the same arithmetic with fused operations, and hook points are called where somebody listens. It is taken only
where it was seen to compute what the bridge does (`Blocks`), which stays the reference and does everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformer_lens.hook_points import HookPoint

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""How far, of the largest logit, the two ways may be apart, in the precisions in which they are compared."""

Mixes = Callable[[Tensor], Tensor]
_Update = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Points:
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
    def of(cls, points: Mapping[str, HookPoint], layer: int) -> Points:
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
    # Some points give what they are given flattened, as the model's own code has it there (OPT).
    return point(activation).reshape(activation.shape) if point.fwd_hooks else activation


@dataclass(frozen=True)
class Norm:
    """A norm; but for a scale and a shift, what it makes of a vector is linear in it.

    Args:
        module: a LayerNorm, which takes the mean out, or an RMSNorm, which norms in float32 whatever the precision.
        is_offset: whether its weights are offsets from 1, and multiplied in float32 too (Gemma).
    """

    module: Any
    is_offset: bool = False

    def __call__(self, stream: Tensor) -> Tensor:
        """Norm vectors."""
        if self._centers:
            return functional.layer_norm(stream, (stream.shape[-1],), self.module.weight, self.shift, self._eps)
        normed = stream.float()
        normed = normed * torch.rsqrt(normed.square().mean(dim=-1, keepdim=True) + self._eps)
        if self.is_offset:
            return normed.mul_(self._weight).to(stream.dtype)
        return normed.to(stream.dtype).mul_(self._weight)

    def linear(self, stream: Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
        """What is left of vectors without their scale and the shift."""
        return self._centered(stream) * self._weight

    def scale(self, stream: Float[Tensor, "row d"]) -> Float[Tensor, " row"]:
        """By what each is multiplied."""
        return torch.rsqrt(self._centered(stream).square().mean(dim=-1) + self._eps)

    @property
    def shift(self) -> Tensor | None:
        """What is added to all."""
        return getattr(self.module, "bias", None)

    @property
    def _weight(self) -> Tensor | float:
        weight: Tensor | None = self.module.weight
        if weight is None:
            return 1.0  # a norm that scales nothing (Galactica, among the OPT)
        return 1 + weight.float() if self.is_offset else weight

    @property
    def _eps(self) -> float:
        return self.module.eps if self._centers or self.is_offset else self.module.variance_epsilon

    @property
    def _centers(self) -> bool:
        return isinstance(self.module, nn.LayerNorm)

    def _centered(self, stream: Tensor) -> Tensor:
        return stream - stream.mean(dim=-1, keepdim=True) if self._centers else stream


@dataclass(frozen=True)
class Block:
    """What one block computes.

    Args:
        points: where it is listened to.
        before_attention: the norm that attention reads through.
        project: makes queries, keys and values, each [row, col, heads, d_head].
        attn_out: the matrix that attention writes with.
        before_mlp: the norm that the MLP reads through.
        neurons: what the MLP's last matrix reads, of what the norm gives.
        mlp_out: the MLP's last matrix.
        after_attention: the norm of what attention writes; None for none.
        after_mlp: the norm of what the MLP writes; None for none.
        scale: what attention's scores are multiplied by.
        cap: what a tanh keeps them below; None for nothing.
        softens_in: the precision of their softmax; None for the model's.
        turns: the name of the angles that queries and keys are turned by; None for none.
    """

    points: Points
    before_attention: Mixes
    project: Callable[[Tensor], tuple[Tensor, ...]]
    attn_out: Mixes
    before_mlp: Mixes
    neurons: Mixes
    mlp_out: Mixes
    after_attention: Mixes | None
    after_mlp: Norm | None
    scale: float
    cap: float | None
    softens_in: torch.dtype | None
    turns: str | None


@dataclass(frozen=True)
class Angles:
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
        angles: makes the angles of positions, by name; none where positions are embedded.
        norm: the last one.
        unembedding: makes logits.
        cap: what a tanh keeps them below; None for nothing.
        others: hook points that are not called here: while somebody listens there, nothing can be computed here.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        embed: Callable[[Tensor, Tensor], Tensor],
        angles: Callable[[Tensor, Tensor], Mapping[str, Angles]],
        norm: Norm,
        unembedding: nn.Linear,
        cap: float | None,
        others: Sequence[HookPoint],
    ) -> None:
        self._blocks = blocks
        self._embed = embed
        self._angles = angles
        self.norm = norm
        self.unembedding = unembedding
        self._cap = cap
        self._others = others

    @property
    def is_free(self) -> bool:
        """Whether nobody listens where nothing is called, but for the bridge itself, which passes it on to others."""
        return all(handle.is_permanent for point in self._others for handle in point.fwd_hooks)

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
            feed: as `feed_of` lays it out; its mask may be what is added to scores, [row, 1, col, key].
            cache: takes the keys and values; None where nothing was, and nothing will be, fed beside.
            residual: what enters block `start`; None at the first.
            watch: a block whose input is returned.

        Returns:
            The residual stream that leaves, and the one that entered the block that was watched.
        """
        positions = feed["position_ids"]
        stream = self._embed(feed["input_ids"], positions) if residual is None else residual
        mask = feed["attention_mask"]
        hidden = mask if mask.ndim == 4 else hidden_keys(mask, positions.shape[1], stream.dtype)
        angles = self._angles(stream, positions)
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
        hidden = hidden_keys(feed["attention_mask"], stream.shape[1], stream.dtype)
        angles = self._angles(stream, feed["position_ids"])
        return _to_neurons(self._blocks[last], stream, hidden, angles, partial(_keep, cache, last))

    def from_neurons(
        self, stream: Float[Tensor, "row col d"], neurons: Float[Tensor, "row col d_mlp"]
    ) -> tuple[Float[Tensor, "row col d"], Float[Tensor, "row col d_mlp"]]:
        """Go on from there, where somebody may listen; return the stream that leaves, and the neurons as edited."""
        return _from_neurons(self._blocks[-1], stream, neurons)

    @property
    def norm_after(self) -> Norm | None:
        """The norm of what the last block's MLP writes."""
        return self._blocks[-1].after_mlp

    def written(self, neurons: Float[Tensor, "row d_mlp"]) -> Float[Tensor, "row d"]:
        """What the last block's MLP writes with neurons, before a norm of it."""
        return self._blocks[-1].mlp_out(neurons)

    def written_by(self, neurons: Int[Tensor, " k"], d_mlp: int) -> Float[Tensor, "k d"]:
        """What it writes for 1 of each of some of its neurons."""
        one = torch.zeros(len(neurons) + 1, d_mlp, dtype=self.unembedding.weight.dtype, device=neurons.device)
        one[torch.arange(len(neurons)), neurons] = 1.0
        written = self.written(one)
        return written[:-1] - written[-1]

    def normed(self, stream: Float[Tensor, "row col d"]) -> Float[Tensor, "row col d"]:
        """Return what the unembedding reads of what leaves the last block."""
        return self.norm(stream)

    def unembedded(self, hidden: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows vocab"]:
        """Make logits of what was normed."""
        return self.capped(product(self.unembedding, hidden))

    def unembed(self, hidden: Float[Tensor, "row d"], into: Float[Tensor, "row vocab"]) -> None:
        """Write logits of what was normed into a tensor."""
        weight, bias = self.unembedding.weight.T, cast(Tensor | None, self.unembedding.bias)
        if bias is None:
            torch.mm(hidden, weight, out=into)
        else:
            torch.addmm(bias, hidden, weight, out=into)
        self.capped(into)

    def capped(self, logits: Tensor) -> Tensor:
        """Keep what the unembedding made below the model's cap, in place."""
        return logits if self._cap is None else _cap(logits, self._cap)


def _disturb(activation: Tensor, hook: object) -> Tensor:
    return activation * 1.5 + 0.1


def _keep(cache: Any, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    return cache.update(keys, values, layer)


def _through(
    block: Block, stream: Tensor, hidden: Tensor, angles: Mapping[str, Angles], keep: _Update | None
) -> Tensor:
    return _from_neurons(block, *_to_neurons(block, stream, hidden, angles, keep))[0]


def _to_neurons(
    block: Block, stream: Tensor, hidden: Tensor, angles: Mapping[str, Angles], keep: _Update | None
) -> tuple[Tensor, Tensor]:
    points = block.points
    entered = _at(points.resid_pre, stream)
    queries, keys, values = (part.transpose(1, 2) for part in block.project(block.before_attention(entered)))
    if block.turns is not None:
        queries, keys = (angles[block.turns].turn(part) for part in (queries, keys))
    if keep is not None:
        keys, values = keep(keys, values)
    mixed = _at(points.z, _attend(block, queries, keys, values, hidden))
    # What is edited between the two halves is what the MLP reads: the stream passes it by, as in the model.
    stream = entered + _at(points.attn_out, _normed(block.after_attention, block.attn_out(mixed)))
    read = entered if points.resid_mid is None else _at(points.resid_mid, stream)
    return stream, block.neurons(block.before_mlp(read))


def _from_neurons(block: Block, stream: Tensor, neurons: Tensor) -> tuple[Tensor, Tensor]:
    """What leaves the block, and its neurons as who listens left them."""
    neurons = _at(block.points.hook_post, neurons)
    written = _at(block.points.mlp_out, _normed(block.after_mlp, block.mlp_out(neurons)))
    return _at(block.points.resid_post, stream + written), neurons


def _normed(norm: Mixes | None, written: Tensor) -> Tensor:
    return written if norm is None else norm(written)


def _attend(
    block: Block,
    queries: Float[Tensor, "row head col d"],
    keys: Float[Tensor, "row kv key d"],
    values: Float[Tensor, "row kv key d"],
    hidden: Float[Tensor, "row 1 col key"],
) -> Float[Tensor, "row col wide"]:
    """Mix values by how well queries meet keys; several heads may share the same keys."""
    rows, heads, columns, width = queries.shape
    groups = keys.shape[1]
    grouped = queries.reshape(rows, groups, heads // groups * columns, width)
    scores = (grouped @ keys.transpose(2, 3)).mul_(block.scale)
    if block.cap is not None:
        _cap(scores, block.cap)
    scores.view(rows, heads, columns, -1).add_(hidden)
    mixed = (scores.softmax(dim=-1, dtype=block.softens_in).to(values.dtype) @ values).view(rows, heads, columns, width)
    return mixed.transpose(1, 2).reshape(rows, columns, heads * width)


def _cap(numbers: Tensor, cap: float) -> Tensor:
    """Keep numbers below a cap, in place."""
    return numbers.div_(cap).tanh_().mul_(cap)


def product(module: Any, activation: Tensor) -> Tensor:
    """What a linear layer makes of an activation."""
    return functional.linear(activation, module.weight, module.bias)


def hidden_keys(seen: Int[Tensor, "row key"], columns: int, dtype: torch.dtype) -> Float[Tensor, "row 1 col key"]:
    """Build what is added to scores: 0 where a key is seen, else `hidden_score`."""
    keys = seen.shape[1]
    visible = seen.bool()[:, None, None, :]
    if columns > 1:
        visible = visible & torch.ones(columns, keys, dtype=torch.bool, device=seen.device).tril(keys - columns)
    return torch.zeros(visible.shape, dtype=dtype, device=seen.device).masked_fill_(~visible, hidden_score(dtype))


def hidden_score(dtype: torch.dtype) -> float:
    """What is added to the score of a key that is not seen: as low as any score leaves it finite.

    A pad sees no key at all: were all of its scores minus infinity, it would become NaN and spread. The lowest float64
    is that in float32, in which some models take their softmax; so is the lowest float16 with a score of -16 added.
    """
    lowest = torch.finfo(torch.float32 if dtype == torch.float64 else dtype).min
    return lowest / 2 if dtype == torch.float16 else lowest
