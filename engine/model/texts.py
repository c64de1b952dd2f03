"""Texts as they are read untouched, and what settings of neurons do to the distributions after their tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.model.blocks import feed_of
from srm_explorer.engine.model.capture import Accumulator, Capture
from srm_explorer.engine.model.device import array_of, precise, tensor_of
from srm_explorer.engine.model.hooks import Feed, HookState, instrumented
from srm_explorer.engine.model.load import LoadedModel

_COMPARED_BYTES = {"cpu": 2 * 2**20, "cuda": 1024 * 2**20}
"""Bytes of logits that are compared at once: what a processor's cache holds."""
_FAR = 80.0
"""A rise of a logit, in nats over the mean, from which its exponential is taken in float64."""
_COMPARED_ROWS = 2
"""Rows of which as many tokens are compared at once as a cache holds: few, as each takes one sum over the tokens."""


@dataclass(frozen=True, eq=False)
class Untouched:
    """What an untouched text holds: the residual stream before and after a layer, what leaves the last one, neurons."""

    before: Float[Tensor, "pos d"]
    after: Float[Tensor, "pos d"]
    leaving: Float[Tensor, "token d"]
    own: Float[Tensor, "pos d_mlp"]
    captured: list[NDArray[np.float64]]

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        site: str,
        captures: Sequence[Capture],
        prompt: tuple[int, ...],
        tokens: tuple[int, ...],
        first: int,
    ) -> Untouched:
        """Read one, and what captures keep of it; tokens from position `first` are those that are scored."""
        layer, last = Site.parse(site).layer, model.shape.n_layers - 1
        read = [
            Capture(str(Site(layer, "hook_resid_pre")), "tokens", "all"),
            Capture(str(Site(layer, "hook_resid_post")), "tokens", "all"),
            Capture(str(Site(last, "hook_resid_post")), "tokens", "all"),
            Capture(site, "tokens", "all", skips_unrouted=False),
        ]
        accumulators = [Accumulator(capture, [prompt], model.device) for capture in (*read, *captures)]
        length = len(prompt) + len(tokens)
        with instrumented(model, HookState({}, accumulators, _feed(1, length, len(prompt), model.device))):
            model.blocks.columns(_columns(1, (*prompt, *tokens), model.device), 1, 0)
        kept = [accumulator.result()[0] for accumulator in accumulators]
        before, after, leaving, own = (tensor_of(array, model.device).to(model.dtype) for array in kept[: len(read)])
        captured = [array.astype(np.float64) for array in kept[len(read) :]]
        return cls(before, after, leaving[first - 1 : length - 1], own, captured)

    @property
    def size(self) -> int:
        """Bytes, nearly."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.before, self.after, self.own))


@dataclass(eq=False)
class KnownTexts:
    """Texts as they are read untouched, kept from one scorer of a layer to the next, as many as there is room for.

    Args:
        room: bytes.
    """

    room: int = 128 * 2**20
    _of: tuple[int, str] = field(init=False, default=(0, ""))
    _known: dict[tuple[tuple[int, ...], tuple[int, ...], int], Untouched] = field(
        init=False, default_factory=dict[tuple[tuple[int, ...], tuple[int, ...], int], Untouched]
    )

    def read(
        self,
        model: LoadedModel,
        site: str,
        captures: Sequence[Capture],
        prompt: tuple[int, ...],
        tokens: tuple[int, ...],
        first: int,
    ) -> Untouched:
        """Read a text, unless it is known; all scorers that share what is known have the same captures."""
        if self._of != (id(model), site):
            self._of = id(model), site
            self._known.clear()
        if (found := self._known.get((prompt, tokens, first))) is not None:
            return found
        read = Untouched.of(model, site, captures, prompt, tokens, first)
        if sum(known.size for known in self._known.values()) + read.size <= self.room:
            self._known[prompt, tokens, first] = read
        return read


@dataclass(eq=False)
class UntouchedText:
    """One text, untouched: what its settings are compared with."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    first: int  # position of the first token that is scored
    device: torch.device
    before: Float[Tensor, "pos d"]  # the residual stream that enters the neurons' block
    after: Float[Tensor, "pos d"]  # and the one that leaves it
    own: Float[Tensor, "pos neuron"]
    column: Int[Tensor, " setting"]
    leaving: Float[Tensor, "token d"]  # what leaves the last block where a token is predicted
    captured: list[NDArray[np.float64]]
    logits: Float[Tensor, "token vocab"]
    p: Float[Tensor, "token vocab"] = field(init=False)
    best: Int[Tensor, " token"] = field(init=False)
    lowest: Float[Tensor, " token"] = field(init=False)
    there: Int[Tensor, " token"] = field(init=False)
    _rooms: dict[int, Tensor] = field(init=False, default_factory=dict[int, Tensor])

    def __post_init__(self) -> None:
        self.there = torch.tensor((*self.prompt, *self.tokens)[self.first :], device=self.device)
        self.p = self.logits.softmax(dim=-1)
        self.lowest = self.logits.amin(dim=-1)
        self.best = self.logits.argmax(dim=-1)

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        read: Untouched,
        neurons: NDArray[np.int64],
        prompt: tuple[int, ...],
        tokens: tuple[int, ...],
        first: int,
    ) -> UntouchedText:
        """Lay out what a text holds for settings of some neurons, one each."""
        unique, column = np.unique(neurons, return_inverse=True)
        own = read.own[:, torch.tensor(unique, device=model.device)]
        columns = torch.tensor(column.reshape(-1), device=model.device)
        logits = wide(model.blocks.finish(read.leaving))
        about = prompt, tokens, first, model.device
        return cls(*about, read.before, read.after, own, columns, read.leaving, read.captured, logits)

    @property
    def length(self) -> int:
        """Tokens of the prompt and of what follows."""
        return len(self.prompt) + len(self.tokens)

    @property
    def scored(self) -> int:
        """How many tokens are scored."""
        return self.length - self.first

    @property
    def predicting(self) -> slice:
        """Positions at which the tokens that are scored are predicted."""
        return slice(self.first - 1, self.length - 1)

    def feed(self, rows: int) -> Feed:
        """What hooks are told of a pass of so many rows over it."""
        return _feed(rows, self.length, len(self.prompt), self.device)

    def columns(self, rows: int) -> dict[str, Tensor]:
        """The same as a model takes it."""
        return _columns(rows, (*self.prompt, *self.tokens), self.device)

    def room(self, number: int, shape: Sequence[int], like: Tensor) -> Tensor:
        """Memory that is used again and again: to be given new pages every time costs more than what is written."""
        size = math.prod(shape)
        known = self._rooms.get(number)
        if known is None or known.numel() < size or known.dtype != like.dtype:
            known = self._rooms[number] = torch.empty(size, dtype=like.dtype, device=like.device)
        return known[:size].view(*shape)

    def compare(
        self, moved: Float[Tensor, "token row vocab"], tokens: slice, rows: slice, sums: Tensor, shift: Tensor
    ) -> None:
        """Add up what the changes of logits do to the distributions of some tokens; the changes are used up.

        With u the change of a logit less its mean under the untouched p, KL(p || q) = ln(sum p e^u), and e^u = 1 + u +
        (e^u - 1 - u) of which the middle adds to 0 and the last is never below 0: in float32 nothing cancels. What
        rises so far that float32 could not hold it is taken in float64.

        Args:
            sums: [3, setting] of KL, change of log-probability, and flips; added to.
            shift: [setting, vocab]; added to.
        """
        p, logits, best = self.p[tokens, None], self.logits[tokens, None], self.best[tokens]
        there = self.there[tokens]
        other = torch.add(moved, logits, out=self.room(1, moved.shape, moved))
        at_best = other.gather(-1, best[:, None, None].expand(-1, moved.shape[1], 1))[..., 0]
        highest = other.amax(dim=-1)
        # Sums of products, not matrix products: of a matrix with a vector those are the slower.
        mean = torch.mul(moved, p, out=other).sum(dim=-1)
        u = moved.sub_(mean[..., None])
        far = highest - self.lowest[tokens, None] - mean > _FAR
        kl = precise(torch.expm1(u, out=other).sub_(u).mul_(p).sum(dim=-1)).log1p()
        if bool(far.any()) or not bool(torch.isfinite(kl).all()):
            far |= ~torch.isfinite(kl)
            kl[far] = self._kl_of(far, u, logits[:, 0]).to(kl)
        at_there = precise(u.gather(-1, there[:, None, None].expand(-1, u.shape[1], 1))[..., 0])
        kl.clamp_(min=0.0)
        flips = precise(highest > at_best)
        sums[:, rows] += torch.stack([kl.sum(0), (at_there - kl).sum(0), flips.sum(0)]).cpu()
        shift[rows] += u.sum(dim=0).sub_(kl.sum(0)[:, None].to(shift.dtype))

    @staticmethod
    def _kl_of(far: Tensor, u: Tensor, logits: Tensor) -> Tensor:
        """ln(sum p e^u) in float64, of some tokens and rows."""
        if u.device.type == "mps":
            u, logits = u.cpu(), logits.cpu()
        kept = [
            torch.logsumexp(logits[token].double().log_softmax(-1) + u[token, row].double(), -1)
            for token, row in np.argwhere(array_of(far)).tolist()
        ]
        return torch.stack(kept)


def read_texts(
    model: LoadedModel,
    texts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    capture: Capture,
    on_text: Callable[[int, int], None] | None = None,
) -> Iterator[NDArray[Any]]:
    """Read texts one after the other, untouched, and keep what a capture asks for of each.

    Args:
        texts: token ids of a prompt, and those that follow it.
        on_text: called after each with a row and its tokens; may raise to stop.

    Yields:
        [token, k], or [k], a text.
    """
    above = Site.parse(capture.site).layer + 1
    for prompt, tokens in texts:
        with torch.inference_mode():
            accumulator = Accumulator(capture, [prompt], model.device)
            feed = _columns(1, (*prompt, *tokens), model.device)
            state = HookState({}, [accumulator], _feed(1, len(prompt) + len(tokens), len(prompt), model.device))
            with instrumented(model, state):
                if above < model.shape.n_layers:
                    model.blocks.head(feed, model.blocks.new_cache(), above)
                else:
                    model.blocks.leaving(feed, 0)
            kept = accumulator.result()[0]
        yield kept
        if on_text:
            on_text(1, len(tokens))


def chunks(rows: int, tokens: int, item_bytes: int, device: str) -> Iterator[tuple[slice, slice]]:
    """Cut rows by tokens into pieces that a cache holds: which rows, which tokens."""
    fit = max(1, _COMPARED_BYTES.get(device, _COMPARED_BYTES["cpu"]) // item_bytes)
    few = min(rows, _COMPARED_ROWS if device == "cpu" else rows, fit)
    block = max(1, fit // few)
    for start in range(0, rows, few):
        for first in range(0, tokens, block):
            yield slice(start, min(start + few, rows)), slice(first, min(first + block, tokens))


def wide(logits: Tensor) -> Tensor:
    """Return logits in float32 at least."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _feed(rows: int, length: int, prompt: int, device: torch.device) -> Feed:
    home = torch.arange(rows, device=device)
    positions = torch.arange(length, device=device).expand(rows, length)
    return Feed(positions, torch.full((rows,), prompt, device=device), home, home >= 0)


def _columns(rows: int, ids: tuple[int, ...], device: torch.device) -> dict[str, Tensor]:
    fed = torch.tensor(ids, device=device).repeat(rows, 1)
    positions = torch.arange(len(ids), device=device).repeat(rows, 1)
    return feed_of(fed, positions, torch.ones_like(fed))
