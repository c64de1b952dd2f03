"""Decoding in tensors whose shapes never change: a step asks the host nothing, and on CUDA it is one graph.

The plain way, `decoding.decode`, comes back to the host at every step: for the tokens, for who is finished, for who
still shares a history. Here all of that stays where the model runs. The keys and values have room from the start, a
step chooses, writes, feeds, edits, captures and counts in place, and the host looks only now and then at how many rows
still write. So a step can be captured as a CUDA graph and replayed; without CUDA the same step is called as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.cache_utils import DynamicCache

from srm_explorer.engine.errors import ExplorerError, first_line, is_out_of_memory
from srm_explorer.engine.model.decoding import Decoded, Generation, Padded, Row, RowResult, open_stream
from srm_explorer.engine.model.decoding import decode as decode_plainly
from srm_explorer.engine.model.device import array_of, bool_list, int_list, tensor_of
from srm_explorer.engine.model.intervene import (
    Accumulator,
    Capture,
    EditSlot,
    Feed,
    HookState,
    instrumented,
    slots_by_site,
)
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.sampling import NoiseKey, best_and_margin

SWITCH = "SRM_EXPLORER_GRAPHS"
"""Variable of the environment; "off" there has every batch decoded the plain way."""

LOOK = 8
"""Steps between two looks at how many rows still write."""

_COLUMNS = 32  # a step reads the cached columns in multiples of this, and there is one graph for each
_ROWS = 8  # batches have a multiple of so many rows: one more or less is no other shape
_SHARE = 32  # and of the power of two that is this part of a large one, so that a batch grows by 3 % at most
_WARM_UP = 3  # steps before a capture: libraries choose their kernels and workspaces in them

Graphs = Literal["off", "rehearsed", "cuda"]
"""How a step is run: called, called with all that surrounds a capture, or captured and replayed."""


def decode(
    model: LoadedModel,
    rows: Sequence[Row],
    generation: Generation,
    captures: Sequence[Capture],
    *,
    share: bool = True,
    on_step: Callable[[int, int], None] | None = None,
) -> Decoded:
    """Let the model write every row, the fastest way that was found to agree with the plain one.

    Arguments, result and errors as `decoding.decode` has them; `on_step` may be called for some steps only.
    """
    if model.static_steps and share and suits(model, rows, generation):
        return decode_static(model, rows, generation, captures, on_step=on_step)
    return decode_plainly(model, rows, generation, captures, share=share, on_step=on_step)


def suits(model: LoadedModel, rows: Sequence[Row], generation: Generation) -> bool:
    """Whether a batch can be decoded in static tensors.

    It takes a model whose attention does as a mask says, that keeps keys and values alone and is whole on one device;
    where each expert's tokens are gathered, shapes depend on numbers. Marks are taken by step, so a row that has any is
    forced.
    """
    marked = all(row.forced is not None for row in rows if row.marks)
    routed = bool(model.experts or model.shape.unreached_experts)
    fits = model.blocks.takes_masks and model.placement.is_whole and not routed
    return fits and generation.tokens > 0 and marked and model.pads


def decode_static(
    model: LoadedModel,
    rows: Sequence[Row],
    generation: Generation,
    captures: Sequence[Capture],
    *,
    on_step: Callable[[int, int], None] | None = None,
    graphs: Graphs | None = None,
) -> Decoded:
    """Let the model write every row in static tensors; equal to the plain way beyond floating point.

    What was laid out for a batch is kept with the model, and used again by the next batch of the same shape: on CUDA
    its graphs are then there already.

    Args:
        model: what writes; `suits` says whether it can.
        rows: the batch.
        generation: how far and how to write, at least one token.
        captures: what to keep of every row.
        on_step: called now and then with the last step that is done and the number of rows that still wrote after it;
            may raise to stop.
        graphs: how a step is run; None captures on CUDA and calls elsewhere.

    Raises:
        ExplorerError: a site does not exist in this model.
        HookNeverFired: the model never reached a site.
        ExplorerError: a step cannot be captured.
    """
    laid_out = _LaidOut.of(model, rows, generation, captures, graphs)
    return _decode_laid_out(model, laid_out, captures, on_step)


def decode_all(
    model: LoadedModel,
    batches: Iterable[Sequence[Row]],
    generation: Generation,
    captures: Sequence[Capture],
    *,
    on_step: Callable[[int, int], None] | None = None,
) -> Iterator[Decoded]:
    """Decode one batch after another; where a device works by itself, the next one is laid out meanwhile.

    Args:
        model: what writes.
        batches: each is asked for before the one before it is done, and then by another thread.
        generation: as `decode` has it.
        captures: as `decode` has them.
        on_step: as `decode` has it.

    Yields:
        What came of each batch, in their order; errors as those of `decode`.
    """
    if not model.static_steps:
        for rows in batches:
            yield decode(model, rows, generation, captures, on_step=on_step)
        return
    coming = iter(batches)

    def lay_out() -> Sequence[Row] | _LaidOut | None:
        rows = next(coming, None)
        if rows is None or not suits(model, rows, generation):
            return rows
        return _LaidOut.of(model, rows, generation, captures, None)

    with ThreadPoolExecutor(1, thread_name_prefix="rows") as beside:
        asked = beside.submit(lay_out)
        while (batch := asked.result()) is not None:
            asked = beside.submit(lay_out)
            if isinstance(batch, _LaidOut):
                yield _decode_laid_out(model, batch, captures, on_step)
            else:
                yield decode(model, batch, generation, captures, on_step=on_step)


def _decode_laid_out(
    model: LoadedModel,
    laid_out: _LaidOut,
    captures: Sequence[Capture],
    on_step: Callable[[int, int], None] | None,
) -> Decoded:
    with torch.inference_mode(), _current(model.device):
        # Let go of before anything is laid out: two batches at once might not fit.
        kept, model.kept_step = model.kept_step, None
        batch = kept if isinstance(kept, _Batch) and kept.shape == laid_out.shape else None
        del kept
        if batch is None:
            batch = _Batch(model, laid_out.rows, captures, laid_out.shape)
        decoded = batch.decode(laid_out.rows, laid_out.slots, on_step)
        model.kept_step = batch
    return Decoded(decoded.rows[: laid_out.count], decoded.receipts)


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA device the one that streams, events and graphs are made on while the block runs."""
    cuda: Any = torch.cuda
    return cuda.device(device) if device.type == "cuda" else nullcontext()


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
        """Write one column and return what is read."""
        keys, values = self.pairs[layer_idx]
        keys.index_copy_(2, self.column, key_states)
        values.index_copy_(2, self.column, value_states)
        return keys[:, :, : self.used], values[:, :, : self.used]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Count the columns before the one that is fed, as far as the host knows."""
        return self.used - 1

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Return the length and the offset of the keys that are read."""
        return self.used, 0


@dataclass(frozen=True)
class _Shape:
    """All that a step's tensors and kernels depend on: batches that agree in it can use the same graphs."""

    rows: int
    room: int
    generation: Generation
    graphs: Graphs
    noises: int
    slots: tuple[tuple[Any, ...], ...]
    captures: tuple[tuple[Any, ...], ...]


def _shape_of(
    rows: Sequence[Row],
    generation: Generation,
    captures: Sequence[Capture],
    graphs: Graphs,
    slots: dict[str, list[EditSlot]],
) -> _Shape:
    prompts = dict.fromkeys(row.prompt for row in rows)
    described: list[tuple[Any, ...]] = []
    for capture in captures:
        own = [capture.positions_in(prompt) for prompt in prompts]
        word = capture.positions if isinstance(capture.positions, str) else ""
        most = max((len(at.at) for at in own if not isinstance(at, str)), default=-1)
        described.append((replace(capture, positions="all"), word, most))
    columns = max(len(row.prompt) for row in rows) + generation.tokens
    return _Shape(
        len(rows),
        -(-columns // _COLUMNS) * _COLUMNS,
        generation,
        graphs,
        len(_noise_keys(rows, generation)),
        tuple((site, slot.kind, slot.sizes) for site, there in slots.items() for slot in there),
        tuple(described),
    )


@dataclass(frozen=True)
class _LaidOut:
    """A batch as the host prepares it.

    Args:
        rows: of the batch, and after them some that never write, up to the shape's number.
        count: of those that were asked for.
        slots: their edits, not yet on the device.
        shape: what the batch's tensors must have.
    """

    rows: Sequence[Row]
    count: int
    slots: dict[str, list[EditSlot]]
    shape: _Shape

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        rows: Sequence[Row],
        generation: Generation,
        captures: Sequence[Capture],
        graphs: Graphs | None,
    ) -> _LaidOut:
        """Lay rows out, filled up by their number alone: what a row comes to depends on no batch before."""
        count = len(rows)
        filled = [*rows, *[Row(rows[0].prompt, forced=())] * (_filled(count) - count)]
        slots = slots_by_site([row.edits for row in filled], torch.device("cpu"), model.dtype)
        how: Graphs = graphs or ("cuda" if model.device.type == "cuda" else "off")
        return cls(filled, count, slots, _shape_of(filled, generation, captures, how, slots))


def _filled(count: int) -> int:
    """How many rows a batch of so many has: numbers that are nearly alike are one, so that graphs are used again."""
    step = max(_ROWS, 2 ** (count.bit_length() - 1) // _SHARE)
    return -(-count // step) * step


def _noise_keys(rows: Sequence[Row], generation: Generation) -> list[NoiseKey]:
    return [] if generation.sampling.greedy else list(dict.fromkeys(row.noise for row in rows if row.noise is not None))


class _Batch:
    """A batch and everything that a step touches; only what is in its tensors changes from step to step."""

    def __init__(self, model: LoadedModel, rows: Sequence[Row], captures: Sequence[Capture], shape: _Shape) -> None:
        generation = shape.generation
        device, count, tokens = model.device, len(rows), generation.tokens
        self.shape = shape
        self._model = model
        self._generation = generation
        self._graphs: dict[int, Callable[[], None]] = {}
        self._side: Any = None
        self._pool: Any = None
        self._reached: set[str] = set()
        prompts = [row.prompt for row in rows]
        accumulators = [Accumulator(capture, prompts, device) for capture in captures]
        for accumulator in accumulators:
            accumulator.reserve(tokens + 1)

        def long(*shape: int, fill: int = 0) -> Tensor:
            return torch.full(shape, fill, dtype=torch.long, device=device)

        self.step, self.column = long(1), long(1)
        self.positions, self.lengths, self.limits = long(count, 1), long(count), long(count)
        self.tokens, self.forced = long(count, tokens), long(count, tokens)
        self.writing = torch.zeros(count, dtype=torch.bool, device=device)
        self.ended, self.free = torch.zeros_like(self.writing), torch.zeros_like(self.writing)
        self.margins = torch.full((count,), torch.inf, device=device)
        self.stop_ids = torch.tensor(sorted(generation.stop_ids), dtype=torch.long, device=device)
        self.prompt_tokens, self.home = long(count), torch.arange(count, device=device)
        slots = slots_by_site([row.edits for row in rows], device, model.dtype)
        self.instruments = HookState(slots, accumulators, self._feed())
        self._room = shape.room
        # The lowest float64 is minus infinity in float32, in which some models take their softmax.
        self._hidden = torch.finfo(torch.float32 if model.dtype == torch.float64 else model.dtype).min
        self.mask = torch.full((count, 1, 1, self._room), self._hidden, dtype=model.dtype, device=device)
        self.logits: Tensor | None = None
        self.noise: Tensor | None = None
        self.noise_of = long(count)
        self.keys: RoomyKeys | None = None

    def decode(
        self, rows: Sequence[Row], slots: dict[str, list[EditSlot]], on_step: Callable[[int, int], None] | None
    ) -> Decoded:
        """Write rows of this batch's shape; `slots` are theirs, wherever they lie."""
        self._load(rows, slots)
        noise = _Noise(rows, self._generation, self._model)
        marks: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            for mark in row.marks:
                # A forced row writes as long as its tokens last.
                if mark <= min(len(row.forced or ()), self._generation.tokens):
                    marks.setdefault(mark - 1, []).append(index)
        with instrumented(self._model, self.instruments):
            self._prefill(rows, noise)
            fired = {site: receipt.fired for site, receipt in self.instruments.receipts.items()}
            looks = _Looks(on_step)
            for step in range(self._generation.tokens):
                if self.noise is not None:
                    noise.bring(step, self.noise)
                self._run(max(map(_prompt_length, rows)) + step + 1)
                for accumulator in self.instruments.accumulators if step in marks else ():
                    accumulator.mark(marks[step])
                if step % LOOK == LOOK - 1 and looks.all_finished(step, self.writing):
                    break
            looks.finish(self._generation.tokens - 1, self.writing)
            lengths = int_list(self.lengths)
            for site, receipt in self.instruments.receipts.items():
                reached = receipt.fired > fired[site] or site in self._reached
                # As often as the plain way would have fed: it stops with the last row.
                receipt.fired = fired[site] + (max(1, *lengths) if reached else 0)
        return Decoded(self._results(rows, lengths), list(self.instruments.receipts.values()))

    def _feed(self) -> Feed:
        return Feed(self.positions, self.prompt_tokens, self.home, self.writing)

    def _load(self, rows: Sequence[Row], fresh: dict[str, list[EditSlot]]) -> None:
        """Bring what the rows are into the tensors."""
        device, tokens = self._model.device, self._generation.tokens

        def bring(target: Tensor, numbers: Any) -> None:
            target.copy_(torch.tensor(numbers, dtype=target.dtype))

        lengths = [len(row.prompt) for row in rows]
        bring(self.prompt_tokens, lengths)
        bring(self.positions, [[length] for length in lengths])
        bring(self.column, [max(lengths)])
        self.step.zero_()
        self.lengths.zero_()
        self.tokens.fill_(-1)
        bring(self.free, [row.forced is None for row in rows])
        limits = [tokens if row.forced is None else len(row.forced) for row in rows]
        bring(self.limits, limits)
        forced = np.zeros((len(rows), tokens), np.int64)
        for index, row in enumerate(rows):
            ids = (row.forced or ())[:tokens]
            forced[index, : len(ids)] = ids
        self.forced.copy_(tensor_of(forced, device))
        bring(self.writing, [limit > 0 for limit in limits])
        self.ended.zero_()
        self.margins.fill_(torch.inf)
        seen = Padded([row.prompt for row in rows], device).seen
        self.mask.fill_(self._hidden)
        self.mask[:, 0, 0, : seen.shape[1]].masked_fill_(seen.bool(), 0.0)
        for site, slots in self.instruments.slots.items():
            for slot, other in zip(slots, fresh[site], strict=True):
                slot.refill(other)
        prompts = [row.prompt for row in rows]
        for accumulator in self.instruments.accumulators:
            accumulator.restart(prompts)
        self.instruments.receipts.clear()
        self.instruments.feed = self._feed()

    def _prefill(self, rows: Sequence[Row], noise: _Noise) -> None:
        """Feed the prompts the plain way, sharing what can be shared, and move what was cached to its room."""
        stream = open_stream(self._model, rows, self.instruments, share=True)
        logits = stream.prefill()
        pairs = list(self.keys.pairs) if self.keys is not None else []
        for layer, (keys, values) in enumerate(stream.taken()):
            if layer == len(pairs):
                room = (*keys.shape[:2], self._room, keys.shape[3])
                # Zeros, as what is masked must still be a number.
                pairs.append((keys.new_zeros(room), values.new_zeros(*room[:3], values.shape[3])))
            for held, cached in zip(pairs[layer], (keys, values), strict=True):
                held[:, :, : cached.shape[2]] = cached
                held[:, :, cached.shape[2] :] = 0.0
        if self.keys is None or self.logits is None:
            self.keys = RoomyKeys(pairs, self.column)
            self.logits = torch.empty_like(logits)
            if noise.keys:
                self.noise = torch.zeros(len(noise.keys), logits.shape[-1], device=logits.device)
        self.logits.copy_(logits)
        self.noise_of.copy_(torch.tensor(noise.places, dtype=torch.long))
        self.instruments.feed = self._feed()

    def _advance(self) -> None:
        """Choose a token for every row and feed it; every tensor is written where it stands."""
        assert self.keys is not None, "prompts are fed before anything is written"
        assert self.logits is not None, "prompts are fed before anything is written"
        sampling = self._generation.sampling
        noise = None if self.noise is None else self.noise.index_select(0, self.noise_of)
        best, lead = best_and_margin(sampling.scores(self.logits, noise))
        chosen = torch.where(self.free, best, self.forced.index_select(1, self.step)[:, 0])
        smaller = torch.minimum(self.margins, lead.to(self.margins.dtype))
        self.margins.copy_(torch.where(self.writing & self.free, smaller, self.margins))
        self.tokens.index_copy_(1, self.step, torch.where(self.writing, chosen, -1)[:, None])
        self.lengths.add_(self.writing)
        self.mask.index_fill_(3, self.column, 0.0)
        mask = self.mask[..., : self.keys.used]
        self.logits.copy_(self._model.blocks.masked(chosen[:, None], self.positions, mask, self.keys))
        stops = self.free & (chosen[:, None] == self.stop_ids).any(dim=1)
        self.ended.logical_or_(self.writing & stops)
        self.step.add_(1)
        self.writing.logical_and_(~(stops | (self.step >= self.limits)))
        self.positions.add_(1)
        self.column.add_(1)

    def _run(self, columns: int) -> None:
        """Take one step, in which so many columns are there."""
        assert self.keys is not None, "prompts are fed before anything is written"
        used = min(-(-columns // _COLUMNS) * _COLUMNS, self._room)
        self.keys.used = used
        if self.shape.graphs == "off":
            self._advance()
            return
        if used not in self._graphs:
            self._graphs[used] = self._captured()
        self._graphs[used]()

    def _captured(self) -> Callable[[], None]:
        """Try a step without leaving a trace, then capture it; return what takes it."""
        if self.shape.graphs == "rehearsed":
            self._try_out()
            return self._advance
        cuda: Any = torch.cuda
        device = self._model.device
        if self._side is None:
            # One for all graphs: those that share their memory are to be captured on the same stream.
            self._side, self._pool = cuda.Stream(device), cuda.graph_pool_handle()
        current, side = cuda.current_stream(device), self._side
        side.wait_stream(current)
        with cuda.stream(side):
            self._try_out()
        current.wait_stream(side)
        graph = cuda.CUDAGraph()
        fired = {site: receipt.fired for site, receipt in self.instruments.receipts.items()}
        try:
            # Other threads of this process may use the device meanwhile.
            with cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                self._advance()
        except RuntimeError as error:
            # The end of a capture that broke off complains too; what broke it stands behind.
            causes = [cause for cause in (error, error.__context__) if cause is not None]
            for cause in causes:
                if is_out_of_memory(cause):
                    raise cause from None
            raise ExplorerError(
                f"a step cannot be captured as a CUDA graph: {first_line(causes[-1])}",
                where=self._model.name,
                remedy=f"set {SWITCH}=off in the environment to decode the plain way",
            ) from error
        for site, times in fired.items():
            self.instruments.receipts[site].fired = times
        return graph.replay

    def _try_out(self) -> None:
        """Take steps that count for nothing: no row writes, and what moved is put back."""
        assert self.logits is not None, "prompts are fed before anything is written"
        # Whatever the first of them lays out (sums of captures, room for tokens) is there when a capture begins.
        logits, writing = self.logits.clone(), self.writing.clone()
        fired = {site: receipt.fired for site, receipt in self.instruments.receipts.items()}
        counters = [self.step, self.column, self.positions]
        before = [counter.clone() for counter in counters]
        places = {id(place): place.clone() for place in self._places()}
        self.writing.zero_()
        for _ in range(_WARM_UP):
            self._advance()
            for counter, held in zip(counters, before, strict=True):
                counter.copy_(held)
            for place in self._places():
                held = places.get(id(place))
                place.zero_() if held is None else place.copy_(held)
        self.writing.copy_(writing)
        self.logits.copy_(logits)
        for site, times in fired.items():
            if self.instruments.receipts[site].fired > times:
                self._reached.add(site)
            self.instruments.receipts[site].fired = times

    def _places(self) -> list[Tensor]:
        return [place for accumulator in self.instruments.accumulators for place in accumulator.places]

    def _results(self, rows: Sequence[Row], lengths: list[int]) -> list[RowResult]:
        kept = [accumulator.result() for accumulator in self.instruments.accumulators]
        tokens, margins, ended = array_of(self.tokens), array_of(self.margins).tolist(), bool_list(self.ended)
        limits = int_list(self.limits)
        return [
            RowResult(
                tuple(tokens[i, : lengths[i]].tolist()),
                "eos" if ended[i] else "length" if limits[i] else "none",
                margins[i] if margins[i] != float("inf") else None,
                tuple(k[i] for k in kept),
                tuple(
                    np.array(accumulator.marked[i]).reshape(-1, k[i].shape[-1])
                    for accumulator, k in zip(self.instruments.accumulators, kept, strict=True)
                )
                if row.marks
                else (),
            )
            for i, row in enumerate(rows)
        ]


def _prompt_length(row: Row) -> int:
    return len(row.prompt)


class _Noise:
    """Sampling noise of a batch, drawn on the host while the device is busy with the step before."""

    def __init__(self, rows: Sequence[Row], generation: Generation, model: LoadedModel) -> None:
        self.keys = _noise_keys(rows, generation)
        numbers = {key: number for number, key in enumerate(self.keys)}
        self.places = [numbers.get(row.noise, 0) if row.noise is not None else 0 for row in rows]
        self._cuda = model.device.type == "cuda"

    def bring(self, step: int, target: Float[Tensor, "key vocab"]) -> None:
        """Draw one step's noise and send it on its way."""
        drawn = tensor_of(np.stack([key.gumbel(step, target.shape[1]) for key in self.keys]), torch.device("cpu"))
        # Memory that the device reads by itself; the allocator keeps it until it has.
        target.copy_(drawn.pin_memory() if self._cuda else drawn, non_blocking=True)


class _Looks:
    """How many rows still write, read some steps late so that the device never waits to be told what is next."""

    def __init__(self, on_step: Callable[[int, int], None] | None) -> None:
        self._on_step = on_step
        self._asked: deque[tuple[int, Tensor, Any]] = deque()

    def all_finished(self, step: int, writing: Bool[Tensor, " row"]) -> bool:
        """Ask how many write after a step; tell whether none did when last asked."""
        left = writing.sum()
        event: Any = None
        if left.is_cuda:
            cuda: Any = torch.cuda
            # Of ordinary memory the copy would be waited for.
            here = torch.empty((), dtype=left.dtype, pin_memory=True)
            here.copy_(left, non_blocking=True)
            left, event = here, cuda.Event()
            event.record()
        self._asked.append((step, left, event))
        return len(self._asked) > 1 and self._answered() == 0

    def finish(self, step: int, writing: Bool[Tensor, " row"]) -> None:
        """Hear what was asked, and how it ended."""
        while self._asked:
            self._answered()
        if self._on_step:
            self._on_step(step, int(writing.sum()))

    def _answered(self) -> int:
        step, left, event = self._asked.popleft()
        if event is not None:
            event.synchronize()
        count = int(left)
        if self._on_step:
            self._on_step(step, count)
        return count
