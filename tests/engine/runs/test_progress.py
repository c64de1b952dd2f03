"""How far a run is, counted and written down."""

from __future__ import annotations

import subprocess
import sys

from srm_explorer.engine.runs.progress import Meter, Progress, StopSignal
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
before = used_bytes(torch.device("cpu"))
held = torch.ones(50_000_000, dtype=torch.uint8)
print(used_bytes(torch.device("cpu")) - before)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert 0.8 * 50_000_000 < int(told.stdout) < 2 * 50_000_000
