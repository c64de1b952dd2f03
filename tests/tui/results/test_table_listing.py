"""Rows of a study's table: sorted, filtered and marked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.figures.table import TableFigure, table_columns
from srm_explorer.tui.results.table_listing import TableListing

COLUMNS = table_columns("rank::index; layer::index; neuron::index; kl:KL; share:changed:percent; words::text; q::p")
ROWS = (
    (1, 0, 7, 0.5, 0.25, "the door", 0.01),
    (2, 1, 7, 0.4, 0.5, "a Window", 0.2),
    (3, 1, 42, None, 0.0, "", None),
    (4, 1, 3, 0.1, 1.0, "the end", 0.04),
)


def listed(table: TableFigure | None = None) -> TableListing:
    listing = TableListing()
    listing.take(table or TableFigure("survey", "Survey", COLUMNS, ROWS))
    return listing


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("", [0, 1, 2, 3]),
        ("7", [0, 1]),
        ("layer=1 7", [1]),
        ("kl>.1", [0, 1]),
        ("KL>=.1", [0, 1, 3]),
        ("changed>=50", [1, 3]),
        ("share<25", [2]),
        ("q<.05", [0, 3]),
        ("window", [1]),
        ('"the d"', [0]),
        ("words=the", [0, 3]),
        ("!7", [2, 3]),
        ("kl!=.4", [0, 3]),
    ],
)
def test_a_line_lists_the_rows_that_meet_all_of_it(line: str, rows: list[int]) -> None:
    listing = listed()
    listing.set_filter(line)
    listing.list_again()
    assert not listing.problem
    assert listing.rows == rows


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "kk>1",
            "there is no column 'kk'; choose one of rank, layer, neuron, kl, share, words, q, "
            "or quote what is to be found",
        ),
        ("kl>much", "'much' is not a number; write kl>.5"),
        ("words>a", "words is a text, so > means nothing; write words=a"),
    ],
)
def test_a_line_that_means_nothing_says_why_and_leaves_the_rows(line: str, said: str) -> None:
    listing = listed()
    listing.set_filter("7")
    listing.set_filter(line)
    listing.list_again()
    assert listing.problem == said
    assert (listing.filter_text, listing.rows) == ("7", [0, 1])


def test_columns_are_sorted_from_the_end_that_is_looked_for_and_what_is_unknown_comes_last() -> None:
    listing = listed()
    for column, rows in (("kl", [0, 1, 3, 2]), ("q", [0, 3, 1, 2]), ("neuron", [3, 0, 1, 2]), ("words", [1, 0, 3, 2])):
        listing.sort_by(column)
        assert listing.rows == rows, column
    listing.sort_by("kl")
    listing.reverse()
    assert listing.rows == [3, 1, 0, 2]
    assert listing.summary("·") == "4 of 4 neurons · by KL · reversed"
    seen = {listing.sort}
    for _ in COLUMNS:
        listing.sort_next()
        seen.add(listing.sort)
    assert seen == {"", *(column.key for column in COLUMNS)}


def test_a_mark_is_of_the_neuron_and_lists_it_alone() -> None:
    marks: set[tuple[int, int]] = set()
    first, other = TableListing(marks), TableListing(marks)
    first.take(TableFigure("survey", "Survey", COLUMNS, ROWS))
    other.take(TableFigure("written", "Written", COLUMNS, ROWS[1:]))
    first.mark(1)
    assert marks == {(1, 7)}
    assert other.is_marked(0)
    other.only_marked = True
    other.list_again()
    assert other.rows == [0]
    other.mark(0)
    assert (other.rows, marks) == ([], set())
    first.mark(3)
    first.set_filter("marked")
    first.list_again()
    assert first.rows == [3]
    words = listed(TableFigure("named", "Named", table_columns("measure::text; of::whole"), (("KL", 7),)))
    assert not words.has_neurons
    words.mark(0)
    assert not words.marks


def test_what_another_table_lacks_is_not_sorted_by_and_said_to_be_no_column() -> None:
    listing = listed()
    listing.sort_by("kl")
    listing.set_filter("kl>.3")
    listing.take(TableFigure("survey", "Survey", COLUMNS[:3], tuple(row[:3] for row in ROWS)))
    assert listing.sort == ""
    assert listing.problem.startswith("there is no column 'kl'")
    assert listing.rows == [0, 1, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.none() | st.floats(0, 9)), max_size=30), st.data())
def test_every_row_is_listed_once_whatever_it_is_sorted_by(
    rows: list[tuple[int, int, float | None]], data: st.DataObject
) -> None:
    columns = table_columns("layer::index; neuron::index; kl")
    listing = listed(TableFigure("survey", "Survey", columns, tuple(rows)))
    listing.sort_by(data.draw(st.sampled_from(["", "layer", "neuron", "kl"])))
    assert sorted(listing.rows) == list(range(len(rows)))
    known = [kl for row in listing.rows if (kl := rows[row][2]) is not None]
    if listing.sort == "kl":
        assert known == sorted(known, reverse=True)
