"""The product that makes logits, on a processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

STRETCH = 1024
"""Token ids at a time: a processor takes products of that width faster than all at once."""


class WideProduct:
    """The product that makes logits, taken in stretches of the vocabulary: a processor takes them faster than at once.

    Args:
        linear: the unembedding, of a model on a processor.
    """

    def __init__(self, linear: nn.Linear) -> None:
        self.linear = linear
        # A bridge gives an unembedding without one a bias of zeros.
        bias: Any = linear.bias
        self._is_biased = bias is not None and bool(bias.any())

    @classmethod
    def of(cls, model: Any) -> WideProduct | None:
        """Find the unembedding of a model; None where it is no plain product, is small, or lies on another device."""
        head: Any = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
        linear = getattr(head, "original_component", head)
        if type(linear) is not nn.Linear or linear.weight.device.type != "cpu":
            return None
        if linear.weight.dtype not in (torch.float32, torch.float64) or len(linear.weight) < 8 * STRETCH:
            return None
        return cls(linear)

    @property
    def width(self) -> int:
        """Number of token ids."""
        return len(self.linear.weight)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the logits."""
        return self.linear.weight.dtype

    def writing_to(self, target: Float[Tensor, "row vocab"]) -> Callable[[Tensor], Tensor]:
        """What to put in place of the module's forward, to have its product in a tensor where the rows are as many."""
        usual = self.linear.forward

        def forward(hidden: Tensor) -> Tensor:
            if hidden.shape[:-1].numel() != len(target):
                return usual(hidden)
            self.write(hidden.reshape(-1, hidden.shape[-1]), target)
            return target.view(*hidden.shape[:-1], -1)

        return forward

    def write(self, hidden: Float[Tensor, "row d"], target: Float[Tensor, "row vocab"]) -> Tensor:
        """Write the product into a tensor, and return that."""
        weight = self.linear.weight
        scratch = target.new_empty(len(target), STRETCH)
        for begin in range(0, len(weight), STRETCH):
            part = weight[begin : begin + STRETCH].T
            into = scratch if part.shape[1] == STRETCH else target.new_empty(len(target), part.shape[1])
            torch.mm(hidden, part, out=into)
            target[:, begin : begin + STRETCH] = into
        return target.add_(self.linear.bias) if self._is_biased else target
