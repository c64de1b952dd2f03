"""What is kept of a row's activations, as data, and the sums that keep it of a whole batch while it decodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from srm_explorer.engine.experiment.positions import Positions, RowPositions
from srm_explorer.engine.model.device import array_of
from srm_explorer.engine.model.edits import PositionTable, position_mask

Reduce = Literal["mean", "tokens", "last", "moments"]


@dataclass(frozen=True)
class Capture:
    """One thing to keep of every row.

    Args:
        site: TransformerLens name.
        reduce: `mean` over the positions, the `last` of them, all `tokens`, or `moments`: mean and variance (ddof 0).
        positions: which absolute positions count: a word, or those of each prompt, by its token ids.
        centred: subtract each vector's mean over its coordinates (what HookedTransformer's residual stream shows).
        columns: keep these coordinates only; None keeps all.
        direction: keep the projection on this unit vector, and the norm, instead of coordinates.
        skips_unrouted: at an expert's site, whether positions that are not sent to it are left out; else they are kept
            as the zeros that stand there, so that `tokens` line up with the text.
    """

    site: str
    reduce: Reduce
    positions: Positions | Mapping[tuple[int, ...], RowPositions]
    centred: bool = False
    columns: tuple[int, ...] | None = None
    direction: tuple[float, ...] = ()
    skips_unrouted: bool = True

    def positions_in(self, prompt: tuple[int, ...]) -> Positions | RowPositions:
        """Which positions count in a row that begins with a prompt."""
        return self.positions if isinstance(self.positions, str) else self.positions[prompt]

    def read(self, activation: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows kept"]:
        """Take what is kept of an activation."""
        return _Reading(self, activation.device)(activation)


class _Reading:
    """What a capture takes of an activation, with the numbers that it needs already where the activation is."""

    def __init__(self, capture: Capture, device: torch.device) -> None:
        self._capture = capture
        columns = capture.columns
        self._columns = None if columns is None else torch.tensor(columns, dtype=torch.long, device=device)
        precise = torch.float32 if device.type == "mps" else torch.float64
        self._unit = torch.tensor(capture.direction, dtype=precise, device=device) if capture.direction else None

    def __call__(self, activation: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows kept"]:
        if self._capture.centred:
            wide = activation.float() if activation.dtype in (torch.bfloat16, torch.float16) else activation
            activation = wide - wide.mean(dim=-1, keepdim=True)
        if self._columns is not None:
            return activation.index_select(-1, self._columns)
        if self._unit is not None:
            unit = self._unit.to(activation.dtype)
            return torch.stack([activation @ unit, activation.square().sum(dim=-1).sqrt()], dim=-1)
        return activation


class Accumulator:
    """Keeps one capture for the rows of a batch while it decodes.

    Sums are kept in float64 (float32 where the device has none), so a mean over fifty tokens loses nothing to
    its length, and no [token, d] tensor exists unless tokens were asked for. Everything stays on the device until
    `result` is asked: a feed of one column waits for nothing that the device still computes.

    Attributes:
        counts: [row] vectors that were kept so far.
        marked: by row, the means that `mark` has kept, in the order in which it did; `result` fills it.
    """

    def __init__(self, capture: Capture, prompts: Sequence[tuple[int, ...]], device: torch.device) -> None:
        """Begin with nothing kept; `prompts` are the token ids that each row of the batch begins with."""
        self.capture = capture
        self.counts = torch.zeros(len(prompts), dtype=torch.long, device=device)
        self._reading = _Reading(capture, device)
        self._table: PositionTable | None = None
        if not isinstance(capture.positions, str):
            self._table = PositionTable.of([capture.positions_in(prompt) for prompt in prompts], device)
        self._sum: Tensor | None = None
        self._last: Tensor | None = None
        self._tokens: list[_Tokens] = []
        self._room: _Room | None = None
        self._marks: list[tuple[Sequence[int], Tensor]] = []
        self.marked: list[list[np.ndarray]] = [[] for _ in prompts]

    def reserve(self, steps: int) -> None:
        """Let the next feeds, of one column each, be kept in tensors that are there from the start.

        Needed for `tokens` alone, whose feeds are otherwise tensors of their own.

        Args:
            steps: the most feeds; what comes after them is an error of the caller.
        """
        if self.capture.reduce == "tokens":
            self._room = _Room(steps, len(self.counts))

    def restart(self, capture: Capture, prompts: Sequence[tuple[int, ...]]) -> None:
        """Begin again with other prompts, in the tensors that are there; what was kept before is gone.

        Args:
            capture: the same but for positions that are each prompt's own.
            prompts: as many as before, and where positions are each prompt's own, of no more of them.
        """
        self.capture = capture
        for held in (self.counts, self._sum, self._last):
            if held is not None:
                held.zero_()
        if self._table is not None:
            fresh = PositionTable.of([self.capture.positions_in(prompt) for prompt in prompts], torch.device("cpu"))
            self._table.at.copy_(fresh.at)
            self._table.start.copy_(fresh.start)
        if self._room is not None:
            self._room.restart()
        self._tokens, self._marks = [], []
        self.marked = [[] for _ in prompts]

    @property
    def places(self) -> list[Tensor]:
        """What counts the feeds, so that one that was only tried can be taken back."""
        return [self._room.at] if self._room is not None and self._room.at is not None else []

    def mark(self, rows: Sequence[int]) -> None:
        """Keep the means of some rows as they are so far; of any other reduction nothing is kept."""
        if self.capture.reduce != "mean" or self._sum is None or not rows:
            return
        chosen = torch.tensor(rows).to(self._sum.device)
        counts = self.counts[chosen].clamp(min=1).to(self._sum)[:, None]
        self._marks.append((rows, self._sum[chosen] / counts))

    def take(
        self,
        activation: Float[Tensor, "row col d"],
        positions: Int[Tensor, "row col"],
        prompt_tokens: Int[Tensor, " row"],
        rows: Int[Tensor, " row"],
        alive: Bool[Tensor, " row"],
        routed: Bool[Tensor, "row col"] | None = None,
    ) -> None:
        """Add one feed's activations.

        Args:
            activation: what the site holds after its edits.
            positions: absolute position of each column, -1 at pads.
            prompt_tokens: prompt length of each row.
            rows: which of the batch's original rows each row is, none twice: so that no sum depends on an order.
            alive: rows that still count; a finished row may be fed on, but nothing is kept of it.
            routed: at an expert's site, the positions that are sent to it.
        """
        if isinstance(self.capture.positions, str):
            mask = position_mask(self.capture.positions, positions, prompt_tokens)
        else:
            assert self._table is not None, "it is laid out where positions are each row's own"
            mask = self._table.select(rows).mask(positions)
        mask = mask & alive[:, None]
        if routed is not None and self.capture.skips_unrouted:
            mask = mask & routed
        kept = self._reading(activation)
        self.counts.index_add_(0, rows, mask.sum(dim=1))
        match self.capture.reduce:
            case "mean":
                self._add(kept, mask, rows)
            case "moments":
                wide = kept.to(torch.float32 if kept.device.type == "mps" else torch.float64)
                self._add(torch.cat([wide, wide.square()], dim=-1), mask, rows)
            case "last":
                self._keep_last(kept, mask, rows)
            case "tokens":
                self._keep_tokens(kept, mask, rows)

    def _add(self, kept: Tensor, mask: Tensor, rows: Tensor) -> None:
        precise = torch.float32 if kept.device.type == "mps" else torch.float64
        total = torch.where(mask[..., None], kept, kept.new_zeros(())).to(precise).sum(dim=1)
        if self._sum is None:
            self._sum = torch.zeros(len(self.counts), kept.shape[-1], dtype=precise, device=kept.device)
        self._sum.index_add_(0, rows, total)

    def _keep_last(self, kept: Tensor, mask: Tensor, rows: Tensor) -> None:
        if self._last is None:
            self._last = kept.new_zeros(len(self.counts), kept.shape[-1])
        columns = torch.arange(mask.shape[1], device=mask.device)
        newest = torch.where(mask, columns, -1).max(dim=1).values
        there = newest.clamp(min=0)[:, None, None].expand(-1, 1, kept.shape[-1])
        held = torch.where(newest[:, None] >= 0, kept.gather(1, there)[:, 0], self._last.index_select(0, rows))
        self._last.index_copy_(0, rows, held)

    def _keep_tokens(self, kept: Tensor, mask: Tensor, rows: Tensor) -> None:
        if mask.shape[1] > 1:
            # Once a batch: what a prompt has of its own is few of its columns, and none where its text is captured.
            owners = rows[:, None].expand(mask.shape)[mask]
            self._tokens.append(_Tokens(owners, torch.ones_like(owners, dtype=torch.bool), kept[mask]))
        elif self._room is None:
            # A copy: what comes after the site may add to it where it stands.
            self._tokens.append(_Tokens(rows, mask[:, 0], kept[:, 0].clone()))
        else:
            self._room.take(kept[:, 0], mask[:, 0], rows)

    def result(self) -> list[np.ndarray]:
        """Return one array a row: [d], [token, d] where tokens were asked for, [2, d] for moments."""
        for rows, means in self._marks:
            for row, mean in zip(rows, array_of(means), strict=True):
                self.marked[row].append(mean)
        self._marks = []
        if self.capture.reduce == "tokens":
            feeds = [feed.arrays() for feed in (*self._tokens, *(self._room.feeds() if self._room else ()))]
            owners = np.concatenate([owner for owner, _ in feeds])
            tokens = np.concatenate([vector for _, vector in feeds])
            # Feeds come in order, so a stable sort by row keeps each row's tokens in order.
            ordered = tokens[np.argsort(owners, kind="stable")]
            vectors = np.split(ordered, np.cumsum(array_of(self.counts))[:-1])
        elif self.capture.reduce == "last":
            vectors = list(array_of(self._last)) if self._last is not None else []
        else:
            assert self._sum is not None, "a hook that never fired is an error before this"
            counts = self.counts.clamp(min=1).to(self._sum)[:, None]
            vectors = list(array_of(self._sum / counts))
            if self.capture.reduce == "moments":
                vectors = [_centred_moments(raw) for raw in vectors]
        return vectors


@dataclass(frozen=True)
class _Tokens:
    """Vectors of one feed: whose each is, and whether it counts."""

    owners: Int[Tensor, " vector"]
    counting: Bool[Tensor, " vector"]
    vectors: Float[Tensor, "vector d"]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the owners and the vectors of those that count."""
        return array_of(self.owners[self.counting]), array_of(self.vectors[self.counting])


class _Room:
    """Vectors of a known number of feeds, of all rows of a batch or of some; which is next is counted on the device."""

    def __init__(self, steps: int, rows: int) -> None:
        self._steps, self._rows = steps, rows
        self.at: Tensor | None = None
        self._held: _Tokens | None = None

    def take(self, vectors: Float[Tensor, "row d"], counting: Bool[Tensor, " row"], rows: Int[Tensor, " row"]) -> None:
        """Keep one feed, at the next place."""
        if self.at is None or self._held is None:
            self.at = torch.zeros(1, dtype=torch.long, device=vectors.device)
            owners, places = torch.arange(self._rows, device=vectors.device), self._steps * self._rows
            self._held = _Tokens(
                owners.repeat(self._steps), counting.new_zeros(places), vectors.new_zeros(places, vectors.shape[1])
            )
        places = self.at * self._rows + rows
        self._held.counting.index_copy_(0, places, counting)
        self._held.vectors.index_copy_(0, places, vectors)
        self.at += 1

    def restart(self) -> None:
        """Begin at the first place again, with nothing kept."""
        if self.at is not None and self._held is not None:
            self.at.zero_()
            self._held.counting.zero_()

    def feeds(self) -> list[_Tokens]:
        """All that was kept, the first feed first."""
        return [] if self._held is None else [self._held]


def _centred_moments(raw: np.ndarray) -> np.ndarray:
    """Turn a mean and a mean square, [2 d], into mean and variance, [2, d]."""
    mean, square = raw.reshape(2, -1)
    return np.stack([mean, np.maximum(square - mean**2, 0.0)])
