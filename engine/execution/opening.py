"""What a run needs of its model before the first batch: is it the right one, and what does a new run begin with?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_explorer.engine.execution.bench import Bench, Subject
from srm_explorer.engine.execution.provenance import provenance_of, versions
from srm_explorer.engine.execution.rows import check_directions, fed_prompts, remarks_on_feeding
from srm_explorer.engine.execution.w_out import effective_w_out_rows, kept_directions
from srm_explorer.engine.experiment import Experiment, ModelShape, Site, check_against
from srm_explorer.engine.model import LoadedModel, SelfTest, rows_that_fit, threads
from srm_explorer.engine.runs.forecast import forecast_inputs
from srm_explorer.engine.runs.inputs import Inputs
from srm_explorer.engine.runs.journal_records import RunStart
from srm_explorer.engine.runs.plan import Layout, plan_layout
from srm_explorer.engine.runs.survey import check_halves, check_scored
from srm_explorer.engine.runs.units import needs_baseline
from srm_explorer.engine.session import PromptRecord


@dataclass(frozen=True)
class NewRun:
    """What a new run begins with.

    Attributes:
        start: without the working folder, and without the time, which whoever writes the journal knows.
        layout: its batches.
        notes: what its user should know of the prompts and of what the model decided.
    """

    start: RunStart
    layout: Layout
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Opened:
    """A model that is ready for an experiment, in words.

    Attributes:
        experiment: with nothing left for the model to decide.
        shape: sizes of the model.
        weights_sha256: hash of its parameters.
        device: as `Placement.describe` has it.
        threads: of the processor, that it computes with.
        versions: of what a result depends on.
        prompts: as they are fed.
        new: None where the run was begun before.
    """

    experiment: Experiment
    shape: ModelShape
    weights_sha256: str
    device: str
    threads: int
    versions: dict[str, str]
    prompts: tuple[PromptRecord, ...]
    new: NewRun | None

    def subject(self, experiment: Experiment, inputs: Inputs) -> Subject:
        """What the tasks of the run are about.

        Args:
            experiment: as the journal has it.
        """
        return Subject(experiment, self.prompts, inputs.directions)


@dataclass(frozen=True)
class Opening:
    """An experiment that a model is to be made ready for: plain data, which may go to another process.

    Args:
        experiment: as written.
        inputs: what was read for it.
        base: the folder that its relative paths start from.
        rows: the most rows a batch of a new run may have; None plans it from free memory.
        is_new: whether the run is to be begun.
    """

    experiment: Experiment
    inputs: Inputs
    base: Path
    rows: int | None
    is_new: bool

    def checked(self, model: LoadedModel) -> Experiment:
        """Refuse what the model does not have, before it is tested; return the experiment as the model decides it.

        Raises:
            ExplorerError: a site, neuron or layer that is not there, a direction of another width.
        """
        experiment = self.experiment.with_residual(model.shape.centres)
        check_against(experiment, model.shape)
        check_directions(experiment, self.inputs.directions, model)
        model.check_sites([*experiment.capture.sites, *(edit.site for edit in experiment.interventions)])
        return experiment

    def carry_out(self, experiment: Experiment, model: LoadedModel, test: SelfTest) -> Opened:
        """Describe the model, and lay a new run out; nothing changes on disk.

        Args:
            experiment: checked.
            test: what the self-test found.

        Raises:
            ExplorerError: a prompt that cannot be run, or directions that span no plane.
        """
        prompts = fed_prompts(model, experiment, self.inputs.prompts)
        return Opened(
            experiment=experiment,
            shape=model.shape,
            weights_sha256=model.weights_sha256,
            device=model.placement.describe(),
            threads=threads(),
            versions=versions(),
            prompts=prompts,
            new=self._new(experiment, model, test, prompts) if self.is_new else None,
        )

    def _new(
        self, experiment: Experiment, model: LoadedModel, test: SelfTest, prompts: tuple[PromptRecord, ...]
    ) -> NewRun:
        bench = Bench(model, Subject(experiment, prompts, self.inputs.directions))
        maker = bench.maker
        _ = (maker.positions, maker.captured, maker.patches)  # Refused here, before anything is changed on disk.
        check_halves(experiment, prompts)
        check_scored(experiment, prompts)
        directions = kept_directions(experiment, self.inputs, model)
        arithmetic = forecast_inputs(experiment, self.inputs.directions, effective_w_out_rows(model, experiment))
        provenance = provenance_of(experiment, model, test, self.inputs.hashes, self.base)
        start: dict[str, Any] = {"provenance": provenance | maker.resolved_positions()}
        notes = (
            *model.remarks,
            *_decided(self.experiment, experiment, model.shape),
            *remarks_on_feeding(model, experiment, self.inputs.prompts),
        )
        return NewRun(
            RunStart(prompts, self.inputs.hashes, directions=directions, arithmetic=arithmetic, **start),
            _layout(bench, self.rows),
            notes,
        )


def _layout(bench: Bench, rows: int | None) -> Layout:
    maker, experiment = bench.maker, bench.experiment
    lengths = [len(prompt.token_ids) for prompt in bench.prompts]
    captures = [capture for _, capture in (*maker.captures(), *maker.moments())]
    most = rows
    if most is None:
        fit = rows_that_fit(bench.model, max(lengths), maker.generation(), captures)
        most = min(fit, experiment.execution.rows or fit)
    controls = sum(condition.control is not None for condition in maker.conditions)
    return plan_layout(bench.grid, lengths, most, baseline_first=needs_baseline(experiment), controls=controls)


def _decided(written: Experiment, experiment: Experiment, shape: ModelShape) -> Sequence[str]:
    """Say how residual streams are captured, where the model decided it and any are."""
    if written.capture.residual != "auto" or not any(Site.parse(site).is_stream for site in experiment.capture.sites):
        return ()
    norms = "take the mean over d_model out" if shape.centres else "leave the mean over d_model in"
    return (
        f"residual streams are captured {experiment.capture.residual}: the norms of {Path(shape.name).name} {norms}",
    )
