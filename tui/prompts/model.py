"""An experiment's table of prompts: what a run would use of it, its changes, and the part that the pane has in view."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.prompts import Prompt, PromptSet, choose, fitting, levels_wanted
from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.prompts.catalogue import ListedSet, PromptFiles, TokenBook, followed
from srm_explorer.tui.prompts.opening import titles_of
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


def where_of(table: Table) -> dict[str, Any]:
    """A copy of what is wanted: levels by factor, or by set and factor."""
    return deepcopy(dict(table.get("where") or {}))


def wanted(table: Table, name: str) -> dict[str, list[str]]:
    """The levels wanted of a set, by factor."""
    levels: dict[str, list[str]] = {}
    for factor, of in levels_wanted(name, where_of(table)):
        levels[factor] = [level for level in of if level in levels.get(factor, of)]
    return levels


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
            name: tuple(n for n in fitting(prompts, name, where_of(table)) if n not in set(omit.get(name, ())))
            for name, prompts in usable.items()
        }
        return Selected(rest, error or refused)


def with_set(
    table: Table, name: str, omit: Sequence[int] = (), where: Mapping[str, Sequence[str]] | None = None
) -> Table:
    names = [other for other in sets_of(table) if other != name]
    return with_omitted(_with_where({**table, "sets": [*names, name]}, name, where or {}), name, omit)


def without_set(table: Table, name: str) -> Table:
    changed = {**table, "sets": [other for other in sets_of(table) if other != name]}
    return with_omitted(_with_where(changed, name, {}), name, ())


def _with_where(table: Table, name: str, levels: Mapping[str, Sequence[str]]) -> Table:
    """Filter one set by factors, or not at all."""
    where = {other: of for other, of in where_of(table).items() if other != name or not isinstance(of, dict)}
    return {**table, "where": where | ({name: {factor: list(of) for factor, of in levels.items()}} if levels else {})}


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


Factors: TypeAlias = Mapping[str, Sequence[str]]
"""The levels of each factor of a set, in their order."""


def with_level(table: Table, names: Sequence[str], factor: str, level: str, known: Mapping[str, Factors]) -> Table:
    """Want a level in the sets that have it, or no longer where all of them do; one not chosen yet then is.

    What is wanted of every set is first put down for each chosen one that has the factor, so that no set is emptied by
    a factor that it does not have. A factor without wanted levels filters nothing.

    Args:
        table: as it is.
        names: of the sets in question.
        factor: whose level it is.
        level: that is wanted, or no longer.
        known: the factors of sets by name.
    """
    table = _by_set(table, known)
    filters = {name: wanted(table, name) for name in names}
    wanting = [name for name, levels in filters.items() if level in levels.get(factor, ())]
    having = [name for name in names if level in known.get(name, {}).get(factor, ())]
    lacking = [name for name in having if name not in wanting]
    for name in lacking or wanting:
        levels = [other for other in filters[name].get(factor, ()) if other != level]
        levels += [level] if lacking else []
        order = list(known.get(name, {}).get(factor, ()))
        levels.sort(key=lambda other: order.index(other) if other in order else len(order))
        others = {other: of for other, of in filters[name].items() if other != factor}
        if name not in sets_of(table):
            table = with_set(table, name)
        table = _with_where(table, name, {**others, factor: levels} if levels else others)
    return table


def _by_set(table: Table, known: Mapping[str, Factors]) -> Table:
    """The table with what is wanted of every set put down for each chosen set that has such levels."""
    filters: dict[str, dict[str, list[str]]] = {}
    for name in sets_of(table):
        factors = known.get(name, {})
        usable = {
            factor: [level for level in levels if level in factors.get(factor, ())]
            for factor, levels in wanted(table, name).items()
        }
        filters[name] = {factor: levels for factor, levels in usable.items() if levels}
    return {**table, "where": {name: levels for name, levels in filters.items() if levels}}


def renamed(table: Table, old: str, new: str) -> Table:
    """Let another set take a chosen set's place, with the same prompts left out."""
    if new in sets_of(table):
        return without_set(table, old)
    out, where = omitted(table, old), where_of(table)
    levels = where.pop(old) if isinstance(where.get(old), dict) else {}
    names = [new if name == old else name for name in sets_of(table)]
    changed = {**with_omitted(table, old, ()), "sets": names, "where": where}
    return with_omitted(_with_where(changed, new, levels), new, out)


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
        scope: names of the sets whose levels are, or were, in view.
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
        self.scope: tuple[str, ...] = ()
        self._behind_levels: View = "sets"
        self._unticked: dict[str, tuple[list[int], dict[str, list[str]]]] = {}
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
            return LevelRows(self._levels_shown(), self._levels_wanted(), signs)
        if self.view == "sets":
            titles = titles_of(self.files.sets)
            numbers = self.selected().numbers
            return SetRows(self._sets_shown(), titles, self.chosen, numbers, self._too_long_sets(), signs)
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

    def open_levels(self, highlighted: object = None) -> None:
        """Show the levels of the opened set, else of the chosen ones, else of the highlighted one."""
        opened = [self.opened] if self.view == "prompts" else self.chosen or [highlighted]
        scope = [listed for listed in self.files.sets.values() if listed.is_usable and listed.name in opened]
        self.scope = tuple(listed.name for listed in scope)
        filters: dict[str, list[str]] = {}
        for name in self.scope:
            for factor, levels in wanted(self.table, name).items():
                filters.setdefault(factor, []).extend(levels)
        self._levels = levels_of(scope, filters)
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
            known = {name: listed.factors for name, listed in self.files.sets.items() if listed.is_usable}
            new = with_level(self.table, self.scope, factor, level, known)
            return self.edits.change(("level", self.scope, factor, level), new)
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

    def add(self, listed: ListedSet) -> bool:
        """Show a set among the others and choose it; whether anything changed."""
        self.files.sets[listed.name] = listed
        self._go("sets")
        if self.search.casefold() not in listed.name.casefold():
            self.search = ""
        is_chosen = listed.name in self.chosen
        return not is_chosen and self.edits.change(None, with_set(self.table, listed.name))

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
            own = where_of(self.table).get(name)
            self._unticked[name] = omitted(self.table, name), own if isinstance(own, dict) else {}
            return self.edits.change(("set", name), without_set(self.table, name))
        count = len(self.files.sets[name].prompts) if name in self.files.sets else 0
        numbers, levels = self._unticked.get(name, ([], {}))
        out = [number for number in numbers if number <= count]
        return self.edits.change(("set", name), with_set(self.table, name, out, levels))

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
        numbers = fitting(listed.prompt_set, listed.name, where_of(self.table))
        if not self.search:
            return list(numbers)
        if self._folded[0] is not listed.prompt_set:
            folded = ["\n".join((p.text, *p.factors.values())).casefold() for p in listed.prompt_set.prompts]
            self._folded = (listed.prompt_set, folded)
        needle = self.search.casefold()
        return [number for number in numbers if needle in self._folded[1][number - 1]]

    def emptied(self) -> list[str]:
        """Names of the chosen sets of which no prompt has the levels wanted."""
        usable = (self.files.sets[name] for name in self.chosen if name in self.files.sets)
        return [
            listed.name
            for listed in usable
            if listed.prompt_set is not None
            and listed.is_usable
            and not fitting(listed.prompt_set, listed.name, where_of(self.table))
        ]

    def _levels_wanted(self) -> dict[tuple[str, str], bool]:
        """Levels that are wanted of sets in view; True where all of these that have it want it."""
        found: dict[tuple[str, str], bool] = {}
        filters = {name: wanted(self.table, name) for name in self.scope}
        for factor, level, _ in self._levels:
            having = [name for name in self.scope if level in self.files.sets[name].factors.get(factor, ())]
            wanting = [name for name in self.scope if level in filters[name].get(factor, ())]
            if wanting:
                found[factor, level] = set(having) <= set(wanting)
        return found

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
