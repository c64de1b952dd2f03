"""Which runs are listed and in which order, as the spotlight turns and as runs arrive."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import MINUS, NOTHING, plane_captions, three_digits
from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.results.runs_filter import RunFilter, parse_filter
from srm_explorer.tui.results.runs_rows import FACTOR, LARGEST_FIRST, MOVING, UNSORTED, Mask, Numbers, RunRows
from srm_explorer.tui.results.state import ResultsState
from srm_explorer.tui.widgets.table_render import Cell, Column

NOT_IN_CYCLE = frozenset({"x", "y", "norm"})
"""Columns that the key for sorting skips; a click on their titles sorts by them."""
SORTS = {UNSORTED: "in the session's order", "lit": "lit first", "cos": "by cosine", "change": "by first change"}


class RunListing:
    """The runs of what a results state shows, sorted and filtered.

    Attributes:
        sort: a column, "lit", "cos", or "" for the session's order.
        descending: from the largest down.
        only_lit: whether runs outside the spotlight are left out.
        filter_text: the filter line in force.
        problem: what is wrong with the filter line that was given last; empty where nothing is.
        rows: the runs; None before there is a session with any.
        order: the rows that are listed.
        cosines: [run] at the spotlight; NaN without a plane.
        lit: [run] under the spotlight.

    Args:
        compact: whether it has few columns, see `columns_of`.
    """

    def __init__(self, sort: str = UNSORTED, *, compact: bool = False) -> None:
        self._compact = compact
        self.sort = sort
        self.descending = sort in LARGEST_FIRST
        self.only_lit = False
        self.filter_text = ""
        self.problem = ""
        self.rows: RunRows | None = None
        self.order: list[int] = []
        self.cosines: Numbers = np.empty(0)
        self.lit: Mask = np.empty(0, np.bool_)
        self._filter: RunFilter | None = None
        self._unmoving: dict[tuple[int, str], Cell] = {}
        self._unmoving_of: tuple[RunRows, Glyphs] | None = None

    def take(self, state: ResultsState) -> None:
        """Follow a state: its session and plane, its angle and threshold."""
        session, record = state.session, state.record()
        if session is None or not session.runs:
            self.rows, self.order = None, []
            return
        rows = self.rows
        other = rows is None or rows.session is not session or rows.record is not record
        if rows is None or other:
            rows = self.rows = RunRows(session, record)
            if not rows.knows(self.sort):
                self.sort, self.descending = UNSORTED, False
            self.set_filter(self.filter_text)
        if record is None:
            self.cosines, self.lit = np.full(len(rows), np.nan), np.zeros(len(rows), np.bool_)
        else:
            self.cosines, self.lit = state.cosines(), state.lit()
        if other or self.is_moving:
            self.list_again()

    @property
    def is_moving(self) -> bool:
        return self.sort in MOVING or self.only_lit or (self._filter is not None and bool(self._filter.moving))

    def set_filter(self, text: str) -> None:
        """List what a line says; one that cannot be understood leaves the filter as it is and becomes `problem`."""
        self.problem = ""
        if self.rows is None:
            self.filter_text = text
            return
        try:
            self._filter = parse_filter(text, self.rows)
            self.filter_text = text
        except ExplorerError as error:
            self.problem = str(error)
            if self._filter is not None and len(self._filter.fixed) != len(self.rows):
                self._filter = None

    def sort_by(self, column: str) -> None:
        self.sort, self.descending = column, column in LARGEST_FIRST
        self.list_again()

    def sort_next(self) -> None:
        """Sort by the next column: the session's order, lit first, then the columns from left to right."""
        if self.rows is None:
            return
        columns = [column.key for column in self.columns if column.key not in NOT_IN_CYCLE]
        cycle = [UNSORTED, *(["lit"] if "cos" in columns else []), *columns]
        at = cycle.index(self.sort) if self.sort in cycle else 0
        self.sort_by(cycle[(at + 1) % len(cycle)])

    def reverse(self) -> None:
        self.descending = not self.descending
        self.list_again()

    def list_again(self) -> None:
        if self.rows is None:
            return
        shown = None if self._filter is None else self._filter.mask(self.cosines, self.lit)
        session = self.rows.session
        if session.kept_back:
            of_seen = np.array([session.prompts_seen[run.prompt] for run in session.runs], np.bool_)
            shown = of_seen if shown is None else shown & of_seen
        if self.only_lit:
            shown = self.lit if shown is None else shown & self.lit
        order = self.rows.order(self.sort, self.descending, shown, self.cosines, self.lit)
        self.order = [int(row) for row in order]

    def next_lit(self, cursor: int, step: int) -> int | None:
        """Where the next listed run that is lit stands, or the one before, round and round; None where none is."""
        count = len(self.order)
        round_ = ((cursor + step * away) % count for away in range(1, count + 1))
        return next((listed for listed in round_ if self.lit[self.order[listed]]), None)

    @property
    def columns(self) -> tuple[Column, ...]:
        return () if self.rows is None else columns_of(self.rows, self._compact)

    def cells(self, signs: Glyphs) -> RunCells | None:
        """The cells of what is listed now; those that the spotlight does not change are made once."""
        if self.rows is None:
            return None
        if self._unmoving_of != (self.rows, signs):
            self._unmoving, self._unmoving_of = {}, (self.rows, signs)
        return RunCells(self.rows, self.order, self.cosines, self.lit, signs, self._unmoving)

    def summary(self, separator: str) -> str:
        """What is listed: "500 of 2,000 runs · 37 lit · by cosine"; empty before there are runs."""
        if self.rows is None:
            return ""
        parts = [f"{len(self.order):,} of {len(self.rows):,} runs"]
        if self.rows.record is not None:
            parts.append(f"{int(self.lit[self.order].sum()):,} lit")
        parts.append(SORTS.get(self.sort) or f"by {self.sort.removeprefix(FACTOR)}")
        parts += ["reversed"] if self.descending != (self.sort in LARGEST_FIRST) else []
        parts += ["lit only"] if self.only_lit else []
        parts += [f"/ {self.filter_text}"] if self.filter_text else []
        return f" {separator} ".join(parts)


WIDEST_LABEL = 14
"""Cells that the name of a condition or the level of a factor may take."""
WIDEST_CONTROL = 18
"""The same for the name of a control's condition."""
FACTORS_SHOWN = 6


def columns_of(rows: RunRows, compact: bool) -> tuple[Column, ...]:
    """The columns for the runs of a session; a compact table has those of the question "which prompts are those?"."""
    conditions = rows.session.conditions
    most = WIDEST_CONTROL if conditions and conditions[-1].kind == "control" else WIDEST_LABEL
    values = _width("value", [condition.label for condition in conditions], most)
    columns = [Column("prompt", "prompt", least=22, share=2)]
    if not compact:
        sets = list(dict.fromkeys(prompt.set for prompt in rows.session.prompts))
        if len(sets) > 1:
            columns.append(_level("set", "set", sets, 6))
        for at, (name, levels) in enumerate(list(rows.factors.items())[:FACTORS_SHOWN]):
            columns.append(_level(f"{FACTOR}{name}", name, [level or "" for level in levels], 7 + at))
    columns.append(Column("value", "value", width=values, align="right"))
    if rows.record is not None:
        columns.append(Column("cos", "cos", width=5, align="right"))
        if not compact:
            a, b = plane_captions(rows.record)
            columns.append(Column("x", a, width=8, align="right", priority=4))
            columns.append(Column("y", b, width=8, align="right", priority=4))
            columns.append(Column("norm", "norm", width=7, align="right", priority=5))
    if rows.session.spec.generation.tokens:
        columns.append(Column("change", "first change", width=13, priority=2))
        columns.append(Column("text", "continuation", least=20, share=3, priority=1))
    return tuple(columns)


class RunCells:
    """Answers for the cells of listed runs at one angle and threshold of the spotlight.

    Args:
        rows: the runs.
        order: [listed] the row of each run that is listed.
        cosines: [run] at the spotlight.
        lit: [run] under the spotlight.
        signs: what the terminal can draw.
        unmoving: the cells by row and column that no turn of the spotlight changes; filled as they are asked for.
    """

    def __init__(
        self,
        rows: RunRows,
        order: list[int],
        cosines: Numbers,
        lit: Mask,
        signs: Glyphs,
        unmoving: dict[tuple[int, str], Cell],
    ) -> None:
        self.rows, self.order, self.cosines, self.lit, self.signs = rows, order, cosines, lit, signs
        self._unmoving = unmoving

    def cell(self, listed: int, key: str) -> Cell:
        row = self.order[listed]
        if key == "cos":
            shown = in_signs(self.signs, cosine_text(float(self.cosines[row])))
            return (shown, "lit") if self._is_lit(row) else shown
        cell = self._unmoving.get((row, key))
        if cell is None:
            cell = self._unmoving[row, key] = self._without_spotlight(row, key)
        return cell

    def _without_spotlight(self, row: int, key: str) -> Cell:
        if key == "value":
            condition = self.rows.conditions[row]
            label = in_signs(self.signs, condition.label)
            look = {"sweep": "", "control": "dim"}.get(condition.kind, "base")
            return (label, look) if look else label
        if key == "change":
            return self._change(row)
        if key in self.rows.texts:
            return self.rows.texts[key][row] or ("", "dim")
        return in_signs(self.signs, three_digits(float(self.rows.numbers[key][row])))

    def mark(self, listed: int) -> Cell:
        return (self.signs.lit, "lit") if self._is_lit(self.order[listed]) else ""

    def key(self, listed: int) -> object:
        return self.rows.session.runs[self.order[listed]].index

    def plain(self, listed: int, key: str) -> str:
        cell = self.cell(listed, key)
        return cell if isinstance(cell, str) else cell[0]

    def _is_lit(self, row: int) -> bool:
        return row < len(self.lit) and bool(self.lit[row])

    def _change(self, row: int) -> Cell:
        first = self.rows.first_change(row)
        if first is not None:
            return f"token {first}"
        other = self.rows.baseline_of(row)
        if other == row:
            return ""
        if other is None:
            return ("no baseline", "dim")
        if self.rows.session.is_unknown("texts"):
            return ("unknown", "dim")
        # Where tokens are unknown, nobody can say which is the first to differ.
        return "other text" if self.rows.changed[row] else ("same", "dim")


def in_signs(signs: Glyphs, text: str) -> str:
    """A number, or the label of a value, written with the signs a terminal can draw."""
    if signs.minus == MINUS:
        return text
    return text.replace(MINUS, signs.minus).replace(NOTHING, signs.minus).replace("∞", "inf").replace("σ", "s")


def cosine_text(cosine: float) -> str:
    """A cosine with two decimals, no leading zero: ".83", "−.05"."""
    if cosine != cosine:
        return NOTHING
    text = f"{abs(cosine):.2f}"
    sign = MINUS if cosine < 0 and float(text) else ""
    return sign + text.removeprefix("0")


def _level(key: str, title: str, levels: list[str], priority: int) -> Column:
    return Column(key, title, width=_width(title, levels), priority=priority)


def _width(title: str, texts: list[str], most: int = WIDEST_LABEL) -> int:
    # One cell more than the title, for the arrow of the column that rows are sorted by.
    widest = max((cell_len(text) for text in dict.fromkeys(texts)), default=0)
    return max(cell_len(title) + 1, min(widest, most))
