"""What is wrong with a prompt file as rows of the prompts pane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from tui.widgets.columns import Column
from tui.widgets.one_line import one_line
from tui.widgets.table_lines import Cell


@dataclass(frozen=True)
class ErrorRows:
    """What is wrong with a file, wrapped to the width of the pane.

    Attributes:
        lines: as wide as the table.
        title: of the only column.
    """

    lines: Sequence[str]
    title: str

    @property
    def columns(self) -> tuple[Column, ...]:
        """One."""
        return (Column("line", self.title, least=8),)

    @property
    def count(self) -> int:
        """Number of lines."""
        return len(self.lines)

    def cell(self, row: int, key: str) -> Cell:
        """A line of an error."""
        return self.lines[row], "bad"

    def key(self, row: int) -> object:
        """The number of the line."""
        return row

    def mark(self, row: int) -> Cell:
        """None."""
        return ""


def wrapped(texts: Sequence[str], width: int) -> list[str]:
    """Texts on lines of at most so many cells, an empty line between two; words longer than a line are cut."""
    lines: list[str] = []
    for text in texts:
        if lines:
            lines.append("")
        line = ""
        for word in one_line(text).split():
            while cell_len(f"{line} {word}".strip()) > max(2, width):
                if line:
                    lines.append(line)
                    line = ""
                    continue
                head = _head(word, max(2, width))
                lines.append(head)
                word = word[len(head) :]
            line = f"{line} {word}".strip()
        lines.append(line)
    return lines


def _head(word: str, width: int) -> str:
    used = 0
    for at, character in enumerate(word):
        used += cell_len(character)
        if used > width:
            return word[:at]
    return word
