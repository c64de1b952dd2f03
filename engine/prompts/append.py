"""Adding a prompt to a file in the format that the file has."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import write_atomic
from srm_explorer.engine.prompts.formats import header_of
from srm_explorer.engine.prompts.grid import typed_text
from srm_explorer.engine.prompts.library import parse_prompt_set
from srm_explorer.engine.prompts.prompt_set import (
    Prompt,
    PromptSet,
    Source,
    bytes_of,
    decode_source,
    factor_name,
    shown,
)

_MARK = b"\xef\xbb\xbf"


def add_prompt(path: Path, text: str, like: Prompt | None = None, column: str | None = None) -> PromptSet:
    """Write one more prompt into a file of prompts, and read it back.

    Lines are added to plain files, rows to tables and objects to JSONL, at the end; in a grid the text follows the
    prompt that it is like, whose type it has unless it is written as `type: text` with a type of the grid. Among
    conversations it is a message of the user.

    Args:
        path: a file without fatal problems.
        text: the prompt, on one line; whitespace around it is removed.
        like: a prompt of the file that lends its factors.
        column: that holds the prompts, as `read_prompt_set` has it.

    Returns:
        The set as it is now in the file: the former prompts and the new one.

    Raises:
        ExplorerError: a broken file, a text that this format cannot hold as it is, a file that cannot be written.
    """
    if path.suffix.lower() in (".json", ".parquet", ".arrow"):
        what = f"no prompt can be added to a {path.suffix.lower()} file"
        raise ExplorerError(what, where=str(path), remedy="write the set as JSONL or CSV, or edit the file")
    content = bytes_of(path)
    before = parse_prompt_set(path, content, column)
    text = text.strip()
    if not text:
        raise ExplorerError("the prompt is empty", remedy="write a text")
    source = decode_source(path, content)
    source.column = column
    end = _line_end(source)
    if source.lines and not source.lines[-1].endswith(("\n", "\r")):
        source.lines[-1] += end
    row, line, expected = _written(source, before, text, like)
    source.lines.insert(row, line + end)
    mark = _MARK if content.startswith(_MARK) else b""
    try:
        changed = mark + "".join(source.lines).encode()
    except UnicodeEncodeError:
        raise ExplorerError("the text holds half a character", remedy="write the character again") from None
    after = parse_prompt_set(path, changed, column)
    _check(before, after, expected)
    write_atomic(path, changed)
    return after


def _written(source: Source, before: PromptSet, text: str, like: Prompt | None) -> tuple[int, str, str]:
    """Where the new line goes (lines before it), the line itself, and the text it stands for."""
    factors = dict(like.factors) if like is not None else {}
    last = len(source.lines)
    if before.format == "csv":
        return last, _row(source, before, text, factors), text
    if before.format == "jsonl":
        return last, _object(source, text, factors), text
    if before.format == "grid":
        like = like if like is not None else before.prompts[-1]
        kind, rest = typed_text(text) or ("", "")
        if not rest or kind not in before.levels("type"):
            kind, rest = like.factors["type"], text
        above = source.lines[like.line - 1]
        indent = above[: len(above) - len(above.lstrip())]
        return like.line, f"{indent}{kind}: {rest}", rest
    # The backslash is what a plain file keeps a leading # from being a comment by.
    return last, re.sub(r"^(\\*#)", r"\\\1", text), text


def _row(source: Source, before: PromptSet, text: str, factors: dict[str, str]) -> str:
    head = header_of(source, "\t" if before.path.suffix.lower() == ".tsv" else ",")
    if head is None:
        raise ExplorerError(
            "the table has no header", where=f"{before.path}:1", remedy="name the columns, one of them `prompt`"
        )
    _, header, delimiter = head
    column = source.prompt_field(header)
    row = [text if name == column else factors.get(factor_name(name), "") for name in header]
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator="\r\n").writerow(row)  # what it quotes depends on it
    return written.getvalue().removesuffix("\r\n")


def _object(source: Source, text: str, factors: dict[str, str]) -> str:
    """A record with the key that the first one has; a bare string where the records are such."""
    first = next((line for _, line in source.stripped() if line), "{}")
    if first.startswith('"') and not factors:
        return json.dumps(text, ensure_ascii=False)
    record: object = json.loads(first)
    names = [str(name) for name in record] if isinstance(record, dict) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    key = source.prompt_field(names) or source.column or ("messages" if "messages" in names else "prompt")
    is_chat = isinstance(record, dict) and isinstance(record.get(key), list)  # pyright: ignore[reportUnknownMemberType]
    content = [{"role": "user", "content": text}] if is_chat else text
    return json.dumps({key: content, **factors}, ensure_ascii=False)


def _line_end(source: Source) -> str:
    ending = re.search(r"(\r\n|\n|\r)\Z", source.lines[0]) if source.lines else None
    return ending[0] if ending else "\n"


def _check(before: PromptSet, after: PromptSet, text: str) -> None:
    """Refuse a change that adds anything but this prompt: a comment, a heading, two prompts."""
    old, new = list(before.prompts), list(after.prompts)
    same = next((i for i, (before, other) in enumerate(zip(old, new, strict=False)) if before != other), len(old))
    is_added = len(new) == len(old) + 1 and new[same].text == text and new[same + 1 :] == old[same:]
    fatal = next((problem for problem in after.problems if problem.fatal), None)
    if fatal is not None and (is_added or before.format == after.format):
        raise ExplorerError(fatal.what, where=f"{after.path}:{fatal.line}", remedy=fatal.remedy)
    if not is_added or (old and after.format != before.format):
        what = f"{shown(text)} would not be read as one prompt of this {before.format} file"
        raise ExplorerError(what, where=str(before.path), remedy="write it otherwise, or edit the file")
