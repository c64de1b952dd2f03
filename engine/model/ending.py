"""The end of a pass whose rows part at the neurons of the last block: logits of rows from those of their histories.

Rows with one prompt and one text so far that are edited at no other place differ by what those neurons write, and the
last norm is linear but for its scale: with s the scale of a row, x the stream of its history, d the change of each
edited neuron and w what it writes, logits = s (U(x) + sum of d U(w)) + U(shift). So a step takes one product with the
unembedding a history, in place of one a row. A norm after the MLP (Gemma 2) has a scale t of its
own: t (y + sum of d w) is added to x then, y being what the MLP writes in the history. `DirectBlocks` going row by row
is the reference.
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
        self._written_by_edited = direct.written_by(edited, d_mlp)
        self._of_edited = self._linear(self._written_by_edited) @ weight.T
        added = [shift @ weight.T] if shift is not None else []
        added += [bias] if bias is not None else []
        self._added = torch.stack(added).sum(dim=0) if added else None

    def is_worth_it(self, histories: int, rows: int) -> bool:
        """Whether it takes fewer multiplications than row by row."""
        width, parts = self._direct.unembedding.in_features, 1 if self._direct.norm_after is None else 2
        terms = parts * histories + len(self.edited)
        return parts * histories * width + rows * terms <= _WORTH * rows * width

    def write(
        self,
        target: Float[Tensor, "row vocab"],
        leaving: Float[Tensor, "row d"],
        change: Float[Tensor, "row k"],
        stream: Float[Tensor, "history d"],
        neurons: Float[Tensor, "history d_mlp"],
        history: Int[Tensor, " row"],
    ) -> Float[Tensor, "row vocab"]:
        """Write the logits into a tensor, and return that.

        Args:
            leaving: what leaves the last block in each row.
            change: by how much each edited neuron of a row differs from its history's.
            stream: what the last block's MLP writes to in each history.
            neurons: what it writes with, were nothing edited.
        """
        norm, weight, written = self._direct.norm, self._direct.unembedding.weight, self._direct.written(neurons)
        scale = norm.scale(leaving)
        if self._direct.norm_after is None:
            by, parts = scale, [(norm.linear(stream + written), scale)]
        else:
            by = scale * self._direct.norm_after.scale(written[history] + change @ self._written_by_edited)
            parts = [(norm.linear(stream), scale), (self._linear(written), by)]
        terms = torch.zeros(len(leaving), len(parts) * len(stream) + change.shape[1], dtype=leaving.dtype)
        for number, (_, factor) in enumerate(parts):
            terms[torch.arange(len(leaving)), number * len(stream) + history] = factor
        terms[:, len(parts) * len(stream) :] = by[:, None] * change
        linear = torch.cat([part for part, _ in parts])
        for begin in range(0, len(weight), STRETCH):
            stretch = slice(begin, begin + STRETCH)
            target[:, stretch] = terms @ torch.cat([linear @ weight[stretch].T, self._of_edited[:, stretch]])
        return target if self._added is None else target.add_(self._added)

    def _linear(self, written: Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
        """What the unembedding reads of what the MLP writes, without the scales of the norms between."""
        after = self._direct.norm_after
        return self._direct.norm.linear(written if after is None else after.linear(written))
