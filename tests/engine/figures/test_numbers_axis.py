from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.figures.numbers import axis_from_zero

FINITE = st.one_of(st.floats(-1e6, -1e-6), st.floats(1e-6, 1e6))


@given(st.lists(st.one_of(FINITE, st.just(0.0), st.just(math.nan)), max_size=6), st.integers(3, 6))
def test_an_axis_from_zero_holds_zero_and_every_finite_value_and_no_sign_that_none_has(
    values: list[float], most: int
) -> None:
    axis = axis_from_zero(values, most)
    finite = [value for value in values if math.isfinite(value)]
    # What lies beyond an end by less than round-off of the whole range is not seen.
    slack = 1e-8 * (axis.high - axis.low)
    assert axis.low <= min([0.0, *finite]) + slack
    assert axis.high >= max([0.0, *finite]) - slack
    if min(finite, default=0) >= 0:
        assert axis.low == 0
    if not any(finite):
        assert (axis.low, axis.high) == (0, 1)
