"""The link as a screen has it: what it tells of runs that it began, that others began, and that lost their writer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from engine.runner.client import find_worker
from engine.runner.endpoint import here
from engine.runner.live import LiveRun
from engine.session import load_session
from tui.link.events import (
    Described,
    DescribeFailed,
    LinkEvent,
    QueueSeen,
    RunEnded,
    RunFailed,
    RunGrew,
    RunLost,
    RunsFound,
    Submitted,
    Tokenized,
    WorkerLost,
    WorkerSeen,
)
from tui.link.link import WorkerLink

from .conftest import RUNS, assert_same_results, end_workers, environment
from .worker_talk import start_line

if TYPE_CHECKING:
    from engine.session import Session

    from .conftest import Bench

pytestmark = pytest.mark.slow

SHORT, LONG = "generation.tokens=4", "generation.tokens=120"
E = TypeVar("E")


class Screen:
    """Keeps what a link tells."""

    def __init__(self) -> None:
        self.told: list[LinkEvent] = []
        self._changed = threading.Condition()
        self.link = WorkerLink(self.take)

    def take(self, event: LinkEvent) -> None:
        with self._changed:
            self.told.append(event)
            self._changed.notify_all()

    def wait(self, kind: type[E], fits: Callable[[E], bool] = lambda _: True, seconds: float = 120) -> E:
        """The first event of a kind, told already or to come."""

        def found() -> E | None:
            return next((one for one in self.told if isinstance(one, kind) and fits(one)), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, seconds), self.told[-5:]
            event = found()
        assert event is not None
        return event

    def all(self, kind: type[E]) -> list[E]:
        return [one for one in self.told if isinstance(one, kind)]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place of these tests alone, where no worker lives at first."""
    folder = tmp_path_factory.getbasetemp() / "l"
    folder.mkdir()
    yield folder
    end_workers(folder)


@pytest.fixture(autouse=True)
def here_always(at_office: None) -> None:
    pass


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.link.close()


@pytest.fixture
def other() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.link.close()


def worker_pid() -> int:
    client = find_worker()
    assert client is not None
    return client.welcome.pid


def workers() -> set[int]:
    """The living workers of this environment."""
    found: set[int] = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (place / "cmdline").read_bytes().split(b"\0")
            if b"engine.runner.worker" in words and f"TMPDIR={tempfile.gettempdir()}".encode() in (
                place / "environ"
            ).read_bytes().split(b"\0"):
                found.add(int(place.name))
    return found


def is_partial(event: RunGrew) -> bool:
    return event.session is not None and 0 < len(event.session.runs) < RUNS


def test_a_run_without_a_worker_is_followed_by_its_folder_alone(screen: Screen, bench: Bench) -> None:
    screen.link.open()
    assert screen.wait(WorkerSeen).kind == "none"
    line = start_line(bench, "a", LONG)
    found = screen.wait(RunsFound, lambda event: any(run.alive for run in event.runs))
    (run,) = found.runs
    assert (run.path, run.runs, run.alive) == (bench.session_path("a"), RUNS, True)
    screen.link.follow(run.path)
    part = screen.wait(RunGrew, is_partial)
    assert part.progress is not None
    assert part.progress.runs == RUNS
    assert len(part.session.planes[0].x) == len(part.session.runs)  # pyright: ignore[reportOptionalMemberAccess]
    ended = screen.wait(RunEnded)
    assert line.wait(60) == 0
    assert (ended.state, ended.path) == ("finished", run.path)
    assert ended.session == load_session(run.path)
    assert screen.all(RunGrew)[-1].session.runs == ended.session.runs  # pyright: ignore[reportOptionalMemberAccess]
    assert {event.kind for event in screen.all(WorkerSeen)} == {"none"}
    assert not workers()


def test_a_run_without_a_worker_that_is_killed_is_lost_within_two_seconds_and_offered_again(
    screen: Screen, other: Screen, bench: Bench
) -> None:
    line = start_line(bench, "a", LONG)
    screen.link.open()
    screen.wait(RunsFound, lambda event: any(run.alive for run in event.runs))
    screen.link.follow(bench.session_path("a"))
    screen.wait(RunGrew, is_partial)
    killed = time.monotonic()
    line.kill()
    lost = screen.wait(RunLost)
    assert time.monotonic() < killed + 2
    line.communicate()
    assert 0 < lost.done < lost.runs == RUNS
    assert len(screen.all(RunGrew)[-1].session.runs) == lost.done  # pyright: ignore[reportOptionalMemberAccess]
    other.link.open()
    (run,) = other.wait(RunsFound).runs
    assert (run.path, run.done, run.alive) == (bench.session_path("a"), lost.done, False)
    other.link.follow(run.path)
    assert other.wait(RunLost) == lost
    with pytest.raises(AssertionError):
        other.wait(RunEnded, seconds=0.2)


def test_a_worker_that_starts_says_so_and_a_warm_one_begins_at_once(
    screen: Screen, bench: Bench, whole: Callable[..., Session]
) -> None:
    screen.link.open()
    model, base = bench.experiment().model.model_dump(), bench.folder
    screen.link.describe(model, base)
    described = screen.wait(Described)
    assert (described.description.n_layers, described.description.d_mlp) == (3, 64)
    kinds = [event.kind for event in screen.all(WorkerSeen)]
    assert kinds[:2] == ["none", "starting"]
    screen.wait(WorkerSeen, lambda event: event.state == f"warm {Path(model['name']).name} · cpu")
    screen.link.count_tokens(model, base, ["The man", "The man opened", "The man", ""], prepend_bos=False)
    counts = screen.wait(Tokenized).counts
    assert counts[""] == 0
    assert 0 < counts["The man"] < counts["The man opened"]
    screen.link.submit(bench.experiment(SHORT), base, bench.session_path("warm-up"))
    screen.wait(RunEnded, lambda event: event.path == bench.session_path("warm-up"))
    began = time.monotonic()
    screen.link.submit(bench.experiment(LONG), base, bench.session_path("a"))
    screen.wait(RunGrew, lambda event: event.path.stem == "a" and event.progress.stage == "running")  # pyright: ignore[reportOptionalMemberAccess]
    assert time.monotonic() - began < 2, "nothing is loaded"
    ended = screen.wait(RunEnded, lambda event: event.path.stem == "a")
    stages = {event.progress.stage for event in screen.all(RunGrew) if event.path.stem == "a" and event.progress}
    assert not stages & {"loading", "testing"}
    assert screen.wait(Submitted, lambda event: event.path.stem == "a").joined is False
    assert ended.session == load_session(bench.session_path("a"))
    assert_same_results(ended.session, whole(LONG))
    screen.link.submit(bench.experiment(LONG), base, bench.session_path("a"))
    screen.wait(RunEnded, lambda event: event.state == "shown")
    screen.link.submit(bench.experiment(SHORT), base, bench.session_path("a"))
    assert "another experiment" in screen.wait(RunEnded, lambda event: event.state == "failed").fault.what  # pyright: ignore[reportOptionalMemberAccess]


def test_a_killed_worker_is_told_within_two_seconds_and_its_run_goes_on_by_a_key_from_anywhere(
    screen: Screen, bench: Bench, whole: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.session_path("a")
    (bench.folder / "prompts").mkdir()
    (bench.folder / "prompts" / "own.txt").write_text((bench.folder / "texts.txt").read_text())
    overrides = (LONG, 'prompts.sets=["own"]')
    monkeypatch.chdir(bench.folder)
    screen.link.open()
    screen.link.submit(bench.experiment(*overrides), bench.folder, path)
    screen.wait(RunGrew, is_partial)
    killed = time.monotonic()
    os.kill(worker_pid(), signal.SIGKILL)
    lost = screen.wait(WorkerLost)
    screen.wait(WorkerSeen, lambda event: event.kind == "none" and screen.told.index(event) > 2)
    assert time.monotonic() < killed + 2
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


def test_two_screens_and_a_command_line_at_once_share_one_worker_and_lose_nothing(
    screen: Screen, other: Screen, bench: Bench
) -> None:
    for one in (screen, other):
        one.link.open()
    screen.link.submit(bench.experiment(LONG), bench.folder, bench.session_path("a"))
    other.link.submit(bench.experiment(LONG), bench.folder, bench.session_path("a"))
    other.link.submit(bench.experiment(SHORT), bench.folder, bench.session_path("b"))
    screen.wait(Submitted)
    line = start_line(bench, "c", SHORT)
    assert {one.wait(RunEnded).state for one in (screen, other)} == {"finished"}
    other.wait(RunEnded, lambda event: event.path.stem == "b")
    _, err = line.communicate(timeout=120)
    assert line.returncode == 0, err
    assert len(workers()) == 1
    assert sorted(one.joined for link in (screen, other) for one in link.all(Submitted) if one.path.stem == "a") == [
        False,
        True,
    ]
    assert [len(bench.session(name).runs) for name in "abc"] == [RUNS, RUNS, RUNS]
    assert sorted(path.name for path in bench.session_path("a").parent.glob("*.json")) == ["a.json", "b.json", "c.json"]
    assert_same_results(bench.session("b"), bench.session("c").changed(name="b"))


def test_a_queued_run_can_be_pruned_and_a_running_one_cancelled(screen: Screen, bench: Bench) -> None:
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


def test_a_model_that_is_asked_for_in_a_run_is_described_after_it(screen: Screen, bench: Bench) -> None:
    screen.link.open()
    screen.link.submit(bench.experiment(LONG), bench.folder, bench.session_path("a"))
    screen.wait(RunGrew, is_partial)
    at_hand = bench.experiment().model.model_dump()
    screen.link.describe(at_hand, bench.folder)
    screen.wait(Described, lambda event: event.model == at_hand, seconds=2)
    screen.link.describe({**at_hand, "dtype": "float64"}, bench.folder)
    assert "running an experiment" in screen.wait(DescribeFailed).error.what
    screen.wait(Described, lambda event: event.model["dtype"] == "float64")
    assert screen.wait(RunEnded).state == "finished"
    screen.link.describe({**at_hand, "name": "./nowhere"}, bench.folder)
    screen.wait(DescribeFailed, lambda event: event.model["name"] == "./nowhere")
    screen.link.describe({**at_hand, "nam": 1}, bench.folder)
    screen.wait(DescribeFailed, lambda event: "nam" in event.model)


def test_a_closed_link_ends_at_once_whatever_it_waits_for_and_the_run_goes_on(screen: Screen, bench: Bench) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tui.link.link import WorkerLink\n"
        "from engine.spec import read_experiment\n"
        "told = []; link = WorkerLink(told.append); link.open()\n"
        "spec, source = read_experiment(sys.argv[1], overrides=[sys.argv[3]])\n"
        "link.submit(spec, source.base, Path(sys.argv[2]))\n"
        "while not any(type(one).__name__ == 'Submitted' for one in told): time.sleep(0.01)\n"
        "began = time.monotonic(); link.close(); assert time.monotonic() < began + 0.3\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('torch', 'transformers', 'textual')))\n"
        "sys.stdout.flush()\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(bench.folder / "spec.toml"), str(bench.session_path("a")), LONG],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=bench.folder,
        env=environment(),
    )
    assert (out.returncode, out.stdout, out.stderr) == (0, "[]\n", "")
    screen.link.open()
    screen.link.follow(bench.session_path("a"))
    assert screen.wait(RunEnded).state == "finished"


def test_an_older_worker_is_drained_and_a_new_one_takes_its_place(
    screen: Screen, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.runner import client as client_module

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
    assert screen.wait(RunEnded).state == "finished"
    screen.wait(WorkerSeen, lambda event: event.kind == "warm")
    assert worker_pid() != old
    assert len(workers()) == 1


def worker_is_new(old: int) -> bool:
    return here().lock.read_text().strip() != str(old)
