"""Models whose layers, or some of them, are mixtures of experts: there `mlp.hook_post` names the block's output."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    GptOssConfig,
    GptOssForCausalLM,
    GraniteMoeConfig,
    GraniteMoeForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
)

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, ModelSpec, check_against, misfits
from srm_explorer.engine.model.activations import ReadText, neuron_usage
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.intervene import Capture, Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.selftest import self_test
from srm_explorer.engine.worker.models import _description

SIZES: dict[str, Any] = {
    "vocab_size": 600,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "bos_token_id": 599,
    "eos_token_id": 599,
    "pad_token_id": None,
}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2}
LOCAL: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
DENSE_FIRST: dict[str, Any] = {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 48}
NARROW: dict[str, Any] = {"num_attention_heads": 4, "ffn_dim": 48, "word_embed_proj_dim": 32, "pad_token_id": 1}

MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...], int]] = {
    "mixtral": (lambda: MixtralForCausalLM(MixtralConfig(**SIZES, **LOCAL)), (), 64),
    "olmoe": (lambda: OlmoeForCausalLM(OlmoeConfig(**SIZES, **EXPERTS)), (), 64),
    "granite": (lambda: GraniteMoeForCausalLM(GraniteMoeConfig(**SIZES, **LOCAL)), (), 64),
    "gpt-oss": (lambda: GptOssForCausalLM(GptOssConfig(**SIZES, **LOCAL, head_dim=8)), (), 64),
    "qwen2-moe": (
        lambda: Qwen2MoeForCausalLM(Qwen2MoeConfig(**SIZES, **EXPERTS, **DENSE_FIRST, mlp_only_layers=[0])),
        (0,),
        64,
    ),
    "llama4": (
        lambda: Llama4ForCausalLM(
            Llama4TextConfig(**SIZES, **LOCAL, head_dim=8, interleave_moe_layer_step=2, intermediate_size_mlp=48)
        ),
        (0, 2),
        48,
    ),
    "opt": (lambda: OPTForCausalLM(OPTConfig(**{**SIZES, **NARROW})), (0, 1, 2), 48),
}
"""How to make each, its layers with a plain MLP, and how many neurons that has."""

Made = tuple[LoadedModel, tuple[int, ...]]


@pytest.fixture(scope="module", params=list(MODELS))
def made(request: pytest.FixtureRequest, tiny_gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    make, plain, _ = MODELS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    make().save_pretrained(folder)
    for path in tiny_gpt2_folder.glob("tokenizer*"):
        shutil.copy(path, folder)
    return load_model(ModelSpec(name=str(folder), device="cpu")), plain


def post(layer: int) -> str:
    return f"blocks.{layer}.mlp.hook_post"


def held_at(model: LoadedModel, site: str) -> torch.Size:
    seen: list[torch.Size] = []

    def look(activation: torch.Tensor, hook: object) -> None:
        seen.append(activation.shape)

    with torch.inference_mode(), model.bridge.hooks(fwd_hooks=[(site, look)]):
        model.bridge.original_model(input_ids=torch.tensor([[1, 2, 3]]))
    return seen[0]


def experiment(model: LoadedModel, edited: str, captured: str) -> Experiment:
    return Experiment.from_dict(
        {
            "model": {"name": model.name, "device": "cpu"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [{"site": edited, "neurons": [3], "op": "clamp", "values": [1.0, 2.0]}],
            "generation": {"tokens": 2},
            "capture": {"sites": [captured]},
            "planes": [{"site": captured, "a": 3, "b": 8}],
        }
    )


def test_neurons_are_counted_where_there_are_any(made: Made, request: pytest.FixtureRequest) -> None:
    model, plain = made
    assert model.shape.neuron_layers == plain
    for layer in plain:
        assert held_at(model, post(layer))[-1] == model.shape.d_mlp == MODELS[request.node.callspec.params["made"]][2]


def test_edits_and_captures_are_refused_at_the_other_layers_alone(made: Made) -> None:
    model, plain = made
    for layer in range(3):
        for edits, capture in (
            ((Edit(post(layer), "clamp", "all", (0,), (3.0,)),), "blocks.2.hook_resid_post"),
            ((), post(layer)),
        ):
            rows, captures = [Row((1, 2, 3), edits)], [Capture(capture, "mean", "prompt")]
            if layer in plain:
                decode(model, rows, Generation(0), captures)
                continue
            with pytest.raises(ExplorerError, match=r"holds no neurons.*; choose .*hook_resid_post") as caught:
                decode(model, rows, Generation(0), captures)
            line = str(caught.value)
            assert "\n" not in line
            assert post(layer) in line
            assert ("choose layer 0" in line) == bool(plain)


def test_an_experiment_is_refused_by_its_field(made: Made) -> None:
    model, plain = made
    stream = "blocks.1.hook_resid_post"
    check_against(experiment(model, stream, stream), model.shape)
    for layer in range(3):
        told = [one.where for one in misfits(experiment(model, post(layer), post(layer)), model.shape)]
        assert told == ([] if layer in plain else ["interventions[0].site", "capture.sites[0]"])


def test_the_worker_tells_the_form_the_sites_that_hold_neurons(made: Made) -> None:
    model, plain = made
    told = _description(model)
    assert [layer for layer in range(3) if post(layer) in told.sites] == list(plain)
    assert told.mlp_widths == model.shape.mlp_widths
    assert told.d_mlp == model.shape.d_mlp
    assert {f"blocks.{layer}.hook_resid_post" for layer in range(3)} <= set(told.sites)


def test_the_self_test_edits_what_there_is(made: Made) -> None:
    model, _ = made
    found = self_test(model)
    assert found.clamped < 1e-6
    assert found.fired > 0


def test_usage_is_measured_where_there_are_neurons(made: Made) -> None:
    model, plain = made
    texts = [ReadText((1, 2, 3, 4))]
    if plain:
        assert tuple(neuron_usage(model, texts)) == plain
    else:
        with pytest.raises(ExplorerError, match="holds no neurons"):
            neuron_usage(model, texts)


def test_plain_models_have_neurons_everywhere(tiny_gpt2: LoadedModel, tiny_llama: LoadedModel) -> None:
    for model in (tiny_gpt2, tiny_llama):
        assert model.shape.mlp_widths == ()
        assert model.shape.d_mlp == model.bridge.cfg.d_mlp == 64
