"""What is done to a row's activations, as data, and the arithmetic that does it to a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from srm_explorer.engine.experiment.intervention import Operation
from srm_explorer.engine.experiment.positions import Positions, RowPositions
from srm_explorer.engine.model.device import tensor_of


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
