"""Check and measure what is done on a GPU: one program for whoever has one for a few minutes.

    python tools/gpu_check.py [--part equality|step|protocol|survey|actors ...] [--out FOLDER] [--rehearse]

It makes its model on the spot (GPT-2's shape, random weights) and needs no network. Each part is made to take less than
90 seconds on a GPU of today, has a process of its own, writes what it found into FOLDER/gpu.json and FOLDER/gpu.txt
beside what earlier parts of the same device wrote, and ends with status 1 where something that must agree does not.
From there `make bench GPU_REPORT=FOLDER/gpu.json` puts the numbers into benchmarks/RESULTS.md. Without a GPU, or with
--rehearse, everything runs on the processor with a tiny model, as a rehearsal: its numbers mean nothing and are not
reported as a GPU's.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import torch
from make_random_model import Sizes, write_model

from srm_explorer.engine.errors import first_line
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode, row_bytes
from srm_explorer.engine.model.device import free_bytes, release_memory
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.prepared import Ahead, Prepared
from srm_explorer.engine.model.sampling import NoiseKey, Sampling
from srm_explorer.engine.model.selftest import self_test
from srm_explorer.engine.model.static import decode_static

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
LEAST = {"torch": (2, 11), "transformers": (5, 9)}
MAIN = "import sys; from srm_explorer.tui.cli import main; sys.exit(main())"
SECONDS = 75.0
"""After which a part begins nothing new."""
LONGEST = 600.0
"""Seconds after which a part is ended that runs beside others."""


@dataclass(frozen=True)
class Scale:
    """How much is done.

    Args:
        sizes: of the model.
        rows: of the batches whose steps are timed, the last of which the roofline is for.
        tokens: a text has.
        prompts: of the protocol.
        conditions: of the protocol, the baseline among them.
        singles: runs that are written one at a time.
        neuron: of the protocol.
    """

    sizes: Sizes
    rows: tuple[int, ...]
    tokens: int
    prompts: int
    conditions: int
    singles: int
    neuron: int


WHOLE = Scale(Sizes("gpt2"), (256, 1024, 2048), 50, 50, 41, 16, 373)
TINY = Scale(Sizes("gpt2", layers=2, d_model=32, d_mlp=64, heads=4, vocab=600, context=128), (4, 8), 17, 4, 4, 2, 7)


@dataclass
class Findings:
    """What a part found.

    Args:
        rows: for the table of the benchmarks: name, value, reference, ratio, note.
        numbers: everything else, by name.
        wrong: what must agree and does not.
        text: longer words: a profile.
    """

    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    numbers: dict[str, Any] = field(default_factory=dict[str, Any])
    wrong: list[str] = field(default_factory=list[str])
    text: str = ""

    def row(self, name: str, value: float, reference: float | None = None, ratio: float | None = None, note: str = ""):
        """Keep a row of the table, and say it."""
        self.rows.append({"name": name, "value": value, "reference": reference, "ratio": ratio, "note": note})
        print(
            f"  {name}: {value:.4g}" + (f" (ratio {ratio:.3g})" if ratio is not None else "") + f" {note}", flush=True
        )

    def number(self, name: str, value: Any) -> None:
        """Keep a number, and say it."""
        self.numbers[name] = value
        print(f"  {name}: {value:.4g}" if isinstance(value, float) else f"  {name}: {value}", flush=True)

    def check(self, holds: bool, what: str) -> None:
        """Note what must hold and does not."""
        if not holds:
            self.wrong.append(what)
            print(f"  WRONG: {what}", flush=True)

    def break_off(self, what: str, error: Exception) -> None:
        """Note what ended before its end, and where; call it where the error is handled."""
        self.check(False, f"{what} broke off: {type(error).__name__}: {first_line(error)}")
        self.text += traceback.format_exc()


class Machine:
    """The device, the models on it, and the clock of one part."""

    def __init__(self, folder: Path, rehearse: bool) -> None:
        self.is_gpu = torch.cuda.is_available() and not rehearse
        self.device = "cuda" if self.is_gpu else "cpu"
        self.scale = WHOLE if self.is_gpu else TINY
        self.graphs: Any = "cuda" if self.is_gpu else "rehearsed"
        self.folder = folder
        self._began = time.monotonic()
        if not (folder / "config.json").is_file():
            write_model(folder, self.scale.sizes)
            print(f"model made in {self.spent():.1f} s", flush=True)

    def spent(self) -> float:
        """Seconds since the part began."""
        return time.monotonic() - self._began

    def has_time(self) -> bool:
        """Whether something new may begin."""
        return self.spent() < SECONDS

    def load(self, dtype: Any = "float32", *, tf32: bool = False, device: str | None = None) -> LoadedModel:
        """Load the model, which takes prompts of different lengths in a batch."""
        spec = ModelSpec(name=str(self.folder), device=device or self.device, dtype=dtype, tf32=tf32)
        model = load_model(spec)
        model.pads = True
        return model

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def timed(self, call: Callable[[], T]) -> tuple[float, T]:
        """Seconds of a call and of all that it left to the device, and what it returned."""
        self.wait()
        began = time.perf_counter()
        result = call()
        self.wait()
        return time.perf_counter() - began, result

    def free(self) -> None:
        """Give memory back between models."""
        gc.collect()
        release_memory()


def prompts_of(scale: Scale) -> list[tuple[int, ...]]:
    """Prompts of 8 to 16 tokens, no two alike."""
    draw = np.random.default_rng(0)
    return [tuple(draw.integers(0, scale.sizes.vocab - 1, size=8 + at % 9).tolist()) for at in range(scale.prompts)]


def protocol_rows(scale: Scale) -> list[Row]:
    """The protocol's runs: every prompt, untouched and with one neuron of the last layer clamped to 40 values."""
    site = f"blocks.{scale.sizes.layers - 1}.mlp.hook_post"
    values = np.linspace(-20, 20, scale.conditions - 1)
    edits: list[tuple[Edit, ...]] = [(), *((Edit(site, "clamp", "all", (scale.neuron,), (float(v),)),) for v in values)]
    return [Row(prompt, own) for prompt in prompts_of(scale) for own in edits]


def survey_rows(scale: Scale, count: int, first: int = 0) -> list[Row]:
    """Runs of a survey: two values of one neuron after another, all prompts each, in the middle layer."""
    site, prompts = f"blocks.{scale.sizes.layers // 2}.mlp.hook_post", prompts_of(scale)
    rows: list[Row] = []
    for at in range(first, first + count):
        cell, prompt = divmod(at, len(prompts))
        neuron, value = (cell // 2) % scale.sizes.d_mlp, (-6.0, 6.0)[cell % 2]
        rows.append(Row(prompts[prompt], (Edit(site, "clamp", "all", (neuron,), (value,)),)))
    return rows


def captures_of(scale: Scale) -> list[Capture]:
    """The protocol's captures: means of both spaces over the generated tokens."""
    last = scale.sizes.layers - 1
    return [
        Capture(f"blocks.{last}.mlp.hook_post", "mean", "generated"),
        Capture(f"blocks.{last}.hook_resid_post", "mean", "generated", centred=True),
    ]


def mixed_rows(scale: Scale) -> list[Row]:
    """Every kind of edit beside each other, sampled."""
    middle = scale.sizes.layers // 2
    site, stream = f"blocks.{middle}.mlp.hook_post", f"blocks.{middle}.hook_resid_post"
    unit = tuple(np.eye(scale.sizes.d_model)[5].tolist())
    edits: list[tuple[Edit, ...]] = [
        (),
        (Edit(site, "clamp", "all", (7,), (6.0,)),),
        (Edit(site, "scale", "generated", (3,), (4.0,)), Edit(site, "add", RowPositions((2,), 4), (5,), (2.0,))),
        (Edit(site, "zero", "predicting", (11,)), Edit(stream, "steer", "all", (), (4.0,), unit)),
    ]
    return [
        Row(prompt, own, NoiseKey(0, "gpu", number, 0))
        for number, prompt in enumerate(prompts_of(scale)[:8])
        for own in edits
    ]


def every_capture(scale: Scale) -> list[Capture]:
    """The protocol's captures, and one of every other kind."""
    first, second = (capture.site for capture in captures_of(scale))
    return [
        *captures_of(scale),
        Capture(first, "tokens", "predicting", columns=(7, 3)),
        Capture(second, "moments", "all"),
        Capture(second, "last", "generated"),
    ]


def compared(one: Sequence[RowResult], other: Sequence[RowResult]) -> dict[str, Any]:
    """How many texts are the same, how far captures of those are apart, and how near a tie those that differ were."""
    same, apart, leads = 0, 0.0, [0.0]
    for left, right in zip(one, other, strict=True):
        if left.tokens != right.tokens:
            leads.append(min(left.margin or 0.0, right.margin or 0.0))
            continue
        same += 1
        for a, b in zip(left.captured, right.captured, strict=True):
            # What is no number stays one.
            apart = float(np.maximum(apart, np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)))
    return {
        "texts": len(one),
        "same": same,
        "relative difference": apart,
        "largest lead of a text that differs": max(leads),
    }


def in_each(
    machine: Machine, found: Findings, names: Sequence[str], look: Callable[[Machine, Findings, str], None]
) -> None:
    """Look at one precision after the other; where one breaks off, the others go on."""
    for name in names:
        if not machine.has_time():
            found.number(f"{name}: left out", "the time is up")
            continue
        try:
            look(machine, found, name)
        except Exception as error:  # noqa: BLE001 (whatever it is, the report says so)
            found.break_off(name, error)
        machine.free()


def equality(machine: Machine, found: Findings) -> None:
    """Steps as graphs beside the plain way on the same device, in every precision; float32 beside the processor too."""
    names = ("float64", "float32", "float32 with TF32", "bfloat16", "float16")
    in_each(machine, found, names if machine.is_gpu else ("float64", "float32", "bfloat16"), equal)


def equal(machine: Machine, found: Findings, name: str) -> None:
    """The same of one precision."""
    scale = machine.scale
    rows = [*protocol_rows(scale)[:: max(1, scale.conditions // 3)], *survey_rows(scale, 24)]
    rows = rows[:96]
    generation, captures = Generation(min(scale.tokens, 24)), captures_of(scale)
    # Most rows end early, and are dropped on the way.
    early = [replace(row, forced=(1, 2, 3)) if at % 3 else row for at, row in enumerate(rows)]
    sampled = Generation(generation.tokens, Sampling(greedy=False, top_k=50, top_p=0.9))
    # What no rounding explains: float64 parts nowhere, float32 only where two tokens were nearly as good.
    bounds = {"float64": (1e-9, 0.0), "float32": (1e-3, 1e-2)}
    model = machine.load(name.split()[0], tf32="TF32" in name)
    test = self_test(model)
    found.number(f"{name}: self-test, graphs differ by", test.graphs_differ)
    if machine.is_gpu:
        found.check(test.static_steps, f"{name}: the self-test takes no graphs")
    still: Sequence[RowResult] = []
    for what, batch, how, kept in (
        ("graphs of fewer and fewer rows", early, Generation(48), captures),
        ("graphs of every edit and capture, sampled", mixed_rows(scale), sampled, every_capture(scale)),
        ("graphs", rows, generation, captures),
    ):
        plain = decode(model, batch, how, kept).rows
        still = decode_static(model, batch, how, kept, graphs=machine.graphs).rows
        again = decode_static(model, batch, how, kept, graphs=machine.graphs).rows
        result = compared(still, plain)
        found.number(f"{name}: {what} against the plain way", result)
        bits = all(
            a.tokens == b.tokens and all(map(np.array_equal, a.captured, b.captured))
            for a, b in zip(still, again, strict=True)
        )
        found.check(bits, f"{name}: a replay of the same {what} gives other bits")
        found.check(np.isfinite(result["relative difference"]), f"{name}, {what}: a capture is not finite")
        if name in bounds:
            most, lead = bounds[name]
            found.check(result["relative difference"] <= most, f"{name}, {what}: captures differ by more than {most:g}")
            found.check(
                result["largest lead of a text that differs"] <= lead,
                f"{name}, {what}: a text differs that was no near-tie",
            )
    if name == "float32":
        few = rows[:16]
        here = decode(machine.load(device="cpu"), few, generation, captures).rows
        result = compared(still[:16], here)
        found.number("float32: graphs on the device against the processor", result)
        found.check(result["relative difference"] <= 1e-3, "float32: the device differs from the processor")
        found.check(
            result["largest lead of a text that differs"] <= 1e-2, "float32: a text differs from the processor's"
        )


def step_seconds(machine: Machine, model: LoadedModel, rows: Sequence[Row], tokens: int) -> float:
    """Seconds of one step, after a batch that captures the graphs."""
    captures, times = captures_of(machine.scale), list[tuple[int, float]]()
    decode_static(model, rows, Generation(tokens), captures, graphs=machine.graphs)
    decode_static(
        model,
        rows,
        Generation(tokens),
        captures,
        graphs=machine.graphs,
        # Told when the device has done the step: between two of these lie steps, and nothing that is done once.
        on_step=lambda step, _: times.append((step, time.perf_counter())),
    )
    (first, began), (last, ended) = times[0], times[-2] if len(times) > 2 else times[-1]
    return (ended - began) / (last - first)


def plain_step_seconds(machine: Machine, model: LoadedModel, rows: Sequence[Row]) -> float:
    """Seconds of one step the plain way."""
    times: list[float] = []

    def on_step(step: int, writing: int) -> None:
        machine.wait()
        times.append(time.perf_counter())

    decode(model, rows, Generation(6), captures_of(machine.scale), share=False, on_step=on_step)
    return (times[-1] - times[1]) / (len(times) - 2)


@dataclass(frozen=True)
class Roofline:
    """What a step takes at least: products at the rate measured for their shapes, bytes at the rate of a copy.

    Args:
        products: seconds of the matrix products with the weights.
        bytes: that must be moved besides.
        rate: bytes a second of a copy, reading and writing counted.
    """

    products: float
    bytes: float
    rate: float

    @property
    def seconds(self) -> float:
        """Of a step."""
        return self.products + self.bytes / self.rate


def roofline(machine: Machine, dtype: torch.dtype, rows: int, columns: float) -> Roofline:
    """Measure the rates and count the bytes of one step.

    Args:
        machine: where.
        dtype: of weights and activations.
        rows: of the batch.
        columns: that are cached, on average over the steps.
    """
    sizes, device = machine.scale.sizes, machine.device
    d, m = sizes.d_model, sizes.d_mlp
    # Weights of their own for every layer: one that is used again would lie in the device's cache.
    shapes = [(d, 3 * d), (d, d), (d, m), (m, d)] * sizes.layers + [(d, sizes.vocab)]
    weights = [torch.randn(shape, device=device, dtype=dtype) for shape in shapes[:-1]]
    # The unembedding lies as the embedding does, a row a token: the other way, rows of 50,257 are no multiple of what a
    # kernel reads at once, and the product takes a slower one.
    weights.append(torch.randn(sizes.vocab, d, device=device, dtype=dtype).T)
    inputs = {width: torch.randn(rows, width, device=device, dtype=dtype) for width in {d, m}}
    outputs = {shape: torch.empty(rows, shape[1], device=device, dtype=dtype) for shape in set(shapes)}

    def products() -> None:
        for shape, weight in zip(shapes, weights, strict=True):
            torch.mm(inputs[shape[0]], weight, out=outputs[shape])

    with torch.inference_mode():
        call: Callable[[], object] = products
        if machine.is_gpu:
            side: Any = torch.cuda.Stream()
            with torch.cuda.stream(side):
                products()
            torch.cuda.synchronize()
            graph: Any = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=side):
                products()
            call = graph.replay
        call()
        times = [machine.timed(lambda: [call() for _ in range(5)])[0] / 5 for _ in range(7 if machine.is_gpu else 2)]
        source = torch.empty(2**28 if machine.is_gpu else 2**20, device=device)
        target = torch.empty_like(source)
        target.copy_(source)
        copies = [machine.timed(partial(target.copy_, source))[0] for _ in range(7)]
    item = dtype.itemsize
    keys = 2 * sizes.layers * d * (columns + 1) * item
    logits = 2 * sizes.vocab * item
    # Two norms, their inputs and outputs (4 d); queries, keys, values (3 d), what attention leaves and its product
    # (3 d); two sums with the residual stream (6 d); neurons before and after they are bent (3 m), their product (d).
    activations = sizes.layers * (17 * d + 3 * m) * item
    bytes_ = rows * (keys + logits + activations)
    return Roofline(statistics.median(times), bytes_, 2 * source.numel() * 4 / statistics.median(copies))


def step(machine: Machine, found: Findings) -> None:
    """One step at several sizes and precisions, beside the plain way and the roofline, with a profile."""
    names = ("float32 with TF32", "float32", "bfloat16", "float16")
    in_each(machine, found, names if machine.is_gpu else ("float32",), step_of)


def step_of(machine: Machine, found: Findings, name: str) -> None:
    """The same of one precision."""
    scale = machine.scale
    tokens, most = max(scale.tokens, 33), scale.rows[-1]
    width = max(map(len, prompts_of(scale)))
    tf32 = "TF32" in name
    model = machine.load(name.split()[0], tf32=tf32)
    for rows in scale.rows if tf32 or not machine.is_gpu else (most,):
        batch = survey_rows(scale, rows)
        seconds = step_seconds(machine, model, batch, tokens)
        least = roofline(machine, model.dtype, rows, width + tokens / 2)
        share = least.seconds / seconds
        found.number(
            f"{name}, {rows} rows",
            {
                "ms a step": 1e3 * seconds,
                "ms of its products": 1e3 * least.products,
                "ms of its bytes": 1e3 * (least.seconds - least.products),
                "GB/s of a copy": least.rate / 1e9,
                "share of the roofline": share,
                "tokens/s": rows / seconds,
            },
        )
        if rows == most and (tf32 or not machine.is_gpu):
            found.row(
                "GPU: share of the roofline at 2,048 rows",
                rows / seconds,
                rows / least.seconds,
                share,
                f"{name}, {1e3 * seconds:.2f} ms a step",
            )
            found.number(
                f"{name}, {rows} rows: ms a step the plain way",
                1e3 * plain_step_seconds(machine, model, batch),
            )
            found.text += profile(machine, model, batch, tokens)
        model.kept_step = None
        machine.free()


def profile(machine: Machine, model: LoadedModel, rows: Sequence[Row], tokens: int) -> str:
    """Where a batch's time goes, kernel by kernel; it is replayed, so almost all of it is steps."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watched

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if machine.is_gpu else [])]
    try:
        decode_static(model, rows, Generation(tokens), captures_of(machine.scale), graphs=machine.graphs)
        with watched(activities=activities) as seen:
            decode_static(model, rows, Generation(tokens), captures_of(machine.scale), graphs=machine.graphs)
            machine.wait()
        key = "self_cuda_time_total" if machine.is_gpu else "self_cpu_time_total"
        return str(seen.key_averages().table(sort_by=key, row_limit=30, max_name_column_width=90))
    except RuntimeError as error:
        return f"no profile: {error}"


def one_at_a_time(model: LoadedModel, row: Row, sites: Sequence[str], tokens: int) -> tuple[int, ...]:
    """As published work does: one prompt, one value, `generate` under a hook, then a forward pass to capture."""
    edits = row.edits

    def clamp(edit: Edit) -> Any:
        def hook(activation: torch.Tensor, hook: Any) -> torch.Tensor:
            activation[:, :, list(edit.neurons)] = torch.tensor(edit.values, dtype=activation.dtype).to(model.device)
            return activation

        return hook

    kept: dict[str, torch.Tensor] = {}

    def keep(site: str) -> Any:
        def hook(activation: torch.Tensor, hook: Any) -> None:
            kept[site] = activation[0, len(row.prompt) :].mean(dim=0)

        return hook

    clamps = [(edit.site, clamp(edit)) for edit in edits]
    ids = torch.tensor([list(row.prompt)], device=model.device)
    options = {"do_sample": False, "stop_at_eos": False, "return_type": "tokens", "verbose": False}
    with torch.inference_mode():
        with model.bridge.hooks(fwd_hooks=clamps):
            text = model.bridge.generate(ids, max_new_tokens=tokens, **options)
        with model.bridge.hooks(fwd_hooks=[*clamps, *((site, keep(site)) for site in sites)]):
            model.bridge(text)
    for tensor in kept.values():
        tensor.cpu().numpy()
    return tuple(text[0, len(row.prompt) :].tolist())


def protocol(machine: Machine, found: Findings) -> None:
    """The protocol's 2,050 runs in one batch, fp32 with TF32, beside one run at a time on the same device."""
    scale = machine.scale
    model = machine.load(tf32=True)
    rows, captures, generation = protocol_rows(scale), captures_of(scale), Generation(scale.tokens)
    needed, free = len(rows) * row_bytes(model, 16, generation, captures), free_bytes(model.device)
    found.number("bytes planned for the batch, of those that are free", f"{needed:,} of {free:,}")
    before = torch.cuda.memory_allocated() if machine.is_gpu else 0
    call = partial(decode_static, model, rows, generation, captures, graphs=machine.graphs)
    first, _ = machine.timed(call)
    found.number("seconds with the capture of the graphs", first)
    times: list[float] = []
    results: list[RowResult] = []
    while len(times) < 5 and (len(times) < 2 or machine.spent() < SECONDS / 2):
        took, decoded = machine.timed(call)
        times.append(took)
        results = decoded.rows
    if machine.is_gpu:
        taken, reserved = torch.cuda.max_memory_allocated() - before, torch.cuda.max_memory_reserved()
        found.number("bytes that it took at the most, and torch beside it", f"{taken:,}, {reserved - taken:,}")
        found.check(taken <= needed, "the batch took more memory than is planned for it")
    seconds = statistics.median(times)
    said = f"{len(rows)} runs x {scale.tokens} tokens in one batch, {min(times):.3f} to {max(times):.3f} s"
    found.row("GPU: 2,050 runs x 50 tokens of GPT-2 Small, fp32 with TF32", seconds, note=said)
    chosen = [round(at) for at in np.linspace(0, len(rows) - 1, scale.singles)]
    sites = [capture.site for capture in captures]
    one_at_a_time(model, rows[0], sites, 2)
    singles: list[float] = []
    same = 0
    for at in chosen:
        if singles and not machine.has_time():
            break
        took, text = machine.timed(partial(one_at_a_time, model, rows[at], sites, scale.tokens))
        singles.append(took)
        same += text == results[at].tokens
    found.number("texts that are the same one at a time", f"{same} of {len(singles)}")
    ours, theirs = len(rows) * scale.tokens / seconds, scale.tokens / statistics.median(singles)
    said = f"{len(singles)} runs one at a time, {statistics.median(singles):.3f} s each"
    found.row("GPU: against one run at a time (i), 16 runs scaled", ours, theirs, ours / theirs, said)


def survey(machine: Machine, found: Findings) -> None:
    """Batches of a free survey of one layer, different neurons in each row; the whole is extrapolated from them."""
    scale = machine.scale
    model = machine.load(tf32=True)
    size, captures, generation = scale.rows[-1], captures_of(scale), Generation(scale.tokens)
    whole = scale.sizes.d_mlp * scale.prompts * 2
    # What the self-test says, and the part `equality` checks: rows are then laid out while the device works.
    model.static_steps = True
    ahead = Ahead(model)

    def prepared(at: int) -> Prepared:
        return Prepared.of(model, survey_rows(scale, size, at * size), generation, captures)

    times: list[float] = []
    began = 0.0
    for at in itertools.count():
        ahead.take(at, prepared, at + 1).decode(model)
        machine.wait()
        now = time.perf_counter()
        # The first captures the graphs.
        times += [now - began] if at else []
        began = now
        if len(times) >= (40 if machine.is_gpu else 3) or (times and machine.spent() > SECONDS - 2 * max(times)):
            break
    seconds = statistics.median(times) * whole / size
    said = (
        f"extrapolated from {len(times)} batches of {size} runs to {whole:,} runs, {whole * scale.tokens:,} tokens;"
        " decoding alone, without a journal"
    )
    found.row("GPU: free survey of a layer, 15 million tokens", seconds, note=said)
    found.number("seconds of a batch", {"median": statistics.median(times), "least": min(times), "most": max(times)})


def actors(machine: Machine, found: Findings) -> None:
    """The same experiment run here and by two actors that share the device: the same texts and vectors, bit by bit."""
    scale = machine.scale
    layer = scale.sizes.layers - 1
    words = ["The man", "If all of them", "Two", "She turned", "One day", "Nobody", "After the rain", "He said"]
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        (folder / "words.txt").write_text("\n".join(words) + "\n")
        (folder / "spec.toml").write_text(
            "\n".join(
                (
                    "[model]",
                    f'name = "{machine.folder}"',
                    f'device = "{machine.device}"',
                    "[prompts]",
                    'sets = ["./words.txt"]',
                    "[[interventions]]",
                    f'site = "blocks.{layer}.mlp.hook_post"',
                    f"neurons = [{scale.neuron}]",
                    'op = "clamp"',
                    "values = [-6.0, -2.0, 2.0, 6.0]",
                    "[generation]",
                    f"tokens = {min(scale.tokens, 16)}",
                    "[execution]",
                    # Four batches: both have something to do.
                    "rows = 10",
                    "[capture]",
                    f'sites = ["blocks.{layer}.hook_resid_post"]',
                )
            )
            + "\n"
        )
        for name, options in (("here", ["--executor", "local"]), ("two", ["--executor", "ray", "--actors", "2"])):
            command = [sys.executable, "-c", MAIN, "run", str(folder / "spec.toml"), *options]
            command += ["--session", str(folder / f"{name}.json")]
            began = time.monotonic()
            left = max(30.0, SECONDS + 15 - machine.spent()) if machine.is_gpu else 400.0
            environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state")}
            ran = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=left
            )
            found.number(f"seconds of the run, {name}", time.monotonic() - began)
            found.check(ran.returncode == 0, f"the run ({name}) ended with {ran.returncode}: {ran.stderr[-400:]}")
            if ran.returncode:
                found.text += ran.stdout[-2000:] + ran.stderr[-4000:]
                return
        one, two = (json.loads((folder / f"{name}.json").read_text()) for name in ("here", "two"))
        found.check(one["runs"] == two["runs"], "two actors wrote other texts, or other margins, than one process")
        vectors = [path.read_bytes() for name in ("here", "two") for path in folder.glob(f"{name}*.safetensors")]
        found.check(len(vectors) == 2 and vectors[0] == vectors[1], "two actors' vectors are other bits")


PARTS: dict[str, Callable[[Machine, Findings], None]] = {
    "equality": equality,
    "step": step,
    "protocol": protocol,
    "survey": survey,
    "actors": actors,
}


def versions() -> dict[str, str]:
    """The versions that matter."""
    return {name: version(name) for name in ("torch", "transformers", "transformer-lens", "numpy")}


def too_old() -> list[str]:
    """Which libraries are older than what this was written for."""
    return [
        f"{name} {version(name)} is older than {'.'.join(map(str, least))}"
        for name, least in LEAST.items()
        if tuple(int(part) for part in version(name).split("+")[0].split(".")[:2]) < least
    ]


def about(machine: Machine) -> dict[str, Any]:
    """What a report is about."""
    told: dict[str, Any] = {"rehearsal": not machine.is_gpu, "device": machine.device, **versions()}
    if machine.is_gpu:
        properties: Any = torch.cuda.get_device_properties(0)
        told |= {"device": properties.name, "memory": properties.total_memory, "cuda": torch.version.cuda}
    return told


def written(out: Path, told: dict[str, Any], results: dict[str, dict[str, Any]]) -> None:
    """Write the report, beside what other parts of the same device have found before."""
    path = out / "gpu.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    parts = kept.get("parts", {}) if kept.get("about") == told else {}
    parts |= results
    # A rehearsal's numbers are no GPU's: the benchmarks find none in its report.
    rows = [] if told["rehearsal"] else [row for part in parts.values() for row in part["rows"]]
    # Whole or not at all: what earlier parts have found is in it.
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps({"about": told, "rows": rows, "parts": parts}, indent=1) + "\n")
    draft.replace(path)
    lines = [", ".join(f"{name} {value}" for name, value in told.items())]
    for name, part in parts.items():
        lines += ["", f"== {name}: {'wrong' if part['wrong'] else 'right'}, {part['seconds']:.0f} s"]
        lines += [f"WRONG {what}" for what in part["wrong"]]
        lines += [f"{row['name']}: {row['value']:.6g}, ratio {row['ratio']}. {row['note']}" for row in part["rows"]]
        lines += [f"{label}: {value}" for label, value in part["numbers"].items()]
        lines += [part["text"]] if part["text"] else []
    (out / "gpu.txt").write_text("\n".join(lines) + "\n")


def main() -> int:
    """Run the parts that were asked for; 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="one of them, may be repeated; else all")
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="where the report goes")
    parser.add_argument("--model", type=Path, default=None, help="where the model is made, and found again")
    parser.add_argument("--rehearse", action="store_true", help="on the processor, with a tiny model")
    asked = parser.parse_args()
    for old in too_old():
        print(f"gpu_check: {old}", file=sys.stderr)
    if too_old():
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    parts: Sequence[str] = asked.part or list(PARTS)
    is_wrong = False
    with tempfile.TemporaryDirectory() as kept:
        folder = asked.model or Path(kept)
        if len(parts) == 1:
            is_wrong = run_part(parts[0], folder, asked.out, rehearse=asked.rehearse)
        else:
            for part in parts:
                is_wrong |= run_apart(part, folder, asked.out, rehearse=asked.rehearse)
    return int(is_wrong)


def run_part(part: str, folder: Path, out: Path, *, rehearse: bool) -> bool:
    """Run a part here and write what it found; whether something was wrong."""
    print(f"== {part}", flush=True)
    machine, found = Machine(folder, rehearse), Findings()
    if not machine.is_gpu:
        print("  a rehearsal: no number here is a GPU's", flush=True)
    try:
        PARTS[part](machine, found)
    except Exception as error:  # noqa: BLE001 (whatever it is, the report says so)
        found.break_off(part, error)
    report(part, machine, found, out)
    return bool(found.wrong)


def run_apart(part: str, folder: Path, out: Path, *, rehearse: bool) -> bool:
    """Run a part in a process of its own: after some errors of a device a process can do nothing there any more."""
    command = [sys.executable, __file__, "--part", part, "--out", str(out), "--model", str(folder)]
    try:
        ended = subprocess.run([*command, *["--rehearse"] * rehearse], check=False, timeout=LONGEST).returncode
    except subprocess.TimeoutExpired:
        ended = None
    if ended not in (0, 1):
        found = Findings()
        how = f"ended with status {ended}" if ended is not None else f"had not ended after {LONGEST:.0f} s"
        found.check(False, f"{part}: its process {how}")
        report(part, Machine(folder, rehearse), found, out)
    return ended != 0


def report(part: str, machine: Machine, found: Findings, out: Path) -> None:
    """Write what a part found."""
    result = {"seconds": machine.spent(), "wrong": found.wrong, "rows": found.rows}
    written(out, about(machine), {part: result | {"numbers": found.numbers, "text": found.text}})
    print(f"report: {out / 'gpu.json'}, {out / 'gpu.txt'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
