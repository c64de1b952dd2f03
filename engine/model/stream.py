"""Rows going through a model column after column, with what they have in common computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from engine.model.arrays import tensor_of
from engine.model.blocks import feed_of
from engine.model.cache import LayerCache
from engine.model.hooks import Feed, Instruments
from engine.model.load import LoadedModel
from engine.spec.site import Site

if TYPE_CHECKING:
    from engine.model.decode import Row

_MERGE_AT = 0.8  # histories a row from which two passes a step cost more than they save
_COMPACT_AT = 0.75  # share of rows still writing below which the finished ones are dropped


class Padded:
    """Prompts of different lengths as the rows of one left-padded feed."""

    def __init__(self, prompts: Sequence[tuple[int, ...]], device: torch.device) -> None:
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        where = torch.full((len(prompts), width), -1, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            where[row, width - len(prompt) :] = torch.arange(len(prompt))
        self.ids = ids.to(device)
        self.where = where.to(device)
        self.seen = (self.where >= 0).long()
        self.width = width

    def feed(self, start: int = 0) -> dict[str, Tensor]:
        """Lay out the columns from `start` on."""
        return feed_of(self.ids[:, start:], self.where[:, start:], self.seen)


class RowStream:
    """A batch on its way through the model.

    Rows with one prompt and one text so far differ, at most, from the first edited or captured block on. Below that
    split each *history* goes through once (the head), above it each row (the tail). With a split of 0 every row goes
    through every block: the plain way, to which the other is tested equal.
    """

    def __init__(self, model: LoadedModel, rows: Sequence[Row], instruments: Instruments, split: int) -> None:
        self._model = model
        self._instruments = instruments
        self._split = split
        prompts = [row.prompt for row in rows]
        self._prompts = list(dict.fromkeys(prompts))
        index = {prompt: place for place, prompt in enumerate(self._prompts)}
        device = model.device
        self._history = torch.tensor([index[prompt] for prompt in prompts], device=device)
        self._padded = Padded(prompts, device)
        self._seen = self._padded.seen
        self._next = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self._start = _first_own_column(rows, instruments, self._padded.width, split, len(model.blocks))
        self._tail = LayerCache(split)
        self._head = LayerCache(0)
        self._head_seen = self._seen
        self.rows: Int[Tensor, " row"] = torch.arange(len(rows), device=device)

    def prefill(self) -> Float[Tensor, "row vocab"]:
        """Feed the prompts and return the logits of their last tokens."""
        if not self._split:
            self._tune(self._padded.where, torch.ones_like(self.rows, dtype=torch.bool))
            return self._model.blocks.whole(self._padded.feed(), self._tail)
        shared = Padded(self._prompts, self._model.device)
        cache = LayerCache(0)
        with self._instruments.paused():
            logits, residual = self._model.blocks.whole_keeping(shared.feed(), cache, self._split)
        for layer in range(len(self._model.blocks)):
            keys, values = cache.pair(layer)
            if layer < self._split:
                self._head.put(layer, keys, values)
            elif self._start:
                keys, values = keys[:, :, : self._start], values[:, :, : self._start]
                self._tail.put(layer, keys[self._history], values[self._history])
        self._head_seen = shared.seen
        if self._start == self._padded.width:
            return logits[self._history]
        self._tune(self._padded.where[:, self._start :], torch.ones_like(self.rows, dtype=torch.bool))
        own = residual[self._history][:, self._start :]
        return self._model.blocks.tail(self._padded.feed(self._start), self._tail, self._split, own)

    def feed(self, tokens: Int[Tensor, " row"], alive: Bool[Tensor, " row"]) -> Float[Tensor, "row vocab"]:
        """Feed one token a row and return the logits after it; `alive` says which rows still count."""
        where = self._next[:, None]
        self._tune(where, alive)
        self._seen = _grown(self._seen)
        self._next = self._next + 1
        step = feed_of(tokens[:, None], where, self._seen)
        speakers = self._part_histories(tokens) if self._split else self.rows
        if not self._split:
            return self._model.blocks.whole(step, self._tail)
        self._head_seen = _grown(self._head_seen)
        shared = feed_of(tokens[speakers, None], where[speakers], self._head_seen)
        residual = self._model.blocks.head(shared, self._head, self._split)
        return self._model.blocks.tail(step, self._tail, self._split, residual[self._history])

    def drop_finished(
        self, writing: Bool[Tensor, " original"], logits: Float[Tensor, "row vocab"]
    ) -> Float[Tensor, "kept vocab"]:
        """Stop feeding the rows that are finished, once they are enough to be worth a copy of the rest.

        Args:
            writing: which of the batch's original rows still write.
            logits: of the rows that were fed.

        Returns:
            The logits of the rows that will be fed on.
        """
        kept = torch.nonzero(writing[self.rows]).flatten()
        if not len(kept) or len(kept) > _COMPACT_AT * len(self.rows):
            return logits
        self._tail.select(kept)
        self._instruments.select(kept)
        self.rows, self._history = self.rows[kept], self._history[kept]
        self._seen, self._next = self._seen[kept], self._next[kept]
        return logits[kept]

    def _tune(self, where: Int[Tensor, "row col"], alive: Bool[Tensor, " row"]) -> None:
        feed = self._instruments.feed
        self._instruments.feed = Feed(where, feed.prompt_tokens, feed.rows, alive)

    def _part_histories(self, tokens: Int[Tensor, " row"]) -> Int[Tensor, " history"]:
        """Give rows that now part their own history; return one row of each history.

        Where hardly anything is shared any more, the two caches become one and the split is over.
        """
        device = tokens.device
        pairs = np.stack([self._history.cpu().numpy(), tokens.cpu().numpy()])
        _, first, inverse = np.unique(pairs, axis=1, return_index=True, return_inverse=True)
        parents = tensor_of(pairs[0, first], device)
        if len(first) > _MERGE_AT * len(self.rows):
            whole = LayerCache(0)
            for layer in range(len(self._model.blocks)):
                below = layer < self._split
                keys, values = (self._head if below else self._tail).take(layer)
                whole.put(layer, keys[self._history] if below else keys, values[self._history] if below else values)
            self._tail, self._head, self._split = whole, LayerCache(0), 0
        elif len(parents) != len(self._head_seen) or not torch.equal(parents, torch.arange(len(parents)).to(parents)):
            self._head.select(parents)
            self._head_seen = self._head_seen[parents]
        self._history = tensor_of(inverse.reshape(-1), device)
        return tensor_of(first, device)


def open_stream(model: LoadedModel, rows: Sequence[Row], instruments: Instruments, *, share: bool) -> RowStream:
    """Choose where the rows of a batch begin to differ, and open a stream that splits there.

    Sharing takes rows with equal prompts, and a block that nothing below is edited or captured in.
    """
    sites = [*instruments.slots, *(a.capture.site for a in instruments.accumulators)]
    model.check_sites(sites)
    lowest = min((Site.parse(site).layer for site in sites), default=0)
    worth_it = len({row.prompt for row in rows}) <= _MERGE_AT * len(rows)
    return RowStream(model, rows, instruments, lowest if share and worth_it and model.shares_blocks else 0)


def _first_own_column(rows: Sequence[Row], instruments: Instruments, width: int, split: int, n_blocks: int) -> int:
    """Find the first prompt column that must go through the tail for every row; `width` where none must.

    Nothing attends to what the last block computes, so there a clamp matters at the last prompt token only - unless
    it sits before the block's attention, or prompt positions are captured.
    """
    captured = {accumulator.capture.positions for accumulator in instruments.accumulators}
    edits = {edit.kind for row in rows for edit in row.edits}
    edited = {edit.positions for edit in edits}
    if captured & {"prompt", "all"}:
        return 0
    before_attention = any(Site.parse(edit.site).kind == "hook_resid_pre" for edit in edits)
    if edited & {"prompt", "all"} and (split < n_blocks - 1 or before_attention):
        return 0
    if (edited | captured) - {"generated"}:
        return width - 1
    return width


def _grown(seen: Int[Tensor, "row key"]) -> Int[Tensor, "row key"]:
    return torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
