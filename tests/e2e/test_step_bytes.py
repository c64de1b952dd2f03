"""What a step of the spotlight sends to the terminal: over a slow line it decides how the program feels."""

from __future__ import annotations

import statistics
from pathlib import Path

from tests.example import EXAMPLE

from .conftest import environment
from .terminal import COMMAND, Terminal

BYTES_A_STEP = 1_500
"""A full redraw of such a chart sends ten times as many."""
STEPS = 11


def test_a_step_sends_only_what_changes(tmp_path: Path) -> None:
    sent: list[int] = []
    with Terminal([COMMAND, "open", str(EXAMPLE)], environment(), tmp_path) as screen:
        theta = int(screen.wait_for(r"spotlight θ (\d+)°")[1])
        screen.wait_for(r"lit \d+ of \d+")
        for step in range(1, STEPS + 1):
            before = screen.written
            screen.press("l")
            screen.wait_for(rf"spotlight θ {(theta + step) % 360}°")
            sent.append(screen.written - before)
    # The median: what else is painted meanwhile, as the chart itself at first, is no part of a step.
    assert 0 < statistics.median(sent) <= BYTES_A_STEP, sent
