"""Decoding in tensors whose shapes never change: a step asks the host nothing, and on CUDA it is one graph.

The plain way, `decoding.decode`, comes back to the host at every step: for the tokens, for who is finished, for who
still shares a history. Here all of that stays where the model runs. The keys and values have room from the start, a
step chooses, writes, feeds, edits, captures and counts in place, and the host looks only now and then at how many rows
still write. So a step can be captured as a CUDA graph and replayed; without CUDA the same step is called as it is.
Where half of the rows are finished, those that write are brought to the front and go on alone, by a graph of their own.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from srm_explorer.engine.errors import ExplorerError, first_line, is_out_of_memory
from srm_explorer.engine.model.cache import RoomyKeys
from srm_explorer.engine.model.capture import Accumulator, Capture
from srm_explorer.engine.model.decoding import Decoded, Generation, Row, RowResult, open_stream
from srm_explorer.engine.model.device import array_of, bool_list, int_list
from srm_explorer.engine.model.direct import hidden_score
from srm_explorer.engine.model.edits import slots_by_site
from srm_explorer.engine.model.hooks import Feed, HookState, instrumented
from srm_explorer.engine.model.layout import Graphs, LaidOut, halved, noise_keys
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.sampling import best_and_margin
from srm_explorer.engine.runs.plan import COLUMNS

SWITCH = "SRM_EXPLORER_GRAPHS"
"""Variable of the environment; "off" there has every batch decoded the plain way."""

LOOK = 8
"""Steps between two looks at how many rows still write."""

_WORTH = 32  # steps that must be left for fewer rows to be worth a copy, and a graph of their own
_WARM_UP = 3  # steps before a capture: libraries choose their kernels and workspaces in them


class NotCaptured(ExplorerError):
    """A step cannot be captured as a CUDA graph."""

    def __init__(self, why: str, model: str) -> None:
        remedy = f"set {SWITCH}=off in the environment to decode the plain way"
        super().__init__(f"a step cannot be captured as a CUDA graph: {why}", where=model, remedy=remedy)


class AsksTheHost(NotCaptured):
    """A step looks at numbers on the host, and so no graph can hold it; nothing was begun."""


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
        on_step: called now and then with the last step that is done and the tokens written since it was called before,
            as many a step as rows still write; may raise to stop.
        graphs: how a step is run; None captures on CUDA and calls elsewhere.

    Raises:
        ExplorerError: a site does not exist in this model.
        HookNeverFired: the model never reached a site.
        NotCaptured: a step cannot be captured.
    """
    return decode_laid_out(model, LaidOut.of(model, rows, generation, captures, graphs), on_step)


def decode_laid_out(
    model: LoadedModel, laid_out: LaidOut, on_step: Callable[[int, int], None] | None = None
) -> Decoded:
    """Let the model write a batch that is laid out for it; as `decode_static`."""
    with torch.inference_mode(), _current(model.device):
        # Let go of before anything is laid out: two batches at once might not fit.
        kept, model.kept_step = model.kept_step, None
        way = _way(model)
        batch = kept if isinstance(kept, _Batch) and (kept.shape, kept.way) == (laid_out.shape, way) else None
        del kept
        if batch is None:
            batch = _Batch(model, laid_out, way)
        decoded = batch.decode(laid_out, on_step)
        model.kept_step = batch
    return Decoded(decoded.rows[: laid_out.count], decoded.receipts, static_steps=True)


def _way(model: LoadedModel) -> tuple[object, ...]:
    """What a step does besides what its batch says: who else listens to the model, and how it computes.

    A graph holds it all, and goes on with it whoever has left meanwhile or come.
    """
    points: Any = model.bridge.hook_dict.values()
    listeners = {handle.hook.id for point in points for handle in point.fwd_hooks}
    return frozenset(listeners), model.blocks.goes_direct, torch.backends.cuda.matmul.allow_tf32


@cache
def _side_of(device: torch.device) -> Any:
    """The stream on which steps are tried and captured; one for all batches.

    cuBLAS has a workspace for every stream that it was ever called on, and keeps it.
    """
    cuda: Any = torch.cuda
    return cuda.Stream(device)


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA device the one that streams, events and graphs are made on while the block runs."""
    cuda: Any = torch.cuda
    return cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def _asking_nothing() -> Generator[None]:
    """Have CUDA refuse whatever makes the host wait for it while the block runs, with a RuntimeError."""
    cuda: Any = torch.cuda
    before = cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        # It says once that it is a prototype.
        warnings.simplefilter("ignore")
        cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        cuda.set_sync_debug_mode(before)


class _Batch:
    """A batch and everything that a step touches; only what is in its tensors changes from step to step.

    The rows that are fed are the first in them: all, until so many are finished that the others go on alone.
    """

    def __init__(self, model: LoadedModel, laid_out: LaidOut, way: tuple[object, ...]) -> None:
        rows, shape = laid_out.rows, laid_out.shape
        generation = shape.generation
        device, count, tokens = model.device, len(rows), generation.tokens
        self.shape = shape
        self.way = way
        self._model = model
        self._generation = generation
        self._graphs: dict[tuple[int, int], Callable[[], None]] = {}  # by rows that are fed, and columns
        self._fed = count
        self._pool: Any = None
        self._reached: set[str] = set()
        prompts = [row.prompt for row in rows]
        accumulators = [Accumulator(capture, prompts, device) for capture in laid_out.captures]
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
        self._slots = slots_by_site([row.edits for row in rows], device, model.dtype)
        self.instruments = HookState({site: [] for site in self._slots}, accumulators, self._feed())
        self._room = shape.room
        self._hidden = hidden_score(model.dtype)
        self.mask = torch.full((count, 1, 1, self._room), self._hidden, dtype=model.dtype, device=device)
        self.logits: Tensor | None = None
        self.noise: Tensor | None = None
        self.noise_of = long(count)
        self.keys: RoomyKeys | None = None

    def decode(self, laid_out: LaidOut, on_step: Callable[[int, int], None] | None) -> Decoded:
        """Write rows of this batch's shape."""
        rows, longest = laid_out.rows, laid_out.seen.shape[1]
        self._load(laid_out)
        noise = _Noise(rows, self._generation, self._model)
        marks: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            for mark in row.marks:
                # A forced row writes as long as its tokens last.
                if mark <= min(len(row.forced or ()), self._generation.tokens):
                    marks.setdefault(mark - 1, []).append(index)
        with noise, instrumented(self._model, self.instruments):
            self._prefill(rows, noise)
            fired = {site: receipt.fired for site, receipt in self.instruments.receipts.items()}
            looks = _Looks(on_step)
            for step in range(self._generation.tokens):
                if self.noise is not None:
                    noise.bring(step, self.noise)
                self._run(longest + step + 1)
                for accumulator in self.instruments.accumulators if step in marks else ():
                    accumulator.mark(marks[step])
                if step % LOOK < LOOK - 1:
                    continue
                wrote = looks.wrote(step, self.writing)
                if wrote == 0:
                    break
                # How many rows are fed depends on the batch alone, not on which graphs are there.
                if wrote is not None and step + _WORTH < self._generation.tokens:
                    self._drop_finished(halved(self._fed, wrote))
            looks.finish(self._generation.tokens - 1, self.writing)
            self._reorder(torch.argsort(self.home))
            lengths = int_list(self.lengths)
            for site, receipt in self.instruments.receipts.items():
                reached = receipt.fired > fired[site] or site in self._reached
                # As often as the plain way would have fed: it stops with the last row.
                receipt.fired = fired[site] + (max(1, *lengths) if reached else 0)
        return Decoded(self._results(rows, lengths), list(self.instruments.receipts.values()))

    def _feed(self) -> Feed:
        fed = slice(self._fed)
        return Feed(self.positions[fed], self.prompt_tokens[fed], self.home[fed], self.writing[fed])

    def _feed_first(self, rows: int) -> None:
        """Have the first rows go through the model from here on, so many of them."""
        self._fed = rows
        for site, slots in self._slots.items():
            # The list that the site's hook has.
            self.instruments.slots[site][:] = [slot.first(rows) for slot in slots]
        self.instruments.feed = self._feed()

    def _drop_finished(self, rows: int) -> None:
        """Feed so many rows on, among which are all that still write."""
        if rows == self._fed:
            return
        assert self.keys is not None, "prompts are fed before anything is written"
        assert self.logits is not None, "prompts are fed before anything is written"
        # Stable: those that were dropped before stay behind all others.
        order = torch.sort(self.writing.byte(), descending=True, stable=True).indices
        self._reorder(order)
        here, kept, used = slice(rows), order[:rows], self.keys.used
        for held in (held for pair in self.keys.pairs for held in pair):
            held[here, :, :used] = held[:, :, :used].index_select(0, kept)
        for held in (self.mask, self.logits):
            held[here] = held.index_select(0, kept)
        self._feed_first(rows)

    def _reorder(self, order: Int[Tensor, " row"]) -> None:
        """Bring what is known of the rows into another order."""
        own = [self.positions, self.prompt_tokens, self.home, self.writing, self.ended, self.free, self.limits]
        for tensor in (*own, self.lengths, self.margins, self.tokens, self.forced, self.noise_of):
            tensor.copy_(tensor.index_select(0, order))
        for slot in (slot for slots in self._slots.values() for slot in slots):
            slot.reorder(order)

    def _load(self, laid_out: LaidOut) -> None:
        """Bring what the rows are into the tensors."""
        seen = laid_out.seen.to(self._model.device)
        self.prompt_tokens.copy_(laid_out.prompt_tokens)
        self.positions.copy_(laid_out.prompt_tokens[:, None])
        self.column.fill_(seen.shape[1])
        self.step.zero_()
        self.lengths.zero_()
        self.tokens.fill_(-1)
        self.free.copy_(laid_out.free)
        self.limits.copy_(laid_out.limits)
        self.forced.copy_(laid_out.forced)
        self.writing.copy_(laid_out.limits > 0)
        self.ended.zero_()
        self.margins.fill_(torch.inf)
        self.mask.fill_(self._hidden)
        self.mask[:, 0, 0, : seen.shape[1]].masked_fill_(seen.bool(), 0.0)
        for site, slots in self._slots.items():
            for slot, other in zip(slots, laid_out.slots[site], strict=True):
                slot.refill(other)
        prompts = [row.prompt for row in laid_out.rows]
        for accumulator, capture in zip(self.instruments.accumulators, laid_out.captures, strict=True):
            accumulator.restart(capture, prompts)
        self.instruments.receipts.clear()
        self._feed_first(len(laid_out.rows))

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
        sampling, fed = self._generation.sampling, slice(self._fed)
        free, writing, tokens, limits = self.free[fed], self.writing[fed], self.tokens[fed], self.limits[fed]
        logits, margins, positions = self.logits[fed], self.margins[fed], self.positions[fed]
        noise = None if self.noise is None else self.noise.index_select(0, self.noise_of[fed])
        best, lead = best_and_margin(sampling.scores(logits, noise))
        chosen = torch.where(free, best, self.forced[fed].index_select(1, self.step)[:, 0])
        smaller = torch.minimum(margins, lead.to(margins.dtype))
        margins.copy_(torch.where(writing & free, smaller, margins))
        tokens.index_copy_(1, self.step, torch.where(writing, chosen, -1)[:, None])
        self.lengths[fed].add_(writing)
        self.mask.index_fill_(3, self.column, 0.0)
        mask = self.mask[fed, ..., : self.keys.used]
        self._model.blocks.masked(chosen[:, None], positions, mask, self.keys, logits)
        stops = free & (chosen[:, None] == self.stop_ids).any(dim=1)
        self.ended[fed].logical_or_(writing & stops)
        self.step.add_(1)
        writing.logical_and_(~(stops | (self.step >= limits)))
        positions.add_(1)
        self.column.add_(1)

    def _run(self, columns: int) -> None:
        """Take one step, in which so many columns are there."""
        assert self.keys is not None, "prompts are fed before anything is written"
        used = min(-(-columns // COLUMNS) * COLUMNS, self._room)
        self.keys.used = used
        if self.shape.graphs == "off":
            self._advance()
            return
        which = self._fed, used
        if which not in self._graphs:
            self._graphs[which] = self._captured()
        self._graphs[which]()

    def _captured(self) -> Callable[[], None]:
        """Try a step without leaving a trace, then capture it; return what takes it."""
        if self.shape.graphs == "rehearsed":
            self._try_out(_WARM_UP)
            return self._advance
        cuda: Any = torch.cuda
        device = self._model.device
        self._pool = self._pool or cuda.graph_pool_handle()
        # Graphs that share their memory are to be captured on the same stream.
        current, side = cuda.current_stream(device), _side_of(device)
        side.wait_stream(current)
        with cuda.stream(side):
            self._try_out(_WARM_UP)
            # A capture that breaks off leaves torch's memory in disorder (its issues 180395 and 190308): what would
            # break it is found before it begins.
            try:
                with _asking_nothing():
                    self._try_out(1)
            except RuntimeError as error:
                if is_out_of_memory(error) or "synchronizing" not in str(error):
                    raise
                raise AsksTheHost(first_line(error), self._model.name) from error
        current.wait_stream(side)
        graph = cuda.CUDAGraph()
        fired = {site: receipt.fired for site, receipt in self.instruments.receipts.items()}
        try:
            # Other threads of this process may use the device meanwhile. A capture whose end fails stays on its stream.
            with (
                cuda.stream(current),
                cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"),
            ):
                self._advance()
        except RuntimeError as error:
            # The end of a capture that broke off complains too; what broke it stands behind.
            causes = [cause for cause in (error, error.__context__) if cause is not None]
            for cause in causes:
                if is_out_of_memory(cause):
                    raise cause from None
            raise NotCaptured(first_line(causes[-1]), self._model.name) from error
        for site, times in fired.items():
            self.instruments.receipts[site].fired = times
        return graph.replay

    def _try_out(self, steps: int) -> None:
        """Take steps that count for nothing: no row writes, and what moved is put back."""
        assert self.logits is not None, "prompts are fed before anything is written"
        # Whatever the first of them lays out (sums of captures, room for tokens) is there when a capture begins.
        logits, writing = self.logits.clone(), self.writing.clone()
        fired = {site: receipt.fired for site, receipt in self.instruments.receipts.items()}
        counters = [self.step, self.column, self.positions]
        before = [counter.clone() for counter in counters]
        places = {id(place): place.clone() for place in self._places()}
        self.writing.zero_()
        for _ in range(steps):
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


class _Noise:
    """Sampling noise of a batch, drawn by the host's other threads while the device is busy with the step before."""

    def __init__(self, rows: Sequence[Row], generation: Generation, model: LoadedModel) -> None:
        self.keys = noise_keys(rows, generation)
        numbers = {key: number for number, key in enumerate(self.keys)}
        self.places = [numbers.get(row.noise, 0) if row.noise is not None else 0 for row in rows]
        self._steps, self._cuda = generation.tokens, model.device.type == "cuda"
        self._threads = ThreadPoolExecutor(torch.get_num_threads())
        self._next: tuple[Tensor, list[Future[None]]] | None = None

    def __enter__(self) -> _Noise:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def bring(self, step: int, target: Float[Tensor, "key vocab"]) -> None:
        """Send one step's noise on its way, and have the next one's drawn."""
        table, draws = self._next or self._draw(step, target)
        for draw in draws:
            draw.result()
        target.copy_(table, non_blocking=True)
        self._next = self._draw(step + 1, target) if step + 1 < self._steps else None

    def _draw(self, step: int, like: Float[Tensor, "key vocab"]) -> tuple[Tensor, list[Future[None]]]:
        # Memory that the device reads by itself; the allocator keeps it until it has.
        table = torch.empty(like.shape, dtype=like.dtype, pin_memory=self._cuda)
        rows = table.numpy()

        def draw(number: int) -> None:
            rows[number] = self.keys[number].gumbel(step, like.shape[1])

        return table, [self._threads.submit(draw, number) for number in range(len(self.keys))]


class _Looks:
    """How many rows still write, read some steps late so that the device never waits to be told what is next."""

    def __init__(self, on_step: Callable[[int, int], None] | None) -> None:
        self._on_step = on_step
        self._told = -1
        self._asked: deque[tuple[int, Tensor, Any]] = deque()

    def wrote(self, step: int, writing: Bool[Tensor, " row"]) -> int | None:
        """Ask how many write after a step; tell how many did when this was last asked, None the first time."""
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
        return self._answered() if len(self._asked) > 1 else None

    def finish(self, step: int, writing: Bool[Tensor, " row"]) -> None:
        """Hear what was asked, and how it ended."""
        while self._asked:
            self._answered()
        self._tell(step, int(writing.sum()))

    def _answered(self) -> int:
        step, left, event = self._asked.popleft()
        if event is not None:
            event.synchronize()
        count = int(left)
        self._tell(step, count)
        return count

    def _tell(self, step: int, writing: int) -> None:
        if self._on_step:
            self._on_step(step, writing * (step - self._told))
        self._told = step
