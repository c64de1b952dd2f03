"""What the table of the prompts pane shows: the sets, or the prompts of one."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from rich.cells import cell_len
from textual import events
from textual.message import Message

from srm_explorer.engine.errors import SpecValueError
from srm_explorer.engine.experiment.positions import (
    RowPositions,
    TokenChoice,
    find_positions,
    positions_text,
    read_positions,
)
from srm_explorer.engine.prompts import Prompt
from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.prompts.catalogue import Content, ListedSet
from srm_explorer.tui.text import wrapped
from srm_explorer.tui.widgets.table import HEADER_HEIGHT, LineTable
from srm_explorer.tui.widgets.table_render import Cell, Column, one_line

WIDEST_LEVEL = 16
"""Cells of the widest column of levels."""

PromptPositions: TypeAlias = tuple[int, ...] | TokenChoice
"""A choice of positions that means others in each prompt."""

PositionsUse: TypeAlias = Literal["edited", "captured"]
"""What is done at a choice of positions."""

_WIDEST_POSITIONS = 16
_MEASURED = 100
"""Rows or levels that decide the width of a column."""

_LONGEST_NAME = 24
_ORIGINS = {"shipped": "shipped", "yours": "yours", "here": "./prompts", "path": "path", "missing": ""}


def prompt_positions(positions: Iterable[object]) -> tuple[PromptPositions, ...]:
    """Of choices of positions, those that mean others in each prompt, each once."""
    choices: dict[PromptPositions, None] = {}
    for value in positions:
        # What is no choice is refused where it is typed.
        with contextlib.suppress(SpecValueError):
            choice = read_positions(value)
            if not isinstance(choice, str):
                choices[choice] = None
    return tuple(choices)


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
        titles: what they are called, by name: a file without its folders.
        chosen: names of the chosen ones.
        numbers: by name, the numbers of the prompts used.
        warned: names of sets that have a prompt too long for the model.
        signs: of the screen.
    """

    sets: Sequence[ListedSet]
    titles: Mapping[str, str]
    chosen: Collection[str]
    numbers: Mapping[str, Collection[int]]
    warned: Collection[str]
    signs: Glyphs

    @property
    def columns(self) -> tuple[Column, ...]:
        widest = max((cell_len(self._count(listed)) for listed in self.sets), default=0)
        longest = max((cell_len(one_line(self.titles[listed.name])) for listed in self.sets), default=0)
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
            return self.titles[name], look
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
        pieces: a prompt's content -> the text of each of its tokens; None where that is not known.
        is_asked: content -> whether they are awaited.
        room: the most tokens a prompt may have; None where that is not known.
        positions: by what is done there, the choices of positions that are found in each prompt.
        signs: of the screen.
    """

    listed: ListedSet
    shown: Sequence[int]
    used: Collection[int]
    out: Collection[int]
    is_chosen: bool
    pieces: Callable[[Content], tuple[str, ...] | None]
    is_asked: Callable[[Content], bool]
    room: int | None
    positions: Mapping[PositionsUse, Sequence[PromptPositions]]
    signs: Glyphs

    @property
    def columns(self) -> tuple[Column, ...]:
        factors = (
            Column(f"factor {name}", one_line(name), self._width(name, levels), priority=2)
            for name, levels in self.listed.factors.items()
        )
        positions = (Column(use, f"{use} at", self._positions_width(use)) for use in self.positions)
        return (
            Column("text", "prompt", least=20),
            *positions,
            Column("tokens", "tok", 5, "right", priority=1),
            *factors,
        )

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
        if key in ("edited", "captured"):
            return self._positions(prompt.content, key, look)
        return prompt.factors.get(key.removeprefix("factor "), ""), look

    def resolved(self, content: Content, use: PositionsUse) -> list[tuple[str, RowPositions | SpecValueError]]:
        """Each choice of positions as it is typed, with what it means in a prompt; none before its tokens are known."""
        pieces = self.pieces(content)
        found: list[tuple[str, RowPositions | SpecValueError]] = []
        for choice in self.positions.get(use, ()) if pieces is not None else ():
            try:
                found.append((positions_text(choice), find_positions(choice, pieces or ())))
            except SpecValueError as error:
                found.append((positions_text(choice), error))
        return found

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
        pieces = self.pieces(text)
        if pieces is None:
            return (self.signs.ellipsis if self.is_asked(text) else ""), "dim"
        count = len(pieces)
        if self.room is not None and count > self.room:
            return f"{self.signs.warning}{count}", "warn"
        return str(count), look

    def _positions(self, content: Content, use: PositionsUse, look: str) -> Cell:
        """The positions of all choices, as many as there is room for; `none` where one of these is not there."""
        if self.pieces(content) is None:
            return (self.signs.ellipsis if self.is_asked(content) else ""), "dim"
        resolved = [positions for _, positions in self.resolved(content, use)]
        if any(isinstance(positions, SpecValueError) for positions in resolved):
            return f"{self.signs.warning} none", "bad"
        rows = [positions for positions in resolved if isinstance(positions, RowPositions)]
        start = min((row.start for row in rows if row.start is not None), default=None)
        at = sorted({number for row in rows for number in row.at if start is None or number < start})
        parts = [*map(str, at), *([f"{start}{self.signs.ellipsis}"] if start is not None else [])]
        text = f"@{', '.join(parts)}"
        for kept in range(len(parts) - 1, 0, -1):
            if cell_len(text) <= _WIDEST_POSITIONS:
                break
            text = f"@{', '.join(parts[:kept])} {self.signs.ellipsis}({len(at)}{'' if start is None else '+'})"
        return text, look

    def _positions_width(self, use: PositionsUse) -> int:
        cells = (self._positions(self.prompt(row).content, use, "") for row in range(min(self.count, _MEASURED)))
        widest = max((cell_len(cell if isinstance(cell, str) else cell[0]) for cell in cells), default=0)
        return _WIDEST_POSITIONS if self.count > _MEASURED else max(len(f"{use} at"), widest)

    def _width(self, name: str, levels: Sequence[str]) -> int:
        # The first levels are enough to go by; a factor may have as many as there are prompts.
        widest = max((cell_len(one_line(level)) for level in (name, *levels[:_MEASURED])), default=1)
        return max(1, min(WIDEST_LEVEL, widest))


@dataclass(frozen=True)
class LevelRows:
    """The levels of factors: (factor, level, number of prompts that have it).

    Attributes:
        levels: those shown.
        wanted: by factor and level, whether all sets that have it want it; False: some do.
        signs: of the screen.
    """

    levels: Sequence[tuple[str, str, int]]
    wanted: Mapping[tuple[str, str], bool]
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
        state = self.wanted.get(self.levels[row][:2])
        if state is None:
            return self.signs.unchecked, "dim"
        return self.signs.checked if state else self.signs.partly


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
