from __future__ import annotations

import textwrap

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.tui.text import wrapped


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf"]), max_size=80), st.integers(2, 40))
def test_wrapping_loses_nothing_and_keeps_the_width(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(st.lists(st.sampled_from(["a", "co-act-ivators", "well-known", "x-2", "-20", "e-mail", "A−B"]), max_size=12))
def test_hyphens_break_where_textwrap_breaks_them(words: list[str]) -> None:
    text = " ".join(words)
    assert wrapped(text, 16, "  ", hyphens=True) == textwrap.wrap(text, 16, subsequent_indent="  ")
