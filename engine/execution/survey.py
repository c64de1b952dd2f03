"""The parts of a survey, as pieces of work for whoever has the model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.execution.bench import Bench, Report
from srm_explorer.engine.experiment import Experiment, Site
from srm_explorer.engine.experiment.intervention import Operation
from srm_explorer.engine.experiment.survey import Depth, chosen, site_of
from srm_explorer.engine.model import (
    Capture,
    CellScorer,
    NoiseKey,
    Prepared,
    Row,
    RowResult,
    Settings,
    read_texts,
    writing_rows,
)
from srm_explorer.engine.runs.planes import Kept, planes_in
from srm_explorer.engine.runs.survey import (
    FORCED,
    FREE,
    MOST_TOLD,
    LayerReading,
    Plan,
    baseline_vectors,
    text_hash,
    values_of,
)
from srm_explorer.engine.runs.units import Reading
from srm_explorer.engine.session import PromptRecord, RunRecord, Session, SurveyTables
from srm_explorer.engine.session.session import seen_prompts
from srm_explorer.engine.session.survey import BROKEN, SKETCH, sketch_directions, text_arrays
from srm_explorer.engine.stats.text import first_divergence

MOST_READ = 64_000_000
"""Numbers of a layer's neurons over all tokens that are there at once: 256 MB."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class GivenTexts:
    """Texts that are scored, prompts slowest, then samples: what the baseline wrote, or the prompts themselves.

    Args:
        prompt: [text] place of its prompt.
        sample: [text] which continuation.
        tokens: [text] ids that are scored.
        are_prompts: whether these are all of the prompt but its first, and do not follow it.
    """

    prompt: tuple[int, ...]
    sample: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]
    are_prompts: bool = False

    @classmethod
    def of(cls, runs: Iterable[RunRecord]) -> Self:
        """Those of the baseline's runs."""
        ordered = sorted((run for run in runs if run.condition == 0), key=lambda run: (run.prompt, run.sample))
        return cls(
            tuple(run.prompt for run in ordered),
            tuple(run.sample for run in ordered),
            tuple(run.token_ids for run in ordered),
        )

    @classmethod
    def scored(cls, experiment: Experiment, written: GivenTexts, prompts: Sequence[PromptRecord]) -> GivenTexts:
        """Those that a survey scores, where the baseline wrote some texts after some prompts."""
        if experiment.survey.score == "generated":
            return written
        return cls(
            written.prompt, written.sample, tuple(prompts[place].token_ids[1:] for place in written.prompt), True
        )

    def __len__(self) -> int:
        return len(self.prompt)

    def read(self, prompts: Sequence[PromptRecord]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """[text] token ids before those that are scored, and these."""
        before = (prompts[place].token_ids for place in self.prompt)
        return [(ids[:1] if self.are_prompts else ids, tokens) for ids, tokens in zip(before, self.tokens, strict=True)]

    def at(self, places: Sequence[int]) -> GivenTexts:
        """Those at some places."""
        return GivenTexts(
            tuple(self.prompt[place] for place in places),
            tuple(self.sample[place] for place in places),
            tuple(self.tokens[place] for place in places),
            self.are_prompts,
        )


@dataclass(frozen=True)
class ReadingTask:
    """Measures the neurons of a layer over the tokens that are scored, and says what each is given.

    Args:
        site: where they are.
        neurons: which; None for those that `survey.neurons` asks for by what is measured, "top:200".
        texts: that are read.
    """

    layer: int
    site: str
    neurons: tuple[int, ...] | None
    texts: GivenTexts

    @property
    def rows(self) -> int:
        """A text at a time."""
        return 1

    @property
    def tokens(self) -> int:
        """Not told."""
        return 0

    def carry_out(self, bench: Bench, report: Report) -> LayerReading:
        """Measure them; errors as a task's."""
        model = bench.model
        if self.neurons is None:
            everyone = np.arange(model.shape.width(Site.parse(self.site)))
        else:
            everyone = np.array(self.neurons, np.int64)
        tokens = max(1, sum(map(len, self.texts.tokens)))
        step = max(1, MOST_READ // tokens)
        read = [self._read(bench, everyone[start : start + step], report) for start in range(0, len(everyone), step)]
        mean, std, values = (np.concatenate(column) for column in zip(*read, strict=True))
        kept = np.arange(len(everyone)) if self.neurons is not None else self._top(bench, std)
        d_model, layers = model.shape.d_model, model.shape.n_layers
        block = 4 * d_model * d_model + 2 * d_model * model.shape.d_mlp
        return LayerReading(
            self.layer,
            everyone[kept],
            mean[kept],
            std[kept],
            values[kept],
            vocab=model.n_vocab,
            width=d_model,
            above=(layers - 1 - self.layer) * block,
            whole=layers * block + d_model * model.n_vocab,
            device=model.device.type,
        )

    def _read(
        self, bench: Bench, neurons: NDArray[np.int64], report: Report
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        capture = Capture(self.site, "tokens", "generated", columns=tuple(neurons.tolist()))
        given = self.texts.read(bench.prompts)
        arrays = [kept for kept in read_texts(bench.model, given, capture, report) if len(kept)]
        if not arrays:
            # An expert to which no token is sent.
            nothing = np.full(len(neurons), np.nan)
            reading = Reading(nothing, nothing, np.tile(nothing, (1001, 1)), None, 0)
        else:
            reading = Reading.of(np.concatenate(arrays), is_direction=False)
        return reading.mean, reading.std, values_of(bench.experiment, reading)

    def _top(self, bench: Bench, std: NDArray[np.float64]) -> NDArray[np.int64]:
        """The neurons that write most: sigma times how much each writes for 1; of an expert's, sigma alone."""
        site, weight = Site.parse(self.site), np.nan_to_num(std)
        if site.is_mlp:
            weight = weight * np.linalg.norm(writing_rows(bench.model, site.layer).astype(np.float64), axis=1)
        count = chosen(bench.experiment.survey.neurons).top
        return np.sort(np.argsort(-weight, kind="stable")[:count])


@dataclass(frozen=True)
class ForcedPart:
    """Scores texts under the clamps of some neurons of a layer.

    Args:
        number: of the part.
        site: where the neurons are.
        op: what is done to each.
        neurons: [cell] which.
        values: [cell][value] raw.
        texts: that are scored.
        told: [text] whether its tokens count among those that rose or fell the most.
        rows: of a pass, at most.
    """

    depth: ClassVar[Depth] = "forced"
    number: int
    site: str
    op: Operation
    neurons: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]
    texts: GivenTexts
    told: tuple[bool, ...]
    rows: int

    @property
    def tokens(self) -> int:
        """The texts', under every setting."""
        return sum(map(len, self.texts.tokens)) * sum(map(len, self.values))

    def carry_out(self, bench: Bench, report: Report) -> dict[str, NDArray[Any]]:
        """Score them: arrays as `ForcedScores` has them, of these cells, the tokens' texts too; errors as a task's."""
        # What the last free batch left with the model is room for keys and values, of which scoring needs none.
        bench.model.kept_step = None
        n_cells, n_values, n_texts = len(self.neurons), len(self.values[0]), len(self.texts)
        captures = captures_of(bench)
        settings = Settings(
            self.site,
            self.op,
            np.repeat(np.array(self.neurons, np.int64), n_values),
            np.array(self.values, np.float64).reshape(-1),
        )
        longest = max(len(before) + len(tokens) for before, tokens in self.texts.read(bench.prompts))
        most = rows_of(self.rows, longest, bench.model.device.type)
        scorer = CellScorer(bench.model, settings, captures, most, known=bench.known)
        numbers = np.zeros((3, len(settings), n_texts), np.float32)
        change = np.zeros((len(captures), len(settings), n_texts), np.float32)
        # Those that do not count come first: what the vocabulary does in them is let go of before the others.
        for place in sorted(range(n_texts), key=self.told.__getitem__):
            prompt, tokens = self.texts.prompt[place], self.texts.tokens[place]
            if not tokens:
                continue
            positions, ids = bench.maker.positions[prompt][0], bench.prompts[prompt].token_ids
            # Positions are edited and captured by where the prompt ends, whatever of the text is scored.
            after, first = ((), 1) if self.texts.are_prompts else (tokens, len(ids))
            scores = scorer.score(ids, after, positions, report, first=first)
            if not self.told[place]:
                scorer.shift.zero_()
            numbers[:, :, place] = scores.kl, scores.logp, scores.flips
            change[:, :, place] = scores.change
        shape = (n_cells, n_values, n_texts)
        promoted, demoted = scorer.told(MOST_TOLD)
        occurring = set(np.union1d(promoted, demoted).tolist()) - {-1}
        texts = {token: bench.token_texts[token] for token in occurring}
        return {
            **{
                f"{FORCED}{name}": array.reshape(shape)
                for name, array in zip(("kl", "logp", "flips"), numbers, strict=True)
            },
            f"{FORCED}change": change.reshape(len(captures), *shape),
            f"{FORCED}promoted": promoted.reshape(n_cells, n_values, -1),
            f"{FORCED}demoted": demoted.reshape(n_cells, n_values, -1),
            **text_arrays(texts, FORCED),
        }


@dataclass(frozen=True, eq=False)
class FreePart:
    """Writes texts under the clamps of some neurons of a layer.

    Args:
        number: of the part.
        site, op, neurons, values: as `ForcedPart` has them.
        texts: the baseline's, which those that are written are compared with.
        baseline: [site][text, d] mean captured vectors of the baseline.
        planes: place of the site, and [2, d] basis, of each plane.
        kept: [cell] whether full vectors are kept.
        rows: of a batch, at most.
        steps: tokens of a text, at most.
    """

    depth: ClassVar[Depth] = "free"
    number: int
    site: str
    op: Operation
    neurons: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]
    texts: GivenTexts
    baseline: tuple[NDArray[np.float64], ...]
    planes: tuple[tuple[int, NDArray[np.float64]], ...]
    kept: tuple[bool, ...]
    rows: int
    steps: int

    @property
    def tokens(self) -> int:
        """As many as it may write."""
        return len(self.texts) * sum(map(len, self.values)) * self.steps

    def carry_out(self, bench: Bench, report: Report) -> dict[str, NDArray[Any]]:
        """Write them: arrays as `FreeRuns` has them, of these cells; errors as a task's."""
        captures, generation = captures_of(bench), bench.maker.generation()
        table = _FreeTable.of(self, captures)
        settings = Settings(self.site, self.op, np.array(self.neurons), np.zeros(len(self.neurons)))
        lengths = [len(bench.prompts[prompt].token_ids) for prompt in self.texts.prompt]
        order = sorted(range(len(self.texts)), key=lambda text: (lengths[text], text))
        # The settings of a text stand together: they share its prompt, and what they write alike.
        runs = [
            (text, cell, value)
            for text in order
            for cell in range(len(self.neurons))
            for value in range(len(self.values[0]))
        ]
        count = max(1, -(-len(runs) // self.rows))
        parts = [runs[len(runs) * batch // count : len(runs) * (batch + 1) // count] for batch in range(count)]

        def prepared(batch: tuple[FreePart, int]) -> Prepared:
            rows = [self._row(bench, settings, *run) for run in parts[batch[1]]]
            return Prepared.of(bench.model, rows, generation, captures)

        for number, part in enumerate(parts):
            then = (self, number + 1) if number + 1 < count else None
            decoded = bench.ahead.take((self, number), prepared, then).decode(bench.model, report)
            for run, row in zip(part, decoded.rows, strict=True):
                table.take(*run, row)
        return table.arrays()

    def _row(self, bench: Bench, settings: Settings, text: int, cell: int, value: int) -> Row:
        place = self.texts.prompt[text]
        prompt = bench.prompts[place]
        edit = settings.edit(cell, bench.maker.positions[place][0])
        if edit.values:
            edit = dataclasses.replace(edit, values=(self.values[cell][value],))
        noise = None
        written = bench.experiment.generation
        if written.mode == "sample":
            noise = NoiseKey(written.seed, prompt.sha256, prompt.occurrence, self.texts.sample[text])
        return Row(prompt.token_ids, (edit,), noise)


Part: TypeAlias = ForcedPart | FreePart


@dataclass(frozen=True, eq=False)
class OfBaseline:
    """What written texts are compared with.

    Attributes:
        vectors: [site][text, d] mean captured vectors of the baseline.
        planes: place of the site, and [2, d] basis, of each plane.
    """

    vectors: tuple[NDArray[np.float64], ...]
    planes: tuple[tuple[int, NDArray[np.float64]], ...]

    @classmethod
    def of(cls, session: Session, kept: Kept) -> Self:
        """Gather it.

        Args:
            session: holds every run of the baseline, and none else.
            kept: vectors by site, rows in the order of its runs.
        """
        sites = list(session.spec.capture.sites)
        spanned, _ = planes_in(session, kept)
        vectors = tuple(baseline_vectors(kept[site]) for site in sites)
        return cls(vectors, tuple((sites.index(plane.site), np.array(plane.plane.basis)) for plane in spanned))


@dataclass(frozen=True, eq=False)
class PartMaker:
    """Makes the parts of a survey from its plan: the same, whether it is run or run again.

    Args:
        plan: what each cell is, and is given.
        texts: all that the baseline wrote.
        prompts: of the run.
    """

    experiment: Experiment
    plan: Plan | SurveyTables
    texts: GivenTexts
    prompts: Sequence[PromptRecord]

    @cached_property
    def scored(self) -> GivenTexts:
        """Those that are scored."""
        return GivenTexts.scored(self.experiment, self.texts, self.prompts)

    def forced(self, number: int, cells: NDArray[np.integer], rows: int) -> ForcedPart:
        """A part that scores cells of one layer, by their places in the plan."""
        return ForcedPart(number, *self._named(cells), self.scored, self._told, rows)

    @cached_property
    def _told(self) -> tuple[bool, ...]:
        """Texts that nothing is chosen on and that are not kept back: those that a survey's table is of."""
        seen = seen_prompts(self.experiment, [prompt.set for prompt in self.prompts])
        chose = self.plan.chose.tolist()
        return tuple(seen[prompt] and not on for prompt, on in zip(self.texts.prompt, chose, strict=True))

    def free(
        self, number: int, cells: NDArray[np.integer], rows: int, places: NDArray[np.integer], baseline: OfBaseline
    ) -> FreePart:
        """A part that writes under cells of one layer, by their places in the plan.

        Args:
            places: of the texts that are compared with what is written.
        """
        site, op, neurons, values = self._named(cells)
        layer = Site.parse(site).layer
        named = set(self.experiment.survey.kept_cells([(layer, neuron) for neuron in neurons]))
        kept = tuple((layer, neuron) in named for neuron in neurons)
        texts, vectors = self.texts.at(places.tolist()), tuple(array[places] for array in baseline.vectors)
        steps = self.experiment.generation.tokens
        return FreePart(number, site, op, neurons, values, texts, vectors, baseline.planes, kept, rows, steps)

    def _named(
        self, cells: NDArray[np.integer]
    ) -> tuple[str, Operation, tuple[int, ...], tuple[tuple[float, ...], ...]]:
        template = self.experiment.interventions[0]
        site = site_of(template, int(self.plan.layer[cells[0]]))
        values = tuple(tuple(row) for row in self.plan.values[cells].tolist())
        return site, template.op, tuple(self.plan.neuron[cells].tolist()), values


@dataclass(frozen=True, eq=False)
class _FreeTable:
    """The numbers of written texts, as they come."""

    part: FreePart
    sites: list[str]
    sketches: list[Floats]
    tokens: NDArray[np.int32]
    parted: NDArray[np.int32]
    text_hash: NDArray[np.uint64]
    change: Floats
    norm: Floats
    xy: Floats
    sketch: Floats
    vectors: list[Floats]

    @classmethod
    def of(cls, part: FreePart, captures: Sequence[Capture]) -> _FreeTable:
        shape = (len(part.neurons), len(part.values[0]), len(part.texts))
        widths = [base.shape[1] for base in part.baseline]
        return cls(
            part=part,
            sites=[capture.site for capture in captures],
            sketches=[sketch_directions(width) for width in widths],
            tokens=np.zeros(shape, np.int32),
            parted=np.zeros(shape, np.int32),
            text_hash=np.zeros(shape, np.uint64),
            change=np.zeros((len(captures), *shape), np.float32),
            norm=np.zeros((len(captures), *shape), np.float32),
            xy=np.zeros((2, len(part.planes), *shape), np.float32),
            sketch=np.zeros((len(captures), *shape, SKETCH), np.float32),
            vectors=[np.zeros((sum(part.kept), *shape[1:], width), np.float32) for width in widths],
        )

    def take(self, text: int, cell: int, value: int, row: RowResult) -> None:
        """Take what came of one row."""
        at = cell, value, text
        own = self.part.texts.tokens[text]
        parted = first_divergence(row.tokens, own)
        self.tokens[at] = len(row.tokens)
        is_broken = row.margin is not None and math.isnan(row.margin)
        self.parted[at] = BROKEN if is_broken else -1 if parted is None else parted
        self.text_hash[at] = text_hash(row.tokens)
        captured = [np.asarray(vector, np.float64) for vector in row.captured]
        for site, (vector, bases) in enumerate(zip(captured, self.part.baseline, strict=True)):
            base = bases[text]
            moved, length = vector - base, float(np.linalg.norm(base))
            distance = float(np.linalg.norm(moved))
            self.change[site, *at] = distance / length if length else np.inf if distance else 0.0
            self.norm[site, *at] = np.linalg.norm(vector)
            self.sketch[site, *at] = moved @ self.sketches[site]
            if self.part.kept[cell]:
                self.vectors[site][sum(self.part.kept[:cell]), value, text] = vector
        for plane, (site, basis) in enumerate(self.part.planes):
            self.xy[:, plane, *at] = basis @ captured[site]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By name, as the journal has them; `kept` are places among the part's cells."""
        named: dict[str, NDArray[Any]] = {
            name: getattr(self, name) for name in ("tokens", "parted", "text_hash", "change", "norm", "sketch")
        }
        named |= {"x": self.xy[0], "y": self.xy[1], "kept": np.flatnonzero(self.part.kept).astype(np.int32)}
        named |= {f"vectors/{site}": vectors for site, vectors in zip(self.sites, self.vectors, strict=True)}
        return {f"{FREE}{name}": array for name, array in named.items()}


def captures_of(bench: Bench) -> list[Capture]:
    """What is captured of every text: one vector a captured site, the mean where every token is asked for."""
    spec = bench.experiment.capture
    kept = bench.maker.captures()[: len(spec.sites)]
    return [
        dataclasses.replace(capture, reduce="mean", skips_unrouted=True) if capture.reduce == "tokens" else capture
        for _, capture in kept
    ]


_MOST_POSITIONS = {"cpu": 6_000, "cuda": 200_000}
"""Positions of a pass, at most: what they hold on the way is some 70 kB each in GPT-2 Small."""


def rows_of(most: int, longest: int, device: str) -> int:
    """Rows of a pass over whole texts."""
    return max(1, min(most, _MOST_POSITIONS.get(device, _MOST_POSITIONS["cpu"]) // longest))
