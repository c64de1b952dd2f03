from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.tui.charts.canvas import Canvas, Pane, Stroke, trace
from srm_explorer.tui.charts.palette import BOLD, foreground

BITS = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]]


@given(seed=st.integers(0, 10_000), width=st.integers(1, 30), height=st.integers(1, 15))
@settings(max_examples=40, deadline=None)
def test_every_dot_of_a_trace_and_no_other_is_lit(seed: int, width: int, height: int) -> None:
    rng = np.random.default_rng(seed)
    pane = Pane(2, 1, width, height)
    line = trace(pane, rng.uniform(size=4), rng.uniform(size=4))
    canvas = Canvas(width + 4, height + 2)
    canvas.draw(pane, [Stroke(line, foreground(32))])
    expected = np.full((height + 2, width + 4), 0x2800)
    for x, y in line.dots.tolist():
        expected[1 + height - 1 - y // 4, 2 + x // 2] |= BITS[x % 2][y % 4]
    for row, text in enumerate(canvas.picture().text().split("\n")):
        for col, wanted in enumerate(expected[row]):
            got = text[col] if col < len(text) else " "
            assert got == (" " if wanted == 0x2800 else chr(wanted))


def test_colour_adds_codes_and_changes_no_character() -> None:
    pane = Pane(0, 0, 20, 6)
    canvas = Canvas(20, 6)
    strokes = [
        Stroke(trace(pane, [0.0, 1.0], [0.0, 1.0]), foreground(32)),
        Stroke(trace(pane, [0.0, 1.0], [1.0, 0.0]), foreground(166)),
    ]
    canvas.draw(pane, strokes)
    canvas.text(3, 0, "title", BOLD)
    coloured = canvas.picture().ansi()
    assert {"0;38;5;32", "0;38;5;166", "0;1"} <= set(re.findall(r"\x1b\[([0-9;]*)m", coloured))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == canvas.picture().text()
    assert "\x1b" not in canvas.picture().text()
    assert all(line.count("\x1b") == 0 or line.endswith("\x1b[0m") for line in coloured.split("\n"))


@given(
    texts=st.lists(st.tuples(st.integers(-5, 25), st.integers(-1, 4), st.text(max_size=12)), max_size=10),
    colour=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_no_text_leaves_the_canvas_or_breaks_a_row(texts: list[tuple[int, int, str]], colour: bool) -> None:
    canvas = Canvas(20, 3)
    for col, row, text in texts:
        canvas.text(col, row, text, foreground(32))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", (canvas.picture().ansi() if colour else canvas.picture().text())).split("\n")
    assert len(lines) == 3
    assert all(sum(map(cell_len, line)) <= 20 for line in lines)


def test_wide_characters_keep_the_columns_after_them_in_place() -> None:
    canvas = Canvas(10, 1)
    canvas.text(0, 0, "门ab")
    assert canvas.picture().text() == "门ab"
    canvas.text(1, 0, "x")
    assert canvas.picture().text() == " xab"
