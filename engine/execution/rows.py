"""From numbered runs to the rows a model decodes, and back to records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import Condition, Experiment, InterventionSpec, Site, conditions
from srm_explorer.engine.experiment.conditions import Grid, pairs_of, patched_from
from srm_explorer.engine.experiment.positions import Positions, RowPositions, TokenChoice, resolve_positions
from srm_explorer.engine.experiment.site import head_coordinates
from srm_explorer.engine.io.vectors import Matrix
from srm_explorer.engine.model import Capture, Edit, Generation, LoadedModel, NoiseKey, Row, RowResult, Sampling, decode
from srm_explorer.engine.prompts import Turns
from srm_explorer.engine.runs.controls import MOMENTS, measured_sites, neurons_under, placebo
from srm_explorer.engine.runs.forecast import OWN_PREFIX, own_readings
from srm_explorer.engine.runs.inputs import ListedPrompt, prompt_records
from srm_explorer.engine.runs.units import UNITS_PREFIX, is_relative
from srm_explorer.engine.session import CAPTURED_AT, Finish, PromptRecord, Resolved, RunRecord
from srm_explorer.engine.session.controls import Controls
from srm_explorer.engine.stats.text import text_metrics


@dataclass(frozen=True)
class Patch:
    """What one prompt takes from another run's prompt.

    Attributes:
        prompt: place of the other one, or of the same.
        condition: index of the condition that it ran under.
        at: positions that are written at, ascending.
        source_at: positions that they are taken from, as many.
    """

    prompt: int
    condition: int
    at: tuple[int, ...]
    source_at: tuple[int, ...]


Written: TypeAlias = "dict[tuple[int, int, int], NDArray[Any]]"
"""[position, k] values that are patched, by intervention, prompt and condition."""


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
        return [
            tuple(
                self._resolved(choice, number, f"interventions[{index}].positions")
                for index, choice in enumerate(choices)
            )
            for number in range(len(self.prompts))
        ]

    @cached_property
    def captured(self) -> Positions | Mapping[tuple[int, ...], RowPositions]:
        """Which positions are captured: a word, or those of each prompt, by its token ids.

        Raises:
            ExplorerError: as `positions`; or where nothing is generated, and all of them would be.
        """
        choice = self.experiment.capture.positions
        if isinstance(choice, str):
            return choice
        resolved: dict[tuple[int, ...], RowPositions] = {}
        for number, prompt in enumerate(self.prompts):
            chosen = self._resolved(choice, number, "capture.positions")
            assert isinstance(chosen, RowPositions), "a word was returned before"
            if not self.experiment.generation.tokens and chosen.first >= len(prompt.token_ids):
                raise ExplorerError(
                    "nothing stands behind that token, and nothing is generated",
                    where=f"capture.positions, {_named(prompt, number)}",
                    remedy="generate tokens, or choose positions of the prompt",
                )
            resolved[prompt.token_ids] = chosen
        return resolved

    def resolved_positions(self) -> dict[str, Any]:
        """What is put on record of positions that differ from prompt to prompt: of each prompt, those captured."""
        if isinstance(self.captured, str):
            return {}
        return {CAPTURED_AT: [asdict(self.captured[prompt.token_ids]) for prompt in self.prompts]}

    def _resolved(
        self, choice: Positions | tuple[int, ...] | TokenChoice, prompt_index: int, where: str
    ) -> Positions | RowPositions:
        if isinstance(choice, str):
            return choice
        prompt = self.prompts[prompt_index]
        try:
            return resolve_positions(choice, self._pieces[prompt_index])
        except SpecValueError as error:
            raise ExplorerError(
                error.what, where=f"{where}, {_named(prompt, prompt_index)}", remedy=error.remedy
            ) from None

    @cached_property
    def _pieces(self) -> list[tuple[str, ...]]:
        """The text of each token, by prompt."""
        return [tuple(self.model.tokenizer.pieces(prompt.token_ids)) for prompt in self.prompts]

    @cached_property
    def patches(self) -> dict[tuple[int, int], Patch]:
        """What is written where, by intervention and prompt.

        Raises:
            ExplorerError: positions that are not as many in both prompts of a pair, or none at all.
        """
        patches: dict[tuple[int, int], Patch] = {}
        prompts = [(prompt.set, prompt.factors) for prompt in self.prompts]
        for number, intervention in enumerate(self.experiment.interventions):
            if intervention.source is None:
                continue
            condition = patched_from(self.experiment, number)
            pair = intervention.source.prompt
            others = pairs_of(pair, prompts) if pair else list(range(len(prompts)))
            for prompt_index, other in enumerate(others):
                patch = Patch(other, condition, self._in_prompt(number, prompt_index), self._in_prompt(number, other))
                if len(patch.at) != len(patch.source_at) or not patch.at:
                    raise self._unaligned(number, prompt_index, patch)
                patches[number, prompt_index] = patch
        return patches

    def _in_prompt(self, number: int, prompt_index: int) -> tuple[int, ...]:
        """Positions of a prompt that an intervention covers, one by one."""
        chosen, length = self.positions[prompt_index][number], len(self.prompts[prompt_index].token_ids)
        if isinstance(chosen, RowPositions):
            return (*chosen.at, *range(length if chosen.start is None else chosen.start, length))
        return tuple(range(length - 1 if chosen == "last" else 0, length))

    def _unaligned(self, number: int, prompt_index: int, patch: Patch) -> ExplorerError:
        where = f"interventions[{number}].positions, {_named(self.prompts[prompt_index], prompt_index)}"
        if not patch.at and not patch.source_at:
            return ExplorerError("no position of the prompt is chosen", where=where, remedy="choose others")
        return ExplorerError(
            f"{len(patch.at)} positions cannot take the values of {len(patch.source_at)}"
            f" of {_named(self.prompts[patch.prompt], patch.prompt)}"
            f" ({len(self.prompts[prompt_index].token_ids)} and {len(self.prompts[patch.prompt].token_ids)} tokens)",
            where=where,
            remedy="pair prompts of one length, or choose as many positions of each, as [-1] or 'last'",
        )

    @property
    def asks_model(self) -> bool:
        """Whether the model is run where rows are laid out: it reads what is patched."""
        return any(intervention.source for intervention in self.experiment.interventions)

    def rows(self, indices: Sequence[int], resolved: Resolved, controls: Controls | None = None) -> list[Row]:
        """Lay out some runs, and have the model read first what is patched into them, in one pass.

        Args:
            indices: of the runs.
            resolved: raw values; without them, only baseline runs can be laid out.
            controls: without them, no run of a control can be.
        """
        cells = [(self.grid.prompt(index), self.grid.condition(index)) for index in indices]
        written = self._written(cells, resolved)
        return [self._row(index, resolved, controls, written) for index in indices]

    def _written(self, cells: Sequence[tuple[int, int]], resolved: Resolved) -> Written:
        """Read what is patched into runs of some prompts and conditions.

        What a prompt's positions hold depends on nothing that is generated, so the source's prompt alone is read again,
        under its own condition. Sources may be patched themselves, from others that are not: there is no circle.
        """
        needed: dict[tuple[int, int, int], Patch] = {}
        patched = [n for n, intervention in enumerate(self.experiment.interventions) if intervention.source]
        for prompt_index, condition in dict.fromkeys(cells):
            for number in patched if condition else ():
                if resolved[condition][number] is not None:
                    needed[number, prompt_index, condition] = self.patches[number, prompt_index]
        if not needed:
            return {}
        sources = list(dict.fromkeys((patch.prompt, patch.condition) for patch in needed.values()))
        below = self._written(sources, resolved)
        numbers = list(dict.fromkeys(number for number, _, _ in needed))
        captures = [self._reading(self.experiment.interventions[number], "prompt") for number in numbers]
        rows = [
            Row(self.prompts[prompt_index].token_ids, self._edits(prompt_index, condition, resolved, None, below))
            for prompt_index, condition in sources
        ]
        results: dict[tuple[int, int], RowResult] = {}
        for start in range(0, len(rows), len(cells)):
            part = slice(start, start + len(cells))
            decoded = decode(self.model, rows[part], Generation(0), captures)
            results |= zip(sources[part], decoded.rows, strict=True)
        written: Written = {}
        for (number, prompt_index, condition), patch in needed.items():
            read = results[patch.prompt, patch.condition].captured[numbers.index(number)]
            width = 1 if self.experiment.interventions[number].direction is not None else read.shape[1]
            written[number, prompt_index, condition] = read[list(patch.source_at), :width]
        return written

    def _edits(
        self, prompt_index: int, condition: int, resolved: Resolved, controls: Controls | None, written: Written
    ) -> tuple[Edit, ...]:
        control = self.conditions[condition].control
        return tuple(
            self._edit(number, values, prompt_index, control, controls, written.get((number, prompt_index, condition)))
            for number, values in enumerate(resolved[condition] if condition else ())
            if values is not None
        )

    def _row(self, index: int, resolved: Resolved, controls: Controls | None, written: Written) -> Row:
        prompt_index = self.grid.prompt(index)
        prompt = self.prompts[prompt_index]
        edits = self._edits(prompt_index, self.grid.condition(index), resolved, controls, written)
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
            text=self.model.tokenizer.continuation(prompt.token_ids, result.tokens),
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
            kept = Capture(site, spec.reduce, self.captured, centred, skips_unrouted=spec.reduce != "tokens")
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

    def moments(self) -> list[tuple[str, Capture]]:
        """List what is kept of the baseline besides: what controls are matched on."""
        sites = measured_sites(self.experiment)
        return [(f"{MOMENTS}{site}", Capture(site, "moments", "generated")) for site in sites]

    def _reading(self, intervention: InterventionSpec, positions: Positions = "generated") -> Capture:
        if intervention.direction is not None:
            return Capture(
                intervention.site,
                "tokens",
                positions,
                direction=tuple(self.directions[intervention.direction].tolist()),
            )
        return Capture(intervention.site, "tokens", positions, columns=self._coordinates(intervention))

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
        prompt_index: int,
        control: int | None,
        controls: Controls | None,
        written: NDArray[Any] | None,
    ) -> Edit:
        intervention = self.experiment.interventions[number]
        positions = self.positions[prompt_index][number]
        if intervention.source is not None:
            positions = RowPositions(self.patches[number, prompt_index].at)
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
        return Edit(intervention.site, intervention.op, positions, neurons, values, direction, written)


def _named(prompt: PromptRecord, prompt_index: int) -> str:
    text = prompt.text if len(prompt.text) <= 40 else f"{prompt.text[:39]}…"
    return f"prompt {prompt_index + 1} of {prompt.set} ({text!r})"


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
