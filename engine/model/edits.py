"""What is done to a row's activations, as data, and the arithmetic that does it to a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from engine.spec.intervention import Operation, Positions


@dataclass(frozen=True)
class Edit:
    """One resolved intervention on one row: every number is raw, nothing is left to look up.

    Args:
        site: TransformerLens name, "blocks.11.mlp.hook_post".
        op: `clamp` and `mean` replace by the value, `add` adds it, `scale` multiplies by it, `zero` replaces by 0,
            `steer` adds the value times a unit direction.
        positions: which absolute positions of the row it applies to.
        neurons: coordinates of the site; empty for `steer`.
        values: one number a neuron; one number for `steer`; empty for `zero`.
        direction: unit vector of the site's width, for `steer`.
    """

    site: str
    op: Operation
    positions: Positions
    neurons: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    direction: tuple[float, ...] = ()

    @property
    def kind(self) -> Edit:
        """The edit without its values: rows whose edits differ in values only are edited together."""
        return replace(self, values=())


def position_mask(
    positions: Positions, where: Int[Tensor, "row col"], prompt_tokens: Int[Tensor, " row"]
) -> Bool[Tensor, "row col"]:
    """Select the columns of a feed that a choice of positions covers.

    Args:
        positions: with P tokens in the prompt: `all`, `prompt` = 0..P-1, `last` = P-1, `predicting` = P-1 onward,
            `generated` = P onward.
        where: absolute position of each column, -1 at pads, which are never selected.
        prompt_tokens: P of each row.
    """
    end = prompt_tokens[:, None]
    real = where >= 0
    match positions:
        case "all":
            return real
        case "prompt":
            return real & (where < end)
        case "last":
            return real & (where == end - 1)
        case "predicting":
            return real & (where >= end - 1)
        case "generated":
            return real & (where >= end)


class EditSlot:
    """The edits of one kind in a batch, one row of values for each batch row."""

    def __init__(self, kind: Edit, edits: Sequence[Edit | None], device: torch.device, dtype: torch.dtype) -> None:
        """Lay the values out; `edits` has one entry a batch row, None where the row has no edit of this kind."""
        width = max((len(edit.values) for edit in edits if edit), default=0)
        self.kind = kind
        self.present = torch.tensor([edit is not None for edit in edits], device=device)
        self.values = torch.tensor([list(edit.values) if edit else [0.0] * width for edit in edits], dtype=dtype).to(
            device
        )
        self.neurons = torch.tensor(kind.neurons, dtype=torch.long, device=device)
        self.direction = torch.tensor(kind.direction, dtype=dtype, device=device) if kind.direction else None

    def select(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep only some rows of the batch."""
        self.present = self.present[rows]
        self.values = self.values[rows]

    def apply(
        self, activation: Float[Tensor, "row col d"], mask: Bool[Tensor, "row col"]
    ) -> Float[Tensor, "row col d"]:
        """Edit the selected positions; the given tensor is left as it was."""
        values = self.values[:, None, :].to(activation.dtype)
        if self.direction is not None:
            return activation + (mask[..., None] * values) * self.direction.to(activation.dtype)
        own = activation[:, :, self.neurons]
        match self.kind.op:
            case "clamp" | "mean":
                edited = values.expand_as(own)
            case "add":
                edited = own + values
            case "scale":
                edited = own * values
            case "zero":
                edited = torch.zeros_like(own)
            case "steer":
                raise AssertionError("a steering edit has a direction")
        changed = activation.clone()
        changed[:, :, self.neurons] = torch.where(mask[..., None], edited, own)
        return changed


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
            place = next((at for at in range(begin, len(known)) if known[at] == edit.kind), len(known))
            if place == len(known):
                known.append(edit.kind)
                taken.append({})
            taken[place][row] = edit
            free[edit.site] = place + 1
    return {
        site: [
            EditSlot(kind, [edits.get(row) for row in range(len(rows))], device, dtype)
            for kind, edits in zip(known, members[site], strict=True)
        ]
        for site, known in kinds.items()
    }
