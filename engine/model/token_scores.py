"""What a model's logits say about tokens that are there, untouched and under settings, over the whole vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.model.arrays import array_of

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
    """

    logp: np.ndarray
    rank: np.ndarray
    entropy: np.ndarray
    lead: np.ndarray
    kl: np.ndarray
    shift: np.ndarray
    mass: np.ndarray


def token_scores(
    untouched: Float[Tensor, "token vocab"],
    edited: Float[Tensor, "setting token vocab"],
    tokens: Int[Tensor, " token"],
) -> list[TokenScores]:
    """Compare the distributions of a text's tokens under settings with the untouched model's.

    KL(p || q) = -H(p) - sum p ln q (Kullback and Leibler, 1951), over the whole vocabulary and in float64 (float32
    where the device has none), so that what is below 0 by rounding alone is below 1e-12 and shown as 0.

    Args:
        untouched: logits that the tokens were, or might have been, drawn from.
        edited: the same under each setting.
        tokens: what is there.

    Returns:
        The untouched model's, then one a setting.
    """
    n_rows, (n_tokens, vocab), device = 1 + len(edited), untouched.shape, untouched.device
    precise = torch.float32 if device.type == "mps" else torch.float64
    numbers = torch.zeros(5, n_rows, n_tokens, dtype=precise, device=device)
    sums = torch.zeros(2, n_rows, vocab, dtype=precise, device=device)
    step = max(1, _CHUNK_BYTES.get(device.type, _CHUNK_BYTES["cpu"]) // (n_rows * vocab * precise.itemsize))
    for start in range(0, n_tokens, step):
        part = slice(start, start + step)
        logits = torch.cat([untouched[None, part], edited[:, part]]).clamp_(min=_IMPOSSIBLE)
        numbers[:, :, part] = _numbers(logits, tokens[part], sums)
    sums[0] -= sums[0, :1].clone()
    found = array_of(numbers).astype(np.float64)
    return [
        TokenScores(logp, rank.astype(np.int64), entropy, lead, kl, shift, mass)
        for logp, rank, entropy, lead, kl, shift, mass in zip(*found, *array_of(sums), strict=True)
    ]


def _numbers(logits: Tensor, tokens: Tensor, sums: Tensor) -> Tensor:
    """Return [5, row, token] of logp, rank, entropy, lead and KL; add log p and p to the sums [2, row, vocab]."""
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
    own = logp.gather(-1, there)[..., 0]
    lead = (best[:, 0] - best[:, 1]).to(own).expand_as(own)
    return torch.stack([own, rank.to(own), entropy, lead, kl.clamp(min=0.0)])


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
