"""How far a run is, counted and written down."""

from __future__ import annotations

import torch

from engine.model.device import used_bytes
from engine.runner.progress import Meter, Progress, Stop


def test_the_memory_is_told_with_every_progress_and_weighed_rarely() -> None:
    told: list[Progress] = []
    weighed: list[int] = []

    def weigh() -> int:
        weighed.append(1)
        return 10 * len(weighed)

    meter = Meter([told.append], Stop(), weigh, runs=2, steps=40)
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
    cpu = torch.device("cpu")
    before = used_bytes(cpu)
    held = torch.ones(50_000_000, dtype=torch.uint8)
    after = used_bytes(cpu)
    assert before is not None
    assert after is not None
    assert after - before > 0.8 * held.numel()
