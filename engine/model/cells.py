"""Scoring one text under the clamps of many neurons of a layer: numbers summed as they come, nothing kept of a token.

`forcing.score_texts` is the plain way, to which this is equal. Here a setting costs the blocks above its neuron and the
unembedding, and in the last layer neither: what a neuron adds to the residual stream is a number a position times its
row of W_out, and a norm and an unembedding turn that into logits by two numbers a position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from srm_explorer.engine.experiment.intervention import Operation
from srm_explorer.engine.experiment.positions import Positions, RowPositions
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.model.capture import Accumulator, Capture
from srm_explorer.engine.model.closed_form import ClosedForm, lengths, written_rows
from srm_explorer.engine.model.device import array_of, precise, tensor_of
from srm_explorer.engine.model.edits import Edit, PositionTable, position_mask, slots_by_site
from srm_explorer.engine.model.hooks import HookState, instrumented
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.texts import KnownTexts, UntouchedText, chunks, wide

_FINISHED_BYTES = {"cpu": 64 * 2**20, "cuda": 1024 * 2**20}
"""Bytes of logits that are made at once: enough for the unembedding to be read once for many positions."""


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
    _head: ClosedForm | None = field(init=False, default=None)

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
                self._head = ClosedForm.of(model, tensor_of(rows, model.device).to(model.dtype), settings.neurons)

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
        *,
        first: int | None = None,
    ) -> SettingScores:
        """Score one text under every setting; what the vocabulary does is added to `shift`.

        Args:
            prompt: token ids of the prompt, at least one.
            tokens: ids that follow it.
            positions: which are edited.
            first: position of the first token that is scored, at least 1; that of the first of `tokens` if None.
            on_pass: called after each pass with its rows and the tokens they hold; may raise to stop.
        """
        model, settings = self.model, self.settings
        with torch.inference_mode():
            first = len(prompt) if first is None else first
            read = self.known.read(model, settings.site, self.captures, prompt, tokens, first)
            text = UntouchedText.of(model, read, settings.neurons, prompt, tokens, first)
            return self._score(text, positions, on_pass)

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
        self, text: UntouchedText, positions: Positions | RowPositions, on_pass: Callable[[int, int], None] | None
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
                on_pass(count, count * text.scored)
        kl, logp, flips = (sums / text.scored).numpy()
        return SettingScores(kl, logp, flips, changes)

    def _deltas(self, text: UntouchedText, positions: Positions | RowPositions) -> Float[Tensor, "pos setting"]:
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
        self, text: UntouchedText, part: slice, deltas: Float[Tensor, "pos setting"]
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
        self, text: UntouchedText, part: slice, positions: Positions | RowPositions
    ) -> tuple[Tensor, dict[int, list[NDArray[Any]]]]:
        """Run the neurons' block and those above it, each row edited."""
        edits = [(self.settings.edit(setting, positions),) for setting in range(part.start, part.stop)]
        slots = slots_by_site(edits, self.model.device, self.model.dtype)
        split = self._layer if self.model.shares_blocks else 0
        rows = text.before.repeat(len(edits), 1, 1) if split else None
        return self._run(text, rows, split, slots, part)

    def _run(
        self, text: UntouchedText, residual: Tensor | None, split: int, slots: Any, part: slice
    ) -> tuple[Tensor, dict[int, list[NDArray[Any]]]]:
        count = part.stop - part.start
        numbers = [number for number, capture in enumerate(self.captures) if Site.parse(capture.site).layer >= split]
        accumulators = [Accumulator(self.captures[n], [text.prompt] * count, self.model.device) for n in numbers]
        with instrumented(self.model, HookState(slots, accumulators, text.feed(count))):
            leaving = self.model.blocks.leaving(text.columns(count), split, residual)
        kept = {number: accumulator.result() for number, accumulator in zip(numbers, accumulators, strict=True)}
        return leaving[:, text.predicting], kept

    def _compare(self, text: UntouchedText, leaving: Float[Tensor, "row token d"], part: slice, sums: Tensor) -> None:
        """Make logits of what leaves the last block, as many as may be there at once, and compare them."""
        count, n_tokens, width = leaving.shape
        vocab, device = self.model.n_vocab, self.model.device.type
        item = text.logits.element_size()
        step = max(1, _FINISHED_BYTES.get(device, _FINISHED_BYTES["cpu"]) // (n_tokens * vocab * item))
        for start in range(0, count, step):
            rows = leaving[start : start + step].transpose(0, 1)
            logits = self.model.blocks.finish(rows.reshape(-1, width)).view(n_tokens, -1, vocab)
            for few, tokens in chunks(rows.shape[1], n_tokens, vocab * item, device):
                edited = wide(logits[tokens, few])
                moved = torch.sub(edited, text.logits[tokens, None], out=text.room(0, edited.shape, text.logits))
                offset = part.start + start
                text.compare(moved, tokens, slice(offset + few.start, offset + few.stop), sums, self.shift)

    def _changes(
        self, text: UntouchedText, part: slice, vectors: dict[int, list[NDArray[Any]]], deltas: Tensor | None
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
        self, text: UntouchedText, capture: Capture, deltas: Float[Tensor, "pos setting"], part: slice
    ) -> NDArray[np.float64]:
        """The change in the neurons' own layer: of the neuron itself, or of what it is added to."""
        site = Site.parse(capture.site)
        is_own = capture.site == self.settings.site
        if not is_own and site.kind not in ("hook_mlp_out", "hook_resid_post"):
            return np.zeros(deltas.shape[1])
        mask = _mask(capture.positions_in(text.prompt), text.length, len(text.prompt), self.model.device)
        kept = precise(deltas[mask])
        if not len(kept):
            return np.zeros(deltas.shape[1])
        moved = kept[-1] if capture.reduce == "last" else kept.mean(dim=0)
        if is_own:
            return array_of(moved.abs()).astype(np.float64)
        assert self._written is not None, "rows of W_out are what is added"
        rows = self._written[part].to(moved.dtype)
        rows = rows - rows.mean(dim=1, keepdim=True) if capture.centred else rows
        return array_of(moved.abs() * lengths(rows)).astype(np.float64)


def _numbers_of(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _mask(positions: Positions | RowPositions, length: int, prompt: int, device: torch.device) -> Tensor:
    """[pos] which positions of a text are chosen."""
    at = torch.arange(length, device=device)[None]
    if isinstance(positions, str):
        return position_mask(positions, at, torch.tensor([prompt], device=device))[0]
    return PositionTable.of([positions], device).mask(at)[0]
