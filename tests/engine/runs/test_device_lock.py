"""One run and one model on a device at a time: who waits, who gives way, and what a holder keeps."""

from __future__ import annotations

import os
import threading

import pytest

from srm_explorer.engine.io.lock import FileLock, JoinedLock
from srm_explorer.engine.runs.device_lock import device_lock, yield_device
from srm_explorer.engine.runs.progress import Meter, Progress, Stopped, StopSignal
from tests.waiting import PATIENCE, until


class Holder:
    """Keeps a model, as far as the locks can tell."""

    def __init__(self) -> None:
        self.model_lock: FileLock | JoinedLock | None = None
        self.unloaded = 0

    def unload(self) -> None:
        self.unloaded += 1
        if self.model_lock is not None:
            self.model_lock.release()
            self.model_lock = None


def meter() -> Meter:
    return Meter([], StopSignal())


def impatient() -> Meter:
    return Meter([], StopSignal(level=1))


def test_a_device_has_one_run_at_a_time_and_one_that_waits_can_be_stopped() -> None:
    stages: list[str] = []
    stop = StopSignal()
    waiting = Meter([lambda progress: (stages.append(progress.stage), stop.ask())], stop)
    with device_lock("cpu", meter()) as waited:
        assert not waited
        with pytest.raises(Stopped), device_lock("cpu", waiting):
            pass
        with device_lock("cuda-1", meter()):
            pass
    assert stages == ["waiting"]
    with device_lock("cpu", meter()):
        pass


def test_a_holder_keeps_its_place_between_its_turns() -> None:
    holder = Holder()
    for _ in range(2):
        with device_lock("cpu", meter(), holder) as waited:
            assert not waited
    assert holder.model_lock is not None
    assert holder.model_lock.held
    assert holder.unloaded == 1, "only before its first turn, when there was nothing"
    assert not yield_device(holder), "nobody wants the device"


def test_a_place_that_is_kept_keeps_another_model_off_until_its_holder_unloads() -> None:
    holder = Holder()
    with device_lock("cpu", meter(), holder):
        pass
    with pytest.raises(Stopped), device_lock("cpu", impatient(), Holder()):
        pytest.fail("two models on one device")
    stages: list[str] = []
    holders: set[int | None] = set()
    came = threading.Event()
    leave = threading.Event()

    def run() -> None:
        def note(progress: Progress) -> None:
            stages.append(progress.stage)
            holders.add(progress.waits_for)

        with device_lock("cpu", Meter([note], StopSignal())):
            came.set()
            leave.wait(PATIENCE)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: stages, "a stage")
    assert stages[0] == "waiting"
    assert holders == {os.getpid()}
    assert not came.is_set()
    assert yield_device(holder)
    assert came.wait(PATIENCE)
    assert holder.model_lock is None
    with pytest.raises(Stopped), device_lock("cpu", impatient(), holder):
        pytest.fail("the device is taken")
    leave.set()
    thread.join()
    with device_lock("cpu", impatient(), holder) as waited:
        assert not waited


def test_a_holder_that_waits_for_a_turn_gives_its_place_to_who_has_the_turn() -> None:
    holder = Holder()
    with device_lock("cpu", meter(), holder):
        pass
    model_lock = holder.model_lock
    assert model_lock is not None
    compute_lock = FileLock(model_lock.paths[0].with_suffix(".lock"))
    with compute_lock, pytest.raises(Stopped), device_lock("cpu", impatient(), holder):
        pytest.fail("the turn is another's")
    assert not model_lock.held


def test_a_holder_that_moves_to_another_device_leaves_the_first() -> None:
    holder = Holder()
    with device_lock("cpu", meter(), holder):
        pass
    with device_lock("cuda-1", meter(), holder):
        pass
    with device_lock("cpu", impatient()):
        pass
    assert holder.model_lock is not None
    assert holder.model_lock.paths[0].name == "device-cuda-1.model"


def test_without_a_holder_nothing_is_kept_also_after_an_exception() -> None:
    with pytest.raises(KeyError), device_lock("cpu", meter()):
        raise KeyError
    with device_lock("cpu", impatient()) as waited:
        assert not waited


def test_several_devices_are_taken_together_or_not_at_all() -> None:
    with device_lock("cuda-1", meter()):
        with pytest.raises(Stopped), device_lock("cuda-0+cuda-1", impatient()):
            pytest.fail("one of the two is taken")
        with device_lock("cuda-0", impatient()) as waited:
            assert not waited, "who waits for both holds none"
    with device_lock("cuda-0+cuda-1", meter()), pytest.raises(Stopped), device_lock("cuda-1", impatient()):
        pytest.fail("both are taken")


def test_a_model_on_several_devices_keeps_its_place_until_one_of_them_is_wanted() -> None:
    holder = Holder()
    for _ in range(2):
        with device_lock("cuda-0+cuda-1", meter(), holder):
            pass
    assert holder.unloaded == 1, "only before its first turn, when there was nothing"
    assert not yield_device(holder), "nobody wants them"
    with pytest.raises(Stopped), device_lock("cuda-1", impatient()):
        pytest.fail("two models on one device")
    model_lock = holder.model_lock
    assert model_lock is not None
    with FileLock(model_lock.paths[1].with_suffix(".lock")):
        assert yield_device(holder)
    assert holder.model_lock is None
    with device_lock("cuda-0", impatient()) as waited:
        assert not waited
