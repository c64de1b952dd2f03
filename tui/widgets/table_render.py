"""The lines of a table as segments, and which of their cells differ."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.widget import Widget

from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.text import UNSURE, broadest, cut, cut_amid
from srm_explorer.tui.themes import themed_style

NARROW = 90
"""Cells below which columns stand one cell apart instead of two."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: what cells are asked by.
        title: of the header.
        width: cells; None to share what is left.
        align: side the cells keep to.
        priority: columns of a higher one are dropped first where room is short; those of 0 never.
        least: the smallest width of a column that shares what is left.
        share: its part of what is left, relative to the others'.
        cut: where a text is cut that has no room: names are alike at their beginnings.
    """

    key: str
    title: str
    width: int | None = None
    align: Literal["left", "right"] = "left"
    priority: int = 0
    least: int = 8
    share: int = 1
    cut: Literal["end", "middle"] = "end"


@dataclass(frozen=True)
class Placed:
    """A column that is shown, from cell `x`, over `width` cells."""

    column: Column
    x: int
    width: int

    @property
    def end(self) -> int:
        return self.x + self.width


LONG = 60
"""Cells beyond which a text is cut however much room columns with a width of their own have."""
FLOOR = 8
"""Cells that a column which shares what is left keeps where even the columns that always are have no room."""


def place_columns(
    columns: Sequence[Column],
    width: int,
    start: int = 0,
    widest: Mapping[str, int] | None = None,
    *,
    shrinks: bool = True,
) -> tuple[Placed, ...]:
    """Give every column its place; where room is short, columns of the highest priority go, the last of them first.

    Args:
        columns: in order.
        width: cells of the whole table.
        start: the first cell that columns may use.
        widest: cells of the widest text of columns, by key, as far as they are known: none of these is cut while
            another column has more room than its own texts need.
        shrinks: whether columns that share what is left shrink before those of priority 0 end beyond `width`.

    Returns:
        The columns that are shown. Those of priority 0 always are, so that they may end beyond `width`.
    """
    gap = 1 if width < NARROW else 2
    kept = list(columns)
    while _least(kept, gap) > width - start:
        droppable = [column for column in kept if column.priority > 0]
        if not droppable:
            break
        highest = max(column.priority for column in droppable)
        kept.remove([column for column in droppable if column.priority == highest][-1])
    left = width - start - _least(kept, gap)
    widths = [column.least if column.width is None else column.width for column in kept]
    sharing = [at for at, column in enumerate(kept) if column.width is None]
    for at in sharing if shrinks else ():
        shrunk = max(min(widths[at], FLOOR), widths[at] + min(0, left))
        left, widths[at] = left + widths[at] - shrunk, shrunk
    left, parts = max(0, left), sum(kept[at].share for at in sharing)
    for at in sharing:
        extra = left * kept[at].share // parts
        left, parts, widths[at] = left - extra, parts - kept[at].share, widths[at] + extra
    if widest:
        needed = [max(cell_len(column.title), widest.get(column.key, width)) for column in kept]
        widths = _evened(widths, needed, sharing, range(len(kept)))
        # Columns with a width of their own give what they have to spare too, but not all to a text that is never whole.
        others = [at for at in range(len(kept)) if at not in sharing]
        capped = [min(need, max(LONG, cells)) for need, cells in zip(needed, widths, strict=True)]
        widths = _evened(widths, capped, others, range(len(kept)))
    placed: list[Placed] = []
    x = start
    for column, column_width in zip(kept, widths, strict=True):
        placed.append(Placed(column, x, column_width))
        x += column_width + gap
    return tuple(placed)


def _evened(widths: Sequence[int], needed: Sequence[int], givers: Sequence[int], takers: Sequence[int]) -> list[int]:
    """Move cells from columns that have more than they need to some that have less, these filled up evenly."""
    evened = list(widths)
    short = sorted((at for at in takers if widths[at] < needed[at]), key=lambda at: needed[at] - widths[at])
    spare = {at: widths[at] - needed[at] for at in givers if widths[at] > needed[at]}
    left = room = min(sum(spare.values()), sum(needed[at] - widths[at] for at in short))
    # What lacks least comes first, so that a long text does not take what a short one lacks.
    for count, at in enumerate(short):
        extra = min(needed[at] - widths[at], left // (len(short) - count))
        evened[at], left = evened[at] + extra, left - extra
    for at in sorted(spare, key=lambda at: -spare[at]):
        less = min(spare[at], room)
        evened[at], room = evened[at] - less, room - less
    return evened


def _least(columns: Sequence[Column], gap: int) -> int:
    widths = [column.least if column.width is None else column.width for column in columns]
    return sum(widths) + gap * max(0, len(widths) - 1)


REPLACEMENT = "\ufffd"
_BLANKS = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")
_DROPPED = ("Cf", "Cc")
_JOINERS = "\u200c\u200d"
_JOINED = "\u0300-\u1fff\u2190-\uffff\U00010000-\U0010ffff"
_LOOSE = re.compile(f"(?<![{_JOINED}])[{_JOINERS}]+|[{_JOINERS}]+(?![{_JOINED}])")


@lru_cache(maxsize=8192)
def one_line(text: str) -> str:
    """The text with line breaks and tabs as spaces, without control and direction signs, lone surrogates replaced.

    Every character that is left is printed where it stands, so that a text from a model or a file cannot act on the
    terminal. Joiners stay between characters that they can join.
    """
    if text.isascii() and text.isprintable():
        return text
    return _LOOSE.sub("", "".join(map(_plain, text)))


@lru_cache(maxsize=8192)
def fit(text: str, width: int, align: Literal["left", "right"] = "left", ellipsis: str = "…") -> str:
    """The text as one line of exactly so many terminal cells: cut with an ellipsis, or filled with spaces.

    Args:
        text: any text.
        width: cells, 0 or more, by whatever a terminal counts; what would only half fit is left out.
        align: the side the text keeps to.
        ellipsis: what stands for the part cut off.
    """
    line = one_line(text)
    if broadest(line) > width:
        sign = ellipsis if cell_len(ellipsis) < width else ""
        line = cut(line, width - cell_len(sign)) + sign
        align = "left"
    fill = " " * (width - cell_len(line))
    return fill + line if align == "right" else line + fill


def _plain(character: str) -> str:
    if character in _BLANKS or unicodedata.category(character) == "Zs":
        return " "
    if "\ud800" <= character <= "\udfff":
        return REPLACEMENT
    return "" if unicodedata.category(character) in _DROPPED and character not in _JOINERS else character


Cell: TypeAlias = str | tuple[str, str]
"""A text, or a text and how it looks: "", "dim", "bold", "good", "warn", "bad", "lit", "base", "accent", or a colour of
the 256-colour palette, "color(166)"."""

Line: TypeAlias = tuple[Cell, ...]
"""The cursor's sign and the mark of a row, then its cells, as they are asked for."""

Look: TypeAlias = Callable[[str], Style]
"""From the name of a look to its style, on the background of the line."""


def gutter_of(mark_width: int) -> int:
    """Cells before the first column: the cursor's sign, and a mark with its space where there are marks."""
    return 1 + mark_width + 1


def header_segments(
    placed: Sequence[Placed], sort: tuple[str, bool] | None, signs: Glyphs, style: Style
) -> list[Segment]:
    """The titles; the one that rows are sorted by with an arrow, up for ascending."""
    segments: list[Segment] = []
    x = 0
    for slot in placed:
        column = slot.column
        title = fit(column.title, slot.width, column.align, signs.ellipsis)
        if sort is not None and sort[0] == column.key:
            arrow = signs.down if sort[1] else signs.up
            room = max(0, slot.width - 1)
            short = fit(column.title, min(room, len(column.title)), "left", "")
            title = fit(short + arrow, slot.width, column.align, "")
        segments += [Segment(" " * (slot.x - x), style), kept_apart(title, style)]
        x = slot.end
    return segments


def row_segments(line: Line, placed: Sequence[Placed], mark_width: int, signs: Glyphs, look: Look) -> list[Segment]:
    """One row: its signs, then its cells, each exactly as wide as its column."""
    pointer, mark, *cells = line
    segments = [_segment(pointer, 1, "left", signs, look), _segment(mark, mark_width, "left", signs, look)]
    x = 1 + mark_width
    for slot, cell in zip(placed, cells, strict=True):
        segments.append(Segment(" " * (slot.x - x), look("")))
        segments.append(_segment(cell, slot.width, slot.column.align, signs, look, slot.column.cut))
        x = slot.end
    return segments


def differences(old: Line, new: Line, placed: Sequence[Placed], mark_width: int) -> list[tuple[int, int]]:
    """Where two lines of the same row differ: (first cell, cells) of each stretch, neighbours joined."""
    spans = [(0, 1), (1, mark_width), *((slot.x, slot.width) for slot in placed)]
    stretches: list[tuple[int, int]] = []
    joins = False
    for (x, width), before, after in zip(spans, old, new, strict=True):
        if before == after:
            joins = False
            continue
        if joins:
            start = stretches.pop()[0]
            stretches.append((start, x + width - start))
        else:
            stretches.append((x, width))
        joins = True
    return stretches


def _segment(cell: Cell, width: int, align: str, signs: Glyphs, look: Look, cut_at: str = "end") -> Segment:
    text, name = (cell, "") if isinstance(cell, str) else cell
    if cut_at == "middle":
        text = cut_amid(one_line(text), width, signs.ellipsis)
    return kept_apart(fit(text, width, "right" if align == "right" else "left", signs.ellipsis), look(name))


_APART = Style(meta={"apart": True})


def kept_apart(text: str, style: Style) -> Segment:
    """A segment that is not joined to one of the same style beside it where terminals disagree about its width."""
    return Segment(text, style + _APART if UNSURE.search(text) is not None else style)


def component_style(widget: Widget, name: str) -> Style:
    """What a component class alone sets, to be added to another style.

    A muted colour is a part of what lies under it: taken alone it would be plain white or black.
    """
    partial = widget.get_component_rich_style(name, partial=True)
    whole = widget.get_component_rich_style(name)
    return partial + Style(color=partial.color and whole.color, bgcolor=partial.bgcolor and whole.bgcolor)


LOOKS = ("dim", "bold", "good", "warn", "bad", "lit", "base", "accent")

TABLE_CSS = """
LineTable {
    background: $surface;
    color: $foreground;
    scrollbar-size: 1 1;
    scrollbar-gutter: stable;
    & > .line-table--header { text-style: bold; color: $text-muted; }
    & > .line-table--cursor { background: $boost; }
    &:focus > .line-table--cursor { background: $primary-muted; text-style: bold; }
    & > .line-table--dim { color: $text-muted; }
    & > .line-table--bold { text-style: bold; }
    & > .line-table--good { color: $text-success; }
    & > .line-table--warn { color: $text-warning; }
    & > .line-table--bad { color: $text-error; }
    & > .line-table--lit { color: $text-warning; text-style: bold; }
    & > .line-table--base { color: $text-primary; }
    & > .line-table--accent { color: $text-accent; }
    &:ansi {
        background: ansi_default;
        color: ansi_default;
        & > .line-table--header { color: ansi_default; text-style: bold underline; }
        & > .line-table--cursor { background: ansi_default; text-style: underline; }
        &:focus > .line-table--cursor { background: ansi_default; text-style: reverse; }
        & > .line-table--dim { color: ansi_default; text-style: dim; }
        & > .line-table--good { color: ansi_green; }
        & > .line-table--warn { color: ansi_default; text-style: bold; }
        & > .line-table--bad { color: ansi_red; }
        & > .line-table--lit { color: ansi_default; text-style: bold; }
        & > .line-table--base { color: ansi_blue; }
        & > .line-table--accent { color: ansi_magenta; }
    }
}
"""


class Looks:
    """The styles of a table's cells by name, kept until the theme or the focus changes."""

    def __init__(self, table: Widget) -> None:
        self._table = table
        self._known: dict[tuple[str, bool], Style] = {}

    def clear(self) -> None:
        """Ask the theme again."""
        self._known.clear()

    def plain(self, name: str) -> Style:
        """How a cell looks; "" is a plain one."""
        return self._style(name, False)

    def on_cursor(self, name: str) -> Style:
        """How it looks in the highlighted row."""
        return self._style(name, True)

    def _style(self, name: str, on_cursor: bool) -> Style:
        style = self._known.get((name, on_cursor))
        if style is None:
            style = self._table.visual_style.rich_style
            for part in (name, "cursor" if on_cursor else ""):
                if part.startswith("color("):
                    # The terminal's own background may be of any colour: there the marker alone tells.
                    if not self._table.app.current_theme.ansi:
                        style += themed_style(self._table.app, Style.parse(part))
                elif part:
                    style += component_style(self._table, f"line-table--{part}")
            self._known[name, on_cursor] = style
        return style
