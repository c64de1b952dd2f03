"""Teacher forcing: given tokens go through the model in one pass, untouched and under every setting."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import ExplorerError
from engine.footprint import captured_bytes, rows_within
from engine.model.blocks import Blocks
from engine.model.capture import Accumulator, Capture
from engine.model.device import free_bytes, is_out_of_memory
from engine.model.edits import Edit, slots_by_site
from engine.model.hooks import Feed, Instruments, instrumented
from engine.model.load import LoadedModel
from engine.model.memory import sizes_of
from engine.model.stream import Padded
from engine.model.token_scores import TokenScores, token_scores
from engine.spec.site import Site


@dataclass(frozen=True)
class GivenText:
    """Tokens to be scored after a prompt.

    Args:
        prompt: token ids of the prompt, at least one.
        tokens: ids that follow it; the last one is fed too, so that it is captured as in a free run.
        settings: what is done to the model, a setting each; the untouched model is none of them, and always scored.
    """

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    settings: tuple[tuple[Edit, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Forced:
    """What came of one text under one setting.

    Args:
        scores: of its tokens, one by one.
        captured: one array a capture, in the order they were asked for: [d], or [token, d] for `tokens`.
    """

    scores: TokenScores
    captured: tuple[np.ndarray, ...]


def score_texts(
    model: LoadedModel,
    texts: Sequence[GivenText],
    captures: Sequence[Capture] = (),
    *,
    rows: int | None = None,
    on_pass: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, list[Forced]]]:
    """Score texts, untouched and under their settings, and keep what the captures ask for.

    A text's rows differ in their edits alone, so what lies below the first edited or captured block is computed once a
    text. Positions mean what they mean in `decode`, of which this is the fast way where the tokens are known.

    Args:
        model: what reads them.
        texts: in any order; texts of similar length share a batch.
        captures: what is kept of every row.
        rows: the most rows of a pass; None plans it from free memory. Halved where a pass does not fit.
        on_pass: called after each pass with the rows and the tokens that went through; may raise to stop.

    Yields:
        the place of a text, and what came of it: untouched first, then a setting each.

    Raises:
        ExplorerError: a site that does not exist, a text longer than the model's context, one row too large.
        HookNeverFired: the model never reached a site.
    """
    model.check_sites([*(edit.site for edit in _edits(texts)), *(capture.site for capture in captures)])
    for text in texts:
        _check_length(model, text)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place].prompt) + len(texts[place].tokens))
    todo = deque(_Piece(place, texts[place], tuple(range(len(texts[place].settings)))) for place in order)
    limit = rows or _rows_that_fit(model, texts, captures)
    partial: dict[int, dict[int, Forced]] = {}
    while todo:
        batch = _taken(todo, limit)
        n_rows = sum(piece.rows for piece in batch)
        found = _tried(model, batch, captures)
        if found is None:
            if n_rows <= 2:
                raise ExplorerError(
                    "one text alone does not fit into memory",
                    where=str(model.device),
                    remedy="shorten the texts, or choose a smaller dtype or model",
                )
            limit = max(1, n_rows // 2)
            todo.extendleft(reversed(batch))
            continue
        for piece, own in zip(batch, found, strict=True):
            known = partial.setdefault(piece.place, {-1: own[0]})
            known.update(zip(piece.settings, own[1:], strict=True))
            if len(known) == 1 + len(piece.text.settings):
                del partial[piece.place]
                yield piece.place, [known[place] for place in sorted(known)]
        if on_pass:
            on_pass(n_rows, sum(piece.rows * len(piece.text.tokens) for piece in batch))


@dataclass(frozen=True)
class _Piece:
    """A text and some of its settings."""

    place: int
    text: GivenText
    settings: tuple[int, ...]

    @property
    def rows(self) -> int:
        return 1 + len(self.settings)


@dataclass
class _Pass:
    """The rows of a batch: first the untouched one of each text, then the settings, text by text."""

    pieces: Sequence[_Piece]
    ids: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    edits: list[tuple[Edit, ...]] = field(default_factory=list[tuple[Edit, ...]])
    owner: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        for own, piece in enumerate(self.pieces):
            self.ids.append((*piece.text.prompt, *piece.text.tokens))
            self.edits.extend(piece.text.settings[one] for one in piece.settings)
            self.owner.extend(own for _ in piece.settings)

    def feed(self, owner: Sequence[int], first: int, where: Tensor) -> Feed:
        """Tell the hooks of rows that go through: whose prompts they have, and which of the batch's rows they are."""
        device = where.device
        lengths = torch.tensor([len(self.pieces[own].text.prompt) for own in owner], device=device)
        home = torch.arange(first, first + len(owner), device=device)
        return Feed(where, lengths, home, torch.ones_like(home, dtype=torch.bool))


def _tried(model: LoadedModel, batch: Sequence[_Piece], captures: Sequence[Capture]) -> list[list[Forced]] | None:
    """Score a batch; None where it does not fit into memory."""
    try:
        with torch.inference_mode():
            return _scored(model, batch, captures)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler, so that the traceback no longer holds the tensors that did not fit.
    gc.collect()
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def _scored(model: LoadedModel, batch: Sequence[_Piece], captures: Sequence[Capture]) -> list[list[Forced]]:
    rows = _Pass(batch)
    accumulators = [Accumulator(capture, len(batch) + len(rows.edits)) for capture in captures]
    sites = [*(e.site for edits in rows.edits for e in edits), *(capture.site for capture in captures)]
    split = min((Site.parse(site).layer for site in sites), default=0) if model.shares_blocks else 0
    keep = 1 + max(len(piece.text.tokens) for piece in batch)
    padded = Padded(rows.ids, model.device)
    untouched = Instruments({}, accumulators, rows.feed(range(len(batch)), 0, padded.where))
    with instrumented(model, untouched):
        plain, residual = model.blocks.columns(padded.feed(), keep, split)
    edited: Tensor | None = None
    if rows.edits:
        owner = torch.tensor(rows.owner, device=model.device)
        slots = slots_by_site(rows.edits, model.device, model.dtype)
        feed = rows.feed(rows.owner, len(batch), padded.where[owner])
        with instrumented(model, Instruments(slots, accumulators, feed)):
            edited = _through(model.blocks, padded, owner, keep, split, residual)
    kept = [accumulator.result() for accumulator in accumulators]
    results: list[list[Forced]] = []
    for own, piece in enumerate(batch):
        places = [own, *(len(batch) + at for at, one in enumerate(rows.owner) if one == own)]
        span = slice(keep - 1 - len(piece.text.tokens), keep - 1)
        tokens = torch.tensor(piece.text.tokens, dtype=torch.long, device=model.device)
        settings = slice(places[1] - len(batch), places[-1] + 1 - len(batch)) if len(places) > 1 else slice(0)
        scores = token_scores(plain[own, span], (plain if edited is None else edited)[settings, span], tokens)
        results.append([Forced(one, tuple(k[place] for k in kept)) for one, place in zip(scores, places, strict=True)])
    return results


def _through(blocks: Blocks, padded: Padded, owner: Tensor, keep: int, split: int, residual: Tensor) -> Tensor:
    feed = {name: tensor[owner] for name, tensor in padded.feed().items()}
    if split:
        return blocks.columns_from(feed, keep, split, residual[owner])
    return blocks.columns(feed, keep, split)[0]


def _taken(todo: deque[_Piece], limit: int) -> list[_Piece]:
    """Take pieces off the front, up to a number of rows, but at least an untouched row and a setting."""
    batch: list[_Piece] = []
    room = max(limit, 2)
    while todo:
        piece = todo[0]
        if piece.rows > room:
            if batch:
                break
            first, rest = piece.settings[: room - 1], piece.settings[room - 1 :]
            todo[0] = _Piece(piece.place, piece.text, rest)
            return [_Piece(piece.place, piece.text, first)]
        batch.append(todo.popleft())
        room -= piece.rows
    return batch


def _rows_that_fit(model: LoadedModel, texts: Sequence[GivenText], captures: Sequence[Capture]) -> int:
    sizes, config = sizes_of(model), model.bridge.cfg
    tokens = max((len(text.tokens) for text in texts), default=0)
    positions = max((len(text.prompt) + len(text.tokens) for text in texts), default=0)
    item = sizes.item_bytes
    logits = 2 * (tokens + 1) * sizes.n_vocab * item + 16 * sizes.n_vocab
    attention = 3 * int(config.n_heads) * positions**2 * max(item, 4)
    activations = positions * (8 * model.shape.d_model + 4 * model.shape.d_mlp) * item
    cache = 2 * sizes.n_layers * sizes.kv_width * positions * item
    kept = sum(captured_bytes(Site.parse(c.site).width(model.shape), c.reduce, positions) for c in captures)
    needed = logits + attention + activations + cache + 2 * kept
    return rows_within(free_bytes(model.device), model.device.type, needed)


def _edits(texts: Sequence[GivenText]) -> list[Edit]:
    kinds: dict[Any, Edit] = {edit.kind: edit for text in texts for edits in text.settings for edit in edits}
    return list(kinds.values())


def _check_length(model: LoadedModel, text: GivenText) -> None:
    length = len(text.prompt) + len(text.tokens)
    if not text.prompt:
        raise ExplorerError("a text has no prompt to follow", remedy="give a prompt of at least one token")
    if length > model.shape.n_ctx:
        raise ExplorerError(
            f"a text of {length} tokens, its prompt included, does not fit this model's context ({model.shape.n_ctx})",
            remedy="shorten the text",
        )
