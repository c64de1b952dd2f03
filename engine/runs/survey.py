"""A survey without a model: what it clamps to which values, and its parts; `survey_journal` has what is finished."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, survey_settings
from srm_explorer.engine.experiment.conditions import NO_STRENGTH
from srm_explorer.engine.experiment.survey import Depth
from srm_explorer.engine.io.vectors import as_rows
from srm_explorer.engine.runs.units import Reading, is_relative
from srm_explorer.engine.session import ForcedScores, FreeRuns, PromptRecord, SurveyTables, Whole
from srm_explorer.engine.session.session import seen_prompts
from srm_explorer.engine.session.survey import PLAN_TABLES, SKETCH
from srm_explorer.engine.session.units import prompt_units

Span: TypeAlias = tuple[Whole, Whole]
"""Places from the first to before the second."""

Arrays: TypeAlias = Mapping[str, NDArray[Any]]

PLAN, FORCED, FREE = "plan/", "forced/", "free/"
"""Begin the names of arrays in a shard of a survey."""

MOST_TOLD = 10
"""Token ids that are told of each list of a cell under a value."""

_TEXT_BYTES, _MOST_TEXTS = 32, 50_000
"""What the text of a token takes, and of how many there may be texts, as in GPT-2 Small."""

_SHIFT_BYTES = {"cpu": 64 * 2**20, "cuda": 2**30}
"""Bytes that what a part does to the vocabulary may take."""
_WORK = {"cpu": 400_000_000, "cuda": 100_000_000_000}
"""Logits that a forced part compares: some ten seconds' worth, which is what a crash repeats."""
_PRODUCTS = {"cpu": 700, "cuda": 10_000}
"""Multiplications in matrix products that take as long as one logit to compare; on a processor as measured with GPT-2
Small."""
_LEAST_SETTINGS = 12
"""A forced part takes at least as long as comparing the logits of so many settings, so that reading texts untouched is
little beside it; where texts are many, that is what a crash repeats."""
_BATCHES = 6
"""Batches of rows that a free part holds, at most."""
_WRITTEN = {"cpu": 800_000_000_000, "cuda": 10**18}
"""Multiplications of a free part that holds more than a batch: some 20 seconds' worth on two cores."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a survey clamps, and on which texts: every array of it is in one shard of the journal.

    Attributes:
        layer, neuron, values, mean, std, prompt, sample, chose: as `SurveyTables` has them.
        forced, free: parts, as `SurveyPlanned` has them, those of the chosen once they are.
        chosen: places of the cells that texts are written under, ascending.
        rows: the most rows of a batch.
        together: about how many rows a free part has.
    """

    layer: NDArray[np.int32]
    neuron: NDArray[np.int32]
    values: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    prompt: NDArray[np.int32]
    sample: NDArray[np.int32]
    chose: NDArray[np.bool_]
    forced: tuple[Span, ...]
    free: tuple[Span, ...]
    chosen: tuple[int, ...]
    rows: int
    together: int

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What lies in its shard."""
        arrays: dict[str, NDArray[Any]] = {f"{PLAN}{name}": getattr(self, name) for name in PLAN_TABLES}
        return {**arrays, f"{PLAN}chose": self.chose.astype(np.int32)}

    @cached_property
    def written_texts(self) -> NDArray[np.int32]:
        """Places of the texts that are written under clamps: all, or those that nothing was chosen on."""
        return np.flatnonzero(~self.chose).astype(np.int32)

    @property
    def spans(self) -> dict[Depth, tuple[Span, ...]]:
        """The parts by their depth."""
        return {"forced": self.forced, "free": self.free}

    def cells(self, depth: Depth, number: int) -> NDArray[np.int32]:
        """[cell] places of the cells of a part."""
        span = self.spans[depth][number]
        return np.arange(*span, dtype=np.int32) if depth == "forced" else np.array(self.chosen[slice(*span)], np.int32)

    def tables(self, forced: ForcedScores | None, free: FreeRuns | None) -> SurveyTables:
        """The same with what is finished."""
        own = {name: getattr(self, name) for name in PLAN_TABLES}
        planned = self.forced[-1][1] if self.forced else 0
        return SurveyTables(
            **own, chose=self.chose, forced=forced, free=free, planned_forced=planned, planned_free=len(self.chosen)
        )


@dataclass(frozen=True, eq=False)
class LayerReading:
    """What the neurons of one layer do over the baseline's generated tokens.

    Attributes:
        neurons: [cell] which, ascending.
        mean: [cell]
        std: [cell] standard deviation (ddof 0).
        values: [cell, value] what each is given.
        vocab: number of the model's token ids.
        width: of the residual stream.
        above: multiplications that a position takes in the blocks above the layer, nearly.
        whole: those that a token takes in all blocks and the unembedding.
        device: where it runs: "cpu", "mps" or "cuda".
    """

    layer: int
    neurons: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    values: NDArray[np.float64]
    vocab: int
    width: int
    above: int
    whole: int
    device: str

    @property
    def kind(self) -> str:
        """The device by which parts are sized."""
        return self.device if self.device in _WORK else "cpu"

    def settings(self, tokens: int, positions: int) -> int:
        """How many settings a forced part has: sizes alone decide it, so that parts are the same wherever it begins.

        Args:
            tokens: that are scored, of all texts.
            positions: that are fed for it, prompts included.
        """
        logits = max(1, tokens * self.vocab)
        # In the last layer the closed form multiplies nothing; below, logits are made anew.
        products = positions * self.above + (logits * self.width if self.above else 0)
        each = logits + products // _PRODUCTS[self.kind]
        most = max(_WORK[self.kind], _LEAST_SETTINGS * logits) // each
        return min(most, _SHIFT_BYTES[self.kind] // (4 * self.vocab))

    def together(self, tokens: int, rows: int) -> int:
        """About how many rows a free part has: a batch at least.

        Args:
            tokens: the most that are written in a row.
            rows: of a batch, at most.
        """
        within = _WRITTEN[self.kind] // max(1, tokens * self.whole)
        return max(rows, min(_BATCHES * rows, within))


def values_of(experiment: Experiment, reading: Reading) -> NDArray[np.float64]:
    """[cell, value] what each neuron is given: raw values as they are, others by its own statistics.

    A neuron that never changes has a sigma of 0: a clamp in sigma leaves it as it is, and moves nothing.
    """
    template = experiment.interventions[0]
    count = len(reading.mean)
    columns: list[NDArray[np.float64]] = []
    for setting in survey_settings(experiment):
        value = setting.values[0]
        assert value is not None, "a setting has the template"
        if template.op == "mean":
            columns.append(reading.mean)
        elif not is_relative(template):
            columns.append(np.full(count, NO_STRENGTH if template.op == "zero" else value))
        elif template.unit == "quantile":
            columns.append(reading.quantile(value))
        else:
            columns.append((reading.mean if template.op == "clamp" else 0.0) + value * reading.std)
    return np.stack(columns, axis=1).astype(np.float64)


def check_halves(experiment: Experiment, prompts: Sequence[PromptRecord]) -> None:
    """Refuse to choose neurons on one half of the prompts where there are no two.

    Raises:
        ExplorerError: there is one unit.
    """
    if experiment.survey.goes_on and not chosen_prompts(experiment, prompts).any():
        raise ExplorerError(
            "neurons are chosen on half of the prompts and written under on the others, and there is one unit alone",
            where="survey.then",
            remedy="name more prompts, or leave it out",
        )


def check_scored(experiment: Experiment, prompts: Sequence[PromptRecord]) -> None:
    """Refuse to score prompts of which nothing can be: their first token is not predicted by any other.

    Raises:
        ExplorerError: a prompt is one token.
    """
    if not experiment.survey or experiment.survey.score != "prompts":
        return
    short = [number for number, prompt in enumerate(prompts, 1) if len(prompt.token_ids) < 2]
    if short:
        raise ExplorerError(
            f"{len(short)} of {len(prompts)} prompts are one token, of which nothing is scored, the first of them"
            f" prompt {short[0]}",
            where="survey.score",
            remedy="leave them out by prompts.omit, or set prompts.prepend_bos = true",
        )


def chosen_prompts(experiment: Experiment, prompts: Sequence[PromptRecord]) -> NDArray[np.bool_]:
    """[prompt] whether it is of the half that neurons are chosen on: every second unit of a fixed shuffling.

    Prompts that are kept for confirmation are never chosen on. Nothing is, where the survey does not go on.
    """
    units = np.array(prompt_units(prompts), np.int64)
    seen = np.array(seen_prompts(experiment, [prompt.set for prompt in prompts]), np.bool_)
    among = np.unique(units[seen])
    # A unit that has a prompt kept back is not chosen on either.
    among = among[~np.isin(among, units[~seen])]
    if not experiment.survey.goes_on or len(among) < 2:
        return np.zeros(len(prompts), np.bool_)
    shuffled = np.random.Generator(np.random.PCG64(0)).permutation(among)
    return np.isin(units, shuffled[: len(shuffled) // 2])


def new_plan(
    experiment: Experiment,
    readings: Sequence[LayerReading],
    prompts: Sequence[PromptRecord],
    texts: Sequence[tuple[int, int]],
    rows: int,
) -> Plan:
    """Fix what a survey does.

    Args:
        readings: by layer, ascending.
        texts: of every text, prompts slowest, then samples: tokens before those that are scored, and these.
        rows: the most rows of a batch.

    Raises:
        ExplorerError: no neuron is surveyed.
    """
    layer = np.concatenate([np.full(len(one.neurons), one.layer) for one in readings] or [np.zeros(0)]).astype(np.int32)
    if not len(layer):
        what = "no neuron is surveyed"
        raise ExplorerError(what, where="survey.neurons", remedy="choose other neurons or layers")
    samples = experiment.generation.samples
    prompt = np.repeat(np.arange(len(prompts), dtype=np.int32), samples)
    chose = chosen_prompts(experiment, prompts)
    values = np.concatenate([one.values for one in readings])
    plan = Plan(
        layer=layer,
        neuron=np.concatenate([one.neurons for one in readings]).astype(np.int32),
        values=values,
        mean=np.concatenate([one.mean for one in readings]),
        std=np.concatenate([one.std for one in readings]),
        prompt=prompt,
        sample=np.tile(np.arange(samples, dtype=np.int32), len(prompts)),
        chose=chose[prompt],
        forced=(),
        free=(),
        chosen=(),
        rows=rows,
        together=readings[0].together(experiment.generation.tokens, rows),
    )
    if experiment.survey.depth == "free":
        everyone = tuple(range(len(layer)))
        return dataclasses.replace(plan, chosen=everyone, free=_free_parts(plan, everyone))
    before, scored = (sum(column) for column in zip(*texts, strict=True))
    most = {one.layer: max(1, one.settings(scored, before + scored) // values.shape[1]) for one in readings}
    return dataclasses.replace(plan, forced=tuple(_cut(layer, most)))


def going_on(plan: Plan, cells: Sequence[int]) -> Plan:
    """The plan with what it goes on with."""
    chosen = tuple(sorted(int(cell) for cell in cells))
    return dataclasses.replace(plan, chosen=chosen, free=_free_parts(plan, chosen))


def _free_parts(plan: Plan, chosen: Sequence[int]) -> tuple[Span, ...]:
    each = max(1, plan.values.shape[1] * len(plan.written_texts))
    layer = plan.layer[list(chosen)]
    return tuple(_cut(layer, dict.fromkeys(layer.tolist(), max(1, round(plan.together / each)))))


def _cut(layer: NDArray[np.int32], most: Mapping[int, int]) -> Iterator[Span]:
    """Cut cells into spans of one layer each, of nearly equal length; `most` by layer."""
    edges = [0, *(np.flatnonzero(np.diff(layer)) + 1).tolist(), len(layer)]
    for first, last in itertools.pairwise(edges):
        parts = -(-(last - first) // most[int(layer[first])]) if last > first else 0
        cuts = [first + (last - first) * part // parts for part in range(parts + 1)] if parts else []
        yield from itertools.pairwise(cuts)


def most_moved(plan: Plan, kl: NDArray[np.float32], count: int, prompts: Sequence[PromptRecord]) -> list[int]:
    """Places of the cells that move most: by KL over values and the units of the choosing half; ties by place.

    Each unit counts once, however many texts it has, as where neurons are ranked.

    Args:
        kl: [cell, value, text] of all cells.
        prompts: of the run.
    """
    each = kl[:, :, plan.chose].astype(np.float64).mean(axis=1)
    unit = np.array(prompt_units(prompts), np.int64)[plan.prompt[plan.chose]]
    means = np.stack([each[:, unit == one].mean(axis=1) for one in np.unique(unit)]).mean(axis=0)
    return np.argsort(-np.nan_to_num(means, nan=-np.inf), kind="stable")[:count].tolist()


def text_hash(tokens: Sequence[int]) -> int:
    """A number of 64 bits that equal texts have in common."""
    content = np.asarray(tokens, "<i4").tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def baseline_vectors(site_vectors: Any) -> NDArray[np.float64]:
    """[text, d] the mean captured vectors of baseline runs, however they were captured."""
    return np.asarray(as_rows(site_vectors), np.float64)


def written_cells(experiment: Experiment, cells: int, texts: int) -> tuple[int, int]:
    """Under how many neurons a survey writes, and how many texts under each value of one, of so many of both.

    Of a survey that goes on, half of the units are left for it, and one more where they are odd.
    """
    survey = experiment.survey
    if survey.depth == "free":
        return cells, texts
    return (min(survey.goes_on, cells), texts - texts // 2) if survey.goes_on else (0, 0)


def disk_bytes(experiment: Experiment, cells: int, kept: int, texts: int, widths: Sequence[int]) -> int:
    """What a survey's tables take on disk; twice as much until its run folder is removed.

    Args:
        cells: neurons.
        kept: those of which full vectors are kept, where they are written under.
        texts: baseline texts.
        widths: of the captured sites; none where they are not known.
    """
    values, sites, planes = len(survey_settings(experiment)), len(experiment.capture.sites), len(experiment.planes)
    survey = experiment.survey
    scored = 0 if survey.depth == "free" else cells * values * (4 * texts * (3 + sites) + 8 * MOST_TOLD)
    scored += _TEXT_BYTES * min(2 * MOST_TOLD * cells * values, _MOST_TEXTS) if scored else 0
    written, read = written_cells(experiment, cells, texts)
    each = 16 + 8 * planes + sites * (8 + 4 * SKETCH)
    return scored + values * read * (written * each + min(kept, written) * 4 * sum(widths))
