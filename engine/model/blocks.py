"""Running a stretch of a model's blocks, with the model's own code around it.

Blocks below a split are the same for rows that share their history, so they run once per history (the head) and the
rest once per row (the tail). A block that is not to run has its `forward` replaced while the pass lasts; embeddings,
masks, rotary angles and the unembedding stay the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint
from transformers.cache_utils import DynamicCache

from srm_explorer.engine.model.cache import (
    LayerCache,
    cache_name,
    check_filled,
    counted_window,
    counts_by_mask,
    keeps_keys_alone,
    window_of,
)
from srm_explorer.engine.model.direct import TOLERANCE, DirectBlocks, hidden_keys
from srm_explorer.engine.model.ending import Ending
from srm_explorer.engine.model.families import direct_blocks
from srm_explorer.engine.model.unembedding import WideProduct


def _near(found: Tensor, expected: Tensor) -> bool:
    """Whether two ways are as near as they should be, in the precision that both are in."""
    return float((found - expected).abs().max()) <= TOLERANCE[found.dtype] * float(expected.abs().max())


class _Reached(Exception):
    def __init__(self, residual: Tensor) -> None:
        self.residual = residual


class Blocks:
    """The stack of blocks of a bridge, and passes over parts of it.

    Args:
        model: the Hugging Face model whose forward is called.
        blocks: its blocks, first to last.
        points: the bridge's hook points, by name.

    Raises:
        ExplorerError: the model keeps nothing from token to token, or in a way of its own.
    """

    def __init__(self, model: nn.Module, blocks: list[nn.Module], points: Mapping[str, HookPoint]) -> None:
        self._model = model
        self._blocks = blocks
        self._returned: int | None = None  # values that a block returns, 0 where it returns a tensor alone
        self._config: Any = model.config
        self.keeps_keys_alone = keeps_keys_alone(self._config)
        self._cache_name = cache_name(model)
        self._unembedding = WideProduct.of(model)
        self._cuts_columns = getattr(self._config.get_text_config(), "kv_sharing_modes", None) is not None
        self.window = window_of(self._config)
        """How many of the latest keys every layer sees; None where all see all."""
        counted = counted_window(self._config)
        one_mask = self.keeps_keys_alone and not counts_by_mask(self._config)
        self._dtype = next(model.parameters()).dtype
        # Where the library's own are not finite for a pad.
        self._makes_masks = self._dtype in (torch.float64, torch.float16) and one_mask and self.window is None
        self.takes_masks = (
            one_mask and counted is None and not self._cuts_columns and self._cache_name == "past_key_values"
        )
        """Whether one mask can be laid out for every layer, while texts are no longer than the window; that attention
        does as it says is for a test to find."""
        # Up to so many keys no layer leaves one out, and passes from the weights, which know no windows, are right.
        self._sees_all_of = min((window for window in (self.window, counted) if window is not None), default=None)
        self._direct = direct_blocks(model, blocks, points) if self._cache_name == "past_key_values" else None
        if self._direct is not None and not self._agrees(self._direct):
            self._direct = None
        self._ends_alike = self._direct is not None and self._are_ended_alike(self._direct)
        self.goes_direct = True
        """Whether passes may be computed from the weights, where they can be; the self-test decides."""

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def is_direct(self) -> bool:
        """Whether passes are computed from the weights, where nobody listens at what such a pass has not."""
        return self._direct is not None and self.goes_direct

    def new_cache(self, first: int = 0, *, plain: bool = False) -> LayerCache:
        """Make an empty cache for the layers from `first` on; parts of one take layers that keep keys alone.

        Passes over a plain one go through the model's own code: the reference.
        """
        if not self.keeps_keys_alone:
            return LayerCache(config=self._config, plain=plain)
        return LayerCache(min(first, len(self) - 1), plain=plain)

    @torch.inference_mode()
    def _agrees(self, direct: DirectBlocks) -> bool:
        """Whether passes from the weights give what the model gives: two rows, one with a pad, edited at every site.

        In which form its blocks return theirs is learned too, for texts that outgrow what passes from the weights see.
        """
        parameter = next(self._model.parameters())
        ids = torch.tensor([[0, 3, 7, 1], [0, 5, 2, 4]], device=parameter.device)
        ids %= self._config.get_text_config().vocab_size
        positions = torch.tensor([[0, 1, 2, 3], [-1, 0, 1, 2]], device=parameter.device)
        seen = (positions >= 0).long()
        with direct.disturbed(len(self) // 2), self._listening(0):
            kept, plain = self.new_cache(), self.new_cache(plain=True)
            for begin, end in ((0, 3), (3, 4)):
                feed = feed_of(ids[:, begin:end], positions[:, begin:end], seen[:, :end])
                expected = self._logits(feed, plain)
                found, _ = self._directly(direct, feed, kept)
                if not _near(found, expected):
                    return False
        return True

    @torch.inference_mode()
    def _are_ended_alike(self, direct: DirectBlocks) -> bool:
        """Whether rows that part at neurons of the last block get the logits that each gets by itself.

        Where a model norms in less than its own precision they do not; what makes them is for a processor.
        """
        weight = direct.unembedding.weight
        if weight.device.type != "cpu":
            return False
        ids = torch.tensor([[0, 3], [5, 1]]) % self._config.get_text_config().vocab_size
        positions = torch.tensor([[0, 1], [0, 1]])
        feed = feed_of(ids, positions, torch.ones_like(ids))
        stream, neurons = (tensor[:, -1] for tensor in direct.to_neurons(feed, self.new_cache()))
        ending = Ending(direct, torch.tensor([0, 1]), neurons.shape[-1])
        history = torch.tensor([0, 0, 1, 1])
        change = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, -2.0], [1.0, 1.0]], dtype=weight.dtype)
        moved = neurons[history]
        moved[:, ending.edited] += change
        leaving, _ = direct.from_neurons(stream[history], moved)
        expected = direct.unembedded(direct.normed(leaving))
        found = ending.write(torch.empty_like(expected), leaving, change, stream, neurons, history)
        return _near(direct.capped(found), expected)

    def _direct_way(self, cache: LayerCache | None, keys: int) -> DirectBlocks | None:
        """Return what computes from the weights, where nothing is in its way and all of so many keys are seen."""
        if self._direct is None or not self.goes_direct or (cache is not None and cache.is_plain):
            return None
        if self._sees_all_of is not None and keys > self._sees_all_of:
            return None
        return self._direct if self._direct.is_free else None

    def _directly(
        self, direct: DirectBlocks, feed: dict[str, Tensor], cache: LayerCache, *, wanted: bool = True, **part: Any
    ) -> tuple[Float[Tensor, "row vocab"], Tensor | None]:
        """Run blocks from the weights; return the last column's logits, and what entered the block to be watched."""
        stream, watched = direct.run(feed, cache, **part)
        if not wanted:
            return stream.new_empty(len(stream), 0), watched
        return self._unembedded(direct, direct.normed(stream[:, -1:])[:, 0], cache), watched

    def _unembedded(
        self, direct: DirectBlocks, hidden: Float[Tensor, "row d"], cache: LayerCache
    ) -> Float[Tensor, "row vocab"]:
        if self._unembedding is None:
            return direct.unembedded(hidden)
        return direct.capped(self._unembedding.write(hidden, self._target(cache, len(hidden))))

    def _columns(
        self, direct: DirectBlocks, feed: dict[str, Tensor], keep: int, **part: Any
    ) -> tuple[Float[Tensor, "row keep vocab"], Tensor | None]:
        """Run blocks from the weights, without a cache; return the logits of the last columns, and what was watched."""
        stream, watched = direct.run(feed, None, **part)
        hidden = direct.normed(stream[:, -keep:])
        if self._unembedding is None:
            return direct.unembedded(hidden), watched
        target = hidden.new_empty(hidden.shape[:-1].numel(), self._unembedding.width)
        logits = self._unembedding.write(hidden.flatten(0, 1), target).view(*hidden.shape[:-1], -1)
        return direct.capped(logits), watched

    def whole(self, feed: dict[str, Tensor], cache: LayerCache, *, wanted: bool = True) -> Float[Tensor, "row vocab"]:
        """Run every block and return the logits of the last column; nothing that means anything unless `wanted`.

        Raises:
            ExplorerError: the model kept nothing in the cache.
        """
        if direct := self._direct_way(cache, _keys(feed)):
            return self._directly(direct, feed, cache, wanted=wanted)[0]
        logits = self._logits(feed, cache)
        check_filled(cache)
        return logits

    def masked(
        self,
        ids: Int[Tensor, "row 1"],
        positions: Int[Tensor, "row 1"],
        mask: Float[Tensor, "row 1 1 key"],
        cache: DynamicCache,
        into: Float[Tensor, "row vocab"],
    ) -> None:
        """Feed one column under a mask that is laid out already, 0 where a key is seen, and write the logits after it.

        Nothing comes to the host, and every number stays where it was written.
        """
        feed = {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
        if direct := self._direct_way(None, mask.shape[-1]):
            stream, _ = direct.run(feed, cache)
            direct.unembed(direct.normed(stream[:, -1]), into)
            return
        output: Any = self._model(**feed, past_key_values=cache, use_cache=True, logits_to_keep=1)
        into.copy_(output.logits[:, -1])

    def whole_keeping(
        self, feed: dict[str, Tensor], cache: LayerCache, split: int
    ) -> tuple[Float[Tensor, "row vocab"], Float[Tensor, "row col d"]]:
        """Run every block; return the logits of the last column and the residual stream that enters block `split`.

        Raises:
            ExplorerError: the model kept nothing in the cache.
        """
        if direct := self._direct_way(cache, _keys(feed)):
            logits, watched = self._directly(direct, feed, cache, watch=split)
            assert watched is not None, "the block that is watched runs"
            return logits, watched
        with self._listening(split) as entering:
            logits = self._logits(feed, cache)
        check_filled(cache)
        return logits, entering[0].to(logits.device)

    def head(self, feed: dict[str, Tensor], cache: LayerCache, split: int) -> Float[Tensor, "row col d"]:
        """Run the blocks below `split` and return the residual stream that enters it, where the feed is."""
        if direct := self._direct_way(cache, _keys(feed)):
            return direct.run(feed, cache, stop=split)[0]

        def leave(*args: Any, **kwargs: Any) -> Any:
            raise _Reached(_hidden(args, kwargs))

        with _replaced([self._blocks[split]], leave):
            try:
                self._logits(feed, cache)
            except _Reached as reached:
                return reached.residual.to(feed["input_ids"].device)
        raise RuntimeError(f"block {split} was never reached")

    def tail(
        self,
        feed: dict[str, Tensor],
        cache: LayerCache,
        split: int,
        residual: Float[Tensor, "row col d"],
        *,
        wanted: bool = True,
    ) -> Float[Tensor, "row vocab"]:
        """Run the blocks from `split` on, from the residual stream that enters it; return the last column's logits.

        Nothing that means anything is returned unless `wanted`.
        """
        if direct := self._direct_way(cache, _keys(feed)):
            return self._directly(direct, feed, cache, wanted=wanted, start=split, residual=residual)[0]
        entering = self._as_returned(residual)
        with _replaced(self._blocks[:split], lambda *args, **kwargs: entering):
            return self._logits(feed, cache)

    def parts_late(self, keys: int) -> bool:
        """Whether rows with so many keys can part at the neurons of the last block.

        Nobody may listen where that computes nothing; and it was tried on processors alone.
        """
        return self._direct_way(None, keys) is not None and next(self._model.parameters()).device.type == "cpu"

    def to_neurons(
        self, feed: dict[str, Tensor], cache: LayerCache
    ) -> tuple[Float[Tensor, "row col d"], Float[Tensor, "row col d_mlp"]]:
        """Run every block, the last one up to its neurons, where they `parts_late`.

        Returns:
            The residual stream that the last block's MLP writes to, and the neurons that it writes with.
        """
        return self._late.to_neurons(feed, cache)

    def from_neurons(
        self,
        stream: Float[Tensor, "history col d"],
        neurons: Float[Tensor, "history col d_mlp"],
        history: Int[Tensor, " row"],
        cache: LayerCache,
        ending: Ending | None = None,
        *,
        wanted: bool = True,
    ) -> Float[Tensor, "row vocab"]:
        """Go on from there with rows, each from its history; return the last column's logits, if they are `wanted`.

        Args:
            ending: makes logits of those of histories, where that is worth it.
        """
        direct = self._late
        leaving, edited = direct.from_neurons(stream[history], neurons[history])
        if not wanted:
            return leaving.new_empty(len(leaving), 0)
        if ending is None or not ending.is_worth_it(len(stream), len(leaving)):
            return self._unembedded(direct, direct.normed(leaving[:, -1:])[:, 0], cache)
        if self._unembedding is None:
            target = leaving.new_empty(len(leaving), direct.unembedding.out_features)
        else:
            target = self._target(cache, len(leaving))
        change = edited[:, -1, ending.edited] - neurons[history, -1][:, ending.edited]
        return direct.capped(ending.write(target, leaving[:, -1], change, stream[:, -1], neurons[:, -1], history))

    def new_ending(self, edited: Int[Tensor, " k"], d_mlp: int) -> Ending | None:
        """What makes the logits of rows that edit these neurons of the last block; None where each needs its own."""
        return Ending(self._late, edited, d_mlp) if self._ends_alike else None

    @property
    def _late(self) -> DirectBlocks:
        direct = self._direct_way(None, 1)
        if direct is None:
            raise ValueError("somebody listens where nothing is computed from the weights")
        return direct

    def columns(
        self, feed: dict[str, Tensor], keep: int, split: int
    ) -> tuple[Float[Tensor, "row keep vocab"], Float[Tensor, "row col d"]]:
        """Run every block from an empty cache; return the logits of the last columns, and what enters block `split`."""
        if direct := self._direct_way(None, _keys(feed)):
            logits, watched = self._columns(direct, feed, keep, watch=split)
            assert watched is not None, "the block that is watched runs"
            return logits, watched
        with self._listening(split) as entering:
            logits = self._all_logits(feed, self.new_cache(), keep)
        return logits, entering[0].to(logits.device)

    def columns_from(
        self, feed: dict[str, Tensor], keep: int, split: int, residual: Float[Tensor, "row col d"]
    ) -> Float[Tensor, "row keep vocab"]:
        """Run the blocks from `split` on, from an empty cache and the residual stream that enters `split`."""
        if direct := self._direct_way(None, _keys(feed)):
            return self._columns(direct, feed, keep, start=split, residual=residual)[0]
        entering = self._as_returned(residual)
        with _replaced(self._blocks[:split], lambda *args, **kwargs: entering):
            return self._all_logits(feed, self.new_cache(split), keep)

    def leaving(
        self, feed: dict[str, Tensor], split: int, residual: Float[Tensor, "row col d"] | None = None
    ) -> Float[Tensor, "row col d"]:
        """Run the blocks from `split` on, from an empty cache; return the residual stream that leaves the last one.

        Args:
            split: the first block that runs.
            residual: what enters it; None runs every block on the feed's tokens.
        """
        if direct := self._direct_way(None, _keys(feed)):
            return direct.run(feed, None, start=0 if residual is None else split, residual=residual)[0]
        below = [] if residual is None else self._blocks[:split]
        entering = None if residual is None else self._as_returned(residual)
        forward = self._blocks[-1].forward

        def leave(*args: Any, **kwargs: Any) -> Any:
            output: Any = forward(*args, **kwargs)
            raise _Reached(output if isinstance(output, Tensor) else output[0])

        with _replaced(below, lambda *args, **kwargs: entering), _replaced([self._blocks[-1]], leave):
            try:
                self._all_logits(feed, self.new_cache(split), 1)
            except _Reached as reached:
                return reached.residual.to(feed["input_ids"].device)
        raise RuntimeError("the last block was never reached")

    def finish(self, residual: Float[Tensor, "row d"]) -> Float[Tensor, "row vocab"]:
        """Return the logits that the model makes of residual streams that leave its last block."""
        ids = torch.zeros(len(residual), 1, dtype=torch.long, device=residual.device)
        feed = feed_of(ids, ids, torch.ones_like(ids))
        if self._returned is None and self._direct_way(None, 1) is None:
            self.columns({name: tensor[:1] for name, tensor in feed.items()}, 1, 0)
        return self.columns_from(feed, 1, len(self), residual[:, None])[:, 0]

    @contextmanager
    def _listening(self, split: int) -> Generator[list[Tensor]]:
        """Keep the residual stream that enters a block, and learn in which form blocks return theirs."""
        entering: list[Tensor] = []
        block = self._blocks[split]
        forward = block.forward

        def keep(*args: Any, **kwargs: Any) -> Any:
            entering.append(_hidden(args, kwargs))
            output: Any = forward(*args, **kwargs)
            self._returned = 0 if isinstance(output, Tensor) else len(output)
            return output

        with _replaced([block], keep):
            yield entering

    def _as_returned(self, residual: Tensor) -> Any:
        """Shape a residual stream as a block returns it; what it returns beside has nobody to read it."""
        return (residual, *[None] * (self._returned - 1)) if self._returned else residual

    def _logits(self, feed: dict[str, Tensor], cache: LayerCache) -> Tensor:
        """Run the model; the logits of the last column stand where those of the next pass over the cache will."""
        if self._unembedding is None or cache.is_plain:
            return self._all_logits(feed, cache, 1)[:, -1]
        forward = self._unembedding.writing_to(self._target(cache, len(feed["input_ids"])))
        with _replaced([self._unembedding.linear], forward):
            return self._all_logits(feed, cache, 1)[:, -1]

    def _target(self, cache: LayerCache, rows: int) -> Float[Tensor, "row vocab"]:
        assert self._unembedding is not None, "else logits are a tensor of their own"
        shape = (rows, self._unembedding.width)
        if cache.logits is None or cache.logits.shape != shape:
            cache.logits = torch.empty(shape, dtype=self._unembedding.dtype)
        return cache.logits

    def _all_logits(self, feed: dict[str, Tensor], cache: LayerCache, keep: int) -> Tensor:
        if self._cache_name == "cache_params":
            # What keeps a state alone masks the columns it is fed, not those it has seen.
            feed = feed | {"attention_mask": feed["attention_mask"][:, -feed["input_ids"].shape[1] :]}
        if self._makes_masks:
            hidden = hidden_keys(feed["attention_mask"], feed["input_ids"].shape[1], self._dtype)
            feed = feed | {"attention_mask": hidden}
        # Layers that read the keys of others would be cut to the last columns too, where that is a plain number.
        last = torch.arange(-keep, 0, device=feed["input_ids"].device) if self._cuts_columns else keep
        output: Any = self._model(**feed, **{self._cache_name: cache}, use_cache=True, logits_to_keep=last)
        return output.logits


def feed_of(
    ids: Int[Tensor, "row col"], positions: Int[Tensor, "row col"], seen: Int[Tensor, "row key"]
) -> dict[str, Tensor]:
    """Lay out a feed as a Hugging Face model takes it.

    Args:
        ids: token ids to feed.
        positions: their absolute positions, -1 at pads.
        seen: 1 where a key, of the cache or of this feed, is a real token.
    """
    return {"input_ids": ids, "position_ids": positions.clamp(min=0), "attention_mask": seen}


def _keys(feed: dict[str, Tensor]) -> int:
    return feed["attention_mask"].shape[1]


def _hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


@contextmanager
def _replaced(blocks: list[nn.Module], forward: Callable[..., Any]) -> Generator[None]:
    # Assignment to an attribute of a bridge's block lands on the module it wraps, so the instance's own
    # dictionary is used; what stands there comes before the method of the class. Accelerate keeps its own there.
    before = [block.__dict__.get("forward") for block in blocks]
    for block in blocks:
        block.__dict__["forward"] = forward
    try:
        yield
    finally:
        for block, usual in zip(blocks, before, strict=True):
            if usual is None:
                del block.__dict__["forward"]
            else:
                block.__dict__["forward"] = usual
