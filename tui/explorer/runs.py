"""What is done about runs: begun, followed, stopped, resumed; the answers of the worker go where they belong."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.figures import unseen_caption
from srm_explorer.engine.lines import clock
from srm_explorer.engine.runs.progress import STAGES, Progress
from srm_explorer.engine.runs.resume import Outcome, TakenError, already_finished, default_path, preflight
from srm_explorer.engine.session.standing import Standing, kept_words
from srm_explorer.tui.backend import events
from srm_explorer.tui.backend.link import WorkerLink
from srm_explorer.tui.experiment.cost import size
from srm_explorer.tui.explorer.draft import DraftEditor
from srm_explorer.tui.explorer.queue import QueueScreen
from srm_explorer.tui.explorer.session_in_view import SessionInView, name_problem
from srm_explorer.tui.explorer.view import ExplorerView
from srm_explorer.tui.widgets.dialogs import Ask, Choose, Confirm
from srm_explorer.tui.widgets.status import Going, Tone

_NOW = 2
"""Times that a run is asked to stop until it stops at once."""


@dataclass(frozen=True)
class ResumableRun:
    """An unfinished run that a key resumes.

    Attributes:
        path: its session's .json file.
        done: finished runs.
        runs: all runs.
        lost: whether it stopped before our eyes, and why; else it was found so.
        standing: how far its survey is, where that is known; None of a run without one.
    """

    path: Path
    done: int
    runs: int
    lost: str = ""
    standing: Standing | None = None

    def line(self, key: str) -> str:
        """What is said of it, with the key that resumes it."""
        standing = self.standing
        kept = kept_words(self.done, self.runs, standing)
        if standing is not None and standing.is_planned:
            # The baseline is whole then, and a line has little room.
            kept = standing.words
        return f"{self.lost or f'{self.path.stem} is unfinished'}: {kept} are kept · {key} resumes"


class RunsState:
    """What is known of runs and of the worker; it takes the link's events and asks nobody for anything.

    Attributes:
        worker: words for the header.
        queue: jobs that run or wait at the worker.
        followed: by path, how far each run is that we asked for or follow; None before anything is known of it.
        older: whether the worker is of another version, and takes no work.
        errand: the study that the worker is at, and how far it is; None where it is at none.
        offer: an unfinished run that can be resumed.
        cancels: by path, how often a run was asked to stop.

    Args:
        viewed: tells the session in view.
    """

    def __init__(self, viewed: Callable[[], Path | None] = lambda: None) -> None:
        self._viewed = viewed
        self.worker = ""
        self.queue = 0
        self.older = False
        self.errand: tuple[str, Progress | None] | None = None
        self.followed: dict[Path, events.RunGrew | None] = {}
        self.offer: ResumableRun | None = None
        self.cancels: dict[Path, int] = {}

    @property
    def path(self) -> Path | None:
        """The run that is under way, of several that in view; else the first that waits; None where there is none."""
        running = [path for path, grown in self.followed.items() if grown is not None and grown.state == "running"]
        viewed = self._viewed()
        return viewed if viewed in running else next(iter([*running, *self.followed]), None)

    def asks(self, path: Path) -> None:
        """A run was asked for; nothing is known of it yet."""
        self.offer = None
        self.followed.setdefault(path, None)

    def failed(self, path: Path | None) -> None:
        """A run did not begin, or cannot be followed; without a name, all of which nothing is known."""
        unknown = [name for name, grown in self.followed.items() if name == path or (path is None and grown is None)]
        for name in unknown:
            self.forget(name)

    def seen(self, event: events.WorkerSeen) -> None:
        """Take the worker's state."""
        self.older = event.kind == "older"
        idle = event.kind in ("none", "older")
        self.worker = event.state if idle else f"worker {event.state} · queue {event.queue}"
        self.queue = event.queue
        self.errand = (event.errand, event.progress) if event.errand else None

    def grew(self, event: events.RunGrew) -> bool:
        """Take how far a run is; whether there are more runs than before."""
        if self.offer is not None and self.offer.path == event.path:
            self.offer = None
        before = self.followed.get(event.path)
        self.followed[event.path] = event
        return event.session is not None and (before is None or event.session is not before.session)

    def ended(self, event: events.RunEnded, path: Path) -> None:
        """The run that was asked for as `path` is over."""
        self.forget(path)
        self.forget(event.path)
        if event.state == "interrupted" and event.session is not None:
            session = event.session
            counts = len(session.runs), session.planned_runs
            self.offer = ResumableRun(event.path, *counts, "stopped", event.standing)

    def lost(self, event: events.WorkerLost | events.RunLost) -> None:
        """A run stopped without an end."""
        grown = self.followed.get(event.path)
        self.forget(event.path)
        why = "worker died" if isinstance(event, events.WorkerLost) else f"nobody runs {event.path.stem} any more"
        surveyed = grown.session.surveyed if grown is not None and grown.session is not None else None
        standing = surveyed.standing if surveyed is not None else None
        self.offer = ResumableRun(event.path, event.done, event.runs, why, standing)

    def take_found(self, event: events.RunsFound) -> events.FoundRun | None:
        """Take what runs there are; the one to be followed, where one is alive."""
        left = next((run for run in event.runs if not run.alive), None)
        if self.offer is not None and all(run.path != self.offer.path or run.alive for run in event.runs):
            self.offer = None
        if left is not None and self.offer is None and not self.followed:
            self.offer = ResumableRun(left.path, left.done, left.runs, standing=left.standing)
        return next((run for run in event.runs if run.alive and run.path not in self.followed), None)

    def going(self) -> Going | None:
        """What the status line tells; None where nothing is under way."""
        path = self.path
        if path is None:
            return None if self.errand is None else errand_going(*self.errand)
        grown = self.followed[path]
        if grown is not None and grown.state == "queued":
            return Going(None, (f"{path.stem} is queued",))
        if grown is None or grown.progress is None:
            return Going(None, (f"starting {path.stem}",))
        going = _going(grown.progress)
        cancels = self.cancels.get(path, 0)
        if cancels:
            stopping = f"stopping after this {self.piece(path)}" if cancels == 1 else "stopping now"
            return Going(going.share, (stopping, *going.facts))
        return going

    def piece(self, path: Path) -> str:
        """What a run finishes before it stops: a batch, or a part."""
        grown = self.followed.get(path)
        known = grown.progress if grown is not None else None
        return (known or Progress("waiting")).piece

    def forget(self, path: Path) -> None:
        """A run is not followed any more."""
        self.followed.pop(path, None)
        self.cancels.pop(path, None)


def errand_going(title: str, progress: Progress | None) -> Going:
    """What is told of a study that the worker is at: "scoring of the texts: 40 of 120", "0:05 left"."""
    if progress is None:
        return Going(None, (title,))
    if progress.stage != "running" or not progress.runs:
        return Going(None, (f"{title}: {_stage(progress)}",))
    return Going(progress.share, (f"{title}: {progress.runs_done:,} of {progress.runs:,}", *_left(progress)))


def _stage(progress: Progress) -> str:
    return f"{STAGES[progress.stage]} {progress.counted}".rstrip()


def _left(progress: Progress) -> tuple[str, ...]:
    return () if progress.seconds_left is None else (f"{clock(progress.seconds_left)} left",)


def _going(progress: Progress) -> Going:
    if progress.stage != "running":
        share = progress.stage_share if progress.runs_done or progress.parts else None
        return Going(share, (_stage(progress), *_left(progress)))
    facts = [f"{progress.runs_done:,} / {progress.runs:,} runs"]
    if progress.rate:
        facts.append(f"{progress.rate:,.0f} tok/s")
    facts += _left(progress)
    if progress.memory:
        facts.append(size(progress.memory))
    return Going(progress.share, tuple(facts))


class RunController:
    """Speaks with the link for one screen.

    Args:
        view: where questions are asked and lines are said.
        editor: has the experiment.
        sessions: has the session in view.
        link: leads to the worker.
        learned: called where a run has told how fast a model is.
        keeps_view: whether a session was asked for by name, which no run that is found under way replaces.
    """

    def __init__(
        self,
        view: ExplorerView,
        editor: DraftEditor,
        sessions: SessionInView,
        link: WorkerLink,
        learned: Callable[[], object],
        *,
        keeps_view: bool = False,
    ) -> None:
        self.state = RunsState(lambda: sessions.path)
        self._view, self._editor, self._sessions, self._link = view, editor, sessions, link
        self._learned = learned
        self._first_look, self._keeps_view = True, keeps_view
        self._unseen: set[str] = set()
        """Warnings that no plane holds what is edited which were answered with yes."""
        self._begun: dict[Path, dict[str, Any]] = {}
        self._queue: QueueScreen | None = None

    def show(self) -> None:
        """Tell in the bottom line how far the run is, or what is offered."""
        self._view.show_run(self.state.going(), self.offered())

    def run(self) -> None:
        """Run the experiment of the draft; go on with it where that is the unfinished run that is offered."""
        if self.state.offer is not None and self.is_draft(self.state.offer.path):
            self.resume()
            return
        try:
            experiment = self._view.intervention.experiment()
            path = default_path(experiment, self._editor.stem)
        except ExplorerError as error:
            self._view.refuse_experiment(error)
            return
        unseen = unseen_caption(experiment)
        if not unseen or unseen in self._unseen or path in self.state.followed:
            self.begin(experiment, path)
            return

        def begin(sure: bool | None) -> None:
            if sure:
                self._unseen.add(unseen)
                self.begin(experiment, path)

        detail = f"{unseen[0].upper()}{unseen[1:]}.\n2 goes to the form: name it there at 0° or 90°, or add a plane."
        self._view.ask(Confirm("run it all the same?", detail=detail, yes="run it so", no="leave it"), begin)

    def begin(self, experiment: Experiment, path: Path, *, restart: bool = False, base: Path | None = None) -> None:
        """Have an experiment run under a name, unless it was finished before or the name is taken.

        Args:
            base: where its paths start; None for the draft's.
        """
        if path in self.state.followed and not restart:
            self._view.say(f"{path.stem} is running already")
            return
        base = base or self._editor.base
        self._view.background.run(
            functools.partial(_look_for, experiment, base, path, restart),
            functools.partial(self._begin, experiment, base, path, restart),
            key=("begin", path),
        )

    def is_draft(self, path: Path) -> bool:
        """Whether a run is of the experiment in the draft."""
        editor = self._editor
        if self._begun.get(path) == editor.draft.data:
            return True
        try:
            return path == default_path(editor.experiment(), editor.stem)
        except ExplorerError:
            return False

    def offered(self) -> tuple[str, Tone]:
        """What stands to be done, with its key: an unfinished run, or a worker of another version; empty: nothing."""
        offer = self.state.offer
        if offer is None or self.state.older:
            return "the worker is of another version: W restarts it" if self.state.older else "", "warning"
        line = offer.line("r" if self.is_draft(offer.path) else "C")
        return line, "error" if offer.lost else "warning"

    def resume(self, path: Path | None = None) -> None:
        """Go on with an unfinished run, the one that is offered by default."""
        if path is None:
            if self.state.offer is None:
                self._view.say("there is no unfinished run to resume here; o lists all sessions")
                return
            path = self.state.offer.path
        self.state.asks(path)
        self._sessions.look_at(path)
        self._view.results.log_line(f"resuming {path.stem}")
        self._link.resume(path)
        self.show()

    def follow(self, path: Path, *, look: bool = True) -> None:
        """Follow a run that others have begun, and look at it."""
        self.state.asks(path)
        if look:
            self._sessions.look_at(path)
        self._view.results.log_line(f"following {path.stem}, which is running")
        self._link.follow(path)
        self.show()

    def cancel(self) -> None:
        """Ask whether to stop the run after its batch; asked for again, now."""
        path = self.state.path
        if path is None:
            self._view.say("nothing is running")
            return
        if self.state.cancels.get(path):
            self._stop(path, True, times=2)
            return
        key, piece = "r" if self.is_draft(path) else "C", self.state.piece(path)
        kept = "parts" if piece == "part" else "runs"
        question = Confirm(
            f"stop {path.stem}?",
            detail=f"The {piece} in flight is finished, and all finished {kept} are kept.\n"
            f"{key} resumes it; c again stops now.",
            yes="stop it",
            no="let it run",
        )
        self._view.ask(question, lambda sure: self._stop(path, sure, times=1))

    @property
    def can_cancel(self) -> bool:
        """Whether a run is under way that was not told to stop at once."""
        path = self.state.path
        return path is not None and self.state.cancels.get(path, 0) < _NOW

    @property
    def can_run(self) -> bool:
        """Whether the experiment of the draft is another than the one that is under way."""
        return not any(self.is_draft(path) for path in self.state.followed)

    def moved(self, old: Path, new: Path) -> None:
        """A session has another name, and so has the run that is offered for it."""
        if self.state.offer is not None and self.state.offer.path == old:
            self.state.offer = replace(self.state.offer, path=new)
        if old in self._begun:
            self._begun[new] = self._begun.pop(old)
        self.show()

    def show_queue(self) -> None:
        """Show the worker's queue; follow or open what is chosen there."""

        def chosen(path: Path | None) -> None:
            self._queue = None
            if path is None:
                return
            if path in self.state.followed or paths.is_there(paths.run_folder(path)):
                self.follow(path)
            else:
                self._sessions.open(path)

        self._queue = QueueScreen(self._link.queue, self._link.prune)
        self._view.ask(self._queue, chosen)

    def restart_worker(self) -> None:
        """Have a worker of an older version finish and a new one take its place."""
        self._view.say("the worker finishes its queue and is then restarted")
        self._link.drain_and_restart()

    def take_event(self, event: events.LinkEvent) -> None:
        """Take what the link tells of runs and of the worker."""
        match event:
            case events.WorkerSeen():
                self.state.seen(event)
            case events.RunGrew():
                before = self.state.followed.get(event.path)
                if self.state.grew(event) and self._sessions.looks_at(event.path):
                    self._sessions.take(event.session, event.path)
                lacks = event.progress.lacks if event.progress is not None else ""
                if lacks and (before is None or before.progress is None or before.progress.lacks != lacks):
                    self._view.results.log_line(lacks)
                    self._view.say(lacks, "warning")
            case events.RunEnded():
                self._ended(event)
            case events.WorkerLost() | events.RunLost():
                self.state.lost(event)
            case events.Submitted():
                manner = "with" if event.joined else "given to"
                self._view.results.log_line(f"{event.path.stem} is {manner} the worker")
            case events.RunFailed():
                self.state.failed(event.path)
                if event.path is not None:
                    self._sessions.look_away(event.path)
                self._view.refuse(event.error)
            case events.RunsFound():
                self._runs_found(event)
            case events.QueueSeen():
                if self._queue is not None and self._queue.is_mounted:
                    self._queue.take(tuple(event.jobs))
            case _:
                raise TypeError(f"{event} is not about runs")

    def _begin(
        self, experiment: Experiment, base: Path, path: Path, restart: bool, before: Outcome | ExplorerError | None
    ) -> None:
        if isinstance(before, TakenError):
            self._ask_name(experiment, base, path, before)
        elif isinstance(before, ExplorerError):
            self._view.refuse_experiment(before)
        elif before is not None:
            self._sessions.look_at(path)
            self._sessions.take(before.session, path)
            self._view.say(f"{path.stem} is finished already: this is what was saved", "good")
        else:
            waiting = bool(self.state.followed)
            self.state.asks(path)
            if not waiting:
                self._sessions.look_at(path)
            self._begun[path] = experiment.to_dict()
            self._view.say(f"{path.stem} waits for the run before it" if waiting else "")
            self._link.submit(experiment, base, path, restart)
        self.show()

    def _ask_name(self, experiment: Experiment, base: Path, path: Path, error: TakenError) -> None:
        """Ask what to do where the name of a run belongs to another experiment."""

        def chosen(key: str | None) -> None:
            if key == "m":
                self.begin(experiment, path, restart=True, base=base)
            elif key == "n":
                self._view.ask(Ask("name of the session", f"{path.stem}-2", check=name_problem), named)

        def named(name: str | None) -> None:
            if name is not None:
                self.begin(experiment, paths.session_path(name), base=base)

        choices = [("n", "run it under another name"), ("m", "move the old one to the trash, and run")]
        self._view.ask(Choose(f"{path.stem}: {error.what}", choices), chosen)

    def _stop(self, path: Path, sure: bool | None, *, times: Literal[1, 2]) -> None:
        if sure and path in self.state.followed:
            self.state.cancels[path] = times
            self._link.cancel(times, path)
            self.show()

    def _ended(self, event: events.RunEnded) -> None:
        # A name that was taken meanwhile is saved as another: the run is then known by what it was asked for as.
        path = event.path if event.path in self.state.followed else self.state.path or event.path
        looking = self._sessions.looks_at(path)
        self.state.ended(event, path)
        for line in event.notes:
            self._view.results.log_line(line)
        if event.session is not None and looking:
            self._sessions.look_at(event.path)
            self._sessions.take(event.session, event.path)
        elif event.session is None:
            self._sessions.look_away(path)
        if event.session is not None:
            self._learned()
        if event.fault is not None:
            self._view.refuse(event.fault)
        elif self.state.offer is None:
            seen = "" if looking else "; o opens it"
            if looking and event.session is not None and event.session.spec.survey:
                seen = "; the tab Survey lists its neurons"
            ending = "; ".join(event.notes[:1]) if event.notes else ""
            self._view.say(f"{event.path.stem} is finished{seen}" + (f" · {ending}" if ending else ""), "good")
            self._view.ring(f"{event.path.stem} is finished")

    def _runs_found(self, event: events.RunsFound) -> None:
        alive = self.state.take_found(event)
        first, self._first_look = self._first_look, False
        if alive is not None and not self.state.followed:
            # One that was asked for just before the last screen ended begins after this one's first look.
            was_in_view = self._editor.draft.session == str(alive.path)
            if first or was_in_view:
                self.follow(alive.path, look=was_in_view or not self._keeps_view)
        self._sessions.looked_for_runs()


def _look_for(experiment: Experiment, base: Path, path: Path, restart: bool) -> Outcome | None:
    checked = preflight(experiment, base, path, restart=restart)
    return None if restart else already_finished(checked, path)
