"""What texts are like by counting, the collapse rules by their letter, and the net effect by its distribution."""

from __future__ import annotations

import math
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats.collapse import (
    CalibratedRule,
    HealthMatrix,
    PublishedRule,
    collapse_rule,
    health_matrix,
)
from srm_explorer.engine.stats.text import (
    compression_ratio,
    distinct_share,
    first_divergence,
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


def by_the_letter(text: str) -> bool:
    """The published rule in exact fractions, a substring at a time."""
    text = text.strip()
    n = len(text)
    if n < 6:
        return True
    if any(Fraction(text.count(c), n) >= Fraction(9, 10) for c in text):
        return True
    for k in range(2, 8):
        for at in range(n - k + 1 if 2 * k <= n else 0):
            count = sum(text[other : other + k] == text[at : at + k] for other in range(n - k + 1))
            if count > 1 and Fraction(count * k, n) >= Fraction(7, 10):
                return True
    known = Fraction(sum(map(str.isalnum, text)), n)
    return known < Fraction(1, 10) and 1 - known - Fraction(sum(map(str.isspace, text)), n) > Fraction(8, 10)


PIECES = ("a", "b", "ab", "the ", "\n", " ", "!", "?!", "\ufffd", "\ud800", "é", "👍🏽", "鍵", "\u2028", "٣")


@settings(max_examples=400)
@given(st.one_of(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.text(st.characters(), max_size=12)))
def test_the_published_rule_is_what_its_words_say(text: str) -> None:
    assert PublishedRule().collapsed(text) == by_the_letter(text)


@pytest.mark.parametrize(
    ("text", "collapsed"),
    [
        ("", True),
        (" \n\t ", True),
        (" abcde\n", True),
        ("abcdef", False),
        ("aaaaaaaaab", True),
        ("aaaaaaaabc", True),  # aa, seven times where it overlaps: 7 x 2 / 10.
        ("aaaa bcdef ghi", False),
        ("no no no no no", True),
        ("one two three four", False),
        ("abcdefg abcdefg", True),  # Twice seven characters of fifteen.
        ("abcdefgh ijkl abcdefgh", False),
        ("!?#%&/()=+*~", True),
        ("!?#%&/()=+*~ab", False),
        ("! ? # % & / ( )", False),
    ],
)
def test_texts_that_the_published_rule_calls_collapsed_by_hand(text: str, collapsed: bool) -> None:
    assert PublishedRule().collapsed(text) is collapsed


def test_the_calibrated_rule_sees_loops_of_short_phrases_and_no_ordinary_text() -> None:
    rule = CalibratedRule()
    sentence = "The old keeper climbed the stairs to the lamp room, and the wind had begun to turn to the north. "
    ordinary = sentence + "Nobody on the quay could say when the boat was due, though some had waited since the bells."
    assert not rule.collapsed(ordinary)
    assert not rule.collapsed(sentence * 3), "a sentence over and over is what greedy decoding does"
    assert rule.collapsed("no, " * 50), "a loop"
    assert rule.collapsed("Well, the door was open then. " * 7), "a short sentence over and over"
    assert rule.collapsed("!?#%&/()=+*~" * 5), "symbols alone"
    assert not rule.collapsed("no, " * 9), "too short to tell"
    # The limit means the same in a longer text that goes on as it was.
    assert rule.collapsed("no, " * 500)
    assert not rule.collapsed(ordinary * 2)
    assert rule.collapsed("鍵" * 60)


def test_a_text_compresses_the_more_the_more_it_repeats() -> None:
    said = ("a", "the ", "the door opened ", "the door opened, but nobody in the house had heard it ")
    ratios = [compression_ratio((text * 240)[:240]) for text in said]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] == 240 / len(zlib.compress(b"a" * 240))
    assert math.isnan(compression_ratio(""))
    noise = "".join(map(chr, np.random.default_rng(0).integers(33, 127, 300)))
    assert compression_ratio(noise + "\ud800") < 1.4
    halves = "a" * 100 + noise
    assert compression_ratio(halves, 50) > compression_ratio(noise, 50)
    both = np.mean([50 / len(zlib.compress(halves[at : at + 50].encode())) for at in (0, 50)])
    assert compression_ratio(halves[:149], 50) == pytest.approx(both)  # what is left at the end is no piece
    assert compression_ratio(halves[:49], 50) == 49 / len(zlib.compress(b"a" * 49))


@pytest.mark.parametrize(
    "wrong",
    [
        "publish",
        ["published"],
        {"runs": 3},
        {"repeated": -1},
        {"repeated": "half"},
        {"repeated": math.nan},
        {"longest": 2.5},
        {"name": "calibrated", "longest": 3},
        {"fewest": True},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: object) -> None:
    with pytest.raises(ExplorerError):
        collapse_rule(wrong)


def test_a_rule_is_found_by_name_with_its_parameters() -> None:
    assert collapse_rule() == collapse_rule("published") == collapse_rule({"name": "published"}) == PublishedRule()
    assert collapse_rule({"name": "calibrated", "compression": 4, "fewest": 12}) == CalibratedRule(4, fewest=12)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_mcnemars_p_is_the_binomial_tests(rescued: int, harmed: int, rest: int) -> None:
    matrix = HealthMatrix(rest, harmed, rescued, 0)
    if matrix.units < 2:
        assert math.isnan(matrix.p)
        assert math.isnan(matrix.interval()[0])
        return
    expected = binomtest(rescued, rescued + harmed, 0.5).pvalue if rescued + harmed else 1.0
    assert matrix.p == pytest.approx(expected)
    low, high = matrix.interval()
    assert -1 <= low < high <= 1
    assert low <= matrix.net <= high
    swapped = HealthMatrix(0, rescued, harmed, rest)
    assert swapped.interval() == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    ("n", "rescued", "harmed"), [(12, 0.1, 0.1), (20, 0.02, 0.02), (20, 0.2, 0), (50, 0.3, 0.05), (50, 0, 0.2)]
)
def test_the_net_effects_interval_covers_and_its_p_keeps_its_size(n: int, rescued: float, harmed: float) -> None:
    drawn = np.random.default_rng(3).multinomial(n, [rescued, harmed, 1 - rescued - harmed], size=4_000)
    cells, times = np.unique(drawn, axis=0, return_counts=True)
    matrices = [HealthMatrix(rest, b, c, 0) for c, b, rest in cells.tolist()]
    shares = times / times.sum()
    ends = np.array([matrix.interval() for matrix in matrices])
    covered = shares[(ends[:, 0] <= rescued - harmed) & (rescued - harmed <= ends[:, 1])].sum()
    assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 4_000)
    p = np.array([matrix.p for matrix in matrices])
    if rescued == harmed:
        # Exact, so below nominal by discreteness: what it can be at most, of all numbers that differ.
        least = sum(
            binom.pmf(m, n, rescued + harmed)
            * sum(binom.pmf(k, m, 0.5) for k in range(m + 1) if binomtest(k, m, 0.5).pvalue <= 0.05)
            for m in range(1, n + 1)
        )
        assert shares[p <= 0.05].sum() == pytest.approx(least, abs=3 * math.sqrt(0.05 * 0.95 / 4_000))
    elif n == 50:
        assert shares[p <= 0.05].sum() > 0.8, "a net effect of a quarter of 50 units is found"


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
