"""Which rows of a study's table are listed and in which order: sorted by a column, filtered by a line, marked.

373                   the neuron of that number; in a table without neurons, and for other words, any text of the row
"the door"            the same for several words
kl>.5  q<=.05         compares a column's number: > >= < <= = !=
layer=11              a column by its heading in a file, or on the screen
marked                what was marked
!marked  !373         not
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.figures import MINUS, TableFigure
from srm_explorer.tui.results.runs_filter import COMPARE, COMPARISON, terms, unquoted
from srm_explorer.tui.results.runs_rows import Mask, Numbers

Neuron: TypeAlias = tuple[int, int]
"""(layer, neuron)."""

FROM_BELOW = ("p", "text", "index")
"""What columns hold whose smallest values are looked for first; numbers are sorted from the largest down."""


class TableListing:
    """The rows of a table that are listed, sorted and filtered; row numbers are the table's own.

    Attributes:
        table: None before there is one.
        sort: key of the column that they are sorted by, empty for the table's own order.
        descending: from the largest down.
        filter_text: the filter line in force.
        problem: what is wrong with the line that was given last; empty where nothing is.
        only_marked: whether others are left out.
        marks: (layer, neuron) of what is marked.
        rows: [listed] the table's rows.
        columns: those of the layer and the neuron; None where rows have none.

    Args:
        marks: that several tables share.
    """

    def __init__(self, marks: set[Neuron] | None = None) -> None:
        self.table: TableFigure | None = None
        self.sort, self.descending = "", False
        self.filter_text = ""
        self.problem = ""
        self.only_marked = False
        self.marks = set[Neuron]() if marks is None else marks
        self.rows: list[int] = []
        self.columns: tuple[int, int] | None = None
        self._mask: Mask | None = None
        self._asks_marks = False
        self._numbers: dict[str, Numbers] = {}
        self._words: list[str] | None = None

    def take(self, table: TableFigure) -> None:
        """List another table: what was sorted and filtered by stays where it has such columns."""
        if table is self.table:
            return
        self.table, self._numbers, self._words, self._mask = table, {}, None, None
        keys = [column.key for column in table.columns]
        self.columns = (keys.index("layer"), keys.index("neuron")) if {"layer", "neuron"} <= set(keys) else None
        if self.sort not in ("", *keys):
            self.sort, self.descending = "", False
        self.set_filter(self.filter_text)
        self.list_again()

    @property
    def has_neurons(self) -> bool:
        """Whether its rows are neurons, which can be marked."""
        return self.columns is not None

    def neuron(self, row: int) -> Neuron | None:
        """(layer, neuron) of a row; None where it is of none."""
        if self.table is None or self.columns is None:
            return None
        layer, neuron = (self.table.rows[row][at] for at in self.columns)
        return (layer, neuron) if isinstance(layer, int) and isinstance(neuron, int) else None

    def is_marked(self, row: int) -> bool:
        return self.neuron(row) in self.marks

    def mark(self, row: int) -> None:
        """Mark a row's neuron, or take its mark away."""
        neuron = self.neuron(row)
        if neuron is None:
            return
        self.marks ^= {neuron}
        if self.only_marked or self._asks_marks:
            self.set_filter(self.filter_text)
            self.list_again()

    def sort_by(self, column: str) -> None:
        self.sort = column
        self.descending = self._falls_first()
        self.list_again()

    def sort_next(self) -> None:
        """Sort by the next column, the table's own order among them."""
        if self.table is not None:
            cycle = ["", *(column.key for column in self.table.columns)]
            at = cycle.index(self.sort) if self.sort in cycle else 0
            self.sort_by(cycle[(at + 1) % len(cycle)])

    def reverse(self) -> None:
        self.descending = not self.descending
        self.list_again()

    def set_filter(self, text: str) -> None:
        """List what a line says; one that means nothing leaves the rows as they are and becomes `problem`."""
        self.problem = ""
        if self.table is None:
            self.filter_text = text
            return
        try:
            self._mask = self._parsed(text)
            self._asks_marks = "marked" in text.casefold()
            self.filter_text = text
        except ExplorerError as error:
            self.problem = str(error)

    def list_again(self) -> None:
        table = self.table
        if table is None:
            self.rows = []
            return
        mask = np.ones(len(table.rows), np.bool_) if self._mask is None else self._mask
        if self.only_marked:
            mask = mask & self._marked()
        order = self._sorted()
        self.rows = [int(row) for row in order[mask[order]]]

    def numbers(self, column: str) -> Numbers:
        """[row] of a column; NaN where it has no number."""
        table = self.table
        if table is None:
            return np.empty(0)
        if column not in self._numbers:
            at = [known.key for known in table.columns].index(column)
            values = (row[at] for row in table.rows)
            self._numbers[column] = np.array(
                [float(value) if isinstance(value, int | float) else np.nan for value in values], np.float64
            )
        return self._numbers[column]

    def summary(self, separator: str) -> str:
        """What is listed: "500 of 3,072 neurons · by kl · 3 marked"."""
        table = self.table
        if table is None:
            return ""
        noun = "neurons" if self.has_neurons else "rows"
        parts = [f"{len(self.rows):,} of {len(table.rows):,} {noun}"]
        if self.sort:
            titles = {column.key: column.title for column in table.columns}
            parts.append(f"by {titles[self.sort]}")
        parts += ["reversed"] if self.descending != self._falls_first() else []
        parts += [f"{len(self.marks):,} marked"] if self.marks else []
        parts += ["marked only"] if self.only_marked else []
        parts += [f"/ {self.filter_text}"] if self.filter_text else []
        return f" {separator} ".join(parts)

    def _falls_first(self) -> bool:
        return bool(self.sort) and self._shown(self.sort) not in FROM_BELOW

    def _shown(self, column: str) -> str:
        columns = () if self.table is None else self.table.columns
        return next((known.shown for known in columns if known.key == column), "")

    def _marked(self) -> Mask:
        rows = range(0 if self.table is None else len(self.table.rows))
        return np.array([self.is_marked(row) for row in rows], np.bool_)

    def _sorted(self) -> NDArray[np.intp]:
        """Rows in order; equal ones keep the table's, those without a value come last."""
        table = self.table
        count = 0 if table is None else len(table.rows)
        if table is None or not self.sort:
            rows = np.arange(count)
            return np.asarray(rows[::-1] if self.descending else rows, np.intp)
        key = self.numbers(self.sort)
        if self._shown(self.sort) == "text":
            at = [known.key for known in table.columns].index(self.sort)
            texts = [str(row[at] or "").casefold() for row in table.rows]
            ranks = {text: float(rank) for rank, text in enumerate(sorted(set(texts)))}
            key = np.array([ranks[text] if text else np.nan for text in texts])
        absent = np.isnan(key)
        return np.lexsort((np.where(absent, 0.0, -key if self.descending else key), absent))

    def _parsed(self, text: str) -> Mask:
        mask = np.ones(0 if self.table is None else len(self.table.rows), np.bool_)
        for term, negated in terms(text):
            met = self._term(term)
            mask &= ~met if negated else met
        return mask

    def _term(self, term: str) -> Mask:
        if comparison := COMPARISON.fullmatch(term):
            return self._comparison(unquoted(comparison["name"]), comparison["op"], unquoted(comparison["value"]))
        word = unquoted(term).casefold()
        if word == "marked":
            return self._marked()
        columns = () if self.table is None else self.table.columns
        if word.isdecimal() and any(column.key == "neuron" for column in columns):
            return self.numbers("neuron") == float(word)
        return np.array([word in words for words in self._all_words()], np.bool_)

    def _comparison(self, name: str, sign: str, value: str) -> Mask:
        table = self.table
        assert table is not None
        known = {column.title.casefold(): column for column in table.columns}
        known |= {column.key.casefold(): column for column in table.columns}
        column = known.get(name.casefold())
        if column is None:
            keys = [column.key for column in table.columns]
            remedy = f"{did_you_mean(name, keys)}, or quote what is to be found"
            raise ExplorerError(f"there is no column '{name}'", remedy=remedy)
        if column.shown in ("text", "time"):
            if sign not in ("=", "!="):
                raise ExplorerError(f"{name} is a text, so {sign} means nothing", remedy=f"write {name}={value}")
            at = table.columns.index(column)
            met = np.array([value.casefold() in str(row[at] or "").casefold() for row in table.rows], np.bool_)
            return met if sign == "=" else ~met
        try:
            number = float(value.replace(MINUS, "-").removesuffix("%").strip("σ× "))
        except ValueError:
            raise ExplorerError(f"'{value}' is not a number", remedy=f"write {name}{sign}.5") from None
        if column.shown == "percent":
            # As it is read on the screen: 25 for a quarter.
            number /= 100
        numbers = self.numbers(column.key)
        return COMPARE[sign](numbers, number) & np.isfinite(numbers)

    def _all_words(self) -> Sequence[str]:
        if self._words is None:
            table = self.table
            columns = () if table is None else table.columns
            texts = [at for at, column in enumerate(columns) if column.shown == "text"]
            rows = () if table is None else table.rows
            self._words = ["\n".join(str(row[at] or "") for at in texts).casefold() for row in rows]
        return self._words
