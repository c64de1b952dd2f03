"""What is done to a row's activations, as data, and the arithmetic that does it to a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.intervention import Operation
from srm_explorer.engine.experiment.positions import Positions, RowPositions
from srm_explorer.engine.model.device import array_of, tensor_of
from srm_explorer.engine.model.experts import Routed
from srm_explorer.engine.model.load import LoadedModel


def by_coordinate(activation: Float[Tensor, "row col *parts"]) -> Float[Tensor, "row col d"]:
    """Lay what a site holds out as one vector a position: heads one after the other."""
    return activation.flatten(2) if activation.ndim > 3 else activation


@dataclass(frozen=True)
class Edit:
    """One resolved intervention on one row: every number is raw, nothing is left to look up.

    Args:
        site: TransformerLens name, "blocks.11.mlp.hook_post".
        op: `clamp` and `mean` replace by the value, `add` adds it, `scale` multiplies by it, `zero` replaces by 0,
            `steer` adds the value times a unit direction, `project_out` takes away what lies along one, `patch`
            replaces by what another run had at each position.
        positions: which absolute positions of the row it applies to; what is not a word is the row's own.
        neurons: coordinates of the site; empty along a direction.
        values: one number a neuron; one number for `steer`; empty for `zero` and `project_out`.
        direction: unit vector of the site's width, instead of neurons.
        written: [position, k] what `patch` writes at each of its positions (`RowPositions.at`): a number a neuron, or
            one along the direction; None for anything else.
    """

    site: str
    op: Operation
    positions: Positions | RowPositions
    neurons: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    direction: tuple[float, ...] = ()
    written: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def kind(self) -> Edit:
        """The edit without what each row has of its own: rows whose edits differ in that only are edited together.

        Of the neurons it holds how many there are, not which.
        """
        positions = self.positions if isinstance(self.positions, str) else RowPositions()
        return replace(self, neurons=(0,) * len(self.neurons), values=(), positions=positions, written=None)


def position_mask(
    selection: Positions, positions: Int[Tensor, "row col"], prompt_tokens: Int[Tensor, " row"]
) -> Bool[Tensor, "row col"]:
    """Select the columns of a feed that a choice of positions covers.

    Args:
        selection: with P tokens in the prompt: `all`, `prompt` = 0..P-1, `last` = P-1, `predicting` = P-1 onward,
            `generated` = P onward.
        positions: absolute position of each column, -1 at pads, which are never selected.
        prompt_tokens: P of each row.
    """
    end = prompt_tokens[:, None]
    real = positions >= 0
    match selection:
        case "all":
            return real
        case "prompt":
            return real & (positions < end)
        case "last":
            return real & (positions == end - 1)
        case "predicting":
            return real & (positions >= end - 1)
        case "generated":
            return real & (positions >= end)


_NOWHERE = RowPositions()
_NEVER = 2**62
"""A position that no token has."""


@dataclass(frozen=True)
class PositionTable:
    """Positions that each row of a batch has for itself.

    Args:
        at: [row, most] absolute positions, filled up with one that no token has.
        start: [row] every position from here on, too.
    """

    at: Int[Tensor, "row most"]
    start: Int[Tensor, " row"]

    @classmethod
    def of(cls, chosen: Sequence[Positions | RowPositions | None], device: torch.device) -> PositionTable:
        """Lay out the positions of every row; none of a row whose choice is a word, or that has no choice."""
        resolved = [positions if isinstance(positions, RowPositions) else _NOWHERE for positions in chosen]
        most = max((len(positions.at) for positions in resolved), default=0)
        at = [[*positions.at, *[_NEVER] * (most - len(positions.at))] for positions in resolved]
        start = [_NEVER if positions.start is None else positions.start for positions in resolved]
        whole = torch.tensor(at, dtype=torch.long, device=device).reshape(len(resolved), most)
        return cls(whole, torch.tensor(start, dtype=torch.long, device=device))

    def select(self, rows: Int[Tensor, " kept"] | slice) -> PositionTable:
        """Keep only some rows; of a slice in the same memory."""
        return PositionTable(self.at[rows], self.start[rows])

    def mask(self, positions: Int[Tensor, "row col"]) -> Bool[Tensor, "row col"]:
        """Select the columns of a feed, whose absolute positions are given, -1 at pads."""
        return (positions[..., None] == self.at[:, None, :]).any(dim=-1) | (
            (positions >= 0) & (positions >= self.start[:, None])
        )


class EditSlot:
    """The edits of one kind in a batch: for each batch row its neurons, its values and its positions."""

    def __init__(self, kind: Edit, edits: Sequence[Edit | None], device: torch.device, dtype: torch.dtype) -> None:
        """Lay the edits out; `edits` has one entry a batch row, None where the row has no edit of this kind."""
        width = max((len(edit.values) for edit in edits if edit), default=0)
        neurons = [edit.neurons if edit else kind.neurons for edit in edits]
        self.kind = kind
        self.present = torch.tensor([edit is not None for edit in edits], device=device)
        self.values = torch.tensor([list(edit.values) if edit else [0.0] * width for edit in edits], dtype=dtype).to(
            device
        )
        self.neurons = torch.tensor(neurons, dtype=torch.long, device=device)
        self._widest = 1 + max((max(own, default=-1) for own in neurons), default=-1)
        self.direction = torch.tensor(kind.direction, dtype=dtype, device=device) if kind.direction else None
        self.table = PositionTable.of([edit.positions if edit else None for edit in edits], device)
        self.written = (
            self._laid_out(edits, self.table.at.shape[1]).to(device=device, dtype=dtype) if kind.op == "patch" else None
        )

    @staticmethod
    def _laid_out(edits: Sequence[Edit | None], most: int) -> Float[Tensor, "row position k"]:
        arrays = [edit.written if edit else None for edit in edits]
        width = max(array.shape[1] for array in arrays if array is not None)
        table = np.zeros((len(edits), most, width))
        for row, array in enumerate(arrays):
            if array is not None:
                table[row, : len(array)] = array
        return tensor_of(table, torch.device("cpu"))

    def select(self, rows: Int[Tensor, " kept"] | slice) -> None:
        """Keep only some rows of the batch; of a slice in the same memory."""
        self.present, self.values, self.neurons = self.present[rows], self.values[rows], self.neurons[rows]
        self.table = self.table.select(rows)
        self.written = None if self.written is None else self.written[rows]

    def first(self, rows: int) -> EditSlot:
        """The edits of the first rows alone, in the same memory."""
        slot = copy(self)
        slot.select(slice(rows))
        return slot

    def reorder(self, order: Int[Tensor, " row"]) -> None:
        """Bring the rows into another order, in the tensors that are there."""
        for own in self._own():
            own.copy_(own.index_select(0, order))

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of all that differs from batch to batch; where they agree, a slot can be refilled."""
        return tuple(tuple(tensor.shape) for tensor in self._own())

    def refill(self, other: EditSlot) -> None:
        """Take over the edits of a slot of the same kind and sizes, in the tensors that are there."""
        for mine, theirs in zip(self._own(), other._own(), strict=True):
            mine.copy_(theirs)
        self._widest = other._widest

    def _own(self) -> list[Tensor]:
        written = [] if self.written is None else [self.written]
        return [self.present, self.values, self.neurons, self.table.at, self.table.start, *written]

    def mask(self, positions: Int[Tensor, "row col"], prompt_tokens: Int[Tensor, " row"]) -> Bool[Tensor, "row col"]:
        """Select the columns of a feed that are edited; arguments as `position_mask` has them."""
        if isinstance(self.kind.positions, str):
            chosen = position_mask(self.kind.positions, positions, prompt_tokens)
        else:
            chosen = self.table.mask(positions)
        return chosen & self.present[:, None]

    def apply(
        self,
        activation: Float[Tensor, "row col d"],
        mask: Bool[Tensor, "row col"],
        positions: Int[Tensor, "row col"],
    ) -> Float[Tensor, "row col d"]:
        """Edit the columns that `mask` selects, whose absolute positions are given; the tensor is left as it was.

        Raises:
            IndexError: the site has no such neuron.
        """
        values = self.values[:, None, :].to(activation.dtype)
        if self.written is not None:
            slot = (positions[..., None] == self.table.at[:, None, :]).long().argmax(dim=-1)
            chosen = slot[..., None].expand(*slot.shape, self.written.shape[-1])
            values = self.written.gather(1, chosen).to(activation.dtype)
        if self.direction is not None:
            unit = self.direction.to(activation.dtype)
            along = (activation @ unit)[..., None]
            far = values if self.kind.op == "steer" else values - along if self.kind.op == "patch" else -along
            return torch.where(mask[..., None], activation + far * unit, activation)
        if self._widest > activation.shape[-1]:
            # On a GPU the gather itself would abort everything that runs there.
            raise IndexError(f"neuron {self._widest - 1} is out of bounds: the site is {activation.shape[-1]} wide")
        there = self.neurons[:, None, :].expand(-1, activation.shape[1], -1)
        current = activation.gather(-1, there)
        match self.kind.op:
            case "clamp" | "mean" | "patch":
                edited = values.expand_as(current)
            case "add":
                edited = current + values
            case "scale":
                edited = current * values
            case "zero" | "project_out":
                edited = torch.zeros_like(current)
            case "steer":
                raise AssertionError("a steering edit has a direction")
        return activation.scatter(-1, there, torch.where(mask[..., None], edited, current))


def slots_by_site(
    rows: Sequence[Sequence[Edit]], device: torch.device, dtype: torch.dtype
) -> dict[str, list[EditSlot]]:
    """Sort the edits of a batch into slots, by site, so that each row's own edits apply in the order it names them.

    A row with fewer edits than its neighbours, or with two of one kind, may need a slot of its own.
    """
    kinds: dict[str, list[Edit]] = {}
    members: dict[str, list[dict[int, Edit]]] = {}
    for row in sorted(range(len(rows)), key=lambda row: -len(rows[row])):
        free: dict[str, int] = {}
        for edit in rows[row]:
            known, taken = kinds.setdefault(edit.site, []), members.setdefault(edit.site, [])
            begin = free.get(edit.site, 0)
            slot = next((at for at in range(begin, len(known)) if known[at] == edit.kind), len(known))
            if slot == len(known):
                known.append(edit.kind)
                taken.append({})
            taken[slot][row] = edit
            free[edit.site] = slot + 1
    return {
        site: [
            EditSlot(kind, [edits.get(row) for row in range(len(rows))], device, dtype)
            for kind, edits in zip(known, members[site], strict=True)
        ]
        for site, known in kinds.items()
    }


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
            rows: which of the batch's original rows each row is.
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


class HookNeverFired(ExplorerError):
    """A site was named and the model never reached it."""

    def __init__(self, site: str) -> None:
        super().__init__(
            f"the hook at {site} never fired",
            remedy="this model has no such activation in its forward pass; choose another site",
        )


@dataclass
class Receipt:
    """What the hooks of one site did: how often they fired and how many row positions they edited."""

    site: str
    fired: int = 0
    edited: int = 0


@dataclass
class Feed:
    """The rows and columns that are going through the model now.

    Args:
        positions: absolute position of each column, -1 at pads.
        prompt_tokens: prompt length of each row.
        rows: which of the batch's original rows each row is.
        alive: rows that still count.
    """

    positions: Int[Tensor, "row col"]
    prompt_tokens: Int[Tensor, " row"]
    rows: Int[Tensor, " row"]
    alive: Bool[Tensor, " row"]


@dataclass
class HookState:
    """Everything that is attached to a model while a batch decodes.

    Args:
        slots: the edits, by site.
        accumulators: what is kept, in the order it was asked for.
        feed: what is going through now; the hooks read it, the loop sets it.
        receipts: what the hooks did, by site; how many positions they edited is known when `instrumented` ends.
        edited: by site, that number as the device counts it.
        listening: whether the hooks do anything.
    """

    slots: dict[str, list[EditSlot]]
    accumulators: list[Accumulator]
    feed: Feed
    receipts: dict[str, Receipt] = field(default_factory=dict[str, Receipt])
    edited: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    listening: bool = True

    @contextmanager
    def paused(self) -> Generator[None]:
        """Let a pass go through that is neither edited nor kept."""
        self.listening = False
        try:
            yield
        finally:
            self.listening = True

    def select(self, kept: Int[Tensor, " kept"]) -> None:
        """Keep only some of the rows that go through."""
        for slots in self.slots.values():
            for slot in slots:
                slot.select(kept)
        feed = self.feed
        self.feed = Feed(feed.positions[kept], feed.prompt_tokens[kept], feed.rows[kept], feed.alive[kept])


@contextmanager
def instrumented(model: LoadedModel, instruments: HookState) -> Generator[None]:
    """Attach edits and captures to a model while the block runs; a capture at an edited site sees the edit.

    Raises:
        HookNeverFired: the block ended and a site was not reached.
    """
    sites = list(dict.fromkeys([*instruments.slots, *(a.capture.site for a in instruments.accumulators)]))
    hooks: list[tuple[str, Callable[..., Tensor | None]]] = []
    for site in sites:
        receipt = instruments.receipts.setdefault(site, Receipt(site))
        if site in instruments.edited:
            instruments.edited[site].zero_()
        else:
            instruments.edited[site] = torch.zeros((), dtype=torch.long, device=instruments.feed.positions.device)
        hooks.append((site, _site_hook(instruments, site, receipt)))
    with model.hooks(hooks):
        yield
    for site, receipt in instruments.receipts.items():
        if not receipt.fired:
            raise HookNeverFired(receipt.site)
        receipt.edited += int(instruments.edited[site])


def _site_hook(instruments: HookState, site: str, receipt: Receipt) -> Callable[..., Tensor | None]:
    slots: Sequence[EditSlot] = instruments.slots.get(site, [])
    keeping = [a for a in instruments.accumulators if a.capture.site == site]
    edited = instruments.edited[site]

    # The bridge passes the hook point by keyword; its name may be an alias, so nothing is keyed on it.
    def on_activation(activation: Float[Tensor, "row col d"], hook: object) -> Tensor | None:
        if not instruments.listening:
            return None
        feed = instruments.feed
        receipt.fired += 1
        routed = hook.mask if isinstance(hook, Routed) else None
        result = by_coordinate(activation)
        for slot in slots:
            mask = slot.mask(feed.positions, feed.prompt_tokens)
            mask = mask if routed is None else mask & routed
            edited.add_((mask & feed.alive[:, None]).sum())
            result = slot.apply(result, mask, feed.positions)
        for accumulator in keeping:
            accumulator.take(result, feed.positions, feed.prompt_tokens, feed.rows, feed.alive, routed)
        return result.reshape(activation.shape) if slots else None

    return on_activation
