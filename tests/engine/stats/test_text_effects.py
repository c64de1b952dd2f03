"""A text's loops are found where they were planted, and every unit stands in one place of the matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats.text import (
    CollapseRule,
    distinct_share,
    first_divergence,
    health_matrix,
    longest_run,
    repeated_share,
    text_metrics,
    token_entropy,
)

texts = st.lists(st.integers(0, 4), max_size=30)


@given(texts, texts)
def test_two_texts_agree_before_the_divergence_and_differ_at_it(one: list[int], other: list[int]) -> None:
    place = first_divergence(one, other)
    if place is None:
        assert one == other
        return
    assert one[:place] == other[:place]
    assert one[place : place + 1] != other[place : place + 1]
    assert first_divergence(other, one) == place


@given(texts, st.integers(1, 5))
def test_shares_of_n_grams_are_what_counting_by_hand_gives(tokens: list[int], n: int) -> None:
    seen: list[tuple[int, ...]] = []
    again = 0
    for start in range(len(tokens) - n + 1):
        gram = tuple(tokens[start : start + n])
        again += gram in seen
        seen.append(gram)
    if not seen:
        assert math.isnan(repeated_share(tokens, n))
        return
    assert repeated_share(tokens, n) == pytest.approx(again / len(seen))
    assert distinct_share(tokens, n) == pytest.approx(1 - again / len(seen))


def test_entropy_and_runs_of_known_texts() -> None:
    assert token_entropy([7] * 9) == 0
    assert token_entropy(range(8)) == pytest.approx(math.log(8))
    assert (longest_run([1, 1, 2, 2, 2, 1]), longest_run([])) == (3, 0)
    assert text_metrics([]) == {}
    assert set(text_metrics([1])) == {"distinct_1", "token_entropy", "longest_run"}, "what is no number is left out"
    assert all(math.isfinite(value) for value in text_metrics(list(range(9))).values())


def test_planted_texts_collapse_or_do_not() -> None:
    rule = CollapseRule()
    varied = list(range(50))
    assert not rule.collapsed(varied)
    assert rule.collapsed([*range(10), *([1, 2, 3, 4, 5] * 8)]), "a loop"
    assert rule.collapsed(list(range(20)) * 3), "a loop as long as a sentence"
    assert not rule.collapsed([*range(40), *range(10)]), "one phrase repeated is no loop"
    assert rule.collapsed([*range(39), *([7] * 11)]), "one token in a row"
    assert not rule.collapsed([*range(41), *([7] * 9)])
    shuffled = np.random.default_rng(0).integers(0, 9, 50).tolist()
    assert repeated_share(shuffled) < 0.5
    assert rule.collapsed(shuffled), "few words in any order"
    assert not rule.collapsed([7] * 11), "too short to tell"
    assert not CollapseRule.of({"run": 12, "repeated": 0.9}).collapsed([*range(39), *([7] * 11)])


@pytest.mark.parametrize("wrong", [{"runs": 3}, {"run": -1}, {"repeated": "half"}, {"distinct": math.nan}])
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ExplorerError):
        CollapseRule.of(wrong)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), max_size=40))
def test_the_matrix_sums_to_the_units_and_time_turned_back_swaps_harm_and_rescue(
    pairs: list[tuple[bool, bool, int]],
) -> None:
    before, after, units = [p[0] for p in pairs], [p[1] for p in pairs], [p[2] for p in pairs]
    found = health_matrix(before, after, units)
    assert found.units == len(set(units))
    back = health_matrix(after, before, units)
    assert (back.harmed, back.rescued) == (found.rescued, found.harmed)
    assert (back.healthy, back.collapsed) == (found.healthy, found.collapsed)


def test_with_one_text_a_unit_the_matrix_counts_texts() -> None:
    found = health_matrix([False, False, True, True, True], [False, True, False, True, True], range(5))
    assert (found.healthy, found.harmed, found.rescued, found.collapsed) == (1, 1, 1, 2)


def test_a_unit_is_collapsed_where_at_least_half_of_its_texts_are() -> None:
    found = health_matrix([False, False, False, True], [True, False, False, False], [0, 0, 1, 1])
    assert (found.harmed, found.rescued) == (1, 1)
