"""Processes that begin in milliseconds: command lines and workers, forked from one that has imported the libraries.

They are processes like any other, with their own id, signals, environment and descriptors; what is saved is the import.
Where the import itself, the interpreter or the installed program is the point, `subprocess` is the way.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from tests.waiting import PATIENCE

LINE = "srm_explorer.tui.cli:main"
WORKER = "srm_explorer.engine.worker.__main__:main"
DRIVER = "tests.e2e.driver:run_all"


class WarmServer:
    """The process that forks; started when it is first needed, ended with this one."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="srm-warm-")
        self.socket = str(Path(self._folder) / "s")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": self._folder}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_server.py")), self.socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self.started: list[WarmProcess] = []

    def workers(self, temporary: str) -> set[int]:
        """The living workers that have this folder for temporary files."""
        return {
            one.pid
            for one in self.started
            if one.target == WORKER and one.env.get("TMPDIR") == temporary and one.poll() is None
        }

    def close(self) -> None:
        for one in self.started:
            one.kill()
        self._process.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)


class WarmProcess:
    """A forked process, with what the tests use of `subprocess.Popen`."""

    def __init__(
        self,
        server: WarmServer,
        target: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | Path,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        text: bool = False,
        start_new_session: bool = False,
    ) -> None:
        self.target, self.args, self.env = target, [target, *argv], dict(env)
        self.returncode: int | None = None
        self._text = text
        theirs: list[int] = []
        mine: list[int | None] = []
        for number, how in enumerate((stdin, stdout, stderr)):
            if how == subprocess.PIPE:
                read, write = os.pipe()
                theirs.append(read if number == 0 else write)
                mine.append(write if number == 0 else read)
            else:
                opened = os.open(os.devnull, os.O_RDWR) if how == subprocess.DEVNULL else None
                file = number if how is None else how if isinstance(how, int) else how.fileno()
                theirs.append(os.dup(file) if opened is None else opened)
                mine.append(None)
        modes = ("w", "r", "r") if text else ("wb", "rb", "rb")
        self.stdin, self.stdout, self.stderr = (
            None if end is None else os.fdopen(end, mode) for end, mode in zip(mine, modes, strict=True)
        )
        request = {"target": target, "argv": list(argv), "env": self.env, "cwd": str(cwd), "session": start_new_session}
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(server.socket)
        socket.send_fds(self._connection, [f"{json.dumps(request)}\n".encode()], theirs)
        for end in theirs:
            os.close(end)
        self._told = self._connection.makefile("rb")
        self.pid = int(self._told.readline())
        server.started.append(self)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._told.readline()))
        return self.returncode

    def wait(self, timeout: float = PATIENCE) -> int:
        if self.returncode is None:
            assert select.select([self._connection], [], [], timeout)[0], f"{self.args} does not end"
            self.poll()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(9)

    def terminate(self) -> None:
        self.send_signal(15)

    def communicate(self, text: str | None = None, timeout: float = PATIENCE) -> tuple[Any, Any]:
        """Write and close standard input, read the others to their ends, wait; what was read."""
        if self.stdin is not None:
            self.stdin.write(text or "")
            self.stdin.close()
        pipes = [pipe for pipe in (self.stdout, self.stderr) if pipe is not None]
        read: dict[int, bytes] = {pipe.fileno(): b"" for pipe in pipes}
        waiting = set(read)
        while waiting:
            ready, _, _ = select.select(waiting, [], [], timeout)
            assert ready, f"{self.args} does not end: {read}"
            for number in ready:
                more = os.read(number, 65536)
                read[number] += more
                if not more:
                    waiting.discard(number)
        self.wait(timeout)
        out, err = (
            None if pipe is None else read[pipe.fileno()].decode() if self._text else read[pipe.fileno()]
            for pipe in (self.stdout, self.stderr)
        )
        for pipe in pipes:
            pipe.close()
        return out, err


def starting_warm(server: WarmServer) -> SimpleNamespace:
    """What stands for the module `subprocess` where a worker is started."""

    def popen(command: Sequence[str], **how: Any) -> WarmProcess:
        assert list(command[1:4]) == ["-P", "-m", "srm_explorer.engine.worker"]
        return WarmProcess(server, WORKER, command[4:], **how)

    return SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL)
