"""The installed command in a pseudo-terminal: keys go in, a screen of characters comes out."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pexpect
import pyte

from tests.waiting import PATIENCE

COMMAND = str(Path(sys.executable).with_name("srm-explorer"))
KEYS = {
    "enter": "\r",
    "esc": "\x1b",
    "tab": "\t",
    "left": "\x1b[D",
    "right": "\x1b[C",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "shift+left": "\x1b[1;2D",
    "shift+right": "\x1b[1;2C",
    "backspace": "\x7f",
    "ctrl+a": "\x01",
    "ctrl+u": "\x15",
    "ctrl+z": "\x1a",
}


class Terminal:
    """A program in a terminal of its own; always close it, or use it as a context.

    Args:
        argv: program and arguments; `COMMAND` is the installed program.
        env: its whole environment.
        cwd: its working folder.
        size: columns and rows.
    """

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, size: tuple[int, int] = (160, 48)
    ) -> None:
        columns, rows = size
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.written = 0
        # Reading the screen takes a hundredth of a second: what was read holds until more is written.
        self._lines, self._read_at = [""] * rows, 0
        environment = {"TERM": "xterm-256color", "COLORTERM": "truecolor", **env}
        environment.pop("TMUX", None)
        self._child: Any = pexpect.spawn(
            argv[0], list(argv[1:]), dimensions=(rows, columns), env=environment, cwd=str(cwd), timeout=None
        )
        self._child.delaybeforesend = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reader.join(10)
        self._child.close(force=True)

    @property
    def pid(self) -> int:
        return int(self._child.pid)

    @property
    def lines(self) -> list[str]:
        """The rows of the screen."""
        with self._lock:
            if self._read_at != self.written:
                self._lines = [line.rstrip() for line in self._screen.display]
                self._read_at = self.written
            return [*self._lines]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def foreground_group(self) -> int:
        """The processes that have the terminal."""
        return os.tcgetpgrp(self._child.child_fd)

    @property
    def waits_for_lines(self) -> bool:
        """Whether keys are read by whole lines, as programs without a screen read them."""
        return bool(termios.tcgetattr(self._child.child_fd)[3] & termios.ICANON)

    def press(self, *keys: str) -> None:
        """Press keys by name, or type a text."""
        for key in keys:
            self._child.send(KEYS.get(key, key))
            time.sleep(0.02)

    def send_bytes(self, data: bytes) -> None:
        """Send what is no text."""
        os.write(self._child.child_fd, data)

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Wait until the screen shows what a regular expression says; AssertionError shows the screen."""
        until = time.monotonic() + seconds
        while True:
            text = self.text
            if found := re.search(pattern, text):
                return found
            assert time.monotonic() < until, f"{pattern!r} did not appear in {seconds} s:\n{text}"
            assert self.is_alive() or self._reader.is_alive(), f"the program ended before {pattern!r}:\n{text}"
            time.sleep(0.02)

    def wait_until_gone(self, pattern: str, seconds: float = PATIENCE) -> None:
        """Wait until the screen no longer shows it."""
        until = time.monotonic() + seconds
        while re.search(pattern, self.text):
            assert time.monotonic() < until, f"{pattern!r} stayed:\n{self.text}"
            time.sleep(0.02)

    def resize(self, columns: int, rows: int) -> None:
        with self._lock:
            self._screen.resize(rows, columns)
            self._read_at = -1
        self._child.setwinsize(rows, columns)

    def is_alive(self) -> bool:
        while True:
            try:
                return bool(self._child.isalive())
            except pexpect.ExceptionPexpect:
                # The thread that reads has just heard of its end, and is about to write it down.
                time.sleep(0.01)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End the program, and what it started in its terminal."""
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                session = status.read_text().rpartition(")")[2].split()[3]
                if int(session) == self.pid:
                    os.kill(int(status.parent.name), signal.SIGKILL)
        if self.is_alive():
            self._child.kill(signal.SIGKILL)

    def wait_for_end(self, seconds: float = PATIENCE) -> int:
        """Wait until the program ended; its exit status, or minus the signal that ended it."""
        until = time.monotonic() + seconds
        while self.is_alive():
            assert time.monotonic() < until, f"it did not end in {seconds} s:\n{self.text}"
            time.sleep(0.02)
        self._reader.join(PATIENCE)
        status = self._child.exitstatus
        return int(status) if status is not None else -int(self._child.signalstatus)

    def left_in_order(self) -> bool:
        """Whether the terminal is as the program got it: the main screen, a cursor, no reports, plain keys."""
        with self._lock:
            modes = set(self._screen.mode)
        reports = {mode << 5 for mode in (1000, 1002, 1003, 1004, 1006, 1015, 1016, 2048)}
        is_plain = pyte.modes.DECTCEM in modes and not modes & reports and not self._keyboards
        return is_plain and self._alternate is False

    _alternate = False
    _keyboards = 0

    def _read(self) -> None:
        while True:
            try:
                data = self._child.read_nonblocking(65536, timeout=None)
            except (pexpect.EOF, OSError, ValueError):
                return
            with self._lock:
                self.written += len(data)
                # pyte knows one screen only: which of the two is shown is read from the codes themselves.
                for code in re.findall(rb"\x1b\[\?(?:1049|47|1047)([hl])", data):
                    self._alternate = code == b"h"
                # Programs put their protocol of keys on a stack, and take it off.
                for code in re.findall(rb"\x1b\[([<>])[0-9]*u", data):
                    self._keyboards += 1 if code == b">" else -1
                self._stream.feed(data)
