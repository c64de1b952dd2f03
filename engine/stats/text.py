"""What texts are like: where one departs from another, how much one repeats itself, which are nearly the same."""

from __future__ import annotations

import functools
import math
import re
import zlib
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRAM = 4
"""Tokens of the n-grams whose repetition tells a loop."""


def first_divergence(tokens: Sequence[int], other: Sequence[int]) -> int | None:
    """The first token at which two continuations differ, from 0; where one ends first, its length; None if equal."""
    shorter = min(len(tokens), len(other))
    for index in range(shorter):
        if tokens[index] != other[index]:
            return index
    return None if len(tokens) == len(other) else shorter


def distinct_share(tokens: Sequence[Hashable], n: int) -> float:
    """Different n-grams over all n-grams of a text (distinct-n, Li et al. 2016); NaN for a text shorter than n."""
    grams = _grams(tokens, n)
    return len(set(grams)) / len(grams) if grams else math.nan


def repeated_share(tokens: Sequence[Hashable], n: int = GRAM) -> float:
    """The share of a text's n-grams that stood in it before: 1 minus distinct-n; NaN for a text shorter than n."""
    return 1.0 - distinct_share(tokens, n)


def token_entropy(tokens: Sequence[Hashable]) -> float:
    """Entropy of a text's own frequencies of tokens, nats: 0 for one token over and over; NaN for an empty text.

    It grows with the length of the text, ln(length) at most: compare texts of one length.
    """
    if not tokens:
        return math.nan
    shares = np.array(list(Counter(tokens).values()), np.float64) / len(tokens)
    return float(-(shares * np.log(shares)).sum()) + 0.0


def longest_run(tokens: Sequence[Hashable]) -> int:
    """How often, at most, one token stands in a row; 0 for an empty text."""
    return max((len(list(same)) for _, same in groupby(tokens)), default=0)


def text_metrics(tokens: Sequence[Hashable]) -> dict[str, float]:
    """Everything above about one text, by name, where it is a number; of its tokens, or of its words.

    Names: `distinct_1`, `distinct_2` shares of different tokens and pairs; `repeated_4` share of 4-grams that stood
    there before; `token_entropy` nats; `longest_run` tokens.
    """
    metrics = {
        "distinct_1": distinct_share(tokens, 1),
        "distinct_2": distinct_share(tokens, 2),
        f"repeated_{GRAM}": repeated_share(tokens),
        "token_entropy": token_entropy(tokens),
        "longest_run": float(longest_run(tokens)),
    }
    return {name: value for name, value in metrics.items() if math.isfinite(value)} if tokens else {}


def compression_ratio(text: str, piece: int = 0) -> float:
    """Bytes of a text, in UTF-8, over those that zlib makes of them: 1 and less for a text that repeats nothing.

    The gzip compression ratio of Radford et al. 2022 (Whisper), above 2.4 there for what loops. It grows with the
    length of a text that repeats itself: compare texts that are as long, or pieces of one length.

    Args:
        piece: bytes; the mean over the text's pieces of so many, what is left at the end aside unless it is all there
            is. 0 for the whole text at once.

    Returns:
        NaN for an empty text.
    """
    content = text.encode("utf-8", "surrogatepass")
    if not content:
        return math.nan
    size = piece or len(content)
    starts = range(0, max(1, len(content) - size + 1), size)
    pieces = [content[start : start + size] for start in starts]
    return sum(len(part) / len(zlib.compress(part)) for part in pieces) / len(pieces)


SHINGLE = 5
"""Characters of the pieces that two texts may share."""
ALIKE = 0.6
"""Resemblance from which two texts are near-duplicates: one word in ten is another, say."""
MOST_COMPARED = 1_000
"""Texts that are compared with each other; of more, only those are found that are equal but for case and spaces."""
# Rows of the table of shared shingles at a time: 1 MB.
ROWS_AT_A_TIME = 256


@functools.lru_cache(maxsize=8)
def near_duplicates(texts: tuple[str, ...], units: tuple[int, ...] = ()) -> tuple[tuple[int, int], ...]:
    """Each text that resembles one of another unit at least `ALIKE`, with the one it resembles most, as places.

    Resemblance is the number of different shingles that two texts share over the number that either has (Broder 1997),
    a shingle being five characters in a row of the text in one case, without punctuation, its white space single
    blanks: texts that differ in nothing else have a resemblance of 1.

    Args:
        units: [text] the unit each belongs to: its like within its unit is no news. By default each is its own.
    """
    # Here, since a session is read before the first frame, and this is needed after it.
    from scipy import sparse as _sparse  # pyright: ignore[reportMissingTypeStubs]

    sparse: Any = _sparse
    of = np.array(units or range(len(texts)), np.int64)
    reduced = [_reduced(text) for text in texts]
    if len(texts) > MOST_COMPARED:
        return _equal(reduced, of.tolist())
    columns: dict[str, int] = {}
    shingles = [sorted({columns.setdefault(s, len(columns)) for s in _shingles(text)}) for text in reduced]
    sizes = np.array([len(row) for row in shingles], np.int64)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    members = np.array([column for row in shingles for column in row], np.int64)
    shape = (len(texts), max(1, len(columns)))
    table = sparse.csr_matrix((np.ones(len(members), np.float32), members, ends), shape=shape)
    nearest: list[tuple[int, int]] = []
    for start in range(0, len(texts), ROWS_AT_A_TIME):
        shared: NDArray[np.float32] = (table[start : start + ROWS_AT_A_TIME] @ table.T).toarray()
        rows = slice(start, start + len(shared))
        resemblance = shared / (sizes[rows, None] + sizes - shared)
        resemblance[of[rows, None] == of] = 0.0
        best = resemblance.argmax(axis=1)
        alike = np.flatnonzero(resemblance.max(axis=1) >= ALIKE)
        nearest += zip((alike + start).tolist(), best[alike].tolist(), strict=True)
    return tuple(nearest)


def _equal(reduced: list[str], units: list[int]) -> tuple[tuple[int, int], ...]:
    places: dict[str, list[int]] = {}
    for at, text in enumerate(reduced):
        places.setdefault(text, []).append(at)
    others = [
        (at, next((other for other in alike if units[other] != units[at]), -1))
        for alike in places.values()
        for at in alike
        if len(alike) > 1
    ]
    return tuple(sorted((at, other) for at, other in others if other >= 0))


def _reduced(text: str) -> str:
    """A text in one case, its words parted by single blanks; as it is where it has no word."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text


def _shingles(text: str) -> set[str]:
    return {text[at : at + SHINGLE] for at in range(max(1, len(text) - SHINGLE + 1))}


def _grams(tokens: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))
