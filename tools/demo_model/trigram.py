"""An interpolated trigram model of token ids, the baseline that the demo model is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ORDERS = 4  # uniform, unigram, bigram, trigram


@dataclass(frozen=True)
class _Counts:
    keys: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, keys: np.ndarray) -> _Counts:
        return cls(*np.unique(keys, return_counts=True))

    def at(self, keys: np.ndarray) -> np.ndarray:
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, self.counts[places], 0)


class Trigram:
    """Uniform, unigram, bigram and trigram frequencies mixed by how often the history was seen.

    p(c | a, b) = sum_k w_k(bucket of n(a, b)) p_k(c | a, b), after Jelinek and Mercer (1980); `fit` finds the weights
    by expectation maximisation on documents that are in neither the training nor the held-out part.

    Args:
        documents: token ids of the training documents.
        vocabulary: number of token ids.
        end: the id before and after every document.
    """

    def __init__(self, documents: Sequence[Sequence[int]], vocabulary: int, end: int) -> None:
        self.vocabulary, self.end = vocabulary, end
        first, second, third = self._triples(documents)
        pairs = first * vocabulary + second
        self.unigrams = np.bincount(third, minlength=vocabulary)
        self.bigrams = _Counts.of(second * vocabulary + third)
        self.bigram_histories = np.bincount(second, minlength=vocabulary)
        self.trigrams = _Counts.of(pairs * vocabulary + third)
        self.trigram_histories = _Counts.of(pairs)
        self.weights = np.full((self._bucket(np.array([1 << 40])).item() + 1, ORDERS), 1 / ORDERS)

    def _triples(self, documents: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        flat = np.fromiter((token for ids in documents for token in (self.end, self.end, *ids, self.end)), np.int64)
        starts = np.cumsum([0] + [len(ids) + 3 for ids in documents[:-1]])
        kept = np.ones(len(flat), dtype=bool)
        kept[starts] = kept[starts + 1] = False
        places = np.flatnonzero(kept)
        return flat[places - 2], flat[places - 1], flat[places]

    def _bucket(self, counts: np.ndarray) -> np.ndarray:
        return np.minimum(np.ceil(np.log2(counts + 1)).astype(int), 12)

    def _parts(self, documents: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Give each order's probability [token, order] and the history's bucket [token]."""
        first, second, third = self._triples(documents)
        pairs = first * self.vocabulary + second
        history = self.trigram_histories.at(pairs)
        columns = [
            np.full(len(third), 1 / self.vocabulary),
            self.unigrams[third] / self.unigrams.sum(),
            self.bigrams.at(second * self.vocabulary + third) / np.maximum(self.bigram_histories[second], 1),
            self.trigrams.at(pairs * self.vocabulary + third) / np.maximum(history, 1),
        ]
        return np.stack(columns, axis=1), self._bucket(history)

    def fit(self, documents: Sequence[Sequence[int]], rounds: int = 60) -> None:
        """Fit the weights of every bucket by expectation maximisation."""
        parts, buckets = self._parts(documents)
        for _ in range(rounds):
            shares = parts * self.weights[buckets]
            shares /= shares.sum(axis=1, keepdims=True)
            for bucket in np.unique(buckets):
                self.weights[bucket] = shares[buckets == bucket].mean(axis=0)

    def loss(self, documents: Sequence[Sequence[int]]) -> tuple[float, int]:
        """Sum the negative log-probability, in nats, and count the tokens, the end of each document among them."""
        parts, buckets = self._parts(documents)
        return float(-np.log((parts * self.weights[buckets]).sum(axis=1)).sum()), len(parts)
