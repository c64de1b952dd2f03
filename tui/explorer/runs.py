"""What is done about runs: begun, followed, stopped, resumed; the answers of the worker go where they belong."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.runs.resume import Outcome, TakenError, already_finished, default_path, preflight
from srm_explorer.tui.backend import events
from srm_explorer.tui.backend.backend import WorkerLink
from srm_explorer.tui.backend.events import FoundRun, RunEnded, RunGrew, RunLost, RunsFound, WorkerLost, WorkerSeen
from srm_explorer.tui.experiment.cost import size
from srm_explorer.tui.experiment.rows import told
from srm_explorer.tui.explorer.naming import ask_name
from srm_explorer.tui.explorer.queue import QueueScreen
from srm_explorer.tui.widgets.dialogs import Confirm
from srm_explorer.tui.widgets.status import Going, Tone, clock

if TYPE_CHECKING:
    from srm_explorer.tui.explorer.controller import ExplorerController
    from srm_explorer.tui.explorer.screen import ExplorerScreen


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


class RunController:
    """Speaks with the link for one screen.

    Args:
        screen: where questions are asked and lines are said.
        desk: owns the experiment and the session in view.
    """

    def __init__(self, screen: ExplorerScreen, desk: ExplorerController) -> None:
        self.state = Running()
        self._screen, self._desk = screen, desk
        self.link = WorkerLink(screen.hear)
        self._first_look = True
        self._begun: dict[Path, dict[str, Any]] = {}

    def run(self) -> None:
        """Run the experiment of the draft; go on with it where that is the unfinished run that is offered."""
        if self.state.offer is not None and self.is_draft(self.state.offer.path):
            self.resume()
            return
        try:
            experiment = self._desk.intervention.experiment()
            path = default_path(experiment, self._desk.drafting.draft.name)
        except ExplorerError as error:
            self._screen.refuse(error)
            return
        self.begin(experiment, path)

    def begin(self, experiment: Experiment, path: Path, *, restart: bool = False) -> None:
        """Have an experiment run under a name, unless it was finished before or the name is taken."""
        if path in self.state.followed and not restart:
            self._screen.say(f"{path.stem} is running already")
            return
        base = self._desk.drafting.base
        begin = functools.partial(self._found, experiment, base, path, restart)
        self._screen.background.run(lambda: _find_out(experiment, base, path, restart), begin)

    def is_draft(self, path: Path) -> bool:
        """Whether a run is of the experiment in the draft."""
        drafting = self._desk.drafting
        if self._begun.get(path) == drafting.draft.data:
            return True
        try:
            return path == default_path(drafting.experiment(), drafting.draft.name)
        except ExplorerError:
            return False

    def offered(self) -> tuple[str, Tone]:
        """What stands to be done, with its key: an unfinished run, or a worker of another version; empty: nothing."""
        offer = self.state.offer
        if offer is None or self.state.older:
            return "the worker is of another version: W restarts it" if self.state.older else "", "warning"
        line = offer.line("r" if self.is_draft(offer.path) else "C")
        return line, "error" if offer.lost else "warning"

    def resume(self) -> None:
        """Go on with the run that is offered."""
        offer = self.state.offer
        if offer is None:
            self._screen.say("there is no unfinished run to resume here; o lists all sessions")
            return
        self.go_on(offer.path)

    def go_on(self, path: Path) -> None:
        """Go on with an unfinished run and look at it."""
        self.state.asks(path)
        self._desk.look_at(path)
        self._desk.log(f"resuming {path.stem}")
        self.link.resume(path)
        self._screen.show_status()

    def follow(self, path: Path) -> None:
        """Follow a run that others have begun, and look at it."""
        self.state.asks(path)
        self._desk.look_at(path)
        self._desk.log(f"following {path.stem}, which is running")
        self.link.follow(path)
        self._screen.show_status()

    def cancel(self) -> None:
        """Ask whether to stop the run after its batch; asked for again, now."""
        path = self.state.path
        if path is None:
            self._screen.say("nothing is running")
            return
        if self.state.cancels.get(path):
            self._stop(path, True, times=2)
            return
        key = "r" if self.is_draft(path) else "C"
        kept = Confirm(
            f"stop {path.stem}?",
            detail="The batch in flight is finished, and all finished runs are kept.\n"
            f"{key} resumes it; c again stops now.",
            yes="stop it",
            no="let it run",
        )
        self._screen.app.push_screen(kept, lambda sure: self._stop(path, sure, times=1))

    def show_queue(self) -> None:
        """Show the worker's queue; follow or open what is chosen there."""

        def chosen(path: Path | None) -> None:
            if path is None:
                return
            if path in self.state.followed or paths.run_folder(path).exists():
                self.follow(path)
            else:
                self._desk.open_session(path)

        self._screen.app.push_screen(QueueScreen(self.link.queue, self.link.prune), chosen)

    def restart_worker(self) -> None:
        """Have a worker of an older version finish and a new one take its place."""
        self._screen.say("the worker finishes its queue and is then restarted")
        self.link.drain_and_restart()

    def hear(self, event: events.LinkEvent) -> None:
        """Take what the link tells."""
        match event:
            case events.WorkerSeen():
                self.state.seen(event)
                if event.kind == "warm":
                    self._desk.sizing.want_shape()
            case events.RunGrew():
                self._desk.sizing.run_grew(event)
                if self.state.grew(event) and self._desk.looks_at(event.path):
                    self._desk.take_session(event.session, event.path)
            case events.RunEnded():
                self._ended(event)
            case events.WorkerLost() | events.RunLost():
                self.state.lost(event)
            case events.Submitted():
                self._desk.log(f"{event.path.stem} is {'with' if event.joined else 'given to'} the worker")
            case events.RunFailed():
                self.state.failed(event.path)
                if event.path is not None:
                    self._desk.look_away(event.path)
                self._screen.refuse(event.error)
            case events.Described():
                self._desk.sizing.take_shape(dict(event.model), event.description, "")
            case events.DescribeFailed():
                self._desk.sizing.take_shape(dict(event.model), None, told(event.error))
            case events.Tokenized():
                self._desk.prompts.take_tokens(event.counts)
            case events.RunsFound():
                self._runs_found(event)
            case events.Studied():
                self._desk.studies.heard(event.tag, event.findings)
                self._desk.planes.heard(event.tag, event.findings)
            case events.StudyFailed():
                self._desk.studies.heard(event.tag, event.error, waits=event.waits)
                self._desk.planes.heard(event.tag, event.error, waits=event.waits)
            case events.QueueSeen():
                if isinstance(self._screen.app.screen, QueueScreen):
                    self._screen.app.screen.take(tuple(event.jobs))
            case events.Said():
                self._desk.log(event.line)
        self._screen.show_status()
        self._desk.show_header()

    def _found(
        self, experiment: Experiment, base: Path, path: Path, restart: bool, found: Outcome | ExplorerError | None
    ) -> None:
        if isinstance(found, TakenError):
            begin = functools.partial(self.begin, experiment)
            ask_name(self._screen, path, found, begin, functools.partial(begin, path, restart=True))
        elif isinstance(found, ExplorerError):
            self._screen.refuse(found)
        elif found is not None:
            self._desk.look_at(path)
            self._desk.take_session(found.session, path)
            self._screen.say(f"{path.stem} is finished already: this is what was saved", "good")
        else:
            waiting = bool(self.state.followed)
            self.state.asks(path)
            if not waiting:
                self._desk.look_at(path)
            self._begun[path] = experiment.to_dict()
            self._screen.say(f"{path.stem} waits for the run before it" if waiting else "")
            self.link.submit(experiment, base, path, restart)
        self._screen.show_status()

    def _stop(self, path: Path, sure: bool | None, *, times: Literal[1, 2]) -> None:
        if sure and path in self.state.followed:
            self.state.cancels[path] = times
            self.link.cancel(times, path)
            self._screen.show_status()

    def _ended(self, event: events.RunEnded) -> None:
        # A name that was taken meanwhile is saved as another: the run is then known by what it was asked for as.
        path = event.path if event.path in self.state.followed else self.state.path or event.path
        grown = self.state.followed.get(path)
        rate = grown.progress.rate if grown is not None and grown.progress is not None else 0.0
        looking = self._desk.looks_at(path)
        self.state.ended(event, path)
        for line in event.told:
            self._desk.log(line)
        if event.session is not None and looking:
            self._desk.look_at(event.path)
            self._desk.take_session(event.session, event.path)
        elif event.session is None:
            self._desk.look_away(path)
        if rate and event.session is not None:
            self._desk.sizing.take_rate(event.session.spec.model.name, rate)
        if event.fault is not None:
            self._screen.refuse(event.fault)
        elif self.state.offer is None:
            seen = "" if looking else "; o opens it"
            ending = "; ".join(event.told[:1]) if event.told else ""
            self._screen.say(f"{event.path.stem} is finished{seen}" + (f" · {ending}" if ending else ""), "good")
            self._screen.ring(f"{event.path.stem} is finished")

    def _runs_found(self, event: events.RunsFound) -> None:
        alive = self.state.found(event)
        first, self._first_look = self._first_look, False
        if alive is not None and not self.state.followed:
            # One that was asked for just before the last screen ended begins after this one's first look.
            was_in_view = self._desk.drafting.draft.session == str(alive.path)
            if first or was_in_view:
                self.follow(alive.path)


def _find_out(experiment: Experiment, base: Path, path: Path, restart: bool) -> Outcome | None:
    found = preflight(experiment, base, path, restart=restart)
    return None if restart else already_finished(found, path)
