"""A run that is asked to stop saves what is finished and says so; while nothing is there, it just ends."""

from __future__ import annotations

import itertools
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import PATIENCE, until

from .conftest import RUNS, assert_same_results, environment

if TYPE_CHECKING:
    from .conftest import Bench

pytestmark = pytest.mark.slow
PROGRAM = [sys.executable, "-c", "import sys; from srm_explorer.tui.cli import main; sys.exit(main())"]


def test_every_way_of_asking_saves_what_is_finished_and_the_same_command_goes_on(bench: Bench) -> None:
    asked: dict[str, dict[str, Any]] = {
        "once": {"in_second": ["SIGINT"]},
        "twice": {"in_second": ["SIGINT", "SIGINT"]},
        "terminated": {"in_second": ["SIGTERM"]},
        "warned": {"in_second": ["SIGUSR1", "SIGUSR1"]},
        "hung-up": {"in_second": ["SIGHUP"]},
        "under-nohup": {"in_second": ["SIGHUP"], "ignore": ["SIGHUP"]},
        "in-the-background": {"in_second": ["SIGINT"], "ignore": ["SIGINT"]},
        "many": {"in_second": ["SIGINT"] * 21},
    }
    short = ("--set", "generation.tokens=8")
    jobs = [bench.job("whole", *short)]
    for name, how in asked.items():
        more = ["--json"] if name in ("once", "many") else []
        jobs += [bench.job(name, *short, *more, **how), bench.job(name, *short)]
    whole, *done = bench.drive(*jobs)
    assert whole.status == 0, whole.stderr
    undisturbed = bench.session("whole")
    batch, two_batches = itertools.islice(itertools.accumulate(map(len, undisturbed.layout["batches"])), 2)
    for place, name in enumerate(asked):
        first, again = done[2 * place : 2 * place + 2]
        assert "Traceback" not in first.stderr, first.stderr
        assert again.status == 0, again.stderr
        if name in ("under-nohup", "in-the-background"):
            assert (first.status, again.status) == (0, 0), "what it was started to ignore, it ignores"
            assert "finished already" in again.stdout
        else:
            assert first.status == 130, (name, first.stderr)
            assert "from an earlier start" in again.stdout
        assert_same_results(bench.session(name), undisturbed)
    for name in ("once", "many"):
        summary = json.loads(done[2 * list(asked).index(name)].stdout)
        assert (summary["how"], summary["state"], summary["planned"]) == ("interrupted", "interrupted", RUNS)
        assert summary["runs"] in (batch, two_batches)
        assert summary["session"] == str(bench.session_path(name))
    warned = done[2 * list(asked).index("warned")]
    assert "stopping" not in warned.stderr, "its batch is finished"
    twice = done[2 * list(asked).index("twice")]
    assert "finishing the batch" in twice.stderr
    assert f"{batch} of {RUNS} runs are saved" in twice.stdout, "the batch in flight is dropped"


def test_an_interruption_before_the_first_batch_is_one_line_at_most(bench: Bench) -> None:
    places = [("loading", "SIGINT"), ("testing", "SIGINT"), ("loading", "SIGTERM"), ("testing", "SIGHUP")]
    plain = [bench.job(f"{stage}-{name}", at_stage=[stage, name]) for stage, name in places]
    as_json = [bench.job(f"{stage}-{name}", "--json", at_stage=[stage, name]) for stage, name in places]
    early = bench.job("early", at_begin="SIGINT")
    *done, soon = bench.drive(*plain, *as_json, early)
    assert soon.status == 130
    assert len((soon.stdout + soon.stderr).splitlines()) <= 1
    for place, one in enumerate(done):
        assert one.status == 130, one
        assert one.stderr == ""
        (line,) = one.stdout.splitlines()
        if place >= len(plain):
            summary = json.loads(line)
            assert (summary["how"], summary["state"], summary["runs"]) == ("interrupted", None, 0)
    assert not list((bench.folder / "out").glob("*"))


def test_an_interruption_while_the_libraries_are_imported(bench: Bench) -> None:
    running = subprocess.Popen(
        [*PROGRAM, *bench.command("a")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=bench.folder,
        env=environment(),
    )
    maps = Path(f"/proc/{running.pid}/maps")
    if not maps.exists():
        pytest.skip("what a process has loaded is seen in /proc")
    until(lambda: running.poll() is not None or "libtorch" in maps.read_text(), "the library")
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert len((out + err).splitlines()) <= 1


def test_a_terminal_that_goes_away_leaves_an_interrupted_session(bench: Bench) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(bench.folder)
        os.execvpe(PROGRAM[0], [*PROGRAM, *bench.command("a")], {**environment(), "TERM": "xterm"})
    os.set_blocking(terminal, False)
    events = bench.run_folder("a") / "events.jsonl"
    shown = b""
    deadline = time.monotonic() + PATIENCE
    while not (events.exists() and '"event":"batch"' in events.read_text()):
        assert time.monotonic() < deadline, shown
        try:
            shown += os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.01)
    assert b"runs" in shown, "a bar tells how far it is"
    os.close(terminal)
    os.waitpid(pid, 0)
    session = bench.session("a")
    assert session.state == "interrupted"
    assert len(session.runs) in itertools.islice(itertools.accumulate(map(len, session.layout["batches"])), 2)
