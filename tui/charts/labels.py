"""Labels: short texts put along curves, and lines wrapped to a width, without one over another."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.style import Style

from srm_explorer.engine.figures import UNDETERMINED, LegendEntry, LegendRow
from srm_explorer.tui.charts.canvas import Canvas, Pane, Trace
from srm_explorer.tui.charts.palette import BOLD, FRAME, WARNING, GroupStyle
from srm_explorer.tui.charts.picture import PLAIN, Picture
from srm_explorer.tui.text import broadest, cut_amid, wrapped

Part = tuple[str, Style]
"""Part of a line, and how it looks."""

# So many cells away from where a label aims are half as bad as one cell of it off its curve.
APART = 24
BRACKETS = re.compile(r" \([^()]*\)")


@dataclass(frozen=True, eq=False)
class CurveLabel:
    """A short text that should sit on a curve, at most so many times."""

    trace: Trace
    text: str
    style: Style
    times: int = 1


def label_curves(
    canvas: Canvas, pane: Pane, labels: Sequence[CurveLabel], reserved: Iterable[tuple[int, int]] = ()
) -> None:
    """Put each label where it covers its own curve, hides few others, and touches no other label.

    A label that finds no room is left out.

    Args:
        canvas: already holds the curves.
        pane: the curves' cells, which no label leaves.
        labels: one per curve; the first ones choose first.
        reserved: cells (column, row) no label may cover.
    """
    used = set(reserved)
    crowd = Counter(cell for label in labels for cell in _path(label.trace))
    # Each group aims at another part of its curves, so that labels of curves that run together stand apart.
    styles = list(dict.fromkeys(label.style for label in labels))
    for label in labels:
        path = _path(label.trace)
        curve = set(path)
        aim = (styles.index(label.style) + 1) / (len(styles) + 1)
        for share in range(label.times):
            target = len(path) * (share + aim) / label.times
            best: tuple[float, int, int] | None = None
            for index, (col, row) in enumerate(path):
                start = col - len(label.text) // 2
                cells = [(start + offset, row) for offset in range(len(label.text))]
                if start < pane.col or start + len(cells) > pane.col + pane.width:
                    continue
                # One blank cell on each side, or two labels would read as one.
                if any(cell in used for cell in [(start - 1, row), *cells, (start + len(cells), row)]):
                    continue
                hidden = sum(crowd[cell] - (cell in curve) for cell in cells)
                off_curve = sum(cell not in curve for cell in cells)
                cost = 3 * hidden + 2 * off_curve + abs(index - target) / APART
                if best is None or cost < best[0]:
                    best = cost, start, row
            if best is None:
                break
            _, start, row = best
            # The marker tells whose it is; the words are text, which no group's colour makes easier to read.
            canvas.text(start, row, label.text[:1], label.style)
            canvas.text(start + 1, row, label.text[1:])
            used.update((start + offset, row) for offset in range(len(label.text)))


@dataclass(frozen=True)
class _Column:
    """A column of a legend: its heading, what it holds of a row, and whether numbers stand in it."""

    name: str
    cell: Callable[[LegendRow], str]
    right: bool = True


_RUNS = _Column("runs", lambda row: row.runs)
_AMPLITUDE = _Column("A", lambda row: row.amplitude)
_AMPLITUDE_RANGE = _Column("95 %", lambda row: row.amplitude_range, right=False)
_PHASE = _Column("φ", lambda row: row.phase)
_SHORT_PHASE = _Column("φ", lambda row: "any" if row.phase == UNDETERMINED else row.phase)
_PHASE_RANGE = _Column("95 %", lambda row: row.phase_range, right=False)
_P = _Column("p", lambda row: row.p and row.p + ("*" if row.note else " "))
_GAP = "  "
_FORMS = (
    (_RUNS, _AMPLITUDE, _AMPLITUDE_RANGE, _PHASE, _PHASE_RANGE, _P),
    (_RUNS, _AMPLITUDE, _PHASE, _PHASE_RANGE, _P),
    (_RUNS, _AMPLITUDE, _SHORT_PHASE, _PHASE_RANGE, _P),
    (_AMPLITUDE, _SHORT_PHASE, _PHASE_RANGE, _P),
    (_RUNS, _AMPLITUDE, _SHORT_PHASE, _P),
    (_AMPLITUDE, _SHORT_PHASE, _P),
    (_SHORT_PHASE, _P),
)
"""Columns of a legend that is a table, from the widest form to the narrowest."""
_ESSENTIAL = 2
"""The narrowest form with runs, amplitude, phase and where it may lie, and p."""


class LegendTable:
    """A legend as an aligned table, in the widest form that a width holds.

    Columns that hold nothing are left out.
    """

    def __init__(self, legend: Sequence[LegendEntry], styles: dict[str, GroupStyle]) -> None:
        self._legend, self._styles = legend, styles
        self._rows = [entry.row or LegendRow() for entry in legend]
        self._names = max((2 + cell_len(entry.label) for entry in legend), default=0)

    @classmethod
    def of(cls, legend: Sequence[LegendEntry], styles: dict[str, GroupStyle]) -> LegendTable | None:
        """The table of a legend; None for one that is lines of details, or has no amplitude to put in columns."""
        if not legend or any(entry.row is None for entry in legend):
            return None
        table = cls(legend, styles)
        return table if any(row.amplitude for row in table._rows) else None

    def widths(self) -> list[int]:
        """Columns that each of its forms takes, the widest first."""
        return list(dict.fromkeys(self._width(form) for form in self._forms()))

    @property
    def essential(self) -> int:
        """Columns that the narrowest form takes in which nothing is left out that a legend should tell."""
        return self._width(self._forms()[_ESSENTIAL])

    def lines(self, width: int, most: int) -> list[list[Part]]:
        """At most so many lines of at most so many columns; none where it cannot be told whole."""
        form = next((form for form in self._forms() if self._width(form) <= width), None)
        if form is None or len(self._legend) > most:
            return []
        header: list[Part] = [("group".ljust(self._names), FRAME)]
        header += [(_aligned(column.name, wide, column.right), FRAME) for column, wide in form]
        lines = [header] if len(self._legend) < most else []
        for entry, row in zip(self._legend, self._rows, strict=True):
            style = self._styles[entry.label]
            name = entry.label + " " * (self._names - 2 - cell_len(entry.label))
            line: list[Part] = [(f"{style.marker} ", style.style), (name, BOLD)]
            if not row.amplitude and self._names + len(_GAP) + cell_len(row.note) <= width:
                line.append((_GAP + row.note, FRAME))
            else:
                line += [
                    (_aligned(column.cell(row), wide, column.right), PLAIN if column.right else FRAME)
                    for column, wide in form
                ]
            lines.append(line)
        notes = dict.fromkeys(row.note for row in self._rows if row.note and row.p)
        if notes and len(lines) < most:
            # What differs between them stands in brackets, and in full among the details.
            note = next(iter(notes)) if len(notes) == 1 else next(iter(notes)).partition(" (")[0]
            lines.append([(fit(f"* {note}", width), FRAME)])
        return lines

    def _width(self, form: Sequence[tuple[_Column, int]]) -> int:
        return self._names + sum(len(_GAP) + width for _, width in form)

    def _forms(self) -> list[list[tuple[_Column, int]]]:
        forms: list[list[tuple[_Column, int]]] = []
        for columns in _FORMS:
            held = [(column, [column.cell(row) for row in self._rows]) for column in columns]
            shown = [(column, cells) for column, cells in held if any(cells)]
            forms.append([(column, max(map(cell_len, (column.name, *cells)))) for column, cells in shown])
        return forms


def _aligned(text: str, width: int, right: bool) -> str:
    """A cell of a column, the gap before it included."""
    room = " " * (width - cell_len(text))
    return _GAP + (room + text if right else text + room)


def legend_lines(
    legend: Sequence[LegendEntry], styles: dict[str, GroupStyle], width: int, most: int
) -> list[list[Part]]:
    """Write the legend in lines of at most `width` columns, at most `most` of them.

    A legend with columns is a table where that has room. Else every entry has as many of its details as there is room
    for in all of them, the most telling first; entries without details share lines. Parts of an entry are never cut
    while they fit a line of their own.
    """
    if (table := LegendTable.of(legend, styles)) is not None and (lines := table.lines(width, most)):
        return lines
    if legend and all(entry.row is not None for entry in legend):
        legend = [dataclasses.replace(entry, details=()) for entry in legend]
    for details in range(max((len(entry.details) for entry in legend), default=0), -1, -1):
        lines = [line for entry in legend for line in _entry_lines(entry, styles[entry.label], width, details)]
        if len(lines) <= most:
            return lines
    heads = [_entry_lines(entry, styles[entry.label], width, 0)[0] for entry in legend]
    for shown in range(len(heads), -1, -1):
        rest: list[list[Part]] = [[(fit(f"+ {len(heads) - shown} more", width), PLAIN)]] if shown < len(heads) else []
        lines = _flowing([*heads[:shown], *rest], width)
        if len(lines) <= most:
            return lines
    return []


def warning_lines(warnings: Sequence[str], width: int, most: int) -> list[str]:
    """Wrap the gravest warning; how many there are beyond it is said in its last words.

    Where it is too long, its last clauses go first, then what stands in brackets; an ellipsis tells so.
    """
    if not warnings or most < 1 or width < 8:
        return []
    more = f" (+ {len(warnings) - 1} more)" if len(warnings) > 1 else ""
    lines: list[str] = []
    for form in _shorter(warnings[0]):
        first, *rest = wrapped(" ".join(f"⚠ {form}{more}".split()), width)
        # A word alone on its line is set in, so that it is not read as a line of the legend.
        lines = [first, *(line if " " in line else fit(f"  {line}", width) for line in rest)]
        if len(lines) <= most:
            return lines
    return [*lines[: most - 1], _ended(lines[most - 1], f" …{more}", width)]


def _ended(line: str, tail: str, width: int) -> str:
    """The words of a line that leave room for its last ones."""
    room = width - cell_len(tail)
    while cell_len(line) > room and line not in ("", "⚠"):
        line = line.rpartition(" ")[0]
    return fit(f"{line.rstrip(' ,;:…')}{tail}".strip(), width)


def _shorter(warning: str) -> list[str]:
    """A warning in full, then without its last clauses, then without brackets and what follows a comma."""
    clauses = warning.split("; ")
    forms = ["; ".join(clauses[:count]) for count in range(len(clauses), 0, -1)]
    bare = BRACKETS.sub("", forms[-1])
    forms += [bare, bare.partition(", ")[0]]
    return [forms[0], *(f"{form} …" for form in dict.fromkeys(forms[1:]) if form != warning)]


_BETWEEN = re.compile("( and )")
LEAST_PART = 8
"""Cells that a name has at least in a title."""


def fit_title(title: str, width: int) -> str:
    """A title as one line: where there is no room, names that begin it are cut in their middle, the longest first.

    Many names begin alike; what is shown of them, behind a dot, is cut at its end as other texts are.
    """
    first, dot, rest = title.partition(" · ")
    names, last = _BETWEEN.split(first), dot + rest
    widths = [broadest(name) for name in names]
    longest = max(widths)
    while sum(min(name, longest) for name in widths) + broadest(last) > width and longest > LEAST_PART:
        longest -= 1
    return fit("".join(cut_amid(name, longest) for name in names) + last, width)


def fit(text: str, width: int) -> str:
    """Cut a text to a width, the last column an ellipsis where something was cut."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def write_block(
    canvas: Canvas, col: int, row: int, lines: Sequence[Sequence[Part]], warnings: Sequence[str] = ()
) -> None:
    for offset, line in enumerate(lines):
        at = col
        for text, style in line:
            canvas.text(at, row + offset, text, style)
            at += cell_len(text)
    for offset, text in enumerate(warnings):
        canvas.text(col, row + len(lines) + offset, text, WARNING)


def _entry_lines(entry: LegendEntry, style: GroupStyle, width: int, most: int) -> list[list[Part]]:
    head: list[Part] = [(f"{style.marker} ", style.style), (fit(entry.label, max(0, width - 2)), BOLD)]
    # Without details, a legend of columns says how many runs there are, and no more.
    if entry.row is not None and entry.row.runs and not entry.details:
        runs = f" {entry.row.runs} run{'' if entry.row.runs == '1' else 's'}"
        head += [(runs, PLAIN)] if 2 + cell_len(entry.label + runs) <= width else []
    lines: list[list[Part]] = [head]
    used = sum(cell_len(text) for text, _ in head)
    for detail in entry.details[:most]:
        if used + 2 + cell_len(detail) <= width:
            lines[-1].append((f"  {detail}", PLAIN))
            used += 2 + cell_len(detail)
        else:
            # A detail too long for a line goes on below it, set in further: its last words qualify its number.
            first, *rest = wrapped(detail, max(1, width - 2))
            rest = [f"    {line}" for line in wrapped(" ".join(rest), max(1, width - 4)) if line]
            parts = [fit(f"  {first}", width), *(fit(line, width) for line in rest)]
            lines += [[(part, PLAIN)] for part in parts]
            used = cell_len(parts[-1])
    return lines


def _flowing(heads: Sequence[Sequence[Part]], width: int) -> list[list[Part]]:
    lines: list[list[Part]] = []
    used = width
    for head in heads:
        long = sum(cell_len(text) for text, _ in head)
        if used + 3 + long <= width:
            lines[-1].append(("   ", PLAIN))
            used += 3
        else:
            lines.append([])
            used = 0
        lines[-1] += head
        used += long
    return lines


def _path(trace: Trace) -> list[tuple[int, int]]:
    return list(dict.fromkeys((col, row) for col, row in trace.cells.tolist()))


def one_line(text: str, width: int, height: int) -> Picture:
    canvas = Canvas(max(0, width), max(0, height))
    canvas.text(0, 0, fit(text, width))
    return canvas.picture()
