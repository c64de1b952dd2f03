from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.sampling import NoiseKey, Sampling, best_and_margin
from srm_explorer.engine.model.selftest import run_alone

SameRow = Callable[[RowResult, RowResult], None]
Prompts = list[tuple[int, ...]]

SITE = "blocks.1.mlp.hook_post"
KEY = NoiseKey(seed=1, prompt="ab", occurrence=0, sample=0)
SAMPLED = Generation(6, Sampling(greedy=False, temperature=2.0))
LOGITS = torch.tensor([1.5, -0.5, 0.0, 2.0, 1.4, -3.0, 0.3], dtype=torch.float64)


def draws(sampling: Sampling, n: int = 20_000) -> np.ndarray:
    """Choose `n` tokens, a step of the noise each."""
    noise = torch.from_numpy(np.stack([KEY.gumbel(step, len(LOGITS)) for step in range(n)]))
    return best_and_margin(sampling.scores(LOGITS.expand(n, -1), noise))[0].numpy()


def expected(sampling: Sampling) -> np.ndarray:
    """Probabilities token by token: temperature, then the k largest, then the smallest set that reaches p."""
    p = np.exp(LOGITS.numpy() / sampling.temperature)
    if sampling.top_k:
        p[np.argsort(-p)[sampling.top_k :]] = 0
    p /= p.sum()
    kept, total = [], 0.0
    for token in np.argsort(-p):
        if total < sampling.top_p:
            kept.append(token)
        total += p[token]
    p = np.where(np.isin(np.arange(len(p)), kept), p, 0)
    return p / p.sum()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(greedy=False),
        Sampling(greedy=False, temperature=0.5),
        Sampling(greedy=False, temperature=3.0, top_k=4),
        Sampling(greedy=False, top_p=0.7),
        Sampling(greedy=False, temperature=2.0, top_k=5, top_p=0.8),
        Sampling(greedy=False, top_k=1),
        Sampling(greedy=False, top_p=1e-6),
    ],
    ids=str,
)
def test_tokens_are_drawn_from_the_softmax(sampling: Sampling) -> None:
    counts = np.bincount(draws(sampling), minlength=len(LOGITS))
    p = expected(sampling)
    assert counts[p == 0].sum() == 0
    possible = p > 0
    if possible.sum() > 1:
        assert stats.chisquare(counts[possible], p[possible] * counts.sum()).pvalue > 1e-4


def test_the_noise_is_gumbel() -> None:
    noise = np.concatenate([replace(KEY, sample=sample).gumbel(3, 5000) for sample in range(10)])
    assert stats.kstest(noise, "gumbel_r").pvalue > 1e-4
    assert np.isfinite(noise).all()


keys = st.builds(NoiseKey, st.integers(0, 9), st.sampled_from(["a", "b"]), st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(keys, keys, st.integers(0, 3), st.integers(0, 3))
def test_noise_is_a_function_of_the_whole_key_and_the_step(one: NoiseKey, other: NoiseKey, i: int, j: int) -> None:
    equal = (one, i) == (other, j)
    drawn, again = one.gumbel(i, 50), other.gumbel(j, 50)
    assert np.array_equal(drawn, again) == equal
    if not equal:
        assert abs(np.corrcoef(drawn, again)[0, 1]) < 0.75


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_noise_of_a_token_does_not_depend_on_the_vocabulary(small: int, large: int) -> None:
    small, large = sorted((small, large))
    np.testing.assert_array_equal(KEY.gumbel(2, large)[:small], KEY.gumbel(2, small))


def test_noise_stays_the_same_across_versions() -> None:
    np.testing.assert_allclose(KEY.gumbel(0, 3), [1.430596, 1.420678, -1.134375], rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=30, unique=True))
def test_best_and_margin_are_the_first_two_of_the_order(scores: list[float]) -> None:
    token, margin = best_and_margin(torch.tensor([scores]))
    first, second = sorted(scores, reverse=True)[:2]
    assert scores[int(token[0])] == first
    assert float(margin[0]) == pytest.approx(first - second, abs=1e-5)


def a_row(prompt: tuple[int, ...], value: float | None, **key: int) -> Row:
    edits = () if value is None else (Edit(SITE, "clamp", "all", (7,), (value,)),)
    return Row(prompt, edits, NoiseKey(**{"seed": 3, "prompt": str(hash(prompt)), "occurrence": 0, "sample": 0} | key))


def test_sampled_rows_are_the_rows_alone(tiny: LoadedModel, prompts: Prompts, same_row: SameRow) -> None:
    rows = [a_row(p, value, sample=s) for p in prompts for value in (None, 9.0) for s in (0, 1)]
    generation = Generation(4, Sampling(greedy=False, temperature=1.5, top_k=40, top_p=0.95))
    for share in (True, False):
        for row, result in zip(rows, decode(tiny, rows, generation, [], share=share).rows, strict=True):
            same_row(result, run_alone(tiny, row, generation, []))


def test_conditions_share_their_noise(tiny: LoadedModel, prompts: Prompts) -> None:
    nothing = Edit(SITE, "add", "all", (7,), (0.0,))
    rows = [
        a_row(prompts[1], None),
        replace(a_row(prompts[1], None), edits=(nothing,)),
        a_row(prompts[1], None, sample=1),
    ]
    baseline, edited, another = decode(tiny, rows, SAMPLED, []).rows
    assert edited.tokens == baseline.tokens
    assert another.tokens != baseline.tokens


def test_other_prompts_and_their_order_move_no_run(tiny: LoadedModel, prompts: Prompts) -> None:
    rows = [a_row(p, value) for p in prompts for value in (None, 9.0)]
    written = [row.tokens for row in decode(tiny, rows, SAMPLED, []).rows]
    assert [row.tokens for row in decode(tiny, rows[::-1], SAMPLED, []).rows] == written[::-1]
    assert [row.tokens for row in decode(tiny, rows[2:3], SAMPLED, []).rows] == written[2:3]


def test_duplicates_of_a_prompt_are_drawn_apart(tiny: LoadedModel, prompts: Prompts) -> None:
    first, second = decode(tiny, [a_row(prompts[1], None, occurrence=i) for i in (0, 1)], SAMPLED, []).rows
    assert first.tokens != second.tokens


def test_sampling_leaves_the_global_generators_alone(tiny: LoadedModel, prompts: Prompts) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = decode(tiny, [a_row(prompts[1], None)], SAMPLED, []).rows[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert decode(tiny, [a_row(prompts[1], None)], SAMPLED, []).rows[0].tokens == one.tokens
