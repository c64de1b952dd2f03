"""What is done about runs: begun, followed, stopped, resumed; the answers of the worker go where they belong."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine import paths
from engine.errors import ExplorerError
from engine.runner.life import TakenError, default_path
from engine.runner.outcome import Outcome, approach, shown
from engine.spec import Experiment
from tui.desk.names import ask_name
from tui.desk.running import Running
from tui.link import events
from tui.link.link import WorkerLink
from tui.screens.confirm import Confirm
from tui.screens.queue import QueueScreen
from tui.state.spec_view import told
from tui.widgets.status_line import Tone

if TYPE_CHECKING:
    from tui.desk.desk import Desk
    from tui.screens.explorer import ExplorerScreen


class RunDesk:
    """Speaks with the link for one screen.

    Args:
        screen: where questions are asked and lines are said.
        desk: owns the experiment and the session in view.
    """

    def __init__(self, screen: ExplorerScreen, desk: Desk) -> None:
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
        self._screen.in_thread(lambda: _find_out(experiment, base, path, restart), begin)

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
    found = approach(experiment, base, path, restart=restart)
    return None if restart else shown(found, path)
