from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model.blocks import feed_of
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.selftest import self_test


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
    told: list[tuple[int, int]] = []
    found = self_test(tiny, lambda done, of: told.append((done, of)))
    assert told == [(done, len(told) - 1) for done in range(len(told))], "every part is told, to the last"
    assert len(told) > 8
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
    # What differs from the model alone would be found first.
    wrong = replace(tiny, unwrapped=None)
    with sabotaged(mlp(tiny), change), pytest.raises(ExplorerError, match="the self-test failed") as caught:
        self_test(wrong)
    line = str(caught.value)
    assert "\n" not in line
    assert f"failed: {named}" in line
    assert re.search(r"differs by [0-9.e+-]+|differs by nan", line)
    assert self_test(tiny).shares_blocks


def test_where_the_direct_way_differs_nothing_goes_it(tiny: LoadedModel) -> None:
    try:
        # A pass from the weights does not hear of the change.
        with sabotaged(mlp(tiny), lambda out: out * 1.5):
            found = self_test(replace(tiny, unwrapped=None))
            assert found.wrapped_vs_plain is None
            assert found.shares_blocks
            assert found.shared_vs_plain <= found.tolerance
            assert not tiny.blocks.is_direct
            ids = torch.arange(3)[None]
            logits, _ = tiny.blocks.columns(feed_of(ids, ids, torch.ones_like(ids)), 3, 0)
            whole = tiny.bridge.original_model(input_ids=ids).logits
            torch.testing.assert_close(logits, whole)
    finally:
        self_test(tiny)
    assert tiny.blocks.is_direct


def test_what_the_bridge_makes_another_model_of_is_refused(tiny: LoadedModel) -> None:
    with sabotaged(mlp(tiny), lambda out: out * 1.5), pytest.raises(ExplorerError, match="failed: wrapped_vs_plain"):
        self_test(tiny)


def test_attention_that_the_library_scales_against_the_config_is_refused(
    tiny_gpt2_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_gpt2_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "scale_attn_weights": False}))
    with pytest.raises(ExplorerError, match="failed: wrapped_vs_plain differs by"):
        self_test(load_model(ModelSpec(name=str(tmp_path), device="cpu")))


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        ({"mlp_widths": (64, 63, 64)}, "blocks.1.mlp.hook_post is 64 wide when the model runs, and 63 by its weights"),
        ({"d_mlp": 128}, "blocks.0.mlp.hook_post is 64 wide when the model runs, and 128"),
        ({"d_model": 33}, "blocks.0.hook_resid_post is 32 wide when the model runs, and 33"),
        ({"head_widths": (8, 8, 4)}, "blocks.2.attn.hook_z is 32 wide when the model runs, and 16"),
    ],
    ids=["one layer", "every layer", "the stream", "heads"],
)
def test_a_width_that_the_running_model_does_not_have_is_refused_by_its_layer(
    tiny: LoadedModel, stated: dict[str, Any], named: str
) -> None:
    wrong = replace(tiny, shape=replace(tiny.shape, **stated))
    with pytest.raises(ExplorerError, match="choose a model of another family") as caught:
        self_test(wrong)
    assert named in str(caught.value)
    assert f"{tiny.name}, layer {named.split('.')[1]}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_library_that_leaves_the_cache_empty_is_named_with_the_other(
    tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(tiny.bridge.original_model).forward

    def without_cache(*args: Any, past_key_values: object = None, **kwargs: Any) -> Any:
        return whole(*args, **kwargs | {"use_cache": False})

    monkeypatch.setattr(type(tiny.bridge.original_model), "forward", without_cache)
    with pytest.raises(ExplorerError, match="cache stayed empty; install the versions") as caught:
        self_test(tiny)
    lens = version("transformer-lens")
    assert caught.value.where == f"transformers {transformers.__version__} with transformer-lens {lens}"


def test_products_of_ten_bits_are_allowed_their_rounding_and_no_others(tiny_gpt2: LoadedModel) -> None:
    # About what factors of 10 bits come to, where a row alone is multiplied in float32.
    single = replace(tiny_gpt2, dtype=torch.float32)
    change = 3e-3
    with sabotaged(mlp(tiny_gpt2), lambda out: out * (1 + change * (out.shape[0] > 1))):
        with pytest.raises(ExplorerError, match="batch_vs_single differs"):
            self_test(single)
        assert self_test(replace(single, tf32=True)).batch_vs_single > 1e-4
        change = 0.1
        with pytest.raises(ExplorerError, match="batch_vs_single differs"):
            self_test(replace(single, tf32=True))
    self_test(tiny_gpt2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_pad_whose_scores_are_all_low_stays_a_number(tiny_gpt2_folder: Path, tmp_path: Path, dtype: Any) -> None:
    folder = tmp_path / "low"
    shutil.copytree(tiny_gpt2_folder, folder)
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if name.endswith("attn.c_attn.weight"):
            # Keys are queries turned round, so that a token's score with itself is far below -16.
            weight[:, :32] *= 20
            weight[:, 32:64] = -weight[:, :32]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert self_test(load_model(ModelSpec(name=str(folder), device="cpu", dtype=dtype))).pads


@pytest.mark.parametrize(
    ("dtype", "factor", "remedy"),
    [("float16", 1e7, "choose dtype float32"), ("float32", torch.inf, "save the model again")],
)
def test_logits_that_are_no_numbers_are_named_with_what_helps(
    tiny_gpt2_folder: Path, tmp_path: Path, dtype: Any, factor: float, remedy: str
) -> None:
    folder = Path(shutil.copytree(tiny_gpt2_folder, tmp_path / "loud"))
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.1.mlp.c_proj.bias"][:] *= factor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExplorerError, match=rf"the logits .* in {dtype} are not all finite numbers; .*{remedy}"):
        self_test(load_model(ModelSpec(name=str(folder), device="cpu", dtype=dtype)))


def test_a_gpu_that_fails_is_no_fault_of_the_models(tiny_gpt2: LoadedModel) -> None:
    def fail(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    with sabotaged(mlp(tiny_gpt2), fail), pytest.raises(RuntimeError, match="no kernel image"):
        self_test(tiny_gpt2)
    self_test(tiny_gpt2)
