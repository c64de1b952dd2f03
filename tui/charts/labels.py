"""Labels: short texts put along curves, and lines wrapped to a width, without one over another."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.style import Style

from srm_explorer.engine.figures import LegendEntry
from srm_explorer.tui.charts.canvas import Canvas, Pane, Trace
from srm_explorer.tui.charts.palette import BOLD, WARNING, GroupStyle
from srm_explorer.tui.charts.picture import PLAIN, Picture
from srm_explorer.tui.text import wrapped

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
            canvas.text(start, row, label.text, label.style)
            used.update((start + offset, row) for offset in range(len(label.text)))


def legend_lines(
    legend: Sequence[LegendEntry], styles: dict[str, GroupStyle], width: int, most: int
) -> list[list[Part]]:
    """Write the legend in lines of at most `width` columns, at most `most` of them.

    Every entry has as many of its details as there is room for in all of them, the most telling first; entries
    without details share lines. Parts of an entry are never cut while they fit a line of their own.
    """
    for details in range(max((len(entry.details) for entry in legend), default=0), -1, -1):
        lines = [line for entry in legend for line in _entry_lines(entry, styles[entry.label], width, details)]
        if len(lines) <= most:
            return lines
    heads = [_entry_lines(entry, styles[entry.label], width, 0)[0][0] for entry in legend]
    for shown in range(len(heads), -1, -1):
        rest = [(fit(f"+ {len(heads) - shown} more", width), PLAIN)] if shown < len(heads) else []
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
    head = (fit(f"{style.marker} {entry.label}", width), style.style + BOLD)
    lines: list[list[Part]] = [[head]]
    used = cell_len(head[0])
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


def _flowing(parts: Sequence[Part], width: int) -> list[list[Part]]:
    lines: list[list[Part]] = []
    used = width
    for text, style in parts:
        if used + 3 + cell_len(text) <= width:
            lines[-1].append(("   ", PLAIN))
            used += 3
        else:
            lines.append([])
            used = 0
        lines[-1].append((text, style))
        used += cell_len(text)
    return lines


def _path(trace: Trace) -> list[tuple[int, int]]:
    return list(dict.fromkeys((col, row) for col, row in trace.cells.tolist()))


def one_line(text: str, width: int, height: int) -> Picture:
    canvas = Canvas(max(0, width), max(0, height))
    canvas.text(0, 0, fit(text, width))
    return canvas.picture()
