"""How long until the first painted frame: the explorer beside a bare app with a header and a footer, taking turns.

    python benchmarks/first_frame.py [--times N] [--most RATIO]

Each start is a new process in a pseudo-terminal of 160x48; the clock runs from its start until a whole frame has
arrived at the terminal, a byte a cell at least, and with it the panes of the explorer. The median of each and their
ratio are printed; `--most` makes a larger ratio a failure.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

COLUMNS, ROWS = 160, 48
BARE = """
from textual.app import App
from textual.widgets import Footer, Header

class Bare(App):
    TITLE = "a bare app"
    BINDINGS = [("q", "quit", "Quit")]

    def compose(self):
        yield Header()
        yield Footer()

Bare().run()
"""
EXPLORER = "import sys; from srm_explorer.tui.cli import main; sys.exit(main([]))"
WAIT = 60.0


def seconds_to_frame(code: str, shows: str, environment: dict[str, str], folder: str) -> float:
    """Start Python on a pseudo-terminal and return the seconds until it painted every cell, a text among them."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    try:
        while len(seen) < COLUMNS * ROWS or shows.encode() not in seen:
            if time.perf_counter() - began > WAIT or not select.select([ours], [], [], WAIT)[0]:
                raise SystemExit(f"no frame within {WAIT:.0f} s; the last output was {seen[-300:]!r}")
            seen += os.read(ours, 65536)
        return time.perf_counter() - began
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)


def measured(times: int) -> tuple[list[float], list[float]]:
    """Seconds of the bare app and of the explorer, in turns, after one start each that warms the disk's cache."""
    bare: list[float] = []
    explorer: list[float] = []
    with tempfile.TemporaryDirectory() as home:
        folders = {f"XDG_{kind}_HOME": f"{home}/{kind}" for kind in ("DATA", "STATE", "CONFIG", "CACHE")}
        root = str(Path(__file__).resolve().parents[1])
        environment = {**os.environ, **folders, "TERM": "xterm-256color", "PYTHONPATH": root}
        # As installed packages have theirs, the explorer has its bytecode; the first start writes it.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(times + 1):
            one = seconds_to_frame(BARE, "", environment, home)
            other = seconds_to_frame(EXPLORER, "3 Results", environment, home)
            if turn:
                bare.append(one)
                explorer.append(other)
    return bare, explorer


def main() -> int:
    """Measure and print; the exit status is 1 where the ratio is larger than asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9, help="starts of each")
    parser.add_argument("--most", type=float, default=None, help="largest ratio that is no failure")
    asked = parser.parse_args()
    bare, explorer = (statistics.median(seconds) for seconds in measured(max(1, asked.times)))
    ratio = explorer / bare
    print(f"bare app {bare:.3f} s, explorer {explorer:.3f} s, ratio {ratio:.2f}")
    return int(asked.most is not None and ratio > asked.most)


if __name__ == "__main__":
    sys.exit(main())
