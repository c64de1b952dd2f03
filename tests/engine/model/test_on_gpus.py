"""What is done on GPUs alone, on GPUs that are pretended: see `tests/pretended_gpus.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model import rate, static
from srm_explorer.engine.model import sampling as sampling_module
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, RowResult, decode, row_bytes
from srm_explorer.engine.model.layout import LaidOut
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.prepared import Prepared
from srm_explorer.engine.model.rate import measured_rate
from srm_explorer.engine.model.sampling import Sampling
from srm_explorer.engine.model.selftest import self_test
from srm_explorer.engine.model.static import decode_static
from tests.conftest import TOOLS, load_module
from tests.engine.model.test_static import GREEDY, SAMPLED, captures_of, check, rows_of
from tests.pretended_gpus import Gpus, pretended_gpus

Prompts = list[tuple[int, ...]]
SameRow = Callable[[RowResult, RowResult], None]


@pytest.fixture
def gpu() -> Iterator[Gpus]:
    with pretended_gpus() as gpus:
        yield gpus


def on_gpu(model: LoadedModel) -> LoadedModel:
    there = load_model(ModelSpec(name=model.source, device="cuda", dtype="float64"))
    there.pads = model.pads
    return there


@pytest.mark.parametrize(("shape", "sampling"), [("gpt2", GREEDY), ("llama", SAMPLED)], ids=["gpt2", "llama"])
def test_graphs_write_what_the_processor_writes_and_wait_for_nothing(
    request: pytest.FixtureRequest,
    gpu: Gpus,
    prompts: Prompts,
    same_row: SameRow,
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    sampling: Sampling,
) -> None:
    tiny: LoadedModel = request.getfixturevalue(f"tiny_{shape}")
    model, steps, waited = on_gpu(tiny), list[int](), list[str]()
    plain: Callable[[Any, int], None] = static._Batch._run

    def run(batch: Any, columns: int) -> None:
        before, there = len(gpu.waits), len(batch._graphs)
        plain(batch, columns)
        steps.append(columns)
        # To capture one more, it waits.
        if len(batch._graphs) == there:
            waited.extend(gpu.waits[before:])

    monkeypatch.setattr(static._Batch, "_run", run)
    monkeypatch.setattr(static, "LOOK", 2)
    monkeypatch.setattr(static, "_WORTH", 3)
    # As of a vocabulary that is larger than this model's.
    monkeypatch.setattr(sampling_module, "_STRETCH", 64)
    text = decode(tiny, rows_of(prompts)[:1], Generation(6, sampling), []).rows[0].tokens
    generation = Generation(16, sampling, frozenset(text[4:]))
    many = [
        # Most end early, and are dropped from the batch.
        replace(row, forced=tuple(range(1 + at // 3)), marks=(1, 4)) if at % 5 else row
        for at, row in enumerate([*rows_of(prompts), *rows_of(prompts, 1)])
    ]
    for number, rows in enumerate((many, many[::-1])):
        # Of the second batch's shape tensors and graphs are there.
        captures = captures_of(prompts, number)
        decoded = decode_static(model, rows, generation, captures)
        assert decoded.static_steps
        check(decoded.rows, decode(tiny, rows, generation, captures, share=False).rows, same_row)
    assert gpu.replays == len(steps) > 12
    assert waited == []


def test_a_self_test_lets_graphs_be_used_on_a_gpu_and_runs_decode_with_them(
    gpu: Gpus, tiny_llama: LoadedModel, prompts: Prompts, same_row: SameRow
) -> None:
    model = on_gpu(tiny_llama)
    assert self_test(model).static_steps
    rows = rows_of(prompts)[:4]
    decoded = Prepared.of(model, rows, Generation(4), []).decode(model)
    assert decoded.static_steps
    check(decoded.rows, decode(tiny_llama, rows, Generation(4), []).rows, same_row)


@pytest.mark.parametrize("rows", [1, 5, 5_000])
def test_how_fast_a_gpu_writes_is_measured_by_a_batch_that_fits(
    gpu: Gpus, tiny_gpt2: LoadedModel, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(rate, "_MOST_SECONDS", np.inf)
    model, generation = on_gpu(tiny_gpt2), Generation(24)
    capture = Capture("blocks.2.hook_resid_post", "mean", "generated")
    gpu.memory = gpu.taken[0] + int(rows / 0.6 * row_bytes(model, 8, generation, [capture])) + 1
    model.static_steps = True
    assert measured_rate(model) > 0
    kept: Any = model.kept_step
    assert kept.shape.rows == {1: 1, 5: 4, 5_000: 1_024}[rows]


@pytest.mark.parametrize("asks", [True, False], ids=["asks the host", "fails otherwise"])
def test_a_step_that_cannot_be_captured_is_taken_the_plain_way_or_refused_and_leaves_no_other_stream(
    gpu: Gpus, tiny_gpt2: LoadedModel, prompts: Prompts, same_row: SameRow, monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    plain: Callable[[Any], None] = static._Batch._advance

    def advance(batch: Any) -> None:
        plain(batch)
        if asks:
            batch.lengths.sum().item()
        elif gpu.capturing:
            raise RuntimeError("operation failed due to a previous error during capture")

    model, usual = on_gpu(tiny_gpt2), torch.cuda.current_stream()
    monkeypatch.setattr(static._Batch, "_advance", advance)
    rows, generation = rows_of(prompts), Generation(2)
    model.static_steps = True
    batch = Prepared(rows, generation, [], LaidOut.of(model, rows, generation, []))
    if asks:
        decoded = batch.decode(model)
        assert not decoded.static_steps, "the batch says that it went the plain way"
        check(decoded.rows, decode(tiny_gpt2, rows, generation, []).rows, same_row)
    else:
        with pytest.raises(ExplorerError, match=r"captured as a CUDA graph: .*previous error.*SRM_EXPLORER_GRAPHS=off"):
            batch.decode(model)
    assert model.static_steps is not asks
    assert torch.cuda.current_stream() is usual
    assert torch.cuda.get_sync_debug_mode() == 0
    assert gpu.capturing is None


def test_what_is_checked_on_a_gpu_is_right_on_one_that_is_pretended(
    random_models: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    check_: Any = load_module(TOOLS / "gpu_check.py")
    monkeypatch.setattr(check_, "WHOLE", check_.TINY)
    # As many batches as there must be, and one precision of several.
    monkeypatch.setattr(check_, "SECONDS", 0.0)
    monkeypatch.setattr(check_, "in_each", lambda machine, found, names, look: look(machine, found, "float32"))
    monkeypatch.setattr(check_, "profile", lambda *_: "")  # of kernels that are not there
    for part in ("equality", "protocol", "survey", "step"):
        with pretended_gpus():
            assert not check_.run_part(part, tmp_path / "model", tmp_path, rehearse=False)
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["about"]["device"] == "Pretended"
    assert len(report["rows"]) == 3
    equality = report["parts"]["equality"]["numbers"]
    assert equality["float32: graphs on the device against the processor"]["relative difference"] < 1e-5


def test_a_pretended_gpu_refuses_what_a_gpu_does_and_does_what_a_graph_holds_when_it_is_replayed() -> None:
    with pretended_gpus(2, memory=10_000) as gpus:
        here, there = torch.ones(3, device="cuda"), torch.ones(3, device="cuda:1")
        for other in (there, torch.ones(3)):
            with pytest.raises(RuntimeError, match="same device"):
                _ = here + other
        with pytest.raises(TypeError, match="numpy"):
            here.numpy()
        with pytest.raises(torch.cuda.OutOfMemoryError):
            torch.ones(3_000, device="cuda")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            doubled = here * 2
            here.add_(doubled)
            with pytest.raises(RuntimeError, match="capturing"):
                here.tolist()
        assert here.tolist() == [1.0] * 3, "what is captured is not done"
        graph.replay()
        graph.replay()
        assert here.tolist() == [9.0] * 3
        assert torch.isnan(doubled).all(), "the memory of a graph is its own"
        late = torch.empty(3, pin_memory=True)
        late.copy_(here, non_blocking=True)
        assert np.isnan(late).all()
        event = torch.cuda.Event()
        event.record()
        event.synchronize()
        assert late.tolist() == [9.0] * 3
        assert gpus.waits[-1] != "synchronize"
        del here, there, doubled
    assert gpus.taken[1] == 0
