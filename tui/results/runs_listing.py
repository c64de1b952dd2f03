"""Which runs are listed and in which order, as the spotlight turns and as runs arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.results.runs_filter import RunFilter, parse_filter
from srm_explorer.tui.results.runs_rows import LARGEST_FIRST, MOVING, UNSORTED, Mask, Numbers, RunRows
from srm_explorer.tui.widgets.table_render import Cell, Column

if TYPE_CHECKING:
    from srm_explorer.tui.results.state import ResultsState


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
    """

    def __init__(self, sort: str = UNSORTED) -> None:
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
        """Whether a turn of the spotlight changes what is listed, or the order."""
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
        """Sort by a column, from its more telling end."""
        self.sort, self.descending = column, column in LARGEST_FIRST
        self.list_again()

    def reverse(self) -> None:
        """Turn the order round."""
        self.descending = not self.descending
        self.list_again()

    def list_again(self) -> None:
        """Sort and filter once more."""
        if self.rows is None:
            return
        shown = None if self._filter is None else self._filter.mask(self.cosines, self.lit)
        if self.only_lit:
            shown = self.lit if shown is None else shown & self.lit
        order = self.rows.order(self.sort, self.descending, shown, self.cosines, self.lit)
        self.order = [int(row) for row in order]


WIDEST_LABEL = 14
"""Cells that the name of a condition or the level of a factor may take."""
WIDEST_CONTROL = 18
"""The same for the name of a control's condition."""
FACTORS_SHOWN = 6


def columns_of(rows: RunRows, compact: bool) -> tuple[Column, ...]:
    """The columns for the runs of a session; a compact table has those of the question "which prompts are those?"."""
    from srm_explorer.engine.figures.captions import plane_captions

    conditions = rows.session.conditions
    most = WIDEST_CONTROL if conditions and conditions[-1].kind == "control" else WIDEST_LABEL
    values = _width("value", [condition.label for condition in conditions], most)
    columns = [Column("prompt", "prompt", least=22, share=2)]
    if not compact:
        sets = list(dict.fromkeys(prompt.set for prompt in rows.session.prompts))
        if len(sets) > 1:
            columns.append(_level("set", "set", sets, 6))
        for at, (name, levels) in enumerate(list(rows.factors.items())[:FACTORS_SHOWN]):
            columns.append(_level(f"factor.{name}", name, [level or "" for level in levels], 7 + at))
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
    """

    def __init__(self, rows: RunRows, order: list[int], cosines: Numbers, lit: Mask, signs: Glyphs) -> None:
        self.rows, self.order, self.cosines, self.lit, self.signs = rows, order, cosines, lit, signs
        self._kept: dict[tuple[int, str], Cell] = {}

    def turned(self, order: list[int], cosines: Numbers, lit: Mask) -> RunCells:
        """The cells after a turn of the spotlight, or with other runs listed; those it does not change are shared."""
        other = RunCells(self.rows, order, cosines, lit, self.signs)
        other._kept = self._kept
        return other

    def cell(self, listed: int, key: str) -> Cell:
        """What stands in a column of a listed run."""
        row = self.order[listed]
        if key == "cos":
            shown = in_signs(self.signs, cosine_text(float(self.cosines[row])))
            return (shown, "lit") if self._is_lit(row) else shown
        kept = self._kept.get((row, key))
        if kept is None:
            kept = self._kept[row, key] = self._fixed(row, key)
        return kept

    def _fixed(self, row: int, key: str) -> Cell:
        if key == "value":
            condition = self.rows.conditions[row]
            label = in_signs(self.signs, condition.label)
            look = {"sweep": "", "control": "dim"}.get(condition.kind, "base")
            return (label, look) if look else label
        if key == "change":
            return self._change(row)
        if key in self.rows.texts:
            return self.rows.texts[key][row] or ("", "dim")
        from srm_explorer.engine.figures.numbers import three_digits

        return in_signs(self.signs, three_digits(float(self.rows.numbers[key][row])))

    def mark(self, listed: int) -> Cell:
        """The sign of a run that is lit."""
        return (self.signs.lit, "lit") if self._is_lit(self.order[listed]) else ""

    def key(self, listed: int) -> object:
        """What identifies a run among all that were planned."""
        return self.rows.session.runs[self.order[listed]].index

    def plain(self, listed: int, key: str) -> str:
        """A cell's text alone."""
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
        return ("no baseline", "dim") if other is None else ("same", "dim")


def in_signs(signs: Glyphs, text: str) -> str:
    """A number, or the label of a value, written with the signs a terminal can draw."""
    from srm_explorer.engine.figures.numbers import MINUS, NOTHING

    if signs.minus == MINUS:
        return text
    return text.replace(MINUS, signs.minus).replace(NOTHING, signs.minus).replace("∞", "inf").replace("σ", "s")


def cosine_text(cosine: float) -> str:
    """A cosine with two decimals, no leading zero: ".83", "−.05"."""
    from srm_explorer.engine.figures.numbers import MINUS, NOTHING

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
