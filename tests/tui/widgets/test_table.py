from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.events import MouseScrollDown
from textual.geometry import Region
from textual.message import Message
from textual.pilot import Pilot

from srm_explorer.tui.widgets.table import Cell, LineTable
from srm_explorer.tui.widgets.table_render import Column, fit, one_line, place_columns

COLUMNS = (
    Column("name", "name"),
    Column("cos", "cos", width=5, align="right"),
    Column("extra", "extra", width=10, priority=2),
)
SCRIPTS = [
    "हिन्दी में एक वाक्य",
    "क्‍ष",
    "👨‍👩‍👧‍👦",
    "❤️",
    "👍🏽",
    "🇩🇪",
    "漢字",
    "한글",
    "e\u0301",
    "ไทยำ",
    "می‌روم",
    "plain",
    " ",
]
TEXTS = st.text(st.characters(), max_size=40) | st.lists(st.sampled_from(SCRIPTS), max_size=6).map("".join)


class Watched(LineTable):
    """A table that notes which regions it has asked to repaint, and which lines it painted."""

    def __init__(self, reveals: bool = False) -> None:
        super().__init__(reveals=reveals, id="table")
        self.regions: list[Region] = []
        self.lines: list[int] = []

    def refresh(self, *regions: Region, **options: Any) -> Any:
        self.regions += regions or (Region(0, 0, 999, 999),)
        return super().refresh(*regions, **options)

    def render_line(self, y: int) -> Any:
        self.lines.append(y)
        return super().render_line(y)


class Host(App[None]):
    def __init__(self, reveals: bool = False) -> None:
        super().__init__()
        self.table = Watched(reveals)
        self.told: list[Message] = []

    def compose(self) -> ComposeResult:
        yield self.table

    def on_line_table_highlighted(self, message: LineTable.Highlighted) -> None:
        self.told.append(message)

    def on_line_table_opened(self, message: LineTable.Opened) -> None:
        self.told.append(message)

    def on_line_table_header_pressed(self, message: LineTable.HeaderPressed) -> None:
        self.told.append(message)


@asynccontextmanager
async def drive(
    *, width: int = 60, height: int = 11, rows: int = 5000, reveals: bool = False
) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    app = Host(reveals)
    async with app.run_test(size=(width, height)) as pilot:
        app.table.set_columns(COLUMNS)
        app.table.set_rows(rows, lambda row, key: f"{key} {row}")
        app.table.focus()
        await pilot.pause()
        app.table.regions.clear()
        app.table.lines.clear()
        app.told.clear()
        yield app, pilot


def screen_lines(app: Host) -> list[str]:
    return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]


async def test_keys_move_the_highlight_and_the_view() -> None:
    async with drive() as (app, pilot):
        table = app.table
        seen = []
        for key in ("j", "down", "k", "pagedown", "end", "up", "pageup", "home"):
            await pilot.press(key)
            await pilot.pause()
            seen.append(table.cursor)
            assert next(line for line in screen_lines(app) if f"name {table.cursor} " in line).startswith("▸")
        assert seen == [1, 2, 1, 10, 4999, 4998, 4989, 0]
        assert [message.row for message in app.told if isinstance(message, LineTable.Highlighted)] == seen
        await pilot.press("j", "enter")
        await pilot.pause()
        assert isinstance(app.told[-1], LineTable.Opened)
        assert app.told[-1].row == 1


async def test_the_highlight_stays_at_the_ends() -> None:
    async with drive(rows=3) as (app, pilot):
        await pilot.press("up", "pageup", "k")
        assert app.table.cursor == 0
        await pilot.press("end", "down", "pagedown")
        assert app.table.cursor == 2


async def test_an_empty_table_opens_nothing() -> None:
    async with drive(rows=0) as (app, pilot):
        await pilot.press("enter", "j", "end", "pageup")
        await pilot.pause()
        assert app.told == []
        assert app.table.key is None


@pytest.mark.drawn
async def test_only_cells_that_changed_are_repainted() -> None:
    async with drive() as (app, pilot):
        table = app.table
        values = {"cos 3": "cos X"}

        def cell(row: int, key: str) -> Cell:
            text = f"{key} {row}"
            return values.get(text, text)

        table.set_rows(5000, cell)
        await pilot.pause()
        at = screen_lines(app)[4].index("cos X")
        assert table.regions == [Region(at, 4, 5, 1)]
        assert set(table.lines) == {4}
        table.regions.clear()
        table.refresh_cells()
        assert table.regions == []


async def test_rows_may_change_before_the_table_hears_of_its_new_width(monkeypatch: pytest.MonkeyPatch) -> None:
    async with drive() as (app, pilot):
        table = app.table
        await pilot.resize_terminal(16, 12)
        narrow = screen_lines(app)
        monkeypatch.setattr(LineTable, "on_resize", lambda _: None)
        await pilot.resize_terminal(60, 12)
        table.set_rows(5000, lambda row, key: f"{key} {(row + 1) % 10}")
        await pilot.pause()
        wide = screen_lines(app)
        assert len(table._places()) == len(COLUMNS)
        assert all(f"{column.key} 1" in wide[1] for column in COLUMNS)
        assert not all(f"{column.key} 0" in narrow[1] for column in COLUMNS)


async def test_rows_are_asked_for_only_when_they_come_into_view() -> None:
    async with drive() as (app, pilot):
        asked: set[int] = set()

        def cell(row: int, key: str) -> Cell:
            asked.add(row)
            return str(row)

        app.table.set_rows(100_000, cell)
        await pilot.pause()
        assert asked <= set(range(11))
        await pilot.press("end")
        await pilot.pause()
        assert asked <= set(range(11)) | set(range(99_989, 100_000))


async def test_the_highlight_follows_its_key_and_keeps_its_place_on_the_screen() -> None:
    async with drive() as (app, pilot):
        table = app.table
        table.set_rows(5000, lambda row, key: f"{key} {row}", keys=lambda row: row)
        for _ in range(4):
            await pilot.press("j")
        await pilot.pause()
        before = next(y for y, line in enumerate(screen_lines(app)) if line.startswith("▸"))
        table.set_rows(5000, lambda row, key: f"{key} {(row + 999) % 5000}", keys=lambda row: (row + 999) % 5000)
        await pilot.pause()
        assert table.key == 4
        lines = screen_lines(app)
        after = next(y for y, line in enumerate(lines) if line.startswith("▸"))
        assert "name 4 " in lines[after]
        assert after == before
        table.set_rows(2, lambda row, key: f"{key} {row}", keys=lambda row: row)
        await pilot.pause()
        assert table.cursor == 1
        assert table.scroll_offset.y == 0
        assert [line.strip() for line in screen_lines(app)[3:]] == [""] * 8


async def test_rows_that_come_do_not_move_a_highlight_that_nobody_moved_where_so_wished() -> None:
    async with drive() as (app, _):
        table = app.table
        table.set_rows(9, lambda row, key: "", keys=lambda row: row)
        table.set_rows(10, lambda row, key: "", keys=lambda row: row - 1, stay=False)
        assert table.cursor == 0
        table.set_rows(9, lambda row, key: "", keys=lambda row: row)
        table.set_rows(10, lambda row, key: "", keys=lambda row: row - 1)
        assert table.cursor == 1


async def test_the_mouse_highlights_opens_scrolls_and_presses_titles() -> None:
    async with drive() as (app, pilot):
        table = app.table
        await pilot.click(table, offset=(4, 3))
        assert table.cursor == 2
        await pilot.click(table, offset=(4, 5), times=2)
        await pilot.pause()
        assert isinstance(app.told[-1], LineTable.Opened)
        assert app.told[-1].row == 4
        await pilot.click(table, offset=(screen_lines(app)[0].index("cos"), 0))
        await pilot.pause()
        assert isinstance(app.told[-1], LineTable.HeaderPressed)
        assert app.told[-1].column_key == "cos"
        await pilot._post_mouse_events([MouseScrollDown], table, offset=(4, 4))
        await pilot.pause()
        assert table.scroll_offset.y > 0
        assert table.cursor == 4


async def test_the_header_says_what_rows_are_sorted_by() -> None:
    async with drive() as (app, pilot):
        app.table.set_sort("cos", descending=True)
        await pilot.pause()
        assert "cos↓" in screen_lines(app)[0]
        app.table.set_sort("name")
        await pilot.pause()
        assert "name↑" in screen_lines(app)[0]
        assert "cos↓" not in screen_lines(app)[0]


async def test_left_and_right_scroll_a_table_that_is_too_wide_and_are_others_keys_where_it_fits() -> None:
    async with drive() as (app, pilot):
        table = app.table
        assert table.check_action("sideways", (1,)) is False
        table.set_columns([Column("a", "a", width=50), Column("b", "b", width=40)])
        await pilot.pause()
        await pilot.press("l", "right", "right", "right", "right")
        await pilot.pause()
        assert "b 0" in screen_lines(app)[1]
        await pilot.press("h", "left", "left", "left", "left")
        await pilot.pause()
        assert table.scroll_offset.x == 0


async def test_a_table_that_reveals_scrolls_to_the_columns_there_was_no_room_for() -> None:
    async with drive(width=20, reveals=True) as (app, pilot):

        def header() -> str:
            return screen_lines(app)[0]

        assert "extra" not in header()
        assert header().rstrip().endswith("cos →")
        shown = ""
        for _ in range(12):
            await pilot.press("l")
            await pilot.pause()
            shown += header()
        assert "extra" in shown
        assert [line.split()[:2] for line in screen_lines(app)[2:5]] == [["name", str(row)] for row in (1, 2, 3)]
        # Left of the first column they are left out again.
        for _ in range(13):
            await pilot.press("h")
            await pilot.pause()
        assert "extra" not in header()
        assert header().split() == ["name", "cos", "→"], "there is more to the right"


async def test_a_table_that_reveals_brings_in_the_ends_of_texts_that_are_cut() -> None:
    async with drive(reveals=True) as (app, pilot):
        text = f"begins {'and goes on ' * 12}ends"
        app.table.set_columns([Column("kind", "kind", 6), Column("text", "text")])
        app.table.set_rows(3, lambda row, key: text if key == "text" else f"no {row}")
        await pilot.pause()
        assert "ends" not in screen_lines(app)[1]
        assert screen_lines(app)[0].rstrip().endswith("→")
        await pilot.press(*["l"] * 20)
        await pilot.pause()
        assert screen_lines(app)[1].rstrip().endswith("ends")
        assert screen_lines(app)[1].split()[1:3] == ["no", "0"]


async def test_names_that_are_cut_amid_are_told_apart_by_their_ends() -> None:
    names = [f"alpha-experiment-with-a-very-long-name-that-goes-on-{word}" for word in ("first", "second", "third")]
    async with drive() as (app, pilot):
        app.table.set_columns([Column("name", "name", 30, cut="middle")])
        app.table.set_rows(3, lambda row, key: names[row])
        await pilot.pause()
        shown = [line.split()[-1] for line in screen_lines(app)[1:4]]
        assert [name.rpartition("-")[2] for name in shown] == ["first", "second", "third"]
        assert all(name.startswith("alpha-") and cell_len(name) == 30 for name in shown)


@given(text=TEXTS, width=st.integers(0, 30), align=st.sampled_from(["left", "right"]))
def test_any_text_fits_its_cell_exactly_and_cannot_act_on_the_terminal(text: str, width: int, align: Any) -> None:
    shown = fit(text, width, align)
    assert cell_len(shown) == width
    plain = shown.replace("\u200c", "").replace("\u200d", "")
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in plain)
    assert not any(character in shown for character in "\x1b\x9b\n\r\t\x7f\u202e\u2066\u2028")
    shown.encode()


@given(text=TEXTS)
def test_one_line_is_stable(text: str) -> None:
    assert one_line(one_line(text)) == one_line(text)


@given(
    columns=st.lists(
        st.tuples(st.none() | st.integers(1, 30), st.integers(0, 3), st.integers(1, 12)), min_size=1, max_size=8
    ),
    width=st.integers(10, 200),
    widest=st.none() | st.lists(st.integers(0, 90), min_size=8, max_size=8),
)
def test_columns_never_overlap_and_only_unwanted_ones_are_dropped(
    columns: list[tuple[int | None, int, int]], width: int, widest: list[int] | None
) -> None:
    given_ = [
        Column(str(i), "", own, priority=priority, least=least) for i, (own, priority, least) in enumerate(columns)
    ]
    needs = None if widest is None else {str(i): need for i, need in enumerate(widest)}
    placed = place_columns(given_, width, 2, needs)
    ends = [2, *(one.end + 1 for one in placed)]
    assert all(one.x >= end for one, end in zip(placed, ends, strict=False))
    kept = {one.column.key for one in placed}
    assert all(column.key in kept for column in given_ if column.priority == 0)
    dropped = [column.priority for column in given_ if column.key not in kept]
    assert not dropped or min(dropped) >= max((one.column.priority for one in placed), default=0) or not kept
    fits = placed[-1].end <= width if placed else True
    assert fits or all(one.column.priority == 0 for one in placed)
    if fits and placed and any(one.column.width is None for one in placed):
        assert placed[-1].end == width


@given(
    needs=st.lists(st.tuples(st.none() | st.integers(4, 30), st.integers(1, 200)), min_size=1, max_size=6),
    width=st.integers(40, 200),
)
def test_nothing_is_cut_while_another_column_has_room_to_spare(needs: list[tuple[int | None, int]], width: int) -> None:
    columns = [Column(str(i), "", own, least=4) for i, (own, _) in enumerate(needs)]
    placed = place_columns(columns, width, 2, {str(i): need for i, (_, need) in enumerate(needs)})
    before = place_columns(columns, width, 2)
    assert placed[-1].end == before[-1].end
    if placed[-1].end > width:
        return
    cut = [need for one, (_, need) in zip(placed, needs, strict=True) if one.width < need]
    spare = [own for one, (own, need) in zip(placed, needs, strict=True) if one.width > need]
    assert not (any(need <= 60 for need in cut) and spare)
    assert not (cut and None in spare), "a column without a width of its own has more than it needs"


def test_the_columns_that_always_are_fit_a_narrow_table_before_they_leave_it() -> None:
    columns = [Column("name", "name", least=24), Column("count", "count", 10, "right")]
    for width in range(24, 60):
        assert place_columns(columns, width, 3)[-1].end <= width


async def test_a_text_that_comes_into_view_finds_room_beside_shorter_ones() -> None:
    async with drive() as (app, pilot):
        app.table.set_columns([Column("kind", "kind", 6), Column("text", "text"), Column("state", "state", 20)])
        names = ["short", "short", *["a kind of seventeen"] * 40]
        app.table.set_rows(40, lambda row, key: names[row] if key == "kind" else key)
        await pilot.pause()
        assert "a kind of seventeen" in screen_lines(app)[5]
        assert screen_lines(app)[0].split() == ["kind", "text", "state"]


async def test_the_title_that_rows_are_sorted_by_is_whole_beside_its_arrow() -> None:
    async with drive() as (app, pilot):
        app.table.set_columns([Column("text", "text"), Column("cos", "cos", 5, align="right")])
        app.table.set_rows(
            40, lambda row, key: ".98" if key == "cos" else "a text that takes whatever it is given " * 3
        )
        await pilot.pause()
        assert screen_lines(app)[0].rstrip().endswith(" cos")
        app.table.set_sort("cos", descending=True)
        await pilot.pause()
        assert "cos↓" in screen_lines(app)[0]


async def test_muted_texts_differ_from_the_background_on_every_theme() -> None:
    async with drive() as (app, pilot):
        for theme in ("textual-light", "textual-dark", "nord", "solarized-light"):
            app.theme = theme
            app.table.set_rows(9, lambda row, key: (f"{key} {row}", "dim"))
            await pilot.pause()
            for line in (0, 1, 3):
                for segment in app.table.render_line(line):
                    style = segment.style
                    assert style
                    assert style.color
                    assert style.bgcolor
                    if segment.text.strip():
                        pair = [colour.get_truecolor() for colour in (style.color, style.bgcolor)]
                        assert sum(abs(one - other) for one, other in zip(*pair, strict=True)) > 150, (theme, line)
