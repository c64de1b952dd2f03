"""The parts of a change sum to it in both orders, and planted parts are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.stats.planes import PARTS, decompose


@given(st.integers(0, 999), st.integers(1, 40))
def test_both_orders_sum_to_the_total(seed: int, d: int) -> None:
    cells = np.random.default_rng(seed).normal(size=(4, d))
    found = decompose(*cells)
    parts = found.parts
    assert tuple(parts) == PARTS
    np.testing.assert_allclose(parts["direct"] + parts["through"], parts["total"], atol=1e-12)
    np.testing.assert_allclose(parts["text_first"] + parts["after_text"], parts["total"], atol=1e-12)
    for one, other in (("direct", "through"), ("text_first", "after_text")):
        shares = found.share(one), found.share(other)
        assert shares[0] is not None
        assert shares[1] is not None
        assert shares[0] + shares[1] == pytest.approx(1)


def test_planted_parts_are_found() -> None:
    base, direct, through = np.eye(3) * [[1.0], [3.0], [4.0]]
    found = decompose(base, base + direct, base + through, base + direct + through)
    assert found.norm("total") == pytest.approx(5)
    assert found.share("direct") == pytest.approx(9 / 25)
    assert found.share("text_first") == pytest.approx(16 / 25)
    assert found.cosine("direct", "total") == pytest.approx(3 / 5)


def test_what_was_not_measured_is_left_out_and_nothing_has_no_share() -> None:
    vector = np.ones(3)
    found = decompose(vector, vector + 1, None, None)
    assert set(found.parts) == {"direct"}
    assert (found.share("direct"), found.norm("total"), found.cosine("direct", "total")) == (None, None, None)
    assert decompose(vector, vector, vector, vector).share("direct") is None
