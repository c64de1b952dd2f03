"""Any text as one line of a fixed width: nothing in it can move the cursor, break a line or upset a column."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Literal

from rich.cells import cell_len, set_cell_size

REPLACEMENT = "\ufffd"
_BLANKS = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")
_DROPPED = ("Cf", "Cc")


@lru_cache(maxsize=8192)
def one_line(text: str) -> str:
    """The text with line breaks and tabs as spaces, without control and direction signs, lone surrogates replaced.

    Every character that is left is printed where it stands, so that a text from a model or a file cannot act on the
    terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_plain, text))


@lru_cache(maxsize=8192)
def fit(text: str, width: int, align: Literal["left", "right"] = "left", ellipsis: str = "…") -> str:
    """The text as one line of exactly so many terminal cells: cut with an ellipsis, or filled with spaces.

    Args:
        text: any text.
        width: cells, 0 or more; a wide character that would only half fit is left out.
        align: the side the text keeps to.
        ellipsis: what stands for the part cut off.
    """
    line = one_line(text)
    length = cell_len(line)
    if length <= width:
        fill = " " * (width - length)
        return fill + line if align == "right" else line + fill
    sign = ellipsis if cell_len(ellipsis) < width else ""
    return set_cell_size(line, width - cell_len(sign)) + sign


def _plain(character: str) -> str:
    if character in _BLANKS or unicodedata.category(character) == "Zs":
        return " "
    if "\ud800" <= character <= "\udfff":
        return REPLACEMENT
    return "" if unicodedata.category(character) in _DROPPED else character
