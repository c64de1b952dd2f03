"""Where prompt sets are found: shipped ones, the user's folders, and paths."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.errors import ExplorerError
from engine.prompts.grid import is_grid, parse_grid
from engine.prompts.jsonl import is_jsonl, parse_jsonl
from engine.prompts.plain import parse_plain
from engine.prompts.prompt_set import Format, Prompt, PromptSet, nearest
from engine.prompts.source import Source, bytes_of, decode_source
from engine.prompts.table import parse_table

EXTENSIONS = (".txt", ".csv", ".tsv", ".jsonl")


def read_prompt_set(path: Path) -> PromptSet:
    """Read a prompt file and gather everything that is wrong with it.

    The extensions .csv, .tsv and .jsonl say what a file holds; any other is a grid where it has a `>> CORE_ID:` line,
    JSONL where it begins with an object that has a prompt, else plain. With fatal problems the prompts are those that
    could be read.

    Raises:
        ExplorerError: the file is missing, a folder, too large or not readable.
    """
    return parse_prompt_set(path, bytes_of(path))


def parse_prompt_set(path: Path, content: bytes) -> PromptSet:
    """Read what a file of that path would hold, as `read_prompt_set` does."""
    source = decode_source(path, content)
    form, prompts = _parsed(source, path.suffix.lower())
    source.check_prompts(prompts)
    problems = tuple(sorted(source.problems, key=lambda problem: problem.line))
    return PromptSet(path.stem, tuple(prompts), path, form, problems)


def load_prompt_set(name_or_path: str, *, folders: Sequence[Path], base: Path) -> PromptSet:
    """Load a prompt set that can be used, by name or path.

    Args:
        name_or_path: with a `/` or one of the extensions .txt, .csv, .tsv, .jsonl a path, otherwise a name.
        folders: where names are looked up, the first that has it wins.
        base: the folder that paths are relative to.

    Raises:
        ExplorerError: unknown name, unreadable file, or a set with a fatal problem, which an empty one is.
    """
    prompt_set = read_prompt_set(find_prompt_set(name_or_path, folders=folders, base=base))
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
        ExplorerError: unknown name.
    """
    if is_path(name_or_path):
        return base / _home(name_or_path)
    known = dict(available_prompt_sets(folders))
    if name_or_path not in known:
        raise _unknown_name(name_or_path, list(known), base)
    return known[name_or_path]


def is_path(name_or_path: str) -> bool:
    """Whether a set is named by its path: with a `/` or one of the known extensions."""
    return "/" in name_or_path or name_or_path.lower().endswith(EXTENSIONS)


def available_prompt_sets(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """The prompt sets in these folders by name, sorted; of two with one name the one that loading takes.

    Raises:
        ExplorerError: a folder that exists can't be listed.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for extension in EXTENSIONS:
            for path in _files(folder):
                if path.suffix == extension and not path.name.startswith("."):
                    found.setdefault(path.stem, path)
    return sorted(found.items())


def _parsed(source: Source, extension: str) -> tuple[Format, list[Prompt]]:
    if extension in (".csv", ".tsv"):
        return "csv", parse_table(source, "\t" if extension == ".tsv" else ",")
    if extension in (".jsonl", ".ndjson") or is_jsonl(source):
        return "jsonl", parse_jsonl(source)
    if is_grid(source):
        return "grid", parse_grid(source)
    return "plain", parse_plain(source)


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
