"""What a worker is to do: experiments, and errands between them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from engine.errors import ExplorerError
from engine.runner.progress import Progress, Stop
from engine.runner.wire import Fault, JobStage, JobState, Submit
from engine.spec import Experiment


@dataclass
class Job:
    """An experiment on its way; changed only through the `Board`."""

    id: str
    submitted: Submit
    experiment: Experiment
    session: str
    stop: Stop = field(default_factory=Stop)
    state: JobStage = "queued"
    progress: Progress | None = None
    resumed: tuple[int, int] | None = None
    saved: bool = False
    told: tuple[str, ...] = ()
    fault: Fault | None = None
    version: int = 0
    told_at: float = 0.0

    def to_state(self, ahead: int) -> JobState:
        """Tell how far it is; `ahead` jobs come before it."""
        return JobState(
            job=self.id,
            session=self.session,
            state=self.state,
            progress=self.progress.to_dict() if self.progress else None,
            resumed=self.resumed,
            ahead=ahead,
            saved=self.saved,
            told=self.told,
            fault=self.fault,
        )


@dataclass
class Errand:
    """Something that must be done where the model is, between two jobs.

    Attributes:
        title: what to call it while it takes its time; empty where it takes none.
        progress: how far it is.
    """

    task: Callable[[Stop], Any]
    result: Future[Any]
    stop: Stop
    title: str = ""
    progress: Progress | None = None


def ending() -> ExplorerError:
    """The error for what comes too late."""
    return ExplorerError("the worker takes no more jobs: it is about to end", remedy="try again in a moment")
