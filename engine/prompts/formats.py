"""Prompt files without a grid: one prompt a line, tables, records of JSON and JSONL."""

from __future__ import annotations

import csv
import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from typing import cast

from srm_explorer.engine.io.files import long_fields
from srm_explorer.engine.prompts.prompt_set import (
    Prompt,
    Source,
    Turns,
    factor_name,
    likely,
    prompt_field,
    prompt_of,
    shown,
    turns_text,
    words,
)


def parse_plain(source: Source) -> list[Prompt]:
    r"""Read one prompt a line; a line that starts with `#` is a comment, with `\#` a prompt whose first sign is `#`.

    Whitespace around a prompt is removed, because a space nobody sees changes the tokens; CSV and JSONL keep it.
    """
    prompts: list[Prompt] = []
    comments: list[int] = []
    for number, text in source.stripped():
        if not text:
            source.report(number, "the line is blank", "it is skipped")
        elif text.startswith("#"):
            comments.append(number)
        else:
            if source.lines[number - 1].rstrip("\r\n") != text:
                what = "whitespace around the prompt is removed"
                source.report(number, what, "to keep it, write the set as CSV or JSONL")
            prompts.append(Prompt(re.sub(r"^\\(\\*#)", r"\1", text), line=number))
    for _, block in groupby(enumerate(comments), lambda pair: pair[1] - pair[0]):
        lines = [number for _, number in block]
        what = f"lines {lines[0]} to {lines[-1]} begin with `#` and count as comments, not as prompts"
        if len(lines) == 1:
            what = "the line begins with `#` and counts as a comment, not as a prompt"
        source.report(lines[0], what, r"write `\#` where a prompt begins with it")
    _report_other_format(source)
    return prompts


_LIKE_JSON = re.compile(r"\[\s*(?:[\"{\[].*)?|\{\s*(?:\".*)?", re.DOTALL)
_LIKE_HEADING = re.compile(r"[\w-]+(?: [\w-]+)?")
_MARKED = re.compile(r"(?:[-*+]|\d+[.)]) ")


_LOOKED_AT = 200
"""Lines that tell whether a file is something else than what its name says."""


@long_fields()
def _report_other_format(source: Source) -> None:
    """Warn where every line makes sense as JSON, YAML or a table, and is read as a prompt all the same."""
    lines = [line for _, line in source.stripped() if line and not line.startswith("#")]
    looks = ()
    if not lines:
        return
    if _LIKE_JSON.fullmatch(lines[0]) and lines[-1].endswith(("]", "}", "},")):
        looks = "like JSON", "name it .json, or .jsonl for an object a line"
    elif lines[0] == "---" or (len(lines) > 1 and all(map(_MARKED.match, lines[lines[0].endswith(":") :]))):
        looks = "like YAML, or a list", "take its marks out, or write it as JSON"
    elif len(lines) > 1 and all(line.startswith("|") for line in lines):
        looks = "like a table of Markdown", "write it as a table of commas or tabs, and name it .csv or .tsv"
    elif lines[0].startswith(("```", "~~~")):
        looks = "like Markdown", f"take {shown(lines[0])} out"
    elif ends := [line for line in lines if re.fullmatch(r"<\|endoftext\|>|</?s>", line)]:
        looks = f"like texts that {ends[0]} parts", "write each text whole, as a string a line, and name it .jsonl"
    else:
        for mark, extension in ((",", ".csv"), ("\t", ".tsv"), (";", ".csv")):
            rows = list(csv.reader(lines[:_LOOKED_AT], delimiter=mark))
            names = rows[0]
            if len(rows) < 2 or len(names) < 2 or any(len(row) != len(names) for row in rows):
                continue
            if all(_LIKE_HEADING.fullmatch(name) for name in names):
                looks = f"like a table with the heading {shown(', '.join(names))}", f"name it {extension}"
                break
            if mark == "\t":
                looks = "like a table without a heading", "put the names of its columns first, and name it .tsv"
    if looks:
        number = next(number for number, line in source.stripped() if line == lines[0])
        what = f"the file looks {looks[0]}, and each line of it is read as a prompt"
        source.report(number, what, f"{looks[1]}, unless that is meant")


_REMEDY = 'write {"prompt": "…"} with one string or number per factor'
_AS_MESSAGES = 'write {"messages": [{"role": "user", "content": "…"}]}'


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
    return isinstance(record, dict) and _key_of(source, cast("dict[str, object]", record)) is not None


def parse_jsonl(source: Source) -> list[Prompt]:
    """Read one JSON value a line: an object with a `prompt`, a `text` or `messages`, or the text itself.

    The other keys are factors. Texts are kept exactly; a number or truth value becomes the string JSON writes; a factor
    that is null is left out, and one that is ever a list or an object is left out everywhere, with a report.
    """
    broken = {problem.line for problem in source.problems}
    prompts: list[Prompt] = []
    for number, line in source.stripped():
        if not line:
            source.report(number, "the line is blank", "it is skipped")
        elif number not in broken:
            prompts += _prompts_of_line(source, number, line)
    return without_nested(source, prompts)


def _prompts_of_line(source: Source, number: int, line: str) -> list[Prompt]:
    try:
        value = _decode(line)
    except _RepeatedKeyError as error:
        return _broken(source, number, f"the key {shown(str(error))} occurs twice", "rename one of them")
    except (ValueError, RecursionError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else "too deeply nested"
        column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        return _broken(source, number, f"this is not JSON ({what}{column})", _REMEDY)
    return prompts_of_value(source, number, value, line)


def prompts_of_value(source: Source, number: int, value: object, written: str) -> list[Prompt]:
    """The prompt that a value of JSON stands for, or those of the lists that `source.column` leads through.

    Args:
        source: takes the reports of what is no prompt.
        number: the line, or the row.
        value: a text, a record, or a list of messages.
        written: how a report quotes it.
    """
    found = (_prompt_of_record(source, number, one, written) for one in along(value, source.column))
    return [prompt for prompt in found if prompt]


def _prompt_of_record(source: Source, number: int, value: object, written: str) -> Prompt | None:
    if isinstance(value, str) and not isinstance(value, _Number):
        return prompt_of(source, number, value, {}) if source.check_value(number, value) else None
    if turns_of(value):
        value = {"messages": value}
    if not isinstance(value, dict):
        return source.report(number, f"{shown(written)} is no object and no string", _REMEDY, fatal=True)
    record = cast("dict[str, object]", value)
    key = _key_of(source, record)
    if key is None:
        if source.column is None and any(isinstance(record.get(name), list) for name in CHATS):
            return source.report(number, "the messages are not as they should be", _AS_MESSAGES, fatal=True)
        return source.report_no_prompt(number, list(record), "key", texts_in(record))
    content = record[key]
    turns = turns_of(content) or ()
    if not turns and (not isinstance(content, str) or isinstance(content, _Number)):
        within = texts_in({key: content})
        remedy = (
            source.naming(likely(within) or "") if within else _AS_MESSAGES if isinstance(content, list) else _REMEDY
        )
        return source.report(number, f"the value of `{key}` is no string", remedy, fatal=True)
    system = record.get("system") if key == "conversations" else None
    if isinstance(system, str) and system and turns and turns[0][0] != "system":
        # Where turns have `from` and `value`, the system's message often stands beside them.
        record = {name: level for name, level in record.items() if name != "system"}
        turns = (("system", system), *turns)
    factors = _factors_of(source, number, record, key)
    if factors is None:
        return None
    text = turns_text(turns) if turns else cast("str", content)
    usable = all(source.check_value(number, part) for part in (text, *factors, *factors.values()))
    prompt = prompt_of(source, number, text, factors) if usable else None
    return replace(prompt, turns=turns) if prompt and turns else prompt


def _factors_of(source: Source, number: int, record: Mapping[str, object], key: str) -> dict[str, str] | None:
    factors: dict[str, str] = {}
    for name, value in record.items():
        if name == key or value is None:
            continue
        if isinstance(value, (dict, list)):
            source.nested.setdefault(factor_name(name), []).append(number)
            continue
        if not factor_name(name) or factor_name(name) in factors:
            what = f"the factor name {shown(name)} is empty or occurs twice"
            return source.report(number, what, "rename it", fatal=True)
        factors[factor_name(name)] = str(value) if isinstance(value, str) else json.dumps(value)
    return factors


def without_nested(source: Source, prompts: list[Prompt]) -> list[Prompt]:
    """The prompts without the factors that have a list or an object as a level, each reported once."""
    for name, lines in source.nested.items():
        others = f" and {len(lines) - 1:,} more" if len(lines) > 1 else ""
        what = f"the values of {shown(name)} are lists or objects (line {lines[0]}{others})"
        source.report(lines[0], what, "the column is left out")
    if not source.nested:
        return prompts
    return [
        replace(prompt, factors={name: level for name, level in prompt.factors.items() if name not in source.nested})
        for prompt in prompts
    ]


def texts_in(record: Mapping[str, object]) -> dict[str, str]:
    """The texts and conversations that a record holds, by key; of an object within, or the first of a list of them, by
    `key.key`."""
    texts: dict[str, str] = {}
    for name, value in record.items():
        first = next(iter(_items_of(value)), None)
        if turns := turns_of(value):
            texts[name] = turns_text(turns)
        elif isinstance(first, dict):
            within = texts_in(cast("dict[str, object]", first))
            texts |= {f"{name}.{key}": text for key, text in within.items()}
        elif isinstance(value, str) and not isinstance(value, _Number):
            texts[name] = value
    return texts


def along(value: object, path: str | None) -> list[object]:
    """The records that a path leads to: [{"a.b": 1}] of {"a": {"b": 1}} along "a.b", one an item of lists on the way.

    What stands beside the path is in each of them; a value that the path does not lead through is returned alone.
    """
    name, _, rest = (path or "").partition(".")
    if not isinstance(value, dict) or path in value:
        return [value]
    record = cast("dict[str, object]", value)
    items = _items_of(record.get(name))
    if not rest or not items or not all(isinstance(item, dict) for item in items):
        return [value]
    others = {key: held for key, held in record.items() if key != name}
    reached = [cast("dict[str, object]", one) for item in items for one in along(item, rest)]
    return [{f"{name}.{key}": held for key, held in one.items()} | others for one in reached]


def _items_of(value: object) -> list[object]:
    """The items of a list that is no conversation; anything else as the only one."""
    if isinstance(value, list) and not turns_of(items := cast("list[object]", value)):
        return items
    return [value]


CHATS = ("messages", "conversations")
"""Keys that hold a conversation where no other key holds a prompt."""
_ROLES = {"human": "user", "gpt": "assistant"}


def turns_of(value: object) -> Turns | None:
    """The messages of a conversation: a list of objects with a role and a content; None for anything else.

    Where they have `from` and `value` instead, `human` is the user and `gpt` the assistant.
    """
    if not isinstance(value, list) or not value:
        return None
    turns: list[tuple[str, str]] = []
    for message in cast("list[object]", value):
        if not isinstance(message, dict):
            return None
        parts = cast("dict[str, object]", message)
        role, content = parts.get("role"), parts.get("content")
        if "from" in parts and role is None:
            role, content = parts["from"], parts.get("value")
            role = _ROLES.get(str(role), role)
        if not isinstance(role, str) or not isinstance(content, str) or isinstance(content, _Number):
            return None
        turns.append((role, content))
    return tuple(turns)


def _is_object(line: str) -> bool:
    try:
        return isinstance(_decode(line), dict)
    except (ValueError, RecursionError):
        return False


def _key_of(source: Source, record: Mapping[str, object]) -> str | None:
    """The key that holds a record's prompt; `messages` where no other does."""
    key = source.prompt_field(record)
    if key is None and source.column is None:
        return next((name for name in CHATS if turns_of(record.get(name))), None)
    return key


def parse_json(source: Source) -> list[Prompt]:
    """Read a list of texts, records or conversations, or an object that has one such list; else a single record.

    Of an object whose lists are columns, as tables are written, each row is a record.
    """
    text = "".join(source.lines)
    try:
        value = _decode(text)
    except _RepeatedKeyError as error:
        return _broken(source, 1, f"the key {shown(str(error))} occurs twice in an object", "rename one of them")
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError):
            if error.msg == "Extra data" and len(source.lines) > 1 and _is_object(source.lines[0]):
                return parse_jsonl(source)  # many a data set calls a file of an object a line .json
            return _broken(source, error.lineno, f"this is not JSON ({error.msg}, column {error.colno})", "mend it")
        return _broken(source, 1, "this is not JSON (too deeply nested)", "write a list of texts")
    ends = list(accumulate(map(len, source.lines)))
    start = len(text) - len(text.lstrip())
    items: list[object] = [value]
    offsets = [start]
    listed = _column_of(value)
    if listed is not None and not turns_of(listed):
        items, offsets = listed, [at for _, at in _members(text, start)]
    elif isinstance(value, dict):
        record = _of_split(cast("dict[str, object]", value))
        lists = {name: held for name, value in record.items() if (held := _column_of(value)) is not None}
        key = _key_of(source, record)
        head, _, rest = (source.column or "").partition(".")
        if (
            key in (None, head)
            and any(isinstance(item, dict) for item in lists.get(head, []))
            and not turns_of(lists[head])
        ):
            key, source = head, replace(source, column=rest or None, inside=f"{head}.")
        if key is None:
            key = "prompts" if "prompts" in lists else next(iter(lists)) if len(lists) == 1 else None
        if key is None and len(lists) > 1:
            what = f"the object has several lists: {shown(', '.join(lists), 80)}"
            return _broken(source, 1, what, source.naming(_fullest(lists)))
        if key is None and source.column is None and len(texts := texts_in(record)) != 1:
            what = "the object holds no list, and no key `prompt` or `text`"
            one = f"; of a single one, {source.naming(likely(texts) or '')}" if texts else ""
            return _broken(source, 1, what, f'write its prompts as a list, ["…", "…"]{one}')
        if key in lists and not turns_of(lists[key]):
            items = _rows_of(lists, key, is_table=key == source.prompt_field(record))
            if all(isinstance(record[name], list) for name in lists) and record is value:
                _tell_lists(source, lists, key, is_table=items is not lists[key])
            places = dict(_members(text, start))
            offsets = [at for _, at in _members(text, places.get(key, places.get("data", start)))]
    prompts: list[Prompt] = []
    for item, at in zip(items, offsets, strict=True):
        line = bisect_right(ends, at) + 1
        _, end = _SKIPPING.raw_decode(text, at)
        prompts += prompts_of_value(source, line, item, text[at:end])
    return without_nested(source, prompts)


def _column_of(value: object) -> list[object] | None:
    """A list; also of an object whose keys are the numbers of rows, as pandas writes a column."""
    if isinstance(value, dict):
        rows = cast("dict[str, object]", value)
        return list(rows.values()) if rows and all(row.isdecimal() for row in rows) else None
    return cast("list[object]", value) if isinstance(value, list) else None


def _of_split(record: dict[str, object]) -> dict[str, object]:
    """The table, as columns, of an object that has their names in `columns` and its rows, as lists, in `data`."""
    names, rows = record.get("columns"), record.get("data")
    if not isinstance(names, list) or not isinstance(rows, list):
        return record
    width = len(cast("list[object]", names))
    listed = [cast("list[object]", row) for row in cast("list[object]", rows) if isinstance(row, list)]
    if not rows or len(listed) != len(cast("list[object]", rows)) or any(len(row) != width for row in listed):
        return record
    columns = zip(cast("list[object]", names), zip(*listed, strict=True), strict=True)
    return {str(name): list(column) for name, column in columns}


def _fullest(lists: Mapping[str, list[object]]) -> str:
    """The list that most likely holds prompts: of records with a text, or of texts, those of most words, then the
    longest; with the key in it."""
    fields: dict[str, tuple[int, int]] = {}
    for name, held in lists.items():
        first = held[0] if held else None
        texts = texts_in(cast("dict[str, object]", first)) if isinstance(first, dict) else {}
        key = prompt_field(texts) or likely(texts)
        if key is not None:
            fields[f"{name}.{key}"] = words(texts[key]), len(held)
        elif isinstance(first, str) and not isinstance(first, _Number):
            fields[name] = words(first), len(held)
    return max(fields, key=lambda name: fields[name], default=next(iter(lists)))


def _rows_of(lists: Mapping[str, list[object]], key: str, *, is_table: bool) -> list[object]:
    """A list's items; rows where the list is a column beside others of its length."""
    columns = {name: held for name, held in lists.items() if len(held) == len(lists[key])}
    if not is_table or len(columns) < 2:
        return lists[key]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _tell_lists(source: Source, lists: Mapping[str, list[object]], key: str, *, is_table: bool) -> None:
    """Say what became of the lists beside the one that holds the prompts: they might be sets of prompts too."""
    rows = {name: held for name, held in lists.items() if is_table and len(held) == len(lists[key])}
    if left := [name for name, held in lists.items() if held and name != key and name not in rows]:
        what = f"only the list {shown(key)} is read, and not {shown(', '.join(left), 80)}"
        source.report(1, what, "give each set of prompts a file, and write factors into records, [{…}, …]")
    if texts := [name for name, held in rows.items() if name != key and _are_prompts(held)]:
        what = (
            f"lists of one length are a table: {shown(', '.join(texts), 80)} holds no prompts, but what goes with each"
        )
        source.report(1, what, "give each set of prompts a file")


def _are_prompts(held: Sequence[object]) -> bool:
    """Whether items may well be prompts: no two alike, and of three words and more."""
    texts = [item for item in held if isinstance(item, str) and not isinstance(item, _Number)]
    return len(set(texts)) == len(held) > 1 and sum(len(text.split()) for text in texts) >= 3 * len(texts)


def _broken(source: Source, line: int, what: str, remedy: str) -> list[Prompt]:
    source.report(line, what, remedy, fatal=True)
    return []


_SKIPPING = json.JSONDecoder(parse_int=str, parse_float=str)


def _members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """The key, empty in a list, and the offset of each value of the list or object that begins there, in valid JSON."""
    closing = "]" if text[at] == "[" else "}"
    at = _after_space(text, at + 1)
    while text[at] != closing:
        key = ""
        if closing == "}":
            key, at = _SKIPPING.raw_decode(text, at)
            at = _after_space(text, _after_space(text, at) + 1)
        yield key, at
        _, at = _SKIPPING.raw_decode(text, at)
        at = _after_space(text, at)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


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
_LONGEST_NAME, _MOST_WORDS = 60, 5
"""Of what may name a column; a table that has a single one more likely begins with its first text."""
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_DELIMITERS = ",;\t|"


@long_fields()
def parse_table(source: Source, delimiter: str) -> list[Prompt]:
    """Read a table whose header names a `prompt` or `text` column; every other column is a factor.

    Texts are kept exactly, line breaks in quotes included; whitespace around names and levels is removed. Comment lines
    and `sep=` may stand before the header, and the delimiter may be comma, semicolon, tab or bar, if it says so.
    """
    head = header_of(source, delimiter)
    if head is None:
        list(_rows(source, delimiter))
        return []
    start, header, delimiter = head
    column = source.prompt_field(header)
    names = [factor_name(name) for name in header]
    repeated = {name for name in names if name and names.count(name) > 1}
    if repeated:
        what = f"the column {shown(min(repeated))} occurs twice"
        return _broken(source, start, what, "name each column once in the first line")
    if column is None:
        first = next((row for line, row in _rows(source, delimiter) if line > start and row), list[str]())
        most = _MOST_WORDS if len(names) > 1 else 2
        if any(len(name) > _LONGEST_NAME or len(name.split()) > most or _NUMBER.fullmatch(name) for name in names):
            what = f"the first line names no columns: {shown(', '.join(header), 80)}"
            return _broken(source, start, what, "put a line with their names before it, one of them `prompt`")
        source.report_no_prompt(start, header, "column", dict(zip(names, first, strict=False)))
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
    """The header's line, its names as written, and the delimiter it says, or that parts most names; None in an empty
    file."""
    first: tuple[int, list[str], str] | None = None
    for candidate in (delimiter, *(mark for mark in _DELIMITERS if mark != delimiter)):
        quiet = Source(source.path, source.lines, column=source.column)
        for line, row in _rows(quiet, candidate):
            if row and (source.prompt_field(row) is not None or not row[0].lstrip().startswith(("#", "sep="))):
                if source.prompt_field(row) is not None:
                    return line, row, candidate
                if first is None or len(row) > len(first[1]):
                    first = line, row, candidate
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
