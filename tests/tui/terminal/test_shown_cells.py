"""What is written of a frame: the cells that differ from what the terminal shows, and nothing that it shows already."""

from __future__ import annotations

from collections.abc import Sequence

import pyte
import pyte.modes
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from srm_explorer.tui.terminal.shown_cells import ShownCells

WIDTH, HEIGHT = 12, 3
CONSOLE = Console(color_system="truecolor", force_terminal=True, width=WIDTH)
STYLES = (None, Style(bold=True), Style(color="#ff0000"), Style(color="#ff0000", meta={"offset": 3}))
PLAIN, ANY = ("a", "b", " ", "─"), ("a", "b", " ", "─", "日", "e\u0301", "🙂")

Texts = Sequence[tuple[str, int]]


def strip_of(texts: Texts, width: int) -> Strip:
    segments = [Segment(text, STYLES[style]) for text, style in texts]
    return Strip(segments, sum(cell_len(text) for text, _ in texts)).adjust_cell_length(width)


def frame(lines: Sequence[Texts]) -> LayoutUpdate:
    return LayoutUpdate([[strip_of(line, WIDTH)] for line in lines], Region(0, 0, WIDTH, HEIGHT))


def part(lines: Sequence[Texts], spans: Sequence[tuple[int, int, int]]) -> ChopsUpdate:
    return ChopsUpdate([{0: strip_of(line, WIDTH)} for line in lines], [*spans], [[WIDTH]] * HEIGHT)


def texts(characters: Sequence[str]) -> st.SearchStrategy[list[list[tuple[str, int]]]]:
    text = st.tuples(st.lists(st.sampled_from(characters), max_size=6).map("".join), st.integers(0, len(STYLES) - 1))
    return st.lists(st.lists(text, max_size=4), min_size=HEIGHT, max_size=HEIGHT)


class Terminal:
    """A screen of characters and their looks."""

    def __init__(self) -> None:
        self._screen = pyte.Screen(WIDTH, HEIGHT)
        self._screen.reset_mode(pyte.modes.DECAWM)
        self._stream = pyte.Stream(self._screen)

    def show(self, sequences: str) -> list[list[tuple[object, ...]]]:
        self._stream.feed(sequences)
        buffer = self._screen.buffer
        return [[tuple(buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT)]


@given(st.lists(texts(ANY), min_size=1, max_size=5))
def test_the_terminal_shows_the_newest_frame_whatever_it_showed(frames: list[list[list[tuple[str, int]]]]) -> None:
    shown, terminal = ShownCells(), Terminal()
    for lines in frames:
        seen = terminal.show(shown.write(frame(lines), CONSOLE))
        assert seen == Terminal().show(frame(lines).render_segments(CONSOLE))
        assert shown.write(frame(lines), CONSOLE) == ""


SPAN = st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), st.integers(1, WIDTH))


@given(st.lists(st.tuples(texts(ANY), st.lists(SPAN, min_size=1, max_size=3)), max_size=4), texts(ANY))
def test_what_was_written_in_parts_gives_way_to_the_newest_frame(
    parts: list[tuple[list[list[tuple[str, int]]], list[tuple[int, int, int]]]], last: list[list[tuple[str, int]]]
) -> None:
    shown, terminal = ShownCells(), Terminal()
    for lines, spans in parts:
        terminal.show(shown.write(part(lines, [(y, x, end) for y, x, end in spans if x < end]), CONSOLE))
    seen = terminal.show(shown.write(frame(last), CONSOLE))
    assert seen == Terminal().show(frame(last).render_segments(CONSOLE))


@given(texts(PLAIN), st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1))
def test_of_a_character_that_changes_nothing_else_is_written(
    lines: list[list[tuple[str, int]]], y: int, x: int
) -> None:
    shown = ShownCells()
    shown.write(frame(lines), CONSOLE)
    whole = strip_of(lines[y], WIDTH)
    changed = Strip.join([whole.crop(0, x), Strip([Segment("z")]), whole.crop(x + 1, WIDTH)])
    update = LayoutUpdate([[changed]], Region(0, y, WIDTH, 1))
    assert shown.write(update, CONSOLE) == f"\x1b[{y + 1};{x + 1}Hz"


def test_what_was_forgotten_is_written_again() -> None:
    shown, update = ShownCells(), frame([[("one", 0)], [], []])
    written = shown.write(update, CONSOLE)
    assert shown.write(update, CONSOLE) == ""
    shown.forget()
    assert shown.write(update, CONSOLE) == written
