"""Running an experiment: from its files to a saved session, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine import paths
from engine.errors import ExplorerError
from engine.model.capture import Capture
from engine.model.decode import Decoded, decode
from engine.model.device import is_out_of_memory, used_bytes
from engine.model.load import LoadedModel
from engine.model.warm import WarmModel, device_key
from engine.runner import life
from engine.runner.choosing import freeze_controls
from engine.runner.collect import collect, grid_of, measured_in, not_finite, resolved_in
from engine.runner.controls import chosen_in
from engine.runner.device_turn import device_turn
from engine.runner.inputs import Inputs
from engine.runner.journal import JournalWriter
from engine.runner.journal_reader import JournalReader
from engine.runner.opening import Beginning, go_on
from engine.runner.outcome import Approach, Outcome, approach, shown
from engine.runner.plan import Grid, Layout
from engine.runner.planes import left_out
from engine.runner.progress import Meter, Progress, Stop, Stopped
from engine.runner.provenance import describe_device
from engine.runner.rows import RowMaker, as_saved, check_directions
from engine.runner.units import resolve
from engine.session import PromptRecord, save_session
from engine.session.controls import Controls
from engine.session.session import Resolved
from engine.spec import Experiment, check_against, conditions
from engine.studies.session_bands import with_bands


def run_experiment(
    experiment: Experiment,
    base: Path,
    path: Path,
    *,
    restart: bool = False,
    listener: Callable[[Progress], None] | None = None,
    stop: Stop | None = None,
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
        stop: asked after every step; one wish finishes the batch, two stop now.
        rows: the most rows a batch may have; None plans it from free memory.
        on_resume: told, before the model is loaded, how many runs of how many are finished already.
        warm: holds the model before and after, so that the next run need not load it.

    Raises:
        ExplorerError: whatever a user can do something about, before anything was changed.
    """
    meter = Meter([listener] if listener else [], stop or Stop())
    tenant = warm or WarmModel()

    def find() -> Approach | Outcome:
        found = approach(experiment, base, path, restart=restart)
        before = shown(found, path)
        if before is None:
            life.check_idle(path)
        return before or found

    found = find()
    if isinstance(found, Outcome):
        return found
    told = found.told
    try:
        with device_turn(device_key(experiment.model.device), meter, tenant) as waited:
            if waited:
                found = find()
                if isinstance(found, Outcome):
                    return found
            if found.standing.kind == "resume" and on_resume:
                on_resume(*_finished_in(path))
            start = _Start(experiment, found, base, path, restart, rows)
            return start.run(meter, tenant)
    except Stopped:
        return Outcome(None, path, "interrupted", told=told)
    finally:
        if warm is None:
            tenant.unload()


@dataclass(frozen=True)
class _Start:
    """What one start of a run is given."""

    experiment: Experiment
    found: Approach
    base: Path
    path: Path
    restart: bool
    rows: int | None

    def run(self, meter: Meter, warm: WarmModel) -> Outcome:
        """Load and check the model, run what is left, and save."""
        experiment, path = self.experiment, self.path
        inputs, standing, told = self.found.inputs, self.found.standing, self.found.told
        model = warm.load(experiment.model, self.base, meter.stage)
        meter.weigh = partial(used_bytes, model.device)
        check_against(experiment, model.shape)
        check_directions(experiment, inputs.directions, model)
        model.check_sites([*experiment.capture.sites, *(one.site for one in experiment.interventions)])
        test = warm.test(meter.stage)
        folder = paths.run_folder(path)
        if standing.kind == "resume":
            journal = go_on(experiment, model, folder, self.base)
        else:
            begin = Beginning(experiment, inputs, model, test, self.base, self.rows)
            told += tuple(f"moved to the trash: {place}" for place in (life.clear(path) if self.restart else []))
            journal = begin.journal(folder)
        with journal:
            running = _Running(experiment, inputs, model, journal, meter)
            resumed = len(journal.reader.run_indices)
            complete = running.run()
            meter.stage("saving")
            if not journal.reader.run_indices:
                return Outcome(None, path, "interrupted", resumed, told)
            session, vectors = collect(journal.reader, path, standing.session)
            session = with_bands(session, vectors)
            saved = save_session(session, path, vectors=vectors)
        if complete:
            life.remove_run_folder(folder)
        told += (*left_out(session.events), *not_finite(session.runs, vectors))
        told += (saved.told,) if saved.told else ()
        return Outcome(saved.session, saved.path, "finished" if complete else "interrupted", resumed, told)


def _finished_in(path: Path) -> tuple[int, int]:
    reader = JournalReader(paths.run_folder(path))
    reader.poll()
    return len(reader.run_indices), len(grid_of(reader.experiment, len(reader.extra["prompts"])))


class _Running:
    """The loop over the batches of a journal."""

    def __init__(
        self, experiment: Experiment, inputs: Inputs, model: LoadedModel, journal: JournalWriter, meter: Meter
    ) -> None:
        prompts = [PromptRecord.from_dict(prompt) for prompt in journal.reader.extra["prompts"]]
        self._experiment = experiment
        self._model = model
        self._journal = journal
        self._grid: Grid = grid_of(experiment, len(prompts))
        self._layout = Layout.from_dict(journal.reader.layout)
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
                    if self._meter.stop.wishes:
                        return False
                    part = todo[: self._rows_now()]
                    if self._batch(number, part, resolved, controls):
                        todo = todo[len(part) :]
        except Stopped:
            return False
        return True

    def _resolve(self) -> Resolved:
        readings = measured_in(self._journal.reader)
        resolved = resolve(self._experiment, conditions(self._experiment), readings)
        self._journal.event({"event": "resolved", "values": resolved})
        return resolved

    def _rows_now(self) -> int:
        """Read how many rows still fit: what was learnt by running out of memory is in the journal."""
        fewer = [event["rows"] for event in self._journal.reader.events if event["event"] == "out of memory"]
        return min([self._layout.rows, *fewer])

    def _batch(self, number: int, indices: Sequence[int], resolved: Resolved, controls: Controls | None) -> bool:
        """Decode some runs of a batch and journal them; False where they did not fit into memory."""
        rows = [self._maker.row(index, resolved, controls) for index in indices]
        has_baseline = any(self._grid.condition(index) == 0 for index in indices)
        captures = [*self._maker.captures(), *(self._maker.moments() if has_baseline else [])]
        self._meter.begin_batch(len(rows))
        try:
            decoded = decode(
                self._model,
                rows,
                self._generation,
                [capture for _, capture in captures],
                on_step=self._meter.step,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failed = True
        else:
            failed = False
            self._append(number, indices, decoded, captures)
            self._meter.end_batch(sum(len(row.tokens) for row in decoded.rows))
        if failed:
            # Outside the handler, so that the traceback no longer holds the tensors that did not fit.
            self._halve(len(rows))
        return not failed

    def _halve(self, rows: int) -> None:
        gc.collect()
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        if rows == 1:
            raise ExplorerError(
                "one row alone does not fit into memory",
                where=describe_device(self._model.device),
                remedy="shorten the prompts or generation.tokens, or choose a smaller dtype or model",
            )
        self._journal.event({"event": "out of memory", "rows": rows // 2})

    def _append(
        self, number: int, indices: Sequence[int], decoded: Decoded, captures: Sequence[tuple[str, Capture]]
    ) -> None:
        vectors: dict[str, Any] = {}
        for place, (name, capture) in enumerate(captures):
            own = [as_saved(row.captured[place]) for row in decoded.rows]
            if capture.reduce == "moments":
                # Of the baseline alone: the other rows of its batches are not what is matched on.
                is_baseline = [self._grid.condition(index) == 0 for index in indices]
                own = [one if wanted else one[:0] for one, wanted in zip(own, is_baseline, strict=True)]
            vectors[name] = np.stack(own) if capture.reduce in ("mean", "last") else own
        records = [self._maker.record(index, row) for index, row in zip(indices, decoded.rows, strict=True)]
        receipt = {"sites": [dataclasses.asdict(one) for one in decoded.receipts], "rows": len(indices)}
        self._journal.append_batch(number, records, vectors, receipt=receipt)
