from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.tui.text import broadest, cut_amid, told_apart, wrapped


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf"]), max_size=80), st.integers(2, 40))
def test_wrapping_loses_nothing_and_keeps_the_width(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(st.lists(st.sampled_from(["a", "co-act-ivators", "well-known", "x-2", "-20", "e-mail", "A−B"]), max_size=12))
def test_hyphens_break_where_textwrap_breaks_them(words: list[str]) -> None:
    text = " ".join(words)
    assert wrapped(text, 16, "  ", hyphens=True) == textwrap.wrap(text, 16, subsequent_indent="  ")


@given(
    st.lists(st.text("ab1-_ é", max_size=24), min_size=1, max_size=5),
    st.text("ab-", max_size=20),
    st.text("1 -", max_size=20),
)
def test_names_that_are_cut_stay_as_different_as_they_were(middles: list[str], begin: str, end: str) -> None:
    names = [f"{begin}{middle}{end}" for middle in middles]
    shown = told_apart(names)
    assert len(set(shown)) == len(set(names))
    for name, cut in zip(names, shown, strict=True):
        assert cut.removeprefix("…").removesuffix("…") in name


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["demo-neuron-219-seed-4-of-reasoning", "demo-neuron-219-seed-10-of-reasoning"], ["…seed-4…", "…seed-10…"]),
        (["lighthouse", "lighthouse-2"], ["lighthouse", "lighthouse-2"]),
        (["gpt2 clamped neuron 373", "gpt2 clamped neuron 373 again"], ["…373", "…373 again"]),
        (["calm", "storm"], ["calm", "storm"]),
        (["one-and-the-same-name", "one-and-the-same-name"], ["one-and-the-same-name"] * 2),
    ],
)
def test_what_all_names_have_in_common_is_left_out_where_it_is_long(names: list[str], shown: list[str]) -> None:
    assert list(told_apart(names)) == shown


@given(text=st.text(st.characters(exclude_characters="…"), max_size=60), width=st.integers(2, 40))
def test_a_text_that_is_cut_amid_keeps_to_its_room_and_both_ends(text: str, width: int) -> None:
    shown = cut_amid(text, width)
    assert broadest(shown) <= width
    if broadest(text) <= width:
        assert shown == text
    else:
        head, _, tail = shown.rpartition("…")
        assert text.startswith(head)
        assert text.endswith(tail)
