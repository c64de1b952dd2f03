"""Families of models beside what plain Hugging Face makes of them, by tools/check_families.py."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForImageTextToText

from srm_explorer.engine.experiment import Experiment, ModelSpec, misfits
from srm_explorer.engine.model.blocks import Blocks
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.selftest import self_test

NAMES = (
    "gpt2",
    "gpt_neox",
    "llama",
    "gemma3_text",
    "qwen3",
    "mixtral",
    "qwen3_next",
    "opt (350m)",
    "cohere",
    "granite",
    "gemma4_text (shared keys)",
    "recurrent_gemma",
)
"""Pythia is a gpt_neox; a hybrid, a mixture, logits that are scaled, keys that layers share, rows that feel padding."""


def made(family_tool: ModuleType, name: str, folder: Path) -> LoadedModel:
    family_tool.make_folder({one.name: one for one in family_tool.families()}[name], folder)
    return load_model(ModelSpec(name=str(folder), device="cpu"))


@pytest.mark.parametrize("name", NAMES)
def test_a_family_is_as_plain_hugging_face_has_it(family_tool: ModuleType, name: str, tmp_path: Path) -> None:
    verdict: Any = family_tool.check({one.name: one for one in family_tool.families()}[name], tmp_path)
    assert verdict.loads, verdict.note
    assert verdict.is_right, verdict.row()


def test_layers_may_have_different_numbers_of_neurons(family_tool: ModuleType, tmp_path: Path) -> None:
    model = made(family_tool, "gemma4_text (shared keys)", tmp_path)
    assert model.shape.mlp_widths == (48, 48, 96, 96)

    def refused(layer: int, neuron: int) -> list[str]:
        site = f"blocks.{layer}.mlp.hook_post"
        fields = {
            "model": {"name": model.name},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [{"site": site, "neurons": [neuron], "op": "clamp", "values": [1.0]}],
            "capture": {"sites": [site]},
            "planes": [],
        }
        return [error.what for error in misfits(Experiment.from_dict(fields), model.shape)]

    assert refused(0, 47) == refused(3, 95) == []
    assert refused(0, 48) == ["neuron 48 is out of range for layer 0 of this model (d_mlp = 48)"]
    assert refused(3, 96) == ["neuron 96 is out of range for layer 3 of this model (d_mlp = 96)"]


def test_rows_that_feel_their_padding_do_not_share_a_batch(family_tool: ModuleType, tmp_path: Path) -> None:
    model = made(family_tool, "recurrent_gemma", tmp_path)
    assert not self_test(model).pads
    assert not model.pads


def test_masks_are_not_laid_out_for_layers_that_see_a_window(family_tool: ModuleType, tmp_path: Path) -> None:
    # GPT-Neo counts keys from the last one; of a model that reads pictures too, the part that reads text has windows.
    assert not made(family_tool, "gpt_neo", tmp_path).blocks.takes_masks
    layers = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8}
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    vision = {"image_size": 28, "patch_size": 14, "num_hidden_layers": 1}
    config = AutoConfig.for_model(
        "gemma3", text_config=small | layers | {"head_dim": 8, "vocab_size": 64}, vision_config=small | vision
    )
    model: Any = AutoModelForImageTextToText.from_config(config)
    assert not Blocks(model, list(model.model.language_model.layers), {}).takes_masks
