"""Prompt files: read, copied and added to in threads, which answer by messages, and edited in the user's editor."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported
from textual.message import Message

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.prompts import Prompt, add_prompt
from srm_explorer.tui.prompts.catalogue import ListedSet, copy_of_shipped, is_large, list_sets, read_set, stamp_of


class PromptFiles:
    """The sets that are listed, and the threads that read them.

    Args:
        run: runs a function in a thread.
        post: takes a message, from any thread.
    """

    @dataclass
    class Listed(Message, bubble=False):
        """The sets there are, those read before as they were read."""

        generation: int
        sets: dict[str, ListedSet]
        faults: tuple[ExplorerError, ...]

    @dataclass
    class Read(Message, bubble=False):
        """A set's file was read; `added` is the prompt that was just written into it."""

        listed: ListedSet
        added: str | None = None

    @dataclass
    class Copied(Message, bubble=False):
        """A set that ships was copied; `then` goes on with the copy."""

        old: str
        copy: ListedSet
        then: Callable[[ListedSet], None]

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

    def look(self, names: Iterable[str], base: Path, wanted: Collection[str] = ()) -> None:
        """List the sets anew and read those that are new, have changed, or are large and wanted."""
        self._generation += 1
        generation, known, names = self._generation, dict(self.sets), tuple(names)
        self._run(lambda: self._look(generation, names, base, known, frozenset(wanted)))

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

    def add(self, listed: ListedSet, text: str, like: Prompt | None) -> None:
        """Write a prompt into a set's file."""

        def work() -> None:
            if listed.path is None:
                return
            try:
                add_prompt(listed.path, text, like)
                self._post(self.Read(read_set(listed), text))
            except ExplorerError as error:
                self._post(self.Failed(error))

        self._run(work)

    def _look(
        self,
        generation: int,
        names: Collection[str],
        base: Path,
        known: Mapping[str, ListedSet],
        wanted: Collection[str],
    ) -> None:
        unread, faults = list_sets((*names, *known), base)
        sets = {listed.name: listed for listed in unread}
        stale: list[ListedSet] = []
        for listed in unread:
            if listed.path is None:
                continue
            before = known.get(listed.name)
            if before is not None and before.path == listed.path and before.is_read:
                # A changed set stays on the screen as it was until it has been read again.
                sets[listed.name] = before
                if before.stamp == stamp_of(listed.path):
                    continue
            stale.append(listed)
        self._post(self.Listed(generation, sets, tuple(faults)))
        first = {*names, *wanted}
        for listed in sorted(stale, key=lambda listed: listed.name not in first):
            if generation != self._generation:
                return
            if listed.name in first or not is_large(listed):
                self._post(self.Read(read_set(listed)))


_TAKE_A_LINE = ("vi", "vim", "nvim", "view", "nano", "pico", "emacs", "emacsclient", "micro", "kak", "joe", "mg")
_FALLBACKS = ("nano", "vi")


def editor_command(path: Path, line: int, environment: Mapping[str, str]) -> list[str]:
    """The command that edits a file: of $VISUAL, else of $EDITOR, else nano or vi.

    Args:
        path: the file.
        line: where to begin, from 1, for editors known to take it.
        environment: with the variables, and PATH.

    Raises:
        ExplorerError: the editor that is named, or any, is not there.
    """
    search_path = environment.get("PATH")
    for variable in ("VISUAL", "EDITOR"):
        named = environment.get(variable, "").strip()
        if not named:
            continue
        try:
            words = shlex.split(named)
        except ValueError:
            words = [named]
        if not words or shutil.which(words[0], path=search_path) is None:
            raise ExplorerError(
                f"there is no editor {named!r}", where=f"${variable}", remedy="set it to one that is installed"
            )
        return [*words, *_arguments(words[0], path, line)]
    editor = next((name for name in _FALLBACKS if shutil.which(name, path=search_path)), None)
    if editor is None:
        raise ExplorerError("no editor is found", remedy="set $EDITOR to one that is installed")
    return [editor, *_arguments(editor, path, line)]


def edit_file(app: App[object], path: Path, line: int) -> None:
    """Let the user edit a file in their editor while the app is suspended.

    Raises:
        ExplorerError: no editor, one that fails, or a terminal that cannot be handed over.
    """
    command = editor_command(path, line, os.environ)
    status: int | None = None
    try:
        with app.suspend(), _interrupts_ignored():
            try:
                status = subprocess.run(command, check=False).returncode
            except OSError as error:
                raise ExplorerError(
                    f"{command[0]} cannot be started ({(error.strerror or str(error)).lower()})", remedy="set $EDITOR"
                ) from None
    except SuspendNotSupported:
        raise ExplorerError(
            "this terminal cannot be handed to an editor", remedy=f"edit {path} elsewhere; it is read again"
        ) from None
    if status:
        how = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
        raise ExplorerError(f"{Path(command[0]).name} {how}", remedy="the file was read again as it is")


def _arguments(editor: str, path: Path, line: int) -> list[str]:
    return [f"+{max(1, line)}", str(path)] if Path(editor).name in _TAKE_A_LINE else [str(path)]


@contextmanager
def _interrupts_ignored() -> Generator[None]:
    """Leave ctrl+c to the editor; a handler of ours is not inherited by it, unlike an ignored signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
