"""A run that is killed at any instant goes on by the same command, to the same result."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.waiting import until

from .conftest import RUNS, assert_same_results, environment

if TYPE_CHECKING:
    from .conftest import Bench

pytestmark = pytest.mark.slow


def test_killed_between_any_two_states_of_the_disk(bench: Bench) -> None:
    short = ("--set", "generation.tokens=4")
    (whole,) = bench.drive(bench.job("whole", *short))
    assert whole.status == 0, whole.stderr
    undisturbed = bench.session("whole")
    assert len(undisturbed.layout["batches"]) == 3
    jobs = [bench.job("begun", *short, kill_begun=True), bench.job("begun", *short)]
    instants = [2, 7, 13, 16, 18, 20, 22, 24, 26]
    for instant in instants:
        jobs += [bench.job(f"at-{instant}", *short, kill_at=instant), bench.job(f"at-{instant}", *short)]
    done = bench.drive(*jobs)
    names = ["begun", *(f"at-{instant}" for instant in instants)]
    told: list[str] = []
    for place, name in enumerate(names):
        killed, again = done[2 * place : 2 * place + 2]
        if killed.status == 0:
            continue  # This instant lies after the end.
        assert killed.status == -signal.SIGKILL, killed.stderr
        assert again.status == 0, again.stderr
        assert_same_results(bench.session(name), undisturbed)
        assert not bench.run_folder(name).exists()
        told.append(again.stderr + again.stdout)
    assert any("resuming at-13: " in one for one in told), "it says that it goes on"
    assert any("from an earlier start" in one for one in told), "and how much was there"
    assert any("finished already" in one for one in told), "the last instants lie after the session was in place"


def test_the_program_itself_killed_in_a_batch_replays_bit_equal(bench: Bench) -> None:
    program = [sys.executable, "-c", "import sys; from srm_explorer.tui.cli import main; sys.exit(main())"]
    running = subprocess.Popen(
        [*program, *bench.command("a")], stderr=subprocess.PIPE, cwd=bench.folder, env=environment()
    )
    events = bench.run_folder("a") / "events.jsonl"
    until(
        lambda: running.poll() is not None or (events.exists() and '"event":"batch"' in events.read_text()), "a batch"
    )
    assert running.poll() is None, running.stderr and running.stderr.read()
    running.kill()
    running.communicate()
    replay = {"argv": ["replay", str(bench.session_path("a")), "--json"], "folder": str(bench.folder)}
    resumed, replayed = bench.drive(bench.job("a", "--json"), replay)
    summary = json.loads(resumed.stdout)
    assert (summary["how"], summary["runs"]) == ("finished", RUNS)
    assert 0 < summary["resumed"] < RUNS
    assert resumed.stderr == ""
    found = json.loads(replayed.stdout)
    assert (found["runs"], found["bit_equal"], found["changed"]) == (RUNS, True, [])
