"""Decoding in rows: every run of a grid is a row of one batch, with its own edits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from engine.model.arrays import bool_list, int_list, tensor_of
from engine.model.capture import Accumulator, Capture
from engine.model.edits import Edit, slots_by_site
from engine.model.hooks import Feed, Instruments, Receipt, instrumented
from engine.model.load import LoadedModel
from engine.model.sampling import NoiseKey, Sampling, best_and_margin
from engine.model.stream import open_stream


@dataclass(frozen=True)
class Row:
    """One run, resolved to what the model needs.

    Args:
        prompt: token ids of the prompt, at least one.
        edits: what is done to it; none for the baseline.
        noise: names its sampling noise; needed when the tokens are sampled.
        forced: feed these tokens instead of choosing any.
    """

    prompt: tuple[int, ...]
    edits: tuple[Edit, ...] = ()
    noise: NoiseKey | None = None
    forced: tuple[int, ...] | None = None


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
    """

    tokens: tuple[int, ...]
    finish: str
    margin: float | None
    captured: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Decoded:
    """What came of a batch: its rows in order, and what the hooks report."""

    rows: list[RowResult]
    receipts: list[Receipt]


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
        on_step: called after each step with the step and the number of rows still writing; may raise to stop.

    Raises:
        ExplorerError: a site does not exist in this model.
        HookNeverFired: the model never reached a site.
    """
    with torch.inference_mode():
        accumulators = [Accumulator(capture, len(rows)) for capture in captures]
        slots = slots_by_site([row.edits for row in rows], model.device, model.dtype)
        instruments = Instruments(slots, accumulators, _idle_feed(rows, model.device))
        stream = open_stream(model, rows, instruments, share=share)
        writer = _Writer(rows, generation, model.device)
        with instrumented(model, instruments):
            logits = stream.prefill()
            for step in range(generation.tokens):
                writer.choose(logits, stream.rows, step)
                logits = stream.feed(writer.newest[stream.rows], alive=writer.writing[stream.rows])
                writer.close(step)
                logits = stream.drop_finished(writer.writing, logits)
                if on_step:
                    on_step(step, int(writer.writing.sum()))
                if not writer.writing.any():
                    break
    kept = [accumulator.result() for accumulator in accumulators]
    results = [
        RowResult(tuple(writer.tokens[i]), writer.finish[i], writer.margin(i), tuple(k[i] for k in kept))
        for i in range(len(rows))
    ]
    return Decoded(results, list(instruments.receipts.values()))


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
        for place, row in enumerate(rows):
            forced = self._rows[row].forced
            free.append(forced is None)
            if forced is not None:
                ids[place] = forced[step] if step < len(forced) else 0
        chosen = torch.tensor(ids, device=logits.device)
        counting = self.writing[home] & torch.tensor(free, device=logits.device)
        self._margins[home] = torch.where(
            counting, torch.minimum(self._margins[home], lead.to(self._margins.dtype)), self._margins[home]
        )
        self.newest[home] = chosen
        for row, token, writing in zip(rows, ids, bool_list(self.writing[home]), strict=True):
            if writing:
                self.tokens[row].append(token)

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
        index = {key: place for place, key in enumerate(keys)}
        places = [index[noise] for row in rows if (noise := self._rows[row].noise) is not None]
        return table[torch.tensor(places, device=logits.device)]
