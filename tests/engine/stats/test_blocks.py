from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.stats.permutation import Blocks, matched_blocks


def drawn(blocks: Blocks, values: np.ndarray, number: int = 200, seed: int = 0) -> np.ndarray:
    """[draw, row] all rows, those that never move included."""
    rng = np.random.default_rng(seed)
    moved = np.concatenate([one for (one,) in blocks.permuted([values.astype(np.float32)], number, rng)])
    found = np.tile(values.astype(np.float32), (number, 1))
    found[:, blocks.order] = moved
    return found


@given(seed=st.integers(0, 1000))
def test_blocks_move_as_wholes_to_the_same_slots_of_a_matching_block(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, size=8)
    block = np.repeat(np.arange(8), sizes)
    slot = np.concatenate([np.arange(size) for size in sizes])
    group = rng.integers(0, 2, size=8)[block]
    order = rng.permutation(len(block))
    block, slot, group = block[order], slot[order], group[order]
    blocks = matched_blocks(block.tolist(), slot.tolist(), group.tolist())
    for row in drawn(blocks, np.arange(len(block)), 20, seed).astype(int):
        assert sorted(row) == list(range(len(block)))
        assert (slot[row] == slot).all()
        assert (group[row] == group).all()
        for one in set(block.tolist()):
            (source,) = set(block[row][block == one].tolist())
            assert (block == source).sum() == (block == one).sum()


def test_centred_takes_off_the_mean_over_every_permutation() -> None:
    block = [0, 0, 1, 1, 2, 2, 3]
    slot = [0, 1, 0, 1, 0, 1, 0]
    values = np.array([3.0, -1, 4, 1, 5, 9, 2])
    blocks = matched_blocks(block, slot, [0] * 7)
    every = [
        np.concatenate([values[:6].reshape(3, 2)[list(order)].ravel(), values[6:]]) for order in permutations(range(3))
    ]
    np.testing.assert_allclose(blocks.centred(values), values - np.mean(every, axis=0), atol=1e-12)


def test_all_permutations_are_equally_likely() -> None:
    blocks = matched_blocks([0, 1, 2], [0, 0, 0], [0, 0, 0])
    found = drawn(blocks, np.arange(3), 6000).astype(int)
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 6
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_nothing_moves_where_no_block_matches() -> None:
    blocks = matched_blocks([0, 0, 1], [0, 1, 0], [0, 0, 0])
    assert not blocks.moves
    assert not blocks.centred(np.array([1.0, 2, 3])).any()


def test_two_rows_in_one_slot_are_refused() -> None:
    with pytest.raises(ValueError, match="slot"):
        matched_blocks([0, 0], [1, 1], [0, 0])
