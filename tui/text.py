"""Texts broken into lines, measured in the cells that a terminal gives them."""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells

_WORD = re.compile(r"( *)([^ ]+)")
_LETTER = r"[^\d\W]"
# A line may end after a hyphen between two letters at least and another, as in `textwrap`.
_PART = re.compile(rf"( *)([^ ]+?(?:(?<={_LETTER}{{2}}-)|(?<={_LETTER}-{_LETTER}-))(?={_LETTER}-?{_LETTER})|[^ ]+)")


def wrapped(text: str, width: int, hang: str = "", *, hyphens: bool = False) -> list[str]:
    """A text in lines of at most so many cells; a word longer than a line is cut, none is no line.

    Args:
        text: one paragraph.
        width: of the lines, at least 2 for characters of two cells.
        hang: stands before every line but the first.
        hyphens: whether a line may end after a hyphen too.
    """
    lines: list[str] = []
    line, room, inner = "", width, max(1, width - cell_len(hang))
    for gap, word in (_PART if hyphens else _WORD).findall(text):
        joined = f"{line}{gap}{word}" if line else word
        if cell_len(joined) <= room:
            line = joined
            continue
        if line:
            lines, room = [*lines, line], inner
        *heads, line = [part for part in chop_cells(word, room) if part]
        if heads:
            lines, room = [*lines, *heads], inner
    lines += [line] if line else []
    return [*lines[:1], *(hang + part for part in lines[1:])]
