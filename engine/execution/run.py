"""Running an experiment: from its files to a saved session, whatever happens on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.bands import with_bands
from srm_explorer.engine.errors import ExplorerError, is_out_of_memory
from srm_explorer.engine.execution.lengths import LengthPass, by_name
from srm_explorer.engine.execution.provenance import Provenance, provenance_of, versions
from srm_explorer.engine.execution.rows import RowMaker, as_saved, check_directions, fed_prompts, remarks_on_feeding
from srm_explorer.engine.execution.w_out import effective_w_out_rows, plane_directions
from srm_explorer.engine.experiment import Experiment, Site, check_against, conditions
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.model import (
    Capture,
    Decoded,
    LoadedModel,
    SelfTest,
    WarmModel,
    decode,
    describe_device,
    device_key,
    release_memory,
    rows_that_fit,
    threads,
    used_bytes,
    w_out_rows,
)
from srm_explorer.engine.runs import resume
from srm_explorer.engine.runs.collect import assemble_session, grid_of, measured_in, not_finite, resolved_in
from srm_explorer.engine.runs.controls import choose_controls, chosen_in
from srm_explorer.engine.runs.forecast import forecast_inputs
from srm_explorer.engine.runs.inputs import Inputs
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.journal_reader import JournalReader
from srm_explorer.engine.runs.journal_records import (
    ControlsChosen,
    MeansKept,
    OutOfMemory,
    RunResumed,
    RunStart,
    ValuesResolved,
)
from srm_explorer.engine.runs.pace import keep_pace
from srm_explorer.engine.runs.plan import Layout, plan_layout
from srm_explorer.engine.runs.planes import left_out
from srm_explorer.engine.runs.progress import Meter, Progress, Stopped, StopSignal
from srm_explorer.engine.runs.resume import Outcome, Preflight, already_finished, preflight
from srm_explorer.engine.runs.units import needs_baseline, readings_of, resolve
from srm_explorer.engine.session import DamagedError, PromptRecord, load_session, plain, read_record, save_session
from srm_explorer.engine.session.controls import Controls
from srm_explorer.engine.session.session import Resolved, now
from srm_explorer.engine.worker.device_lock import device_lock


@dataclass
class NewRun:
    """Everything a new run is begun with; making it changes nothing on disk.

    Args:
        experiment: what to run.
        inputs: what was read for it.
        model: the model, tested.
        test: what the self-test found.
        base: the folder that the experiment's relative paths start from.
        rows: the most rows a batch may have; None plans it from free memory.

    Raises:
        ExplorerError: a prompt that cannot be run, statistics that are not there, or directions that span no plane.
    """

    experiment: Experiment
    inputs: Inputs
    model: LoadedModel
    test: SelfTest
    base: Path
    rows: int | None
    _prompts: tuple[PromptRecord, ...] = field(init=False)
    _maker: RowMaker = field(init=False)
    _resolved: Resolved | None = field(init=False)
    _directions: dict[str, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        listed = self.inputs.prompts
        self._prompts = fed_prompts(self.model, self.experiment, listed)
        grid = grid_of(self.experiment, len(self._prompts))
        self._maker = RowMaker(self.experiment, grid, self._prompts, self.inputs.directions, self.model)
        _ = (
            self._maker.positions,
            self._maker.captured,
            self._maker.patches,
        )  # Refused here, before anything is changed on disk.
        self._resolved = _known_values(self.experiment, self.base)
        self._directions = plane_directions(self.experiment, self.inputs, self.model)

    def journal(self, folder: Path) -> JournalWriter:
        """Begin the run folder.

        Raises:
            ExplorerError: it cannot be written, or another process writes it.
        """
        start = RunStart(
            prompts=self._prompts,
            inputs=self.inputs.hashes,
            folder=_working_folder(),
            provenance=provenance_of(self.experiment, self.model, self.test, self.inputs.hashes, self.base)
            | self._maker.resolved_positions(),
            created=now(),
            directions=self._directions,
            arithmetic=forecast_inputs(
                self.experiment, self.inputs.directions, effective_w_out_rows(self.model, self.experiment)
            ),
        )
        journal = JournalWriter.create(folder, self.experiment, layout=self._layout(), extra=start)
        return _with_values(journal, self._resolved)

    def _layout(self) -> Layout:
        maker = self._maker
        lengths = [len(prompt.token_ids) for prompt in self._prompts]
        captures = [capture for _, capture in (*maker.captures(), *maker.moments())]
        longest = max(lengths) + self.experiment.generation.tokens
        rows = self.rows or rows_that_fit(self.model, longest, captures)
        controls = sum(condition.control is not None for condition in maker.conditions)
        return plan_layout(maker.grid, lengths, rows, baseline_first=needs_baseline(self.experiment), controls=controls)


def _working_folder() -> str | None:
    """Where bare names of prompt sets were looked up, so that a run is gone on with from anywhere."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def resume_journal(
    experiment: Experiment, inputs: Inputs, model: LoadedModel, folder: Path, base: Path
) -> JournalWriter:
    """Open the run folder of a run that was begun; what has changed since is noted in it.

    Raises:
        ExplorerError: another model, other prompts, another process that writes it, a damaged folder.
    """
    journal = JournalWriter.open_existing(folder)
    try:
        if fed_prompts(model, experiment, inputs.prompts) != journal.reader.start.prompts:
            what = "the prompts, or the ids the tokenizer makes of them, are not those this run began with"
            raise ExplorerError(what, where=str(folder), remedy="begin again with --restart")
        _note_changes(journal, model)
        known = None if resolved_in(journal.reader) else _known_values(experiment, base)
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


def _note_changes(journal: JournalWriter, model: LoadedModel) -> None:
    try:
        began = read_record(Provenance, journal.reader.start.provenance, "provenance")
    except DamagedError as error:
        what = f"it does not say what it began with: {error}"
        raise ExplorerError(what, where=str(journal.folder), remedy="begin again with --restart") from None
    if began.model.weights_sha256 != model.weights_sha256:
        raise ExplorerError(
            "the model's weights are not those this run began with",
            where=model.name,
            remedy="put them back, or begin again with --restart",
        )
    was = {"device": began.device, "threads": began.threads, **began.versions}
    now_is = {"device": describe_device(model.device), "threads": threads(), **versions()}
    changed = {name: [was.get(name), value] for name, value in now_is.items() if was.get(name) != value}
    journal.event(RunResumed(changed))


def freeze_controls(journal: JournalWriter, model: LoadedModel) -> Controls:
    """Choose the controls of a run whose baseline is finished, and put them into its journal.

    Raises:
        ExplorerError: they cannot be matched, or the journal cannot be written.
    """

    def norms(site: str) -> NDArray[np.float64]:
        rows = w_out_rows(model, Site.parse(site).layer).astype(np.float64)
        return np.sqrt((rows**2).sum(axis=1))

    def width(site: str) -> int:
        return model.shape.width(Site.parse(site))

    chosen = choose_controls(journal.reader, width, norms)
    journal.event(ControlsChosen(plain(chosen)))
    return chosen


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
        with device_lock(device_key(experiment.model.device), meter, holder) as waited:
            if waited:
                before = look()
                if isinstance(before, Outcome):
                    return before
            if before.standing.kind == "resume" and on_resume:
                on_resume(*_finished_in(path))
            start = _Start(experiment, before, base, path, restart, rows)
            return start.run(meter, holder)
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


@dataclass(frozen=True)
class _Start:
    """What one start of a run is given."""

    experiment: Experiment
    preflight: Preflight
    base: Path
    path: Path
    restart: bool
    rows: int | None

    def run(self, meter: Meter, warm: WarmModel) -> Outcome:
        """Load and check the model, run what is left, and save."""
        path = self.path
        inputs, standing, notes = self.preflight.inputs, self.preflight.standing, self.preflight.notes
        model = warm.load(self.experiment.model, self.base, meter.stage)
        meter.weigh = partial(used_bytes, model.device)
        experiment = self.experiment.with_residual(model.shape.centres)
        check_against(experiment, model.shape)
        check_directions(experiment, inputs.directions, model)
        model.check_sites([*experiment.capture.sites, *(edit.site for edit in experiment.interventions)])
        test = warm.test(meter.stage, partial(meter.part, "testing"))
        folder = paths.run_folder(path)
        if standing.kind == "resume":
            journal = resume_journal(experiment, inputs, model, folder, self.base)
            experiment = journal.reader.experiment
            notes += () if journal.reader.has_checksums else (_ON_TRUST,)
        else:
            begin = NewRun(experiment, inputs, model, test, self.base, self.rows)
            notes += _decided(self.experiment, experiment, model)
            notes += remarks_on_feeding(model, experiment, inputs.prompts)
            notes += tuple(f"moved to the trash: {moved}" for moved in (resume.clear(path) if self.restart else []))
            journal = begin.journal(folder)
        with journal:
            running = _Running(experiment, inputs, model, journal, meter)
            resumed = len(journal.reader.run_indices)
            complete = running.run()
            keep_pace(self.experiment.model, self.base, rate=meter.rate, is_learned=True)
            meter.stage("saving")
            if not journal.reader.run_indices:
                return Outcome(None, path, "interrupted", resumed, notes)
            session, vectors = assemble_session(journal.reader, path, standing.session)
            session = with_bands(session, vectors)
            saved = save_session(session, path, vectors=vectors)
        if complete:
            resume.remove_if_saved(folder, saved.path)
        notes += (*left_out(session.events), *not_finite(session.runs, vectors))
        notes += (saved.note,) if saved.note else ()
        return Outcome(saved.session, saved.path, "finished" if complete else "interrupted", resumed, notes)


_ON_TRUST = (
    "the run was begun by a version whose journal has no checksums: what it says of the runs finished then is taken on"
    " trust"
)


def _decided(written: Experiment, experiment: Experiment, model: LoadedModel) -> tuple[str, ...]:
    """Say how residual streams are captured, where the model decided it and any are."""
    if written.capture.residual != "auto" or not any(Site.parse(site).is_stream for site in experiment.capture.sites):
        return ()
    norms = "take the mean over d_model out" if model.shape.centres else "leave the mean over d_model in"
    return (
        f"residual streams are captured {experiment.capture.residual}: the norms of {Path(model.name).name} {norms}",
    )


def _finished_in(path: Path) -> tuple[int, int]:
    reader = JournalReader(paths.run_folder(path))
    reader.poll()
    return len(reader.run_indices), len(reader.grid)


class _Running:
    """The loop over the batches of a journal."""

    def __init__(
        self, experiment: Experiment, inputs: Inputs, model: LoadedModel, journal: JournalWriter, meter: Meter
    ) -> None:
        prompts = journal.reader.start.prompts
        self._experiment = experiment
        self._model = model
        self._journal = journal
        self._grid: Grid = grid_of(experiment, len(prompts))
        self._layout = journal.reader.plan
        self._maker = RowMaker(experiment, self._grid, prompts, inputs.directions, model)
        self._generation = self._maker.generation()
        self._meter = meter
        meter.runs, meter.runs_done = len(self._grid), len(journal.reader.run_indices)
        meter.steps = experiment.generation.tokens
        meter.listeners.append(lambda progress: journal.progress(progress.to_dict()))

    def run(self) -> bool:
        """Run every batch that is not finished; tell whether all are now."""
        resolved = resolved_in(self._journal.reader)
        controls = chosen_in(self._journal.reader)
        try:
            for number, batch in enumerate(self._layout.batches):
                if number == self._layout.first and not resolved:
                    resolved = self._resolve()
                if controls is None and any(self._maker.is_control(index) for index in batch):
                    controls = freeze_controls(self._journal, self._model)
                    resolved = resolved_in(self._journal.reader)
                todo = [index for index in batch if index not in self._journal.reader.run_indices]
                while todo:
                    if self._meter.stop.level:
                        return False
                    part = todo[: self._rows_now()]
                    if self._batch(number, part, resolved, controls):
                        todo = todo[len(part) :]
            return self._take_shorter_means(resolved, controls)
        except Stopped:
            return False

    def _take_shorter_means(self, resolved: Resolved, controls: Controls | None) -> bool:
        """Take and journal the means at the lengths at which others stopped; tell whether all are there."""
        reader = self._journal.reader
        batches = [[run.index for run in batch.runs] for batch in reader.batches]
        again = LengthPass(self._maker, batches, reader.runs)
        done = {index for event in reader.events_of(MeansKept) for index in event.runs}
        left = [part for part in again.parts if not done.issuperset(part)]
        if left:
            self._meter.stage("lengths")
        for part in left:
            if self._meter.stop.level:
                return False
            means = again.means(part, resolved, controls, self._meter.halt)
            self._journal.append_means(part, by_name(means, part))
        return True

    def _resolve(self) -> Resolved:
        readings = measured_in(self._journal.reader)
        resolved = resolve(self._experiment, conditions(self._experiment), readings)
        self._journal.event(ValuesResolved(resolved))
        return resolved

    def _rows_now(self) -> int:
        """Read how many rows still fit: what was learnt by running out of memory is in the journal."""
        fewer = [event.rows for event in self._journal.reader.events_of(OutOfMemory)]
        return min([self._layout.rows, *fewer])

    def _batch(self, number: int, indices: Sequence[int], resolved: Resolved, controls: Controls | None) -> bool:
        """Decode some runs of a batch and journal them; False where they did not fit into memory."""
        has_baseline = any(self._grid.condition(index) == 0 for index in indices)
        captures = [*self._maker.captures(), *(self._maker.moments() if has_baseline else [])]
        self._meter.begin_batch(len(indices))
        try:
            rows = self._maker.rows(indices, resolved, controls)
            decoded = decode(
                self._model, rows, self._generation, [capture for _, capture in captures], on_step=self._meter.step
            )
            vectors = self._vectors(indices, decoded, captures)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            decoded = vectors = None
        if decoded is None or vectors is None:
            # Outside the handler, so that the traceback no longer holds the tensors that did not fit.
            self._halve(len(indices))
            return False
        self._append(number, indices, decoded, vectors)
        self._meter.end_batch(sum(len(row.tokens) for row in decoded.rows))
        return True

    def _halve(self, rows: int) -> None:
        release_memory()
        if rows == 1:
            raise ExplorerError(
                "one row alone does not fit into memory",
                where=describe_device(self._model.device),
                remedy="shorten the prompts or generation.tokens, or choose a smaller dtype or model",
            )
        self._journal.event(OutOfMemory(rows // 2))

    def _vectors(
        self, indices: Sequence[int], decoded: Decoded, captures: Sequence[tuple[str, Capture]]
    ) -> dict[str, Any]:
        """What was captured of a batch, as it is saved: as large again as it is in the model's precision."""
        vectors: dict[str, Any] = {}
        for column, (name, capture) in enumerate(captures):
            arrays = [as_saved(row.captured[column]) for row in decoded.rows]
            if capture.reduce == "moments":
                # Of the baseline alone: the other rows of its batches are not what is matched on.
                is_baseline = [self._grid.condition(index) == 0 for index in indices]
                arrays = [array if kept else array[:0] for array, kept in zip(arrays, is_baseline, strict=True)]
            vectors[name] = np.stack(arrays) if capture.reduce in ("mean", "last") else arrays
        return vectors

    def _append(self, number: int, indices: Sequence[int], decoded: Decoded, vectors: Mapping[str, Any]) -> None:
        records = [self._maker.record(index, row) for index, row in zip(indices, decoded.rows, strict=True)]
        receipt = {"sites": [dataclasses.asdict(receipt) for receipt in decoded.receipts], "rows": len(indices)}
        self._journal.append_batch(number, records, vectors, receipt=receipt)
