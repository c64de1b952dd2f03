"""Runs at the worker, as a link tells them: begun warm, queued, cancelled, shared."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from srm_explorer.engine.runs.live import LiveRun
from srm_explorer.engine.session import load_session
from srm_explorer.engine.worker import client as client_module
from srm_explorer.tui.backend.events import (
    Described,
    DescribeFailed,
    QueueSeen,
    RunEnded,
    RunGrew,
    Submitted,
    Tokenized,
    WorkerSeen,
)

from .conftest import RUNS, assert_same_results
from .link_screen import LONG, SHORT, Screen, end_the_worker, is_partial, workers
from .worker_talk import start_line

if TYPE_CHECKING:
    from srm_explorer.engine.session import Session

    from .conftest import Bench, Hold

pytestmark = pytest.mark.slow


@pytest.fixture
def cold_start(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No worker lives, and the next one imports its libraries: one that has them is there before anybody looks."""
    end_the_worker()
    warm = client_module.subprocess
    monkeypatch.setattr(client_module, "subprocess", subprocess)
    yield
    # The tests that follow hold runs, which only a worker of the warm server lets them do.
    end_the_worker()
    monkeypatch.setattr(client_module, "subprocess", warm)
    client_module.find_or_start_worker(idle_exit=300)


@pytest.mark.usefixtures("cold_start")
def test_a_worker_that_starts_says_so_and_a_warm_one_begins_at_once(
    screen: Screen, bench: Bench, whole: Callable[..., Session]
) -> None:
    screen.link.open()
    screen.wait(WorkerSeen, lambda event: event.kind == "none")
    model, base = bench.experiment().model.model_dump(), bench.folder
    screen.link.describe(model, base)
    described = screen.wait(Described)
    assert (described.description.shape.n_layers, described.description.shape.d_mlp) == (3, 64)
    kinds = [event.kind for event in screen.all(WorkerSeen)]
    assert kinds[:2] == ["none", "starting"]
    screen.wait(WorkerSeen, lambda event: event.state == f"warm {Path(model['name']).name} · cpu")
    screen.link.tokenize(model, base, ["The man", "The man opened", "The man", ""], prepend_bos=False, tag="asked")
    tokenized = screen.wait(Tokenized)
    assert (tokenized.tag, tokenized.pieces[""]) == ("asked", ())
    assert all("".join(pieces) == text for text, pieces in tokenized.pieces.items())
    screen.link.submit(bench.experiment(SHORT), base, bench.session_path("warm-up"))
    screen.wait(RunEnded, lambda event: event.path == bench.session_path("warm-up"))
    screen.link.submit(bench.experiment(LONG), base, bench.session_path("a"))
    screen.wait(RunGrew, lambda event: event.path.stem == "a" and event.progress.stage == "running")  # pyright: ignore[reportOptionalMemberAccess]
    ended = screen.wait(RunEnded, lambda event: event.path.stem == "a")
    stages = {event.progress.stage for event in screen.all(RunGrew) if event.path.stem == "a" and event.progress}
    assert not stages & {"loading", "testing"}, "nothing is loaded"
    assert screen.wait(Submitted, lambda event: event.path.stem == "a").joined is False
    assert ended.session == load_session(bench.session_path("a"))
    assert_same_results(ended.session, whole(LONG))
    screen.link.submit(bench.experiment(LONG), base, bench.session_path("a"))
    screen.wait(RunEnded, lambda event: event.state == "shown")
    screen.link.submit(bench.experiment(SHORT), base, bench.session_path("a"))
    assert "another experiment" in screen.wait(RunEnded, lambda event: event.state == "failed").fault.what  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.usefixtures("client")
def test_two_screens_and_a_command_line_at_once_share_one_worker_and_lose_nothing(
    screen: Screen, other: Screen, bench: Bench, hold: Hold
) -> None:
    for one in (screen, other):
        one.link.open()
    screen.link.submit(bench.experiment(LONG), bench.folder, bench.session_path("a"))
    other.link.submit(bench.experiment(LONG), bench.folder, bench.session_path("a"))
    other.link.submit(bench.experiment(SHORT), bench.folder, bench.session_path("b"))
    screen.wait(Submitted)
    other.wait(Submitted, lambda event: event.path.stem == "a")
    line = start_line(bench, "c", SHORT)
    hold.end()
    assert {one.wait(RunEnded).state for one in (screen, other)} == {"finished"}
    other.wait(RunEnded, lambda event: event.path.stem == "b")
    _, err = line.communicate()
    assert line.returncode == 0, err
    assert len(workers(bench.server)) == 1
    assert sorted(one.joined for link in (screen, other) for one in link.all(Submitted) if one.path.stem == "a") == [
        False,
        True,
    ]
    assert [len(bench.session(name).runs) for name in "abc"] == [RUNS, RUNS, RUNS]
    assert sorted(path.name for path in bench.session_path("a").parent.glob("*.json")) == ["a.json", "b.json", "c.json"]
    assert_same_results(bench.session("b"), bench.session("c").changed(name="b"))


def test_a_queued_run_can_be_pruned_and_a_running_one_cancelled(screen: Screen, bench: Bench, hold: Hold) -> None:
    screen.link.open()
    for name in "ab":
        screen.link.submit(bench.experiment(LONG), bench.folder, bench.session_path(name))
        screen.wait(Submitted, lambda event, name=name: event.path.stem == name)
    screen.wait(RunGrew, is_partial)
    screen.wait(WorkerSeen, lambda event: event.queue == 2)
    screen.link.queue()
    jobs = screen.wait(QueueSeen).jobs
    assert [job.state for job in jobs[:2]] == ["running", "queued"]
    screen.link.prune(jobs[1].job)
    pruned = screen.wait(RunEnded)
    assert (pruned.path.stem, pruned.session, pruned.state) == ("b", None, "interrupted")
    screen.link.cancel(1, bench.session_path("a"))
    ended = screen.wait(RunEnded, lambda event: event.path.stem == "a")
    assert ended.state == "interrupted"
    assert ended.session is not None
    assert 0 < len(ended.session.runs) < RUNS
    screen.link.cancel()
    screen.link.follow(bench.session_path("a"))
    screen.wait(RunEnded, lambda event: event.path.stem == "a" and event is not ended)
    assert LiveRun(bench.run_folder("a")).runs == RUNS


def test_a_model_that_is_asked_for_in_a_run_is_described_after_it(screen: Screen, bench: Bench, hold: Hold) -> None:
    screen.link.open()
    screen.link.submit(bench.experiment(LONG), bench.folder, bench.session_path("a"))
    screen.wait(RunGrew, is_partial)
    at_hand = bench.experiment().model.model_dump()
    screen.link.describe(at_hand, bench.folder)
    screen.wait(Described, lambda event: event.model == at_hand)
    screen.link.describe({**at_hand, "dtype": "float64"}, bench.folder)
    assert "running an experiment" in screen.wait(DescribeFailed).error.what
    hold.end()
    screen.wait(Described, lambda event: event.model["dtype"] == "float64")
    assert screen.wait(RunEnded).state == "finished"
    screen.link.describe({**at_hand, "name": "./nowhere"}, bench.folder)
    screen.wait(DescribeFailed, lambda event: event.model["name"] == "./nowhere")
    screen.link.describe({**at_hand, "nam": 1}, bench.folder)
    screen.wait(DescribeFailed, lambda event: "nam" in event.model)
