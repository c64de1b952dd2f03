"""Losses on held-out documents, and greedy continuations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase

PROMPTS = (
    "Someone knocked on the door. She looked through the peephole and saw",
    "If it rains, the street gets wet. It rains. Therefore",
    "It seemed that somebody might be near the door.",
)


@dataclass(frozen=True)
class Score:
    """Summed negative log-probability, in nats, over a number of tokens."""

    total: float
    tokens: int

    @property
    def loss(self) -> float:
        """Mean nats a token."""
        return self.total / self.tokens

    @property
    def perplexity(self) -> float:
        """Exponential of the mean loss."""
        return math.exp(self.loss)

    def __add__(self, other: Score) -> Score:
        return Score(self.total + other.total, self.tokens + other.tokens)


def tokenise(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> list[list[int]]:
    """Give the token ids of each document, nothing added."""
    return tokenizer(list(documents), add_special_tokens=False, verbose=False)["input_ids"]


def fitting(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> list[str]:
    """Leave out the documents that the model's context could not hold in one piece, an end token on each side."""
    rows = tokenise(tokenizer, documents)
    return [text for text, ids in zip(documents, rows, strict=True) if len(ids) < tokenizer.model_max_length]


@torch.inference_mode()
def score(model: GPT2LMHeadModel, documents: Sequence[Sequence[int]], end: int) -> Score:
    """Score the documents' tokens and their ends, each document alone after `end`."""
    model.eval()
    result = Score(0.0, 0)
    rows = sorted(([end, *ids, end] for ids in documents), key=len)
    for start in range(0, len(rows), 64):
        block = rows[start : start + 64]
        width = max(map(len, block))
        ids = torch.tensor([row + [end] * (width - len(row)) for row in block])
        labels = torch.tensor([row + [-100] * (width - len(row)) for row in block])
        logits = model(ids[:, :-1]).logits.float()
        total = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
        result += Score(total.item(), sum(len(row) - 1 for row in block))
    return result


@torch.inference_mode()
def continuation(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: int = 50) -> str:
    """Continue a prompt greedily, up to the end that the model writes, and give what it wrote."""
    model.eval()
    ids = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]])
    given = ids.shape[1]
    for _ in range(tokens):
        chosen = model(ids[:, -model.config.n_positions :]).logits[0, -1].argmax().view(1, 1)
        if chosen.item() == model.config.eos_token_id:
            break
        ids = torch.cat([ids, chosen], dim=1)
    return tokenizer.decode(ids[0, given:].tolist())
