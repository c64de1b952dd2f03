from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.engine.figures.table import TableColumn, TableFigure, table_columns, tables_as_csv
from srm_explorer.tui.cli.output import colour_wanted, file_size, screen_size, table, table_width, visible
from srm_explorer.tui.cli.tables import say_tables

words = st.text(st.sampled_from("ab ·é漢"), max_size=40).map(lambda text: " ".join(text.split()))


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.tuples(words, words, words), max_size=5),
    width=st.integers(60, 120),
    flexible=st.integers(0, 2),
    right=st.sets(st.integers(0, 2)),
)
def test_a_table_keeps_every_word_and_its_width_where_one_column_can_give_way(
    rows: list[tuple[str, str, str]], width: int, flexible: int, right: set[int]
) -> None:
    lines = table(("one", "two", "three"), rows, right=right, width=width, flexible=flexible)
    letters = sorted("".join(("one", "two", "three", *(text for row in rows for text in row))).replace(" ", ""))
    assert sorted("".join(lines).replace(" ", "")) == letters
    rest = sum(max(cell_len(row[i]) for row in [("one", "two", "three"), *rows]) for i in range(3) if i != flexible)
    if rest + 4 + 12 <= width:
        assert max(map(cell_len, lines)) <= width
    assert table(("one", "two", "three"), rows)[0].split() == ["one", "two", "three"]
    assert len(table(("one", "two", "three"), rows)) == 1 + len(rows)


def test_headings_stand_in_several_lines_before_a_table_is_wider_than_its_room() -> None:
    header, rows = ("value", "harmed of healthy", "rescued of collapsed"), [("+30", "14.0 %", "–"), ("-30", "0 %", "–")]
    assert table(header, rows, right=(1, 2), width=80) == table(header, rows, right=(1, 2))
    assert table(header, rows, right=(1, 2), width=27) == [
        "value   harmed    rescued",
        "            of         of",
        "       healthy  collapsed",
        "+30     14.0 %          –",
        "-30        0 %          –",
    ]


def test_an_interval_has_room_for_both_ends_or_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = table_columns("value::text; mean; mean_low:from::1; mean_high:to::1")
    figure = TableFigure("t", "a title", columns, (("a long value", -1.0, -0.1234567, -0.00001),))
    shown: list[list[str]] = []
    for width in (60, 26):
        monkeypatch.setattr("srm_explorer.tui.cli.tables.table_width", lambda width=width: width)
        monkeypatch.setattr("sys.stdout", stream := io.StringIO())
        say_tables([figure])
        shown.append(stream.getvalue().splitlines()[1].split())
    assert shown == [["value", "mean", "from", "to"], ["value", "mean"]]


@given(st.text())
def test_what_is_shown_commands_no_terminal_and_stays_on_its_line(text: str) -> None:
    assert visible(text).isprintable()
    if text.isprintable():
        assert visible(text) == text


def test_half_of_a_surrogate_pair_is_written_to_a_file_as_its_escape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = TableFigure("texts", "Texts", (TableColumn("text", "text", "text"),), (("a\ud800b",),))
    say_tables([figure], file=tmp_path / "texts.csv")
    assert (tmp_path / "texts.csv").read_text("utf-8").splitlines()[1] == "a\\ud800b"
    assert "a" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_notes_are_wrapped_in_a_terminal_and_instants_shown_to_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    note = "of unlike numbers of tokens: " * 6 + "all of it"
    columns = (TableColumn("last", "last", "time"),)
    figure = TableFigure("t", "a title", columns, (("2026-11-29T21:14:40.710876+00:00",),), (note,))
    monkeypatch.setenv("COLUMNS", "60")
    for stream, lines in ((Terminal(), 4), (io.StringIO(), 1)):
        monkeypatch.setattr("sys.stdout", stream)
        say_tables([figure])
        _, _, last, *notes = stream.getvalue().splitlines()
        assert len(last.strip()) == len("2026-11-29 21:14")
        assert len(notes) == lines
        assert " ".join(" ".join(notes).split()) == note
        assert lines == 1 or max(map(len, notes)) <= 60
    assert tables_as_csv([figure]).splitlines()[1] == "2026-11-29T21:14:40.710876+00:00"


@pytest.mark.parametrize(
    ("environment", "on_terminal", "on_pipe"),
    [
        ({"TERM": "xterm-256color"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, False),
        ({"TERM": "xterm", "FORCE_COLOR": "1"}, True, True),
        ({"TERM": "xterm", "FORCE_COLOR": "0"}, True, False),
        ({"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_colours_follow_the_terminal_and_the_environment(
    environment: dict[str, str], on_terminal: bool, on_pipe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (colour_wanted(Terminal()), colour_wanted(io.StringIO())) == (on_terminal, on_pipe)


def test_a_pipe_is_80_by_24_and_its_tables_are_never_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor=1: (_ for _ in ()).throw(OSError()))
    assert screen_size() == (80, 24)
    assert screen_size(100) == (100, 24)
    assert screen_size(None, 40) == (80, 40)
    assert table_width(io.StringIO()) is None
    monkeypatch.setenv("COLUMNS", "132")
    assert screen_size()[0] == table_width(Terminal()) == 132


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_200_000, "9.2 MB"), (999_960, "1.0 MB"), (25e9, "25 GB")],
)
def test_sizes_are_told_as_people_do(size: int, told: str) -> None:
    assert file_size(size) == told
