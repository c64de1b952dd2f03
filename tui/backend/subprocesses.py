"""Studies of a saved session, each in a process of its own that ends when it is no longer wanted."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.worker.client import child_environment

if TYPE_CHECKING:
    from srm_explorer.tui.results.bands import BandKey


Told: TypeAlias = "dict[str, Any] | ExplorerError"
"""What a study found, or what a user should know of its failure."""

PROGRAM = (sys.executable, "-P", "-m", "srm_explorer.engine.analyses")


class StudyRunner:
    """Runs studies beside the screen, of each kind the newest alone.

    Args:
        program: is given the study's name, the session's path and the arguments as JSON; it writes what was found as
            JSON, or ends with 1 and a line of what, where and remedy on standard error.
    """

    def __init__(self, program: Sequence[str] = PROGRAM) -> None:
        self._program = tuple(program)
        self._lock = threading.Lock()
        self._going: dict[str, _Going] = {}
        self._closed = False

    def run(self, name: str, session: Path, arguments: Mapping[str, Any], tell: Callable[[Told], None]) -> None:
        """Begin a study; one of the same name that is under way is ended and tells nothing any more.

        Args:
            name: of the study.
            session: a saved session.
            arguments: plain data, as JSON holds it.
            tell: is called in another thread, once, with what was found; never where the study is ended before.
        """
        command = [*self._program, name, str(session.absolute()), json.dumps(arguments)]
        going = _Going(command)
        with self._lock:
            if self._closed:
                return
            before = self._going.get(name)
            self._going[name] = going
        if before is not None:
            before.end()
        work = functools.partial(self._follow, name, going, tell)
        threading.Thread(target=work, name=f"study-{name}", daemon=True).start()

    def going(self, name: str) -> bool:
        """Whether a study of this name is under way."""
        with self._lock:
            return name in self._going

    def cancel(self, name: str) -> None:
        """End the study of this name that is under way; it tells nothing any more."""
        with self._lock:
            going = self._going.pop(name, None)
        if going is not None:
            going.end()

    def close(self) -> None:
        """End everything that is under way, and begin nothing any more."""
        with self._lock:
            self._closed = True
            all_going = list(self._going.values())
            self._going.clear()
        for going in all_going:
            going.end()

    def _follow(self, name: str, going: _Going, tell: Callable[[Told], None]) -> None:
        found = going.found()
        with self._lock:
            if self._going.get(name) is not going:
                return
            del self._going[name]
        tell(found)


class _Going:
    """One process, begun and ended from different threads."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def found(self) -> Told:
        """Run the process and read what it found."""
        try:
            process = self._begin()
        except OSError as error:
            return ExplorerError(f"the study did not start: {error.strerror}", remedy="run `srm-explorer doctor`")
        if process is None:
            return ExplorerError("the study was ended")
        out, said = process.communicate()
        return _read(process.returncode, out, said)

    def end(self) -> None:
        """Kill the process, or never begin it."""
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()

    def _begin(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._ended:
                return None
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env=child_environment(),
                start_new_session=True,
            )
            return self._process


def _read(status: int, out: bytes, said: bytes) -> Told:
    """What a process that ended had to say."""
    last = (said.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
    if status == 0:
        found = _plain(out.decode("utf-8", "replace"))
        if isinstance(found, dict):
            return cast("dict[str, Any]", found)
        last = "its findings cannot be read"
    elif status == 1:
        parts = _plain(last)
        if isinstance(parts, list) and [type(one) for one in cast("list[object]", parts)] == [str] * 3:
            what, where, remedy = cast("list[str]", parts)
            return ExplorerError(what, where=where, remedy=remedy)
    return ExplorerError(f"the study failed: {last or f'it ended with {status}'}", remedy="run `srm-explorer doctor`")


def _plain(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


STUDY = "bands"


class BandWatch:
    """Has bands computed, and ends the computing when others are wanted.

    Args:
        tell: is called in another thread with what was found.
        runner: of studies.
    """

    def __init__(self, tell: Callable[[BandKey, Told], None], runner: StudyRunner | None = None) -> None:
        self._tell = tell
        self._runner = runner or StudyRunner()
        self._wanted: BandKey | None = None

    def want(self, key: BandKey | None) -> None:
        """Compute some bands unless that is under way already; None ends what is."""
        if key == self._wanted:
            return
        self._wanted = key
        if key is None:
            self._runner.cancel(STUDY)
        else:
            self._runner.run(STUDY, key.path, key.arguments, functools.partial(self._tell, key))

    def close(self) -> None:
        """End what is under way."""
        self._runner.close()
