from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pytest
import torch

from engine.errors import ExplorerError
from engine.model.load import LoadedModel
from engine.model.selftest import self_test


@contextmanager
def sabotaged(module: torch.nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    def hook(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        return change(output)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def mlp(model: LoadedModel) -> torch.nn.Module:
    return model.bridge.original_model.get_submodule(
        "model.layers.1.mlp" if "llama" in model.name else "transformer.h.1.mlp"
    )


def test_a_sound_model_passes_with_its_numbers(tiny: LoadedModel) -> None:
    found = self_test(tiny)
    assert found.shares_blocks
    assert found.fired == 3
    for name, value in asdict(found).items():
        if name.endswith(("single", "uncached", "baseline", "plain")) or name == "clamped":
            assert 0 <= value < 1e-6, name


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda out: out * (1 + out.shape[0] / 10), "batch_vs_single"),
        (lambda out: out + out.mean(dim=0, keepdim=True), "batch_vs_single"),
        (lambda out: out * (1 + out.shape[1] / 10), "cached_vs_uncached"),
        (lambda out: out * torch.nan, ""),
    ],
    ids=["feels its batch's size", "feels its neighbours", "feels the feed's length", "NaN"],
)
def test_a_model_that_breaks_the_rules_fails_with_the_numbers(
    tiny: LoadedModel, change: Callable[[torch.Tensor], torch.Tensor], named: str
) -> None:
    with sabotaged(mlp(tiny), change), pytest.raises(ExplorerError, match="the self-test failed") as caught:
        self_test(tiny)
    line = str(caught.value)
    assert "\n" not in line
    assert named in line
    assert re.search(r"differs by [0-9.e+-]+|differs by nan", line)
    assert self_test(tiny).shares_blocks
