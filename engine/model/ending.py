"""The end of a pass whose rows part at the neurons of the last block: logits of rows from those of their histories.

Rows with one prompt and one text so far that are edited at no other place differ by what those neurons write, and the
last norm is linear but for its scale: with s the scale of a row, x the stream of its history, d the change of each
edited neuron and w what it writes, logits = s (U(x) + sum of d U(w)) + U(shift). So a step takes one product with the
unembedding a history, in place of one a row. `DirectBlocks` going through all of it row by row is the reference.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from srm_explorer.engine.model.direct import DirectBlocks
from srm_explorer.engine.model.unembedding import STRETCH

_WORTH = 0.8
"""Share of the multiplications of row by row that must not be exceeded."""


class Ending:
    """Makes the logits of rows that part at some neurons of the last block.

    Attributes:
        edited: [k] numbers of the neurons that any row edits.

    Args:
        direct: of a model on a processor.
        d_mlp: how many neurons there are.
    """

    def __init__(self, direct: DirectBlocks, edited: Int[Tensor, " k"], d_mlp: int) -> None:
        self._direct, self.edited = direct, edited
        weight, shift = direct.unembedding.weight, direct.norm.shift
        bias: Any = direct.unembedding.bias
        self._of_edited = direct.norm.linear(direct.written_by(edited, d_mlp)) @ weight.T
        added = [shift @ weight.T] if shift is not None else []
        added += [bias] if bias is not None else []
        self._added = torch.stack(added).sum(dim=0) if added else None

    def is_worth_it(self, histories: int, rows: int) -> bool:
        """Whether it takes fewer multiplications than row by row."""
        width, terms = self._direct.unembedding.in_features, histories + len(self.edited)
        return histories * width + rows * terms <= _WORTH * rows * width

    def write(
        self,
        target: Float[Tensor, "row vocab"],
        stream: Float[Tensor, "row d"],
        change: Float[Tensor, "row k"],
        entered: Float[Tensor, "history d"],
        history: Int[Tensor, " row"],
    ) -> Float[Tensor, "row vocab"]:
        """Write the logits into a tensor, and return that.

        Args:
            stream: what leaves the last block in each row.
            change: by how much each edited neuron of a row differs from its history's.
            entered: what would leave the last block in each history, were nothing edited.
        """
        norm, weight = self._direct.norm, self._direct.unembedding.weight
        scale = norm.scale(stream)
        terms = torch.zeros(len(stream), len(entered) + change.shape[1], dtype=stream.dtype)
        terms[torch.arange(len(stream)), history] = scale
        terms[:, len(entered) :] = scale[:, None] * change
        linear = norm.linear(entered)
        for begin in range(0, len(weight), STRETCH):
            part = slice(begin, begin + STRETCH)
            parts = torch.cat([linear @ weight[part].T, self._of_edited[:, part]])
            target[:, part] = terms @ parts
        return target if self._added is None else target.add_(self._added)
