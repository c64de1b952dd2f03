from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis.strategies import DataObject, data, decimals, floats, integers, lists, sampled_from

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import format_number, parse_values

tenths = decimals(min_value=-100, max_value=100, places=1)


@given(first=tenths, step=decimals(min_value=Decimal("0.1"), max_value=10, places=1), count=integers(0, 40))
def test_a_range_holds_exactly_its_grid(first: Decimal, step: Decimal, count: int) -> None:
    last = first + count * step
    up = parse_values(f"{first}..{last}/{step}")
    assert up == tuple(float(first + i * step) for i in range(count + 1))
    assert parse_values(f"{last}..{first}/{step}") == up[::-1]


@given(first=tenths, last=tenths, step=decimals(min_value=Decimal("0.3"), max_value=10, places=1))
def test_a_range_never_leaves_its_ends(first: Decimal, last: Decimal, step: Decimal) -> None:
    values = parse_values(f"{first}..{last}/{step}")
    low, high = sorted((float(first), float(last)))
    assert values[0] == float(first)
    assert all(low <= value <= high for value in values)
    assert abs(values[-1] - float(last)) < float(step)


@given(lists(floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_list_of_written_numbers_reads_back_as_those_numbers(numbers: list[float]) -> None:
    assert parse_values(", ".join(format_number(n) for n in numbers)) == tuple(numbers)


def test_ranges_and_numbers_mix_in_the_order_written() -> None:
    assert parse_values("-20..-5/5, 0,5") == (-20, -15, -10, -5, 0, 5)
    assert parse_values("-0.3..0.3/0.1") == (-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3)


@given(lists(floats(allow_nan=False, allow_infinity=False), min_size=1), data())
def test_numbers_are_parted_by_any_sign_and_a_true_minus_is_one(numbers: list[float], draw: DataObject) -> None:
    parting = draw.draw(sampled_from([" ", "  ", "\t", "\n", ",", ", ", ";", "; ", " ;\t"]))
    minus = draw.draw(sampled_from("-\N{MINUS SIGN}"))
    written = parting.join(format_number(n) for n in numbers).replace("-", minus)
    assert parse_values(written) == parse_values(f"[{written}]") == tuple(numbers)


@given(first=tenths, step=decimals(min_value=Decimal("0.1"), max_value=10, places=1), count=integers(0, 40))
def test_a_range_is_the_same_however_its_step_is_written(first: Decimal, step: Decimal, count: int) -> None:
    last = first + count * step
    values = parse_values(f"{first}..{last}/{step}")
    for written in (f"{first}..{last} step {step}", f"{first} .. {last} / {step}", f"{first}..{last} {step}"):
        assert parse_values(written) == values
        assert parse_values(f"500; {written};600") == (500, *values, 600)


def test_minus_zero_is_zero() -> None:
    assert math.copysign(1, parse_values("-0")[0]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "1,",
        "x",
        "1..5",
        "1..5/0",
        "1..5/-1",
        "1...5/1",
        "..5/1",
        "1../1",
        "0..1e9/1",
        "1e999",
        "nan",
        "inf",
        "١",
        "-20..20",
        "-20..20 5 7",
        "0..9 step",
        "step 3",
        "1,5; 2,5",
        "[1",
        "[[1]]",
        "- 1",
    ],
)
def test_what_is_no_list_of_numbers_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ExplorerError) as caught:
        parse_values(text)
    assert caught.value.remedy
