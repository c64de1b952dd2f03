"""Rows that are exchanged in blocks: what a permutation may move, and what moves with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

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
        """Whether any permutation but the identity exists."""
        return bool(self.classes)

    @property
    def moving_rows(self) -> int:
        """How many rows some permutation moves."""
        return sum(int(one.size) for one in self.classes)

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
            rng: draws the same permutations for any values.

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
                for part, own in zip(parts, values, strict=True):
                    moved = own[rows].reshape(-1, slots).take(order, axis=0)
                    part.append(moved.reshape(draws, -1))
            yield [part[0] if len(part) == 1 else np.concatenate(part, axis=1) for part in parts]

    def centred(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Subtract the mean that each row's value has over all permutations; rows that never move become 0.

        Args:
            values: [row, ...]
        """
        rest = np.zeros_like(values)
        for rows in self.classes:
            own = values[rows]
            rest[rows] = own - own.mean(axis=1, keepdims=True)
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
    for row, (own, place, among) in enumerate(zip(block, slot, group, strict=True)):
        if place in members[own]:
            raise ValueError(f"two rows of block {own} share slot {place}")
        members[own][place] = row
        home[own] = among
    alike: defaultdict[tuple[int, tuple[int, ...]], list[list[int]]] = defaultdict(list)
    for own, places in members.items():
        slots = tuple(sorted(places))
        alike[home[own], slots].append([places[place] for place in slots])
    shapes: defaultdict[tuple[int, int], list[list[list[int]]]] = defaultdict(list)
    for (_, slots), rows in alike.items():
        if len(rows) > 1:
            shapes[len(rows), len(slots)].append(rows)
    return Blocks(len(block), tuple(np.array(same, np.int64) for same in shapes.values()))
