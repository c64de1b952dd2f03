from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.stats.permutation import benjamini_hochberg, family_size
from srm_explorer.engine.stats.resampling import binomial_interval

PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(PROBABILITIES, st.floats(0.01, 0.99))
def test_calling_q_below_a_rate_is_the_step_up_rule(p: list[float], rate: float) -> None:
    ordered = np.sort(p)
    fits = np.flatnonzero(ordered <= rate * np.arange(1, len(p) + 1) / len(p) + 1e-12)
    cut = ordered[fits[-1]] if fits.size else -1.0
    called = benjamini_hochberg(p) <= rate + 1e-12
    # Values within round-off of the rule's line may fall on either side.
    near = np.abs(benjamini_hochberg(p) - rate) < 1e-9
    assert (called | near).tolist() == ((np.array(p) <= cut) | near).tolist()


@given(PROBABILITIES)
def test_q_is_never_below_p_and_keeps_its_order(p: list[float]) -> None:
    q = benjamini_hochberg(p)
    assert (q >= np.array(p) - 1e-15).all()
    assert (np.diff(q[np.argsort(p, kind="stable")]) >= 0).all()


def test_what_was_not_tested_is_not_in_the_family() -> None:
    p = np.array([[0.01, np.nan], [0.04, 0.03]])
    np.testing.assert_allclose(benjamini_hochberg(p), [[0.03, np.nan], [0.04, 0.04]])
    assert family_size(p) == 3
    assert benjamini_hochberg([]).size == 0
    with pytest.raises(ValueError, match="outside"):
        benjamini_hochberg([1.5])


def test_exact_shares_match_tables_and_hold_their_level_everywhere() -> None:
    np.testing.assert_allclose(binomial_interval(0, 10), [0.0, 0.3084971], atol=1e-7)
    np.testing.assert_allclose(binomial_interval(3, 10), [0.0667395, 0.6524529], atol=1e-7)
    np.testing.assert_allclose(binomial_interval([0, 5], [0, 5]), [[0.0, 0.47817625], [1.0, 1.0]], atol=1e-7)
    from scipy import stats

    counts = np.arange(13)
    low, high = binomial_interval(counts, 12)
    for share in np.linspace(0.01, 0.99, 49):
        held = (low <= share) & (share <= high)
        assert stats.binom.pmf(counts, 12, share)[held].sum() >= 0.95
    with pytest.raises(ValueError, match="outside"):
        binomial_interval([2, 4], 3)
