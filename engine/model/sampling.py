"""Choosing the next token: greedy, or by noise that every condition shares."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class NoiseKey:
    """Names one stream of sampling noise; the condition is no part of it, so conditions share their noise.

    Args:
        seed: the experiment's seed.
        prompt: hash of the prompt's token ids.
        occurrence: 0 for the first prompt with these ids, 1 for its first duplicate, and so on.
        sample: index of the sample.
    """

    seed: int
    prompt: str
    occurrence: int
    sample: int

    def gumbel(self, step: int, vocabulary: int) -> np.ndarray:
        """Draw the noise of one step.

        Args:
            step: index of the token to be chosen, from 0.
            vocabulary: number of token ids.

        Returns:
            [vocabulary] float32 standard Gumbel noise, a function of the key, the step and the token id alone
            (Philox 4x64, Salmon et al. 2011, keyed by a SHA-256).
        """
        name = f"{self.seed}|{self.prompt}|{self.occurrence}|{self.sample}|{step}"
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
        raw = np.random.Philox(key=key).random_raw(vocabulary)
        # 52 bits and a half: exact in float64, so never 0 or 1.
        uniform = ((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        return (-np.log(-np.log(uniform))).astype(np.float32)


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen from the logits.

    Args:
        greedy: take the largest logit; the rest is then unused.
        temperature: divides the logits.
        top_k: only the k largest logits can be chosen; 0 for all.
        top_p: only the smallest set of largest probabilities that reaches this sum; 1 for all.
    """

    greedy: bool = True
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def scores(
        self, logits: Float[Tensor, "row vocab"], noise: Float[Tensor, "row vocab"] | None
    ) -> Float[Tensor, "row vocab"]:
        """Turn logits into scores whose largest is the token (the Gumbel-max trick, Gumbel 1954)."""
        logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        if self.greedy:
            return logits
        assert noise is not None, "sampling needs noise"
        scaled = logits / self.temperature
        if 0 < self.top_k < scaled.shape[-1]:
            smallest_kept = scaled.topk(self.top_k, dim=-1).values[:, -1:]
            scaled = scaled.masked_fill(scaled < smallest_kept, -torch.inf)
        if self.top_p < 1.0:
            ordered, order = scaled.sort(dim=-1, descending=True)
            chances = ordered.softmax(dim=-1)
            del ordered  # each of these is as large as all logits
            before = chances.cumsum(dim=-1).sub_(chances)
            dropped = torch.zeros_like(scaled, dtype=torch.bool).scatter(-1, order, before >= self.top_p)
            scaled = scaled.masked_fill(dropped, -torch.inf)
        return scaled + noise


_STRETCH = 512
"""Token ids that are looked at together: the largest of a stretch is found fast, where it stands only in the best."""


def best_and_margin(scores: Float[Tensor, "row vocab"]) -> tuple[Int[Tensor, " row"], Float[Tensor, " row"]]:
    """Find the best token of each row, the first of equal ones, and by how much it beats the second best."""
    width = scores.shape[-1]
    whole = width // _STRETCH
    if whole < 2:
        return _best_and_margin(scores.clone())
    long: Any = scores[:, : whole * _STRETCH]
    tops: Tensor = long.unflatten(1, (whole, _STRETCH)).amax(dim=-1)
    if width % _STRETCH:
        tops = torch.cat([tops, scores[:, whole * _STRETCH :].amax(dim=-1, keepdim=True)], dim=1)
    stretch = tops.argmax(dim=-1, keepdim=True)
    # The last stretch may be short; with what comes before it, its best token is still the first of the best.
    begin = (stretch * _STRETCH).clamp(max=width - _STRETCH)
    columns = begin + torch.arange(_STRETCH, device=scores.device)
    near = scores.gather(1, columns)
    place = near.argmax(dim=-1, keepdim=True)
    lead = near.gather(1, place)
    near.scatter_(1, place, -torch.inf)
    tops.scatter_(1, stretch, -torch.inf)
    second = torch.maximum(tops.amax(dim=-1), near.amax(dim=-1))
    return (begin + place)[:, 0], lead[:, 0] - second


def _best_and_margin(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Find the same by looking at everything twice; overwrites `scores`."""
    best = scores.argmax(dim=-1, keepdim=True)
    lead = scores.gather(-1, best)
    scores.scatter_(-1, best, -torch.inf)
    return best[:, 0], lead[:, 0] - scores.amax(dim=-1)
