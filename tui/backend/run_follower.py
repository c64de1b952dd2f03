"""One run, from the wish for it to its end: submitted where that is asked, followed by its folder, cancelled."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.runs.collect import grid_of
from srm_explorer.engine.runs.journal import is_run_folder, known_runs
from srm_explorer.engine.runs.journal_reader import JournalReader, writer_pid
from srm_explorer.engine.runs.live import LiveRun
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.runs.survey_journal import survey_standing
from srm_explorer.engine.session import Session, load_session, sessions_in
from srm_explorer.engine.worker.client import Client, WorkerGoneError
from srm_explorer.engine.worker.protocol import ENDED, JobState, as_error
from srm_explorer.tui.backend.events import (
    FoundRun,
    LinkEvent,
    RunEnded,
    RunFailed,
    RunGrew,
    RunLost,
    RunState,
    WorkerLost,
)

TICK = 0.1
"""Seconds between two looks at a run folder, and between two growths that are told."""

_GRACE = 0.5
"""Seconds between the last word of a run's writer and the removal of its folder, at most."""


class RunFollower:
    """Follows a run, by its .json file, and tells events; all but `cancel` and `stop` take until the run has ended."""

    def __init__(self, path: Path, tell: Callable[[LinkEvent], None]) -> None:
        self.path = path
        self.wishes = 0
        self._tell_all = tell
        self._stopped = threading.Event()
        self._guard = threading.Lock()
        self._client: Client | None = None
        self._job = ""
        self._live: LiveRun | None = None
        self._last_growth: tuple[Session | None, Progress | None, RunState] | None = None
        self._due = 0.0

    def stop(self) -> None:
        """Tell nothing more; the run goes on."""
        self._stopped.set()

    def cancel(self, times: Literal[1, 2]) -> None:
        """Stop the run: once, after its batch; twice, now. ExplorerError where another process runs it."""
        with self._guard:
            self.wishes += times
            client, job = self._client, self._job
        if client is not None:
            client.cancel(job, times)
        elif self._live is not None:
            raise ExplorerError(
                "another program runs this experiment", where=self.path.stem, remedy="press ctrl+c where it was started"
            )

    def follow_job(self, client: Client, job: str, *, anew: bool = False) -> None:
        """Follow a job of the worker; `anew`: until it runs, what the run's folder holds is of another run."""
        with self._guard:
            self._client, self._job = client, job
            wishes = self.wishes
        last: JobState | None = None
        try:
            if wishes:
                client.cancel(job, 1 if wishes == 1 else 2)
            for state in client.follow(job, tick=TICK):
                if self._stopped.is_set():
                    return
                last = state or last
                if last is not None and last.state not in ENDED:
                    self._look_at_job(last, anew=anew)
        except WorkerGoneError:
            self._lost()
            return
        except ExplorerError as error:
            self._tell(RunFailed(error, self.path))
            return
        if last is not None:
            self._end(last)

    def follow_folder(self) -> None:
        """Follow a run that no worker of ours has, by its folder alone; it may be dead, or saved already."""
        try:
            self._open_live()
            if self._live is None:
                session = load_session(self.path)
                self._tell(RunEnded(self.path, session, "shown" if session.state == "finished" else session.state))
                return
            self._watch_folder(self._live)
        except ExplorerError as error:
            self._tell(RunFailed(error, self.path))

    def _watch_folder(self, live: LiveRun) -> None:
        left_since: float | None = None
        was_written = False
        while not self._stopped.is_set():
            live.poll()
            if live.life == "gone":
                break
            was_written = was_written or live.life == "written"
            if live.life == "left":
                left_since = left_since or time.monotonic()
                if not was_written or time.monotonic() > left_since + _GRACE:
                    break
            else:
                left_since = None
                self._grew(live.progress, "running")
            self._stopped.wait(TICK)
        if self._stopped.is_set():
            return
        self._grew(None, "interrupted", at_once=True)
        saved = _saved_of(live)
        if saved is not None and (live.life == "gone" or len(saved.runs) == live.done):
            self._tell(RunEnded(saved.path or self.path, saved, saved.state))
        else:
            self._tell(RunLost(self.path, live.done, live.runs))

    def _look_at_job(self, state: JobState, *, anew: bool) -> None:
        progress = Progress.from_dict(state.progress)
        runs = progress is not None and progress.stage in ("running", "survey", "lengths", "saving")
        if self._live is not None and self._live.life == "gone":
            self._live = None
        if self._live is None and (runs or not anew):
            # Where it was renamed while it waited, the worker has found it.
            self._open_live(Path(state.session))
        if self._live is not None:
            self._live.poll()
        self._grew(progress or Progress("waiting"), "queued" if state.state == "queued" else "running")

    def _open_live(self, path: Path | None = None) -> None:
        path = path or self.path
        folder = paths.run_folder(path)
        if not is_run_folder(folder):
            return
        before = load_session(path) if path.exists() else None
        try:
            live = LiveRun(folder, before)
            live.poll()
        except ExplorerError:
            # A run that is saved takes its folder away, perhaps between two of these lines.
            if is_run_folder(folder):
                raise
            return
        self._live = live

    def _grew(self, progress: Progress | None, state: RunState, *, at_once: bool = False) -> None:
        session = self._live.session if self._live else None
        now = self._last_growth
        # Sessions by identity: the same one is told again only with another progress.
        same = now is not None and now[0] is session and now[1:] == (progress, state)
        turns = now is None or now[2] != state or _stage(now[1]) != _stage(progress)
        if same or (time.monotonic() < self._due and not turns and not at_once):
            return
        self._due = time.monotonic() + 0.8 * TICK
        self._last_growth = session, progress, state
        self._tell(RunGrew(self.path, session, progress, state))

    def _end(self, state: JobState) -> None:
        fault = as_error(state.fault) if state.fault else None
        path = Path(state.session)
        session: Session | None = None
        if state.saved:
            try:
                session = load_session(path)
            except ExplorerError as error:
                fault = error
        self._tell(RunEnded(path, session, state.state, state.told, fault))

    def _lost(self) -> None:
        live = self._live
        if live is None:
            self._tell(WorkerLost(self.path, 0, 0))
            return
        try:
            live.poll()
        except ExplorerError as error:
            self._tell(RunFailed(error, self.path))
            return
        saved = _saved_of(live) if live.life == "gone" else None
        if saved is not None:
            self._tell(RunEnded(saved.path or self.path, saved, saved.state))
            return
        self._grew(None, "interrupted", at_once=True)
        self._tell(WorkerLost(self.path, live.done, live.runs))

    def _tell(self, event: LinkEvent) -> None:
        if isinstance(event, RunEnded):
            session = event.session if event.state == "interrupted" else None
            # Here, since it is read from a file, which the screen has no time for.
            standing = None if session is None else session.standing
            event = dataclasses.replace(event, asked=self.path, standing=standing)
        if not self._stopped.is_set():
            self._tell_all(event)


def _stage(progress: Progress | None) -> str:
    return progress.stage if progress else ""


def _saved_of(live: LiveRun) -> Session | None:
    """Find what was saved of a run: under its name, or one beside it where that was taken meanwhile."""
    stem = live.path.name.removesuffix(".json")
    named = [path for path in sessions_in(live.path.parent) if path.name.startswith(f"{stem}-")]
    for path in (live.path, *named):
        try:
            session = load_session(path)
        except ExplorerError:
            continue
        if session.created == live.created:
            return session
    return None


class RunFinder:
    """Looks for runs; a folder that was read before is read on."""

    def __init__(self) -> None:
        self._journals: dict[Path, JournalReader] = {}

    def look(self) -> tuple[FoundRun, ...]:
        """List the runs, the newest first; folders that cannot be read are left out."""
        runs: list[FoundRun] = []
        folders = known_runs()
        for folder in folders:
            try:
                runs.append(self._read(folder))
            except (ExplorerError, KeyError, TypeError):
                self._journals.pop(folder, None)
        self._journals = {folder: self._journals[folder] for folder in folders if folder in self._journals}
        return tuple(runs)

    def _read(self, folder: Path) -> FoundRun:
        journal = self._journals.get(folder)
        if journal is None:
            journal = self._journals[folder] = JournalReader(folder)
        journal.poll()
        path = folder.with_name(f"{folder.name.removesuffix('.run')}.json")
        runs = len(grid_of(journal.experiment, len(journal.start.prompts)))
        alive = writer_pid(folder) is not None
        return FoundRun(path, len(journal.run_indices), runs, alive, survey_standing(journal))
