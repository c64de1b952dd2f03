"""Running a stretch of a model's blocks, with the model's own code around it.

Blocks below a split are the same for rows that share their history, so they run once per history (the head) and the
rest once per row (the tail). A block that is not to run has its `forward` replaced while the pass lasts; embeddings,
masks, rotary angles and the unembedding stay the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from srm_explorer.engine.errors import ExplorerError


class LayerCache(DynamicCache):
    """Keys and values of the layers from `first` on; the layers below are someone else's business.

    A model asks layer 0 how many tokens it has seen, to build its mask: here the first layer held answers.
    """

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.first = first

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Count the columns that are cached."""
        return super().get_seq_length(max(layer_idx, self.first))

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Return the length and the offset of the keys a query of this length will see."""
        return super().get_mask_sizes(query_length, max(layer_idx, self.first))

    @property
    def is_empty(self) -> bool:
        """Whether no layer holds anything."""
        held: list[Any] = self.layers
        return not any(layer.is_initialized for layer in held)

    def put(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Set one layer that is still empty."""
        held: Any = self
        held.update(keys, values, layer)

    def pair(self, layer: int) -> tuple[Tensor, Tensor]:
        """Return the keys and values of a layer, each [row, head, col, d_head]."""
        held: Any = self.layers[layer]
        return held.keys, held.values

    def take(self, layer: int) -> tuple[Tensor, Tensor]:
        """Return the keys and values of a layer and let go of them, so that they are never there twice."""
        taken = self.pair(layer)
        held: Any = self.layers[layer]
        held.keys = held.values = None
        return taken

    def select(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep, repeat or reorder rows, in every layer that holds something."""
        for layer in self.layers:
            held: Any = layer
            if held.is_initialized:
                held.keys = held.keys[rows]
                held.values = held.values[rows]


class _Reached(Exception):
    def __init__(self, residual: Tensor) -> None:
        self.residual = residual


class Blocks:
    """The stack of blocks of a bridge, and passes over parts of it.

    Args:
        model: the Hugging Face model whose forward is called.
        blocks: its blocks, first to last.
    """

    def __init__(self, model: nn.Module, blocks: list[nn.Module]) -> None:
        self._model = model
        self._blocks = blocks
        self._returns_tuple = False
        config: Any = model.config
        self._makes_masks = _is_float64(model) and getattr(config, "sliding_window", None) is None

    def __len__(self) -> int:
        return len(self._blocks)

    def whole(self, feed: dict[str, Tensor], cache: LayerCache) -> Float[Tensor, "row vocab"]:
        """Run every block and return the logits of the last column.

        Raises:
            ExplorerError: the model kept nothing in the cache.
        """
        logits = self._logits(feed, cache)
        _check_filled(cache)
        return logits

    def whole_keeping(
        self, feed: dict[str, Tensor], cache: LayerCache, split: int
    ) -> tuple[Float[Tensor, "row vocab"], Float[Tensor, "row col d"]]:
        """Run every block; return the logits of the last column and the residual stream that enters block `split`.

        Raises:
            ExplorerError: the model kept nothing in the cache.
        """
        with self._listening(split) as entering:
            logits = self._logits(feed, cache)
        _check_filled(cache)
        return logits, entering[0]

    def head(self, feed: dict[str, Tensor], cache: LayerCache, split: int) -> Float[Tensor, "row col d"]:
        """Run the blocks below `split` and return the residual stream that enters it."""

        def leave(*args: Any, **kwargs: Any) -> Any:
            raise _Reached(_hidden(args, kwargs))

        with _replaced([self._blocks[split]], leave):
            try:
                self._logits(feed, cache)
            except _Reached as reached:
                return reached.residual
        raise RuntimeError(f"block {split} was never reached")

    def tail(
        self, feed: dict[str, Tensor], cache: LayerCache, split: int, residual: Float[Tensor, "row col d"]
    ) -> Float[Tensor, "row vocab"]:
        """Run the blocks from `split` on, from the residual stream that enters it; return the last column's logits."""
        entering = (residual,) if self._returns_tuple else residual
        with _replaced(self._blocks[:split], lambda *args, **kwargs: entering):
            return self._logits(feed, cache)

    def columns(
        self, feed: dict[str, Tensor], keep: int, split: int
    ) -> tuple[Float[Tensor, "row keep vocab"], Float[Tensor, "row col d"]]:
        """Run every block from an empty cache; return the logits of the last columns, and what enters block `split`."""
        with self._listening(split) as entering:
            logits = self._all_logits(feed, LayerCache(), keep)
        return logits, entering[0]

    def columns_from(
        self, feed: dict[str, Tensor], keep: int, split: int, residual: Float[Tensor, "row col d"]
    ) -> Float[Tensor, "row keep vocab"]:
        """Run the blocks from `split` on, from an empty cache and the residual stream that enters `split`."""
        entering = (residual,) if self._returns_tuple else residual
        with _replaced(self._blocks[:split], lambda *args, **kwargs: entering):
            return self._all_logits(feed, LayerCache(split), keep)

    @contextmanager
    def _listening(self, split: int) -> Generator[list[Tensor]]:
        """Keep the residual stream that enters a block, and learn in which form blocks return theirs."""
        entering: list[Tensor] = []
        block = self._blocks[split]
        forward = block.forward

        def keep(*args: Any, **kwargs: Any) -> Any:
            entering.append(_hidden(args, kwargs))
            output = forward(*args, **kwargs)
            self._returns_tuple = isinstance(output, tuple)
            return output

        with _replaced([block], keep):
            yield entering

    def _logits(self, feed: dict[str, Tensor], cache: LayerCache) -> Tensor:
        return self._all_logits(feed, cache, 1)[:, -1]

    def _all_logits(self, feed: dict[str, Tensor], cache: LayerCache, keep: int) -> Tensor:
        if self._makes_masks:
            feed = feed | {"attention_mask": _float64_mask(feed)}
        output: Any = self._model(**feed, past_key_values=cache, use_cache=True, logits_to_keep=keep)
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


def _check_filled(cache: LayerCache) -> None:
    """Refuse a cache that a pass left empty: every later step would see its own token alone."""
    if cache.is_empty:
        versions = " with ".join(f"{name} {version(name)}" for name in ("transformers", "transformer-lens"))
        raise ExplorerError(
            "the model's key-value cache stayed empty",
            where=versions,
            remedy="install the versions that srm-explorer asks for, which `pip check` names",
        )


def _is_float64(model: nn.Module) -> bool:
    return next(model.parameters()).dtype == torch.float64


def _float64_mask(feed: dict[str, Tensor]) -> Float[Tensor, "row 1 col key"]:
    """Build the causal mask of a float64 model from the keys that were seen.

    Some models take their softmax in float32, where the library's mask value, the lowest float64, is minus infinity:
    a pad, which sees no key at all, would become NaN and spread.
    """
    seen = feed["attention_mask"].bool()
    n_keys, n_columns = seen.shape[1], feed["input_ids"].shape[1]
    causal = torch.ones(n_columns, n_keys, dtype=torch.bool, device=seen.device).tril(n_keys - n_columns)
    hidden = ~(causal & seen[:, None, None, :])
    return torch.zeros(hidden.shape, dtype=torch.float64, device=seen.device).masked_fill(
        hidden, torch.finfo(torch.float32).min
    )


def _hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


@contextmanager
def _replaced(blocks: list[nn.Module], forward: Callable[..., Any]) -> Generator[None]:
    # Assignment to an attribute of a bridge's block lands on the module it wraps, so the instance's own
    # dictionary is used; what stands there comes before the method of the class.
    for block in blocks:
        block.__dict__["forward"] = forward
    try:
        yield
    finally:
        for block in blocks:
            del block.__dict__["forward"]
