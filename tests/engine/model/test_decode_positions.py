from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch

from srm_explorer.engine.experiment.positions import Positions
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode
from srm_explorer.engine.model.edits import Edit, position_mask
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.selftest import run_alone

SameRow = Callable[[RowResult, RowResult], None]
Prompts = list[tuple[int, ...]]

SITE = "blocks.1.mlp.hook_post"
EXPECTED = {
    "all": [0, 1, 2, 3, 4, 5],
    "prompt": [0, 1, 2, 3],
    "last": [3],
    "predicting": [3, 4, 5],
    "generated": [4, 5],
}


def clamp(value: float, positions: Positions = "all", site: str = SITE) -> Edit:
    return Edit(site, "clamp", positions, (7,), (value,))


@pytest.mark.parametrize("positions", get_args(Positions))
def test_positions_are_absolute_and_never_pads(positions: Positions) -> None:
    where = torch.tensor([[-1, -1, 0, 1, 2, 3, 4, 5]])
    mask = position_mask(positions, where, torch.tensor([4]))
    assert where[mask].tolist() == EXPECTED[positions]


@pytest.mark.parametrize("positions", get_args(Positions))
@pytest.mark.parametrize("share", [True, False])
def test_a_clamp_is_seen_at_its_own_site_at_exactly_its_positions(
    tiny: LoadedModel, prompts: Prompts, positions: Positions, share: bool
) -> None:
    captures = [Capture(SITE, "tokens", "all", columns=(7,))]
    rows = [Row(prompt, (clamp(42.0, positions),)) for prompt in (*prompts, *prompts)]
    for row, result in zip(rows, decode(tiny, rows, Generation(3), captures, share=share).rows, strict=True):
        length = len(row.prompt) + 3
        mask = position_mask(positions, torch.arange(length)[None], torch.tensor([len(row.prompt)]))[0].numpy()
        assert result.captured[0].shape == (length, 1)
        np.testing.assert_array_equal(result.captured[0][:, 0] == 42.0, mask)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_clamp_at_generated_positions_cannot_change_the_first_token(
    tiny: LoadedModel, prompts: Prompts, layer: int
) -> None:
    site = f"blocks.{layer}.mlp.hook_post"
    rows = [Row(p, own) for p in prompts for own in ((), (clamp(300.0, "generated", site),))]
    results = decode(tiny, rows, Generation(4), []).rows
    for baseline, clamped in zip(results[::2], results[1::2], strict=True):
        assert clamped.tokens[0] == baseline.tokens[0]
    assert any(a.tokens[1:] != b.tokens[1:] for a, b in zip(results[::2], results[1::2], strict=True))


def test_every_token_that_was_written_is_fed_and_captured_once(tiny: LoadedModel, prompts: Prompts) -> None:
    positions: tuple[Positions, ...] = ("generated", "predicting", "prompt", "all")
    captures = [Capture("blocks.0.hook_resid_pre", "tokens", one) for one in positions]
    for row, result in zip(prompts, decode(tiny, [Row(p) for p in prompts], Generation(3), captures).rows, strict=True):
        generated, predicting, prompt, everything = result.captured
        assert [len(one) for one in result.captured] == [3, 4, len(row), len(row) + 3]
        np.testing.assert_array_equal(everything, np.concatenate([prompt, generated]))
        np.testing.assert_array_equal(predicting, everything[len(row) - 1 :])


def test_mean_last_and_tokens_are_reductions_of_one_thing(tiny: LoadedModel, prompts: Prompts) -> None:
    captures = [Capture(SITE, "mean", "all"), Capture(SITE, "last", "all"), Capture(SITE, "tokens", "all")]
    rows = [Row(p, own) for p in prompts for own in ((), (clamp(9.0),))]
    for result in decode(tiny, rows, Generation(3), captures).rows:
        mean, last, tokens = result.captured
        np.testing.assert_allclose(mean, tokens.mean(axis=0), atol=1e-12)
        np.testing.assert_array_equal(last, tokens[-1])


def test_the_last_vector_is_that_of_the_last_token_written(tiny_gpt2: LoadedModel, prompts: Prompts) -> None:
    captures = [Capture("blocks.0.hook_resid_pre", "last", "generated")]
    (result,) = decode(tiny_gpt2, [Row(prompts[1])], Generation(3), captures).rows
    model = tiny_gpt2.bridge.original_model.transformer
    position = len(prompts[1]) + 2
    expected = model.wte.weight[result.tokens[-1]] + model.wpe.weight[position]
    np.testing.assert_allclose(result.captured[0], expected.detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("captured", ["prompt", "all"])
def test_with_no_tokens_the_prompt_alone_goes_through(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, captured: Positions
) -> None:
    captures = [Capture(SITE, "mean", captured), Capture("blocks.2.hook_resid_post", "tokens", captured)]
    rows = [Row(p, own) for p in prompts for own in ((), (clamp(5.0),), (clamp(5.0, "last"),))]
    for share in (True, False):
        for row, result in zip(rows, decode(tiny, rows, Generation(0), captures, share=share).rows, strict=True):
            assert result.tokens == ()
            assert result.finish == "none"
            assert result.margin is None
            assert len(result.captured[1]) == len(row.prompt)
            same_row(result, run_alone(tiny, row, Generation(0), captures))


def test_forcing_what_was_written_captures_the_same(tiny: LoadedModel, prompts: Prompts) -> None:
    captures = [Capture(SITE, "mean", "generated"), Capture("blocks.2.hook_resid_post", "tokens", "all")]
    rows = [Row(p, own) for p in prompts for own in ((), (clamp(5.0),))]
    free = decode(tiny, rows, Generation(4), captures).rows
    forced = [Row(row.prompt, row.edits, forced=result.tokens) for row, result in zip(rows, free, strict=True)]
    for one, other in zip(decode(tiny, forced, Generation(4), captures).rows, free, strict=True):
        assert one.tokens == other.tokens
        assert one.margin is None
        for left, right in zip(one.captured, other.captured, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-6)


def test_rows_may_be_forced_to_texts_of_different_lengths(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow
) -> None:
    captures = [Capture(SITE, "tokens", "all"), Capture(SITE, "mean", "generated")]
    texts: list[tuple[int, ...] | None] = [(5,), (5, 6, 7), (9, 8), None, (5, 6, 7, 9)]
    rows = [Row(prompts[1], (clamp(float(i)),), forced=text) for i, text in enumerate(texts)]
    for share in (True, False):
        for row, result in zip(rows, decode(tiny, rows, Generation(4), captures, share=share).rows, strict=True):
            assert result.tokens == (row.forced or result.tokens)
            same_row(result, run_alone(tiny, row, Generation(4), captures))


def test_what_comes_before_an_intervention_is_the_baselines(tiny: LoadedModel, prompts: Prompts) -> None:
    captures = [Capture("blocks.2.hook_resid_pre", "tokens", "prompt")]
    rows = [Row(prompts[2]), Row(prompts[2], (clamp(50.0, "last"),))]
    baseline, clamped = (r.captured[0] for r in decode(tiny, rows, Generation(1), captures).rows)
    # Other shapes of a product may differ in the last bit.
    np.testing.assert_allclose(baseline[:-1], clamped[:-1], atol=1e-9)
    assert np.abs(baseline[-1] - clamped[-1]).max() > 1
