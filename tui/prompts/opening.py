"""A file of prompts by the path that is typed for it: completed, opened, or made anew."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.io.files import write_atomic
from srm_explorer.engine.prompts import DATASET, add_prompts, find_prompt_set, is_path
from srm_explorer.tui.prompts.catalogue import ListedSet, read_set

_MADE: Mapping[str, str] = {".txt": "", ".md": "", ".csv": "prompt\n", ".tsv": "prompt\n", ".jsonl": ""}
"""What a new set begins with, by the ending of its file."""


def open_typed(typed: str, sets: Iterable[ListedSet], column: str | None = None) -> ListedSet:
    """Read the file that was typed; a set that is listed under a name has that name.

    Args:
        typed: a path from the working folder, or hf:NAME.
        sets: those that are listed.
        column: as `prompts.text` says.

    Raises:
        ExplorerError: it is no file, cannot be read, or holds no set of prompts that can be used.
    """
    word = typed.strip()
    if not word:
        raise ExplorerError("no file is named", remedy="type its path; tab completes it")
    if word.startswith(DATASET):
        listed = ListedSet(word, find_prompt_set(word, folders=[], base=Path()), "path", column=column)
    else:
        path = _typed_path(word)
        if paths.is_folder(path):
            raise ExplorerError(f"{word} is a folder", remedy="go on with a file in it; tab completes it")
        if not paths.is_there(path):
            raise ExplorerError(f"there is no file {word}", remedy="tab completes the path")
        named = next((one for one in sets if one.path == path), None)
        listed = (
            replace(named, column=column)
            if named is not None
            else ListedSet(str(path), path, "path", None, column=column)
        )
    listed = read_set(listed)
    if not listed.is_usable:
        raise ExplorerError(listed.error_lines()[0])
    return listed


def make_typed(typed: str, sets: Iterable[ListedSet]) -> ListedSet:
    """Make the file of a new set: by a name in the user's own folder, or by a path; it has no prompts yet.

    Args:
        typed: the name or path; its ending is .txt where it has none.
        sets: those that are listed.

    Raises:
        ExplorerError: the name is taken, its ending says nothing, or the file is there or cannot be written.
    """
    made, path = _new_set(typed, sets)
    write_atomic(path, _MADE[path.suffix].encode())
    return made


def make_of_lines(typed: str, lines: Sequence[str], sets: Iterable[ListedSet]) -> ListedSet:
    """Make the file of a new set, as `make_typed` does, that has a prompt a line; without these it is not made.

    Raises:
        ExplorerError: as `make_typed` and `add_prompts`.
    """
    made, path = _new_set(typed, sets)
    add_prompts(path, lines, begun=_MADE[path.suffix].encode())
    return read_set(made)


def _new_set(typed: str, sets: Iterable[ListedSet]) -> tuple[ListedSet, Path]:
    """A set that is to be made, and its file, which is not there yet; errors as `make_typed`."""
    word = typed.strip()
    by_path = "/" in word or word.startswith("~")
    name = word.rpartition("/")[2]
    if not name or name.startswith((".", "-", DATASET)) or not name.isprintable():
        raise ExplorerError(f"{word!r} names no file", remedy="type a name, such as mine or mine.csv, or a path")
    stem, ending = os.path.splitext(name)  # noqa: PTH122  (a name, of no folder yet)
    if (ending or ".txt") not in _MADE:
        raise ExplorerError(f"a new set does not end in {ending}", remedy=f"choose {', '.join(_MADE)}")
    if by_path:
        path = _typed_path(word if ending else f"{word}.txt")
        if not paths.is_folder(path.parent):
            raise ExplorerError(f"there is no folder {path.parent}", remedy="make it first, or name another")
    else:
        if any(listed.name == stem for listed in sets):
            raise ExplorerError(f"there is a set {stem!r} already", remedy="choose another name")
        path = paths.user_prompts_folder() / f"{stem}{ending or '.txt'}"
    if paths.is_there(path):
        raise ExplorerError(f"{path} is there already", remedy="O opens it, another name makes another")
    named = next((one for one in sets if one.path == path), None)
    return named or ListedSet(str(path) if by_path else stem, path, "path" if by_path else "yours"), path


def free_name(stem: str, sets: Iterable[ListedSet]) -> str:
    """A name that no set has: the stem, or the stem and the first number from 2."""
    taken = {listed.name for listed in sets}
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


def titles_of(names: Iterable[str]) -> dict[str, str]:
    """What sets are called where room is short: a file by its name, with as many folders as tell it from the others."""
    words = {name: Path(name).parts if is_path(name) else (name,) for name in names}
    titles: dict[str, str] = {}
    for name, parts in words.items():
        others = [other for known, other in words.items() if known != name]
        kept = next(
            (
                count
                for count in range(1, len(parts) + 1)
                if not any(parts[-count:] == other[-count:] for other in others)
            ),
            len(parts),
        )
        titles[name] = "/".join(parts[-kept:]).replace("//", "/")
    return titles


def _typed_path(word: str) -> Path:
    try:
        return paths.absolute(paths.expanded(word))
    except (OSError, ValueError) as error:
        raise ExplorerError(f"{word!r} names no file ({_reason(error)})", remedy="type its path") from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
