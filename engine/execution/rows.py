"""From numbered runs to the rows a model decodes, and back to records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import Condition, Experiment, InterventionSpec, Site, conditions
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.experiment.positions import Positions, RowPositions, TokenChoice, resolve_positions
from srm_explorer.engine.experiment.site import head_coordinates
from srm_explorer.engine.io.vectors import Matrix
from srm_explorer.engine.model import Capture, Edit, Generation, LoadedModel, NoiseKey, Row, RowResult, Sampling
from srm_explorer.engine.prompts import Turns
from srm_explorer.engine.runs.controls import MOMENTS, measured_sites, neurons_under, placebo
from srm_explorer.engine.runs.forecast import OWN_PREFIX, own_readings
from srm_explorer.engine.runs.inputs import ListedPrompt, prompt_records
from srm_explorer.engine.runs.units import UNITS_PREFIX, is_relative
from srm_explorer.engine.session import Finish, PromptRecord, Resolved, RunRecord
from srm_explorer.engine.session.controls import Controls
from srm_explorer.engine.stats.text import text_metrics


@dataclass(frozen=True)
class RowMaker:
    """Knows an experiment well enough to turn a run's number into a row, and a row's result into a record."""

    experiment: Experiment
    grid: Grid
    prompts: Sequence[PromptRecord]
    directions: Mapping[str, np.ndarray]
    model: LoadedModel

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """Those of the experiment."""
        return conditions(self.experiment)

    @cached_property
    def positions(self) -> list[tuple[Positions | RowPositions, ...]]:
        """Which positions each intervention edits, by prompt.

        Raises:
            ExplorerError: a number beyond a prompt, or a token that is not in it; names the prompt.
        """
        choices: list[Positions | tuple[int, ...] | TokenChoice] = [
            intervention.positions for intervention in self.experiment.interventions
        ]
        if all(isinstance(choice, str) for choice in choices):
            return [tuple(cast("list[Positions]", choices))] * len(self.prompts)
        resolved: list[tuple[Positions | RowPositions, ...]] = []
        for number, prompt in enumerate(self.prompts):
            pieces = self.model.tokenizer.pieces(prompt.token_ids)
            own: list[Positions | RowPositions] = []
            for place, choice in enumerate(choices):
                try:
                    own.append(resolve_positions(choice, pieces))
                except SpecValueError as error:
                    text = prompt.text if len(prompt.text) <= 40 else f"{prompt.text[:39]}…"
                    where = f"interventions[{place}].positions, prompt {number + 1} of {prompt.set} ({text!r})"
                    raise ExplorerError(error.what, where=where, remedy=error.remedy) from None
            resolved.append(tuple(own))
        return resolved

    def row(self, index: int, resolved: Resolved, controls: Controls | None = None) -> Row:
        """Lay out one run; without units resolved, only baseline runs can be, and without controls chosen, none."""
        prompt = self.prompts[self.grid.prompt(index)]
        condition = self.conditions[self.grid.condition(index)]
        settings = resolved[condition.index] if condition.index else ()
        edits = tuple(
            self._edit(number, values, self.positions[self.grid.prompt(index)][number], condition.control, controls)
            for number, values in enumerate(settings)
            if values is not None
        )
        noise = None
        if self.experiment.generation.mode == "sample":
            seed = self.experiment.generation.seed
            noise = NoiseKey(seed, prompt.sha256, prompt.occurrence, self.grid.sample(index))
        return Row(prompt.token_ids, edits, noise)

    def record(self, index: int, result: RowResult) -> RunRecord:
        """Put one run on record."""
        prompt = self.prompts[self.grid.prompt(index)]
        return RunRecord(
            index=index,
            prompt=self.grid.prompt(index),
            condition=self.grid.condition(index),
            sample=self.grid.sample(index),
            token_ids=result.tokens,
            text=self.model.tokenizer.decode(result.tokens),
            prompt_tokens=len(prompt.token_ids),
            finish=cast("Finish", result.finish),
            min_margin=result.margin,
            metrics=text_metrics(result.tokens),
        )

    def generation(self) -> Generation:
        """State how far and how to write."""
        spec = self.experiment.generation
        sampling = Sampling(
            greedy=spec.mode == "greedy",
            temperature=spec.temperature,
            top_k=spec.top_k or 0,
            top_p=1.0 if spec.top_p is None else spec.top_p,
        )
        return Generation(spec.tokens, sampling, self.model.tokenizer.stop_ids if spec.stop_at_eos else frozenset())

    def captures(self) -> list[tuple[str, Capture]]:
        """List what is kept, by its name in the journal.

        The captured sites, then what units are measured on, then edited coordinates that predictions take.
        """
        spec = self.experiment.capture
        named: list[tuple[str, Capture]] = []
        for site in spec.sites:
            centred = spec.residual == "centred" and Site.parse(site).is_stream
            kept = Capture(site, spec.reduce, spec.positions, centred, skips_unrouted=spec.reduce != "tokens")
            named.append((site, kept))
        if self.experiment.generation.tokens:
            for number, intervention in enumerate(self.experiment.interventions):
                # A head has many coordinates: they are read where a unit is measured on them.
                if not intervention.heads or is_relative(intervention):
                    named.append((f"{UNITS_PREFIX}{number}", self._reading(intervention)))
        reduce = "last" if spec.reduce == "last" else "mean"
        for number, positions in own_readings(self.experiment):
            intervention = self.experiment.interventions[number]
            named.append(
                (
                    f"{OWN_PREFIX}{number}/{positions}",
                    Capture(intervention.site, reduce, positions, columns=intervention.neurons),
                )
            )
        return named

    def is_control(self, index: int) -> bool:
        """Whether a run belongs to a control."""
        return self.conditions[self.grid.condition(index)].control is not None

    def moments(self) -> list[tuple[str, Capture]]:
        """List what is kept of the baseline besides: what controls are matched on."""
        sites = measured_sites(self.experiment)
        return [(f"{MOMENTS}{site}", Capture(site, "moments", "generated")) for site in sites]

    def _reading(self, intervention: InterventionSpec) -> Capture:
        if intervention.direction is not None:
            return Capture(
                intervention.site,
                "tokens",
                "generated",
                direction=tuple(self.directions[intervention.direction].tolist()),
            )
        return Capture(intervention.site, "tokens", "generated", columns=self._coordinates(intervention))

    def _coordinates(self, intervention: InterventionSpec) -> tuple[int, ...]:
        """The coordinates of its site that an intervention names: neurons, or those of heads."""
        if not intervention.heads:
            return intervention.neurons
        width = self.model.shape.head_width(Site.parse(intervention.site).layer)
        return head_coordinates(intervention.heads, intervention.coordinates, width)

    def _edit(
        self,
        number: int,
        values: tuple[float, ...],
        positions: Positions | RowPositions,
        control: int | None,
        controls: Controls | None,
    ) -> Edit:
        intervention = self.experiment.interventions[number]
        neurons = neurons_under(intervention, control, controls)
        if intervention.heads:
            neurons = self._coordinates(intervention)
            values = values * len(neurons) if len(values) == 1 else values
        direction = ()
        if intervention.direction is not None:
            vector = self.directions[intervention.direction]
            if control is not None and not intervention.background:
                vector = placebo(self.experiment.controls.seed, number, control, len(vector))
            direction = tuple(vector.tolist())
        return Edit(intervention.site, intervention.op, positions, neurons, values, direction)


def tokenise(model: LoadedModel, experiment: Experiment, prompts: Sequence[ListedPrompt]) -> list[list[int]]:
    """Turn the prompts into token ids, and refuse those that cannot be run.

    Raises:
        ExplorerError: a prompt with no token, one that the chat template refuses, or one that leaves no room for the
            text in the model's context.
    """
    tokens = experiment.generation.tokens
    encoded: list[list[int]] = []
    for listed in prompts:
        try:
            ids = model.tokenizer.encode_prompt(listed.prompt.content, experiment.prompts)
        except ExplorerError as error:
            where = f"{error.where}, {listed.location}" if error.where else listed.location
            raise ExplorerError(error.what, where=where, remedy=error.remedy) from None
        if not ids:
            raise ExplorerError("the prompt has no token", where=listed.location, remedy="remove it, or prepend a BOS")
        if max(ids) >= model.n_vocab:
            raise ExplorerError(
                f"the tokenizer gives id {max(ids)}, the model knows {model.n_vocab} ids",
                where=listed.location,
                remedy="put the tokenizer that belongs to the model beside it",
            )
        if len(ids) + tokens > model.shape.n_ctx:
            raise ExplorerError(
                f"the prompt's {len(ids)} tokens and {tokens} generated ones exceed this model's context"
                f" ({model.shape.n_ctx})",
                where=listed.location,
                remedy="shorten the prompt, or lower generation.tokens",
            )
        encoded.append(ids)
    return encoded


def fed_prompts(
    model: LoadedModel, experiment: Experiment, prompts: Sequence[ListedPrompt]
) -> tuple[PromptRecord, ...]:
    """The prompts as they are fed, those of a chat template as it renders them; errors are those of `tokenise`."""
    ids = tokenise(model, experiment, prompts)
    texts = [
        model.tokenizer.decode(row) if experiment.prompts.chat_template or listed.prompt.turns else listed.prompt.text
        for listed, row in zip(prompts, ids, strict=True)
    ]
    return prompt_records(prompts, ids, texts)


def remarks_on_feeding(model: LoadedModel, experiment: Experiment, prompts: Sequence[ListedPrompt]) -> tuple[str, ...]:
    """Say, once for each set, what its reader would not expect of the ids its prompts become."""
    by_set: dict[str, list[str | Turns]] = {}
    for listed in prompts:
        by_set.setdefault(str(listed.set.path), []).append(listed.prompt.content)
    return tuple(
        f"{path}: {remark}"
        for path, contents in by_set.items()
        for remark in model.tokenizer.remarks(contents, experiment.prompts)
    )


def as_saved(vector: np.ndarray) -> Matrix:
    """Round what was captured to float32, as it is saved; what is beyond its range becomes infinite."""
    with np.errstate(over="ignore"):
        return vector.astype(np.float32)


def check_directions(experiment: Experiment, directions: Mapping[str, np.ndarray], model: LoadedModel) -> None:
    """Refuse a direction of another width than the site it is added at.

    Raises:
        ExplorerError: names both widths.
    """
    for number, intervention in enumerate(experiment.interventions):
        if intervention.direction is None:
            continue
        width = model.shape.width(Site.parse(intervention.site))
        if len(directions[intervention.direction]) != width:
            raise ExplorerError(
                f"the direction has {len(directions[intervention.direction])} numbers, {intervention.site} has {width}",
                where=f"interventions[{number}].direction",
                remedy="choose a direction of that site's space",
            )
