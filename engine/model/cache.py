"""Keys and values from token to token: caches with room to spare, and what a model's own cache is like."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from jaxtyping import Int
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from srm_explorer.engine.errors import ExplorerError

_ROOM = 16
"""Columns that a layer of a cache makes room for beyond those it is given: it is copied once in so many steps."""


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer in tensors with room to spare, so that a token is written beside the others.

    The library's own layer copies all that it holds with every token. Rows have room too: a history that parts is one
    row more. What is held shows as `keys` and `values`, views of [row, head, col, d_head].
    """

    def __init__(self) -> None:
        base: Any = super()
        base.__init__()
        self._held: tuple[Tensor, Tensor] | None = None  # with their room
        self._rows = self._columns = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the columns of a feed beside those that are there; return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        begin, end = self._columns, self._columns + key_states.shape[2]
        old = self._held
        if old is None or old[0].shape[2] < end:
            old = self._widened(key_states, value_states, len(key_states), end + _ROOM)
        self._held = old
        old[0][: len(key_states), :, begin:end] = key_states
        old[1][: len(key_states), :, begin:end] = value_states
        return self._show(old, len(key_states), end)

    def _widened(self, keys: Tensor, values: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Make room for so many rows and columns like those given, and copy what is held there."""
        wide = tuple(one.new_empty(rows, one.shape[1], columns, one.shape[3]) for one in (keys, values))
        for old, new in zip(self._held or (), wide, strict=False):
            new[: self._rows, :, : self._columns] = old[: self._rows, :, : self._columns]
        return wide[0], wide[1]

    def _show(self, held: tuple[Tensor, Tensor], rows: int, columns: int) -> tuple[Tensor, Tensor]:
        self._rows, self._columns = rows, columns
        keys, values = (one[:rows, :, :columns] for one in held)
        self.keys, self.values = keys, values
        return keys, values

    def let_go(self) -> None:
        """Hold nothing any more."""
        self._held = self.keys = self.values = None
        self._rows = self._columns = 0
        self.is_initialized = False

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep, repeat or reorder rows."""
        if self._held is not None:
            # A layer may lie on another device than those that say which rows.
            rows = beam_idx.to(self._held[0].device)
            self._held = (self._held[0][rows], self._held[1][rows])
            self._show(self._held, len(beam_idx), self._columns)

    def place(self, sources: Tensor, places: Tensor, rows: int) -> None:
        """Copy some rows to other places, new ones among them, and hold so many rows from then on."""
        if self._held is None:
            return
        if len(self._held[0]) < rows:
            self._held = self._widened(*self._held, rows + rows // 4 + 1, self._held[0].shape[2])
        sources, places = (one.to(self._held[0].device) for one in (sources, places))
        for held in self._held:
            held[places, :, : self._columns] = held[sources, :, : self._columns]
        self._show(self._held, rows, self._columns)


class LayerCache(DynamicCache):
    """Keys and values of the layers from `first` on; the layers below are someone else's business.

    A model asks layer 0 how many tokens it has seen, to build its mask: here the first layer held answers.

    Attributes:
        logits: where the logits of a pass over this cache are written, until the next pass writes its own there.

    Args:
        first: the first layer held.
        config: of a model that some layer of keeps something else, the state of a recurrence or of a convolution;
            None where all keep keys and values, and masks alone tell how far back each layer sees.
        plain: whether passes over it go the plain way: the library's own layers, and the model's own code throughout.
    """

    def __init__(self, first: int = 0, config: Any = None, *, plain: bool = False) -> None:
        super().__init__(config=config)
        if config is None and not plain:
            self.layer_class_to_replicate = RoomyLayer
        self.is_plain = plain
        self.first = first
        self.logits: Tensor | None = None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Count the columns that are cached."""
        return super().get_seq_length(max(layer_idx, self.first))

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Return the length and the offset of the keys a query of this length will see."""
        return super().get_mask_sizes(query_length, max(layer_idx, self.first))

    @property
    def is_empty(self) -> bool:
        """Whether no layer holds anything."""
        return not any(_holds(layer) for layer in self.layers)

    def put(self, layer: int, keys: Tensor, values: Tensor, rows: Int[Tensor, " row"] | None = None) -> None:
        """Set one layer that is still empty, with some of the rows where they are named, in their order."""
        if rows is not None:
            # A layer may lie on another device than those that say which rows.
            rows = rows.to(keys.device)
            keys, values = keys[rows], values[rows]
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
        held.let_go()
        return taken

    def select(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep, repeat or reorder rows, in every layer that holds something."""
        held: Any = self
        held.reorder_cache(rows)

    def place(self, sources: Int[Tensor, " row"], places: Int[Tensor, " row"], rows: int) -> None:
        """Copy some rows to other places, new ones among them, and hold so many rows; where all layers have room."""
        for layer in self.layers:
            assert isinstance(layer, RoomyLayer), "parts of a model are taken where keys alone are kept"
            layer.place(sources, places, rows)


def _holds(layer: Any) -> bool:
    kept = [getattr(layer, "keys", None)]
    kept += [state for name in ("conv_states", "recurrent_states") for state in getattr(layer, name, {}).values()]
    return any(tensor is not None for tensor in kept)


def keeps_keys_alone(config: Any) -> bool:
    """Whether every layer of a model keeps keys and values, all or the latest of them, and nothing else."""
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer}


def window_of(config: Any) -> int | None:
    """How many of the latest keys a layer sees at the least, by a mask that the model makes for it; None for all."""
    layers = DynamicCache(config=config).layers
    windows = [layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)]
    # Of a model that reads pictures too, the part that reads text says so.
    stated = getattr(config.get_text_config(decoder=True), "sliding_window", None)
    return min([*windows, *([stated] if stated else [])], default=None)


def counted_window(config: Any) -> int | None:
    """How many of the latest keys a layer sees by counting them from the end, whatever its mask says (GPT-Neo)."""
    return getattr(config.get_text_config(decoder=True), "window_size", None)


def counts_by_mask(config: Any) -> bool:
    """Whether distances between tokens are counted from a mask that has a number a key (Bloom, Falcon with ALiBi)."""
    return config.model_type == "bloom" or bool(getattr(config, "alibi", False))


def cache_name(model: nn.Module) -> str:
    """What a model calls the cache that it is given."""
    names = inspect.signature(model.forward).parameters
    for name in ("past_key_values", "cache_params"):
        if name in names:
            return name
    config: Any = model.config
    raise ExplorerError(
        f"{type(model).__name__} has no cache of keys and values that can be filled token by token",
        where=f"model_type {config.model_type}",
        remedy="choose a model of another family",
    )


def check_filled(cache: LayerCache) -> None:
    """Refuse a cache that a pass left empty: every later step would see its own token alone."""
    if cache.is_empty:
        versions = " with ".join(f"{name} {version(name)}" for name in ("transformers", "transformer-lens"))
        raise ExplorerError(
            "the model's key-value cache stayed empty",
            where=versions,
            remedy="install the versions that srm-explorer asks for, which `pip check` names",
        )


class RoomyKeys(DynamicCache):
    """Keys and values of every layer, with room for all the columns that there will be.

    Args:
        pairs: by layer, keys and values, [row, head, room, d_head] each.
        column: [1] where the column that is fed goes.
    """

    def __init__(self, pairs: Sequence[tuple[Tensor, Tensor]], column: Int[Tensor, " one"]) -> None:
        super().__init__()
        self.pairs = pairs
        self.column = column
        self.used = 0
        """Columns that a step reads, from the first; those that hold nothing yet are masked."""

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one column of the first rows, as many as are given, and return what is read of them."""
        keys, values = (held[: len(key_states)] for held in self.pairs[layer_idx])
        keys.index_copy_(2, self.column, key_states)
        values.index_copy_(2, self.column, value_states)
        return keys[:, :, : self.used], values[:, :, : self.used]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Count the columns before the one that is fed, as far as the host knows."""
        return self.used - 1

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Return the length and the offset of the keys that are read."""
        return self.used, 0
