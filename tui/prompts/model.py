"""An experiment's table of prompts: what a run would use of it, its changes, and the part that the pane has in view."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.prompts import Prompt, PromptSet, choose, fitting
from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.prompts.catalogue import ListedSet, PromptFiles, TokenBook, followed
from srm_explorer.tui.prompts.rows import (
    ErrorRows,
    LevelRows,
    PositionsUse,
    PromptPositions,
    PromptRows,
    RowsView,
    SetRows,
    error_lines,
    levels_of,
)

Table: TypeAlias = dict[str, Any]
"""The table of prompts as `Experiment.to_dict()` has it."""


@dataclass(frozen=True)
class Selected:
    """What a run would use.

    Attributes:
        numbers: by the name of each chosen set that can be used, the numbers of its prompts, from 1.
        error: why a run would refuse; None where it would not.
    """

    numbers: Mapping[str, tuple[int, ...]]
    error: ExplorerError | None = None

    @property
    def total(self) -> int:
        return sum(len(numbers) for numbers in self.numbers.values())


def sets_of(table: Table) -> list[str]:
    return list(table.get("sets") or ())


def omitted(table: Table, name: str) -> list[int]:
    return list((table.get("omit") or {}).get(name, ()))


def where_of(table: Table) -> dict[str, list[str]]:
    return {factor: list(levels) for factor, levels in (table.get("where") or {}).items()}


def select(table: Table, sets: Mapping[str, ListedSet]) -> Selected:
    """Resolve the table as a run does; sets that are not usable are left aside and told of."""
    names = sets_of(table)
    usable: dict[str, PromptSet] = {}
    error = None if names else ExplorerError("no prompt set is chosen", remedy="space chooses one")
    for name in names:
        listed = sets.get(name)
        if listed is not None and listed.prompt_set is not None and listed.is_usable:
            usable[name] = listed.prompt_set
        elif listed is not None and listed.is_read and error is None:
            error = ExplorerError(listed.error_lines()[0])
    omit = {name: omitted(table, name) for name in names if omitted(table, name)}
    if not usable:
        return Selected({}, error)
    try:
        return Selected(choose(usable, where=where_of(table), omit=omit, limit=table.get("limit")), error)
    except ExplorerError as refused:
        rest = {
            name: tuple(number for number in fitting(prompts, where_of(table)) if number not in set(omit.get(name, ())))
            for name, prompts in usable.items()
        }
        return Selected(rest, error or refused)


def with_set(table: Table, name: str, omit: Sequence[int] = ()) -> Table:
    names = [other for other in sets_of(table) if other != name]
    return with_omitted({**table, "sets": [*names, name]}, name, omit)


def without_set(table: Table, name: str) -> Table:
    changed = {**table, "sets": [other for other in sets_of(table) if other != name]}
    return with_omitted(changed, name, ())


def with_omitted(table: Table, name: str, numbers: Collection[int]) -> Table:
    omit = {other: list(out) for other, out in (table.get("omit") or {}).items() if other != name}
    if numbers:
        omit[name] = sorted(set(numbers))
    order = sets_of(table)
    return {
        **table,
        "omit": dict(sorted(omit.items(), key=lambda item: order.index(item[0]) if item[0] in order else 0)),
    }


def with_prompts(table: Table, name: str, count: int, numbers: Collection[int], chosen: bool) -> Table:
    """Choose some prompts of a set of `count`, or leave them out; with nothing left it is no longer chosen.

    Of a set that was not chosen, all the others are then left out.
    """
    whole = set(range(1, count + 1))
    out = set(omitted(table, name)) & whole if name in sets_of(table) else whole
    out = out - set(numbers) if chosen else out | (set(numbers) & whole)
    if out == whole:
        return without_set(table, name)
    if name in sets_of(table):
        return with_omitted(table, name, out)
    return with_set(table, name, sorted(out))


def with_level(table: Table, factor: str, level: str, order: Sequence[str]) -> Table:
    """Want a level of a factor if it was not wanted, else no longer; a factor without levels filters nothing."""
    where = where_of(table)
    levels = where.get(factor, [])
    levels = [other for other in levels if other != level] if level in levels else [*levels, level]
    levels.sort(key=lambda name: order.index(name) if name in order else len(order))
    where[factor] = levels
    return {**table, "where": {name: chosen for name, chosen in where.items() if chosen}}


def renamed(table: Table, old: str, new: str) -> Table:
    """Let another set take a chosen set's place, with the same prompts left out."""
    if new in sets_of(table):
        return without_set(table, old)
    out = omitted(table, old)
    names = [new if name == old else name for name in sets_of(table)]
    return with_omitted({**with_omitted(table, old, ()), "sets": names}, new, out)


_MOST_UNDER_WAY = 50


class PromptEdits:
    """The experiment's table of prompts, one after the other, some of them still on their way out and back."""

    def __init__(self) -> None:
        self.table: Table = {}
        self._last: tuple[Hashable, Table, Table] | None = None
        self._sent: deque[Table] = deque(maxlen=_MOST_UNDER_WAY)

    def take(self, table: Table) -> None:
        """Take the table from outside; of changes made here that come back one by one only the last counts."""
        while table in self._sent:
            if self._sent.popleft() == table and self._sent:
                return
        self._sent.clear()
        self.table = table

    def change(self, key: Hashable, new: Table) -> bool:
        """Make a change; the same toggle again restores what was there before, to the order of a list.

        Args:
            key: what is toggled; None for a change that is no toggle.
            new: the table afterwards.

        Returns:
            Whether anything changed.
        """
        before = self.table
        if self._last is not None and key is not None and self._last[0] == key and self._last[2] == before:
            new = self._last[1]
        self._last = (key, before, new)
        if new == before:
            return False
        self.table = new
        self._sent.append(new)
        return True


View: TypeAlias = Literal["sets", "prompts", "levels"]


class PromptChoice:
    """The table of prompts being edited, the part of it in view, and what is searched for.

    Args:
        files: the sets there are.
        book: the tokens of prompts.

    Attributes:
        view: the sets, the prompts of the opened one, or the levels of factors.
        opened: name of the set whose prompts are in view.
        search: text that rows in view must hold.
        room: the most tokens a prompt may have; None where that is not known.
        positions: by what is done there, the choices of positions that are found in each prompt.
        edits: the experiment's table of prompts as it is edited.
    """

    def __init__(self, files: PromptFiles, book: TokenBook) -> None:
        self.files, self.book = files, book
        self.view: View = "sets"
        self.opened = ""
        self.search = ""
        self.room: int | None = None
        self.positions: dict[PositionsUse, tuple[PromptPositions, ...]] = {}
        self.edits = PromptEdits()
        self._searches: dict[View, str] = {}
        self._levels: list[tuple[str, str, int]] = []
        self._behind_levels: View = "sets"
        self._unticked: dict[str, list[int]] = {}
        self._selected: tuple[Table, object, Selected] | None = None
        self._folded: tuple[PromptSet | None, list[str]] = (None, [])
        self._last_usable: dict[str, Sequence[Prompt]] = {}

    @property
    def chosen(self) -> list[str]:
        return sets_of(self.table)

    @property
    def opened_set(self) -> ListedSet | None:
        return self.files.sets.get(self.opened) if self.view != "sets" and self.opened else None

    @property
    def table(self) -> Table:
        return self.edits.table

    def selected(self) -> Selected:
        known = tuple(self.files.sets.values())
        if self._selected is None or self._selected[0] != self.table or self._selected[1] != tuple(map(id, known)):
            self._selected = (self.table, tuple(map(id, known)), select(self.table, self.files.sets))
        return self._selected[2]

    def rows(self, width: int, signs: Glyphs) -> RowsView:
        """What is in view; the text of an error is as wide as so many cells."""
        if not self.files.is_listed:
            return ErrorRows((), "reading the prompt sets")
        if self.view == "levels":
            return LevelRows(self._levels_shown(), self.table.get("where") or {}, signs)
        if self.view == "sets":
            return SetRows(self._sets_shown(), self.chosen, self.selected().numbers, self._too_long_sets(), signs)
        listed = self.opened_set
        if listed is None or not listed.is_usable:
            texts = listed.error_lines() if listed is not None else (f"there is no prompt set {self.opened!r}",)
            return ErrorRows(error_lines(texts, width), "what is wrong" if texts else f"reading {self.opened}")
        is_chosen = listed.name in self.chosen
        used = frozenset(self.selected().numbers.get(listed.name, ()) if is_chosen else ())
        out = frozenset(omitted(self.table, listed.name))
        shown, pieces, asked = self._numbers_shown(listed), self.book.pieces, self.book.is_asked
        return PromptRows(listed, shown, used, out, is_chosen, pieces, asked, self.room, self.positions, signs)

    def too_long(self) -> int:
        return sum(self._longer(name) for name in self.selected().numbers)

    def open_set(self, name: str) -> None:
        self._go("prompts")
        self.opened = name

    def open_levels(self) -> None:
        listed = self.opened_set
        usable = [other for other in self.files.sets.values() if other.is_usable]
        chosen = [other for other in usable if other.name in self.chosen]
        scope = [listed] if listed is not None and self.view == "prompts" else chosen or usable
        self._levels = levels_of(scope, self.table.get("where") or {})
        self._behind_levels = "prompts" if self.view == "prompts" else "sets"
        self._go("levels")

    def back(self) -> bool:
        """Go back to where we came from; False where there is nothing to go back to."""
        if self.view == "sets":
            return False
        self._go(self._behind_levels if self.view == "levels" else "sets")
        return True

    def toggle(self, rows: RowsView, row: int) -> bool:
        """Choose what stands in a row, or leave it out; whether anything changed."""
        if isinstance(rows, LevelRows) and row < rows.count:
            factor, level, _ = rows.levels[row]
            order = [name for other, name, _ in self._levels if other == factor]
            return self.edits.change(("level", factor, level), with_level(self.table, factor, level, order))
        if isinstance(rows, PromptRows) and row < rows.count:
            name, number = rows.listed.name, rows.shown[row]
            is_out = not rows.is_chosen or number in rows.out
            new = with_prompts(self.table, name, len(rows.listed.prompts), [number], is_out)
            return self.edits.change(("prompt", name, number), new)
        if isinstance(rows, SetRows) and row < rows.count:
            return self._toggle_set(rows.sets[row].name)
        return self._toggle_set(self.opened) if isinstance(rows, ErrorRows) and self.opened else False

    def toggle_shown(self, rows: RowsView) -> bool:
        """Choose everything that is shown, or nothing of it where all is chosen; whether anything changed."""
        new, part = self.table, False
        if isinstance(rows, PromptRows):
            out = set(rows.shown) & set(rows.out) if rows.is_chosen else set(rows.shown)
            part = 0 < len(out) < len(rows.shown)
            new = with_prompts(new, rows.listed.name, len(rows.listed.prompts), rows.shown, bool(out))
        elif isinstance(rows, SetRows):
            usable = [listed.name for listed in rows.sets if listed.is_usable]
            missing = [name for name in usable if name not in self.chosen]
            part = 0 < len(missing) < len(usable)
            for name in missing or usable:
                new = with_set(new, name) if missing else without_set(new, name)
        return self.edits.change(None if part else ("shown", self.view, self.opened, self.search), new)

    def limit(self, count: int | None) -> bool:
        """Use only the first prompts of the whole list; None uses all. Whether anything changed."""
        return self.edits.change(None, {**self.table, "limit": count})

    def replace(self, old: str, new: str) -> bool:
        """Let a copy take a set's place; whether anything changed."""
        if self.opened == old:
            self.opened = new
        return old in self.chosen and self.edits.change(None, renamed(self.table, old, new))

    def take_read(self, listed: ListedSet) -> bool:
        """Take what a file holds now; prompts left out stay so under their new numbers. Whether the table changed."""
        name = listed.name
        self.files.sets[name] = listed
        if not listed.is_usable:
            return False
        old, self._last_usable[name] = self._last_usable.get(name), listed.prompts
        out = omitted(self.table, name)
        if old is None or not out or name not in self.chosen or tuple(old) == tuple(listed.prompts):
            return False
        return self.edits.change(None, with_omitted(self.table, name, followed(out, old, listed.prompts)))

    def _toggle_set(self, name: str) -> bool:
        if name in self.chosen:
            self._unticked[name] = omitted(self.table, name)
            return self.edits.change(("set", name), without_set(self.table, name))
        count = len(self.files.sets[name].prompts) if name in self.files.sets else 0
        out = [number for number in self._unticked.get(name, ()) if number <= count]
        return self.edits.change(("set", name), with_set(self.table, name, out))

    def _go(self, view: View) -> None:
        self._searches[self.view] = self.search
        is_deeper = view != "sets" and self.view != "levels"
        self.view = view
        self.search = "" if is_deeper else self._searches.get(view, "")

    def _sets_shown(self) -> list[ListedSet]:
        return [listed for listed in self.files.sets.values() if self.search.casefold() in listed.name.casefold()]

    def _numbers_shown(self, listed: ListedSet) -> list[int]:
        """The numbers of a set's prompts that have the levels wanted and match the search."""
        if listed.prompt_set is None:
            return []
        numbers = fitting(listed.prompt_set, self.table.get("where") or {})
        if not self.search:
            return list(numbers)
        if self._folded[0] is not listed.prompt_set:
            folded = ["\n".join((p.text, *p.factors.values())).casefold() for p in listed.prompt_set.prompts]
            self._folded = (listed.prompt_set, folded)
        needle = self.search.casefold()
        return [number for number in numbers if needle in self._folded[1][number - 1]]

    def _levels_shown(self) -> list[tuple[str, str, int]]:
        needle = self.search.casefold()
        return [row for row in self._levels if needle in f"{row[0]}\n{row[1]}".casefold()]

    def _too_long_sets(self) -> set[str]:
        return {name for name in self.selected().numbers if self._longer(name)}

    def _longer(self, name: str) -> int:
        room, prompts = self.room, self.files.sets[name].prompts
        if room is None or not prompts or self.book.count(prompts[0].content) is None:
            return 0
        counts = (self.book.count(prompts[number - 1].content) for number in self.selected().numbers[name])
        return sum(count is not None and count > room for count in counts)
