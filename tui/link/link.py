"""The screen's line to the worker, and to runs that go on without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tui.link.events import LinkEvent

if TYPE_CHECKING:
    from engine.spec import Experiment


class WorkerLink:
    """Has experiments run by the worker, follows runs, and tells what happens; no call waits for anything.

    Args:
        tell: takes every event, in threads of the link.
    """

    def __init__(self, tell: Callable[[LinkEvent], None]) -> None:
        self._tell = tell

    def open(self) -> None:
        """Begin to watch: tells `WorkerSeen`, and `RunsFound` once."""

    def close(self) -> None:
        """Tell nothing more; the worker and its runs go on."""

    def describe(self, model: dict[str, Any], base: Path) -> None:
        """Ask for a model's shape, which loads it; tells `Described` or `DescribeFailed`."""

    def count_tokens(
        self, model: dict[str, Any], base: Path, texts: Sequence[str], prepend_bos: bool | Literal["auto"] = "auto"
    ) -> None:
        """Ask how many tokens texts have; tells `Tokenized`."""

    def submit(self, experiment: Experiment, base: Path, session: Path, restart: bool = False) -> None:
        """Have an experiment run, and follow it; tells `Submitted` and how it goes on, or `RunFailed`."""

    def follow(self, session: Path) -> None:
        """Follow a run that others have begun; tells `RunGrew`, then `RunEnded`, `WorkerLost` or `RunLost`."""

    def resume(self, session: Path) -> None:
        """Go on with an interrupted run; tells what `submit` tells."""

    def cancel(self, times: Literal[1, 2] = 1) -> None:
        """Stop the followed run: once, after its batch; twice, now."""

    def prune(self, job: str) -> None:
        """Take a waiting job off the queue; tells `QueueSeen`."""

    def queue(self) -> None:
        """Ask for the worker's jobs; tells `QueueSeen`."""

    def drain_and_restart(self) -> None:
        """Have the worker finish its queue and end, then start a new one."""
