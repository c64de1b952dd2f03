"""How far a run is, counted and written down."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from srm_explorer.engine.runs.progress import Meter, Progress, Stopped, StopSignal
from srm_explorer.engine.session.standing import Standing
from tests.waiting import PATIENCE


def test_the_memory_is_told_with_every_progress_and_weighed_rarely() -> None:
    told: list[Progress] = []
    weighed: list[int] = []

    def weigh() -> int:
        weighed.append(1)
        return 10 * len(weighed)

    meter = Meter([told.append], StopSignal(), weigh, runs=2, steps=40)
    meter.begin_batch(2)
    for step in range(40):
        meter.step(step, 2)
    meter.end_batch(80)
    assert {one.memory for one in told} == {10}
    assert len(weighed) == 1


def test_progress_of_a_version_without_memory_is_read() -> None:
    new = Progress("running", 3, 6, memory=5)
    old = {name: value for name, value in new.to_dict().items() if name != "memory"}
    assert Progress.from_dict(old) == Progress("running", 3, 6)
    assert Progress.from_dict(new.to_dict()) == new
    assert Progress.from_dict(new.to_dict() | {"memory": "much"}) is None


def test_a_process_takes_more_memory_once_it_holds_more() -> None:
    # In a process of its own: where tests before have left freed memory to the allocator, a tensor takes no new memory.
    script = """
import torch
from srm_explorer.engine.model.device import used_bytes
from srm_explorer.engine.session.standing import Standing
before = used_bytes(torch.device("cpu"))
held = torch.ones(50_000_000, dtype=torch.uint8)
print(used_bytes(torch.device("cpu")) - before)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert 0.8 * 50_000_000 < int(told.stdout) < 2 * 50_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Seconds that pass when they are told to."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_what_is_left_is_told_from_what_batches_took_the_reading_of_prompts_aside(
    clock: Callable[[float], None],
) -> None:
    told: list[Progress] = []
    meter = Meter([told.append], StopSignal(), runs=40, steps=11)
    for batch in range(4):
        meter.begin_batch(10)
        clock(100.0)
        for step in range(11):
            clock(1.0 if step else 0.0)
            meter.step(step, 10)
            if batch == 0 and step < 1:
                assert told[-1].seconds_left is None, "the first step, which reads the prompts, is like no other"
            else:
                assert told[-1].seconds_left == pytest.approx((3 - batch) * 110 + 10 - step)
        meter.end_batch(20)  # most texts ended early
        assert told[-1].seconds_left == pytest.approx((3 - batch) * 110)


def test_steps_that_are_told_some_at_a_time_tell_as_much_of_what_is_left_and_of_how_fast_it_goes(
    clock: Callable[[float], None],
) -> None:
    """As on a GPU, which is asked now and then."""
    told: list[Progress] = []
    meter = Meter([told.append], StopSignal(), runs=40, steps=24)
    meter.begin_batch(10)
    clock(100.0)
    for step in range(24):
        clock(1.0 if step else 0.0)
        if step % 8 == 7:
            meter.step(step, 8 * 10)
            if step > 7:
                assert told[-1].seconds_left == pytest.approx(3 * (100 + 7 + 16) + 23 - step, abs=1)
            assert told[-1].tokens == 10 * (step + 1)
        else:
            assert told[-1].seconds_left is None or step > 15
    assert told[1].seconds_left is None


def test_passes_of_few_tokens_do_not_stretch_what_is_left(clock: Callable[[float], None]) -> None:
    told: list[Progress] = []
    meter = Meter([told.append], StopSignal(), runs=100, steps=1_000)
    meter.begin_batch(0)
    for number in range(1, 5):
        clock(60.0)
        meter.end_pass(25, 3)
        assert [one.seconds_left for one in told[1:]] == [pytest.approx((4 - n) * 60) for n in range(1, number + 1)]


@pytest.mark.parametrize("batches", [True, False], ids=["a run", "a study"])
def test_what_was_waited_for_is_told_at_once_and_is_no_part_of_what_is_left(
    clock: Callable[[float], None], batches: bool
) -> None:
    told: list[Progress] = []
    meter = Meter([told.append], StopSignal())
    meter.stage("waiting", 4711)
    assert (told[-1].stage, told[-1].waits_for, told[-1].seconds_left) == ("waiting", 4711, None)
    clock(6_000.0)
    meter.stage("loading")
    clock(600.0)
    meter.runs, meter.steps = 100, 5
    meter.begin_batch(25 if batches else 0)
    assert told[-1].seconds_left is None
    clock(20.0)
    if batches:
        meter.end_batch(125)
    else:
        meter.end_pass(25, 125)
    assert told[-1].seconds_left == pytest.approx(60.0)
    assert told[-1].rate == pytest.approx(125 / 20)


def test_a_run_that_goes_on_is_estimated_by_this_start_alone(clock: Callable[[float], None]) -> None:
    told: list[Progress] = []
    meter = Meter([told.append], StopSignal(), runs=1_000, steps=5, runs_done=980)
    meter.begin_batch(10)
    assert told[-1].seconds_left is None
    clock(50.0)
    meter.end_batch(50)
    assert told[-1].seconds_left == pytest.approx(50.0)


def test_a_stage_of_parts_is_counted_and_stops_where_that_is_wished() -> None:
    told: list[Progress] = []
    stop = StopSignal()
    meter = Meter([told.append], stop)
    meter.part("testing", 3, 11)
    assert (told[-1].counted, told[-1].stage_share) == ("3 of 11", pytest.approx(3 / 11))
    assert Progress.from_dict(told[-1].to_dict()) == told[-1]
    older = {name: value for name, value in told[-1].to_dict().items() if name not in ("part", "parts")}
    read = Progress.from_dict(older)
    assert read is not None
    assert (read.stage, read.counted) == ("testing", "")
    stop.ask()
    meter.part("testing", 4, 11)
    stop.ask()
    with pytest.raises(Stopped):
        meter.part("testing", 5, 11)


def test_of_a_survey_the_neurons_are_told_and_neither_its_parts_nor_the_runs_of_its_baseline() -> None:
    told: list[Progress] = []
    meter = Meter([told.append], StopSignal(), runs=50, runs_done=50)
    meter.part("lengths", 2, 2)
    meter.stage("saving")
    assert told[-1].cell(is_over=True) == "50 / 50"
    meter.begin_parts("survey", 0, 11, Standing(0, 512))
    meter.part("survey", 3, 11, Standing(40, 512))
    assert (told[-1].counted, told[-1].cell(is_over=False)) == ("40 of 512 neurons scored", "40 / 512 neurons")
    assert told[-1].share == told[-1].stage_share == pytest.approx(3 / 11)
    assert Progress.from_dict(told[-1].to_dict()) == told[-1]
    meter.part("survey", 9, 11, Standing(512, 512, 3, 20))
    assert told[-1].counted == "3 of 20 neurons written under"
    meter.stage("saving")
    assert (told[-1].cell(is_over=True), told[-1].share) == ("3 / 20 neurons", pytest.approx(9 / 11))


def test_of_a_run_that_ended_while_its_model_was_tested_the_runs_are_told() -> None:
    assert Progress("testing", 5, 50, part=3, parts=11).cell(is_over=False) == "testing 3 of 11"
    assert Progress("testing", 5, 50, part=3, parts=11).cell(is_over=True) == "5 / 50"
