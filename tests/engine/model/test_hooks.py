from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.hooks import HookNeverFired
from srm_explorer.engine.model.load import LoadedModel

SameRow = Callable[[RowResult, RowResult], None]
Prompts = list[tuple[int, ...]]

SITE = "blocks.1.mlp.hook_post"
CLAMP = Edit(SITE, "clamp", "all", (7,), (12.0,))
CAPTURES = [Capture(SITE, "mean", "generated")]


class Interrupted(Exception):
    pass


@pytest.fixture(autouse=True)
def warm(tiny_gpt2: LoadedModel, tiny_llama: LoadedModel) -> None:
    """Let the bridges run once: on their first pass they attach something of their own, for good."""
    for model in (tiny_gpt2, tiny_llama):
        decode(model, [Row((1,))], Generation(0), [Capture(SITE, "mean", "all")])


def state_of(model: LoadedModel) -> list[tuple[str, int, bool]]:
    """What a decode could leave behind: hooks on any module, and a forward of its own."""
    modules: list[tuple[str, torch.nn.Module]] = list(model.bridge.named_modules())
    return [(name, len(m._forward_hooks) + len(m._forward_pre_hooks), "forward" in vars(m)) for name, m in modules]


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("step", [0, 2])
def test_nothing_stays_on_the_model_after_an_exception(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, share: bool, step: int
) -> None:
    rows = [Row(prompts[1], own) for own in ((), (CLAMP,), (Edit(SITE, "clamp", "all", (7,), (1.0,)),))]
    before, fresh = state_of(tiny), decode(tiny, [Row(prompts[1])], Generation(3), CAPTURES).rows[0]

    def interrupt(now: int, _: int) -> None:
        if now == step:
            raise Interrupted

    with pytest.raises(Interrupted):
        decode(tiny, rows, Generation(4), CAPTURES, share=share, on_step=interrupt)
    assert state_of(tiny) == before
    same_row(decode(tiny, [Row(prompts[1])], Generation(3), CAPTURES).rows[0], fresh)


@pytest.mark.parametrize("share", [True, False])
def test_nothing_stays_on_the_model_after_a_failure_inside_it(tiny: LoadedModel, prompts: Prompts, share: bool) -> None:
    before = state_of(tiny)
    with pytest.raises(IndexError):
        decode(tiny, [Row((10**6,), own) for own in ((), (CLAMP,))], Generation(2), CAPTURES, share=share)
    with pytest.raises(IndexError):
        decode(tiny, [Row(prompts[0], (Edit(SITE, "add", "all", (64,), (1.0,)),))] * 2, Generation(2), [], share=share)
    assert state_of(tiny) == before


def test_a_decode_leaves_the_model_as_it_was(tiny: LoadedModel, prompts: Prompts) -> None:
    before = state_of(tiny)
    decode(tiny, [Row(p, own) for p in prompts for own in ((), (CLAMP,))], Generation(3), CAPTURES)
    assert state_of(tiny) == before


@pytest.mark.parametrize(
    "site", ["blocks.3.mlp.hook_post", "blocks.1.mlp.hook_nothing", "nowhere", "blocks.-1.hook_mlp_out"]
)
def test_a_site_that_is_not_there_is_refused_before_anything_runs(
    tiny: LoadedModel, prompts: Prompts, site: str
) -> None:
    before = state_of(tiny)
    for row, captures in (
        (Row(prompts[0], (Edit(site, "zero", "all", (0,)),)), []),
        (Row(prompts[0]), [Capture(site, "mean", "all")]),
    ):
        with pytest.raises(ExplorerError, match="has no site") as refusal:
            decode(tiny, [row], Generation(1), captures)
        assert site in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert state_of(tiny) == before


def test_a_hook_that_never_fires_is_an_error(tiny_gpt2: LoadedModel, prompts: Prompts) -> None:
    block = tiny_gpt2.bridge.blocks[1]
    block.__dict__["forward"] = lambda hidden, *_, **__: hidden
    try:
        with pytest.raises(HookNeverFired, match=r"blocks\.1\.mlp\.hook_post never fired"):
            decode(tiny_gpt2, [Row(prompts[1], (CLAMP,))], Generation(1), [], share=False)
    finally:
        del block.__dict__["forward"]


def test_a_receipt_counts_firings_and_edited_positions(tiny: LoadedModel, prompts: Prompts) -> None:
    rows = [Row(p, own) for p in prompts for own in ((), (CLAMP,))]
    (receipt,) = decode(tiny, rows, Generation(3), CAPTURES, share=False).receipts
    assert receipt.site == SITE
    assert receipt.fired == 4
    assert receipt.edited == sum(len(p) + 3 for p in prompts)


def test_a_clamp_does_to_the_model_what_it_says(
    tiny_gpt2: LoadedModel, tiny_gpt2_folder: Path, prompts: Prompts
) -> None:
    """Against the Hugging Face model alone: there `hook_post` is what enters the MLP's second matrix."""
    plain: Any = AutoModelForCausalLM.from_pretrained(tiny_gpt2_folder, dtype=torch.float64).eval()
    kept: list[torch.Tensor] = []

    def clamp(_: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        edited = args[0].clone()
        edited[..., 7] = 12.0
        kept.append(edited[0])
        return (edited,)

    plain.transformer.h[1].mlp.c_proj.register_forward_pre_hook(clamp)
    for prompt, result in zip(
        prompts, decode(tiny_gpt2, [Row(p, (CLAMP,)) for p in prompts], Generation(4), CAPTURES).rows, strict=True
    ):
        ids = list(prompt)
        with torch.inference_mode():
            for _ in range(4):
                ids.append(int(plain(torch.tensor([ids])).logits[0, -1].argmax()))
            kept.clear()
            plain(torch.tensor([ids]))
        assert result.tokens == tuple(ids[len(prompt) :])
        np.testing.assert_allclose(result.captured[0], kept[0][len(prompt) :].mean(dim=0).numpy(), atol=1e-6)
