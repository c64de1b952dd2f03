"""Where prompt sets are found: shipped ones, the user's folders, paths, and the cache of data sets."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.prompts.arrow import DATASET, find_dataset, read_arrow
from srm_explorer.engine.prompts.formats import is_jsonl, parse_json, parse_jsonl, parse_plain, parse_table
from srm_explorer.engine.prompts.grid import is_grid, parse_grid
from srm_explorer.engine.prompts.prompt_set import (
    Format,
    Prompt,
    PromptSet,
    Source,
    bytes_of,
    decode_source,
    nearest,
    unknown,
)

EXTENSIONS = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
"""Of files that are listed by their name in the folders of prompt sets."""

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


def is_path(name_or_path: str) -> bool:
    """Whether a set is named by its path: with a `/` or one of the known extensions."""
    if name_or_path.startswith(DATASET):
        return False
    return "/" in name_or_path or name_or_path.lower().endswith((*EXTENSIONS, *_YAML, *_TEXTS[1:]))


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
    where: Mapping[str, Sequence[str]],
    omit: Mapping[str, Sequence[int]],
    limit: int | None = None,
) -> dict[str, tuple[int, ...]]:
    """Choose prompts by their levels, leave out those named by number, and keep the first of what remains.

    A set that lacks a factor, or every wanted level of it, has no prompt with one; numbers count the prompts of the
    file, whatever `where` keeps.

    Args:
        sets: the sets in the experiment's order, by the name they have there.
        where: factor to the levels wanted of it.
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
        kept = [number for number in fitting(prompt_set, where) if number not in without][:left]
        chosen[name] = tuple(kept)
        left = None if left is None else left - len(kept)
    if not any(chosen.values()):
        raise _nothing_left(where, omit)
    return chosen


def fitting(prompt_set: PromptSet, where: Mapping[str, Sequence[str]]) -> tuple[int, ...]:
    """The numbers, from 1, of the prompts that have a wanted level of every factor; all of them without a factor."""
    levels_by_factor = [(factor, set(levels)) for factor, levels in where.items()]
    if not levels_by_factor:
        return tuple(range(1, len(prompt_set.prompts) + 1))
    return tuple(
        number
        for number, prompt in enumerate(prompt_set.prompts, 1)
        if all(prompt.factors.get(factor) in levels for factor, levels in levels_by_factor)
    )


def _check_levels(sets: Mapping[str, PromptSet], where: Mapping[str, Sequence[str]]) -> None:
    if not where:
        return
    factors = list(dict.fromkeys(factor for prompt_set in sets.values() for factor in prompt_set.factor_names))
    if not any(factor in factors for factor in where):
        remedy = f"choose from {', '.join(factors)}" if factors else "leave `where` out: these sets have no factors"
        raise ExplorerError(f"no set has the factors {', '.join(where)}", where="prompts.where", remedy=remedy)
    for factor, levels in where.items():
        if factor not in factors:
            raise unknown("no prompt set has the factor", factor, factors, "prompts.where")
        known = list(dict.fromkeys(level for prompt_set in sets.values() for level in prompt_set.levels(factor)))
        for level in levels:
            if level not in known:
                raise unknown(f"factor {factor!r} has no level", level, known, f"prompts.where.{factor}")


def _check_numbers(prompt_set: PromptSet, name: str, numbers: Sequence[int]) -> None:
    count = len(prompt_set.prompts)
    for number in numbers:
        if not 1 <= number <= count:
            raise ExplorerError(
                f"{prompt_set.path} has no prompt {number}, it has {count}",
                where=f"prompts.omit.{name}",
                remedy=f"choose from 1 to {count}, or leave it out",
            )


def _nothing_left(where: Mapping[str, Sequence[str]], omit: Mapping[str, Sequence[int]]) -> ExplorerError:
    if not where:
        return ExplorerError("every prompt is left out", where="prompts.omit", remedy="leave fewer out")
    levels = " and ".join(f"{factor} {' or '.join(chosen)}" for factor, chosen in where.items())
    if omit:
        what = f"every prompt that has {levels} is left out"
        return ExplorerError(what, where="prompts.omit", remedy="leave fewer out, or choose other levels")
    return ExplorerError(f"no prompt has {levels}", where="prompts.where", remedy="choose fewer factors")
