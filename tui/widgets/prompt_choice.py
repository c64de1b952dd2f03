"""What the prompts pane shows and has chosen, apart from how it is painted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from tui.state.glyphs import Glyphs
from tui.state.prompt_tokens import TokenBook
from tui.widgets.prompt_edits import PromptEdits
from tui.widgets.prompt_error_rows import ErrorRows, wrapped
from tui.widgets.prompt_files import PromptFiles
from tui.widgets.prompt_level_rows import LevelRows, levels_of
from tui.widgets.prompt_rows import PromptRows, RowsView, SetRows

if TYPE_CHECKING:
    from engine.prompts import Prompt, PromptSet
    from tui.state.prompt_catalogue import ListedSet
    from tui.state.prompt_selection import Selected, Table

View: TypeAlias = Literal["sets", "prompts", "levels"]


class PromptChoice:
    """The table of prompts being edited, the part of it in view, and what is searched for.

    Args:
        files: the sets there are.
        book: token counts.

    Attributes:
        view: the sets, the prompts of the opened one, or the levels of factors.
        opened: name of the set whose prompts are in view.
        search: text that rows in view must hold.
        room: the most tokens a prompt may have; None where that is not known.
        edits: the experiment's table of prompts as it is edited.
    """

    def __init__(self, files: PromptFiles, book: TokenBook) -> None:
        self.files, self.book = files, book
        self.view: View = "sets"
        self.opened = ""
        self.search = ""
        self.room: int | None = None
        self.edits = PromptEdits()
        self._searches: dict[View, str] = {}
        self._levels: list[tuple[str, str, int]] = []
        self._behind_levels: View = "sets"
        self._unticked: dict[str, list[int]] = {}
        self._selected: tuple[Table, object, Selected] | None = None
        self._folded: tuple[PromptSet | None, list[str]] = (None, [])
        self._good: dict[str, Sequence[Prompt]] = {}

    @property
    def chosen(self) -> list[str]:
        """Names of the chosen sets, in order."""
        return list(self.table.get("sets") or ())

    @property
    def one(self) -> ListedSet | None:
        """The opened set."""
        return self.files.sets.get(self.opened) if self.view != "sets" and self.opened else None

    @property
    def table(self) -> Table:
        """The experiment's table of prompts."""
        return self.edits.table

    def selected(self) -> Selected:
        """What a run would use."""
        from tui.state.prompt_selection import select

        known = tuple(self.files.sets.values())
        if self._selected is None or self._selected[0] != self.table or self._selected[1] != tuple(map(id, known)):
            self._selected = (self.table, tuple(map(id, known)), select(self.table, self.files.sets))
        return self._selected[2]

    def rows(self, width: int, signs: Glyphs) -> RowsView:
        """What is in view.

        Args:
            width: cells for the text of an error.
            signs: of the screen.
        """
        if not self.files.is_listed:
            return ErrorRows((), "reading the prompt sets")
        if self.view == "levels":
            return LevelRows(self._levels_shown(), self.table.get("where") or {}, signs)
        if self.view == "sets":
            return SetRows(self.sets_shown(), self.chosen, self.selected().numbers, self._too_long_sets(), signs)
        one = self.one
        if one is None or not one.is_usable:
            texts = one.error_lines() if one is not None else (f"there is no prompt set {self.opened!r}",)
            return ErrorRows(wrapped(texts, width), "what is wrong" if texts else f"reading {self.opened}")
        used = self.selected().numbers.get(one.name, ())
        out = frozenset((self.table.get("omit") or {}).get(one.name, ()))
        is_chosen = one.name in self.chosen
        numbers = frozenset(used) if is_chosen else frozenset[int]()
        count, asked = self.book.count, self.book.is_asked
        return PromptRows(one, self.numbers_shown(), numbers, out, is_chosen, count, asked, self.room, signs)

    def sets_shown(self) -> list[ListedSet]:
        """The sets that match the search."""
        return [one for one in self.files.sets.values() if self.search.casefold() in one.name.casefold()]

    def numbers_shown(self) -> list[int]:
        """The numbers of the opened set's prompts that have the levels wanted and match the search."""
        from engine.prompts import fitting

        one = self.one
        if one is None or one.found is None:
            return []
        numbers = fitting(one.found, self.table.get("where") or {})
        if not self.search:
            return list(numbers)
        if self._folded[0] is not one.found:
            folded = ["\n".join((p.text, *p.factors.values())).casefold() for p in one.found.prompts]
            self._folded = (one.found, folded)
        wanted = self.search.casefold()
        return [number for number in numbers if wanted in self._folded[1][number - 1]]

    def too_long(self) -> int:
        """Number of chosen prompts known to be longer than there is room for."""
        return sum(self._longer(name) for name in self.selected().numbers)

    def open_set(self, name: str) -> None:
        """Show the prompts of a set."""
        self._go("prompts")
        self.opened = name

    def open_levels(self) -> None:
        """Show the levels of the factors that the sets in view have."""
        one = self.one
        usable = [one for one in self.files.sets.values() if one.is_usable]
        chosen = [other for other in usable if other.name in self.chosen]
        scope = [one] if one is not None and self.view == "prompts" else chosen or usable
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
        from tui.state import prompt_selection as tables

        if isinstance(rows, LevelRows) and row < rows.count:
            factor, level, _ = rows.levels[row]
            order = [name for other, name, _ in self._levels if other == factor]
            return self.edits.change(("level", factor, level), tables.with_level(self.table, factor, level, order))
        if isinstance(rows, PromptRows) and row < rows.count:
            number, count = rows.shown[row], len(rows.one.prompts)
            is_out = not rows.is_chosen or number in rows.out
            new = tables.with_prompts(self.table, rows.one.name, count, [number], is_out)
            return self.edits.change(("prompt", rows.one.name, number), new)
        if isinstance(rows, SetRows) and row < rows.count:
            return self._toggle_set(rows.sets[row].name)
        return self._toggle_set(self.opened) if isinstance(rows, ErrorRows) and self.opened else False

    def toggle_shown(self, rows: RowsView) -> bool:
        """Choose everything that is shown, or nothing of it where all is chosen; whether anything changed."""
        from tui.state import prompt_selection as tables

        new, part = self.table, False
        if isinstance(rows, PromptRows):
            out = set(rows.shown) & set(rows.out) if rows.is_chosen else set(rows.shown)
            part = 0 < len(out) < len(rows.shown)
            new = tables.with_prompts(new, rows.one.name, len(rows.one.prompts), rows.shown, bool(out))
        elif isinstance(rows, SetRows):
            usable = [one.name for one in rows.sets if one.is_usable]
            missing = [name for name in usable if name not in self.chosen]
            part = 0 < len(missing) < len(usable)
            for name in missing or usable:
                new = tables.with_set(new, name) if missing else tables.without_set(new, name)
        return self.edits.change(None if part else ("shown", self.view, self.opened, self.search), new)

    def limit(self, count: int | None) -> bool:
        """Use only the first prompts of the whole list; None uses all. Whether anything changed."""
        return self.edits.change(None, {**self.table, "limit": count})

    def replace(self, old: str, new: str) -> bool:
        """Let a copy take a set's place; whether anything changed."""
        from tui.state.prompt_selection import renamed

        if self.opened == old:
            self.opened = new
        return old in self.chosen and self.edits.change(None, renamed(self.table, old, new))

    def take_read(self, one: ListedSet) -> bool:
        """Take what a file holds now; prompts left out stay so under their new numbers. Whether the table changed."""
        from tui.state.prompt_catalogue import followed
        from tui.state.prompt_selection import omitted, with_omitted

        self.files.take_read(one)
        if not one.is_usable:
            return False
        old, self._good[one.name] = self._good.get(one.name), one.prompts
        out = omitted(self.table, one.name)
        if old is None or not out or one.name not in self.chosen or tuple(old) == tuple(one.prompts):
            return False
        return self.edits.change(None, with_omitted(self.table, one.name, followed(out, old, one.prompts)))

    def _toggle_set(self, name: str) -> bool:
        from tui.state import prompt_selection as tables

        if name in self.chosen:
            self._unticked[name] = tables.omitted(self.table, name)
            return self.edits.change(("set", name), tables.without_set(self.table, name))
        count = len(self.files.sets[name].prompts) if name in self.files.sets else 0
        out = [number for number in self._unticked.get(name, ()) if number <= count]
        return self.edits.change(("set", name), tables.with_set(self.table, name, out))

    def _go(self, view: View) -> None:
        self._searches[self.view] = self.search
        is_deeper = view != "sets" and self.view != "levels"
        self.view = view
        self.search = "" if is_deeper else self._searches.get(view, "")

    def _levels_shown(self) -> list[tuple[str, str, int]]:
        wanted = self.search.casefold()
        return [row for row in self._levels if wanted in f"{row[0]}\n{row[1]}".casefold()]

    def _too_long_sets(self) -> set[str]:
        return {name for name in self.selected().numbers if self._longer(name)}

    def _longer(self, name: str) -> int:
        room, prompts = self.room, self.files.sets[name].prompts
        if room is None or not prompts or self.book.count(prompts[0].text) is None:
            return 0
        counts = (self.book.count(prompts[number - 1].text) for number in self.selected().numbers[name])
        return sum(count is not None and count > room for count in counts)
