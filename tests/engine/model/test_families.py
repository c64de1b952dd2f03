"""Families of models beside what plain Hugging Face makes of them, by tools/check_families.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from transformers import AutoConfig, AutoModelForImageTextToText

from srm_explorer.engine.execution.w_out import weights_of
from srm_explorer.engine.experiment import Experiment, ModelSpec, misfits
from srm_explorer.engine.experiment.directions import NeuronWeights
from srm_explorer.engine.model.blocks import Blocks
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.forcing import GivenText, score_texts
from srm_explorer.engine.model.layout import suits
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.selftest import self_test
from srm_explorer.engine.model.static import decode_static

CLAMPED = Edit("blocks.1.mlp.hook_post", "clamp", "all", (7,), (9.0,))

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


def made(family_tool: ModuleType, name: str, folder: Path, **fields: Any) -> LoadedModel:
    family_tool.make_folder({one.name: one for one in family_tool.families()}[name], folder)
    return load_model(ModelSpec(name=str(folder), device="cpu", **fields))


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


def test_where_a_long_row_turns_the_others_otherwise_texts_end_before(family_tool: ModuleType, tmp_path: Path) -> None:
    model = made(family_tool, "phi3", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    half = config["hidden_size"] // config["num_attention_heads"] // 2
    turned = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 16}
    turned |= {"short_factor": [1.0] * half, "long_factor": [4.0] * half, "partial_rotary_factor": 1.0}
    config |= {"rope_parameters": turned, "original_max_position_embeddings": 16}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert (load_model(ModelSpec(name=str(tmp_path), device="cpu")).shape.n_ctx, model.shape.n_ctx > 16) == (16, True)


@pytest.mark.parametrize("name", ["llama", "gemma2", "olmo2"])
def test_a_neuron_writes_along_the_direction_that_is_called_so(
    family_tool: ModuleType, tmp_path: Path, name: str
) -> None:
    model = made(family_tool, name, tmp_path)
    values = np.zeros((2, model.shape.neurons(1)))
    values[1, 7] = 50.0
    rows = [Row((17, 301), (Edit(CLAMPED.site, "clamp", "all", tuple(range(len(v))), tuple(v)),)) for v in values]
    without, alone = decode(model, rows, Generation(0), [Capture("blocks.1.hook_resid_post", "last", "prompt")]).rows
    moved = alone.captured[0] - without.captured[0]
    written = weights_of(model, NeuronWeights("w_out", 1, 7))
    np.testing.assert_allclose(moved / np.linalg.norm(moved), written / np.linalg.norm(written), atol=1e-5)


def test_rows_that_feel_their_padding_do_not_share_a_batch(family_tool: ModuleType, tmp_path: Path) -> None:
    model = made(family_tool, "recurrent_gemma", tmp_path)
    texts = [GivenText((17, 301, 45), (5, 6)), GivenText((7, 99, 120, 431, 8, 256, 333), (5, 6))]
    (alone,) = (forced for _, forced in score_texts(model, texts[:1]))
    # Before it was tested, and after.
    for _ in range(2):
        together = dict(score_texts(model, texts))[0]
        np.testing.assert_allclose(together[0].scores.logp, alone[0].scores.logp, atol=1e-4)
        assert not model.pads
        assert not self_test(model).pads


def test_a_model_that_counts_distances_by_its_mask_runs_in_float64(family_tool: ModuleType, tmp_path: Path) -> None:
    assert self_test(made(family_tool, "bloom", tmp_path, dtype="float64")).batch_vs_single < 1e-9


def test_one_mask_does_for_every_layer_while_a_window_holds_the_texts(
    family_tool: ModuleType, tmp_path: Path, same_row: Callable[[RowResult, RowResult], None]
) -> None:
    family_tool.make_folder(family_tool.Family("gemma3_text", {"sliding_window": 64}), tmp_path)
    model = load_model(ModelSpec(name=str(tmp_path), device="cpu"))
    model.pads = True  # as its self-test finds
    rows = [Row(tuple(range(3, 3 + length)), edits) for length in (2, 9) for edits in ((), (CLAMPED,))]
    captures = [Capture("blocks.2.hook_resid_post", "mean", "generated")]
    # Nine and 55 are what it holds; a token more is laid out in room that it does not.
    assert not suits(model, rows, Generation(56))
    assert suits(model, rows, Generation(55))
    still = decode_static(model, rows, Generation(55), captures)
    for one, other in zip(still.rows, decode(model, rows, Generation(55), captures, share=False).rows, strict=True):
        same_row(one, other)


def test_windows_of_every_kind_are_seen(family_tool: ModuleType, tmp_path: Path) -> None:
    # GPT-Neo counts keys from the last one; of a model that reads pictures too, the part that reads text has windows.
    assert not made(family_tool, "gpt_neo", tmp_path).blocks.takes_masks
    layers = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8}
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    vision = {"image_size": 28, "patch_size": 14, "num_hidden_layers": 1}
    config = AutoConfig.for_model(
        "gemma3", text_config=small | layers | {"head_dim": 8, "vocab_size": 64}, vision_config=small | vision
    )
    model: Any = AutoModelForImageTextToText.from_config(config)
    assert Blocks(model, list(model.model.language_model.layers), {}).window == 8
