"""Runs as the screen sees them: what is followed, what is offered, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.runner.progress import Progress
from engine.session import Session
from tui.link.events import FoundRun, RunEnded, RunGrew, RunLost, RunsFound, WorkerLost, WorkerSeen
from tui.widgets.status_line import Going, clock

_STAGES = {
    "waiting": "waiting for the device",
    "loading": "loading the model",
    "testing": "testing the model",
    "running": "running",
    "saving": "saving",
}


@dataclass(frozen=True)
class Offer:
    """An unfinished run that a key resumes.

    Attributes:
        path: its session's .json file.
        done: finished runs.
        runs: all runs.
        lost: whether it stopped before our eyes, and why; else it was found so.
    """

    path: Path
    done: int
    runs: int
    lost: str = ""

    def line(self) -> str:
        """What is said of it."""
        kept = f"{self.done:,} of {self.runs:,} runs are kept"
        if self.lost:
            return f"{self.lost}: {kept} · r resumes"
        return f"{self.path.stem} is unfinished: {kept} · R resumes"


class Running:
    """What is known of runs and of the worker; it takes the link's events and asks nobody for anything.

    Attributes:
        worker: words for the header.
        queue: jobs that run or wait at the worker.
        grown: how far the followed run is; None where none is followed.
        partial: what is finished of the followed run.
        offer: an unfinished run that can be resumed.
        cancels: how often the followed run was asked to stop.
        older: whether the worker is of another version, and has to be restarted to run anything.
    """

    def __init__(self) -> None:
        self.worker = ""
        self.queue = 0
        self.older = False
        self.grown: RunGrew | None = None
        self.partial: Session | None = None
        self.offer: Offer | None = None
        self.cancels = 0
        self.asked: Path | None = None

    @property
    def path(self) -> Path | None:
        """The run that is followed or was just asked for; None where there is none."""
        return self.grown.path if self.grown is not None else self.asked

    def asks(self, path: Path) -> None:
        """A run was asked for; nothing is known of it yet."""
        self.offer = None
        if self.grown is None:
            self.asked, self.cancels = path, 0

    def failed(self) -> None:
        """What was asked for did not begin."""
        self.asked = None

    def seen(self, event: WorkerSeen) -> None:
        """Take the worker's state."""
        self.worker = event.state if event.kind == "none" else f"{event.state} · queue {event.queue}"
        self.queue = event.queue
        self.older = event.kind == "older"

    def grew(self, event: RunGrew) -> bool:
        """Take how far the run is; whether there are more runs than before."""
        if self.path != event.path:
            self.cancels = 0
        self.asked = None
        if self.offer is not None and self.offer.path == event.path:
            self.offer = None
        more = event.session is not None and event.session is not self.partial
        self.grown, self.partial = event, event.session
        return more

    def ended(self, event: RunEnded) -> None:
        """The run is over."""
        self._forget()
        if event.state == "interrupted" and event.session is not None:
            session = event.session
            planned = len(session.prompts) * len(session.conditions) * session.spec.generation.samples
            self.offer = Offer(event.path, len(session.runs), planned, "stopped")

    def lost(self, event: WorkerLost | RunLost) -> None:
        """The run stopped without an end."""
        self._forget()
        why = "worker died" if isinstance(event, WorkerLost) else f"nobody runs {event.path.stem} any more"
        self.offer = Offer(event.path, event.done, event.runs, why)

    def found(self, event: RunsFound) -> FoundRun | None:
        """Take what runs there are; the one to be followed, where one is alive."""
        alive = next((run for run in event.runs if run.alive), None)
        left = next((run for run in event.runs if not run.alive), None)
        if alive is None and left is not None and self.offer is None and self.path is None:
            self.offer = Offer(left.path, left.done, left.runs)
        return alive

    def going(self) -> Going | None:
        """What the status line tells; None where nothing is under way."""
        if self.grown is None:
            return Going(None, ("starting",)) if self.asked is not None else None
        if self.grown.state == "queued":
            return Going(None, (f"{self.grown.path.stem} is queued",))
        if self.grown.progress is None:
            return Going(None, ("starting",))
        going = _told(self.grown.progress)
        if self.cancels:
            stopping = "stopping after this batch" if self.cancels == 1 else "stopping now"
            return Going(going.share, (stopping, *going.facts))
        return going

    def _forget(self) -> None:
        self.grown, self.partial, self.asked, self.cancels = None, None, None, 0


def _told(progress: Progress) -> Going:
    if progress.stage != "running":
        share = progress.share if progress.runs_done else None
        return Going(share, (_STAGES[progress.stage],))
    facts = [f"{progress.runs_done:,} / {progress.runs:,} runs"]
    if progress.rate:
        facts.append(f"{progress.rate:,.0f} tok/s")
    if progress.seconds_left is not None:
        facts.append(f"{clock(progress.seconds_left)} left")
    memory = getattr(progress, "memory", None)
    if isinstance(memory, int | float) and memory > 0:
        facts.append(f"{memory / 1e9:.1f} GB")
    return Going(progress.share, tuple(facts))
