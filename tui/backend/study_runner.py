"""Studies of a saved session, each in a process of its own that ends when it is no longer wanted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.worker.client import child_environment
from srm_explorer.tui.backend.background import Background

StudyAnswer: TypeAlias = "dict[str, Any] | ExplorerError"
"""What a study found, or what a user should know of its failure."""

PROGRAM = (sys.executable, "-P", "-m", "srm_explorer.engine.launch.study")


class StudyRunner:
    """Runs studies beside the screen, of each kind the newest alone.

    Args:
        background: runs them, and says in which thread answers are taken.
        program: is given the study's name, the session's path and the arguments as JSON; it writes what was found as
            JSON, or ends with 1 and a line of what, where and remedy on standard error.
    """

    def __init__(self, background: Background, program: Sequence[str] = PROGRAM) -> None:
        self._background = background
        self._program = tuple(program)

    def run(
        self, name: str, session: Path, arguments: Mapping[str, Any], then: Callable[[StudyAnswer], object]
    ) -> None:
        """Begin a study of a saved session; one of the same name is ended, and nothing comes of it, not even `then`."""
        self._background.run_process(
            [*self._program, name, str(paths.absolute(session)), json.dumps(arguments)],
            _read,
            then,
            key=_key(name),
            name="the study",
            environment=child_environment(),
        )

    def cancel(self, name: str) -> None:
        self._background.cancel(_key(name))


def _key(name: str) -> Hashable:
    return "study", name


def _read(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    status = done.returncode
    last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
    if status == 0:
        findings = _parsed(done.stdout.decode("utf-8", "replace"))
        if isinstance(findings, dict):
            return cast("dict[str, Any]", findings)
        last = "its findings cannot be read"
    elif status == 1:
        parts = _parsed(last)
        if isinstance(parts, list) and [type(part) for part in cast("list[object]", parts)] == [str] * 3:
            what, where, remedy = cast("list[str]", parts)
            raise ExplorerError(what, where=where, remedy=remedy)
    raise ExplorerError(f"the study failed: {last or f'it ended with {status}'}", remedy="run `srm-explorer doctor`")


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
