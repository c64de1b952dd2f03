"""Teacher forcing: given tokens go through the model in one pass, untouched and under every setting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from srm_explorer.engine.errors import ExplorerError, is_out_of_memory
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.model.blocks import Blocks
from srm_explorer.engine.model.capture import Accumulator, Capture
from srm_explorer.engine.model.decoding import Padded, sizes_of
from srm_explorer.engine.model.device import array_of, release_memory
from srm_explorer.engine.model.edits import Edit, slots_by_site
from srm_explorer.engine.model.hooks import Feed, HookState, instrumented
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.runs.plan import captured_bytes, rows_within

_CHUNK_BYTES = {"cpu": 16 * 2**20, "cuda": 512 * 2**20}
"""Bytes of log-probabilities that are there at once: what a processor's cache nearly holds, what keeps a GPU busy."""

_IMPOSSIBLE = -1e30
"""Stands for a logit of minus infinity, so that what both rule out has no change where infinities would give NaN."""


@dataclass(frozen=True, eq=False)
class TokenScores:
    """How one text fares under one setting; every array has one number a token of the text, in its order.

    Args:
        logp: natural logarithm of the probability of the token that is there.
        rank: how many tokens are at least as probable, the token that is there included: 1 is the most probable.
        entropy: of the distribution it was drawn from, nats.
        lead: by how much the untouched model's largest logit leads its second, whatever token is there.
        kl: KL(untouched || this setting) of the distributions, nats; 0 for the untouched model.
        shift: [vocab] change of each token id's log-probability, this setting minus untouched, summed over the tokens.
        mass: [vocab] each token id's probability, summed over the tokens.
        watched: [2, token, id] logit and log-probability of the token ids that were asked for, whatever is there.
    """

    logp: np.ndarray
    rank: np.ndarray
    entropy: np.ndarray
    lead: np.ndarray
    kl: np.ndarray
    shift: np.ndarray
    mass: np.ndarray
    watched: np.ndarray


def token_scores(
    untouched: Float[Tensor, "token vocab"],
    edited: Float[Tensor, "setting token vocab"],
    tokens: Int[Tensor, " token"],
    watched: Sequence[int] = (),
) -> list[TokenScores]:
    """Compare the distributions of a text's tokens under settings with the untouched model's.

    KL(p || q) = -H(p) - sum p ln q (Kullback and Leibler, 1951), over the whole vocabulary and in float64 (float32
    where the device has none), so that what is below 0 by rounding alone is below 1e-12 and shown as 0.

    Args:
        untouched: logits that the tokens were, or might have been, drawn from.
        edited: the same under each setting.
        tokens: what is there.
        watched: token ids whose logits and log-probabilities are kept.

    Returns:
        The untouched model's, then one a setting.
    """
    n_rows, (n_tokens, vocab), device = 1 + len(edited), untouched.shape, untouched.device
    precise = torch.float32 if device.type == "mps" else torch.float64
    numbers = torch.zeros(5, n_rows, n_tokens, dtype=precise, device=device)
    sums = torch.zeros(2, n_rows, vocab, dtype=precise, device=device)
    ids = torch.tensor(watched, dtype=torch.long, device=device)
    kept = torch.zeros(2, n_rows, n_tokens, len(ids), dtype=precise, device=device)
    step = max(1, _CHUNK_BYTES.get(device.type, _CHUNK_BYTES["cpu"]) // (n_rows * vocab * precise.itemsize))
    for start in range(0, n_tokens, step):
        part = slice(start, start + step)
        logits = torch.cat([untouched[None, part], edited[:, part]])
        logits.clamp_(min=max(_IMPOSSIBLE, torch.finfo(logits.dtype).min))
        numbers[:, :, part], kept[:, :, part] = _numbers(logits, tokens[part], sums, ids)
    sums[0] -= sums[0, :1].clone()
    arrays, of_watched = array_of(numbers).astype(np.float64), array_of(kept.transpose(0, 1)).astype(np.float64)
    return [
        TokenScores(logp, rank.astype(np.int64), entropy, lead, kl, shift, mass, at_watched)
        for logp, rank, entropy, lead, kl, shift, mass, at_watched in zip(
            *arrays, *array_of(sums), of_watched, strict=True
        )
    ]


def _numbers(logits: Tensor, tokens: Tensor, sums: Tensor, watched: Tensor) -> tuple[Tensor, Tensor]:
    """Return [5, row, token] of logp, rank, entropy, lead and KL, and [2, row, token, id] of what is watched.

    Log p and p are added to the sums [2, row, vocab].
    """
    there = tokens[None, :, None].expand(len(logits), -1, 1)
    rank = (logits >= logits.gather(-1, there)).sum(dim=-1)
    best = logits[0].topk(2, dim=-1).values
    logp = logits.to(sums.dtype).log_softmax(dim=-1)
    p = logp.exp()
    entropy = -torch.einsum("rtv,rtv->rt", p, logp)
    kl = -entropy[0] - torch.einsum("tv,rtv->rt", p[0], logp)
    kl[0] = 0.0
    sums[0] += logp.sum(dim=1)
    sums[1] += p.sum(dim=1)
    actual = logp.gather(-1, there)[..., 0]
    lead = (best[:, 0] - best[:, 1]).to(actual).expand_as(actual)
    numbers = torch.stack([actual, rank.to(actual), entropy, lead, kl.clamp(min=0.0)])
    return numbers, torch.stack([logits[..., watched].to(actual), logp[..., watched]])


def top_tokens(shift: np.ndarray, most: int) -> tuple[Sequence[int], Sequence[int]]:
    """List the token ids whose sums rose the most, and those whose sums fell the most, the first the farthest.

    Args:
        shift: [vocab] of `TokenScores.shift`, or a sum of several.
        most: ids of each list, at most.

    Returns:
        ids that rose, ids that fell; fewer where fewer did.
    """
    most = min(most, len(shift))
    ends = np.argpartition(shift, [most - 1, len(shift) - most]) if most else np.empty(0, np.int64)
    fell, rose = ends[:most], ends[len(ends) - most :]
    fell, rose = fell[np.argsort(shift[fell], kind="stable")], rose[np.argsort(-shift[rose], kind="stable")]
    return rose[shift[rose] > 0].tolist(), fell[shift[fell] < 0].tolist()


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

    @property
    def length(self) -> int:
        """Tokens of the prompt and of what follows it."""
        return len(self.prompt) + len(self.tokens)


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
    watched: Sequence[int] = (),
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
        watched: token ids whose logit and log-probability are kept at every token of a text.
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
    order = sorted(range(len(texts)), key=lambda index: len(texts[index].prompt) + len(texts[index].tokens))
    todo = deque(_Piece(index, texts[index], tuple(range(len(texts[index].settings)))) for index in order)
    limit = rows or _rows_that_fit(model, texts, captures)
    partial: dict[int, dict[int, Forced]] = {}
    while todo:
        batch = _taken(todo, limit, pads=model.pads)
        n_rows = sum(piece.rows for piece in batch)
        scored = _tried(model, batch, captures, watched)
        if scored is None:
            if n_rows <= 2:
                raise ExplorerError(
                    "one text alone does not fit into memory",
                    where=str(model.device),
                    remedy="shorten the texts, or choose a smaller dtype or model",
                )
            limit = max(1, n_rows // 2)
            todo.extendleft(reversed(batch))
            continue
        for piece, forced in zip(batch, scored, strict=True):
            known = partial.setdefault(piece.index, {-1: forced[0]})
            known.update(zip(piece.settings, forced[1:], strict=True))
            if len(known) == 1 + len(piece.text.settings):
                del partial[piece.index]
                yield piece.index, [known[setting] for setting in sorted(known)]
        if on_pass:
            on_pass(n_rows, sum(piece.rows * len(piece.text.tokens) for piece in batch))


@dataclass(frozen=True)
class _Piece:
    """A text and some of its settings."""

    index: int
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
        for index, piece in enumerate(self.pieces):
            self.ids.append((*piece.text.prompt, *piece.text.tokens))
            self.edits.extend(piece.text.settings[setting] for setting in piece.settings)
            self.owner.extend(index for _ in piece.settings)

    def feed(self, owner: Sequence[int], first: int, positions: Tensor) -> Feed:
        """Tell the hooks of rows that go through: whose prompts they have, and which of the batch's rows they are."""
        device = positions.device
        lengths = torch.tensor([len(self.pieces[index].text.prompt) for index in owner], device=device)
        home = torch.arange(first, first + len(owner), device=device)
        return Feed(positions, lengths, home, torch.ones_like(home, dtype=torch.bool))


def _tried(
    model: LoadedModel, batch: Sequence[_Piece], captures: Sequence[Capture], watched: Sequence[int]
) -> list[list[Forced]] | None:
    """Score a batch; None where it does not fit into memory."""
    try:
        with torch.inference_mode():
            return _scored(model, batch, captures, watched)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler, so that the traceback no longer holds the tensors that did not fit.
    release_memory()
    return None


def _scored(
    model: LoadedModel, batch: Sequence[_Piece], captures: Sequence[Capture], watched: Sequence[int]
) -> list[list[Forced]]:
    rows = _Pass(batch)
    prompts = [batch[index].text.prompt for index in (*range(len(batch)), *rows.owner)]
    accumulators = [Accumulator(capture, prompts, model.device) for capture in captures]
    sites = [*(e.site for edits in rows.edits for e in edits), *(capture.site for capture in captures)]
    split = min((Site.parse(site).layer for site in sites), default=0) if model.shares_blocks else 0
    keep = 1 + max(len(piece.text.tokens) for piece in batch)
    padded = Padded(rows.ids, model.device)
    untouched = HookState({}, accumulators, rows.feed(range(len(batch)), 0, padded.positions))
    with instrumented(model, untouched):
        plain, residual = model.blocks.columns(padded.feed(), keep, split)
    edited: Tensor | None = None
    if rows.edits:
        owner = torch.tensor(rows.owner, device=model.device)
        slots = slots_by_site(rows.edits, model.device, model.dtype)
        feed = rows.feed(rows.owner, len(batch), padded.positions[owner])
        with instrumented(model, HookState(slots, accumulators, feed)):
            edited = _through(model.blocks, padded, owner, keep, split, residual)
    kept = [accumulator.result() for accumulator in accumulators]
    results: list[list[Forced]] = []
    for index, piece in enumerate(batch):
        places = [index, *(len(batch) + at for at, number in enumerate(rows.owner) if number == index)]
        span = slice(keep - 1 - len(piece.text.tokens), keep - 1)
        tokens = torch.tensor(piece.text.tokens, dtype=torch.long, device=model.device)
        settings = slice(places[1] - len(batch), places[-1] + 1 - len(batch)) if len(places) > 1 else slice(0)
        under = (plain if edited is None else edited)[settings, span]
        scores = token_scores(plain[index, span], under, tokens, watched)
        results.append([Forced(score, tuple(k[row] for k in kept)) for score, row in zip(scores, places, strict=True)])
    return results


def _through(blocks: Blocks, padded: Padded, owner: Tensor, keep: int, split: int, residual: Tensor) -> Tensor:
    feed = {name: tensor[owner] for name, tensor in padded.feed().items()}
    if split:
        return blocks.columns_from(feed, keep, split, residual[owner])
    return blocks.columns(feed, keep, split)[0]


def _taken(todo: deque[_Piece], limit: int, *, pads: bool) -> list[_Piece]:
    """Take pieces off the front, up to a number of rows, but at least an untouched row and a setting."""
    batch: list[_Piece] = []
    room = max(limit, 2)
    while todo:
        piece = todo[0]
        if batch and not pads and piece.text.length != batch[0].text.length:
            break
        if piece.rows > room:
            if batch:
                break
            first, rest = piece.settings[: room - 1], piece.settings[room - 1 :]
            todo[0] = _Piece(piece.index, piece.text, rest)
            return [_Piece(piece.index, piece.text, first)]
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
    kept = sum(captured_bytes(model.shape.width(Site.parse(c.site)), c.reduce, positions) for c in captures)
    needed = logits + attention + activations + cache + 2 * kept
    return rows_within(model.placement.free_bytes(), model.device.type, needed)


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
