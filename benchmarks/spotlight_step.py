"""What a step of the spotlight costs: bytes sent, and time from the key to the last byte painted.

    python benchmarks/spotlight_step.py [--steps N] [--most-bytes N] [--most-ms MS]

The explorer, in a pseudo-terminal of 160x48, shows the compass of 550 swept runs and 50 baseline ones, with readout
and table; the reference is a bare app that draws a chart of the same size in full at each key. Both are measured on an
idle machine and while one busy process per core competes with them.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srm_explorer.engine.experiment import conditions, read_experiment
from srm_explorer.engine.prompts import load_prompt_set
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session, save_session

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, ROWS = 160, 48
QUIET = 0.25
"""Seconds without output after which a step is over; the last byte before them ends it."""
WAIT = 60.0
EXPLORER = "import sys; from srm_explorer.tui.cli import main; sys.exit(main(['open', sys.argv[1]]))"
BARE = """
from pathlib import Path
import sys
from rich.text import Text
from textual.app import App
from textual.widgets import Static
from srm_explorer.engine.figures.compass import compass_from_session
from srm_explorer.engine.figures.groups import swept_groups
from srm_explorer.engine.session import load_session
from srm_explorer.tui.charts.polar import paint_compass

session = load_session(Path(sys.argv[1]))
plane = session.planes[0]
figure = compass_from_session(session, plane, swept_groups(session, plane))

class Bare(App):
    BINDINGS = [("l", "turn", "Turn")]
    turns = 0

    def compose(self):
        yield Static()

    def on_mount(self):
        self.action_turn()

    def action_turn(self):
        self.turns += 1
        chart = Text.from_ansi(paint_compass(figure, 114, 33).ansi())
        chart.append(f"\\nspotlight {self.turns} degrees")
        self.query_one(Static).update(chart)

Bare().run()
"""


@dataclass(frozen=True)
class Step:
    """One key: bytes it made the program send, seconds until the last of them."""

    sent: int
    seconds: float


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, code: str, argument: str, home: str) -> None:
        folders = {f"XDG_{kind}_HOME": f"{home}/{kind}" for kind in ("DATA", "STATE", "CONFIG", "CACHE")}
        root = str(ROOT)
        environment = {**os.environ, **folders, "TERM": "xterm-256color", "PYTHONPATH": root}
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, argument],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=home,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)

    def until(self, shown: str) -> None:
        """Read until the output holds a text, then until it is quiet."""
        seen, began = b"", time.perf_counter()
        while shown.encode() not in seen:
            if time.perf_counter() - began > WAIT:
                raise SystemExit(f"'{shown}' did not appear within {WAIT:.0f} s; the last was {seen[-300:]!r}")
            if select.select([self._ours], [], [], 1.0)[0]:
                seen += os.read(self._ours, 65536)
        self.settle(1.0)

    def settle(self, quiet: float) -> None:
        """Read until nothing comes any more."""
        while select.select([self._ours], [], [], quiet)[0]:
            os.read(self._ours, 65536)

    def press(self, key: str) -> Step:
        """Press a key and read what it makes the program send."""
        sent, began = 0, time.perf_counter()
        last = began
        os.write(self._ours, key.encode())
        while select.select([self._ours], [], [], QUIET)[0]:
            sent += len(os.read(self._ours, 65536))
            last = time.perf_counter()
        return Step(sent, last - began)

    def close(self) -> None:
        """End the program."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._ours)


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """Keep so many cores busy while the block runs."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def protocol_session(seed: int = 7) -> Session:
    """Fifty prompts, eleven values and the baseline of the protocol, their vectors spread over the plane."""
    spec, _ = read_experiment("protocol")
    listed = conditions(spec)
    texts = [
        prompt.text
        for name in spec.prompts.sets
        for prompt in load_prompt_set(name, folders=[ROOT / "prompts"], base=ROOT).prompts
    ]
    rng = np.random.default_rng(seed)
    grid = [(prompt, condition.index) for prompt in range(len(texts)) for condition in listed]
    angle, radius = rng.uniform(0, 2 * np.pi, len(grid)), np.sqrt(rng.uniform(0, 1, len(grid)))
    xy = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    plane = spec.planes[0]
    return Session(
        name="benchmark",
        state="finished",
        spec=spec,
        conditions=listed,
        resolved=(),
        prompts=tuple(PromptRecord("all", text, {}, (5, at), 0, f"{at:064x}") for at, text in enumerate(texts)),
        runs=tuple(
            RunRecord(
                at, prompt, condition, 0, (at, at + 1), f" and then {at} went on to say so.", 3, "length", 0.1, {}
            )
            for at, (prompt, condition) in enumerate(grid)
        ),
        planes=(PlaneRecord.of(spec.plane_site(plane), plane.a, plane.b, xy, np.ones(len(grid))),),
    )


def told(name: str, steps: Sequence[Step]) -> str:
    """Medians, 95th percentiles and largest of some steps on one line."""
    sent = sorted(step.sent for step in steps)
    ms = sorted(1000 * step.seconds for step in steps)
    at = round(0.95 * (len(steps) - 1))
    return (
        f"{name:32} bytes: median {statistics.median(sent):7,.0f}  p95 {sent[at]:7,}  most {sent[-1]:7,}"
        f"   ms: median {statistics.median(ms):6.1f}  p95 {ms[at]:6.1f}  most {ms[-1]:6.1f}"
    )


def measured(code: str, path: str, shown: str, first: str, steps: int) -> dict[str, list[Step]]:
    """Steps on the idle machine, then while all cores are busy."""
    found: dict[str, list[Step]] = {}
    with tempfile.TemporaryDirectory() as home:
        terminal = Terminal(code, path, home)
        try:
            terminal.until(shown)
            for key in first:
                terminal.press(key)
                terminal.settle(1.5)
            for _ in range(5):
                terminal.press("l")
            found["idle"] = [terminal.press("l") for _ in range(steps)]
            with busy(os.cpu_count() or 1):
                time.sleep(0.5)
                found["busy"] = [terminal.press("l") for _ in range(steps)]
        finally:
            terminal.close()
    return found


def main() -> int:
    """Measure and print; the exit status is 1 where a limit that was asked for is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=90, help="steps in each state")
    parser.add_argument("--most-bytes", type=int, default=None, help="most bytes of a step that are no failure")
    parser.add_argument("--most-ms", type=float, default=None, help="largest 95th percentile that is no failure")
    asked = parser.parse_args()
    steps = max(20, asked.steps)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.json"
        save_session(protocol_session(), path)
        bare = measured(BARE, str(path), "spotlight 1 degrees", "", steps)
        for state, found in bare.items():
            print(told(f"bare app, full redraw, {state}", found))
        # `t` goes on to the threshold .5, at which more than a tenth of the runs is lit at every angle.
        ours = measured(EXPLORER, str(path), "lit", "vvt", steps)
        for state, found in ours.items():
            print(told(f"explorer, compass, {state}", found))
            p95 = sorted(step.seconds for step in found)[round(0.95 * (len(found) - 1))]
            failed |= asked.most_bytes is not None and max(step.sent for step in found) > asked.most_bytes
            failed |= asked.most_ms is not None and 1000 * p95 > asked.most_ms
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
