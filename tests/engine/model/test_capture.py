from __future__ import annotations

import numpy as np
import pytest
import torch

from srm_explorer.engine.model.capture import Accumulator, Capture, Reduce
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.load import LoadedModel

Prompts = list[tuple[int, ...]]

CPU = torch.device("cpu")
RESIDUAL = "blocks.1.hook_resid_post"
GENERATOR = np.random.default_rng(5)
DIRECTION = GENERATOR.normal(size=32) / 6


@pytest.mark.parametrize("reduce", ["mean", "last", "tokens"])
def test_a_centred_vector_is_the_raw_one_minus_its_mean(
    tiny_gpt2: LoadedModel, prompts: Prompts, reduce: Reduce
) -> None:
    captures = [Capture(RESIDUAL, reduce, "all", centred=centred) for centred in (False, True)]
    for result in decode(tiny_gpt2, [Row(p) for p in prompts], Generation(2), captures).rows:
        raw, centred = result.captured
        assert np.abs(raw.mean(axis=-1)).max() > 1e-2
        np.testing.assert_allclose(centred, raw - raw.mean(axis=-1, keepdims=True), atol=1e-12)


@pytest.mark.parametrize("centred", [False, True])
def test_coordinates_and_projections_are_those_of_the_whole_vector(
    tiny_gpt2: LoadedModel, prompts: Prompts, centred: bool
) -> None:
    captures = [
        Capture(RESIDUAL, "tokens", "all", centred),
        Capture(RESIDUAL, "tokens", "all", centred, columns=(4, 0)),
        Capture(RESIDUAL, "tokens", "all", centred, direction=tuple(DIRECTION)),
    ]
    for result in decode(tiny_gpt2, [Row(p) for p in prompts], Generation(2), captures).rows:
        whole, some, projected = result.captured
        np.testing.assert_allclose(some, whole[:, [4, 0]], atol=1e-12)
        np.testing.assert_allclose(projected[:, 0], whole @ DIRECTION, atol=1e-12)
        np.testing.assert_allclose(projected[:, 1], np.linalg.norm(whole, axis=1), atol=1e-12)


@pytest.mark.parametrize("reduce", ["mean", "last"])
def test_a_reduction_holds_one_vector_a_row(reduce: Reduce) -> None:
    accumulator = Accumulator(Capture(RESIDUAL, reduce, "all"), [(0,)] * 4, CPU)
    lengths, rows = torch.tensor([1, 1, 1, 1]), torch.arange(4)
    for step in range(50):
        where = torch.full((4, 1), step)
        accumulator.take(torch.randn(4, 1, 32), where, lengths, rows, rows >= 0)
    tensors = [held for held in vars(accumulator).values() if isinstance(held, torch.Tensor)]
    assert sum(held.numel() for held in tensors) == 4 * 32 + 4
    assert not any(accumulator._tokens)
    assert accumulator.counts.tolist() == [50] * 4


def test_a_long_mean_of_float32_loses_nothing() -> None:
    vectors = torch.full((1, 20_000, 1), 0.1) + 1000
    accumulator = Accumulator(Capture(RESIDUAL, "mean", "all"), [(0,)], CPU)
    row = torch.arange(1)
    for start in range(0, 20_000, 100):
        part = vectors[:, start : start + 100]
        accumulator.take(part, torch.arange(start, start + 100)[None], torch.tensor([1]), row, row >= 0)
    assert accumulator.result()[0][0] == pytest.approx(float(vectors[0, 0, 0]), abs=1e-9)


def test_nothing_is_kept_of_pads_finished_rows_and_other_positions() -> None:
    accumulator = Accumulator(Capture(RESIDUAL, "mean", "generated"), [(0,)] * 3, CPU)
    activation = torch.tensor([[[torch.nan], [torch.inf], [1.0]], [[torch.nan], [9.0], [2.0]], [[7.0], [7.0], [7.0]]])
    where = torch.tensor([[-1, 0, 1], [-1, 1, 2], [1, 2, 3]])
    alive = torch.tensor([True, True, False])
    accumulator.take(activation, where, torch.tensor([1, 2, 1]), torch.tensor([2, 0, 1]), alive)
    assert accumulator.counts.tolist() == [1, 0, 1]
    assert [float(vector[0]) for vector in accumulator.result()] == [2.0, 0.0, 1.0]
