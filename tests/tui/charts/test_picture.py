from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

from srm_explorer.tui.charts.palette import BOLD, CYCLE_MARKERS, FIXED, GRID, LIT, WARNING, foreground
from srm_explorer.tui.charts.picture import BITS, CHANCE, PLAIN, Cell, Picture, cells_of, glyph
from srm_explorer.tui.charts.scene import FAINT, Overlay

STYLES = st.sampled_from(
    [PLAIN, BOLD, LIT, foreground(166), foreground(32) + BOLD, Style(dim=True), Style(underline=True), WARNING]
)
PARTS = st.lists(st.tuples(STYLES, st.text(st.sampled_from("ab ⣿⠁○● 界é\n"), max_size=6)), max_size=12)


@given(parts=PARTS)
def test_what_is_written_with_codes_is_read_by_rich_as_it_was(parts: list[tuple[Style, str]]) -> None:
    rows: list[list[Cell]] = [[]]
    for style, words in parts:
        first, *more = words.split("\n")
        rows[-1] += cells_of(first, style)
        rows += [cells_of(line, style) for line in more]
    plain = "".join(words for _, words in parts)
    lines = plain.split("\n")
    width = max(map(cell_len, lines)) + 1
    picture = Picture.of(rows, width, len(lines))
    assert picture.text() == "\n".join(line.rstrip() for line in lines)
    assert all(len(row) == width for row in picture.rows)
    console = Console()
    for row, line in zip(picture.rows, Text.from_ansi(picture.ansi()).split("\n", allow_blank=True), strict=False):
        col = 0
        for at, character in enumerate(line.plain):
            style = line.get_style_at_offset(console, at)
            assert bool(row[col][1].reverse) == bool(style.reverse)
            if character.strip():
                assert row[col][0] == character
                assert row[col][1].color == style.color
                for attribute in ("bold", "dim", "underline"):
                    assert bool(getattr(row[col][1], attribute)) == bool(getattr(style, attribute))
            col += cell_len(character)


def test_a_picture_that_is_cut_never_holds_half_a_character() -> None:
    picture = Picture.of([cells_of("a界b"), cells_of("abcdef")], 2, 3)
    assert [[character for character, _ in row] for row in picture.rows] == [["a", " "], ["a", "b"], [" ", " "]]


def test_dots_join_a_curve_and_keep_its_colour_but_take_the_grid_s() -> None:
    curve = foreground(166)
    picture = Picture.of([[("⠁", curve), ("⠁", GRID), (" ", PLAIN), ("x", PLAIN)]], 4, 1)
    overlay = Overlay.of([(0, 0, 1, 3), (1, 0, 1, 3), (2, 0, 1, 3), (3, 0, 1, 3), (9, 9, 0, 0)])
    over = overlay.over(picture, FAINT)
    assert over == {(0, 0): ("⢁", curve), (1, 0): ("⢁", overlay.style), (2, 0): ("⢀", overlay.style)}
    assert GRID in FAINT


@given(bits=st.integers(1, 255))
def test_every_dot_pattern_has_a_stand_in_of_one_column(bits: int) -> None:
    character = chr(0x2800 | bits)
    assert glyph(character, "braille") == character
    block = glyph(character, "block")
    assert len(block) == 1
    plain = glyph(character, "ascii")
    if bits == CHANCE:
        assert (block, plain) == ("░", ",")
        return
    assert block in "▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
    assert plain.isascii()
    assert len(plain) == 1
    assert plain != " "
    upper = any(bits & column[row] for column in BITS for row in (0, 1))
    assert (block in "▘▝▀▛▜▌▐▞▚▙▟█") == upper


def test_groups_keep_a_sign_of_their_own_in_ascii() -> None:
    markers = [*(style.marker for style in FIXED.values()), *CYCLE_MARKERS]
    stand_ins = [glyph(marker, "ascii") for marker in markers]
    assert len(set(stand_ins)) == len(set(markers))
    assert all(stand_in.isascii() for stand_in in stand_ins)
