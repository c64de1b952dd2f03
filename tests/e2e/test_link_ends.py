"""Links and workers that end: what was asked for goes on, or is gone on with by a key."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from srm_explorer.engine.worker import client as client_module
from srm_explorer.engine.worker.client import Client
from srm_explorer.engine.worker.endpoint import here
from srm_explorer.tui.backend import run_follower, worker_access
from srm_explorer.tui.backend.events import Described, RunEnded, RunFailed, RunGrew, WorkerLost, WorkerSeen
from tests.waiting import PATIENCE, until

from .conftest import RUNS, assert_same_results, environment
from .link_screen import LONG, SHORT, Screen, end_the_worker, is_partial, worker_pid, workers

if TYPE_CHECKING:
    from srm_explorer.engine.session import Session

    from .conftest import Bench, Hold

pytestmark = pytest.mark.slow


def test_a_killed_worker_is_told_and_its_run_goes_on_by_a_key_from_anywhere(
    screen: Screen, bench: Bench, hold: Hold, whole: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.session_path("a")
    (bench.folder / "prompts").mkdir()
    (bench.folder / "prompts" / "own.txt").write_text((bench.folder / "texts.txt").read_text())
    overrides = (LONG, 'prompts.sets=["own"]')
    monkeypatch.chdir(bench.folder)
    screen.link.open()
    screen.link.submit(bench.experiment(*overrides), bench.folder, path)
    screen.wait(RunGrew, is_partial)
    os.kill(worker_pid(), signal.SIGKILL)
    lost = screen.wait(WorkerLost)
    screen.wait(WorkerSeen, lambda _: screen.all(WorkerSeen)[-1].kind == "none")
    hold.end()
    assert (lost.path, lost.runs) == (path, RUNS)
    assert 0 < lost.done < RUNS
    before = len(screen.told)
    monkeypatch.chdir("/")
    screen.link.resume(path)
    ended = screen.wait(RunEnded)
    assert ended.state == "finished"
    again = [event for event in screen.told[before:] if isinstance(event, RunGrew) and event.session]
    assert min(len(event.session.runs) for event in again if event.session) >= lost.done
    assert ended.session is not None
    monkeypatch.chdir(bench.folder)
    assert_same_results(ended.session, whole(*overrides))
    screen.link.resume(path)
    assert screen.wait(RunFailed).path == path


def test_looks_at_workers_and_runs_are_so_near_that_an_end_is_told_within_two_seconds() -> None:
    assert worker_access.LOOK + run_follower.TICK + run_follower._GRACE + client_module._LOOK < 2


@pytest.mark.parametrize("how", ["link.close()", "os.kill(os.getpid(), 9)"])
def test_a_run_that_was_asked_for_while_the_worker_starts_is_begun_whoever_is_gone(
    screen: Screen, bench: Bench, how: str
) -> None:
    end_the_worker()
    code = (
        "import os, sys, time; from pathlib import Path; from srm_explorer.tui.backend.link import WorkerLink\n"
        "from srm_explorer.engine.worker.endpoint import here, is_alive\n"
        "from srm_explorer.engine.experiment import read_experiment\n"
        "told = []; link = WorkerLink(told.append); link.open()\n"
        "spec, source = read_experiment(sys.argv[1], overrides=[sys.argv[3]])\n"
        "link.submit(spec, source.base, Path(sys.argv[2]))\n"
        "while not any(here().spool.glob('*.json')) or not is_alive(here()): time.sleep(0.01)\n"
        f"assert not any(type(one).__name__ == 'Submitted' for one in told); {how}\n"
    )
    arguments = [str(bench.folder / "spec.toml"), str(bench.session_path("a")), SHORT]
    out = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, env=environment()
    )
    assert (out.returncode, out.stderr) == (0 if how == "link.close()" else -9, "")
    assert not bench.session_path("a").exists()
    until(bench.session_path("a").exists, "the session")
    screen.link.follow(bench.session_path("a"))
    assert len(screen.wait(RunEnded).session.runs) == RUNS  # pyright: ignore[reportOptionalMemberAccess]
    assert not any(here().spool.iterdir())


def test_a_closed_link_ends_at_once_whatever_it_waits_for_and_the_run_goes_on(
    client: Client, screen: Screen, bench: Bench, hold: Hold
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from srm_explorer.tui.backend.link import WorkerLink\n"
        "from srm_explorer.engine.experiment import read_experiment\n"
        "told = []; link = WorkerLink(told.append); link.open()\n"
        "spec, source = read_experiment(sys.argv[1], overrides=[sys.argv[3]])\n"
        "link.submit(spec, source.base, Path(sys.argv[2]))\n"
        "while not any(type(one).__name__ == 'Submitted' for one in told): time.sleep(0.01)\n"
        "link.close()\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('torch', 'transformers', 'textual')))\n"
        "sys.stdout.flush()\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(bench.folder / "spec.toml"), str(bench.session_path("a")), LONG],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd=bench.folder,
        env=environment(),
    )
    assert (out.returncode, out.stdout, out.stderr) == (0, "[]\n", "")
    assert client.jobs()[0].state == "running", "it ended before the run, which is held"
    hold.end()
    screen.link.open()
    screen.link.follow(bench.session_path("a"))
    assert screen.wait(RunEnded).state == "finished"


def test_an_older_worker_is_drained_and_a_new_one_takes_its_place(
    screen: Screen, bench: Bench, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen.link.describe(bench.experiment().model.model_dump(), bench.folder)
    screen.wait(Described)
    old = worker_pid()
    screen.link.submit(bench.experiment(LONG), bench.folder, bench.session_path("a"))
    screen.wait(RunGrew, is_partial)
    build = client_module.build
    monkeypatch.setattr(client_module, "build", lambda: build() if worker_is_new(old) else "0.0.9+00000000")
    screen.link.open()
    seen = screen.wait(WorkerSeen, lambda event: event.kind == "older")
    assert seen.state.startswith("older version")
    assert seen.queue == 1
    screen.link.submit(bench.experiment(SHORT), bench.folder, bench.session_path("b"))
    assert "another version" in screen.wait(RunFailed).error.what
    screen.link.drain_and_restart()
    hold.end()
    assert screen.wait(RunEnded).state == "finished"
    screen.wait(WorkerSeen, lambda event: event.kind == "warm")
    assert worker_pid() != old
    until(lambda: len(workers(bench.server)) == 1, "the end of the older worker")


def worker_is_new(old: int) -> bool:
    return here().lock.read_text().strip() != str(old)
