"""The screen in a pseudo-terminal of 160x48: until its first frame, and what a step of the spotlight sends."""

from __future__ import annotations

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import ROOT, Measured, Options

from srm_explorer.engine.experiment import conditions, read_experiment
from srm_explorer.engine.prompts import load_prompt_set
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session, save_session

COLUMNS, ROWS = 160, 48
QUIET = 0.25
"""Seconds without output after which a step is over; the last byte before them ends it."""
WAIT = 60.0
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
OPENED = "import sys; from srm_explorer.tui.cli import main; sys.exit(main(['open', sys.argv[1]]))"
CHART = """
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


def first_frame(options: Options) -> None:
    """Until every cell is painted, beside a bare app with a header and a footer, in turns."""
    bare, explorer = measured(3 if options.quick else 7)
    ratios = [one / other for one, other in zip(explorer, bare, strict=True)]
    middle = statistics.median
    options.report.add(
        Measured(
            "screen: first frame, against a bare app",
            middle(explorer),
            middle(bare),
            middle(explorer) / middle(bare),
            (min(ratios), max(ratios)),
        )
    )


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


def steps_of(code: str, path: str, shown: str, first: str, steps: int) -> dict[str, list[Step]]:
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


def spotlight_step(options: Options) -> None:
    """The key that turns the spotlight by a degree, with 550 swept runs in view, beside a chart redrawn in full."""
    steps = 12 if options.quick else 40
    path = options.scratch / "benchmark.json"
    save_session(protocol_session(), path)
    bare = steps_of(CHART, str(path), "spotlight 1 degrees", "", steps)
    # `t` goes on to the threshold .5, at which more than a tenth of the runs is lit at every angle.
    ours = steps_of(OPENED, str(path), "lit", "vvt", steps)
    for state in ("idle", "busy"):
        name = "screen: bytes of a step, against a full redraw"
        if state == "idle":
            sent = [[step.sent for step in found[state]] for found in (ours, bare)]
            middle = [statistics.median(one) for one in sent]
            spread = (min(sent[0]) / middle[1], max(sent[0]) / middle[1])
            options.report.add(
                Measured(name, middle[0], middle[1], middle[0] / middle[1], spread, f"at most {max(sent[0]):,}")
            )
        times = [sorted(1000 * step.seconds for step in found[state]) for found in (ours, bare)]
        late = [one[round(0.95 * (len(one) - 1))] for one in times]
        middle = [statistics.median(one) for one in times]
        name = f"screen: a step on {'an idle' if state == 'idle' else 'a busy'} machine, against a full redraw"
        spread = (times[0][0] / middle[1], times[0][-1] / middle[1])
        options.report.add(
            Measured(name, middle[0], middle[1], middle[0] / middle[1], spread, f"95 % within {late[0]:.0f} ms")
        )
