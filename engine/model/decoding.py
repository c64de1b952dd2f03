"""Decoding in rows: every run of a grid is a row of one batch, with its own edits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.model.blocks import feed_of
from srm_explorer.engine.model.capture import Accumulator, Capture
from srm_explorer.engine.model.device import bool_list, int_list, tensor_of
from srm_explorer.engine.model.edits import Edit, slots_by_site
from srm_explorer.engine.model.ending import Ending
from srm_explorer.engine.model.hooks import Feed, HookState, Receipt, instrumented
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.sampling import NoiseKey, Sampling, best_and_margin
from srm_explorer.engine.runs.plan import Sizes, captured_bytes, rows_within

_MERGE_AT = 0.8  # histories a row from which two passes a step cost more than they save
_COMPACT_AT = 0.75  # share of rows still writing below which the finished ones are dropped


class Padded:
    """Prompts of different lengths as the rows of one left-padded feed."""

    def __init__(self, prompts: Sequence[tuple[int, ...]], device: torch.device) -> None:
        lengths = np.array([len(prompt) for prompt in prompts])
        width = int(lengths.max())
        positions = np.maximum(np.arange(width) - (width - lengths)[:, None], -1)
        ids = np.zeros_like(positions)
        ids[positions >= 0] = np.concatenate([np.asarray(prompt, np.int64) for prompt in prompts])
        self.ids = tensor_of(ids, device)
        self.positions = tensor_of(positions, device)
        self.seen = (self.positions >= 0).long()
        self.width = width

    def feed(self, start: int = 0) -> dict[str, Tensor]:
        """Lay out the columns from `start` on."""
        return feed_of(self.ids[:, start:], self.positions[:, start:], self.seen)


class RowStream:
    """A batch on its way through the model.

    Rows with one prompt and one text so far differ, at most, from the first edited or captured block on. Below that
    split each *history* goes through once (the head), above it each row (the tail). Rows that part at the neurons of
    the last block share that too, up to there. With a split of 0 every row goes through every block. A plain stream
    does so by the model's own code, over the library's cache: it is the reference.
    """

    def __init__(
        self,
        model: LoadedModel,
        rows: Sequence[Row],
        instruments: HookState,
        split: int,
        *,
        plain: bool = False,
        late: bool = False,
    ) -> None:
        self._model = model
        self._instruments = instruments
        self._split = split
        self._late = late
        self._ending: Ending | None = None
        prompts = [row.prompt for row in rows]
        self._prompts = list(dict.fromkeys(prompts))
        index = {prompt: number for number, prompt in enumerate(self._prompts)}
        device = model.device
        self._history = torch.tensor([index[prompt] for prompt in prompts], device=device)
        self._padded = Padded(prompts, device)
        self._seen = self._padded.seen
        self._next = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self._start = _first_tail_column(rows, instruments, self._padded.width, split, len(model.blocks))
        self._tail = model.blocks.new_cache(split, plain=plain)
        self._head = model.blocks.new_cache()
        self._head_seen = self._seen
        self.rows: Int[Tensor, " row"] = torch.arange(len(rows), device=device)

    def prefill(self) -> Float[Tensor, "row vocab"]:
        """Feed the prompts and return the logits of their last tokens."""
        if not self._split:
            self._tune(self._padded.positions, torch.ones_like(self.rows, dtype=torch.bool))
            return self._model.blocks.whole(self._padded.feed(), self._tail)
        shared = Padded(self._prompts, self._model.device)
        if self._late:
            return self._prefill_late(shared)
        cache = self._model.blocks.new_cache()
        with self._instruments.paused():
            logits, residual = self._model.blocks.whole_keeping(shared.feed(), cache, self._split)
        for layer in range(len(self._model.blocks)):
            keys, values = cache.take(layer)
            if layer < self._split:
                self._head.put(layer, keys, values)
            elif self._start:
                keys, values = keys[:, :, : self._start], values[:, :, : self._start]
                self._tail.put(layer, keys, values, self._history)
        self._head_seen = shared.seen
        if self._start == self._padded.width:
            return logits[self._history]
        self._tune(self._padded.positions[:, self._start :], torch.ones_like(self.rows, dtype=torch.bool))
        entering = residual[self._history][:, self._start :]
        return self._model.blocks.tail(self._padded.feed(self._start), self._tail, self._split, entering)

    def _prefill_late(self, shared: Padded) -> Float[Tensor, "row vocab"]:
        blocks = self._model.blocks
        stream, neurons = blocks.to_neurons(shared.feed(), self._head)
        self._head_seen = shared.seen
        if self._start == self._padded.width:
            with self._instruments.paused():
                everyone = torch.arange(len(self._prompts))
                logits = blocks.from_neurons(stream[:, -1:], neurons[:, -1:], everyone, self._head)
            return logits[self._history]
        self._tune(self._padded.positions[:, self._start :], torch.ones_like(self.rows, dtype=torch.bool))
        return self._part(stream[:, self._start :], neurons[:, self._start :])

    def _part(self, stream: Tensor, neurons: Tensor, *, wanted: bool = True) -> Float[Tensor, "row vocab"]:
        """Go on with rows from the neurons of the last block of their histories."""
        blocks = self._model.blocks
        if self._ending is None:
            slots = [slot for at_site in self._instruments.slots.values() for slot in at_site]
            edited = {neuron for slot in slots for neuron in int_list(slot.neurons[slot.present].flatten())}
            self._ending = blocks.new_ending(torch.tensor(sorted(edited), dtype=torch.long), neurons.shape[-1])
        return blocks.from_neurons(stream, neurons, self._history, self._head, self._ending, wanted=wanted)

    def feed(
        self, tokens: Int[Tensor, " row"], alive: Bool[Tensor, " row"], *, wanted: bool = True
    ) -> Float[Tensor, "row vocab"]:
        """Feed one token a row and return the logits after it, if they are wanted.

        Args:
            alive: which rows still count.
            wanted: whether a token will be chosen by what is returned.
        """
        positions = self._next[:, None]
        self._tune(positions, alive)
        self._seen = _grown(self._seen)
        self._next = self._next + 1
        step = feed_of(tokens[:, None], positions, self._seen)
        speakers = self._part_histories(tokens) if self._split else self.rows
        if not self._split:
            return self._model.blocks.whole(step, self._tail, wanted=wanted)
        self._head_seen = _grown(self._head_seen)
        shared = feed_of(tokens[speakers, None], positions[speakers], self._head_seen)
        if self._late:
            return self._part(*self._model.blocks.to_neurons(shared, self._head), wanted=wanted)
        residual = self._model.blocks.head(shared, self._head, self._split)
        entering = residual[self._history]
        return self._model.blocks.tail(step, self._tail, self._split, entering, wanted=wanted)

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
        if not self._late:
            self._tail.select(kept)
        self._instruments.select(kept)
        self.rows, self._history = self.rows[kept], self._history[kept]
        self._seen, self._next = self._seen[kept], self._next[kept]
        return logits[kept]

    def taken(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Give up what was cached: keys and values of every layer in turn, a row each for every row of the batch."""
        for layer in range(len(self._model.blocks)):
            below = layer < self._split + self._late
            keys, values = (self._head if below else self._tail).take(layer)
            if below:
                # A layer may lie on another device than those that say which rows.
                rows = self._history.to(keys.device)
                keys, values = keys[rows], values[rows]
            yield keys, values

    def _tune(self, positions: Int[Tensor, "row col"], alive: Bool[Tensor, " row"]) -> None:
        feed = self._instruments.feed
        self._instruments.feed = Feed(positions, feed.prompt_tokens, feed.rows, alive)

    def _part_histories(self, tokens: Int[Tensor, " row"]) -> Int[Tensor, " history"]:
        """Give rows that now part their own history; return one row of each history.

        Where hardly anything is shared any more, or a window has passed what lets rows part late, the two caches become
        one and the split is over.
        """
        device = tokens.device
        history, token = self._history.cpu().numpy(), tokens.cpu().numpy()
        _, first, inverse = np.unique(history * (int(token.max()) + 1) + token, return_index=True, return_inverse=True)
        parents = history[first]
        parts_late = not self._late or self._model.blocks.parts_late(self._seen.shape[1])
        if len(first) > _MERGE_AT * len(self.rows) or not parts_late:
            whole = self._model.blocks.new_cache()
            for layer, (keys, values) in enumerate(self.taken()):
                whole.put(layer, keys, values)
            self._tail, self._head, self._split, self._late = whole, self._model.blocks.new_cache(), 0, False
            return self.rows
        places, copied = _places(parents)
        if len(copied) or len(first) != len(self._head_seen):
            sources, targets = (tensor_of(array, device) for array in (parents[copied], places[copied]))
            self._head.place(sources, targets, len(first))
            at = np.empty_like(parents)
            at[places] = parents
            self._head_seen = self._head_seen[tensor_of(at, device)]
        speakers = np.empty_like(first)
        speakers[places] = first
        self._history = tensor_of(places[inverse.reshape(-1)], device)
        return tensor_of(speakers, device)


def _places(parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find a place for each history, so that hardly any has to be copied.

    Args:
        parents: [history] the place of the one that each goes on with; whose first child keeps the place, if it is
            below the number of histories, the others fill the places up.

    Returns:
        [history] places, each number from 0 once, and which histories have another place than their parent.
    """
    places = np.full_like(parents, -1)
    _, firsts = np.unique(parents, return_index=True)
    staying = firsts[parents[firsts] < len(parents)]
    places[staying] = parents[staying]
    copied = np.flatnonzero(places < 0)
    places[copied] = np.setdiff1d(np.arange(len(parents)), places[staying])
    return places, copied


def open_stream(model: LoadedModel, rows: Sequence[Row], instruments: HookState, *, share: bool) -> RowStream:
    """Choose where the rows of a batch begin to differ, and open a stream that splits there.

    Sharing takes rows with equal prompts, and a block that nothing below is edited or captured in.
    """
    sites = [*instruments.slots, *(a.capture.site for a in instruments.accumulators)]
    model.check_sites(sites)
    lowest = min((Site.parse(site).layer for site in sites), default=0)
    worth_it = len({row.prompt for row in rows}) <= _MERGE_AT * len(rows)
    share = share and model.shares_blocks
    split = lowest if share and worth_it else 0
    late = 0 < split == len(model.blocks) - 1 and _part_at_neurons(instruments)
    late = late and model.blocks.parts_late(max(len(row.prompt) for row in rows))
    return RowStream(model, rows, instruments, split, plain=not share, late=late)


def _part_at_neurons(instruments: HookState) -> bool:
    """Whether all that is edited of a block are neurons of its MLP, and nothing before them is captured."""
    kinds = {Site.parse(site).kind for site in instruments.slots}
    kept = {Site.parse(accumulator.capture.site).kind for accumulator in instruments.accumulators}
    slots = [slot for at_site in instruments.slots.values() for slot in at_site]
    known = kinds == {"mlp.hook_post"} and all(slot.direction is None for slot in slots)
    return known and kept <= {"mlp.hook_post", "hook_mlp_out", "hook_resid_post"}


def _first_tail_column(rows: Sequence[Row], instruments: HookState, width: int, split: int, n_blocks: int) -> int:
    """Find the first prompt column that must go through the tail for every row; `width` where none must.

    Nothing attends to what the last block computes, so there a clamp matters at the last prompt token only - unless
    it sits before the block's attention, or prompt positions are captured.
    """
    captures = [accumulator.capture for accumulator in instruments.accumulators]
    captured = {capture.positions for capture in captures if isinstance(capture.positions, str)}
    edited = {edit.positions for row in rows for edit in row.edits if isinstance(edit.positions, str)}
    if captured & {"prompt", "all"}:
        return 0
    before_attention = any(Site.parse(site).kind == "hook_resid_pre" for site in instruments.slots)
    spreads = split < n_blocks - 1 or before_attention
    if edited & {"prompt", "all"} and spreads:
        return 0
    column = width - 1 if (edited | captured) - {"generated"} else width
    for row in rows:
        chosen = [edit.positions.first for edit in row.edits if isinstance(edit.positions, RowPositions)]
        if chosen and (first := width - len(row.prompt) + min(chosen)) < width:
            column = min(column, first if spreads else width - 1)
        kept = [capture.positions_in(row.prompt) for capture in captures if not isinstance(capture.positions, str)]
        first = min((at.first for at in kept if isinstance(at, RowPositions)), default=len(row.prompt))
        column = min(column, width - len(row.prompt) + first)
    return column


def _grown(seen: Int[Tensor, "row key"]) -> Int[Tensor, "row key"]:
    return torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)


@dataclass(frozen=True)
class Row:
    """One run, resolved to what the model needs.

    Args:
        prompt: token ids of the prompt, at least one.
        edits: what is done to it; none for the baseline.
        noise: names its sampling noise; needed when the tokens are sampled.
        forced: feed these tokens instead of choosing any.
        marks: numbers of its tokens, ascending from 1, over the first of which means are kept besides.
    """

    prompt: tuple[int, ...]
    edits: tuple[Edit, ...] = ()
    noise: NoiseKey | None = None
    forced: tuple[int, ...] | None = None
    marks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Generation:
    """How far and how to write.

    Args:
        tokens: tokens to generate; with 0 the prompt alone goes through the model.
        sampling: how they are chosen.
        stop_ids: a row that writes one of these is finished with it.
    """

    tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stop_ids: frozenset[int] = frozenset()


@dataclass(frozen=True)
class RowResult:
    """What came of one row.

    Args:
        tokens: the generated ids.
        finish: `eos` where an end-of-text was written, `length` where the row ran its length, `none` for 0 tokens.
        margin: the smallest lead of a chosen token over the second best, in logits; None where none was chosen.
        captured: one array a capture, in the order they were asked for: [d], or [token, d] for `tokens`.
        marked: the same captures' means when so many tokens as a mark says were fed, [mark, d] each; those that were
            not reached, and all of a capture of another reduction than `mean`, are not there.
    """

    tokens: tuple[int, ...]
    finish: str
    margin: float | None
    captured: tuple[np.ndarray, ...]
    marked: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Decoded:
    """What came of a batch.

    Attributes:
        rows: in order.
        receipts: what the hooks report.
        static_steps: whether it was decoded in static tensors, on CUDA as graphs.
    """

    rows: list[RowResult]
    receipts: list[Receipt]
    static_steps: bool = False


def decode(
    model: LoadedModel,
    rows: Sequence[Row],
    generation: Generation,
    captures: Sequence[Capture],
    *,
    share: bool = True,
    on_step: Callable[[int, int], None] | None = None,
) -> Decoded:
    """Let the model write every row, editing as it goes, and keep what the captures ask for.

    A generated token is captured when it is fed, so the last one is fed too, though nothing is chosen after it.

    Args:
        rows: the batch; rows do not feel each other beyond floating point.
        generation: how far and how to write.
        captures: what to keep of every row.
        share: compute what rows with one history have in common once; False is the plain reference.
        on_step: called after each step with the step and the tokens it wrote, one for each row that still writes; may
            raise to stop.

    Raises:
        ExplorerError: a site does not exist in this model.
        HookNeverFired: the model never reached a site.
    """
    if not model.pads and len({len(row.prompt) for row in rows}) > 1:
        return _decode_by_length(model, rows, generation, captures, share=share, on_step=on_step)
    with torch.inference_mode():
        accumulators = [Accumulator(capture, [row.prompt for row in rows], model.device) for capture in captures]
        slots = slots_by_site([row.edits for row in rows], model.device, model.dtype)
        instruments = HookState(slots, accumulators, _idle_feed(rows, model.device))
        stream = open_stream(model, rows, instruments, share=share)
        writer = _Writer(rows, generation, model.device)
        with instrumented(model, instruments):
            logits = stream.prefill()
            for step in range(generation.tokens):
                writer.choose(logits, stream.rows, step)
                goes_on = step + 1 < generation.tokens
                logits = stream.feed(writer.newest[stream.rows], writer.writing[stream.rows], wanted=goes_on)
                due = writer.reached(step)
                for accumulator in accumulators if due else ():
                    accumulator.mark(due)
                writer.close(step)
                logits = stream.drop_finished(writer.writing, logits)
                if on_step:
                    on_step(step, int(writer.writing.sum()))
                if not writer.writing.any():
                    break
    kept = [accumulator.result() for accumulator in accumulators]
    results = [
        RowResult(
            tuple(writer.tokens[i]),
            writer.finish[i],
            writer.margin(i),
            tuple(k[i] for k in kept),
            tuple(
                np.array(accumulator.marked[i]).reshape(-1, k[i].shape[-1])
                for accumulator, k in zip(accumulators, kept, strict=True)
            )
            if rows[i].marks
            else (),
        )
        for i in range(len(rows))
    ]
    return Decoded(results, list(instruments.receipts.values()))


def _decode_by_length(
    model: LoadedModel, rows: Sequence[Row], generation: Generation, captures: Sequence[Capture], **options: Any
) -> Decoded:
    """Decode a batch as one batch for each length of prompt, for a model whose rows feel their padding."""
    results: dict[int, RowResult] = {}
    receipts: dict[str, Receipt] = {}
    for length in dict.fromkeys(len(row.prompt) for row in rows):
        indices = [index for index, row in enumerate(rows) if len(row.prompt) == length]
        decoded = decode(model, [rows[index] for index in indices], generation, captures, **options)
        results.update(zip(indices, decoded.rows, strict=True))
        for receipt in decoded.receipts:
            total = receipts.setdefault(receipt.site, Receipt(receipt.site))
            total.fired += receipt.fired
            total.edited += receipt.edited
    return Decoded([results[index] for index in range(len(rows))], list(receipts.values()))


def _idle_feed(rows: Sequence[Row], device: torch.device) -> Feed:
    lengths = torch.tensor([len(row.prompt) for row in rows], device=device)
    everyone = torch.arange(len(rows), device=device)
    return Feed(torch.zeros(len(rows), 0, dtype=torch.long, device=device), lengths, everyone, everyone >= 0)


class _Writer:
    """Keeps what each row has written, in the batch's original order."""

    def __init__(self, rows: Sequence[Row], generation: Generation, device: torch.device) -> None:
        self._rows = rows
        self._generation = generation
        self._lengths = [generation.tokens if r.forced is None else len(r.forced) for r in rows]
        self._margins = torch.full((len(rows),), torch.inf, device=device)
        self.tokens: list[list[int]] = [[] for _ in rows]
        self._marks: dict[int, list[int]] = {}
        for row, marked in enumerate(rows):
            for mark in marked.marks:
                self._marks.setdefault(mark, []).append(row)
        self.finish = ["none" if length == 0 else "length" for length in self._lengths]
        self.newest = torch.zeros(len(rows), dtype=torch.long, device=device)
        self.writing = torch.tensor([length > 0 for length in self._lengths], device=device)

    def margin(self, row: int) -> float | None:
        """Return the smallest lead of a row's chosen tokens."""
        lead = float(self._margins[row])
        return lead if lead != float("inf") else None

    def choose(self, logits: Tensor, home: Tensor, step: int) -> None:
        """Write one token for each row that is still writing; the logits are used up."""
        sampling = self._generation.sampling
        rows = int_list(home)
        noise = None if sampling.greedy else self._noise(rows, step, logits)
        chosen, lead = best_and_margin(sampling.scores(logits, noise))
        ids = int_list(chosen)
        free: list[bool] = []
        for index, row in enumerate(rows):
            forced = self._rows[row].forced
            free.append(forced is None)
            if forced is not None:
                ids[index] = forced[step] if step < len(forced) else 0
        chosen = torch.tensor(ids, device=logits.device)
        counting = self.writing[home] & torch.tensor(free, device=logits.device)
        self._margins[home] = torch.where(
            counting, torch.minimum(self._margins[home], lead.to(self._margins.dtype)), self._margins[home]
        )
        self.newest[home] = chosen
        for row, token, writing in zip(rows, ids, bool_list(self.writing[home]), strict=True):
            if writing:
                self.tokens[row].append(token)

    def reached(self, step: int) -> list[int]:
        """Rows that are still writing and have as many tokens, with the one just fed, as one of their marks says."""
        return [row for row in self._marks.get(step + 1, ()) if len(self.tokens[row]) == step + 1]

    def close(self, step: int) -> None:
        """Finish the rows whose newest token, now fed, was their last."""
        for row, writing in enumerate(bool_list(self.writing)):
            if not writing:
                continue
            if self._rows[row].forced is None and self.tokens[row][-1] in self._generation.stop_ids:
                self.finish[row] = "eos"
                self.writing[row] = False
            elif step + 1 >= self._lengths[row]:
                self.writing[row] = False

    def _noise(self, rows: Sequence[int], step: int, logits: Tensor) -> Tensor:
        drawn: dict[NoiseKey, np.ndarray] = {}
        for row in rows:
            key = self._rows[row].noise
            assert key is not None, "a sampled row names its noise"
            if key not in drawn:
                drawn[key] = key.gumbel(step, logits.shape[-1])
        keys = list(drawn)
        table = tensor_of(np.stack([drawn[key] for key in keys]), logits.device)
        index = {key: number for number, key in enumerate(keys)}
        places = [index[noise] for row in rows if (noise := self._rows[row].noise) is not None]
        return table[torch.tensor(places, device=logits.device)]


def sizes_of(model: LoadedModel) -> Sizes:
    """Sizes that decide what a row needs."""
    config: Any = model.bridge.cfg
    heads: int = config.n_key_value_heads or config.n_heads
    item, kv_width = model.dtype.itemsize, heads * config.d_head
    return Sizes(config.n_layers, kv_width, model.shape.n_heads, model.shape.d_mlp, config.d_vocab, item)


def weight_bytes(model: LoadedModel) -> int:
    """Bytes of the weights, shared ones once."""
    # What lies on the disk has no address; no two of its weights are one.
    weights: dict[int, torch.Tensor] = {
        id(param) if param.is_meta else param.data_ptr(): param for param in model.bridge.original_model.parameters()
    }
    return sum(param.numel() * param.element_size() for param in weights.values())


def row_bytes(model: LoadedModel, prompt: int, generation: Generation, captures: Sequence[Capture]) -> int:
    """Estimate what one row of a batch needs at its longest: cache, logits, activations, captures.

    Args:
        prompt: tokens of it.
        generation: what follows it.
        captures: what is kept of a row.
    """
    kept = sum(
        captured_bytes(model.shape.width(Site.parse(capture.site)), capture.reduce, prompt + generation.tokens)
        for capture in captures
        if capture.columns is None
    )
    kind, sampled = model.device.type, not generation.sampling.greedy
    return sizes_of(model).row_bytes(prompt, generation.tokens, kept, kind=kind, sampled=sampled)


def rows_that_fit(model: LoadedModel, prompt: int, generation: Generation, captures: Sequence[Capture]) -> int:
    """Choose the most rows of a batch, at least 1; what was kept of earlier batches is let go of.

    Arguments as those of `row_bytes`.
    """
    model.kept_step = None
    free = model.placement.free_bytes(with_blocks=True)
    return rows_within(free, model.device.type, row_bytes(model, prompt, generation, captures))
