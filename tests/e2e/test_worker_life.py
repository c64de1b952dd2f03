"""How the worker begins and ends: by one of many starters, killed, asked, drained, idle, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.worker import client as client_module
from srm_explorer.engine.worker.client import Client, WorkerGoneError, find_or_start_worker, find_worker

from .conftest import RUNS, Bench, Hold, assert_same_results
from .link_screen import end_the_worker
from .worker_talk import LONG, SHORT, gone, job_of, start_line, states, submit, when_batches

if TYPE_CHECKING:
    from srm_explorer.engine.session import Session

pytestmark = pytest.mark.slow


def test_two_who_start_at_once_get_one_worker(client: Client) -> None:
    client.stop()
    assert gone(client)
    found: list[Client] = []
    starters = [threading.Thread(target=lambda: found.append(find_or_start_worker(idle_exit=300))) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    pids = {one.status().pid for one in found}
    assert len(found) == 3
    assert len(pids) == 1
    assert os.getsid(pids.pop()) != os.getsid(0)


def test_a_killed_worker_is_noticed_and_its_run_goes_on(
    client: Client, bench: Bench, hold: Hold, whole: Callable[..., Session]
) -> None:
    line = start_line(bench, "a", *LONG)
    job = job_of(client, bench, "a")
    when_batches(client, job)
    followed = client.follow(job, tick=0.05)
    next(followed)
    pid = client.status().pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerGoneError):
        list(followed)
    _, err = line.communicate()
    hold.end()
    assert line.returncode == 1
    assert "the worker is gone" in err
    assert err.splitlines()[-1].count("same command")
    assert find_worker() is None
    with pytest.raises(WorkerGoneError):
        client.status()
    fresh = find_or_start_worker(idle_exit=300)
    told = states(fresh, submit(fresh, bench, "a", *LONG))
    assert told[-1].state == "finished"
    assert told[-1].resumed
    assert 0 < told[-1].resumed[0] < RUNS
    assert_same_results(bench.session("a"), whole(*LONG))


def test_a_terminated_worker_saves_what_is_finished_and_ends(client: Client, bench: Bench, hold: Hold) -> None:
    job = submit(client, bench, "a", *LONG)
    waiting = submit(client, bench, "b", *LONG)
    when_batches(client, job)
    ends = {name: client.follow(name) for name in (job, waiting)}
    for follower in ends.values():
        next(follower)
    os.kill(client.status().pid, signal.SIGTERM)
    last = {name: list(follower)[-1] for name, follower in ends.items()}
    assert {state.state for state in last.values() if state} == {"interrupted"}
    assert gone(client)
    assert not client.endpoint.socket.exists()
    assert bench.session("a").state == "interrupted"
    assert not bench.session_path("b").exists()
    assert "ended" in client.endpoint.log.read_text().splitlines()[-1]


def test_a_drained_worker_finishes_its_queue_and_takes_no_more(
    client: Client, bench: Bench, hold: Hold, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [submit(client, bench, name, *LONG) for name in "ab"]
    followers = [client.follow(job) for job in jobs]
    for follower in followers:
        next(follower)
    client.drain()
    assert client.status().draining
    with pytest.raises(ExplorerError, match="takes no more jobs"):
        submit(client, bench, "c", *SHORT)
    hold.end()
    assert [list(follower)[-1].state for follower in followers] == ["finished", "finished"]  # pyright: ignore[reportOptionalMemberAccess]
    assert gone(client)


def test_an_idle_worker_ends_and_one_that_works_does_not(client: Client, bench: Bench) -> None:
    client.stop()
    assert gone(client)
    brief = find_or_start_worker(idle_exit=1.5)
    job = submit(brief, bench, "a", *LONG)
    assert states(brief, job)[-1].state == "finished"
    assert gone(brief)


def test_a_worker_that_cannot_start_says_why(
    cold_office: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    end_the_worker()
    (tmp_path / "torch.py").write_text("raise ImportError('this torch is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ExplorerError, match="did not start: ImportError: this torch is broken"):
        find_or_start_worker()


def test_what_an_earlier_worker_wrote_is_no_reason_why_one_does_not_start(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client.stop()
    assert gone(client)
    monkeypatch.setattr(client_module, "subprocess", subprocess)
    (tmp_path / "torch.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ExplorerError, match="did not start: signal 9 ended it"):
        find_or_start_worker()


def test_a_warm_worker_gives_way_to_a_run_elsewhere_and_loads_again(
    client: Client, bench: Bench, whole: Callable[..., Session]
) -> None:
    assert states(client, submit(client, bench, "a", *SHORT))[-1].state == "finished"
    assert client.status().model
    other = whole(*SHORT)
    assert client.status().model is None, "there were two models on the device"
    again = states(client, submit(client, bench, "b", *SHORT))
    assert "loading" in {state.progress["stage"] for state in again if state.progress}
    assert_same_results(bench.session("b"), other)
