"""The lines above and below the table of the prompts pane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from textual.content import Content

from srm_explorer.engine.experiment.positions import RowPositions, positions_caption
from srm_explorer.engine.figures import count_of
from srm_explorer.engine.prompts import Prompt, filter_captions, set_name
from srm_explorer.tui.glyphs import Glyphs
from srm_explorer.tui.prompts.catalogue import ListedSet
from srm_explorer.tui.prompts.model import PromptChoice, Table, wanted, where_of
from srm_explorer.tui.prompts.rows import PromptRows, RowsView
from srm_explorer.tui.widgets.table_render import one_line

Tone: TypeAlias = Literal["plain", "dim", "warn", "error"]
Note: TypeAlias = tuple[str, Tone]
"""A line and how it is meant."""

_STYLES: Mapping[Tone, str] = {
    "plain": "$text",
    "dim": "$foreground-muted",
    "warn": "$text-warning",
    "error": "$text-error",
}


def as_content(lines: Sequence[Note]) -> Content:
    return Content("\n").join(Content.styled(one_line(text), _STYLES[tone]) for text, tone in lines)


def about_selection(choice: PromptChoice, signs: Glyphs) -> list[Note]:
    notes: list[Note] = []
    table, selected, too_long, room = choice.table, choice.selected(), choice.too_long(), choice.room
    if selected.error is not None:
        notes.append((f"{signs.warning} {selected.error}", "error"))
    if too_long:
        many = f"{too_long:,} chosen prompts have" if too_long > 1 else "a chosen prompt has"
        notes.append(
            (f"{signs.warning} {many} more than {room:,} tokens: open the set, leave out what is marked", "warn")
        )
    for name in choice.emptied() if selected.error is None else ():
        has = " and ".join(filter_captions(wanted(table, name)))
        notes.append((f"{signs.warning} no prompt of {set_name(name)} has {has}: x chooses other levels", "warn"))
    sets = sum(bool(numbers) for numbers in selected.numbers.values())
    prompts = f"{count_of(selected.total, 'prompt')} of {count_of(sets, 'set')}"
    notes.append((f" {signs.separator} ".join([prompts, *about_filters(table)]), "dim"))
    return notes


def about_filters(table: Table) -> list[str]:
    filters = filter_captions(where_of(table))
    filters += [f"first {table['limit']:,} of the list"] if table.get("limit") is not None else []
    filters += [f"prompts in {table['text']}"] if table.get("text") is not None else []
    return [*filters, "by the chat template"] if table.get("chat_template") else filters


def about_set(listed: ListedSet, folder: str, signs: Glyphs) -> list[Note]:
    if not listed.is_read:
        return [(f"enter reads {listed.path}", "dim")]
    if not listed.is_usable:
        lines = list(listed.error_lines())
        more = f" (+{len(lines) - 1} more: enter)" if len(lines) > 1 else ""
        return [(f"{signs.warning} {lines[0]}{more}", "error")]
    levels = [f"{factor} {len(known):,}" for factor, known in listed.factors.items()]
    facts = f" {signs.separator} ".join([f"{listed.format}, {count_of(len(listed.prompts), 'prompt')}", *levels])
    notes: list[Note] = [(facts, "dim"), (str(listed.path).removeprefix(f"{folder}/"), "dim")]
    if remarks := listed.remarks:
        more = f" (+{len(remarks) - 1} more)" if len(remarks) > 1 else ""
        notes.append((f"line {remarks[0].line}: {remarks[0].what}; {remarks[0].remedy}{more}", "dim"))
    return notes


def about_prompt(rows: PromptRows, row: int, limit: int | None) -> list[Note]:
    """A prompt in full, with its number, tokens, factors, and what is odd about it."""
    prompt, number, signs = rows.prompt(row), rows.shown[row], rows.signs
    pieces, room = rows.pieces(prompt.content), rows.room
    facts = [f"prompt {number:,}"]
    notes: list[Note] = []
    if pieces is not None:
        tokens = len(pieces)
        facts.append(count_of(tokens, "token"))
        if room is not None and tokens > room:
            notes.append((f"{signs.warning} {tokens:,} tokens, at most {room:,} fit", "warn"))
    for use in rows.positions:
        for typed, positions in rows.resolved(prompt.content, use):
            if isinstance(positions, RowPositions):
                notes.append((f"{use} at {typed}: {positions_caption(positions, pieces or ())}", "dim"))
            else:
                notes.append((f"{signs.warning} {use} at {typed}: {positions.what}; {positions.remedy}", "error"))
    if rows.is_chosen and number not in rows.used and number not in rows.out and limit is not None:
        facts.append(f"not among the first {limit:,}")
    facts += [f"{factor} {level}" for factor, level in prompt.factors.items()]
    notes.append((prompt.text, "plain"))
    notes.append((f" {signs.separator} ".join(facts), "dim"))
    problems = rows.listed.prompt_set.problems if rows.listed.prompt_set is not None else ()
    if remark := next((problem for problem in problems if problem.line == prompt.line), None):
        notes.append((f"line {prompt.line}: {remark.what}; {remark.remedy}", "dim"))
    return notes


def about_nothing(choice: PromptChoice) -> list[Note]:
    """Why there is no row, and the key that helps."""
    key = "esc drops the search" if choice.search else "x chooses other levels"
    if choice.view == "levels":
        return [("these sets have no factors: esc goes back", "plain")]
    return [(f"no prompt of this set is shown: {key}", "plain")]


def about_new(listed: ListedSet, like: Prompt | None) -> str:
    """Where a prompt that is being typed will be written, and which factors it will have."""
    factors = ", ".join(f"{name} {level}" for name, level in like.factors.items()) if like is not None else ""
    file = f"your own copy of {listed.name!r}" if listed.origin == "shipped" else str(listed.path)
    return f"a new prompt{f', with {factors}' if factors else ''}: enter writes it to {file}, esc drops it"


def about_path(what: str) -> str:
    """What happens to a path that is being typed."""
    if what == "set":
        return "a new set: enter makes its file, in your own folder, and edits it"
    return "a prompt file: tab completes, enter opens and chooses it, esc drops it"


def about_view(choice: PromptChoice, rows: RowsView, signs: Glyphs) -> list[str]:
    parts: list[str] = []
    if isinstance(rows, PromptRows):
        whole = len(rows.listed.prompts)
        parts = [choice.opened, f"{len(rows.used):,} of {whole:,}"]
        parts += [f"{rows.count:,} shown"] if rows.count != whole else []
        parts += about_filters({**choice.table, "where": wanted(choice.table, rows.listed.name)})
    elif choice.view == "levels":
        of = ", ".join(map(set_name, choice.scope)) if len(choice.scope) < 4 else f"{len(choice.scope)} chosen sets"
        parts = [f"levels used of {of}" if of else "levels"]
    elif choice.view != "sets":
        parts = [choice.opened]
    return [*parts, f"/{choice.search}"] if choice.search else parts
