"""The user's editor: which it is, and a file edited in it while the screen is suspended."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from srm_explorer.engine.errors import ExplorerError

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


def edit_file(app: App[Any], path: Path, line: int = 1) -> str:
    """Let the user edit a file in their editor while the app is suspended; how that failed, empty where it did not.

    A file may have been written before its editor failed.

    Raises:
        ExplorerError: no editor, one that cannot be started, or a terminal that cannot be handed over.
    """
    if app.is_web:
        raise ExplorerError("a page has no editor", remedy=f"edit {path} elsewhere, and open it again")
    command = editor_command(path, line, os.environ)
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
    if not status:
        return ""
    how = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
    return f"{Path(command[0]).name} {how}"


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
