"""Rows on lines, at any width."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.tui.glyphs import ASCII, UNICODE
from srm_explorer.tui.widgets.form_layout import FormCursor, FormRow, Layout, lay_out

texts = st.text(st.characters(), max_size=30)


@st.composite
def rows(draw: st.DrawFn) -> list[FormRow]:
    found: list[FormRow] = []
    for index in range(draw(st.integers(1, 8))):
        choices = draw(st.lists(texts, max_size=4))
        found.append(
            FormRow(
                str(index),
                draw(texts),
                tuple(draw(st.lists(texts, min_size=1, max_size=3))),
                draw(texts),
                choices=tuple((text, text) for text in choices),
                kind=draw(st.sampled_from(["field", "field", "fact", "section"])),
                shares_line=draw(st.booleans()),
                problem=draw(st.just("") | texts),
            )
        )
    return found


def drawn(layout: Layout) -> list[str]:
    lines: list[str] = []
    for parts in layout.lines:
        line = ""
        for part in parts:
            line += " " * (part.x - cell_len(line)) + part.text
        lines.append(line)
    return lines


@given(rows(), st.integers(1, 130), st.sampled_from([UNICODE, ASCII]), st.data())
def test_no_line_is_wider_than_the_form_and_no_part_covers_another(
    form: list[FormRow], width: int, glyphs: object, draw: st.DataObject
) -> None:
    opened = draw.draw(st.sampled_from([-1, *(i for i, row in enumerate(form) if row.choices)]))
    layout = lay_out(form, width, glyphs, cursor=0, opened=opened)  # type: ignore[arg-type]
    for parts in layout.lines:
        end = 0
        for part in parts:
            assert part.x >= end
            end = part.x + cell_len(part.text)
        assert end <= max(width, 4)
    for index, row in enumerate(form):
        assert layout.first[index] <= layout.last[index]
        if row.kind == "field":
            assert any(part.row == index for part in layout.lines[layout.first[index]])


def test_two_rows_share_a_line_where_there_is_room() -> None:
    pair = [FormRow("a", "layer", ("11",)), FormRow("b", "site", ("hook_post",), shares_line=True)]
    assert drawn(lay_out(pair, 31, UNICODE)) == [" layer      11  site  hook_post"]
    assert drawn(lay_out(pair, 24, UNICODE)) == [" layer      11", " site       hook_post"]


@given(st.integers(40, 130), st.booleans())
def test_labels_are_whole_words_at_every_width(width: int, is_shared: bool) -> None:
    form = [
        FormRow("a", "statistics from", ("own baseline",)),
        FormRow("b", "background", ("no",)),
        FormRow("c", "positions", ("predicting",), shares_line=is_shared, problem="x"),
    ]
    text = "\n".join(drawn(lay_out(form, width, UNICODE)))
    assert all(row.label in text and row.values[0] in text for row in form)


def test_a_row_beside_a_long_one_begins_further_right_or_below() -> None:
    def both(left: str, right: str) -> list[str]:
        pair = [FormRow("a", "layer", (left,)), FormRow("b", "site", (right,), shares_line=True)]
        return [line.rstrip() for line in drawn(lay_out(pair, 33, UNICODE))]

    assert both("1", "hook_post") == [" layer      1     site  hook_post"]
    assert both("1" * 7, "z") == [" layer      1111111  site  z"]
    assert both("1" * 7, "hook_post") == [" layer      1111111", " site       hook_post"]


def test_up_and_down_go_to_lines_and_left_and_right_along_one() -> None:
    form = [FormRow(key, key, (key,), shares_line=key in "bd") for key in "abcde"]
    layout, cursor = lay_out(form, 33, UNICODE), FormCursor()
    cursor.take(form)

    def at(index: int | None) -> str:
        return "" if index is None else form[index].key

    assert [at(cursor.beyond(layout, lines, 0)) for lines in (-1, 1, 2, 9)] == ["", "c", "e", "e"]
    assert [at(cursor.beyond(layout, lines, layout.x[1])) for lines in (1, 2)] == ["d", "e"]
    assert [at(cursor.beside(layout, side)) for side in (-1, 1)] == ["", "b"]
    cursor.index = 4
    assert [at(cursor.beyond(layout, -1, x)) for x in (0, layout.x[1])] == ["c", "d"]
    assert [at(cursor.beside(layout, side)) for side in (-1, 1)] == ["", ""]


def test_a_problem_stands_beside_its_row_or_below() -> None:
    row = [FormRow("a", "layer", ("99",), problem="layer 99 is out of range")]
    assert drawn(lay_out(row, 80, UNICODE)) == [" layer      !99  layer 99 is out of range"]
    assert drawn(lay_out(row, 20, UNICODE)) == [" layer   !99", "  layer 99 is out of", "  range"]


def test_the_longest_way_that_fits_is_shown() -> None:
    row = [FormRow("a", "values", ("-20 -10 -6 -3 -1 0 1", "-20 … 1 ×7", "×7"))]
    shown = [drawn(lay_out(row, width, UNICODE))[0].split(maxsplit=1)[1] for width in (60, 20, 12)]
    assert shown == ["-20 -10 -6 -3 -1 0 1", "-20 … 1 ×7", "×7"]
    assert drawn(lay_out(row, 20, ASCII))[0].isascii()


@given(
    st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8), st.lists(st.sampled_from("abcdefgh"), unique=True)
)
def test_the_highlight_stays_on_its_row_whatever_comes_and_goes(before: list[str], after: list[str]) -> None:
    cursor = FormCursor()
    cursor.take([FormRow(key, key, kind="fact" if key == "a" else "field") for key in before])
    key = cursor.key
    cursor.take([FormRow(one, one, kind="fact" if one == "a" else "field") for one in after])
    assert cursor.key == key if key in after else cursor.key in ["", *after]
    assert cursor.key != "a"
