"""Time and memory at 1, 4 and 16 times of what a study may have more of: no worse than linear."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from analyses import swept
from measuring import Measured, Options, Report, brief, memory, reset_peak, seconds
from scoring import drawn_texts, surveyed
from sessions import folder_of

from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, rows_that_fit
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.prepared import decode
from srm_explorer.tui.sessions.list_model import SessionList
from srm_explorer.tui.sessions.summary import SummaryCache

TIMES = (1, 4, 16)
LEAST = 2**20
"""Bytes below which memory is not told from what else a process does."""


def grown(report: Report, of: str, prepare: Callable[[int], Callable[[], Any]]) -> None:
    """Two rows: seconds and memory at 16 times, beside 16 times what it takes once.

    Args:
        of: what there is more of.
        prepare: makes the work of so many times as much; what it makes ready is not measured.
    """
    # From here on: what a process has once had, it keeps for the next size.
    reset_peak()
    before = memory("VmRSS")
    prepare(1)()
    spent: list[float] = []
    peaks: list[float] = []
    for times in TIMES:
        work = prepare(times)
        reset_peak()
        took = seconds(work)
        peaks.append(max(LEAST, memory("VmHWM") - before) / 2**20)
        # What takes long needs no second look, what takes milliseconds a hundred.
        looks = 1 if took > 2 else max(3, min(100, int(1 / took)))
        spent.append(statistics.median([took, *(seconds(work) for _ in range(looks - 1))]))
    for what, unit, numbers in (("time", "s", spent), ("memory", "MB", peaks)):
        told = ", ".join(f"{times}x {brief(number)} {unit}" for times, number in zip(TIMES, numbers, strict=True))
        linear = TIMES[-1] * numbers[0]
        ratio = numbers[-1] / linear
        report.add(Measured(f"growth: {what} of 16 times the {of}", numbers[-1], linear, ratio, note=told))


def _rows(model: LoadedModel, prompts: int, values: int, *, tokens: int) -> Callable[[], Any]:
    """Write some prompts of eight drawn tokens under some values, batch by batch as rows fit."""
    site = f"blocks.{model.shape.n_layers - 1}.mlp.hook_post"
    drawn = np.random.default_rng(0).integers(0, model.n_vocab, (prompts, 8)).tolist()
    captures = [Capture(site, "mean", "generated")]
    edits = [(Edit(site, "clamp", "all", (7,), (float(value),)),) for value in range(1, values + 1)]
    rows = [Row(tuple(prompt), own) for prompt in drawn for own in edits]
    most = rows_that_fit(model, 8, Generation(tokens), captures)

    def work() -> None:
        for start in range(0, len(rows), most):
            decode(model, rows[start : start + most], Generation(tokens), captures)

    return work


def rows(options: Options) -> None:
    """Rows, with prompts of their own, of a model of GPT-2 Small's shape."""
    model = load_model(ModelSpec(name=str(options.shaped), device="cpu"))
    few, tokens = (8, 3) if options.quick else (16, 6)
    grown(options.report, "rows", lambda times: _rows(model, few * times, 1, tokens=tokens))


def values(options: Options) -> None:
    """Values of four prompts of the same model."""
    model = load_model(ModelSpec(name=str(options.shaped), device="cpu"))
    tokens = 3 if options.quick else 6
    grown(options.report, "values", lambda times: _rows(model, 4, 4 * times, tokens=tokens))


def neurons(options: Options) -> None:
    """Neurons of the middle layer that a forced survey scores one text under."""
    model = load_model(ModelSpec(name=str(options.shaped), device="cpu"))
    texts, site = drawn_texts(model, 1, ()), f"blocks.{model.shape.n_layers // 2}.mlp.hook_post"
    few = 2 if options.quick else 4
    grown(options.report, "neurons", lambda times: lambda: surveyed(model, texts, site, range(few * times)))


def vectors(options: Options) -> None:
    """Vectors of a sweep; the fewest of them are more than a processor's cache holds."""
    made = np.random.default_rng(0).standard_normal((64_000, 3072), dtype=np.float32)
    grown(options.report, "vectors", lambda times: lambda: swept(made[: 4_000 * times]))


def sessions(options: Options) -> None:
    """Sessions of a folder, listed as at any start but the first."""

    def prepare(times: int) -> Callable[[], Any]:
        folder, cache = options.scratch / f"{times}x", options.scratch / f"{times}x.cache.json"
        if not folder.exists():
            SessionList(folder_of(125 * times, folder), SummaryCache(cache)).rows()
        return lambda: SessionList(folder, SummaryCache(cache)).rows()

    grown(options.report, "sessions in the folder", prepare)
