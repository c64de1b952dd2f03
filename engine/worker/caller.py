"""Where a command was typed, taken to another process: what a relative path or a bare name means depends on it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from os import chdir, environ
from pathlib import Path

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.worker.protocol import CallerContext

_VARIABLES = ("HOME", "SRM_EXPLORER_SESSIONS", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
"""Variables that say where things are."""


def current_context() -> CallerContext:
    """Return where this process stands.

    Raises:
        ExplorerError: its working folder is gone.
    """
    try:
        folder = str(Path.cwd())
    except FileNotFoundError:
        raise ExplorerError("the working folder is gone", remedy="start from another folder") from None
    return CallerContext(folder=folder, environment={name: environ[name] for name in _VARIABLES if name in environ})


@contextmanager
def in_context(context: CallerContext) -> Generator[None]:
    """Have relative paths and bare names mean what they mean where a command was typed.

    Raises:
        ExplorerError: its folder cannot be entered.
    """
    before = dict(environ)
    try:
        chdir(context.folder)
    except OSError as error:
        what = f"the folder cannot be entered: {(error.strerror or str(error)).lower()}"
        raise ExplorerError(what, where=context.folder, remedy="start from another folder") from None
    try:
        for name in _VARIABLES:
            environ.pop(name, None)
        environ.update({name: value for name, value in context.environment.items() if name in _VARIABLES})
        yield
    finally:
        for name in _VARIABLES:
            environ.pop(name, None)
            if name in before:
                environ[name] = before[name]
        # No folder stays in use because a worker lives.
        chdir("/")
