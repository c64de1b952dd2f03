"""Texts of any script keep the columns of a table, in terminals that count their cells in different ways."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable

import pyte
import pyte.screens
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyte import modes as pyte_modes
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.strip import Strip
from wcwidth import wcwidth

from srm_explorer.tui.charts.picture import cells_of
from srm_explorer.tui.terminal import wide_text
from srm_explorer.tui.text import broadest, cut, wrapped
from srm_explorer.tui.widgets.table import LineTable
from srm_explorer.tui.widgets.table_render import Column, fit, kept_apart

SCRIPTS = (
    "हिन्दी में एक वाक्य",
    "நீங்கள் எப்படி",
    "क्\u200dष",
    "👨\u200d👩\u200d👧\u200d👦",
    "❤\ufe0f",
    "👍🏽",
    "🇩🇪",
    "漢字",
    "한글",
    "e\u0301",
    "می\u200cروم",
    "plain",
    " ",
)
WIDTHS: dict[str, Callable[[str], int]] = {
    "as Unicode has it": wcwidth,
    "vowel signs have cells": lambda c: 1 if unicodedata.category(c) == "Mc" else wcwidth(c),
    "flags and tones are narrow": lambda c: (
        1 if 0x1F1E6 <= ord(c) <= 0x1F1FF else 0 if 0x1F3FB <= ord(c) < 0x1F400 else wcwidth(c)
    ),
}
"""How terminals count the cells of a character."""


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Strip, "render", wide_text._render)


class Host(App[None]):
    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        self.texts = texts

    def compose(self) -> ComposeResult:
        yield LineTable()

    async def on_mount(self) -> None:
        table = self.query_one(LineTable)
        table.set_columns([Column("a", "a"), Column("b", "b", 9, "right"), Column("end", "end", 3)])
        table.set_rows(len(self.texts), lambda row, key: "|" if key == "end" else self.texts[row])


def drawn(app: Host, width: int) -> bytes:
    update = app.screen._compositor.render_update(full=True)
    console = Console(color_system="truecolor", force_terminal=True, width=width)
    return update.render_segments(console).encode()  # pyright: ignore


def seen(content: bytes, width: int, height: int, count: Callable[[str], int]) -> list[str]:
    """What a terminal shows that counts cells so, a character a cell."""
    before = pyte.screens.wcwidth
    pyte.screens.wcwidth = count  # pyright: ignore
    try:
        screen = pyte.Screen(width, height)
        screen.reset_mode(pyte_modes.DECAWM)
        pyte.ByteStream(screen).feed(content)
        return ["".join(screen.buffer[y][x].data[:1] or " " for x in range(width)) for y in range(height)]
    finally:
        pyte.screens.wcwidth = before  # pyright: ignore


@pytest.mark.parametrize("width", [24, 60])
def test_columns_stand_in_every_terminal_where_they_stand_for_plain_text(width: int) -> None:
    texts = [*SCRIPTS, *("".join(SCRIPTS[at:] + SCRIPTS[:at]) for at in range(len(SCRIPTS)))]

    async def run() -> None:
        app = Host(texts)
        async with app.run_test(size=(width, len(texts) + 1)) as pilot:
            await pilot.pause()
            table = app.query_one(LineTable)
            lines = [table.render_line(y) for y in range(len(texts) + 1)]
            assert {line.cell_length for line in lines} == {width}
            assert {cell_len(line.text) for line in lines} == {width}
            content = drawn(app, width)
            x = {
                count: [line.index("|") for line in seen(content, width, len(texts) + 1, how)[1:]]
                for count, how in WIDTHS.items()
            }
            ends = table._places()[-1].x
            assert x == {count: [ends] * len(texts) for count in WIDTHS}

    asyncio.run(run())


def test_a_cell_that_is_repainted_alone_leaves_the_others_as_they_are() -> None:
    async def run() -> None:
        app = Host(["plain", "हिन्दी", "👨\u200d👩\u200d👧"])
        async with app.run_test(size=(24, 4)) as pilot:
            await pilot.pause()
            content = drawn(app, 24)
            places = app.query_one(LineTable)._places()
            for y, text in enumerate(["हिन्दी में एक वाक्य और", "नमस्ते", "👨\u200d👩\u200d👧\u200d👦"], 1):
                strip = Strip([kept_apart(fit(text, places[0].width), Style())])
                content += f"\x1b[{y + 1};{places[0].x + 1}H{strip.render(Console())}".encode()
            for how in WIDTHS.values():
                lines = seen(content, 24, 4, how)[1:]
                assert [line.index("|") for line in lines] == [places[-1].x] * 3
                assert [line[places[0].end] for line in lines] == [" "] * 3

    asyncio.run(run())


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\x9b31mb", "a\nb\x7f", "a\u202eb\u2066", "ہ\u200fa\x07"])
def test_no_text_acts_on_the_terminal(text: str) -> None:
    strip = Strip([Segment(text), Segment("|")])
    sent = strip.render(Console(force_terminal=True))
    own = sent.replace("\x1b7", "").replace("\x1b8", "")
    assert own.isprintable()
    assert cell_len(own) == strip.cell_length


TEXTS = st.lists(st.sampled_from(SCRIPTS), max_size=8).map("".join) | st.text(max_size=20)


@settings(max_examples=60)
@given(TEXTS, st.integers(0, 30))
def test_what_is_cut_or_wrapped_fits_every_terminal(text: str, width: int) -> None:
    assert text.startswith(cut(text, width))
    assert cell_len(text) <= broadest(text)
    for part in [cut(text, width), *(wrapped(text, width) if width >= 16 else [])]:
        for count in WIDTHS.values():
            assert sum(max(0, count(character)) for character in part) <= width


@given(st.lists(st.sampled_from(SCRIPTS), max_size=8).map("".join))
def test_a_grid_of_cells_is_as_wide_as_its_text(text: str) -> None:
    cells = cells_of(text)
    assert cell_len("".join(character for character, _ in cells)) == len(cells)


def test_this_textual_draws_strips_as_the_replacement_does() -> None:
    assert wide_text.fingerprint(wide_text._ORIGINAL) in wide_text.KNOWN, (
        "see what is new in Strip.render, and whether it is still needed"
    )
