"""Plain prompt files: one prompt a line."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from srm_explorer.engine.prompts.prompt_set import Prompt, Source, factor_name, prompt_field, prompt_of, shown


def parse_plain(source: Source) -> list[Prompt]:
    """Read one prompt a line; a line that starts with `#` is a comment.

    Whitespace around a prompt is removed, because a space nobody sees changes the tokens; CSV and JSONL keep it.
    """
    prompts: list[Prompt] = []
    for number, text in source.stripped():
        if not text:
            source.report(number, "the line is blank", "it is skipped")
        elif not text.startswith("#"):
            if source.lines[number - 1].rstrip("\r\n") != text:
                what = "whitespace around the prompt is removed"
                source.report(number, what, "to keep it, write the set as CSV or JSONL")
            prompts.append(Prompt(text, line=number))
    return prompts


_REMEDY = 'write {"prompt": "…"} with one string or number per factor'


class _Number(str):
    """A number as written: as a level it must not lose digits on the way."""

    __slots__ = ()


class _RepeatedKeyError(ValueError):
    """An object names a key twice, and JSON keeps the last in silence."""


def is_jsonl(source: Source) -> bool:
    """Whether the first line with something on it is a JSON object that has a prompt."""
    first = next((line for _, line in source.stripped() if line), "")
    try:
        record = _decode(first) if first.startswith("{") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and prompt_field(cast("dict[str, object]", record)) is not None


def parse_jsonl(source: Source) -> list[Prompt]:
    """Read one JSON value a line: an object with a `prompt` or `text` and scalar factors, or the text itself.

    Texts are kept exactly. A number or truth value becomes the string JSON writes; a factor that is null is left out.
    """
    broken = {problem.line for problem in source.problems}
    prompts: list[Prompt] = []
    for number, line in source.stripped():
        if not line:
            source.report(number, "the line is blank", "it is skipped")
        elif number not in broken:
            prompt = _prompt_of_object(source, number, line)
            if prompt:
                prompts.append(prompt)
    return prompts


def _prompt_of_object(source: Source, number: int, line: str) -> Prompt | None:
    try:
        value = _decode(line)
    except _RepeatedKeyError as error:
        return source.report(number, f"the key {shown(str(error))} occurs twice", "rename one of them", fatal=True)
    except (ValueError, RecursionError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else "too deeply nested"
        column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        return source.report(number, f"this is not JSON ({what}{column})", _REMEDY, fatal=True)
    record = {"prompt": value} if isinstance(value, str) and not isinstance(value, _Number) else value
    if not isinstance(record, dict):
        return source.report(number, f"{shown(line)} is no object and no string", _REMEDY, fatal=True)
    return _from_record(source, number, cast("dict[str, object]", record))


def _from_record(source: Source, number: int, record: dict[str, object]) -> Prompt | None:
    key = prompt_field(record)
    if key is None:
        keys = ", ".join(record) or "none"
        return source.report(number, f"no `prompt` or `text` among the keys ({shown(keys)})", _REMEDY, fatal=True)
    text = record[key]
    if not isinstance(text, str) or isinstance(text, _Number):
        return source.report(number, f"the value of `{key}` is no string", _REMEDY, fatal=True)
    factors: dict[str, str] = {}
    for name, value in record.items():
        if name == key or value is None:
            continue
        if isinstance(value, (dict, list)):
            return source.report(number, f"the factor {shown(name)} is nested", _REMEDY, fatal=True)
        if not factor_name(name) or factor_name(name) in factors:
            what = f"the factor name {shown(name)} is empty or occurs twice"
            return source.report(number, what, "rename it", fatal=True)
        factors[factor_name(name)] = str(value) if isinstance(value, str) else json.dumps(value)
    usable = all(source.check_value(number, part) for part in (text, *factors, *factors.values()))
    return prompt_of(source, number, text, factors) if usable else None


def _decode(line: str) -> object:
    return json.loads(line, object_pairs_hook=_unique, parse_int=_Number, parse_float=_Number, parse_constant=_Number)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record: dict[str, object] = {}
    for key, value in pairs:
        if key in record:
            raise _RepeatedKeyError(key)
        record[key] = value
    return record


_Row = tuple[int, list[str]]


@contextmanager
def _long_fields() -> Generator[None]:
    """Lift the csv module's limit of 128 KiB a field, a setting of the whole process, for as long as a file is read."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


@_long_fields()
def parse_table(source: Source, delimiter: str) -> list[Prompt]:
    """Read a table whose header names a `prompt` or `text` column; every other column is a factor.

    Texts are kept exactly, line breaks in quotes included; whitespace around names and levels is removed. Comment lines
    may stand before the header, and the delimiter may be any of comma, semicolon and tab, if the header says so.
    """
    head = header_of(source, delimiter)
    if head is None:
        list(_rows(source, delimiter))
        return []
    start, header, delimiter = head
    column = prompt_field(header)
    names = [factor_name(name) for name in header]
    repeated = {name for name in names if name and names.count(name) > 1}
    if column is None or repeated:
        what = (
            f"the column {shown(min(repeated))} occurs twice"
            if repeated
            else f"no column `prompt` or `text`; the header has {shown(', '.join(header), 80)}"
        )
        source.report(start, what, "name each column once in the first line, one of them `prompt`", fatal=True)
        return []
    for number, name in enumerate(names, 1):
        if not name:
            source.report(start, f"column {number} has no name", "it is skipped")
    prompts: list[Prompt] = []
    for line, row in _rows(source, delimiter):
        if line > start:
            prompt = _prompt_of_row(source, line, row, names, header.index(column))
            if prompt:
                prompts.append(prompt)
    return prompts


def _prompt_of_row(source: Source, line: int, row: list[str], names: list[str], column: int) -> Prompt | None:
    if not row:
        return source.report(line, "the line is blank", "it is skipped")
    if len(row) != len(names):
        what = f"the row has {len(row)} fields, the header {len(names)}"
        return source.report(line, what, "put text that holds a delimiter in double quotes", fatal=True)
    factors = {
        name: level.strip() for i, (name, level) in enumerate(zip(names, row, strict=True)) if i != column and name
    }
    return prompt_of(source, line, row[column], factors)


def header_of(source: Source, delimiter: str) -> tuple[int, list[str], str] | None:
    """The header's line, its names as written, and the delimiter it says; None in an empty file."""
    first: tuple[int, list[str], str] | None = None
    for candidate in (delimiter, *(mark for mark in ",;\t" if mark != delimiter)):
        quiet = Source(source.path, source.lines)
        for line, row in _rows(quiet, candidate):
            if row and (prompt_field(row) is not None or not row[0].lstrip().startswith("#")):
                first = first or (line, row, candidate)
                if prompt_field(row) is not None:
                    return line, row, candidate
                break
    return first


def _rows(source: Source, delimiter: str) -> Iterator[_Row]:
    """Yield each row with the line it begins on; text that breaks the quoting is reported and ends the table."""
    reader = csv.reader(source.lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = f"the quoting of the row that begins here is broken ({error})"
            source.report(line, what, 'close every quote and double those inside: ""', fatal=True)
            return
        yield line, row


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
        core, kind, level = key = (cell.factors["core_id"], cell.factors["type"], cell.factors["level"])
        if key in lines:
            what = f"core {shown(core)}, level {level} has {shown(kind)} already on line {lines[key]}"
            source.report(cell.line, what, "both count; take one out, or mend the core, level or type")
        lines.setdefault(key, cell.line)
    _check_levels(source, headings, cores)
    _check_types(source, {**blank, **lines}, headings)
    if len(cells) > 1 and all(len(cell.text) > 1 and cell.text[0] + cell.text[-1] in _QUOTES for cell in cells):
        what = "every text stands in quotation marks, and the model reads them"
        source.report(cells[0].line, what, "take them out unless they are meant")


def _check_levels(source: Source, headings: Mapping[tuple[str, str], int], cores: Mapping[str, int]) -> None:
    for level in dict.fromkeys(level for _, level in headings):
        without = [core for core in cores if (core, level) not in headings]
        if len(without) * 2 > len(cores):
            line = min(line for (_, name), line in headings.items() if name == level)
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
        without = [heading for heading in headings if (heading[0], kind, heading[1]) not in lines]
        if len(without) * 2 > len(headings):
            line = min(line for (_, name, _), line in lines.items() if name == kind)
            what = f"type {shown(kind)} occurs in only {len(headings) - len(without)} of {len(headings)} blocks"
            source.report(line, what, "a remark is taken for a text unless its line begins with `#`")
            continue
        for core, level in without:
            what = f"core {shown(core)}, level {level} has no {shown(kind)}"
            source.report(headings[core, level], what, "add it, or leave the grid incomplete")
