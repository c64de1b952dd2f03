"""Passes computed from the weights against the model's own code, and logits that come in stretches."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from transformer_lens.hook_points import HookPoint
from transformers import GPT2Config, GPT2LMHeadModel

from srm_explorer.engine.experiment import SITE_KINDS, ModelSpec
from srm_explorer.engine.model.blocks import Blocks, feed_of
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.direct import Norm
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.sampling import best_and_margin
from srm_explorer.engine.model.unembedding import WideProduct

PROMPTS = (tuple(range(3)), tuple(range(40, 47)))


@pytest.mark.parametrize("kind", SITE_KINDS)
def test_an_edit_and_a_capture_are_what_they_are_in_the_models_own_code(tiny: LoadedModel, kind: str) -> None:
    compare_with_own_code(tiny, kind)


FAMILIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gemma", {}),
    ("gpt_neox", {"rotary_pct": 0.5}),
    ("gpt_neox", {"use_parallel_residual": False}),
    ("opt", {}),
    ("phi", {}),
    ("qwen2", {}),
    ("qwen3", {}),
    ("stablelm", {}),
)
WINDOWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gemma2", {"layer_types": ["sliding_attention", "full_attention"] * 2}),
    ("gemma3_text", {"layer_types": ["sliding_attention", "full_attention"] * 2}),
    ("gpt_neo", {"attention_types": [[["global", "local"], 2]], "num_layers": 4, "window_size": 8}),
    ("mistral", {}),
    ("phi3", {}),
    ("smollm3", {"no_rope_layers": [1, 0, 1, 1]}),
    ("starcoder2", {}),
)


@pytest.mark.parametrize(("name", "sizes"), FAMILIES, ids=[name for name, _ in FAMILIES])
def test_other_families_too_compute_from_their_weights_what_their_own_code_does(
    family_tool: ModuleType, name: str, sizes: dict[str, Any], tmp_path: Path
) -> None:
    family_tool.make_folder(family_tool.Family(name, sizes), tmp_path)
    model = load_model(ModelSpec(name=str(tmp_path), device="cpu", dtype="float64"))
    kinds = [kind for kind in SITE_KINDS if f"blocks.1.{kind}" in model.bridge.hook_dict]
    is_parallel = name == "phi" or (name == "gpt_neox" and "use_parallel_residual" not in sizes)
    assert ("hook_resid_mid" in kinds) != is_parallel
    for kind in kinds:
        compare_with_own_code(model, kind)
    # Where the rows part at the neurons of the last block.
    compare_with_own_code(model, "mlp.hook_post", model.shape.n_layers - 1)


def test_a_norm_is_linear_but_for_its_scale_and_shift_also_where_it_has_no_weights() -> None:
    """As those of Galactica are, among the OPT."""
    stream = torch.randn(3, 8, dtype=torch.float64)
    for module in (torch.nn.LayerNorm(8, elementwise_affine=False), torch.nn.LayerNorm(8)):
        norm = Norm(module.double())
        shift = 0.0 if norm.shift is None else norm.shift
        torch.testing.assert_close(norm.linear(stream) * norm.scale(stream)[:, None] + shift, module(stream))


@pytest.mark.parametrize(("name", "sizes"), WINDOWS, ids=[name for name, _ in WINDOWS])
def test_a_text_that_outgrows_a_window_goes_on_in_the_models_own_code(
    family_tool: ModuleType, name: str, sizes: dict[str, Any], tmp_path: Path
) -> None:
    family_tool.make_folder(family_tool.Family(name, sizes), tmp_path)
    # In float64 the library's windows make NaN of pads.
    model = load_model(ModelSpec(name=str(tmp_path), device="cpu", dtype="float32"))
    last = model.shape.n_layers - 1
    assert model.blocks.parts_late(8)
    assert not model.blocks.parts_late(9)
    sites = [
        (1, "attn.hook_z"),
        (1, "hook_resid_pre"),
        (2, "mlp.hook_post"),
        (2, "hook_mlp_out"),
        (last, "mlp.hook_post"),
    ]
    for layer, kind in sites:
        compare_with_own_code(model, kind, layer, atol=1e-4)


def compare_with_own_code(model: LoadedModel, kind: str, layer: int = 1, *, atol: float = 1e-9) -> None:
    """Decode rows that are edited and captured at a kind of site from the weights, and by the model's own code."""
    assert model.blocks.is_direct
    site = f"blocks.{layer}.{kind}"
    edits = [(), (Edit(site, "add", "all", (3,), (25.0,)),), (Edit(site, "clamp", "generated", (0, 5), (-40.0, 10.0)),)]
    # In float32 no choice may hang on a last bit: texts are given, that part at their third token.
    texts = [None] * 3 if model.dtype == torch.float64 else [(9, 8, number, 11, 12, 13) for number in (4, 5, 6)]
    rows = [Row(prompt, own, forced=text) for prompt in PROMPTS for own, text in zip(edits, texts, strict=True)]
    captures = [Capture(site, "mean", "all"), Capture(f"blocks.{max(2, layer)}.hook_resid_post", "tokens", "generated")]
    found = decode(model, rows, Generation(6), captures, share=True)
    expected = decode(model, rows, Generation(6), captures, share=False)
    assert [row.tokens for row in found.rows] == [row.tokens for row in expected.rows]
    assert len({row.tokens for row in found.rows}) > len(PROMPTS)
    for one, other in zip(found.rows, expected.rows, strict=True):
        assert one.margin == pytest.approx(other.margin, abs=10 * atol, nan_ok=True)
        for a, b in zip(one.captured, other.captured, strict=True):
            np.testing.assert_allclose(a, b, atol=atol)
    assert {r.site: r.edited for r in found.receipts} == {r.site: r.edited for r in expected.receipts}


def test_who_listens_where_a_direct_pass_has_nothing_is_heard(tiny: LoadedModel) -> None:
    rows = [Row(PROMPTS[1]), Row(PROMPTS[0])]
    usual = decode(tiny, rows, Generation(4), [])
    heard: list[int] = []
    with tiny.bridge.hooks(fwd_hooks=[("blocks.0.ln1.hook_normalized", lambda held, hook: heard.append(len(held)))]):
        again = decode(tiny, rows, Generation(4), [])
    assert heard == [len(rows)] * 5
    assert [row.tokens for row in again.rows] == [row.tokens for row in usual.rows]


def test_a_model_that_computes_something_else_is_left_to_its_own_code(tiny_gpt2: LoadedModel) -> None:
    parts = tiny_gpt2.bridge
    assert Blocks(parts.original_model, list(parts.blocks), parts.hook_dict).is_direct
    norm = parts.blocks[0].ln1.original_component
    usual = norm.eps
    try:
        # The bridge norms by its own config, a pass from the weights by the module: now they differ.
        norm.eps = 1.0
        assert not Blocks(parts.original_model, list(parts.blocks), parts.hook_dict).is_direct
    finally:
        norm.eps = usual


def test_a_model_of_a_few_token_ids_is_tried_with_those() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=5, n_positions=8, n_embd=8, n_layer=1, n_head=2)).eval()
    kinds = ("attn.hook_z", "mlp.hook_post", *(f"hook_{kind}" for kind in ("attn_out", "mlp_out")))
    streams = tuple(f"hook_resid_{kind}" for kind in ("pre", "mid", "post"))
    points = {f"blocks.0.{kind}": HookPoint() for kind in (*kinds, *streams)}
    # Points that nobody calls: the two ways differ.
    assert not Blocks(model, list(model.transformer.h), points).is_direct


def test_columns_and_what_leaves_are_those_of_the_models_own_code(tiny: LoadedModel) -> None:
    blocks = tiny.blocks
    positions = torch.tensor([[0, 1, 2, 3, 4], [-1, -1, 0, 1, 2]])
    feed = feed_of(torch.arange(10).view(2, 5), positions, (positions >= 0).long())
    with torch.inference_mode():
        logits, entering = blocks.columns(feed, 3, 1)
        leaving = blocks.leaving(feed, 1, entering)
        direct, blocks._direct = blocks._direct, None
        try:
            expected, entered = blocks.columns(feed, 3, 1)
            left = blocks.leaving(feed, 1, entered)
            finished = blocks.finish(left[:, -1])
        finally:
            blocks._direct = direct
        torch.testing.assert_close(logits, expected, atol=1e-9, rtol=0)
        # What a pad computes nobody reads.
        torch.testing.assert_close(entering[:, 2:], entered[:, 2:], atol=1e-9, rtol=0)
        torch.testing.assert_close(leaving[:, 2:], left[:, 2:], atol=1e-9, rtol=0)
        torch.testing.assert_close(blocks.finish(left[:, -1]), finished, atol=1e-9, rtol=0)


@pytest.mark.parametrize("biased", [False, True])
def test_logits_in_stretches_are_the_product(biased: bool) -> None:
    linear = torch.nn.Linear(5, 9000, bias=biased).double()

    class Model:
        def get_output_embeddings(self) -> torch.nn.Linear:
            return linear

    product = WideProduct.of(Model())
    assert product is not None
    hidden, target = torch.rand(3, 1, 5, dtype=torch.float64), torch.empty(3, 9000, dtype=torch.float64)
    with torch.inference_mode():
        forward = product.writing_to(target)
        found = forward(hidden)
        # Another number of rows than is written to goes the usual way.
        assert forward(hidden[:2]).shape == (2, 1, 9000)
        assert found.data_ptr() == target.data_ptr()
        torch.testing.assert_close(found, linear(hidden), atol=1e-12, rtol=0)


@pytest.mark.parametrize("width", [7, 512, 1023, 1024, 1025, 3000])
def test_the_best_token_is_the_first_of_the_best_and_leads_by_the_next(width: int) -> None:
    scores = torch.randint(0, width // 2 + 2, (40, width), generator=torch.Generator().manual_seed(width)).double()
    best, margin = best_and_margin(scores.clone())
    ordered = scores.sort(dim=-1, descending=True).values
    assert torch.equal(best, scores.argmax(dim=-1))
    assert torch.equal(margin, ordered[:, 0] - ordered[:, 1])


def test_a_wide_vocabulary_writes_what_the_simple_way_writes(random_models: ModuleType, tmp_path: Path) -> None:
    random_models.write_model(
        tmp_path, random_models.Sizes(layers=2, d_model=16, d_mlp=32, heads=2, vocab=9000, context=64)
    )
    model = load_model(ModelSpec(name=str(tmp_path), device="cpu", dtype="float64"))
    edits = [(), *((Edit("blocks.1.mlp.hook_post", "clamp", "all", (3,), (value,)),) for value in (-9.0, 9.0))]
    rows = [Row(prompt, own) for prompt in PROMPTS for own in edits]
    found, expected = (decode(model, rows, Generation(8), [], share=share).rows for share in (True, False))
    assert [row.tokens for row in found] == [row.tokens for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.margin == pytest.approx(other.margin, abs=1e-9)
