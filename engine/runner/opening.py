"""Beginning a run's journal, or going on with one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine import paths
from engine.errors import ExplorerError
from engine.model.load import LoadedModel
from engine.model.memory import rows_that_fit
from engine.model.selftest import SelfTest
from engine.runner.collect import grid_of, resolved_in
from engine.runner.forecast import forecast_inputs
from engine.runner.inputs import Inputs, prompt_records
from engine.runner.journal import JournalWriter
from engine.runner.plan import Layout, plan_layout
from engine.runner.plane_inputs import plane_directions
from engine.runner.provenance import describe_device, provenance_of, versions
from engine.runner.rows import RowMaker, tokenise
from engine.runner.units import needs_baseline, readings_of, resolve
from engine.runner.written import written_rows
from engine.session import PromptRecord, load_session
from engine.session.session import Resolved, now
from engine.spec import Experiment, conditions


@dataclass
class Beginning:
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
    _resolved: Resolved | None = field(init=False)
    _directions: dict[str, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        listed = self.inputs.prompts
        self._prompts = prompt_records(listed, tokenise(self.model, self.experiment, listed))
        self._resolved = _known_values(self.experiment, self.base)
        self._directions = plane_directions(self.experiment, self.inputs, self.model)

    def journal(self, folder: Path) -> JournalWriter:
        """Begin the run folder.

        Raises:
            ExplorerError: it cannot be written, or another process writes it.
        """
        extra: dict[str, Any] = {
            "prompts": [prompt.to_dict() for prompt in self._prompts],
            "inputs": self.inputs.hashes,
            "folder": _working_folder(),
            "provenance": provenance_of(self.experiment, self.model, self.test, self.inputs.hashes, self.base),
            "created": now(),
            "directions": self._directions,
            "arithmetic": forecast_inputs(
                self.experiment, self.inputs.directions, written_rows(self.model, self.experiment)
            ),
        }
        journal = JournalWriter.create(folder, self.experiment, layout=self._layout().to_dict(), extra=extra)
        return _with_values(journal, self._resolved)

    def _layout(self) -> Layout:
        grid = grid_of(self.experiment, len(self._prompts))
        lengths = [len(prompt.token_ids) for prompt in self._prompts]
        maker = RowMaker(self.experiment, grid, self._prompts, self.inputs.directions, self.model)
        captures = [capture for _, capture in (*maker.captures(), *maker.moments())]
        longest = max(lengths) + self.experiment.generation.tokens
        rows = self.rows or rows_that_fit(self.model, longest, captures)
        controls = sum(condition.control is not None for condition in maker.conditions)
        return plan_layout(grid, lengths, rows, baseline_first=needs_baseline(self.experiment), controls=controls)


def _working_folder() -> str | None:
    """Where bare names of prompt sets were looked up, so that a run is gone on with from anywhere."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def go_on(experiment: Experiment, model: LoadedModel, folder: Path, base: Path) -> JournalWriter:
    """Open the run folder of a run that was begun; what has changed since is noted in it.

    Raises:
        ExplorerError: another model, another process that writes it, a damaged folder.
    """
    journal = JournalWriter.open_existing(folder)
    try:
        _note_changes(journal, model)
        known = None if resolved_in(journal.reader) else _known_values(experiment, base)
    except BaseException:
        journal.close()
        raise
    return _with_values(journal, known)


def _with_values(journal: JournalWriter, values: Resolved | None) -> JournalWriter:
    if values is not None:
        try:
            journal.event({"event": "resolved", "values": values})
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
    beside = paths.session_path(str(base / Path(stats).expanduser()))
    is_path = "/" in stats or stats.endswith(".json")
    order = (beside, named) if is_path else (named, beside)
    return next((path for path in order if path.exists()), order[0])


def _note_changes(journal: JournalWriter, model: LoadedModel) -> None:
    began = journal.reader.extra["provenance"]
    if began["model"]["weights_sha256"] != model.weights_sha256:
        raise ExplorerError(
            "the model's weights are not those this run began with",
            where=model.name,
            remedy="put them back, or begin again with --restart",
        )
    was = {"device": began["device"], "threads": began["threads"], **began["versions"]}
    now_is = {"device": describe_device(model.device), "threads": torch.get_num_threads(), **versions()}
    changed = {name: [was.get(name), value] for name, value in now_is.items() if was.get(name) != value}
    journal.event({"event": "resumed", "changed": changed})
