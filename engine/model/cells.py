"""Scoring one text under the clamps of many neurons of a layer: numbers summed as they come, nothing kept of a token.

`forcing.score_texts` is the plain way, to which this is equal. Here a setting costs the blocks above its neuron and the
unembedding, and in the last layer neither: what a neuron adds to the residual stream is a number a position times its
row of W_out, and a norm and an unembedding turn that into logits by two numbers a position.
"""

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

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.intervention import Operation
from srm_explorer.engine.experiment.positions import Positions, RowPositions
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.model.blocks import feed_of
from srm_explorer.engine.model.capture import Accumulator, Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.device import array_of, tensor_of
from srm_explorer.engine.model.edits import Edit, PositionTable, position_mask, slots_by_site
from srm_explorer.engine.model.hooks import Feed, HookState, instrumented
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.weights import logit_cap, w_out_rows

_FINISHED_BYTES = {"cpu": 64 * 2**20, "cuda": 1024 * 2**20}
"""Bytes of logits that are made at once: enough for the unembedding to be read once for many positions."""
_COMPARED_BYTES = {"cpu": 2 * 2**20, "cuda": 1024 * 2**20}
"""Bytes of logits that are compared at once: what a processor's cache holds."""
_FAR = 80.0
"""A rise of a logit, in nats over the mean, from which its exponential is taken in float64."""
_COMPARED_ROWS = 2
"""Rows of which as many tokens are compared at once as a cache holds: few, as each takes one sum over the tokens."""
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
_HALF = 0.05
_PROBE = (0, 1)
"""Any two tokens."""
_PROBED = 4
"""Neurons of a layer whose rows of W_out are tried."""


@dataclass(frozen=True, eq=False)
class Settings:
    """What is done to single neurons of one site: a setting is one neuron under one raw value.

    Args:
        site: their TransformerLens name.
        op: `clamp`, `add`, `scale`, `zero` or `mean`.
        neurons: [setting] which.
        values: [setting] raw; anything for `zero`.
    """

    site: str
    op: Operation
    neurons: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.neurons)

    def edit(self, setting: int, positions: Positions | RowPositions) -> Edit:
        """One setting as `decode` and `score_texts` take it."""
        values = () if self.op == "zero" else (float(self.values[setting]),)
        return Edit(self.site, self.op, positions, (int(self.neurons[setting]),), values)


@dataclass(frozen=True, eq=False)
class SettingScores:
    """How one text fares under every setting: means over its tokens, as `TokenScores` has them.

    Args:
        kl: [setting] nats a token.
        logp: [setting] change of the log-probability of the token that is there, nats a token.
        flips: [setting] share of tokens of which another became the most probable.
        change: [capture, setting] length of the change of the captured vector over the untouched one's length.
    """

    kl: NDArray[np.float64]
    logp: NDArray[np.float64]
    flips: NDArray[np.float64]
    change: NDArray[np.float64]


@dataclass(eq=False)
class CellScorer:
    """Scores texts under settings of one layer, one text after the other.

    Args:
        model: what reads them.
        settings: of one layer.
        captures: of which the change is told; each keeps one vector a text.
        rows: the most rows of a pass.
        known: texts as they are read untouched, which scorers of one layer and the same captures may share.
        plain: go through the edited block, and through the unembedding, for every setting: the reference.

    Attributes:
        shift: [setting, vocab] change of each token id's log-probability, summed over all tokens of all texts so far.
    """

    model: LoadedModel
    settings: Settings
    captures: Sequence[Capture]
    rows: int
    plain: bool = False
    known: KnownTexts = field(default_factory=lambda: KnownTexts(0))
    shift: Tensor = field(init=False)
    _written: Tensor | None = field(init=False, default=None)
    _head: _Head | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        model, settings = self.model, self.settings
        self.shift = torch.zeros(len(settings), model.n_vocab, dtype=_numbers_of(model.dtype), device=model.device)
        if self.plain:
            return
        rows = written_rows(model, settings.site)
        if rows is None:
            return
        self._written = tensor_of(rows[settings.neurons], model.device).to(model.dtype)
        if self._layer == model.shape.n_layers - 1:
            with torch.inference_mode():
                self._head = _Head.of(model, tensor_of(rows, model.device).to(model.dtype), settings.neurons)

    @property
    def way(self) -> str:
        """How it goes: "closed form", from the block "above" the neurons, or "through" their block."""
        return "closed form" if self._head else "above" if self._written is not None else "through"

    @property
    def _layer(self) -> int:
        return Site.parse(self.settings.site).layer

    def score(
        self,
        prompt: tuple[int, ...],
        tokens: tuple[int, ...],
        positions: Positions | RowPositions,
        on_pass: Callable[[int, int], None] | None = None,
    ) -> SettingScores:
        """Score one text under every setting; what the vocabulary does is added to `shift`.

        Args:
            prompt: token ids of the prompt, at least one.
            tokens: ids that follow it, at least one.
            positions: which are edited.
            on_pass: called after each pass with its rows and the tokens they hold; may raise to stop.
        """
        with torch.inference_mode():
            return self._score(_Text.of(self, prompt, tokens), positions, on_pass)

    def told(self, most: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """[setting, most] token ids that rose the most, and those that fell, by `shift`; -1 where fewer did."""
        count = min(most, self.shift.shape[1])
        lists: list[NDArray[np.int32]] = []
        for sign in (1, -1):
            moved = (sign * self.shift).topk(count, dim=1)
            ids = torch.where(moved.values > 0, moved.indices, -1).cpu().numpy().astype(np.int32)
            lists.append(np.pad(ids, ((0, 0), (0, most - count)), constant_values=-1))
        return lists[0], lists[1]

    def _score(
        self, text: _Text, positions: Positions | RowPositions, on_pass: Callable[[int, int], None] | None
    ) -> SettingScores:
        n = len(self.settings)
        sums = torch.zeros(3, n, dtype=torch.float64)
        changes = np.zeros((len(self.captures), n))
        deltas = None if self._written is None else self._deltas(text, positions)
        step = n if self._head is not None else self.rows
        for start in range(0, n, step):
            part = slice(start, min(start + step, n))
            if deltas is None:
                leaving, vectors = self._through(text, part, positions)
            elif self._head is None:
                leaving, vectors = self._above(text, part, deltas)
            else:
                leaving, vectors = None, {}
            if self._head is not None and deltas is not None:
                self._head.compare(text, deltas, sums, self.shift)
            elif leaving is not None:
                self._compare(text, leaving, part, sums)
            changes[:, part] = self._changes(text, part, vectors, deltas)
            if on_pass:
                count = part.stop - part.start
                on_pass(count, count * len(text.tokens))
        kl, logp, flips = (sums / len(text.tokens)).numpy()
        return SettingScores(kl, logp, flips, changes)

    def _deltas(self, text: _Text, positions: Positions | RowPositions) -> Float[Tensor, "pos setting"]:
        """By how much each setting moves its neuron at every position."""
        device = self.model.device
        mask = _mask(positions, text.length, len(text.prompt), device)
        own = text.own[:, text.column]
        values = torch.tensor(self.settings.values, dtype=own.dtype, device=device)
        match self.settings.op:
            case "clamp" | "mean":
                moved = values - own
            case "add":
                moved = values.expand_as(own)
            case "scale":
                moved = (values - 1) * own
            case _:
                moved = -own
        return torch.where(mask[:, None], moved, torch.zeros_like(moved))

    def _above(
        self, text: _Text, part: slice, deltas: Float[Tensor, "pos setting"]
    ) -> tuple[Tensor, dict[int, list[NDArray[Any]]]]:
        """Run the blocks above the neurons' on what they leave; in the last layer there is none."""
        assert self._written is not None, "asked for where rows of W_out are what is added"
        moved = deltas[:, part].T[:, :, None] * self._written[part][:, None, :]
        # Laid out anew: some models' code takes their rows to lie one after the other.
        rows = (text.after + moved.to(text.after.dtype)).contiguous()
        if self._layer == self.model.shape.n_layers - 1:
            return rows[:, text.predicting], {}
        return self._run(text, rows, self._layer + 1, {}, part)

    def _through(
        self, text: _Text, part: slice, positions: Positions | RowPositions
    ) -> tuple[Tensor, dict[int, list[NDArray[Any]]]]:
        """Run the neurons' block and those above it, each row edited."""
        edits = [(self.settings.edit(setting, positions),) for setting in range(part.start, part.stop)]
        slots = slots_by_site(edits, self.model.device, self.model.dtype)
        split = self._layer if self.model.shares_blocks else 0
        rows = text.before.repeat(len(edits), 1, 1) if split else None
        return self._run(text, rows, split, slots, part)

    def _run(
        self, text: _Text, residual: Tensor | None, split: int, slots: Any, part: slice
    ) -> tuple[Tensor, dict[int, list[NDArray[Any]]]]:
        count = part.stop - part.start
        numbers = [number for number, capture in enumerate(self.captures) if Site.parse(capture.site).layer >= split]
        accumulators = [Accumulator(self.captures[n], [text.prompt] * count, self.model.device) for n in numbers]
        with instrumented(self.model, HookState(slots, accumulators, text.feed(count))):
            leaving = self.model.blocks.leaving(text.columns(count), split, residual)
        kept = {number: accumulator.result() for number, accumulator in zip(numbers, accumulators, strict=True)}
        return leaving[:, text.predicting], kept

    def _compare(self, text: _Text, leaving: Float[Tensor, "row token d"], part: slice, sums: Tensor) -> None:
        """Make logits of what leaves the last block, as many as may be there at once, and compare them."""
        count, n_tokens, width = leaving.shape
        vocab, device = self.model.n_vocab, self.model.device.type
        item = text.logits.element_size()
        step = max(1, _FINISHED_BYTES.get(device, _FINISHED_BYTES["cpu"]) // (n_tokens * vocab * item))
        for start in range(0, count, step):
            rows = leaving[start : start + step].transpose(0, 1)
            logits = self.model.blocks.finish(rows.reshape(-1, width)).view(n_tokens, -1, vocab)
            for few, tokens in _chunks(rows.shape[1], n_tokens, vocab * item, device):
                edited = _wide(logits[tokens, few])
                moved = torch.sub(edited, text.logits[tokens, None], out=text.room(0, edited.shape, text.logits))
                offset = part.start + start
                text.compare(moved, tokens, slice(offset + few.start, offset + few.stop), sums, self.shift)

    def _changes(
        self, text: _Text, part: slice, vectors: dict[int, list[NDArray[Any]]], deltas: Tensor | None
    ) -> NDArray[np.float64]:
        changes = np.zeros((len(self.captures), part.stop - part.start))
        for number, capture in enumerate(self.captures):
            base = text.captured[number]
            length = float(np.linalg.norm(base))
            if number in vectors:
                moved = np.linalg.norm(np.stack(vectors[number]).astype(np.float64) - base, axis=1)
            elif deltas is not None and Site.parse(capture.site).layer == self._layer:
                moved = self._own_change(text, capture, deltas[:, part], part)
            else:
                continue
            changes[number] = moved / length if length else np.where(moved > 0, np.inf, 0.0)
        return changes

    def _own_change(
        self, text: _Text, capture: Capture, deltas: Float[Tensor, "pos setting"], part: slice
    ) -> NDArray[np.float64]:
        """The change in the neurons' own layer: of the neuron itself, or of what it is added to."""
        site = Site.parse(capture.site)
        is_own = capture.site == self.settings.site
        if not is_own and site.kind not in ("hook_mlp_out", "hook_resid_post"):
            return np.zeros(deltas.shape[1])
        mask = _mask(capture.positions_in(text.prompt), text.length, len(text.prompt), self.model.device)
        kept = _precise(deltas[mask])
        if not len(kept):
            return np.zeros(deltas.shape[1])
        moved = kept[-1] if capture.reduce == "last" else kept.mean(dim=0)
        if is_own:
            return array_of(moved.abs()).astype(np.float64)
        assert self._written is not None, "rows of W_out are what is added"
        rows = self._written[part].to(moved.dtype)
        rows = rows - rows.mean(dim=1, keepdim=True) if capture.centred else rows
        return array_of(moved.abs() * _lengths(rows)).astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Read:
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
    ) -> _Read:
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
        return cls(before, after, leaving[len(prompt) - 1 : length - 1], own, captured)

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
    _known: dict[tuple[tuple[int, ...], tuple[int, ...]], _Read] = field(
        init=False, default_factory=dict[tuple[tuple[int, ...], tuple[int, ...]], _Read]
    )

    def read(
        self,
        model: LoadedModel,
        site: str,
        captures: Sequence[Capture],
        prompt: tuple[int, ...],
        tokens: tuple[int, ...],
    ) -> _Read:
        """Read a text, unless it is known; all scorers that share what is known have the same captures."""
        if self._of != (id(model), site):
            self._of = id(model), site
            self._known.clear()
        if (found := self._known.get((prompt, tokens))) is not None:
            return found
        read = _Read.of(model, site, captures, prompt, tokens)
        if sum(known.size for known in self._known.values()) + read.size <= self.room:
            self._known[prompt, tokens] = read
        return read


@dataclass(eq=False)
class _Text:
    """One text, untouched: what its settings are compared with."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
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
        self.there = torch.tensor(self.tokens, device=self.device)
        self.p = self.logits.softmax(dim=-1)
        self.lowest = self.logits.amin(dim=-1)
        self.best = self.logits.argmax(dim=-1)

    @classmethod
    def of(cls, scorer: CellScorer, prompt: tuple[int, ...], tokens: tuple[int, ...]) -> _Text:
        model, settings = scorer.model, scorer.settings
        read = scorer.known.read(model, settings.site, scorer.captures, prompt, tokens)
        unique, column = np.unique(settings.neurons, return_inverse=True)
        own = read.own[:, torch.tensor(unique, device=model.device)]
        columns = torch.tensor(column.reshape(-1), device=model.device)
        logits = _wide(model.blocks.finish(read.leaving))
        about = prompt, tokens, model.device
        return cls(*about, read.before, read.after, own, columns, read.leaving, read.captured, logits)

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.tokens)

    @property
    def predicting(self) -> slice:
        """Positions at which the tokens are predicted."""
        return slice(len(self.prompt) - 1, self.length - 1)

    def feed(self, rows: int) -> Feed:
        return _feed(rows, self.length, len(self.prompt), self.device)

    def columns(self, rows: int) -> dict[str, Tensor]:
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
        kl = _precise(torch.expm1(u, out=other).sub_(u).mul_(p).sum(dim=-1)).log1p()
        if bool(far.any()) or not bool(torch.isfinite(kl).all()):
            far |= ~torch.isfinite(kl)
            kl[far] = self._kl_of(far, u, logits[:, 0]).to(kl)
        at_there = _precise(u.gather(-1, there[:, None, None].expand(-1, u.shape[1], 1))[..., 0])
        kl.clamp_(min=0.0)
        flips = _precise(highest > at_best)
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


@dataclass(eq=False)
class _Head:
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
    def of(cls, model: LoadedModel, rows: Float[Tensor, "neuron d"], neurons: NDArray[np.int64]) -> _Head | None:
        """Learn it from the model's own code; None where its end is of another kind, as where logits are capped."""
        if logit_cap(model) is not None:
            return None
        config: Any = model.bridge.cfg
        unique, place = np.unique(neurons, return_inverse=True)
        chosen = _precise(rows[torch.tensor(unique, device=rows.device)])
        epsilon, centres = float(getattr(config, "eps", 1e-5) or 0.0), model.shape.centres
        finish = model.blocks.finish
        constant = _wide(finish(torch.zeros_like(rows[:1])))[0]
        bare = chosen - chosen.mean(dim=1, keepdim=True) if centres else chosen
        # As long as residual streams are, so that the norm's epsilon is nothing beside it.
        length = _lengths(bare)[:, None].clamp(min=1e-30)
        scaled = bare / length * math.sqrt(bare.shape[1])
        sigma = (scaled.square().mean(dim=1, keepdim=True) + epsilon).sqrt()
        logits = (_wide(finish(scaled.to(rows.dtype))) - constant) * sigma.to(constant.dtype)
        logits = logits * (length / math.sqrt(bare.shape[1])).to(logits.dtype)
        head = cls(constant, bare, logits, torch.tensor(place.reshape(-1), device=rows.device), epsilon, centres)
        return head if head._agrees(model, rows) else None

    def _agrees(self, model: LoadedModel, rows: Tensor) -> bool:
        """Try it on residual streams of noise, each moved along a row by its own length and more."""
        tried = min(len(self.rows), _PROBED)
        noise = torch.Generator().manual_seed(0)
        x = torch.randn(tried, rows.shape[1], generator=noise).to(rows) * 3 + 1
        move = _precise(torch.linspace(1.0, 3.0, tried).to(rows)) * _lengths(_precise(x))
        move = move / _lengths(self.rows[:tried]).clamp(min=1e-30)
        finish = model.blocks.finish
        before = _wide(finish(x))
        after = _wide(finish((_precise(x) + move[:, None] * self.rows[:tried]).to(x.dtype)))
        sigma, moved = self._sigmas(_precise(x), self.rows[:tried], move)
        share, weight = (1 / moved - 1 / sigma).to(before.dtype), (move / moved).to(before.dtype)
        told = ((before - self.constant) * sigma.to(before.dtype)[:, None]) * share[:, None]
        told = told + weight[:, None] * self.logits[:tried] + before
        return bool((told - after).abs().max() <= _tolerance(rows.dtype) * after.abs().max())

    def _sigmas(self, x: Tensor, rows: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
        """[row] what the norm divides residual streams by, and them moved along rows."""
        bare = x - x.mean(dim=1, keepdim=True) if self.centres else x
        before = (bare.square().mean(dim=1) + self.epsilon).sqrt()
        return before, ((bare + move[:, None] * rows).square().mean(dim=1) + self.epsilon).sqrt()

    def compare(self, text: _Text, deltas: Float[Tensor, "pos setting"], sums: Tensor, shift: Tensor) -> None:
        """Compare every setting with the untouched text; arguments as `_Text.compare` has them."""
        x = _precise(text.leaving)
        bare = x - x.mean(dim=1, keepdim=True) if self.centres else x
        width = bare.shape[1]
        move = _precise(deltas[text.predicting])
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
        for here, tokens in _chunks(count, n_tokens, vocab * scaled.element_size(), text.device.type):
            written = self.logits[self.neuron[here]]
            shape = (tokens.stop - tokens.start, here.stop - here.start, vocab)
            room = text.room(0, shape, scaled)
            change = torch.mul(share[tokens, here, None], scaled[tokens, None], out=room)
            change.addcmul_(weight[tokens, here, None], written[None])
            text.compare(change, tokens, here, sums, shift)


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


def _chunks(rows: int, tokens: int, item_bytes: int, device: str) -> Iterator[tuple[slice, slice]]:
    """Cut rows by tokens into pieces that a cache holds: which rows, which tokens."""
    fit = max(1, _COMPARED_BYTES.get(device, _COMPARED_BYTES["cpu"]) // item_bytes)
    few = min(rows, _COMPARED_ROWS if device == "cpu" else rows, fit)
    block = max(1, fit // few)
    for start in range(0, rows, few):
        for first in range(0, tokens, block):
            yield slice(start, min(start + few, rows)), slice(first, min(first + block, tokens))


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _numbers_of(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _precise(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def _lengths(rows: Float[Tensor, "row d"]) -> Float[Tensor, " row"]:
    return rows.square().sum(dim=1).sqrt()


def _mask(positions: Positions | RowPositions, length: int, prompt: int, device: torch.device) -> Tensor:
    """[pos] which positions of a text are chosen."""
    at = torch.arange(length, device=device)[None]
    if isinstance(positions, str):
        return position_mask(positions, at, torch.tensor([prompt], device=device))[0]
    return PositionTable.of([positions], device).mask(at)[0]


def _feed(rows: int, length: int, prompt: int, device: torch.device) -> Feed:
    home = torch.arange(rows, device=device)
    positions = torch.arange(length, device=device).expand(rows, length)
    return Feed(positions, torch.full((rows,), prompt, device=device), home, home >= 0)


def _columns(rows: int, ids: tuple[int, ...], device: torch.device) -> dict[str, Tensor]:
    fed = torch.tensor(ids, device=device).repeat(rows, 1)
    positions = torch.arange(len(ids), device=device).repeat(rows, 1)
    return feed_of(fed, positions, torch.ones_like(fed))
