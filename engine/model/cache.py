"""Key-value caches that hold a stretch of a model's layers."""

from __future__ import annotations

from typing import Any

from jaxtyping import Int
from torch import Tensor
from transformers.cache_utils import DynamicCache


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
