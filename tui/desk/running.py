"""Runs as the screen sees them: what is followed, what is offered, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.runner.progress import Progress
from tui.link.events import FoundRun, RunEnded, RunGrew, RunLost, RunsFound, WorkerLost, WorkerSeen
from tui.state.cost import size
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

    def line(self, key: str) -> str:
        """What is said of it, with the key that resumes it."""
        kept = f"{self.done:,} of {self.runs:,} runs are kept"
        return f"{self.lost or f'{self.path.stem} is unfinished'}: {kept} · {key} resumes"


class Running:
    """What is known of runs and of the worker; it takes the link's events and asks nobody for anything.

    Attributes:
        worker: words for the header.
        queue: jobs that run or wait at the worker.
        followed: by path, how far each run is that we asked for or follow; None before anything is known of it.
        older: whether the worker is of another version, and takes no work.
        offer: an unfinished run that can be resumed.
        cancels: by path, how often a run was asked to stop.
    """

    def __init__(self) -> None:
        self.worker = ""
        self.queue = 0
        self.older = False
        self.followed: dict[Path, RunGrew | None] = {}
        self.offer: Offer | None = None
        self.cancels: dict[Path, int] = {}

    @property
    def path(self) -> Path | None:
        """The run that is under way, else the first that waits; None where there is none."""
        running = (path for path, grown in self.followed.items() if grown is not None and grown.state == "running")
        return next(running, next(iter(self.followed), None))

    def asks(self, path: Path) -> None:
        """A run was asked for; nothing is known of it yet."""
        self.offer = None
        self.followed.setdefault(path, None)

    def failed(self, path: Path | None) -> None:
        """A run did not begin, or cannot be followed; without a name, all of which nothing is known."""
        for one in [one for one, grown in self.followed.items() if one == path or (path is None and grown is None)]:
            self.forget(one)

    def seen(self, event: WorkerSeen) -> None:
        """Take the worker's state."""
        self.older = event.kind == "older"
        idle = event.kind in ("none", "older")
        self.worker = event.state if idle else f"worker {event.state} · queue {event.queue}"
        self.queue = event.queue

    def grew(self, event: RunGrew) -> bool:
        """Take how far a run is; whether there are more runs than before."""
        if self.offer is not None and self.offer.path == event.path:
            self.offer = None
        before = self.followed.get(event.path)
        self.followed[event.path] = event
        return event.session is not None and (before is None or event.session is not before.session)

    def ended(self, event: RunEnded, path: Path) -> None:
        """The run that was asked for as `path` is over."""
        self.forget(path)
        self.forget(event.path)
        if event.state == "interrupted" and event.session is not None:
            session = event.session
            planned = len(session.prompts) * len(session.conditions) * session.spec.generation.samples
            self.offer = Offer(event.path, len(session.runs), planned, "stopped")

    def lost(self, event: WorkerLost | RunLost) -> None:
        """A run stopped without an end."""
        self.forget(event.path)
        why = "worker died" if isinstance(event, WorkerLost) else f"nobody runs {event.path.stem} any more"
        self.offer = Offer(event.path, event.done, event.runs, why)

    def found(self, event: RunsFound) -> FoundRun | None:
        """Take what runs there are; the one to be followed, where one is alive."""
        left = next((run for run in event.runs if not run.alive), None)
        if self.offer is not None and all(run.path != self.offer.path or run.alive for run in event.runs):
            self.offer = None
        if left is not None and self.offer is None and not self.followed:
            self.offer = Offer(left.path, left.done, left.runs)
        return next((run for run in event.runs if run.alive and run.path not in self.followed), None)

    def going(self) -> Going | None:
        """What the status line tells; None where nothing is under way."""
        path = self.path
        if path is None:
            return None
        grown = self.followed[path]
        if grown is not None and grown.state == "queued":
            return Going(None, (f"{path.stem} is queued",))
        if grown is None or grown.progress is None:
            return Going(None, (f"starting {path.stem}",))
        going = _told(grown.progress)
        cancels = self.cancels.get(path, 0)
        if cancels:
            stopping = "stopping after this batch" if cancels == 1 else "stopping now"
            return Going(going.share, (stopping, *going.facts))
        return going

    def forget(self, path: Path) -> None:
        """A run is not followed any more."""
        self.followed.pop(path, None)
        self.cancels.pop(path, None)


def _told(progress: Progress) -> Going:
    if progress.stage != "running":
        share = progress.share if progress.runs_done else None
        return Going(share, (_STAGES[progress.stage],))
    facts = [f"{progress.runs_done:,} / {progress.runs:,} runs"]
    if progress.rate:
        facts.append(f"{progress.rate:,.0f} tok/s")
    if progress.seconds_left is not None:
        facts.append(f"{clock(progress.seconds_left)} left")
    if progress.memory:
        facts.append(size(progress.memory))
    return Going(progress.share, tuple(facts))
