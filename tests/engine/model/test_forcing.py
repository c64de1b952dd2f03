"""Tokens scored in one pass are what the step-by-step way makes of them, whatever is done and wherever it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import pytest
import torch

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode, open_stream
from srm_explorer.engine.model.edits import Edit, slots_by_site
from srm_explorer.engine.model.forcing import Forced, GivenText, score_texts, token_scores, top_tokens
from srm_explorer.engine.model.hooks import Feed, HookState, instrumented

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

Positions = Literal["all", "prompt", "last", "predicting", "generated"]
MLP, RESID = "blocks.1.mlp.hook_post", "blocks.2.hook_resid_post"
TOKENS = (5, 99, 300, 7, 7, 511, 42)
WIDTH = 32
STEER = tuple((np.arange(WIDTH) / np.linalg.norm(np.arange(WIDTH))).tolist())
SETTINGS: dict[str, tuple[Edit, ...]] = {
    "clamp": (Edit(MLP, "clamp", "all", (3, 9), (2.5, -1.0)),),
    "add in the prompt": (Edit(MLP, "add", "prompt", (3,), (4.0,)),),
    "scale at the last prompt token": (Edit(MLP, "scale", "last", (3,), (-3.0,)),),
    "zero where it predicts": (Edit(MLP, "zero", "predicting", (3, 4, 5)),),
    "steer what is generated": (Edit("blocks.0.hook_resid_pre", "steer", "generated", (), (5.0,), STEER),),
    "two at the last layer": (
        Edit("blocks.2.mlp.hook_post", "clamp", "all", (0,), (3.0,)),
        Edit(RESID, "add", "generated", (1,), (2.0,)),
    ),
}
CAPTURES = [
    Capture(MLP, "mean", "generated"),
    Capture(RESID, "mean", "predicting"),
    Capture(RESID, "tokens", "generated"),
    Capture(RESID, "last", "generated", centred=True),
    Capture(MLP, "mean", "prompt"),
    Capture(RESID, "mean", "all"),
]


def stepwise_logits(model: LoadedModel, row: Row) -> torch.Tensor:
    """[token, vocab] the logits each forced token was chosen from, one token fed at a time."""
    assert row.forced is not None
    with torch.inference_mode():
        slots = slots_by_site([row.edits], model.device, model.dtype)
        length = torch.tensor([len(row.prompt)])
        feed = Feed(torch.zeros(1, 0, dtype=torch.long), length, torch.arange(1), torch.ones(1, dtype=torch.bool))
        instruments = HookState(slots, [], feed)
        stream = open_stream(model, [row], instruments, share=False)
        with instrumented(model, instruments):
            found = [stream.prefill()]
            found.extend(stream.feed(torch.tensor([token]), torch.tensor([True])) for token in row.forced)
    return torch.cat(found[:-1])


def one(model: LoadedModel, text: GivenText, captures: list[Capture], **how: int) -> list[Forced]:
    ((_, found),) = score_texts(model, [text], captures, **how)
    return found


def assert_same(left: Forced, right: Forced) -> None:
    for name in ("logp", "rank", "entropy", "lead", "kl", "shift", "mass"):
        np.testing.assert_allclose(getattr(left.scores, name), getattr(right.scores, name), atol=1e-5, err_msg=name)
    for a, b in zip(left.captured, right.captured, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)


def test_one_pass_equals_the_tokens_fed_one_by_one(tiny: LoadedModel, prompts: list[tuple[int, ...]]) -> None:
    for prompt in prompts:
        found = one(tiny, GivenText(prompt, TOKENS, tuple(SETTINGS.values())), CAPTURES)
        rows = [Row(prompt, edits, forced=TOKENS) for edits in ((), *SETTINGS.values())]
        slow = decode(tiny, rows, Generation(len(TOKENS)), CAPTURES, share=False).rows
        logits = [stepwise_logits(tiny, row) for row in rows]
        for place, (fast, row) in enumerate(zip(found, slow, strict=True)):
            for a, b in zip(fast.captured, row.captured, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5, err_msg=str(place))
            expected = token_scores(logits[0], logits[place][None], torch.tensor(TOKENS))[1]
            np.testing.assert_allclose(fast.scores.logp, expected.logp, atol=1e-5)
            np.testing.assert_allclose(fast.scores.kl, expected.kl, atol=1e-5)
            assert (fast.scores.rank == expected.rank).all()


def test_scores_are_what_their_definitions_say() -> None:
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=(3, 4, 11)) * 3)
    tokens = torch.tensor([2, 0, 10, 5])
    found = token_scores(logits[0], logits[1:], tokens)
    p = np.exp(logits.numpy())
    p /= p.sum(axis=-1, keepdims=True)
    for row, scores in enumerate(found):
        for at, token in enumerate(tokens.tolist()):
            own, base = p[row, at], p[0, at]
            ordered = np.sort(logits.numpy()[0, at])
            assert scores.logp[at] == pytest.approx(np.log(own[token]))
            assert scores.rank[at] == 1 + (own > own[token]).sum()
            assert scores.entropy[at] == pytest.approx(-(own * np.log(own)).sum())
            assert scores.lead[at] == pytest.approx(ordered[-1] - ordered[-2])
            assert scores.kl[at] == pytest.approx((base * np.log(base / own)).sum(), abs=1e-12)
        np.testing.assert_allclose(scores.shift, np.log(p[row] / p[0]).sum(axis=0), atol=1e-9)
        np.testing.assert_allclose(scores.mass, p[row].sum(axis=0), atol=1e-12)
    rose, fell = top_tokens(found[1].shift, 3)
    order = np.argsort(found[1].shift)
    assert (list(rose), list(fell)) == (order[::-1][:3].tolist(), order[:3].tolist())
    assert top_tokens(np.array([0.0, 2.0, 0.0, -1.0]), 4) == ([1], [3])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_tokens_that_both_rule_out_change_nothing(dtype: torch.dtype) -> None:
    logits = torch.tensor([[[0.0, 1.0, -torch.inf]], [[1.0, 0.0, -torch.inf]]], dtype=dtype)
    scores = token_scores(logits[0], logits[1:], torch.tensor([1]))[1]
    assert np.isfinite(scores.kl).all()
    assert np.isfinite(scores.shift).all()
    assert np.isfinite(scores.entropy).all()


def test_nothing_done_has_no_divergence_and_something_has_one_that_is_positive(tiny_gpt2: LoadedModel) -> None:
    nothing = (Edit(MLP, "add", "all", (3,), (0.0,)),)
    base, same, *others = one(tiny_gpt2, GivenText((1, 2, 3), TOKENS, (nothing, *SETTINGS.values())), [])
    assert (base.scores.kl == 0).all()
    assert not base.scores.shift.any()
    np.testing.assert_allclose(same.scores.kl, 0, atol=1e-12)
    for other in others:
        assert (other.scores.kl >= 0).all()
        assert other.scores.kl.max() > 1e-4


def test_what_is_done_to_generated_tokens_leaves_the_first_one_alone(tiny: LoadedModel) -> None:
    late = (Edit(MLP, "clamp", "generated", (3,), (9.0,)),)
    early = (Edit(MLP, "clamp", "last", (3,), (9.0,)),)
    _, generated, last = one(tiny, GivenText((1, 2, 3), TOKENS, (late, early)), [])
    assert generated.scores.kl[0] == pytest.approx(0, abs=1e-12)
    assert generated.scores.kl[1] > 1e-6
    assert last.scores.kl[0] > 1e-6


def test_texts_of_all_lengths_in_a_batch_are_what_each_is_alone(
    tiny: LoadedModel, prompts: list[tuple[int, ...]]
) -> None:
    settings = tuple(SETTINGS.values())
    texts = [
        GivenText(prompts[2], TOKENS, settings[:2]),
        GivenText(prompts[0], TOKENS[:3], settings[1:]),
        GivenText(prompts[1], TOKENS * 3),
        GivenText(prompts[1], (), settings[:1]),
    ]
    captures = CAPTURES[:1] + CAPTURES[4:]
    for rows in (100, 4, 1):
        together = dict(score_texts(tiny, texts, captures, rows=rows))
        assert sorted(together) == [0, 1, 2, 3]
        for place, text in enumerate(texts):
            alone = one(tiny, text, captures)
            assert len(together[place]) == 1 + len(text.settings)
            for left, right in zip(together[place], alone, strict=True):
                assert_same(left, right)


def test_blocks_that_are_not_shared_change_nothing(tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GivenText((1, 2, 3), TOKENS, tuple(SETTINGS.values()))
    shared = one(tiny, text, CAPTURES[:2])
    monkeypatch.setattr(tiny, "shares_blocks", False)
    for left, right in zip(shared, one(tiny, text, CAPTURES[:2]), strict=True):
        assert_same(left, right)


def test_forcing_at_the_clamped_site_equals_arithmetic(tiny: LoadedModel) -> None:
    clamped, first = (3, 9), (Edit(MLP, "clamp", "all", (3, 9), (2.5, -1.0)),)
    base, forced = one(tiny, GivenText((1, 2, 3), TOKENS, (first,)), [Capture(MLP, "mean", "generated")])
    expected = base.captured[0].copy()
    expected[list(clamped)] = 2.5, -1.0
    np.testing.assert_allclose(forced.captured[0], expected, atol=1e-12)


def test_a_pass_that_does_not_fit_is_halved(tiny_gpt2: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, limit = tiny_gpt2.blocks, 4
    whole, sizes = blocks.columns_from, list[int]()

    def small(feed: dict[str, torch.Tensor], *rest: object) -> torch.Tensor:
        sizes.append(len(feed["input_ids"]))
        if sizes[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return cast("torch.Tensor", whole(feed, *rest))  # type: ignore[arg-type]

    settings = (SETTINGS["clamp"], SETTINGS["add in the prompt"], SETTINGS["two at the last layer"])
    texts = [GivenText((1, 2), TOKENS, settings * 2) for _ in range(3)]
    expected = dict(score_texts(tiny_gpt2, texts, CAPTURES[:1]))
    monkeypatch.setattr(blocks, "columns_from", small)
    found = dict(score_texts(tiny_gpt2, texts, CAPTURES[:1], rows=21))
    assert max(sizes) > limit
    assert sizes[-1] <= limit
    for place in expected:
        for left, right in zip(found[place], expected[place], strict=True):
            assert_same(left, right)
    limit = 0
    with pytest.raises(ExplorerError, match="one text alone does not fit"):
        list(score_texts(tiny_gpt2, texts, CAPTURES[:1]))


def test_what_cannot_be_fed_is_refused_and_no_hook_stays(tiny_gpt2: LoadedModel) -> None:
    with pytest.raises(ExplorerError, match="does not fit this model's context"):
        list(score_texts(tiny_gpt2, [GivenText((1,), tuple(range(256)))]))
    with pytest.raises(ExplorerError, match="no prompt"):
        list(score_texts(tiny_gpt2, [GivenText((), (1,))]))
    with pytest.raises(ExplorerError, match="has no site"):
        list(score_texts(tiny_gpt2, [GivenText((1,), (1,))], [Capture("blocks.7.mlp.hook_post", "mean", "all")]))
    before = one(tiny_gpt2, GivenText((1, 2), TOKENS), CAPTURES[:1])
    stopped = score_texts(
        tiny_gpt2, [GivenText((1, 2), TOKENS, tuple(SETTINGS.values()))], on_pass=lambda rows, tokens: 1 // 0
    )
    with pytest.raises(ZeroDivisionError):
        list(stopped)
    assert_same(before[0], one(tiny_gpt2, GivenText((1, 2), TOKENS), CAPTURES[:1])[0])
