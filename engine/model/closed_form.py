"""What neurons of a layer write, and what a norm and an unembedding make of it, by two numbers a position."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.device import exact_products, precise
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.texts import UntouchedText, chunks, wide
from srm_explorer.engine.model.weights import logit_cap, w_out_rows

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
_HALF = 0.05
_PROBE = (0, 1)
"""Any two tokens."""
_PROBED = 4
"""Neurons of a layer whose rows of W_out are tried."""


@dataclass(eq=False)
class ClosedForm:
    """A norm and an unembedding, as far as they are linear: logits = c + (a + move b) / sigma.

    Of a residual stream x a LayerNorm or an RMSNorm takes (x - mean) / sigma or x / sigma; the rest is affine, so that
    what a row of W_out does is known from the logits of its own direction.

    Args:
        constant: [vocab] c, the logits of nothing.
        rows: [neuron, d] rows of W_out, their mean taken out where the norm does so.
        logits: [neuron, vocab] b.
        neuron: [setting] row of each.
        epsilon: of the norm.
        centres: whether the norm takes the mean out.
    """

    constant: Tensor
    rows: Tensor
    logits: Tensor
    neuron: Tensor
    epsilon: float
    centres: bool

    @classmethod
    @exact_products()
    def of(cls, model: LoadedModel, rows: Float[Tensor, "neuron d"], neurons: NDArray[np.int64]) -> ClosedForm | None:
        """Learn it from the model's own code; None where its end is of another kind, as where logits are capped."""
        if logit_cap(model) is not None:
            return None
        config: Any = model.bridge.cfg
        unique, place = np.unique(neurons, return_inverse=True)
        chosen = precise(rows[torch.tensor(unique, device=rows.device)])
        epsilon, centres = float(getattr(config, "eps", 1e-5) or 0.0), model.shape.centres
        finish = model.blocks.finish
        constant = wide(finish(torch.zeros_like(rows[:1])))[0]
        bare = chosen - chosen.mean(dim=1, keepdim=True) if centres else chosen
        # As long as residual streams are, so that the norm's epsilon is nothing beside it.
        length = lengths(bare)[:, None].clamp(min=1e-30)
        scaled = bare / length * math.sqrt(bare.shape[1])
        sigma = (scaled.square().mean(dim=1, keepdim=True) + epsilon).sqrt()
        logits = (wide(finish(scaled.to(rows.dtype))) - constant) * sigma.to(constant.dtype)
        logits = logits * (length / math.sqrt(bare.shape[1])).to(logits.dtype)
        head = cls(constant, bare, logits, torch.tensor(place.reshape(-1), device=rows.device), epsilon, centres)
        return head if head._agrees(model, rows) else None

    def _agrees(self, model: LoadedModel, rows: Tensor) -> bool:
        """Try it on residual streams of noise, each moved along a row by its own length and more."""
        tried = min(len(self.rows), _PROBED)
        noise = torch.Generator().manual_seed(0)
        x = torch.randn(tried, rows.shape[1], generator=noise).to(rows) * 3 + 1
        move = precise(torch.linspace(1.0, 3.0, tried).to(rows)) * lengths(precise(x))
        move = move / lengths(self.rows[:tried]).clamp(min=1e-30)
        finish = model.blocks.finish
        before = wide(finish(x))
        after = wide(finish((precise(x) + move[:, None] * self.rows[:tried]).to(x.dtype)))
        sigma, moved = self._sigmas(precise(x), self.rows[:tried], move)
        share, weight = (1 / moved - 1 / sigma).to(before.dtype), (move / moved).to(before.dtype)
        told = ((before - self.constant) * sigma.to(before.dtype)[:, None]) * share[:, None]
        told = told + weight[:, None] * self.logits[:tried] + before
        return bool((told - after).abs().max() <= _tolerance(rows.dtype) * after.abs().max())

    def _sigmas(self, x: Tensor, rows: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
        """[row] what the norm divides residual streams by, and them moved along rows."""
        bare = x - x.mean(dim=1, keepdim=True) if self.centres else x
        before = (bare.square().mean(dim=1) + self.epsilon).sqrt()
        return before, ((bare + move[:, None] * rows).square().mean(dim=1) + self.epsilon).sqrt()

    def compare(self, text: UntouchedText, deltas: Float[Tensor, "pos setting"], sums: Tensor, shift: Tensor) -> None:
        """Compare every setting with the untouched text; arguments as `UntouchedText.compare` has them."""
        x = precise(text.leaving)
        bare = x - x.mean(dim=1, keepdim=True) if self.centres else x
        width = bare.shape[1]
        move = precise(deltas[text.predicting])
        rows = self.rows
        mean_square = bare.square().mean(dim=1)[:, None]
        along = (bare @ rows.T / width)[:, self.neuron]
        own = rows.square().mean(dim=1)[self.neuron]
        sigma = (mean_square + self.epsilon).sqrt()
        moved = (mean_square + 2 * move * along + move.square() * own + self.epsilon).sqrt()
        dtype = text.logits.dtype
        share, weight = (1 / moved - 1 / sigma).to(dtype), (move / moved).to(dtype)
        scaled = (text.logits - self.constant) * sigma.to(dtype)
        n_tokens, vocab = scaled.shape
        count = deltas.shape[1]
        for here, tokens in chunks(count, n_tokens, vocab * scaled.element_size(), text.device.type):
            written = self.logits[self.neuron[here]]
            shape = (tokens.stop - tokens.start, here.stop - here.start, vocab)
            room = text.room(0, shape, scaled)
            change = torch.mul(share[tokens, here, None], scaled[tokens, None], out=room)
            change.addcmul_(weight[tokens, here, None], written[None])
            text.compare(change, tokens, here, sums, shift)


def written_rows(model: LoadedModel, site: str) -> NDArray[np.float32] | None:
    """What each neuron of a layer adds to the residual stream that leaves it, [neuron, d_model].

    A norm after W_out, or experts that share it, would make it something else: so the model is asked what moving a few
    neurons does, and None returned where that is not their rows' sum, or where blocks cannot be run apart.
    """
    at = Site.parse(site)
    if not at.is_mlp or not model.shares_blocks:
        return None
    try:
        rows = w_out_rows(model, at.layer)
    except ExplorerError:
        return None
    neurons = tuple(range(0, len(rows), max(1, len(rows) // _PROBED)))[:_PROBED]
    return (
        rows if is_written(model, str(Site(at.layer, "hook_resid_post")), site, neurons, rows[list(neurons)]) else None
    )


@exact_products()
def is_written(model: LoadedModel, site: str, post: str, neurons: tuple[int, ...], rows: NDArray[np.float32]) -> bool:
    """Whether a site is moved by just the sum of what some neurons write, as the model itself says.

    Args:
        site: that is to sum them.
        post: where the neurons are.
        rows: [neuron, d_model] theirs of W_out.
    """

    def last(*edits: Edit) -> NDArray[np.float64]:
        decoded = decode(model, [Row(_PROBE, edits)], Generation(0), [Capture(site, "last", "prompt")], share=False)
        return np.asarray(decoded.rows[0].captured[0], np.float64)

    before = last()
    step = float(np.linalg.norm(before)) / max(float(np.linalg.norm(rows)), 1e-30)
    values = tuple(step * (1 + number) / len(neurons) for number in range(len(neurons)))
    moved = last(Edit(post, "add", "all", neurons, values)) - before
    expected = np.array(values) @ rows.astype(np.float64)
    return float(np.linalg.norm(moved - expected)) <= _tolerance(model.dtype) * float(np.linalg.norm(before))


def _tolerance(dtype: torch.dtype) -> float:
    return _TOLERANCE.get(dtype, _HALF)


def lengths(rows: Float[Tensor, "row d"]) -> Float[Tensor, " row"]:
    """How long each row is."""
    return rows.square().sum(dim=1).sqrt()
