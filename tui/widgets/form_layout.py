"""The rows of a form, where they stand on its lines for a width in cells, and which of them is highlighted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.text import wrapped
from srm_explorer.tui.widgets.table_render import fit, one_line


@dataclass(frozen=True)
class FormRow:
    """One field of a form, a fact beside the fields, or the heading of a section.

    Attributes:
        key: its name, unique in the form.
        label: stands before the value, whole at every width; the title of a section.
        values: the value as it is shown, from the longest way to the shortest.
        text: the value as it is edited, in full.
        choices: texts to choose from, each with how it is shown.
        typed: whether it may be typed; else it is only chosen.
        kind: a field is highlighted and edited, a fact can only be read, a warning is a fact to be seen, a section
            separates.
        shares_line: whether it shares the line of the row before, where there is room.
        quiet: whether the value stands for nothing: "none".
        problem: what is wrong with it.
        pending: whether its text was typed and is not in use yet.
        hint: what may be written, for the row in focus.
    """

    key: str
    label: str
    values: tuple[str, ...] = ("",)
    text: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    typed: bool = True
    kind: Literal["field", "fact", "warning", "section"] = "field"
    shares_line: bool = False
    quiet: bool = False
    problem: str = ""
    pending: bool = False
    hint: str = ""

    @property
    def reachable(self) -> bool:
        return self.kind == "field"

    def after(self, step: int) -> str:
        """The text of the choice that follows the present one, round and round; its own text without choices."""
        texts = [text for text, _ in self.choices]
        if not texts:
            return self.text
        if self.text not in texts:
            return texts[0 if step > 0 else -1]
        return texts[(texts.index(self.text) + step) % len(texts)]


_PAIRED_FROM = 30
_WIDE_FROM = 46
_WIDEST_PAIR = 68
_FACT_LINES = 5
"""Lines of what is wrong with a fact, which nothing in the form can put right."""
_AROUND_LABEL = 2
"""Cells of a label beside its letters: the marker before them, the sign after them."""


@dataclass(frozen=True)
class Part:
    """A piece of a line.

    Attributes:
        x: its first cell.
        text: what is written, exactly as wide as its place.
        look: name of its style.
        row: the row it belongs to, -1 for none.
        choice: the choice of that row, -1 for none.
    """

    x: int
    text: str
    look: str = ""
    row: int = -1
    choice: int = -1


@dataclass(frozen=True)
class Measures:
    """Columns of a form: labels and values on the left, and on the right where two rows share a line.

    A label that is longer than its column is written whole, and its value begins after it.

    Attributes:
        width: cells of a line.
        label: cells of a label on the left, the marker's and the sign's included.
        right: first cell of the right half; 0 where rows stand below each other.
        right_label: cells of a label there.
        end: the cell after the right half.
    """

    width: int
    label: int
    right: int
    right_label: int
    end: int

    @classmethod
    def of(cls, width: int) -> Measures:
        if width < _PAIRED_FROM:
            return cls(width, min(12, max(2, width // 2)), 0, 0, width)
        is_wide = width >= _WIDE_FROM
        label, right_label = (13, 12) if is_wide else (12, 7)
        end = min(width, _WIDEST_PAIR)
        room = end - label - right_label
        return cls(width, label, label + (room // 2 if is_wide else room // 2 - 1), right_label, end)

    def value_x(self, label: str, x: int) -> int:
        """First cell of a value whose row begins at `x`."""
        least = min(cell_len(one_line(label)), max(0, self.width - x - 4)) + _AROUND_LABEL
        return x + max(least, self.right_label if x else self.label)

    def right_of(self, left: FormRow, right: FormRow) -> int:
        """Where the right one of two rows that share a line begins: at its column, if both fit; 0 for no room.

        A row that needs more room begins further left, and one beside a long one further right.
        """
        if not self.right:
            return 0
        begins = self.value_x(left.label, 0) + _least(left) + 1
        needs = self.value_x(right.label, self.right) - self.right + _least(right)
        last = self.end - needs
        return max(begins, min(self.right, last)) if begins <= last else 0


def _least(row: FormRow) -> int:
    """Cells of the shortest way to show a value."""
    return min(cell_len(one_line(value)) for value in row.values)


@dataclass(frozen=True)
class Layout:
    """A form's lines, and where each row stands.

    Attributes:
        lines: parts from left to right.
        first: [row] its line.
        last: [row] the last line that belongs to it: its problem, its open choices.
        x: [row] its own first cell.
        value_x: [row] first cell of its value.
    """

    lines: tuple[tuple[Part, ...], ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    x: tuple[int, ...]
    value_x: tuple[int, ...]

    def at(self, x: int, y: int) -> Part | None:
        """The part of a row that is under a cell: the piece itself, or the half of the line it stands in."""
        if not 0 <= y < len(self.lines):
            return None
        before = [part for part in self.lines[y] if part.row >= 0 and part.x <= x]
        return before[-1] if before else next((part for part in self.lines[y] if part.row >= 0), None)


def lay_out(
    rows: Sequence[FormRow], width: int, glyphs: Glyphs, *, cursor: int = -1, opened: int = -1, choice: int = 0
) -> Layout:
    """Place rows on lines.

    Args:
        rows: in order.
        width: cells of a line.
        glyphs: signs.
        cursor: the highlighted row, -1 for none.
        opened: the row whose choices are listed below it, -1 for none.
        choice: the highlighted one of them.
    """
    measures = Measures.of(width)
    lines: list[tuple[Part, ...]] = []
    first, last, x, value_x = ([0] * len(rows) for _ in range(4))
    for group, right in _groups(rows, measures):
        y = len(lines)
        parts: list[Part] = []
        for index, begins, ends in zip(group, (0, right), (right or width, measures.end), strict=False):
            first[index], x[index] = y, begins
            value_x[index], row_parts = _row(rows[index], index, measures, glyphs, begins, ends, index == cursor)
            parts += row_parts
        below: list[tuple[Part, ...]] = []
        for index in group:
            reason = _reason(rows[index], index, parts, measures, glyphs) if len(group) == 1 else None
            if reason:
                parts.append(reason)
            else:
                below += _problem(rows[index], index, width, glyphs)
            if index == opened:
                below += _choices(rows[index], index, value_x[index], width, glyphs, choice)
        lines.append(tuple(parts))
        lines += below
        for index in group:
            last[index] = len(lines) - 1
    return Layout(tuple(lines), tuple(first), tuple(last), tuple(x), tuple(value_x))


def _groups(rows: Sequence[FormRow], measures: Measures) -> list[tuple[list[int], int]]:
    """Rows by line, and where the right half of the line begins; 0 where one row has it alone."""
    groups: list[tuple[list[int], int]] = []
    for index, row in enumerate(rows):
        before = rows[groups[-1][0][0]] if groups and not groups[-1][1] else None
        may_share = row.shares_line and row.kind == "field" and before is not None and before.kind == "field"
        right = measures.right_of(before, row) if before is not None and may_share else 0
        if right:
            groups[-1] = ([*groups[-1][0], index], right)
        else:
            groups.append(([index], 0))
    return groups


def _row(
    row: FormRow, index: int, measures: Measures, glyphs: Glyphs, x: int, end: int, is_cursor: bool
) -> tuple[int, list[Part]]:
    """The first cell of a row's value, and its pieces between two cells."""
    if row.kind == "section":
        title = f" {row.label} "
        left = glyphs.rule + fit(title, min(cell_len(title), max(0, measures.width - 2)), ellipsis=glyphs.ellipsis)
        return 0, [Part(0, left + glyphs.rule * max(0, measures.width - cell_len(left)), "section", index)]
    if row.kind in ("fact", "warning"):
        look = "quiet" if row.kind == "fact" else "pending"
        width = max(0, measures.width - 1)
        return 1, [Part(1, _shown(row, width, glyphs), look, index)]
    marker = glyphs.cursor if is_cursor else " "
    sign = "!" if row.problem else "*" if row.pending else " "
    value_x = measures.value_x(row.label, x)
    written = fit(marker, 1) + fit(row.label, value_x - x - _AROUND_LABEL, ellipsis="") + sign
    look = "problem" if row.problem else "pending" if row.pending else "quiet" if row.quiet else "value"
    shown = _shown(row, max(1, end - value_x), glyphs)
    cursor = " cursor" if is_cursor else ""
    is_half = x > 0 or end < measures.width
    return value_x, [
        Part(x, written, f"label{cursor}", index),
        Part(value_x, fit(shown, end - value_x) if is_half else shown, f"{look}{cursor}", index),
    ]


def _shown(row: FormRow, width: int, glyphs: Glyphs) -> str:
    """The longest way to show the value that fits, else the shortest, cut."""
    values = [signed(one_line(value), glyphs) for value in row.values]
    fitting = next((value for value in values if cell_len(value) <= width), None)
    return fitting if fitting is not None else fit(values[-1], max(0, width), ellipsis=glyphs.ellipsis)


def signed(text: str, glyphs: Glyphs) -> str:
    """The text with the terminal's own signs for those a value is written with."""
    if text.isascii():
        return text
    return text.replace("…", glyphs.ellipsis).replace("×", glyphs.times).replace("·", glyphs.separator)


def _reason(row: FormRow, index: int, parts: Sequence[Part], measures: Measures, glyphs: Glyphs) -> Part | None:
    if not row.problem or row.kind != "field":
        return None
    x = max(part.x + cell_len(part.text) for part in parts) + 2
    text = signed(one_line(row.problem), glyphs)
    return Part(x, text, "reason", index) if x + cell_len(text) <= measures.width else None


def _problem(row: FormRow, index: int, width: int, glyphs: Glyphs) -> list[tuple[Part, ...]]:
    if not row.problem:
        return []
    lines = wrapped(signed(one_line(row.problem), glyphs), max(1, width - 2))
    if row.kind == "fact" and len(lines) > _FACT_LINES:
        rest = " ".join(lines[_FACT_LINES - 1 :])
        lines = [*lines[: _FACT_LINES - 1], fit(rest, max(1, width - 2), ellipsis=glyphs.ellipsis)]
    return [(Part(2, line, "reason", index),) for line in lines]


def _choices(row: FormRow, index: int, x: int, width: int, glyphs: Glyphs, choice: int) -> list[tuple[Part, ...]]:
    longest = max((cell_len(label) for _, label in row.choices), default=0)
    x = max(0, min(x - 2, width - longest - 2))
    lines: list[tuple[Part, ...]] = []
    for number, (text, label) in enumerate(row.choices):
        marker = glyphs.cursor if number == choice else " "
        look = "choice cursor" if number == choice else "choice chosen" if text == row.text else "choice"
        written = f"{fit(marker, 1)} {fit(signed(label, glyphs), min(longest, max(0, width - x - 2)))}"
        lines.append((Part(x, written, look, index, number),))
    return lines


class FormCursor:
    """Rows, the highlighted one, and the one whose choices are listed.

    Attributes:
        rows: as they are shown.
        index: the highlighted row, -1 where there is none.
        opened: the row whose choices are listed, -1 for none.
        choice: the highlighted one of them.
    """

    def __init__(self) -> None:
        self.rows: tuple[FormRow, ...] = ()
        self.index = -1
        self.opened = -1
        self.choice = 0

    @property
    def row(self) -> FormRow | None:
        return self.rows[self.index] if 0 <= self.index < len(self.rows) else None

    @property
    def key(self) -> str:
        """The key of the highlighted row; empty where there is none."""
        return self.row.key if self.row else ""

    def take(self, rows: Sequence[FormRow]) -> None:
        """Have other rows; the highlight stays on its key, else about where it was, and an open list stays open."""
        key, open_key = self.key, self.rows[self.opened].key if self.opened >= 0 else ""
        self.rows = tuple(rows)
        self.opened = next((i for i, row in enumerate(rows) if open_key and row.key == open_key and row.choices), -1)
        if self.opened >= 0:
            self.choice = min(self.choice, len(self.rows[self.opened].choices) - 1)
        reach = self._reach()
        same = next((i for i in reach if self.rows[i].key == key), None)
        self.index = same if same is not None else min(reach, key=lambda i: abs(i - max(0, self.index)), default=-1)

    def set_problem(self, key: str, problem: str) -> bool:
        before = self.rows
        self.rows = tuple(dataclasses.replace(row, problem=problem) if row.key == key else row for row in before)
        return self.rows != before

    def find(self, key: str) -> int | None:
        return next((i for i in self._reach() if self.rows[i].key == key), None)

    def end(self, side: int) -> int | None:
        """The first row that can be reached, or (side above 0) the last; None where there is none."""
        reach = self._reach()
        return reach[-1 if side > 0 else 0] if reach else None

    def on_line(self, layout: Layout, line: int, x: int) -> int | None:
        """The row on a line that can be reached and begins nearest to a cell."""
        reach = (i for i in self._reach() if layout.first[i] == line)
        return min(reach, key=lambda i: abs(layout.x[i] - x), default=None)

    def beyond(self, layout: Layout, lines: int, x: int) -> int | None:
        """The row so many lines below the highlighted one (above, below 0), or the nearest before; None without any.

        Where that many lines hold no row, it is the next there is; of two on a line, the one nearer to a cell.
        """
        here = layout.first[self.index] if self.index >= 0 else -1
        side = 1 if lines > 0 else -1
        ahead = sorted({side * (layout.first[i] - here) for i in self._reach()} - {0})
        ahead = [distance for distance in ahead if distance > 0]
        within = [distance for distance in ahead if distance <= abs(lines)] or ahead[:1]
        return self.on_line(layout, here + side * within[-1], x) if within else None

    def beside(self, layout: Layout, side: int) -> int | None:
        """The row on the same line to the left or right of the highlighted one; None where there is none."""
        if self.index < 0:
            return None
        line, x = layout.first[self.index], layout.x[self.index]
        reach = [i for i in self._reach() if layout.first[i] == line and side * (layout.x[i] - x) > 0]
        return min(reach, key=lambda i: abs(layout.x[i] - x), default=None)

    def is_first(self) -> bool:
        """Whether no row above the highlighted one can be reached."""
        return not any(row.reachable for row in self.rows[: max(0, self.index)])

    def move_choice(self, step: int) -> None:
        self.choice = max(0, min(self.choice + step, len(self.rows[self.opened].choices) - 1))

    def go_to_choice(self, letter: str) -> bool:
        """Highlight the next choice of the open list that begins with a letter, round and round; False for none."""
        choices = self.rows[self.opened].choices
        after = [(self.choice + step) % len(choices) for step in range(1, len(choices) + 1)]
        match = next((index for index in after if choices[index][1].casefold().startswith(letter.casefold())), None)
        self.choice = self.choice if match is None else match
        return match is not None

    def open(self) -> None:
        row = self.rows[self.index]
        self.opened = self.index
        self.choice = next((i for i, (text, _) in enumerate(row.choices) if text == row.text), 0)

    def _reach(self) -> list[int]:
        return [i for i, row in enumerate(self.rows) if row.reachable]
