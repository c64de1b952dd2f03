"""Levels of factors as rows of the prompts pane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from tui.state.glyphs import Glyphs
from tui.widgets.columns import Column
from tui.widgets.one_line import one_line
from tui.widgets.prompt_rows import WIDEST_LEVEL
from tui.widgets.table_lines import Cell

if TYPE_CHECKING:
    from tui.state.prompt_catalogue import ListedSet


@dataclass(frozen=True)
class LevelRows:
    """The levels of factors, checked where they are wanted.

    Attributes:
        levels: factor, level, and number of prompts that have it.
        wanted: factor to levels.
        signs: of the screen.
    """

    levels: Sequence[tuple[str, str, int]]
    wanted: Mapping[str, Collection[str]]
    signs: Glyphs

    @property
    def columns(self) -> tuple[Column, ...]:
        """Factor, level and number of prompts."""
        widest = max((cell_len(one_line(factor)) for factor, _, _ in self.levels), default=6)
        return (
            Column("factor", "factor", max(6, min(WIDEST_LEVEL, widest))),
            Column("level", "level", least=8),
            Column("count", "prompts", 7, "right", priority=1),
        )

    @property
    def count(self) -> int:
        """Number of levels."""
        return len(self.levels)

    def cell(self, row: int, key: str) -> Cell:
        """The factor is written once, before its first level."""
        factor, level, count = self.levels[row]
        if key == "factor":
            return factor if not row or self.levels[row - 1][0] != factor else ""
        return level if key == "level" else f"{count:,}"

    def key(self, row: int) -> object:
        """Factor and level."""
        return self.levels[row][:2]

    def mark(self, row: int) -> Cell:
        """Checked where the level is wanted."""
        factor, level, _ = self.levels[row]
        return self.signs.checked if level in self.wanted.get(factor, ()) else (self.signs.unchecked, "dim")


def levels_of(sets: Sequence[ListedSet], wanted: Mapping[str, Collection[str]]) -> list[tuple[str, str, int]]:
    """Every level the sets have or that is wanted: factor, level, and number of prompts, factor by factor."""
    counts = Counter(pair for one in sets for prompt in one.prompts for pair in prompt.factors.items())
    known = [(factor, level) for one in sets for factor, levels in one.factors.items() for level in levels]
    known += [(factor, level) for factor, levels in wanted.items() for level in levels]
    factors = {factor: place for place, factor in enumerate(dict.fromkeys(factor for factor, _ in known))}
    ordered = sorted(dict.fromkeys(known), key=lambda pair: factors[pair[0]])
    return [(factor, level, counts[factor, level]) for factor, level in ordered]
