from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.figures.numbers import degrees, end_above, round_axis, short, three_digits

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.011, ".0110"),
        (-0.5, "−.500"),
        (303.4, "303"),
        (12.345, "12.3"),
        (0.9996, "1.00"),
        (99.96, "100"),
        (1234.0, "1,230"),
        (1.2e-7, "1.20e−7"),
        (-3e12, "−3.00e12"),
        (0.0, "0"),
        (math.nan, "–"),
        (None, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_three_significant_digits_without_a_leading_zero(value: float | None, text: str) -> None:
    assert three_digits(value) == text


@given(value=st.floats(-1e4, 1e4).filter(lambda value: abs(value) > 1e-4))
def test_the_text_is_within_half_of_the_third_digit(value: float) -> None:
    read = float(three_digits(value).replace("−", "-").replace(",", ""))
    assert abs(read - value) <= 0.00501 * abs(value)


def test_phases_stay_below_360_and_settings_keep_their_digits() -> None:
    assert [degrees(phase) for phase in (0.0, 359.7, 302.6, None)] == ["0°", "0°", "303°", "–"]
    assert [short(value) for value in (0.7, -0.25, 1.0, 20.0, 0.0)] == [".7", "−.25", "1", "20", "0"]


@given(values=st.lists(NUMBERS, max_size=12), most=st.integers(3, 9))
def test_an_axis_holds_every_finite_value_and_has_few_distinct_labels(values: list[float], most: int) -> None:
    axis = round_axis(values, most=most)
    assert math.isfinite(axis.low)
    assert axis.low < axis.high
    slack = 1e-9 * max(abs(axis.low), abs(axis.high))
    for value in values:
        if math.isfinite(value):
            assert axis.low - slack <= min(max(value, -1e300), 1e300) <= axis.high + slack
    assert 2 <= len(axis.ticks) <= most
    assert list(axis.ticks) == sorted(axis.ticks)
    assert (axis.ticks[0], axis.ticks[-1]) == (axis.low, axis.high)


@given(low=st.floats(-1e4, 1e4), span=st.floats(1e-3, 1e4), most=st.integers(3, 8))
def test_tick_labels_read_as_their_ticks(low: float, span: float, most: int) -> None:
    axis = round_axis([low, low + span], most=most)
    step = axis.ticks[1] - axis.ticks[0]
    for tick, label in zip(axis.ticks, axis.labels, strict=True):
        assert float(label.replace("−", "-").replace(",", "")) == pytest.approx(tick, abs=step / 100)
    assert len(set(axis.labels)) == len(axis.labels)


@given(value=st.floats(1e-290, 1e290))
def test_the_end_above_is_close_and_above(value: float) -> None:
    assert value * (1 - 1e-9) <= end_above(value) <= 1.7 * value


def test_the_end_above_forgives_round_off_and_nothing() -> None:
    assert end_above(0.1 + 0.2) == pytest.approx(0.3, abs=1e-12)
    assert [end_above(value) for value in (0.0, -1.0, math.nan, math.inf)] == [1.0] * 4
