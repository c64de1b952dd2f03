"""What the table of the prompts pane shows: the sets, or the prompts of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.cells import cell_len
from textual import events
from textual.message import Message

from srm_explorer.engine.prompts import Prompt
from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.prompts.catalogue import Content, ListedSet
from srm_explorer.tui.text import wrapped
from srm_explorer.tui.widgets.table import HEADER_HEIGHT, LineTable
from srm_explorer.tui.widgets.table_render import Cell, Column, one_line

WIDEST_LEVEL = 16
"""Cells of the widest column of levels."""

_LONGEST_NAME = 24
_ORIGINS = {"shipped": "shipped", "yours": "yours", "here": "./prompts", "path": "path", "missing": ""}


class RowsView(Protocol):
    """Rows of one kind for a `LineTable`, each with a key and a check mark."""

    @property
    def columns(self) -> tuple[Column, ...]: ...
    @property
    def count(self) -> int: ...
    def cell(self, row: int, key: str) -> Cell: ...
    def key(self, row: int) -> object: ...
    def mark(self, row: int) -> Cell: ...


@dataclass(frozen=True)
class SetRows:
    """The sets, each with the number of its prompts that a run would use.

    Attributes:
        sets: those shown.
        chosen: names of the chosen ones.
        numbers: by name, the numbers of the prompts used.
        warned: names of sets that have a prompt too long for the model.
        signs: of the screen.
    """

    sets: Sequence[ListedSet]
    chosen: Collection[str]
    numbers: Mapping[str, Collection[int]]
    warned: Collection[str]
    signs: Glyphs

    @property
    def columns(self) -> tuple[Column, ...]:
        widest = max((cell_len(self._count(listed)) for listed in self.sets), default=0)
        longest = max((cell_len(one_line(listed.name)) for listed in self.sets), default=0)
        return (
            Column("name", "set", least=max(8, min(_LONGEST_NAME, longest)), share=2),
            Column("count", "used / all", max(10, widest), "right"),
            Column("factors", "factors", least=12, share=2, priority=2),
            Column("format", "format", 6, priority=3),
            Column("origin", "from", 9, priority=1),
        )

    @property
    def count(self) -> int:
        return len(self.sets)

    def cell(self, row: int, key: str) -> Cell:
        listed = self.sets[row]
        name, is_broken = listed.name, listed.is_read and not listed.is_usable
        look = "bad" if is_broken else "" if name in self.chosen else "dim"
        if key == "name":
            return name, look
        if key == "count":
            return self._count(listed), "warn" if name in self.warned and not is_broken else look
        if key == "factors":
            return ", ".join(listed.factors), "dim"
        return listed.format if key == "format" else _ORIGINS[listed.origin], "dim"

    def key(self, row: int) -> object:
        return self.sets[row].name

    def mark(self, row: int) -> Cell:
        """Checked where every prompt is used, partly where some are."""
        listed = self.sets[row]
        if listed.name not in self.chosen:
            return self.signs.unchecked, "dim"
        used = len(self.numbers.get(listed.name, ()))
        return self.signs.checked if listed.prompts and used == len(listed.prompts) else self.signs.partly

    def _count(self, listed: ListedSet) -> str:
        if not listed.is_read:
            return f"{self.signs.ellipsis} / {self.signs.ellipsis}"
        if not listed.is_usable:
            return f"{self.signs.warning} error"
        used = len(self.numbers.get(listed.name, ())) if listed.name in self.chosen else 0
        sign = f"{self.signs.warning} " if listed.name in self.warned else ""
        return f"{sign}{used:,} / {len(listed.prompts):,}"


@dataclass(frozen=True)
class PromptRows:
    """The prompts of a set that are shown, with their factors and tokens.

    Attributes:
        listed: the set.
        shown: numbers of the prompts, from 1.
        used: numbers of those that a run would use.
        out: numbers of those left out.
        is_chosen: whether the set is chosen at all.
        tokens: a prompt's content -> its tokens; None where they are not known.
        is_asked: content -> whether they are awaited.
        room: the most tokens a prompt may have; None where that is not known.
        signs: of the screen.
    """

    listed: ListedSet
    shown: Sequence[int]
    used: Collection[int]
    out: Collection[int]
    is_chosen: bool
    tokens: Callable[[Content], int | None]
    is_asked: Callable[[Content], bool]
    room: int | None
    signs: Glyphs

    @property
    def columns(self) -> tuple[Column, ...]:
        factors = (
            Column(f"factor {name}", one_line(name), self._width(name, levels), priority=2)
            for name, levels in self.listed.factors.items()
        )
        return (Column("text", "prompt", least=20), Column("tokens", "tok", 5, "right", priority=1), *factors)

    @property
    def count(self) -> int:
        return len(self.shown)

    def prompt(self, row: int) -> Prompt:
        return self.listed.prompts[self.shown[row] - 1]

    def cell(self, row: int, key: str) -> Cell:
        prompt = self.prompt(row)
        look = "" if self.shown[row] in self.used else "dim"
        if key == "text":
            return prompt.text, look
        if key == "tokens":
            return self._tokens(prompt.content, look)
        return prompt.factors.get(key.removeprefix("factor "), ""), look

    def key(self, row: int) -> object:
        return self.shown[row]

    def mark(self, row: int) -> Cell:
        """Checked where a run would use the prompt; partly where it is chosen but comes after the last that is run."""
        number = self.shown[row]
        if number in self.used:
            return self.signs.checked
        if self.is_chosen and number not in self.out:
            return self.signs.partly, "dim"
        return self.signs.unchecked, "dim"

    def _tokens(self, text: Content, look: str) -> Cell:
        count = self.tokens(text)
        if count is None:
            return (self.signs.ellipsis if self.is_asked(text) else ""), "dim"
        if self.room is not None and count > self.room:
            return f"{self.signs.warning}{count}", "warn"
        return str(count), look

    def _width(self, name: str, levels: Sequence[str]) -> int:
        # The first levels are enough to go by; a factor may have as many as there are prompts.
        widest = max((cell_len(one_line(level)) for level in (name, *levels[:100])), default=1)
        return max(1, min(WIDEST_LEVEL, widest))


@dataclass(frozen=True)
class LevelRows:
    """The levels of factors: (factor, level, number of prompts that have it), checked where they are wanted."""

    levels: Sequence[tuple[str, str, int]]
    checked: Mapping[str, Collection[str]]
    signs: Glyphs

    @property
    def columns(self) -> tuple[Column, ...]:
        widest = max((cell_len(one_line(factor)) for factor, _, _ in self.levels), default=6)
        return (
            Column("factor", "factor", max(6, min(WIDEST_LEVEL, widest))),
            Column("level", "level", least=8),
            Column("count", "prompts", 7, "right", priority=1),
        )

    @property
    def count(self) -> int:
        return len(self.levels)

    def cell(self, row: int, key: str) -> Cell:
        factor, level, count = self.levels[row]
        if key == "factor":
            return factor if not row or self.levels[row - 1][0] != factor else ""
        return level if key == "level" else f"{count:,}"

    def key(self, row: int) -> object:
        return self.levels[row][:2]

    def mark(self, row: int) -> Cell:
        factor, level, _ = self.levels[row]
        return self.signs.checked if level in self.checked.get(factor, ()) else (self.signs.unchecked, "dim")


def levels_of(sets: Sequence[ListedSet], checked: Mapping[str, Collection[str]]) -> list[tuple[str, str, int]]:
    counts = Counter(pair for listed in sets for prompt in listed.prompts for pair in prompt.factors.items())
    by_factor: dict[str, dict[str, None]] = {}
    for factors in (*(listed.factors for listed in sets), checked):
        for factor, levels in factors.items():
            by_factor.setdefault(factor, {}).update(dict.fromkeys(levels))
    return [(factor, level, counts[factor, level]) for factor, levels in by_factor.items() for level in levels]


@dataclass(frozen=True)
class ErrorRows:
    """What is wrong with a file, in lines as wide as the table, under a title."""

    lines: Sequence[str]
    title: str

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("line", self.title, least=8),)

    @property
    def count(self) -> int:
        return len(self.lines)

    def cell(self, row: int, key: str) -> Cell:
        return self.lines[row], "bad"

    def key(self, row: int) -> object:
        return row

    def mark(self, row: int) -> Cell:
        return ""


def error_lines(texts: Sequence[str], width: int) -> list[str]:
    lines: list[str] = []
    for text in texts:
        lines += [""] if lines else []
        lines += wrapped(" ".join(one_line(text).split()), max(2, width)) or [""]
    return lines


class PromptTable(LineTable):
    """A table that tells when the mark of a row was clicked."""

    @dataclass
    class MarkPressed(Message):
        """The check mark of a row was clicked."""

        row: int

    def on_click(self, event: events.Click) -> None:
        """Tell of a click before the first column; what every click does is done as well."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y < HEADER_HEIGHT or event.chain != 1:
            return
        row = offset.y - HEADER_HEIGHT + self.scroll_offset.y
        if row < self.count and offset.x + self.scroll_offset.x < self._gutter_width():
            self.post_message(self.MarkPressed(row))

    def scroll_to_cursor(self) -> None:
        self._into_view()

    def _gutter_width(self) -> int:
        columns = self._places()
        return columns[0].x if columns else 0
