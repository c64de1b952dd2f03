from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from srm_explorer.tui.charts.overlay import Overlay
from srm_explorer.tui.charts.picture import BITS, Picture, sign, style_of
from srm_explorer.tui.charts.scene import FAINT

CODES = st.sampled_from(
    ["0", "1", "2", "7", "38;5;166", "0;1;38;5;32", "48;2;1;2;3", "31", "94", "39", "", "38;5", "4"]
)
PARTS = st.lists(st.tuples(CODES, st.text(st.sampled_from("ab ⣿⠁○● 界é\n"), max_size=6)), max_size=12)


@given(parts=PARTS)
def test_text_with_codes_is_read_as_rich_reads_it(parts: list[tuple[str, str]]) -> None:
    text = "".join(f"\x1b[{codes}m{words}" for codes, words in parts)
    plain = "".join(words for _, words in parts)
    lines = plain.split("\n")
    width = max(map(cell_len, lines)) + 1
    picture = Picture.from_ansi(text, width, len(lines))
    assert picture.text() == "\n".join(line.rstrip() for line in lines)
    assert all(len(row) == width for row in picture.rows)
    # A colour that is cut short changes nothing here; rich would take it for a reset.
    whole = "".join((f"\x1b[{codes}m" if codes != "38;5" else "") + words for codes, words in parts)
    console = Console()
    for row, line in zip(picture.rows, Text.from_ansi(whole).split("\n", allow_blank=True), strict=False):
        col = 0
        for at, character in enumerate(line.plain):
            style = line.get_style_at_offset(console, at)
            if character.strip():
                assert row[col][0] == character
                assert row[col][1].color == style.color
                assert bool(row[col][1].bold) == bool(style.bold)
            col += cell_len(character)


def test_a_picture_that_is_cut_never_holds_half_a_character() -> None:
    picture = Picture.from_ansi("a界b\nabcdef", 2, 3)
    assert [[character for character, _ in row] for row in picture.rows] == [["a", " "], ["a", "b"], [" ", " "]]


def test_dots_join_a_curve_and_keep_its_colour_but_take_the_grid_s() -> None:
    curve, grid = style_of("0;38;5;166"), style_of("0;38;5;242")
    picture = Picture.from_ansi("\x1b[0;38;5;166m⠁\x1b[0;38;5;242m⠁\x1b[0m x", 4, 1)
    overlay = Overlay()
    overlay.add_dots([(0, 0, 1, 3), (1, 0, 1, 3), (2, 0, 1, 3), (3, 0, 1, 3), (9, 9, 0, 0)])
    over = overlay.over(picture, FAINT)
    assert over == {(0, 0): ("⢁", curve), (1, 0): ("⢁", overlay.style), (2, 0): ("⢀", overlay.style)}
    assert grid in FAINT


@given(bits=st.integers(1, 255))
def test_every_dot_pattern_has_a_stand_in_of_one_column(bits: int) -> None:
    character = chr(0x2800 | bits)
    assert sign(character, "braille") == character
    block = sign(character, "block")
    assert len(block) == 1
    assert block in "▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
    plain = sign(character, "ascii")
    assert plain.isascii()
    assert len(plain) == 1
    assert plain != " "
    upper = any(bits & column[row] for column in BITS for row in (0, 1))
    assert (block in "▘▝▀▛▜▌▐▞▚▙▟█") == upper


def test_groups_keep_a_sign_of_their_own_in_ascii() -> None:
    from srm_explorer.tui.charts.palette import CYCLE_MARKERS, FIXED

    markers = [*(style.marker for style in FIXED.values()), *CYCLE_MARKERS]
    stand_ins = [sign(marker, "ascii") for marker in markers]
    assert len(set(stand_ins)) == len(set(markers))
    assert all(one.isascii() for one in stand_ins)
