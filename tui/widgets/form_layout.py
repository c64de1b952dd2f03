"""Where the rows of a form stand on its lines, for a width in cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from tui.state.form_rows import FormRow
from tui.state.glyphs import Glyphs
from tui.widgets.one_line import fit, one_line

_PAIRED_FROM = 30
_WIDE_FROM = 46
_WIDEST_PAIR = 68
_FACT_LINES = 5
"""Lines of what is wrong with a fact, which nothing in the form can put right."""
_NARROW_RIGHT = 10
"""Cells that the value on the right keeps where room is short: the longest word a choice has."""


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

    Attributes:
        width: cells of a line.
        label, value: cells on the left, the marker's and the gap included in the label.
        right_label, right_value: cells on the right; 0 where rows stand below each other.
        short: whether labels are the short ones.
    """

    width: int
    label: int
    value: int
    right_label: int
    right_value: int
    short: bool

    @classmethod
    def of(cls, width: int) -> Measures:
        """The columns of a form so many cells wide."""
        if width < _PAIRED_FROM:
            label = min(8, max(2, width // 3))
            return cls(width, label, max(1, width - label), 0, 0, True)
        short = width < _WIDE_FROM
        label, right_label = (8, 7) if short else (12, 12)
        room = min(width, _WIDEST_PAIR) - label - right_label
        right = max(_NARROW_RIGHT, room // 2)
        return cls(width, label, room - right, right_label, right, short)

    @property
    def right(self) -> int:
        """First cell of the right half."""
        return self.label + self.value


@dataclass(frozen=True)
class Layout:
    """A form's lines, and where each row stands.

    Attributes:
        lines: parts from left to right.
        first: [row] its line.
        last: [row] the last line that belongs to it: its problem, its open choices.
        value_x: [row] first cell of its value.
    """

    lines: tuple[tuple[Part, ...], ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
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
    first, last, value_x = [0] * len(rows), [0] * len(rows), [0] * len(rows)
    for group in _groups(rows, measures):
        y = len(lines)
        parts: list[Part] = []
        for half, index in enumerate(group):
            first[index] = y
            x, row_parts = _row(rows[index], index, measures, glyphs, half, len(group) > 1, index == cursor)
            value_x[index] = x
            parts += row_parts
        below: list[tuple[Part, ...]] = []
        for index in group:
            beside = _beside(rows[index], index, parts, measures, glyphs) if len(group) == 1 else None
            if beside:
                parts.append(beside)
            else:
                below += _problem(rows[index], index, width, glyphs)
            if index == opened:
                below += _choices(rows[index], index, value_x[index], width, glyphs, choice)
        lines.append(tuple(parts))
        lines += below
        for index in group:
            last[index] = len(lines) - 1
    return Layout(tuple(lines), tuple(first), tuple(last), tuple(value_x))


def _groups(rows: Sequence[FormRow], measures: Measures) -> list[list[int]]:
    groups: list[list[int]] = []
    for index, row in enumerate(rows):
        alone = groups[-1][0] if groups and len(groups[-1]) == 1 else -1
        may_share = row.beside and row.kind == "field" and measures.right_value > 0
        if may_share and alone >= 0 and rows[alone].kind == "field":
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _row(
    row: FormRow, index: int, measures: Measures, glyphs: Glyphs, half: int, shared: bool, is_cursor: bool
) -> tuple[int, list[Part]]:
    """First cell of the value, and the parts of one row."""
    if row.kind == "section":
        title = f" {row.label} "
        left = glyphs.rule + fit(title, min(cell_len(title), max(0, measures.width - 2)), ellipsis=glyphs.ellipsis)
        return 0, [Part(0, left + glyphs.rule * max(0, measures.width - cell_len(left)), "section", index)]
    if row.kind in ("fact", "warning"):
        look = "quiet" if row.kind == "fact" else "pending"
        width = max(0, measures.width - 1)
        return 1, [Part(1, _shown(row, width, glyphs), look, index)]
    x = measures.right if half else 0
    label_width = measures.right_label if half else measures.label
    value_width = measures.right_value if half else measures.value if shared else measures.width - measures.label
    marker = glyphs.cursor if is_cursor else " "
    label = (row.short or row.label) if measures.short else row.label
    sign = "!" if row.problem else "*" if row.pending else " "
    written = fit(marker, 1) + fit(label, label_width - 2, ellipsis="") + sign
    look = "problem" if row.problem else "pending" if row.pending else "quiet" if row.quiet else "value"
    shown = _shown(row, value_width, glyphs)
    at = x + label_width
    cursor = " cursor" if is_cursor else ""
    parts = [
        Part(x, written, f"label{cursor}", index),
        Part(at, fit(shown, value_width) if shared else shown, f"{look}{cursor}", index),
    ]
    return at, parts


def _shown(row: FormRow, width: int, glyphs: Glyphs) -> str:
    """The longest way to show the value that fits, else the shortest, cut."""
    told = [_signed(one_line(value), glyphs) for value in row.values]
    found = next((value for value in told if cell_len(value) <= width), None)
    return found if found is not None else fit(told[-1], max(0, width), ellipsis=glyphs.ellipsis)


def _signed(text: str, glyphs: Glyphs) -> str:
    """The text with the terminal's own signs for those a value is written with."""
    if text.isascii():
        return text
    return text.replace("…", glyphs.ellipsis).replace("×", glyphs.times).replace("·", glyphs.separator)


def _beside(row: FormRow, index: int, parts: Sequence[Part], measures: Measures, glyphs: Glyphs) -> Part | None:
    """The problem on the line itself, where it fits whole."""
    if not row.problem or row.kind != "field":
        return None
    x = max(part.x + cell_len(part.text) for part in parts) + 2
    text = _signed(one_line(row.problem), glyphs)
    return Part(x, text, "reason", index) if x + cell_len(text) <= measures.width else None


def _problem(row: FormRow, index: int, width: int, glyphs: Glyphs) -> list[tuple[Part, ...]]:
    if not row.problem:
        return []
    lines = wrapped(_signed(one_line(row.problem), glyphs), max(1, width - 2))
    if row.kind == "fact" and len(lines) > _FACT_LINES:
        rest = " ".join(lines[_FACT_LINES - 1 :])
        lines = [*lines[: _FACT_LINES - 1], fit(rest, max(1, width - 2), ellipsis=glyphs.ellipsis)]
    return [(Part(2, line, "reason", index),) for line in lines]


def _choices(row: FormRow, index: int, x: int, width: int, glyphs: Glyphs, choice: int) -> list[tuple[Part, ...]]:
    longest = max((cell_len(label) for _, label in row.choices), default=0)
    x = max(0, min(x - 2, width - longest - 2))
    lines: list[tuple[Part, ...]] = []
    for place, (text, label) in enumerate(row.choices):
        marker = glyphs.cursor if place == choice else " "
        look = "choice cursor" if place == choice else "choice chosen" if text == row.text else "choice"
        written = f"{fit(marker, 1)} {fit(_signed(label, glyphs), min(longest, max(0, width - x - 2)))}"
        lines.append((Part(x, written, look, index, place),))
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most so many cells, broken at spaces where there are any."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        while cell_len(word) > width:
            room = width - (cell_len(line) + 1 if line else 0)
            if room < width // 2 or room < 1:
                lines, line, room = [*lines, line] if line else lines, "", width
            head = fit(word, room, ellipsis="").rstrip() or word[0]
            line, word = f"{line} {head}".strip(), word[len(head) :]
            lines, line = [*lines, line], ""
        joined = f"{line} {word}" if line else word
        if cell_len(joined) > width:
            lines, line = [*lines, line], word
        else:
            line = joined
    return [*lines, line] if line else lines
