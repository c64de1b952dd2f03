"""The lines above and below the table of the prompts pane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from textual.content import Content

from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.prompts.rows import PromptRows, RowsView
from srm_explorer.tui.widgets.table_render import one_line

if TYPE_CHECKING:
    from srm_explorer.engine.prompts import Prompt
    from srm_explorer.tui.prompts.catalogue import ListedSet
    from srm_explorer.tui.prompts.model import PromptChoice, Selected, Table


Tone: TypeAlias = Literal["plain", "dim", "warn", "error"]
Told: TypeAlias = tuple[str, Tone]
"""A line and how it is meant."""

_STYLES: Mapping[Tone, str] = {
    "plain": "$text",
    "dim": "$foreground-muted",
    "warn": "$text-warning",
    "error": "$text-error",
}


def as_content(lines: Sequence[Told]) -> Content:
    """Lines as they are painted."""
    return Content("\n").join(Content.styled(one_line(text), _STYLES[tone]) for text, tone in lines)


def about_selection(table: Table, selected: Selected, too_long: int, room: int | None, signs: Glyphs) -> list[Told]:
    """What a run would use, or why it would refuse."""
    told: list[Told] = []
    if selected.error is not None:
        told.append((f"{signs.warning} {selected.error}", "error"))
    if too_long:
        many = f"{too_long:,} chosen prompts have" if too_long > 1 else "a chosen prompt has"
        told.append(
            (f"{signs.warning} {many} more than {room:,} tokens: open the set, leave out what is marked", "warn")
        )
    filters = about_filters(table)
    sets = sum(bool(numbers) for numbers in selected.numbers.values())
    prompts = f"{selected.total:,} prompt{'' if selected.total == 1 else 's'} of {sets} set{'' if sets == 1 else 's'}"
    told.append((f" {signs.separator} ".join([prompts, *filters]), "dim"))
    return told


def about_filters(table: Table) -> list[str]:
    """The levels that are wanted and the limit."""
    told = [f"{factor} {', '.join(levels)}" for factor, levels in (table.get("where") or {}).items()]
    return [*told, f"first {table['limit']:,} of the list"] if table.get("limit") is not None else told


def about_set(one: ListedSet, folder: str, signs: Glyphs) -> list[Told]:
    """What a set is, or why it cannot be used."""
    if not one.is_read:
        return [(f"enter reads {one.path}", "dim")]
    if not one.is_usable:
        lines = list(one.error_lines())
        more = f" (+{len(lines) - 1} more: enter)" if len(lines) > 1 else ""
        return [(f"{signs.warning} {lines[0]}{more}", "error")]
    form = one.found.format if one.found is not None else ""
    levels = [f"{factor} {len(known):,}" for factor, known in one.factors.items()]
    count = len(one.prompts)
    facts = f" {signs.separator} ".join([f"{form}, {count:,} prompt{'' if count == 1 else 's'}", *levels])
    told: list[Told] = [(facts, "dim"), (str(one.path).removeprefix(f"{folder}/"), "dim")]
    remarks = [problem for problem in one.found.problems if not problem.fatal] if one.found is not None else []
    if remarks:
        more = f" (+{len(remarks) - 1} more)" if len(remarks) > 1 else ""
        first = remarks[0]
        told.append((f"line {first.line}: {first.what}; {first.remedy}{more}", "dim"))
    return told


def about_prompt(rows: PromptRows, row: int, limit: int | None) -> list[Told]:
    """A prompt in full, with its number, tokens, factors, and what is odd about it."""
    prompt, number, signs = rows.prompt(row), rows.shown[row], rows.signs
    tokens, room = rows.tokens(prompt.text), rows.room
    facts = [f"prompt {number:,}"]
    told: list[Told] = []
    if tokens is not None:
        facts.append(f"{tokens:,} token{'' if tokens == 1 else 's'}")
        if room is not None and tokens > room:
            told.append((f"{signs.warning} {tokens:,} tokens, at most {room:,} fit", "warn"))
    if rows.is_chosen and number not in rows.used and number not in rows.out and limit is not None:
        facts.append(f"not among the first {limit:,}")
    facts += [f"{factor} {level}" for factor, level in prompt.factors.items()]
    told.append((prompt.text, "plain"))
    told.append((f" {signs.separator} ".join(facts), "dim"))
    if remark := _remark(rows.one, prompt):
        told.append((remark, "dim"))
    return told


def about_nothing(choice: PromptChoice) -> list[Told]:
    """Why there is no row, and the key that helps."""
    key = "esc drops the search" if choice.search else "x chooses other levels"
    if choice.view == "levels":
        return [("these sets have no factors: esc goes back", "plain")]
    return [(f"no prompt of this set is shown: {key}", "plain")]


def about_new(one: ListedSet, like: Prompt | None) -> str:
    """Where a prompt that is being typed will be written, and which factors it will have."""
    factors = ", ".join(f"{name} {level}" for name, level in like.factors.items()) if like is not None else ""
    place = f"your own copy of {one.name!r}" if one.origin == "shipped" else str(one.path)
    return f"a new prompt{f', with {factors}' if factors else ''}: enter writes it to {place}, esc drops it"


def about_view(choice: PromptChoice, rows: RowsView, signs: Glyphs) -> list[str]:
    """What the table shows, where that is not simply the sets."""
    parts: list[str] = []
    if isinstance(rows, PromptRows):
        whole = len(rows.one.prompts)
        parts = [choice.opened, f"{len(rows.used):,} of {whole:,}"]
        parts += [f"{rows.count:,} shown"] if rows.count != whole else []
        parts += about_filters(choice.table)
    elif choice.view != "sets":
        parts = ["levels that are used" if choice.view == "levels" else choice.opened]
    return [*parts, f"/{choice.search}"] if choice.search else parts


def _remark(one: ListedSet, prompt: Prompt) -> str:
    problems = one.found.problems if one.found is not None else ()
    return next((f"line {prompt.line}: {p.what}; {p.remedy}" for p in problems if p.line == prompt.line), "")
