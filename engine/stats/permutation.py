"""Permutation tests on units: how often chance alone, acting on whole units, does as much."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

PERMUTATIONS = 10_000
# Equal statistics computed in another order differ by round-off; they count as reached.
AS_LARGE = 1.0 - 1e-9
FEWEST_UNITS = 2
"""That a p can be of: the only pattern beside one unit's own is its mirror image."""
# Numbers held at a time while many hypotheses are tested: 64 MB.
CHUNK = 8_000_000


@dataclass(frozen=True, eq=False)
class SignFlips:
    """What `sign_flip_test` found.

    Attributes:
        p: [hypothesis] or a single number; 1 where every value is zero, NaN where fewer than two units take part.
        flips: how many sign patterns were tried; all of them where exact.
        exact: whether every pattern was tried.
    """

    p: NDArray[np.float64]
    flips: int
    exact: bool
    units: int


def sign_flip_test(values: ArrayLike, flips: int = PERMUTATIONS, seed: int = 0) -> SignFlips:
    """Test that paired differences are symmetric around zero, by flipping the signs of whole units.

    The statistic is Hotelling's ``s' M^-1 s`` with s the sum over units and M their second moment, which no flip
    changes: a joint test of all k coordinates. Fisher 1935; p = (1 + reached) / (1 + flips) after Hemerik and Goeman
    2018.

    Args:
        values: [unit, k] a difference of every unit, or [unit, hypothesis, k] for many hypotheses at once, under the
            same flips. A unit with an entry that is not finite takes no part in that hypothesis.
        flips: random sign patterns; where 2^units is no more than this, all patterns are tried instead.
    """
    array = np.asarray(values, np.float64)
    table = array[:, None, :] if array.ndim == 2 else array
    known = np.isfinite(table.sum(axis=2))
    table = np.where(known[:, :, None], table, 0.0)
    taking_part = np.count_nonzero(known, axis=1) > 0
    table = table[taking_part]
    signs, exact = sign_patterns(len(table), flips, seed)
    p = np.ones(table.shape[1])
    step = max(1, CHUNK // max(1, len(signs) * table.shape[2]))
    rows = max(1, CHUNK // max(1, len(table)))
    for start in range(0, table.shape[1], step):
        part = table[:, start : start + step]
        # Every hypothesis is whitened by its own second moment, so the statistic is a plain sum of squares.
        whitened = np.stack([_whitened(part[:, index]) for index in range(part.shape[1])], axis=1)
        observed: NDArray[np.float64] = (whitened.sum(axis=0) ** 2).sum(axis=1)
        columns = whitened.shape[1] * whitened.shape[2]
        flat = whitened.reshape(len(table), columns)
        products = [signs[at : at + rows].astype(np.float64) @ flat for at in range(0, len(signs), rows)]
        sums = np.concatenate(products).reshape(len(signs), *whitened.shape[1:])
        reached: NDArray[np.int64] = ((sums**2).sum(axis=2) >= observed * AS_LARGE).sum(axis=0)
        p[start : start + step] = reached / len(signs) if exact else (1 + reached) / (1 + len(signs))
    p[np.count_nonzero(known, axis=0) < FEWEST_UNITS] = np.nan
    return SignFlips(p[0] if array.ndim == 2 else p, len(signs), exact, int(taking_part.sum()))


def sign_patterns(units: int, flips: int, seed: int) -> tuple[NDArray[np.int8], bool]:
    """Sign patterns [pattern, unit] of +1 and -1, and whether they are all there are."""
    if 2**units <= flips:
        return np.array(list(product((1, -1), repeat=units)), np.int8).reshape(2**units, units), True
    return 1 - 2 * np.random.default_rng(seed).integers(0, 2, size=(flips, units), dtype=np.int8), False


def _whitened(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[unit, k] values in whose coordinates the second moment is the identity, or 0 along directions without values."""
    _, singular, right = np.linalg.svd(values, full_matrices=False)
    kept = singular > 1e-12 * singular.max(initial=0.0)
    scale = np.where(kept, 1.0 / np.where(kept, singular, 1.0), 0.0)
    return values @ (right.T * scale)


# Permuted values held at a time: 16 MB, whatever the number of permutations.
CHUNK_ELEMENTS = 4_000_000

Permuted: TypeAlias = NDArray[np.float32]
"""[draw, row] values after each of some permutations."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Which rows a permutation may exchange: whole blocks, slot to slot, among blocks that match.

    Blocks match when they belong to one group and hold the same slots; the blocks of a class are exchangeable when what
    is tested is false. Rows whose block matches no other never move.

    Attributes:
        rows: how many rows there are.
        classes: each [class, member, slot] row indices: the members of a class change places with one another.
    """

    rows: int
    classes: tuple[NDArray[np.int64], ...]

    @property
    def moves(self) -> bool:
        return bool(self.classes)

    @property
    def moving_rows(self) -> int:
        """How many rows some permutation moves."""
        return sum(int(rows.size) for rows in self.classes)

    @property
    def order(self) -> NDArray[np.int64]:
        """[moving_row] the rows that move, in the order of `permuted`."""
        return np.concatenate([rows.ravel() for rows in self.classes] or [np.empty(0, np.int64)])

    def permuted(
        self, values: Sequence[NDArray[np.float32]], number: int, rng: np.random.Generator
    ) -> Iterator[list[Permuted]]:
        """Draw permutations of the rows that move, all classes independently.

        Args:
            values: each [row]; all are moved by the same permutations.
            number: how many permutations.

        Yields:
            for each of the values [draw, moving_row] in the order of `order`, a bounded number of draws at a time.
        """
        step = max(1, CHUNK_ELEMENTS // max(1, self.moving_rows))
        for start in range(0, number, step):
            draws = min(step, number - start)
            parts: list[list[Permuted]] = [[] for _ in values]
            for rows in self.classes:
                n_classes, members, slots = (int(size) for size in rows.shape)
                drawn: NDArray[np.float32] = rng.random((draws, n_classes, members), dtype=np.float32)
                first: NDArray[np.int64] = np.arange(n_classes)[:, None] * members
                order: NDArray[np.int64] = (drawn.argsort(axis=-1) + first).reshape(draws, -1)
                for part, column in zip(parts, values, strict=True):
                    moved = column[rows].reshape(-1, slots).take(order, axis=0)
                    part.append(moved.reshape(draws, -1))
            yield [part[0] if len(part) == 1 else np.concatenate(part, axis=1) for part in parts]

    def centred(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Subtract the mean that each row's value has over all permutations; rows that never move become 0.

        Args:
            values: [row, ...]
        """
        rest = np.zeros_like(values)
        for rows in self.classes:
            block_values = values[rows]
            rest[rows] = block_values - block_values.mean(axis=1, keepdims=True)
        return rest


def matched_blocks(block: Sequence[int], slot: Sequence[int], group: Sequence[int]) -> Blocks:
    """Find which blocks of rows may change places.

    Args:
        block: [row] the block a row belongs to.
        slot: [row] its place in the block, different from those of the block's other rows.
        group: [row] blocks of different groups never change places; the same for all rows of a block.

    Raises:
        ValueError: two rows of a block share a slot, or the lists differ in length.
    """
    members: defaultdict[int, dict[int, int]] = defaultdict(dict)
    home: dict[int, int] = {}
    for row, (block_id, slot_id, among) in enumerate(zip(block, slot, group, strict=True)):
        if slot_id in members[block_id]:
            raise ValueError(f"two rows of block {block_id} share slot {slot_id}")
        members[block_id][slot_id] = row
        home[block_id] = among
    alike: defaultdict[tuple[int, tuple[int, ...]], list[list[int]]] = defaultdict(list)
    for block_id, row_at in members.items():
        slots = tuple(sorted(row_at))
        alike[home[block_id], slots].append([row_at[slot_id] for slot_id in slots])
    shapes: defaultdict[tuple[int, int], list[list[list[int]]]] = defaultdict(list)
    for (_, slots), rows in alike.items():
        if len(rows) > 1:
            shapes[len(rows), len(slots)].append(rows)
    return Blocks(len(block), tuple(np.array(same, np.int64) for same in shapes.values()))


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """The smallest false discovery rate at which each hypothesis would be called: ``min over j >= i of m p(j) / j``.

    Benjamini and Hochberg 1995. It holds for independent and for positively dependent tests (Benjamini and Yekutieli
    2001). The family is every p that is a number: pass all of an analysis, whatever is shown of it later.

    Args:
        p: any shape, 0 to 1; NaN where a hypothesis was not tested: it is not in the family and stays NaN.

    Returns:
        The shape of p, 0 to 1.

    Raises:
        ValueError: a p is outside 0 to 1.
    """
    array = np.asarray(p, np.float64)
    flat = array.ravel()
    tested = np.flatnonzero(~np.isnan(flat))
    values = flat[tested]
    if ((values < 0) | (values > 1)).any():
        raise ValueError("a p-value lies outside 0 to 1")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    smallest = np.minimum.accumulate(scaled[::-1])[::-1]
    q = np.full(flat.shape, np.nan)
    q[tested[order]] = np.minimum(smallest, 1.0)
    return q.reshape(array.shape)


def benjamini_yekutieli(p: ArrayLike) -> NDArray[np.float64]:
    """As `benjamini_hochberg`, under any dependence: its q times ``sum of 1 / i`` over the family, at most 1.

    Benjamini and Yekutieli 2001, theorem 1.3. Shapes and errors as `benjamini_hochberg` has them.
    """
    q = benjamini_hochberg(p)
    return np.minimum(q * (1.0 / np.arange(1, family_size(p) + 1)).sum(), 1.0)


def family_size(p: ArrayLike) -> int:
    """How many hypotheses q-values are corrected over: those that were tested."""
    return int(np.count_nonzero(~np.isnan(np.asarray(p, np.float64))))
