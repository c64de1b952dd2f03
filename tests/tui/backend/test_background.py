from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from tests.waiting import PATIENCE


class Owner:
    """A thread that takes results when it has time, as the thread of an app does."""

    def __init__(self) -> None:
        self.queue: queue.Queue[Callable[[], object]] = queue.Queue()
        self.background = Background(self.queue.put)
        self.results: list[Any] = []

    def take(self, result: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.results.append(result)

    def step(self, timeout: float = PATIENCE) -> None:
        self.queue.get(timeout=timeout)()


@pytest.fixture
def owner() -> Owner:
    return Owner()


def test_a_result_is_taken_where_it_was_asked_for(owner: Owner) -> None:
    owner.background.run(threading.current_thread, owner.take)
    owner.step()
    assert owner.results[0].daemon
    assert owner.results[0] is not threading.main_thread()


def test_what_a_user_should_know_is_a_result_and_a_mistake_of_ours_is_raised(owner: Owner) -> None:
    def fail(error: Exception) -> None:
        raise error

    error = ExplorerError("the disk is full")
    owner.background.run(lambda: fail(error), owner.take)
    owner.step()
    assert owner.results == [error]
    owner.background.run(lambda: fail(ZeroDivisionError()), owner.take)
    with pytest.raises(ZeroDivisionError):
        owner.step()
    owner.background.run(lambda: fail(error))
    with pytest.raises(ExplorerError):
        owner.step()


def test_the_latest_of_a_key_wins_also_where_the_earlier_result_is_on_its_way(owner: Owner) -> None:
    ended: list[str] = []
    owner.background.run(lambda: "old", owner.take, key="read", on_cancel=lambda: ended.append("old"))
    while owner.queue.empty():
        time.sleep(0.001)
    owner.background.run(lambda: "new", owner.take, key="read", on_cancel=lambda: ended.append("new"))
    owner.background.run(lambda: "other", owner.take, key="write")
    for _ in range(3):
        owner.step()
    assert sorted(owner.results) == ["new", "other"]
    assert ended == ["old"]
    assert not owner.background.is_running("read")


@pytest.mark.parametrize(("turn", "expected"), [("next", [0, 3]), ("queue", [0, 1, 2, 3])])
def test_work_that_waits_for_its_turn_is_done_one_at_a_time(owner: Owner, turn: Any, expected: list[int]) -> None:
    go_on = threading.Event()
    working: list[int] = []

    def work(number: int) -> int:
        working.append(number)
        assert go_on.wait(PATIENCE)
        assert working[-1] == number
        return number

    for number in range(4):
        owner.background.run(lambda number=number: work(number), owner.take, key="ask", turn=turn)
    go_on.set()
    for _ in expected:
        owner.step()
    assert owner.results == expected == working
    assert owner.queue.empty()


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_nothing_comes_of_what_is_not_wanted_any_more(owner: Owner, how: str) -> None:
    ended: list[int] = []
    for number in range(2):
        owner.background.run(
            lambda number=number: number,
            owner.take,
            key="ask",
            turn="queue",
            on_cancel=lambda number=number: ended.append(number),
        )
    if how == "cancel":
        owner.background.cancel("ask")
    else:
        owner.background.close()
    owner.step()
    assert owner.results == []
    assert sorted(ended) == [0, 1]
    owner.background.run(lambda: 2, owner.take, key="ask")
    if how == "cancel":
        owner.step()
        assert owner.results == [2]
    with pytest.raises(queue.Empty):
        owner.step(timeout=0.1)


@pytest.mark.process
def test_a_program_is_killed_once_a_newer_one_takes_its_place(owner: Owner, tmp_path: Path) -> None:
    def read(done: subprocess.CompletedProcess[bytes]) -> str:
        return f"{done.returncode}{done.stdout.decode()}"

    begun = tmp_path / "begun"
    endless = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(600)"
    owner.background.run_process([sys.executable, "-c", endless], read, owner.take, key="study")
    give_up = time.monotonic() + PATIENCE
    while not begun.exists():
        assert time.monotonic() < give_up
        time.sleep(0.01)
    owner.background.run_process([sys.executable, "-c", "print('done', end='')"], read, owner.take, key="study")
    for _ in range(2):
        owner.step()
    assert owner.results == ["0done"]
    owner.background.run_process(["/nowhere/program"], read, owner.take, name="the study")
    owner.step()
    assert str(owner.results[-1]).startswith("the study did not start: No such file")


def test_quitting_waits_for_no_thread() -> None:
    code = (
        "import time; from srm_explorer.tui.backend.background import Background\n"
        "background = Background()\n"
        "background.run(lambda: time.sleep(600))\n"
        "background.close()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)


def test_what_is_ended_by_the_last_closing_comes_to_its_end() -> None:
    background, stop, done = Background(), threading.Event(), threading.Event()

    def work() -> None:
        stop.wait(PATIENCE)
        done.set()

    background.run(work, on_cancel=stop.set)
    background.close(is_last=True)
    assert done.wait(PATIENCE)
    background.run(lambda: pytest.fail("work after the end"))


def test_the_last_closing_does_not_wait_for_what_has_no_end() -> None:
    background, never = Background(), threading.Event()
    background.run(never.wait)
    background.close(is_last=True)
    assert not never.is_set()
    never.set()
