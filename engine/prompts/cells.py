"""Which cells a grid of prompts has, and which it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.prompts.prompt_set import Prompt
from engine.prompts.source import Source, shown

_QUOTES = ('""', "“”", "''", "‘’", "«»", "„“")


def check_cells(
    source: Source,
    cells: Sequence[Prompt],
    headings: Mapping[tuple[str, str], int],
    cores: Mapping[str, int],
    blank: Mapping[tuple[str, str, str], int],
) -> None:
    """Report cells that occur twice, cells a grid lacks that is full otherwise, and texts that all stand in quotes.

    Args:
        source: takes the reports.
        cells: the prompts, with factors core_id, type and level.
        headings: (core_id, level) to the line of its heading.
        cores: core_id to the line of its heading.
        blank: (core_id, type, level) of cells without text, reported already, to their line.
    """
    lines: dict[tuple[str, str, str], int] = {}
    for cell in cells:
        core, kind, level = place = (cell.factors["core_id"], cell.factors["type"], cell.factors["level"])
        if place in lines:
            what = f"core {shown(core)}, level {level} has {shown(kind)} already on line {lines[place]}"
            source.report(cell.line, what, "both count; take one out, or mend the core, level or type")
        lines.setdefault(place, cell.line)
    _check_levels(source, headings, cores)
    _check_types(source, {**blank, **lines}, headings)
    if len(cells) > 1 and all(len(cell.text) > 1 and cell.text[0] + cell.text[-1] in _QUOTES for cell in cells):
        what = "every text stands in quotation marks, and the model reads them"
        source.report(cells[0].line, what, "take them out unless they are meant")


def _check_levels(source: Source, headings: Mapping[tuple[str, str], int], cores: Mapping[str, int]) -> None:
    for level in dict.fromkeys(level for _, level in headings):
        without = [core for core in cores if (core, level) not in headings]
        if len(without) * 2 > len(cores):
            line = min(line for (_, one), line in headings.items() if one == level)
            what = f"level {level} occurs in only {len(cores) - len(without)} of {len(cores)} cores"
            source.report(line, what, "is the number meant?")
            continue
        for core in without:
            source.report(
                cores[core], f"core {shown(core)} has no level {level}", "add it, or leave the grid incomplete"
            )


def _check_types(
    source: Source, lines: Mapping[tuple[str, str, str], int], headings: Mapping[tuple[str, str], int]
) -> None:
    for kind in dict.fromkeys(kind for _, kind, _ in lines):
        without = [place for place in headings if (place[0], kind, place[1]) not in lines]
        if len(without) * 2 > len(headings):
            line = min(line for (_, one, _), line in lines.items() if one == kind)
            what = f"type {shown(kind)} occurs in only {len(headings) - len(without)} of {len(headings)} blocks"
            source.report(line, what, "a remark is taken for a text unless its line begins with `#`")
            continue
        for core, level in without:
            what = f"core {shown(core)}, level {level} has no {shown(kind)}"
            source.report(headings[core, level], what, "add it, or leave the grid incomplete")
