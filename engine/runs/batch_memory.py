"""What a batch needs of memory, by arithmetic on sizes alone."""

from __future__ import annotations

from dataclasses import dataclass

# On a processor, more rows than these make matrix products no faster; small batches lose less to a crash.
MOST_ROWS = {"cpu": 96, "mps": 256, "cuda": 1024}
CPU_BUDGET = 700 * 2**20
"""Bytes that a batch may take on a processor or a shared memory, however much is free."""

ITEM_BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
"""Bytes of one number in each precision that a model may have."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model that decide what a row needs.

    Args:
        kv_width: heads that keep keys and values, times their width.
        d_mlp: number of neurons of one MLP.
    """

    n_layers: int
    kv_width: int
    d_mlp: int
    n_vocab: int
    item_bytes: int

    def row_bytes(self, positions: int, kept: int) -> int:
        """Estimate what one row of a batch needs at its longest: cache, logits, activations, captures.

        Args:
            positions: tokens of the prompt and of what is generated.
            kept: bytes of what is captured of a row.
        """
        cache = 2 * self.n_layers * self.kv_width * positions * self.item_bytes
        logits = 4 * self.n_vocab * 4
        activations = 8 * self.d_mlp * self.item_bytes
        # A cache grows by concatenation and is copied when rows part: for an instant, layers of it are there twice.
        return int(1.3 * cache) + logits + activations + kept


def captured_bytes(width: int, reduce: str, positions: int) -> int:
    """Bytes that the capture of one site keeps of a row: sums in float64, or every token in float32.

    Args:
        width: coordinates of the site.
        reduce: "mean", "last", "tokens" or "moments".
        positions: tokens of the prompt and of what is generated.
    """
    return width * (4 * positions if reduce == "tokens" else 16 if reduce == "moments" else 8)


def rows_within(free: float, kind: str, row_bytes: int) -> int:
    """Choose the most rows of a batch, at least 1.

    Args:
        free: bytes that can still be allocated.
        kind: "cpu", "mps" or "cuda".
        row_bytes: what one row needs.
    """
    budget = 0.6 * free if kind == "cuda" else min(0.5 * free, CPU_BUDGET)
    return max(1, min(MOST_ROWS[kind], int(budget // row_bytes)))
