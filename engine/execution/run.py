"""Running an experiment: from its files to a saved session, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.bands import with_bands
from srm_explorer.engine.errors import ExplorerError, is_out_of_memory
from srm_explorer.engine.execution.actors import RayExecutor, idle_actors, lost_actors
from srm_explorer.engine.execution.batches import BatchTask, NormsTask
from srm_explorer.engine.execution.executor import Executor, Finished, LocalExecutor
from srm_explorer.engine.execution.lengths import LengthPass, MeansTask, by_name
from srm_explorer.engine.execution.opening import NewRun, Opened, Opening
from srm_explorer.engine.execution.provenance import Provenance
from srm_explorer.engine.execution.surveying import Surveying
from srm_explorer.engine.experiment import Experiment, ModelShape, Site, conditions
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.model import WarmModel, backends, device_key, settings_given_back, threads
from srm_explorer.engine.runs import resume
from srm_explorer.engine.runs.collect import assemble_session, measured_in, not_finite, resolved_in
from srm_explorer.engine.runs.controls import choose_controls, chosen_in, measured_sites
from srm_explorer.engine.runs.device_lock import device_lock
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.journal_reader import JournalReader
from srm_explorer.engine.runs.journal_records import (
    ActorLost,
    ControlsChosen,
    MeansKept,
    OutOfMemory,
    RunResumed,
    ValuesResolved,
)
from srm_explorer.engine.runs.pace import keep_pace
from srm_explorer.engine.runs.planes import left_out
from srm_explorer.engine.runs.progress import Meter, Progress, Stopped, StopSignal
from srm_explorer.engine.runs.resume import Outcome, Preflight, already_finished, preflight
from srm_explorer.engine.runs.units import needs_baseline, readings_of, resolve
from srm_explorer.engine.session import DamagedError, load_session, plain, read_record, save_session
from srm_explorer.engine.session.controls import Controls
from srm_explorer.engine.session.session import Resolved, now


def _working_folder() -> str | None:
    """Where bare names of prompt sets were looked up, so that a run is gone on with from anywhere."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def begin_journal(opened: Opened, new: NewRun, folder: Path, values: Resolved | None) -> JournalWriter:
    """Begin the run folder of a new run.

    Args:
        values: raw ones, where they are known before the baseline has run.

    Raises:
        ExplorerError: it cannot be written, or another process writes it.
    """
    start = dataclasses.replace(new.start, folder=_working_folder(), created=now())
    journal = JournalWriter.create(folder, opened.experiment, layout=new.layout, extra=start)
    return _with_values(journal, values)


def resume_journal(opened: Opened, folder: Path, base: Path) -> JournalWriter:
    """Open the run folder of a run that was begun; what has changed since is noted in it.

    Args:
        base: the folder that the experiment's relative paths start from.

    Raises:
        ExplorerError: another model, other prompts, another process that writes it, a damaged folder.
    """
    journal = JournalWriter.open_existing(folder)
    try:
        if opened.prompts != journal.reader.start.prompts:
            what = "the prompts, or the ids the tokenizer makes of them, are not those this run began with"
            raise ExplorerError(what, where=str(folder), remedy="begin again with --restart")
        _note_changes(journal, opened)
        known = None if resolved_in(journal.reader) else _known_values(opened.experiment, base)
    except BaseException:
        journal.close()
        raise
    return _with_values(journal, known)


def _with_values(journal: JournalWriter, values: Resolved | None) -> JournalWriter:
    if values is not None:
        try:
            journal.event(ValuesResolved(values))
        except BaseException:
            journal.close()
            raise
    return journal


def _known_values(experiment: Experiment, base: Path) -> Resolved | None:
    """Make the values raw that can be before the baseline has run; None where they wait for it."""
    if needs_baseline(experiment):
        return None
    if experiment.stats is None:
        return resolve(experiment, conditions(experiment), [None] * len(experiment.interventions))
    session = load_session(_stats_path(experiment.stats, base))
    return resolve(experiment, conditions(experiment), readings_of(session, experiment))


def _stats_path(stats: str, base: Path) -> Path:
    """A path starts from the experiment's folder, then from the working folder; a bare name is looked up first."""
    named = paths.session_path(stats)
    from_base = paths.session_path(str(base / paths.expanded(stats)))
    is_path = "/" in stats or stats.endswith(".json")
    order = (from_base, named) if is_path else (named, from_base)
    return next((path for path in order if path.exists()), order[0])


def _note_changes(journal: JournalWriter, opened: Opened) -> None:
    try:
        began = read_record(Provenance, journal.reader.start.provenance, "provenance")
    except DamagedError as error:
        what = f"it does not say what it began with: {error}"
        raise ExplorerError(what, where=str(journal.folder), remedy="begin again with --restart") from None
    if began.model.weights_sha256 != opened.weights_sha256:
        raise ExplorerError(
            "the model's weights are not those this run began with",
            where=opened.shape.name,
            remedy="put them back, or begin again with --restart",
        )
    was = {"device": began.device, "threads": began.threads, **began.versions}
    now_is = {"device": opened.device, "threads": opened.threads, **opened.versions}
    changed = {name: [was.get(name), value] for name, value in now_is.items() if was.get(name) != value}
    journal.event(RunResumed(changed))


def freeze_controls(journal: JournalWriter, executor: Executor, shape: ModelShape) -> Controls:
    """Choose the controls of a run whose baseline is finished, and put them into its journal.

    Raises:
        ExplorerError: they cannot be matched, or the journal cannot be written.
    """
    norms = executor.ask(NormsTask(measured_sites(journal.reader.experiment)))

    def width(site: str) -> int:
        return shape.width(Site.parse(site))

    chosen = choose_controls(journal.reader, width, norms.__getitem__)
    journal.event(ControlsChosen(plain(chosen)))
    return chosen


@settings_given_back()
def run_experiment(
    experiment: Experiment,
    base: Path,
    path: Path,
    *,
    restart: bool = False,
    listener: Callable[[Progress], None] | None = None,
    stop: StopSignal | None = None,
    rows: int | None = None,
    on_resume: Callable[[int, int], None] | None = None,
    warm: WarmModel | None = None,
) -> Outcome:
    """Run an experiment, or go on with it, and save it as a session.

    Args:
        experiment: what to run.
        base: the folder its relative paths start from.
        path: the session's .json file.
        restart: move what has this name to the trash first.
        listener: told how far the run is.
        stop: asked after every step; level 1 finishes the batch, level 2 stops now.
        rows: the most rows a batch may have; None plans it from free memory.
        on_resume: told, before the model is loaded, how many runs of how many are finished already.
        warm: holds the model before and after, so that the next run need not load it.

    Raises:
        ExplorerError: whatever a user can do something about, before anything was changed.
    """
    meter = Meter([listener] if listener else [], stop or StopSignal())
    holder = warm or WarmModel()

    def look() -> Preflight | Outcome:
        checked = preflight(experiment, base, path, restart=restart)
        finished = already_finished(checked, path)
        if finished is None:
            resume.check_idle(path)
        return finished or checked

    before = look()
    if isinstance(before, Outcome):
        return before
    notes = before.notes
    try:
        with _devices(experiment, base, meter, holder) as waited:
            if waited:
                before = look()
                if isinstance(before, Outcome):
                    return before
            if before.standing.kind == "resume" and on_resume:
                on_resume(*_finished_in(path))
            start = _Start(experiment, before, base, path, restart, rows)
            executor = executor_of(experiment, holder)
            try:
                return start.run(meter, executor)
            finally:
                executor.close()
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        what = "there is not enough memory to go on; what is finished is kept"
        remedy = "free some, or run it where there is more: the same command goes on from there"
        raise ExplorerError(what, where=str(paths.run_folder(path)), remedy=remedy) from None
    except Stopped:
        return Outcome(None, path, "interrupted", notes=notes)
    finally:
        if warm is None:
            holder.unload()


def executor_of(experiment: Experiment, warm: WarmModel) -> Executor:
    """Who carries an experiment's tasks out.

    Args:
        warm: holds the model of this process, which has none where others do it.
    """
    if experiment.execution.executor == "local":
        return LocalExecutor(warm)
    return RayExecutor(experiment.execution, threads())


@contextmanager
def _devices(experiment: Experiment, base: Path, meter: Meter, holder: WarmModel) -> Generator[bool]:
    """Hold what an experiment computes on here, as `device_lock` does; of a cluster that runs, nothing is ours."""
    model = experiment.model
    if experiment.execution.executor == "local":
        with device_lock(device_key(model, base), meter, holder) as waited:
            yield waited
        return
    # Others compute: what is loaded here would only stand in their way.
    holder.unload()
    if experiment.execution.address is not None:
        yield False
        return
    gpus = len(backends().gpus)
    if gpus > 1 and not model.device.startswith("cpu"):
        model = model.model_copy(update={"device": f"cuda:0-{gpus - 1}"})
    with device_lock(device_key(model, base), meter) as waited:
        yield waited


@dataclass(frozen=True)
class _Start:
    """What one start of a run is given."""

    experiment: Experiment
    preflight: Preflight
    base: Path
    path: Path
    restart: bool
    rows: int | None

    def run(self, meter: Meter, executor: Executor) -> Outcome:
        """Have the model loaded and checked, run what is left, and save."""
        path = self.path
        inputs, standing, notes = self.preflight.inputs, self.preflight.standing, self.preflight.notes
        is_new = standing.kind != "resume"
        opened = executor.open(Opening(self.experiment, inputs, self.base, self.rows, is_new), meter)
        folder = paths.run_folder(path)
        if opened.new is None:
            journal = resume_journal(opened, folder, self.base)
            notes += () if journal.reader.has_checksums else (_ON_TRUST,)
        else:
            values = _known_values(opened.experiment, self.base)
            notes += opened.new.notes
            notes += tuple(f"moved to the trash: {moved}" for moved in (resume.clear(path) if self.restart else []))
            journal = begin_journal(opened, opened.new, folder, values)
        with journal:
            executor.set_up(opened.subject(journal.reader.experiment, inputs))
            running = _Running(journal, executor, opened, meter)
            resumed = len(journal.reader.run_indices)
            complete = running.run()
            # Others than this process are not needed any more, and their pace is none of this machine's.
            executor.close()
            if self.experiment.execution.executor == "local":
                # The baseline of a survey is too few rows to tell how fast many are.
                rate = running.survey_rates.get("free", 0.0) if self.experiment.survey else meter.rate
                scored = running.survey_rates.get("forced", 0.0)
                keep_pace(self.experiment.model, self.base, rate=rate, scored=scored, is_learned=True)
            meter.stage("saving")
            if not journal.reader.run_indices:
                return Outcome(None, path, "interrupted", resumed, notes)
            session, vectors = assemble_session(journal.reader, path, standing.session)
            session = with_bands(session, vectors)
            saved = save_session(session, path, vectors=vectors)
        if complete:
            resume.remove_if_saved(folder, saved.path)
        notes += () if self.experiment.survey else idle_actors(self.experiment.execution, journal.reader.plan)
        notes += (*left_out(session.events), *lost_actors(running.lost), *not_finite(session.runs, vectors))
        notes += (saved.note,) if saved.note else ()
        return Outcome(saved.session, saved.path, "finished" if complete else "interrupted", resumed, notes)


_ON_TRUST = (
    "the run was begun by a version whose journal has no checksums: what it says of the runs finished then is taken on"
    " trust"
)


def _finished_in(path: Path) -> tuple[int, int]:
    reader = JournalReader(paths.run_folder(path))
    reader.poll()
    return len(reader.run_indices), len(reader.grid)


class _Running:
    """The loop over the batches of a journal: sends tasks, and journals what comes of them."""

    def __init__(self, journal: JournalWriter, executor: Executor, opened: Opened, meter: Meter) -> None:
        self._journal = journal
        self._executor = executor
        self._opened = opened
        self._experiment = journal.reader.experiment
        self._grid: Grid = journal.reader.grid
        self._layout = journal.reader.plan
        self._meter = meter
        self.lost: list[ActorLost] = []
        meter.runs, meter.runs_done = len(self._grid), len(journal.reader.run_indices)
        meter.steps = self._experiment.generation.tokens
        meter.listeners.append(lambda progress: journal.progress(progress.to_dict()))
        self.survey_rates: dict[str, float] = {}

    def run(self) -> bool:
        """Run every batch that is not finished; tell whether all are now."""
        resolved = resolved_in(self._journal.reader)
        controls = chosen_in(self._journal.reader)
        try:
            self._note_news()
            for has_values, of_controls, batches in self._stretches():
                if has_values and not resolved:
                    resolved = self._resolve()
                if controls is None and of_controls:
                    controls = freeze_controls(self._journal, self._executor, self._opened.shape)
                    resolved = resolved_in(self._journal.reader)
                if not self._take_batches(batches, resolved, controls):
                    return False
            return self._take_shorter_means(resolved, controls) and self._survey()
        except Stopped:
            return False
        finally:
            self._note_news()

    def _stretches(self) -> Iterator[tuple[bool, bool, list[tuple[int, tuple[int, ...]]]]]:
        """Batches by number, as far as they wait for nothing but what is before them.

        Yields:
            whether raw values must be known, whether controls must be chosen, and the batches.
        """
        controls = {condition.index for condition in conditions(self._experiment) if condition.control is not None}

        def waits_for(numbered: tuple[int, tuple[int, ...]]) -> tuple[bool, bool]:
            number, batch = numbered
            return number >= self._layout.first, any(self._grid.condition(index) in controls for index in batch)

        for (has_values, of_controls), batches in itertools.groupby(enumerate(self._layout.batches), waits_for):
            yield has_values, of_controls, list(batches)

    def _take_batches(
        self, batches: Iterable[tuple[int, tuple[int, ...]]], resolved: Resolved, controls: Controls | None
    ) -> bool:
        """Have what is left of some batches run, and journal it; tell whether all of it is there."""
        done = self._journal.reader.run_indices
        left = [(number, tuple(index for index in batch if index not in done)) for number, batch in batches]
        queue = deque((number, todo) for number, todo in left if todo)

        def take(by: str) -> BatchTask | None:
            if self._meter.stop.level or not queue:
                return None
            number, todo = queue.popleft()
            most = self._rows_now(by)
            if todo[most:]:
                queue.appendleft((number, todo[most:]))
            # Which of several actors is given the next is not known yet.
            following = BatchTask(queue[0][0], queue[0][1][:most], resolved, controls) if queue and not by else None
            return BatchTask(number, todo[:most], resolved, controls, following)

        for finished in self._executor.run(take, self._meter):
            task, batch = cast("BatchTask", finished.task), finished.result
            if batch is None:
                self._halve(task.rows, finished)
                queue.appendleft((task.number, task.indices))
                continue
            self._note_news()
            who = {"by": finished.by, "device": finished.device}
            self._journal.append_batch(task.number, batch.runs, batch.vectors, receipt=batch.receipt, **who)
            self._meter.end_batch(batch.tokens, task.rows)
        return not queue

    def _take_shorter_means(self, resolved: Resolved, controls: Controls | None) -> bool:
        """Take and journal the means at the lengths at which others stopped; tell whether all are there."""
        reader = self._journal.reader
        batches = [[run.index for run in batch.runs] for batch in reader.in_order]
        again = LengthPass(self._experiment, self._opened.shape, batches, reader.runs)
        done = {index for event in reader.events_of(MeansKept) for index in event.runs}
        left = deque(part for part in again.parts if not done.issuperset(part))
        if left:
            self._meter.stage("lengths")

        def take(_by: str) -> MeansTask | None:
            return None if self._meter.stop.level or not left else again.task(left.popleft(), resolved, controls)

        for finished in self._executor.run(take, self._meter, counted=False):
            part = cast("MeansTask", finished.task).part
            if finished.result is None:
                raise self._does_not_fit(finished)
            self._journal.append_means(part, by_name(finished.result, part))
        return not left

    def _survey(self) -> bool:
        """Go through the neurons of a survey; tell whether all is done, which it is where there is none."""
        if not self._experiment.survey:
            return True
        about = self._journal, self._executor, self._opened, self._meter
        surveying = Surveying(*about, rows_now=self._rows_now, on_misfit=self._halve, rates=self.survey_rates)
        return surveying.run()

    def _note_news(self) -> None:
        """Put what happened to whoever decodes into the journal, and keep what the user should read."""
        for event in self._executor.news():
            self._journal.event(event)
            if isinstance(event, ActorLost):
                self.lost.append(event)

    def _resolve(self) -> Resolved:
        readings = measured_in(self._journal.reader)
        resolved = resolve(self._experiment, conditions(self._experiment), readings)
        self._journal.event(ValuesResolved(resolved))
        return resolved

    def _rows_now(self, by: str) -> int:
        """Read how many rows still fit there: what was learnt by running out of memory is in the journal."""
        fewer = [event.rows for event in self._journal.reader.events_of(OutOfMemory) if event.by in ("", by)]
        return min([self._layout.rows, *fewer])

    def _halve(self, rows: int, finished: Finished[Any]) -> None:
        if rows == 1:
            raise self._does_not_fit(finished)
        self._journal.event(OutOfMemory(rows // 2, finished.by))

    def _does_not_fit(self, finished: Finished[Any]) -> ExplorerError:
        return ExplorerError(
            "one row alone does not fit into memory",
            where=finished.device or self._opened.device,
            remedy="shorten the prompts or generation.tokens, or choose a smaller dtype or model",
        )
