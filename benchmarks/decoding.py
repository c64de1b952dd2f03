"""Writing under clamps: our rows beside (i) a run at a time, (ii) a value at a time, and the matrix products alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import Measured, Options, peak_above, timed
from references import PlainModel, one_at_a_time

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, rows_that_fit
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.prepared import decode
from srm_explorer.engine.model.selftest import self_test
from srm_explorer.engine.prompts import load_prompt_set
from srm_explorer.engine.runs.plan import plan_layout

TOKENS = 50
PROTOCOL = (-20.0, -10.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 10.0, 20.0)
SMALL = (-6.0, -4.0, -3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Values under which about half of a real model's texts stay what they were."""


class Runs:
    """The protocol's runs on a model, laid out as `run` does: 50 prompts, the baseline and 11 values of one neuron."""

    def __init__(self, model: LoadedModel, values: Sequence[float], neuron: int = 373, prompts: int = 50) -> None:
        sets = [load_prompt_set(n, folders=[paths.shipped_prompts()], base=Path()) for n in ("reasoning", "watching")]
        texts = [prompt.text for one in sets for prompt in one.prompts][:prompts]
        layer = model.shape.n_layers - 1
        self.model = model
        self.prompts = [tuple(model.tokenizer.encode(text, prepend_bos=False)) for text in texts]
        self.sites = [f"blocks.{layer}.mlp.hook_post", f"blocks.{layer}.hook_resid_post"]
        self.edits: list[tuple[Edit, ...]] = [
            (),
            *((Edit(self.sites[0], "clamp", "all", (neuron,), (value,)),) for value in values),
        ]
        self.captures = [Capture(site, "mean", "generated") for site in self.sites]
        self.grid = Grid(len(self.prompts), 1, len(self.edits))
        lengths = [len(prompt) for prompt in self.prompts]
        rows = rows_that_fit(model, max(lengths), Generation(TOKENS), self.captures)
        self.batches = plan_layout(self.grid, lengths, rows, baseline_first=False).batches

    def some(self, least: int) -> list[tuple[int, ...]]:
        """Batches spread over the layout that hold so many runs at least."""
        for count in range(1, len(self.batches)):
            chosen = [self.batches[at] for at in spread_over(len(self.batches), count + 2)[1:-1]]
            if sum(map(len, chosen)) >= least:
                return chosen
        return list(self.batches)

    def row(self, index: int) -> Row:
        """A run as the model takes it."""
        return Row(self.prompts[self.grid.prompt(index)], self.edits[self.grid.condition(index)])

    def written(self, batch: Sequence[int]) -> list[RowResult]:
        """Decode a batch, capturing both sites."""
        return decode(self.model, [self.row(index) for index in batch], Generation(TOKENS), self.captures).rows


class Limit:
    """How fast a batch could be written if the matrix products with the weights were all there is to do.

    Each prompt goes through the blocks once; then, at every step, each row through them and the unembedding. Attention,
    norms, choosing and everything else is free. Where alike texts are one, each text that differs from the others so
    far goes through the blocks up to the edited neurons, each row through what these write, and the unembedding is
    taken of rows or of texts, whichever is faster; texts that were written tell how many differ at each step.
    """

    _STEPS = 8
    """Steps that are measured, spread over all of them, at each look."""

    def __init__(self, plain: PlainModel, runs: Runs) -> None:
        self._products = plain.products()
        self._runs = runs

    def rates(self, batch: Sequence[int], texts: Sequence[Sequence[int]]) -> tuple[float, float]:
        """Tokens a second of a batch that wrote these texts: every row by itself, and alike texts as one."""
        prompts = [self._runs.prompts[self._runs.grid.prompt(index)] for index in batch]
        prefill = self._products.prefill_seconds(sum(map(len, set(prompts))))
        rows = len(batch)
        every: list[float] = []
        alike: list[float] = []
        # The last token is fed too: what it leaves is captured.
        for fed in (1 + before for before in spread_over(TOKENS, self._STEPS)):
            every.append(self._products.step_seconds(rows, rows))
            alike.append(self._products.step_seconds(self._different(prompts, texts, fed), rows))
        by_row, by_text = (rows * TOKENS / (TOKENS * statistics.mean(spent) + prefill) for spent in (every, alike))
        return by_row, by_text

    @staticmethod
    def _different(prompts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]], fed: int) -> int:
        return len({(tuple(prompt), tuple(text[:fed])) for prompt, text in zip(prompts, texts, strict=True)})


class Compared:
    """Turns of ours and of the references on the same runs, and whether they wrote the same."""

    def __init__(self, runs: Runs, plain: PlainModel) -> None:
        self.runs = runs
        self.plain = plain
        self.results: dict[int, RowResult] = {}
        self.ours: list[float] = []
        self.limits: list[float] = []
        self.shared_limits: list[float] = []
        self.one_by_one: list[float] = []
        self.by_value: list[float] = []
        self.peak = 0
        self._theirs: list[tuple[int, tuple[int, ...], Sequence[np.ndarray]]] = []

    def batch(self, batch: Sequence[int], limit: Limit) -> None:
        """Write a batch, and look at the limit of what was written."""
        peak, took, results = peak_above(self.runs.written, batch)
        self.peak = max(self.peak, peak)
        self.ours.append(len(batch) * TOKENS / took)
        for kept, rate in zip(
            (self.limits, self.shared_limits), limit.rates(batch, [r.tokens for r in results]), strict=True
        ):
            kept.append(rate)
        self.results.update(zip(batch, results, strict=True))

    def run(self, index: int) -> None:
        """Write one run as published (i), twice where it is the first, which warms up."""
        row = self.runs.row(index)
        arguments = self.runs.model.bridge, row.prompt, row.edits, self.runs.sites, TOKENS
        if not self.one_by_one:
            one_at_a_time(*arguments)
        took, (text, vectors) = timed(one_at_a_time, *arguments)
        self.one_by_one.append(TOKENS / took)
        self._theirs.append((index, text, vectors))

    def value(self, condition: int) -> None:
        """Write every prompt under one value (ii)."""
        runs = self.runs
        arguments = runs.prompts, runs.edits[condition], runs.sites, TOKENS
        took, (texts, means) = timed(self.plain.all_at_once, *arguments)
        self.by_value.append(len(runs.prompts) * TOKENS / took)
        for prompt, text in enumerate(texts):
            vectors = [means[site][prompt] for site in runs.sites]
            self._theirs.append((runs.grid.index(prompt, 0, condition), text, vectors))

    def equality(self) -> tuple[int, int, float]:
        """Texts that differ, texts compared, and how far vectors of equal texts are apart, a share of their largest."""
        pairs = [(self.results[index], text, vectors) for index, text, vectors in self._theirs if index in self.results]
        equal = [(ours, vectors) for ours, text, vectors in pairs if ours.tokens == text]
        apart = [
            float(np.abs(one - other).max() / np.abs(other).max())
            for ours, vectors in equal
            for one, other in zip(ours.captured, vectors, strict=True)
        ]
        return len(pairs) - len(equal), len(pairs), max(apart, default=0.0)

    def staying(self) -> float:
        """Share of the clamped runs whose text is the baseline's."""
        grid = self.runs.grid
        texts = {index: result.tokens for index, result in self.results.items()}
        pairs = [
            texts[index] == texts[grid.index(grid.prompt(index), 0, 0)]
            for index in texts
            if grid.condition(index) and grid.index(grid.prompt(index), 0, 0) in texts
        ]
        return sum(pairs) / max(1, len(pairs))


def spread_over(among: int, count: int) -> list[int]:
    """Some places among others, evenly, from the first to the last."""
    return np.linspace(0, among - 1, count).round().astype(int).tolist()


def warmed(folder: Path, values: Sequence[float]) -> Compared:
    """Load a model both ways, and let ours write two tokens."""
    model = load_model(ModelSpec(name=str(folder), device="cpu"))
    self_test(model)
    runs = Runs(model, values)
    decode(model, [runs.row(0), runs.row(1)], Generation(2), runs.captures)
    return Compared(runs, PlainModel(folder))


def taken(
    compared: Compared, batches: Sequence[tuple[int, ...]], values: int, tell: Callable[[], None], *, singly: bool
) -> None:
    """Go through batches; between them, one run a batch singly, and values all at once.

    What is known is told after every value: where the time is up, the last of it counts.
    """
    limit = Limit(compared.plain, compared.runs)
    due: dict[int, list[int]] = {}
    for turn, condition in zip(
        spread_over(len(batches), values), spread_over(len(compared.runs.edits), values), strict=True
    ):
        due.setdefault(turn, []).append(condition)
    for turn, batch in enumerate(batches):
        compared.batch(batch, limit)
        print(f"  batch {turn + 1} of {len(batches)}: {len(batch)} rows, {compared.ours[-1]:.0f} tokens/s", flush=True)
        if singly:
            compared.run(batch[len(batch) // 2])
        for condition in due.get(turn, ()):
            compared.value(condition)
        if turn in due:
            tell()


def against(compared: Compared, theirs: Sequence[float]) -> tuple[list[float], list[float]]:
    """Pair turns of a reference with ours: as many as the reference has, ours the median of all for each."""
    return [statistics.median(compared.ours)] * len(theirs), list(theirs)


def _said(compared: Compared, rows: int) -> str:
    done, of = len(compared.results), len(compared.runs.grid)
    return f"{done} of {of} runs, {rows} rows a batch, threads: {torch.get_num_threads()}"


def shaped(options: Options) -> None:
    """600 runs of a random model of GPT-2 Small's shape, whose texts part at once, so that nothing can be shared."""
    compared = warmed(options.shaped, PROTOCOL)
    runs, report = compared.runs, options.report
    batches = runs.some(150) if options.quick else list(runs.batches)

    def tell() -> None:
        said = _said(compared, len(batches[0]))
        report.rates("decode: against one run at a time (i)", *against(compared, compared.one_by_one), said)
        report.rates("decode: against one value at a time (ii)", *against(compared, compared.by_value), said)
        report.rates("decode: share of what matrix products alone allow", compared.ours, compared.limits, said)
        report.rates("decode: the same, alike texts as one", compared.ours, compared.shared_limits, said)
        report.add(Measured("decode: memory of a batch at its peak", compared.peak / 2**20, note=said))
        differing, of, farthest = compared.equality()
        note = (
            f"of {of} compared with (i) and (ii); vectors differ by at most {farthest:.1e} of their largest coordinate"
        )
        report.add(Measured("decode: texts that differ from the references'", differing, note=note))

    taken(compared, batches, 2 if options.quick else 4, tell, singly=True)


def real(options: Options) -> None:
    """600 runs of a real model whose texts share their beginnings, about half of them to the end."""
    assert options.real is not None, "this section is left out without a real model"
    compared = warmed(options.real, SMALL)
    runs, report = compared.runs, options.report

    def tell() -> None:
        said = _said(compared, len(runs.batches[0]))
        report.rates("real model: against one value at a time (ii)", *against(compared, compared.by_value), said)
        report.rates("real model: share of what matrix products alone allow", compared.ours, compared.limits, said)
        report.rates("real model: the same, alike texts as one", compared.ours, compared.shared_limits, said)
        report.add(Measured("real model: texts that a clamp leaves as they are", 100 * compared.staying(), note=said))
        differing, of, farthest = compared.equality()
        note = f"of {of}; the others' vectors differ by at most {farthest:.1e} of their largest coordinate"
        report.add(Measured("real model: texts that differ from (ii)", differing, note=note))

    taken(compared, list(runs.batches), 3, tell, singly=False)
