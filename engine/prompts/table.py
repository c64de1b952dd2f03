"""CSV and TSV prompt files: a column of prompts, the others are factors."""

from __future__ import annotations

import csv
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from engine.prompts.prompt_set import Prompt
from engine.prompts.record import factor_name, prompt_field, prompt_of
from engine.prompts.source import Source, shown

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
    found = header_of(source, delimiter)
    if found is None:
        list(_rows(source, delimiter))
        return []
    start, header, delimiter = found
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
    for place, name in enumerate(names, 1):
        if not name:
            source.report(start, f"column {place} has no name", "it is skipped")
    prompts: list[Prompt] = []
    for line, row in _rows(source, delimiter):
        if line > start:
            prompt = _prompt(source, line, row, names, header.index(column))
            if prompt:
                prompts.append(prompt)
    return prompts


def _prompt(source: Source, line: int, row: list[str], names: list[str], column: int) -> Prompt | None:
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
