"""Lists and sites as they are typed and shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.experiment import SITE_KINDS, parse_values
from srm_explorer.tui.experiment.parsing import cosines_forms, numbers_forms, numbers_text, parse_sites, sites_text

PROTOCOL = [-20, -10, -6, -3, -1, 0, 1, 3, 6, 10, 20]
sites = st.builds("blocks.{}.{}".format, st.integers(0, 999), st.sampled_from(SITE_KINDS))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=12))
def test_numbers_read_back_as_they_were(values: list[float]) -> None:
    assert list(parse_values(numbers_text(values))) == values


@given(st.lists(sites, min_size=1, max_size=5))
def test_sites_read_back_as_they_were(names: list[str]) -> None:
    assert parse_sites(sites_text(names)) == names
    assert parse_sites(", ".join(names)) == names


def test_even_steps_are_typed_as_a_range() -> None:
    assert numbers_text([-20, -15, -10, -5, 0]) == "-20..0 step 5"
    assert numbers_text([3, 2, 1, 0]) == "3..0 step 1"
    assert numbers_text([0.1, 0.2, 0.3, 0.4]) == "0.1..0.4 step 0.1"
    assert numbers_text(PROTOCOL) == "-20 -10 -6 -3 -1 0 1 3 6 10 20"


def test_long_lists_are_shown_short() -> None:
    assert "-20 -10 -6 … 10 20 ×11" in numbers_forms(PROTOCOL)
    forms = numbers_forms(list(range(1000)))
    assert [len(form) for form in forms] == sorted((len(form) for form in forms), reverse=True)
    assert forms[-1] == "×1000"
    assert cosines_forms([0.7, 0.5, -0.25, 1]) == (".7 .5 -.25 1", *cosines_forms([0.7, 0.5, -0.25, 1])[1:])


def test_sites_are_typed_short_or_in_full() -> None:
    expected = ["blocks.11.mlp.hook_post", "blocks.11.hook_resid_post"]
    for text in ("L11 hook_post, resid_post", "11 mlp.hook_post, L11 hook_resid_post", ", ".join(expected)):
        assert parse_sites(text) == expected
