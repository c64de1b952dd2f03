from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.tui.charts.labels import fit_title


@given(st.lists(st.text("ab 漢é-", min_size=1, max_size=40), min_size=1, max_size=3), st.integers(0, 100))
def test_a_title_keeps_to_its_room(names: list[str], width: int) -> None:
    title = f"{' and '.join(names)} · n3 × n8"
    shown = fit_title(title, width)
    assert cell_len(shown) <= width
    assert cell_len(title) > width - 40 or shown == title


def test_names_that_a_title_has_no_room_for_are_told_apart_by_their_ends() -> None:
    first, other = (f"lighthouse-keepers-of-the-north-run-{number}" for number in (17, 18))
    plane = "n373 × n2202 · L11 hook_post"
    assert fit_title(f"{first} and {other} · {plane}", 120) == f"{first} and {other} · {plane}"
    shown = fit_title(f"{first} and {other} · {plane}", 80)
    assert cell_len(shown) == 80
    assert shown.startswith("lighthouse…")
    assert "-17 and lighthouse…" in shown
    assert shown.endswith(f"-18 · {plane}")
    assert fit_title(f"{first} · {plane}", 60).endswith(f"-17 · {plane}")
