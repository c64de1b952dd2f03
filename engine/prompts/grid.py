"""Grid prompt files: cores x levels x types, the same proposition in every cell of a core."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field

from srm_explorer.engine.prompts.formats import check_cells
from srm_explorer.engine.prompts.prompt_set import Prompt, Source, shown

_SKIPPED = ("#", "---", "```", "~~~", "<!--")
_MARKUP = "*` "
_KEY = re.compile(r"[*_`\s]*>{2,}[*_`\s]*(?P<key>[^\W\d_][\w -]{0,30}?)[*_`\s]*(?:[:：](?P<value>.*)|$)")
_CORE = re.compile(r"[*_`\s]*>{2,}[*_`\s]*core[\s_-]*id(?![^\W_])[*_`\s]*[:：]?(?P<value>.*)", re.IGNORECASE)
_LEVEL = re.compile(
    r"[^\w\[]*\[\s*level(?![^\W\d_])(?:[\s:=#._]|-\s){0,8}(?P<level>[^\]]*)\][\s:–—-]*(?P<rest>.*)", re.IGNORECASE
)
_BARE_LEVEL = re.compile(r"[*_`\s]*level[\s:_]*(?P<level>\d+)[*_`\s:.]*(?P<rest>)", re.IGNORECASE)
_BULLET = re.compile(r"(?:[-*+•–—>]\s+|\(?\d{1,3}[.)]\s+)+")
_LONGEST_TYPE, _WORDS_IN_TYPE = 40, 4


@dataclass
class _Grid:
    """What the lines up to here have said."""

    source: Source
    core: str = ""
    level: str = ""
    begun: bool = False
    cells: list[Prompt] = field(default_factory=list[Prompt])
    blank_cells: dict[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])
    headed: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    cores: dict[str, int] = field(default_factory=dict[str, int])
    early: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    cell_above: int = 0


def is_grid(source: Source) -> bool:
    """Whether a line of the file is a `>> CORE_ID:`, or nearly."""
    return any(
        not line.startswith(_SKIPPED) and (_CORE.match(line) or _nearly_core(line)) for _, line in source.stripped()
    )


def parse_grid(source: Source) -> list[Prompt]:
    """Read `type: text` lines under `[LEVEL n]` under `>> CORE_ID: x`; the factors are core_id, type and level.

    Keys are read in any case and spacing, with bullets and bold type; types are taken in lower case. A text stays as it
    is written, quotation marks included, but for the whitespace around it. Skipped are lines that begin with `#`, `---`
    or a code fence, PROPOSITION lines, everything before the first core, and, with a report, what isn't understood.
    """
    grid = _Grid(source)
    for number, line in source.stripped():
        if not line.startswith(_SKIPPED) and any(character.isalnum() for character in line):
            _read(grid, number, line)
    _check_early_texts(grid)
    check_cells(source, grid.cells, grid.headed, grid.cores, grid.blank_cells)
    return grid.cells


def _read(grid: _Grid, number: int, line: str) -> None:
    if core := _CORE.match(line):
        grid.core, grid.level, grid.begun = core["value"].strip(_MARKUP), "", True
        if not grid.core:
            grid.source.report(number, "the core has no name", "write `>> CORE_ID: name`", fatal=True)
        grid.cores.setdefault(grid.core, number)
    elif key := _KEY.match(line):
        _read_key(grid, number, line, key["key"])
    elif not grid.begun:
        return
    elif level := _LEVEL.match(line) or _BARE_LEVEL.fullmatch(line):
        _read_level(grid, number, level["level"], level["rest"])
    elif line.startswith("[") and line.endswith("]") and _like("level", line[1:6]):
        grid.source.report(number, f"{shown(line)} is not understood", "write `[LEVEL n]`", fatal=True)
    else:
        _read_text(grid, number, line)


def _read_key(grid: _Grid, number: int, line: str, key: str) -> None:
    if _nearly_core(line):
        grid.source.report(number, f"the key {shown(key)} is not known", "write `>> CORE_ID: name`", fatal=True)
    elif grid.begun and not _like("proposition", key):
        grid.source.report(number, f"the key {shown(key)} is not known", "the line is skipped")


def _read_level(grid: _Grid, number: int, written: str, rest: str) -> None:
    word = re.match(r"[+-]?\d+(?:\.\d+)?|\w+", written.strip())
    if word is None:
        grid.source.report(number, "the level has no number", "write `[LEVEL n]`", fatal=True)
        grid.level = ""
        return
    grid.level = str(int(word[0])) if re.fullmatch(r"[+-]?\d{1,9}", word[0]) else word[0].lower()
    grid.headed.setdefault((grid.core, grid.level), number)
    if typed_text(rest):
        _read_text(grid, number, rest)


def _read_text(grid: _Grid, number: int, line: str) -> None:
    typed = typed_text(line)
    if typed is None:
        wraps = grid.cell_above == number - 1 and _indent(grid, number) > _indent(grid, number - 1)
        if wraps:
            what = f"{shown(line)} looks like the end of the text on line {number - 1}"
            grid.source.report(number, what, "write each text on one line", fatal=True)
        else:
            grid.source.report(number, f"{shown(line)} is no `type: text` line", "it is skipped")
        return
    kind, text = typed
    if not grid.level:
        grid.early.append((number, kind))
    elif not text:
        grid.source.report(number, f"the cell {shown(kind)} is blank", "it is skipped")
        grid.blank_cells[grid.core, kind, grid.level] = number
    else:
        grid.cells.append(Prompt(text, {"core_id": grid.core, "type": kind, "level": grid.level}, number))
        grid.cell_above = number


def typed_text(line: str) -> tuple[str, str] | None:
    """Split `- **Type:** text` into its type and its text; None where the line has no type."""
    split = re.match(r"([^:：]*)[:：](.*)", line)
    name, text = split.groups() if split else ("", "")
    bullet = _BULLET.match(name)
    name = name[bullet.end() :] if bullet else name
    opening = re.match(r"[*_`\[]*", name)
    marks = opening[0] if opening else ""
    name = name[len(marks) :]
    if marks and name.rstrip(" *_`]") == name.rstrip():
        text = text.lstrip().removeprefix(marks[::-1])
    name = " ".join(name.rstrip(" *_`]").split()).lower()
    is_name = name[:1].isalpha() and len(name) <= _LONGEST_TYPE and len(name.split()) <= _WORDS_IN_TYPE
    if not is_name or text.startswith("//") or re.search(r"[.,;?!\"“”]", name):
        return None
    return name, text.strip()


def _indent(grid: _Grid, number: int) -> int:
    line = grid.source.lines[number - 1].expandtabs()
    return len(line) - len(line.lstrip())


def _check_early_texts(grid: _Grid) -> None:
    types = {cell.factors["type"] for cell in grid.cells}
    for number, kind in grid.early:
        fatal = kind in types or not types
        remedy = "write `[LEVEL n]` above it" if fatal else "it is skipped"
        grid.source.report(number, f"the text {shown(kind)} comes before any level", remedy, fatal=fatal)


def _nearly_core(line: str) -> bool:
    key = _KEY.match(line)
    return key is not None and not _CORE.match(line) and _like("coreid", re.sub(r"[\s_-]", "", key["key"]))


def _like(word: str, written: str) -> bool:
    return difflib.SequenceMatcher(None, word, written.strip().lower()).ratio() > 0.75
