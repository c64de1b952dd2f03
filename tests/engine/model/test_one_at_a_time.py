from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.experiment.positions import Positions
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.selftest import self_test
from tests.conftest import load_module

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
TEXTS = (
    "Two",
    "The man opened the door and looked",
    "She turned to see who was standing behind her in the narrow hall, and if all of them are late, then",
)
TOKENS = 20


@pytest.fixture(scope="module")
def one_at_a_time() -> Callable[..., Any]:
    """The protocol as people write it: `bridge.generate` under a hook, then a second forward."""
    return load_module(BENCHMARKS / "references.py").one_at_a_time


@pytest.fixture(scope="module")
def gpt2_shaped(random_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """GPT-2 Small's shape in float32, but for a vocabulary of a tenth; random weights."""
    folder = tmp_path_factory.mktemp("gpt2-shaped")
    random_models.write_model(folder, random_models.Sizes(vocab=5_000))
    return load_model(ModelSpec(name=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def gated(random_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A gated model of two layers in float32, random weights."""
    folder = tmp_path_factory.mktemp("gated")
    random_models.write_model(folder, random_models.Sizes("llama", 2, 256, 688, 8, 2000))
    return load_model(ModelSpec(name=str(folder), device="cpu"))


def check(
    model: LoadedModel,
    one_at_a_time: Callable[..., Any],
    site: str,
    neuron: int,
    values: tuple[float, ...],
    positions: Positions,
    every: int = 1,
) -> None:
    """Decode all prompts and values together; compare each row, or one in `every`, with the run on its own."""
    sites = [site, f"blocks.{model.shape.n_layers - 1}.hook_resid_post"]
    edits = [(), *((Edit(site, "clamp", positions, (neuron,), (value,)),) for value in values)]
    prompts = [tuple(model.tokenizer.encode(text, prepend_bos=False)) for text in TEXTS]
    rows = [Row(prompt, own) for prompt in prompts for own in edits]
    results = decode(model, rows, Generation(TOKENS), [Capture(s, "mean", "generated") for s in sites]).rows
    for row, result in list(zip(rows, results, strict=True))[::every]:
        tokens, vectors = one_at_a_time(model.bridge, row.prompt, row.edits, sites, TOKENS)
        assert result.tokens == tokens, f"smallest margin {result.margin}"
        for captured, expected in zip(result.captured, vectors, strict=True):
            np.testing.assert_allclose(captured, expected, atol=1e-4, rtol=0)
    assert len({result.tokens for result in results}) > len(TEXTS)


def test_the_protocol_on_gpt2s_shape(gpt2_shaped: LoadedModel, one_at_a_time: Callable[..., Any]) -> None:
    check(gpt2_shaped, one_at_a_time, "blocks.11.mlp.hook_post", 373, (-20.0, 1.0, 20.0), "all", every=3)


def test_a_clamp_of_the_prompt_at_a_middle_layer(gpt2_shaped: LoadedModel, one_at_a_time: Callable[..., Any]) -> None:
    check(gpt2_shaped, one_at_a_time, "blocks.6.mlp.hook_post", 2202, (30.0,), "prompt", every=3)


def test_gpt2s_shape_passes_the_self_test(gpt2_shaped: LoadedModel) -> None:
    assert self_test(gpt2_shaped).shares_blocks


@pytest.mark.parametrize("positions", ["all", "prompt"])
@pytest.mark.parametrize("layer", [0, 1])
def test_the_protocol_on_a_gated_model(
    gated: LoadedModel, one_at_a_time: Callable[..., Any], layer: int, positions: Positions
) -> None:
    check(gated, one_at_a_time, f"blocks.{layer}.mlp.hook_post", 373, (-20.0, 1.0, 20.0), positions)
