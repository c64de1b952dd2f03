"""What a model's logits say about tokens that are there, untouched and under settings, over the whole vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.model.arrays import array_of

_CHUNK_BYTES = 48 * 2**20
"""Bytes of log-probabilities that are there at once."""


@dataclass(frozen=True, eq=False)
class TokenScores:
    """How one text fares under one setting; every array has one number a token of the text, in its order.

    Args:
        logp: natural logarithm of the probability of the token that is there.
        rank: how many tokens are at least as probable, the token that is there included: 1 is the most probable.
        entropy: of the distribution it was drawn from, nats.
        lead: by how much the largest logit leads the second, whatever token is there.
        kl: KL(untouched || this setting) of the distributions, nats; 0 for the untouched model.
        shift: [vocab] change of each token id's log-probability, this setting minus untouched, summed over the tokens.
        mass: [vocab] each token id's probability, summed over the tokens.
    """

    logp: np.ndarray
    rank: np.ndarray
    entropy: np.ndarray
    lead: np.ndarray
    kl: np.ndarray
    shift: np.ndarray
    mass: np.ndarray


def token_scores(logits: Float[Tensor, "row token vocab"], tokens: Int[Tensor, " token"]) -> list[TokenScores]:
    """Compare the distributions of a text's tokens under settings with the untouched model's.

    KL(p || q) is the sum over the vocabulary of p (ln p - ln q) (Kullback and Leibler, 1951), here in float64 (float32
    where the device has none), so that what is below 0 by rounding alone is below 1e-12 and shown as 0.

    Args:
        logits: those the tokens were, or might have been, drawn from; the first row is the untouched model's.
        tokens: what is there.

    Returns:
        One a row.
    """
    n_rows, n_tokens, vocab = logits.shape
    precise = torch.float32 if logits.device.type == "mps" else torch.float64
    numbers = torch.zeros(5, n_rows, n_tokens, dtype=precise, device=logits.device)
    sums = torch.zeros(2, n_rows, vocab, dtype=precise, device=logits.device)
    step = max(1, _CHUNK_BYTES // (2 * n_rows * vocab * precise.itemsize))
    for start in range(0, n_tokens, step):
        part = slice(start, start + step)
        numbers[:, :, part] = _numbers(logits[:, part].to(precise), tokens[part], sums)
    found = array_of(numbers).astype(np.float64)
    return [
        TokenScores(logp, rank.astype(np.int64), entropy, lead, kl, shift, mass)
        for logp, rank, entropy, lead, kl, shift, mass in zip(*found, *array_of(sums), strict=True)
    ]


def _numbers(logits: Tensor, tokens: Tensor, sums: Tensor) -> Tensor:
    """Return [5, row, token] of logp, rank, entropy, lead and KL; add shift and mass to the sums [2, row, vocab]."""
    best = logits.topk(2, dim=-1).values
    there = tokens[None, :, None].expand(len(logits), -1, 1)
    rank = (logits >= logits.gather(-1, there)).sum(dim=-1)
    logp = logits.log_softmax(dim=-1)
    p = logp.exp()
    entropy = -torch.where(p > 0, p * logp, 0.0).sum(dim=-1)
    kl = torch.zeros_like(entropy)
    for row in range(1, len(logits)):
        # What both rule out has no change, where infinities would give NaN.
        change = torch.nan_to_num(logp[row] - logp[0], nan=0.0, posinf=torch.inf, neginf=-torch.inf)
        kl[row] = -torch.where(p[0] > 0, p[0] * change, 0.0).sum(dim=-1)
        sums[0, row] += change.sum(dim=0)
    sums[1] += p.sum(dim=1)
    own = logp.gather(-1, there)[..., 0]
    return torch.stack([own, rank.to(own), entropy, best[..., 0] - best[..., 1], kl.clamp(min=0.0)])


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
