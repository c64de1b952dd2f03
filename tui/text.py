"""Texts broken into lines, measured in the cells that a terminal gives them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from rich.cells import cell_len, chop_cells, split_graphemes

_WORD = re.compile(r"( *)([^ ]+)")
_LETTER = r"[^\d\W]"
# A line may end after a hyphen between two letters at least and another, as in `textwrap`.
_PART = re.compile(rf"( *)([^ ]+?(?:(?<={_LETTER}{{2}}-)|(?<={_LETTER}-{_LETTER}-))(?={_LETTER}-?{_LETTER})|[^ ]+)")


UNSURE = re.compile(
    "[\u0900-\u109f\u1100-\u11ff\u1780-\u18af\u1900-\u1cff\u200c\u200d\ua800-\ua8ff\ua980-\ua9df\uaa00-\uabff\ufe00-\ufe0f"
    "\U00011000-\U00011fff\U0001f1e6-\U0001f1ff\U0001f000-\U0001faff]"
)
"""Characters of which terminals disagree how many cells they take: vowel signs of Indic scripts, which some give a cell
of their own; emoji that are joined, coloured or chosen by another character; and those that are newer than a terminal.
"""


JOINING = frozenset("\u200c\u200d\ufe0e\ufe0f")
"""Characters that only change how those beside them are drawn; a grid of cells, one character each, goes without."""


@lru_cache(maxsize=8192)
def broadest(text: str) -> int:
    """The most cells that a terminal takes for a text, by whatever it counts: characters, or what is drawn together."""
    if UNSURE.search(text) is None:
        return cell_len(text)
    return sum(map(_broadest, text))


_OF_A_CELL = 64
"""More characters than are drawn together in one cell."""


def cut(text: str, width: int) -> str:
    """As much of a text, from its start, as takes no more cells in any terminal; what is drawn together stays whole."""
    if broadest(text) <= width:
        return text
    used = 0
    # A text may be as long as a book: its start is split, of which far fewer characters than this take a cell.
    head = text[: _OF_A_CELL * (width + 1)]
    for start, end, _ in split_graphemes(head)[0]:
        used += broadest(text[start:end])
        if used > width:
            return text[:start]
    return head


def cut_amid(text: str, width: int, sign: str = "…") -> str:
    """A text in so many cells of any terminal, a sign in the place of its middle: ends tell names apart."""
    if broadest(text) <= width:
        return text
    room = max(0, width - cell_len(sign))
    head = cut(text, room // 2)
    room -= broadest(head)
    tails = (text[start:] for start, _, _ in split_graphemes(text)[0])
    return head + sign + next((tail for tail in tails if broadest(tail) <= room), "")


def _broadest(character: str) -> int:
    if character == "\ufe0f" or unicodedata.category(character) == "Mc":
        return 1
    # A tone or half a flag stands for itself where it is not joined to what is before.
    return 2 if "\U0001f1e6" <= character <= "\U0001faff" else cell_len(character)


_TOKEN = re.compile(r"[^\W_]+|[\W_]")
_WORTH_CUTTING = 8
"""Characters that all names begin or end with, from which on they are left out."""


def told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Names of one list without the words that all of them begin and end with: "…seed-4…"; different ones stay so.

    The word before what differs stays, which says what that is; what is short is not cut.
    """
    parts = [_TOKEN.findall(name) for name in names]
    if len({*names}) < 2:
        return tuple(names)

    def alike(at: int) -> bool:
        return len({part[at] for part in parts}) == 1

    shortest = min(map(len, parts))
    first = next((at for at in range(shortest) if not alike(at)), shortest)
    last = next((at for at in range(shortest - first) if not alike(-1 - at)), shortest - first)
    while first and not parts[0][first - 1].isalnum():
        first -= 1
    first = max(0, first - 1)
    begin = sum(map(len, parts[0][:first]))
    end = sum(map(len, parts[0][len(parts[0]) - last :]))
    begin, end = (length if length >= _WORTH_CUTTING else 0 for length in (begin, end))
    return tuple(f"{'…' * bool(begin)}{name[begin : len(name) - end]}{'…' * bool(end)}" for name in names)


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
        if broadest(joined) <= room:
            line = joined
            continue
        if line:
            lines.append(line)
            room = inner
        *heads, line = _chopped(word, room)
        if heads:
            lines.extend(heads)
            room = inner
    lines += [line] if line else []
    return [*lines[:1], *(hang + part for part in lines[1:])]


def _chopped(word: str, width: int) -> list[str]:
    if UNSURE.search(word) is None:
        return [part for part in chop_cells(word, width) if part]
    parts: list[str] = []
    while word:
        # A cluster that is wider than a line stands alone.
        part = cut(word, width) or word[: split_graphemes(word)[0][0][1]]
        parts.append(part)
        word = word[len(part) :]
    return parts
