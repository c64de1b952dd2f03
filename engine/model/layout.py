"""What the host prepares of a batch that is decoded in static tensors, and of which shape those are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Padded, Row
from srm_explorer.engine.model.device import tensor_of
from srm_explorer.engine.model.edits import EditSlot, slots_by_site
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.sampling import NoiseKey
from srm_explorer.engine.runs.plan import COLUMNS, FEW, filled

Graphs = Literal["off", "rehearsed", "cuda"]
"""How a step is run: called, called with all that surrounds a capture, or captured and replayed."""


def suits(model: LoadedModel, rows: Sequence[Row], generation: Generation) -> bool:
    """Whether a batch can be decoded in static tensors.

    It takes a model whose attention does as a mask says, that keeps keys and values alone and is whole on one device,
    and texts that its windows hold; where each expert's tokens are gathered, shapes depend on numbers. Marks are taken
    by step, so a row that has any is forced.
    """
    marked = all(row.forced is not None for row in rows if row.marks)
    routed = bool(model.experts or model.shape.unreached_experts)
    is_seen = model.blocks.window is None or _room(rows, generation) <= model.blocks.window
    fits = model.blocks.takes_masks and is_seen and model.placement.is_whole and not routed
    return fits and generation.tokens > 0 and marked and model.pads


def _room(rows: Sequence[Row], generation: Generation) -> int:
    """How many columns a batch's tensors have room for."""
    columns = max(len(row.prompt) for row in rows) + generation.tokens
    return -(-columns // COLUMNS) * COLUMNS


@dataclass(frozen=True)
class Shape:
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
) -> Shape:
    prompts = dict.fromkeys(row.prompt for row in rows)
    described: list[tuple[Any, ...]] = []
    for capture in captures:
        own = [capture.positions_in(prompt) for prompt in prompts]
        word = capture.positions if isinstance(capture.positions, str) else ""
        most = max((len(at.at) for at in own if not isinstance(at, str)), default=-1)
        described.append((replace(capture, positions="all"), word, most))
    return Shape(
        len(rows),
        _room(rows, generation),
        generation,
        graphs,
        len(noise_keys(rows, generation)),
        tuple((site, slot.kind, slot.sizes) for site, there in slots.items() for slot in there),
        tuple(described),
    )


@dataclass(frozen=True)
class LaidOut:
    """A batch as the host prepares it; nothing of it is on the device yet.

    Args:
        rows: of the batch, and after them some that never write, up to the shape's number.
        count: of those that were asked for.
        captures: what is kept of each.
        slots: their edits.
        shape: what the batch's tensors must have.
        seen: [row, column] 1 where a prompt stands, right-aligned.
        prompt_tokens: how many tokens that has.
        limits: the most tokens that a row writes.
        free: whether it chooses them.
        forced: [row, token] what the others write.
    """

    rows: Sequence[Row]
    count: int
    captures: Sequence[Capture]
    slots: dict[str, list[EditSlot]]
    shape: Shape
    seen: Int[Tensor, "row col"]
    prompt_tokens: Int[Tensor, " row"]
    limits: Int[Tensor, " row"]
    free: Bool[Tensor, " row"]
    forced: Int[Tensor, "row token"]

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        rows: Sequence[Row],
        generation: Generation,
        captures: Sequence[Capture],
        graphs: Graphs | None = None,
    ) -> LaidOut:
        """Lay rows out, filled up by their number alone: what a row comes to depends on no batch before.

        Args:
            graphs: how a step is run; None captures on CUDA and calls elsewhere.
        """
        count, here = len(rows), torch.device("cpu")
        all_rows = [*rows, *[Row(rows[0].prompt, forced=())] * (filled(count) - count)]
        slots = slots_by_site([row.edits for row in all_rows], here, model.dtype)
        how: Graphs = graphs or ("cuda" if model.device.type == "cuda" else "off")
        tokens = generation.tokens
        forced = np.zeros((len(all_rows), tokens), np.int64)
        for index, row in enumerate(all_rows):
            ids = (row.forced or ())[:tokens]
            forced[index, : len(ids)] = ids
        return cls(
            all_rows,
            count,
            captures,
            slots,
            _shape_of(all_rows, generation, captures, how, slots),
            Padded([row.prompt for row in all_rows], here).seen,
            torch.tensor([len(row.prompt) for row in all_rows]),
            torch.tensor([tokens if row.forced is None else len(row.forced) for row in all_rows]),
            torch.tensor([row.forced is None for row in all_rows]),
            tensor_of(forced, here),
        )


def halved(rows: int, writing: int) -> int:
    """How many of some rows are fed on where so many still write: halves alone, as each number has its own graphs."""
    half = max(FEW, filled(-(-rows // 2)))
    return halved(half, writing) if writing <= half < rows else rows


def noise_keys(rows: Sequence[Row], generation: Generation) -> list[NoiseKey]:
    return [] if generation.sampling.greedy else list(dict.fromkeys(row.noise for row in rows if row.noise is not None))
