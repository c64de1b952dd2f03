"""Where prompt sets are found: shipped ones, the user's folders, paths, and the cache of data sets."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from srm_explorer.engine.errors import ExplorerError, nearest
from srm_explorer.engine.io.files import write_atomic
from srm_explorer.engine.prompts.arrow import DATASET, find_dataset, read_arrow
from srm_explorer.engine.prompts.formats import header_of, is_jsonl, parse_json, parse_jsonl, parse_plain, parse_table
from srm_explorer.engine.prompts.grid import is_grid, parse_grid, typed_text
from srm_explorer.engine.prompts.prompt_set import (
    Format,
    Prompt,
    PromptSet,
    Source,
    bytes_of,
    decode_source,
    factor_name,
    shown,
    unknown,
)

EXTENSIONS = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
"""Of files that are listed by their name in the folders of prompt sets."""

Filters: TypeAlias = Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]]
"""Levels that are wanted: by factor, or by set and factor, as `prompts.where` has them."""

_TEXTS = ("", ".txt", ".text", ".md", ".markdown")
_YAML = (".yaml", ".yml")


def read_prompt_set(path: Path, column: str | None = None) -> PromptSet:
    """Read a prompt file and gather everything that is wrong with it.

    The extensions .csv, .tsv, .json, .jsonl and .parquet say what a file holds. Any other is a grid where it has a
    `>> CORE_ID:` line, JSONL where it begins with an object that has a prompt; else .txt and .md are plain, and what
    another extension stands for is not known. With fatal problems the prompts are those that could be read.

    Args:
        path: the file.
        column: of tables and records, what holds the prompts; None: `prompt`, else `text`, else `messages`.

    Raises:
        ExplorerError: the file is missing, a folder, too large or not readable.
    """
    if path.suffix.lower() in (".parquet", ".arrow"):
        source = Source(path, column=column)
        return _as_set(source, *read_arrow(source))
    return parse_prompt_set(path, bytes_of(path), column)


def parse_prompt_set(path: Path, content: bytes, column: str | None = None) -> PromptSet:
    """Read what a file of that path would hold, as `read_prompt_set` does."""
    source = decode_source(path, content)
    source.column = column
    if source.problems and not source.lines:
        return _as_set(source, "plain", [])  # it is no text, whatever its name says
    return _as_set(source, *_parsed(source, path.suffix.lower()))


def _as_set(source: Source, form: Format, prompts: list[Prompt]) -> PromptSet:
    source.check_prompts(prompts)
    problems = tuple(sorted(source.problems, key=lambda problem: problem.line))
    return PromptSet(source.path.stem, tuple(prompts), source.path, form, problems)


def load_prompt_set(name_or_path: str, *, folders: Sequence[Path], base: Path, column: str | None = None) -> PromptSet:
    """Load a prompt set that can be used, by name or path.

    Args:
        name_or_path: hf:NAME[:SPLIT] a cached data set; with a `/` or an extension such as .txt, .csv, .jsonl a path,
            otherwise a name.
        folders: where names are looked up, the first that has it wins.
        base: the folder that paths are relative to.
        column: as in `read_prompt_set`.

    Raises:
        ExplorerError: unknown name, unreadable file, or a set with a fatal problem, which an empty one is.
    """
    prompt_set = read_prompt_set(find_prompt_set(name_or_path, folders=folders, base=base), column)
    if not is_path(name_or_path):
        prompt_set = replace(prompt_set, name=name_or_path)
    fatal = [problem for problem in prompt_set.problems if problem.fatal]
    if fatal:
        more = f" (+{len(fatal) - 1} more" if len(fatal) > 1 else ""
        check = f"see `srm-explorer prompts check {shlex.quote(str(prompt_set.path))}`"
        remedy = f"{fatal[0].remedy}{more}; {check})" if more else fatal[0].remedy
        raise ExplorerError(fatal[0].what, where=f"{fatal[0].path}:{fatal[0].line}", remedy=remedy)
    return prompt_set


def set_name(name_or_path: str) -> str:
    """What a set that is named like this is called in a session: a file by its name without the ending."""
    return Path(name_or_path).stem if is_path(name_or_path) else name_or_path


def find_prompt_set(name_or_path: str, *, folders: Sequence[Path], base: Path) -> Path:
    """The file of a prompt set, which need not exist where a path is given.

    Args:
        name_or_path: as in `load_prompt_set`.
        folders: where names are looked up, the first that has it wins.
        base: the folder that paths are relative to.

    Raises:
        ExplorerError: unknown name, or a data set that is not in the cache.
    """
    if name_or_path.startswith(DATASET):
        return find_dataset(name_or_path)
    if is_path(name_or_path):
        return base / _home(name_or_path)
    known = dict(available_prompt_sets(folders))
    if name_or_path not in known:
        raise _unknown_name(name_or_path, list(known), base)
    return known[name_or_path]


def name_of(path: Path, folders: Sequence[Path]) -> str:
    """What an experiment has a file of prompts by: its name where one of these folders has it, else its path."""
    known = next((name for name, other in available_prompt_sets(folders) if other == path), None)
    return known if known is not None and not is_path(known) else str(path)


def is_path(name_or_path: str) -> bool:
    """Whether a set is named by its path: with a `/` or one of the known extensions."""
    if name_or_path.startswith(DATASET):
        return False
    return "/" in name_or_path or name_or_path.lower().endswith((*EXTENSIONS, ".arrow", *_YAML, *_TEXTS[1:]))


def available_prompt_sets(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """The prompt sets in these folders by name, sorted; of two with one name the one that loading takes.

    Raises:
        ExplorerError: a folder that exists can't be listed.
    """
    files: dict[str, Path] = {}
    for folder in folders:
        for extension in EXTENSIONS:
            for path in _files(folder):
                if path.suffix == extension and not path.name.startswith("."):
                    files.setdefault(path.stem, path)
    return sorted(files.items())


def _parsed(source: Source, extension: str) -> tuple[Format, list[Prompt]]:
    if extension in (".csv", ".tsv"):
        return "csv", parse_table(source, "\t" if extension == ".tsv" else ",")
    if extension == ".json":
        return "json", parse_json(source)
    if extension in (".jsonl", ".ndjson") or is_jsonl(source):
        return "jsonl", parse_jsonl(source)
    if is_grid(source):
        return "grid", parse_grid(source)
    if extension in _TEXTS:
        return "plain", parse_plain(source)
    what = "YAML is not read" if extension in _YAML else f"what a {extension} file holds is not known"
    remedy = "save it as JSON (.json), a table (.csv), or one prompt a line (.txt)"
    source.report(1, what, remedy, fatal=True)
    return "plain", []


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ExplorerError(
            f"the folder of prompt sets can't be listed ({error.strerror})",
            where=str(folder),
            remedy="give a prompt set by its path",
        ) from None


def _home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _unknown_name(name: str, known: list[str], base: Path) -> ExplorerError:
    guess = nearest(name, known)
    remedy = f"choose from: {', '.join(known)}; or give a path" if known else "give a path"
    if guess:
        remedy = f"did you mean {guess!r}? {remedy}"
    try:
        if name and (base / name).is_file():
            remedy = f"for the file of that name write './{name}'"
    except OSError:
        pass
    return ExplorerError(f"there is no prompt set {name!r}", remedy=remedy)


def choose(
    sets: Mapping[str, PromptSet],
    *,
    where: Filters,
    omit: Mapping[str, Sequence[int]],
    limit: int | None = None,
) -> dict[str, tuple[int, ...]]:
    """Choose prompts by their levels, leave out those named by number, and keep the first of what remains.

    A set that lacks a factor, or every wanted level of it, has no prompt with one; numbers count the prompts of the
    file, whatever `where` keeps.

    Args:
        sets: the sets in the experiment's order, by the name they have there.
        where: factor to the levels wanted of it in every set; or name of a set to such levels of that set alone.
        omit: name of a set to the numbers of its prompts, from 1, that are left out.
        limit: the most prompts of the whole list; None keeps all.

    Returns:
        the numbers of each set's prompts that are used, by the set's name; at least one prompt in all.

    Raises:
        ExplorerError: a factor or level that no set has, a number that is none of a prompt, no prompt left.
    """
    _check_levels(sets, where)
    for name, numbers in omit.items():
        if name in sets:
            _check_numbers(sets[name], name, numbers)
    left = limit
    chosen: dict[str, tuple[int, ...]] = {}
    for name, prompt_set in sets.items():
        without = set(omit.get(name, ()))
        kept = [number for number in fitting(prompt_set, name, where) if number not in without][:left]
        chosen[name] = tuple(kept)
        left = None if left is None else left - len(kept)
    if not any(chosen.values()):
        raise _nothing_left(where, omit)
    return chosen


def levels_wanted(name: str, where: Filters) -> list[tuple[str, Sequence[str]]]:
    """Factors with the levels wanted of a set: those of every set, then its own; a factor may be in both."""
    own = where.get(name)
    every = [(factor, levels) for factor, levels in where.items() if not isinstance(levels, Mapping)]
    return [*every, *(own.items() if isinstance(own, Mapping) else ())]


def fitting(prompt_set: PromptSet, name: str, where: Filters) -> tuple[int, ...]:
    """The numbers, from 1, of the prompts that have a wanted level of every factor; all of them without a factor.

    Args:
        prompt_set: the set.
        name: that it has in the experiment.
        where: as in `choose`.
    """
    levels_by_factor = [(factor, set(levels)) for factor, levels in levels_wanted(name, where)]
    if not levels_by_factor:
        return tuple(range(1, len(prompt_set.prompts) + 1))
    return tuple(
        number
        for number, prompt in enumerate(prompt_set.prompts, 1)
        if all(prompt.factors.get(factor) in levels for factor, levels in levels_by_factor)
    )


def _check_levels(sets: Mapping[str, PromptSet], where: Filters) -> None:
    every = {name: levels for name, levels in where.items() if not isinstance(levels, Mapping)}
    _check_wanted(list(sets.values()), every, "prompts.where")
    for name, levels in where.items():
        if isinstance(levels, Mapping) and name in sets:
            _check_wanted([sets[name]], levels, f"prompts.where.{name}")


def _check_wanted(sets: Sequence[PromptSet], wanted: Mapping[str, Sequence[str]], place: str) -> None:
    if not wanted:
        return
    factors = list(dict.fromkeys(factor for prompt_set in sets for factor in prompt_set.factor_names))
    if not any(factor in factors for factor in wanted):
        remedy = f"choose from {', '.join(factors)}" if factors else "leave `where` out: these sets have no factors"
        raise ExplorerError(f"no set has the factors {', '.join(wanted)}", where=place, remedy=remedy)
    for factor, levels in wanted.items():
        if factor not in factors:
            raise unknown("no prompt set has the factor", factor, factors, place)
        known = list(dict.fromkeys(level for prompt_set in sets for level in prompt_set.levels(factor)))
        for level in levels:
            if level not in known:
                raise unknown(f"factor {factor!r} has no level", level, known, f"{place}.{factor}")


def _check_numbers(prompt_set: PromptSet, name: str, numbers: Sequence[int]) -> None:
    count = len(prompt_set.prompts)
    for number in numbers:
        if not 1 <= number <= count:
            raise ExplorerError(
                f"{prompt_set.path} has no prompt {number}, it has {count}",
                where=f"prompts.omit.{name}",
                remedy=f"choose from 1 to {count}, or leave it out",
            )


def _nothing_left(where: Filters, omit: Mapping[str, Sequence[int]]) -> ExplorerError:
    if not where:
        return ExplorerError("every prompt is left out", where="prompts.omit", remedy="leave fewer out")
    levels = " and ".join(filter_captions(where))
    if omit:
        what = f"every prompt that has {levels} is left out"
        return ExplorerError(what, where="prompts.omit", remedy="leave fewer out, or choose other levels")
    return ExplorerError(f"no prompt has {levels}", where="prompts.where", remedy="choose fewer factors")


def filter_captions(where: Filters) -> list[str]:
    """What is wanted, a factor each: "type plain or grand", "grid: level 1" where it is of one set alone."""
    captions: list[str] = []
    for name, levels in where.items():
        if isinstance(levels, Mapping):
            captions += [f"{set_name(name)}: {caption}" for caption in filter_captions(levels)]
        else:
            captions.append(f"{name} {' or '.join(levels)}")
    return captions


_MARK = b"\xef\xbb\xbf"


def add_prompts(
    path: Path,
    texts: Sequence[str],
    like: Prompt | None = None,
    column: str | None = None,
    *,
    begun: bytes | None = None,
) -> PromptSet:
    """Write more prompts into a file of prompts, all or none, and read it back.

    Lines are added to plain files, rows to tables and objects to JSONL, at the end; in a grid the texts follow the
    prompt that they are like, whose type each has unless it is written as `type: text` with a type of the grid. Among
    conversations each is a message of the user.

    Args:
        path: a file without fatal problems.
        texts: the prompts, a line each; whitespace around them is removed.
        like: a prompt of the file that lends its factors.
        column: that holds the prompts, as `read_prompt_set` has it.
        begun: of a file that is made with them, what it has before them.

    Returns:
        The set as it is now in the file: the former prompts and the new ones.

    Raises:
        ExplorerError: a broken file, a text that this format cannot hold as it is, a file that cannot be written.
    """
    if path.suffix.lower() in (".json", ".parquet", ".arrow"):
        what = f"no prompt can be added to a {path.suffix.lower()} file"
        raise ExplorerError(what, where=str(path), remedy="write the set as JSONL or CSV, or edit the file")
    content = bytes_of(path) if begun is None else begun
    before = parse_prompt_set(path, content, column)
    stripped = [text.strip() for text in texts]
    if not all(stripped) or not stripped:
        raise ExplorerError("the prompt is empty", remedy="write a text")
    source = decode_source(path, content)
    source.column = column
    end = _line_end(source)
    if source.lines and not source.lines[-1].endswith(("\n", "\r")):
        source.lines[-1] += end
    written = [_written(source, before, text, like) for text in stripped]
    row = written[0][0]
    source.lines[row:row] = [line + end for _, line, _ in written]
    mark = _MARK if content.startswith(_MARK) else b""
    try:
        changed = mark + "".join(source.lines).encode()
    except UnicodeEncodeError:
        raise ExplorerError("the text holds half a character", remedy="write the character again") from None
    after = parse_prompt_set(path, changed, column)
    _check(before, after, [text for _, _, text in written])
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
    if source.column and "." in source.column and isinstance(record, dict) and source.column not in record:
        what = f"no prompt can be added where {source.column} is a key of an object"
        raise ExplorerError(what, where=str(source.path), remedy="edit the file")
    names = [str(name) for name in record] if isinstance(record, dict) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    key = source.prompt_field(names) or source.column or ("messages" if "messages" in names else "prompt")
    is_chat = isinstance(record, dict) and isinstance(record.get(key), list)  # pyright: ignore[reportUnknownMemberType]
    content = [{"role": "user", "content": text}] if is_chat else text
    return json.dumps({key: content, **factors}, ensure_ascii=False)


def _line_end(source: Source) -> str:
    ending = re.search(r"(\r\n|\n|\r)\Z", source.lines[0]) if source.lines else None
    return ending[0] if ending else "\n"


def _check(before: PromptSet, after: PromptSet, texts: Sequence[str]) -> None:
    """Refuse a change that adds anything but these prompts: a comment, a heading, two prompts for one."""
    old, new = list(before.prompts), list(after.prompts)
    same = next((i for i, (before, other) in enumerate(zip(old, new, strict=False)) if before != other), len(old))
    behind = same + len(texts)
    is_added = len(new) == len(old) + len(texts) and new[behind:] == old[same:]
    is_added = is_added and [prompt.text for prompt in new[same:behind]] == list(texts)
    fatal = next((problem for problem in after.problems if problem.fatal), None)
    if fatal is not None and (is_added or before.format == after.format):
        raise ExplorerError(fatal.what, where=f"{after.path}:{fatal.line}", remedy=fatal.remedy)
    if not is_added or (old and after.format != before.format):
        read = "read as one prompt" if len(texts) == 1 else f"read as {len(texts):,} prompts"
        what = f"{shown(texts[0]) if len(texts) == 1 else 'the lines'} would not be {read} of this {before.format} file"
        raise ExplorerError(what, where=str(before.path), remedy="write it otherwise, or edit the file")
