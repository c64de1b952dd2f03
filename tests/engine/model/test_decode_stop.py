from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from srm_explorer.engine.experiment.positions import Positions
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.selftest import run_alone

SameRow = Callable[[RowResult, RowResult], None]
Prompts = list[tuple[int, ...]]

SITE = "blocks.1.mlp.hook_post"
TOKENS = 8


def a_grid(prompts: Prompts) -> list[Row]:
    values = (None, -40.0, -10.0, 5.0, 20.0, 60.0)
    edits = [() if v is None else (Edit(SITE, "clamp", "all", (7,), (v,)),) for v in values]
    return [Row(prompt, own) for prompt in prompts for own in edits]


def stops_of(results: list[RowResult]) -> frozenset[int]:
    """Tokens that some rows write early, some late and some never."""
    return frozenset({results[0].tokens[1], results[7].tokens[3], results[14].tokens[5], results[3].tokens[0]})


@pytest.mark.parametrize("share", [True, False])
def test_a_row_ends_with_its_first_end_of_text(tiny: LoadedModel, prompts: Prompts, share: bool) -> None:
    rows, captures = a_grid(prompts), [Capture(SITE, "tokens", "generated")]
    free = decode(tiny, rows, Generation(TOKENS), captures, share=share).rows
    stops = stops_of(free)
    ended = decode(tiny, rows, Generation(TOKENS, stop_ids=stops), captures, share=share).rows
    lengths: set[int] = set()
    for whole, cut in zip(free, ended, strict=True):
        end = next((i + 1 for i, token in enumerate(whole.tokens) if token in stops), TOKENS)
        assert cut.tokens == whole.tokens[:end]
        assert cut.finish == ("eos" if whole.tokens[end - 1] in stops else "length")
        assert len(cut.captured[0]) == end
        np.testing.assert_allclose(cut.captured[0], whole.captured[0][:end], atol=1e-5, rtol=1e-5)
        lengths.add(end)
    assert len(lengths) > 2


@pytest.mark.parametrize("share", [True, False])
def test_rows_that_end_do_not_disturb_the_rest(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, share: bool
) -> None:
    rows = a_grid(prompts)
    captures = [Capture(SITE, "mean", "generated"), Capture("blocks.2.hook_resid_post", "last", "all")]
    stops = stops_of(decode(tiny, rows, Generation(TOKENS), []).rows)
    generation = Generation(TOKENS, stop_ids=stops)
    alive: list[int] = []
    decoded = decode(tiny, rows, generation, captures, share=share, on_step=lambda _, n: alive.append(n))
    assert alive[-1] < 0.75 * len(rows)
    for row, result in zip(rows, decoded.rows, strict=True):
        same_row(result, run_alone(tiny, row, generation, captures))


def test_decoding_ends_when_every_row_has(tiny: LoadedModel, prompts: Prompts) -> None:
    rows = [Row(prompts[1]), Row(prompts[1], (Edit(SITE, "add", "all", (7,), (0.0,)),))]
    (first, _) = decode(tiny, rows, Generation(1), []).rows
    steps: list[int] = []
    generation = Generation(TOKENS, stop_ids=frozenset(first.tokens))
    decode(tiny, rows, generation, [], on_step=lambda step, _: steps.append(step))
    assert steps == [0]


def test_a_forced_end_of_text_ends_nothing(tiny: LoadedModel, prompts: Prompts) -> None:
    generation = Generation(4, stop_ids=frozenset({5}))
    (row,) = decode(tiny, [Row(prompts[1], forced=(5, 5, 6, 7))], generation, [Capture(SITE, "tokens", "all")]).rows
    assert (row.tokens, row.finish) == ((5, 5, 6, 7), "length")
    assert len(row.captured[0]) == len(prompts[1]) + 4


def test_without_stop_ids_a_text_runs_its_length(tiny: LoadedModel, prompts: Prompts) -> None:
    (row,) = decode(tiny, [Row(prompts[0])], Generation(TOKENS), []).rows
    assert len(row.tokens) == TOKENS
    assert row.finish == "length"


@pytest.mark.parametrize(("positions", "share"), [("generated", True), ("predicting", False), ("all", True)])
def test_a_mark_keeps_the_mean_over_the_first_tokens(
    tiny: LoadedModel, prompts: Prompts, positions: Positions, share: bool
) -> None:
    sites = [SITE, "blocks.1.hook_resid_post", "blocks.1.attn.hook_z"]
    means = [Capture(site, "mean", positions, "resid" in site) for site in sites]
    tokens = [Capture(site, "tokens", positions, "resid" in site) for site in sites]
    free = decode(tiny, a_grid(prompts), Generation(TOKENS), []).rows
    # Texts of every length in one batch, so that rows are dropped on the way; one mark is beyond its text.
    ends = [1 + index % TOKENS for index in range(len(free))]
    marked = [
        Row(row.prompt, row.edits, forced=result.tokens[:end], marks=tuple(range(1, end + 1 + (end == 3))))
        for row, result, end in zip(a_grid(prompts), free, ends, strict=True)
    ]
    together = decode(tiny, marked, Generation(TOKENS), means, share=share).rows
    whole = decode(tiny, marked, Generation(TOKENS), tokens, share=share).rows
    for row, result, kept, end in zip(marked, together, whole, ends, strict=True):
        before = {"generated": 0, "predicting": 1, "all": len(row.prompt)}[positions]
        (alone,) = decode(tiny, [row], Generation(TOKENS), means).rows if end % 3 == 0 else (result,)
        for site in range(len(sites)):
            direct = [kept.captured[site][: before + mark].mean(axis=0, dtype=np.float64) for mark in range(1, end + 1)]
            assert result.marked[site].shape == np.array(direct).shape
            np.testing.assert_allclose(result.marked[site], direct, atol=1e-6, rtol=1e-6)
            np.testing.assert_allclose(result.marked[site], alone.marked[site], atol=1e-5, rtol=1e-5)
            np.testing.assert_array_equal(result.marked[site][-1], result.captured[site])
            assert kept.marked[site].shape == (0, direct[0].shape[0]), "tokens hold their means themselves"
