"""The prompt sets a screen can show: which there are, what their files hold and what is wrong with them.

Files are read, copied and added to in threads; prompts are split into tokens elsewhere, and these kept here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from textual.message import Message

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.io.files import as_explorer_error, write_atomic
from srm_explorer.engine.prompts import (
    Problem,
    Prompt,
    PromptSet,
    Turns,
    add_prompts,
    alike_problems,
    available_prompt_sets,
    find_prompt_set,
    is_path,
    read_prompt_set,
)

Origin: TypeAlias = Literal["shipped", "yours", "here", "path", "missing"]
Stamp: TypeAlias = tuple[int, int, int]
"""Time of the last change in nanoseconds, size in bytes, and number of the file."""

LARGE = 4 * 2**20
"""Bytes from which a file is read only when its set is chosen or opened."""


@dataclass(frozen=True)
class ListedSet:
    """A prompt set by the name that an experiment has for it.

    Attributes:
        name: as in `prompts.sets`.
        path: its file; None where the name is unknown.
        origin: where it was found: among those that ship, the user's own, ./prompts, or by its path.
        stamp: of the file when it was read; None where it has not been.
        prompt_set: what it holds; None where it has not been or cannot be read.
        error: why it cannot be read.
        factors: every factor with its levels, in order of first appearance.
        column: of tables and records, what holds the prompts, as `prompts.text` says.
    """

    name: str
    path: Path | None
    origin: Origin
    stamp: Stamp | None = None
    prompt_set: PromptSet | None = None
    error: ExplorerError | None = None
    factors: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    column: str | None = None

    @property
    def is_read(self) -> bool:
        return self.prompt_set is not None or self.error is not None

    @property
    def fatal(self) -> tuple[Problem, ...]:
        problems = self.prompt_set.problems if self.prompt_set is not None else ()
        return tuple(problem for problem in problems if problem.fatal)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        return self.prompt_set.prompts if self.prompt_set is not None and self.is_usable else ()

    @property
    def is_usable(self) -> bool:
        return self.prompt_set is not None and not self.fatal

    @property
    def remarks(self) -> list[Problem]:
        problems = self.prompt_set.problems if self.prompt_set is not None else ()
        return [problem for problem in problems if not problem.fatal]

    @property
    def format(self) -> str:
        """The format of its file; empty where it has not been read."""
        return self.prompt_set.format if self.prompt_set is not None else ""

    def error_lines(self) -> tuple[str, ...]:
        """Each problem that keeps it from being used, with its place and its remedy; empty where it can be used."""
        if self.error is not None:
            return (str(self.error),)
        return tuple(str(replace(problem, path=Path(problem.path.name))) for problem in self.fatal)


def list_sets(names: Iterable[str], base: Path) -> tuple[list[ListedSet], list[ExplorerError]]:
    """List the sets that can be named here and those that an experiment names; no file is read.

    Args:
        names: sets of the experiment, by name or path.
        base: the folder that paths are relative to.

    Returns:
        The sets found by name, sorted, then the others in the order given; and the folders that cannot be listed.
    """
    folders: list[Path] = []
    faults: list[ExplorerError] = []
    files: dict[str, Path] = {}
    try:
        searched = paths.prompt_folders()
    except ExplorerError as error:
        searched = [paths.shipped_prompts()]
        faults.append(error)
    for folder in searched:
        try:
            for name, path in available_prompt_sets([folder]):
                files.setdefault(name, path)
            folders.append(folder)
        except ExplorerError as error:
            faults.append(error)
    sets = {name: ListedSet(name, path, _origin(path)) for name, path in sorted(files.items()) if not is_path(name)}
    for name in names:
        if name not in sets:
            sets[name] = _named(name, folders, base)
    return list(sets.values()), faults


def read_set(listed: ListedSet) -> ListedSet:
    if listed.path is None:
        return listed
    stamp = stamp_of(listed.path)
    try:
        prompt_set = replace(read_prompt_set(listed.path, listed.column), name=listed.name)
        prompt_set = replace(prompt_set, problems=(*prompt_set.problems, *alike_problems(prompt_set)))
    except ExplorerError as error:
        return replace(listed, stamp=stamp, prompt_set=None, error=error, factors={})
    return replace(listed, stamp=stamp, prompt_set=prompt_set, error=None, factors=_factors(prompt_set))


def stamp_of(path: Path) -> Stamp | None:
    """What tells whether a file has changed; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def is_large(listed: ListedSet) -> bool:
    """Whether reading a set takes long enough to wait until it is wanted."""
    stamp = stamp_of(listed.path) if listed.path is not None else None
    return stamp is not None and stamp[1] >= LARGE


def copy_of_shipped(listed: ListedSet, taken: Mapping[str, Path | None]) -> ListedSet:
    """Copy a set that ships to the user's own folder, under a name that no other set has.

    A copy that is there already, and still is one, is taken.

    Args:
        listed: a set with a file.
        taken: names of the other sets, with their files.

    Raises:
        ExplorerError: it cannot be read or written.
    """
    source = listed.path
    if source is None:
        raise ExplorerError(f"there is no file of {listed.name!r}", remedy="choose another set")
    folder = paths.user_prompts_folder()
    number = 1
    while True:
        name = f"my-{listed.name}" if number == 1 else f"my-{listed.name}-{number}"
        target = folder / f"{name}{source.suffix}"
        number += 1
        if taken.get(name, target) != target:
            continue
        try:
            content = source.read_bytes()
            is_there = os.path.lexists(target)
            if is_there and not (target.is_file() and target.read_bytes() == content):
                continue
        except OSError as error:
            raise as_explorer_error(error, target) from None
        if not is_there:
            write_atomic(target, content)
        return read_set(ListedSet(name, target, "yours", column=listed.column))


def followed(numbers: Sequence[int], old: Sequence[Prompt], new: Sequence[Prompt]) -> list[int]:
    """The numbers, from 1, of old prompts in their changed file, without those that are gone; equal ones in order."""
    unmatched: dict[str, list[int]] = {}
    for number, prompt in enumerate(new, 1):
        unmatched.setdefault(prompt.text, []).append(number)
    chosen = set(numbers)
    moved: list[int] = []
    for number, prompt in enumerate(old, 1):
        if same := unmatched.get(prompt.text):
            new_number = same.pop(0)
            if number in chosen:
                moved.append(new_number)
    return sorted(moved)


def _named(name: str, folders: Sequence[Path], base: Path) -> ListedSet:
    try:
        return ListedSet(name, find_prompt_set(name, folders=folders, base=base), "path")
    except ExplorerError as error:
        return ListedSet(name, None, "missing", error=error)


def _origin(path: Path) -> Origin:
    if path.parent == paths.shipped_prompts():
        return "shipped"
    return "yours" if path.parent == paths.user_prompts_folder() else "here"


def _factors(prompt_set: PromptSet) -> dict[str, tuple[str, ...]]:
    levels: dict[str, dict[str, None]] = {}
    for prompt in prompt_set.prompts:
        for factor, level in prompt.factors.items():
            levels.setdefault(factor, {})[level] = None
    return {factor: tuple(known) for factor, known in levels.items()}


class PromptFiles:
    """The sets that are listed; `run` has a thread read them, `post` takes messages from any thread."""

    @dataclass
    class Listed(Message, bubble=False):
        """The sets there are, those read before as they were read."""

        generation: int
        sets: dict[str, ListedSet]
        faults: tuple[ExplorerError, ...]

    @dataclass
    class Read(Message, bubble=False):
        """A set's file was read; `added` is the prompt that was just written into it, the last of several."""

        listed: ListedSet
        added: str | None = None

    @dataclass
    class Copied(Message, bubble=False):
        """A set that ships was copied; `then` goes on with the copy."""

        old: str
        copy: ListedSet
        then: Callable[[ListedSet], None]

    @dataclass
    class Opened(Message, bubble=False):
        """A file was opened by its path, or made: then it has no prompts yet."""

        listed: ListedSet
        is_new: bool

    @dataclass
    class Failed(Message, bubble=False):
        """A file could not be written."""

        error: ExplorerError

    def __init__(self, run: Callable[[Callable[[], None]], Any], post: Callable[[Message], Any]) -> None:
        self._run, self._post = run, post
        self._generation = 0
        self.sets: dict[str, ListedSet] = {}
        self.faults: tuple[ExplorerError, ...] = ()
        self.is_listed = False

    def look(self, names: Iterable[str], base: Path, needed: Collection[str] = (), column: str | None = None) -> None:
        """List the sets anew and read those that are new, have changed, or are large and wanted."""
        self._generation += 1
        generation, known, names = self._generation, dict(self.sets), tuple(names)
        self._run(lambda: self._look(generation, names, base, known, frozenset(needed), column))

    def take_listed(self, message: Listed) -> bool:
        """Keep what a thread has listed; whether it says anything new."""
        if message.generation != self._generation:
            return False
        changed = not self.is_listed or message.sets != self.sets or message.faults != self.faults
        self.sets, self.faults, self.is_listed = message.sets, message.faults, True
        return changed

    def copy(self, listed: ListedSet, then: Callable[[ListedSet], None]) -> None:
        """Copy a set that ships to the user's own folder, then go on with the copy."""
        taken = {name: other.path for name, other in self.sets.items()}

        def work() -> None:
            try:
                self._post(self.Copied(listed.name, copy_of_shipped(listed, taken), then))
            except ExplorerError as error:
                self._post(self.Failed(error))

        self._run(work)

    def open(self, find: Callable[[Sequence[ListedSet]], ListedSet], *, is_new: bool = False) -> None:
        """Take a set that is not listed yet, or is: `find` is called in a thread with those that are."""
        known = tuple(self.sets.values())

        def work() -> None:
            try:
                self._post(self.Opened(find(known), is_new))
            except ExplorerError as error:
                self._post(self.Failed(error))

        self._run(work)

    def add(self, listed: ListedSet, texts: Sequence[str], like: Prompt | None) -> None:
        def work() -> None:
            if listed.path is None:
                return
            try:
                add_prompts(listed.path, texts, like, listed.column)
                self._post(self.Read(read_set(listed), texts[-1]))
            except ExplorerError as error:
                self._post(self.Failed(error))

        self._run(work)

    def _look(
        self,
        generation: int,
        names: Collection[str],
        base: Path,
        known: Mapping[str, ListedSet],
        needed: Collection[str],
        column: str | None,
    ) -> None:
        listed_anew, faults = list_sets((*names, *known), base)
        unread = [replace(listed, column=column) for listed in listed_anew]
        sets = {listed.name: listed for listed in unread}
        stale: list[ListedSet] = []
        for listed in unread:
            if listed.path is None:
                continue
            before = known.get(listed.name)
            if before is not None and before.path == listed.path and before.is_read:
                # A changed set stays on the screen as it was until it has been read again.
                sets[listed.name] = before
                if before.stamp == stamp_of(listed.path) and before.column == column:
                    continue
            stale.append(listed)
        self._post(self.Listed(generation, sets, tuple(faults)))
        first = {*names, *needed}
        for listed in sorted(stale, key=lambda listed: listed.name not in first):
            if generation != self._generation:
                return
            if listed.name in first or not is_large(listed):
                self._post(self.Read(read_set(listed)))


MOST_TEXTS = 2_000
MOST_CHARACTERS = 1_000_000
"""What is asked for at once at most."""

PATIENCE = 10.0
"""Seconds after which an answer that has not come may be asked for again."""


Content: TypeAlias = str | Turns
"""What a prompt is to a tokenizer: a text, or the messages of a conversation."""


@dataclass
class _Question:
    key: Hashable
    texts: set[Content]
    asked: float


def feeding_key(prompts: Mapping[str, Any], model: Mapping[str, Any], base: Path) -> Hashable:
    """What decides the tokens of a prompt, of an experiment's tables of prompts and of the model."""
    feeding = tuple(prompts.get(name) for name in ("prepend_bos", "chat_template", "system"))
    return (model.get("name"), model.get("revision"), *feeding, str(base))


class TokenBook:
    """Tokens by what decides them, and text; one question of each is under way at a time; the clock is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.key: Hashable = None
        self._pieces: dict[Hashable, dict[Content, tuple[str, ...]]] = {}
        self._open: list[_Question] = []
        self._refused: set[tuple[Hashable, Content]] = set()

    def use(self, key: Hashable) -> None:
        """Go by this model and feeding from now on; what is known of others is kept."""
        self.key = key

    def pieces(self, text: Content) -> tuple[str, ...] | None:
        """The text of each token; None where that is not known."""
        return self._pieces.get(self.key, {}).get(text)

    def count(self, text: Content) -> int | None:
        pieces = self.pieces(text)
        return None if pieces is None else len(pieces)

    def is_asked(self, text: Content) -> bool:
        return any(question.key == self.key and text in question.texts for question in self._open)

    def retry(self) -> None:
        """Let what could not be told, or has been awaited for long, be asked for again."""
        self._refused.clear()
        late = self._clock() - PATIENCE
        self._open = [question for question in self._open if question.asked > late]

    def ask(self, texts: Iterable[Content]) -> tuple[Content, ...]:
        """The next texts to ask for; none while an answer is awaited, or when all are known."""
        if any(question.key == self.key for question in self._open):
            return ()
        known = self._pieces.get(self.key, {})
        batch: list[Content] = []
        characters = 0
        for text in dict.fromkeys(texts):
            if text in known or (self.key, text) in self._refused:
                continue
            length = len(text) if isinstance(text, str) else sum(len(content) for _, content in text)
            if batch and (len(batch) >= MOST_TEXTS or characters + length > MOST_CHARACTERS):
                break
            batch.append(text)
            characters += length
        if batch:
            self._open.append(_Question(self.key, set(batch), self._clock()))
        return tuple(batch)

    def take(self, key: Hashable, pieces: Mapping[Content, tuple[str, ...]]) -> None:
        """Take a part of an answer, for what it was asked by; an empty one ends that."""
        for question in [question for question in self._open if question.key == key]:
            if not pieces:
                self._refused.update((key, text) for text in question.texts)
            question.texts -= pieces.keys()
            if not pieces or not question.texts:
                self._open.remove(question)
        self._pieces.setdefault(key, {}).update(pieces)
