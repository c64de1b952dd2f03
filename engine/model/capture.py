"""What is kept of the activations while a batch decodes: running sums, last vectors, or every token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from engine.model.arrays import array_of
from engine.model.edits import position_mask
from engine.spec.intervention import Positions

Reduce = Literal["mean", "tokens", "last", "moments"]


@dataclass(frozen=True)
class Capture:
    """One thing to keep of every row.

    Args:
        site: TransformerLens name.
        reduce: `mean` over the positions, the `last` of them, all `tokens`, or `moments`: mean and variance (ddof 0).
        positions: which absolute positions count.
        centred: subtract each vector's mean over its coordinates (what HookedTransformer's residual stream shows).
        columns: keep these coordinates only; None keeps all.
        direction: keep the projection on this unit vector, and the norm, instead of coordinates.
    """

    site: str
    reduce: Reduce
    positions: Positions
    centred: bool = False
    columns: tuple[int, ...] | None = None
    direction: tuple[float, ...] = ()

    def read(self, activation: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows kept"]:
        """Take what is kept of an activation."""
        if self.centred:
            wide = activation.float() if activation.dtype in (torch.bfloat16, torch.float16) else activation
            activation = wide - wide.mean(dim=-1, keepdim=True)
        if self.columns is not None:
            return activation[..., list(self.columns)]
        if self.direction:
            unit = torch.tensor(self.direction, dtype=activation.dtype, device=activation.device)
            return torch.stack([activation @ unit, activation.square().sum(dim=-1).sqrt()], dim=-1)
        return activation


class Accumulator:
    """Keeps one capture for the rows of a batch while it decodes.

    Sums are kept in float64 (float32 where the device has none), so a mean over fifty tokens loses nothing to
    its length, and no [token, d] tensor exists unless tokens were asked for.
    """

    def __init__(self, capture: Capture, n_rows: int) -> None:
        self.capture = capture
        self.counts = torch.zeros(n_rows, dtype=torch.long)
        self._sum: Tensor | None = None
        self._last: Tensor | None = None
        self._tokens: list[tuple[np.ndarray, np.ndarray]] = []

    def take(
        self,
        activation: Float[Tensor, "row col d"],
        where: Int[Tensor, "row col"],
        prompt_tokens: Int[Tensor, " row"],
        rows: Int[Tensor, " row"],
        alive: Bool[Tensor, " row"],
    ) -> None:
        """Add one feed's activations.

        Args:
            activation: what the site holds after its edits.
            where: absolute position of each column, -1 at pads.
            prompt_tokens: prompt length of each row.
            rows: which of the batch's original rows each row is.
            alive: rows that still count; a finished row may be fed on, but nothing is kept of it.
        """
        mask = position_mask(self.capture.positions, where, prompt_tokens) & alive[:, None]
        kept = self.capture.read(activation)
        home = rows.cpu()
        self.counts[home] += mask.sum(dim=1).cpu()
        match self.capture.reduce:
            case "mean":
                self._add(kept, mask, rows)
            case "moments":
                wide = kept.to(torch.float32 if kept.device.type == "mps" else torch.float64)
                self._add(torch.cat([wide, wide.square()], dim=-1), mask, rows)
            case "last":
                self._keep_last(kept, mask, rows)
            case "tokens":
                owners = home[:, None].expand(mask.shape)[mask.cpu()]
                self._tokens.append((owners.numpy(), array_of(kept[mask])))

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
        hit = newest >= 0
        self._last[rows[hit]] = kept[hit, newest[hit]]

    def result(self) -> list[np.ndarray]:
        """Return one array a row: [d], [token, d] where tokens were asked for, [2, d] for moments."""
        if self.capture.reduce == "tokens":
            owners = np.concatenate([owner for owner, _ in self._tokens])
            tokens = np.concatenate([vector for _, vector in self._tokens])
            # Feeds come in order, so a stable sort by row keeps each row's tokens in order.
            ordered = tokens[np.argsort(owners, kind="stable")]
            vectors = np.split(ordered, np.cumsum(self.counts.numpy())[:-1])
        elif self.capture.reduce == "last":
            vectors = list(array_of(self._last)) if self._last is not None else []
        else:
            assert self._sum is not None, "a hook that never fired is an error before this"
            counts = self.counts.clamp(min=1).to(self._sum)[:, None]
            vectors = list(array_of(self._sum / counts))
            if self.capture.reduce == "moments":
                vectors = [_centred_moments(one) for one in vectors]
        return vectors


def _centred_moments(raw: np.ndarray) -> np.ndarray:
    """Turn a mean and a mean square, [2 d], into mean and variance, [2, d]."""
    mean, square = raw.reshape(2, -1)
    return np.stack([mean, np.maximum(square - mean**2, 0.0)])
