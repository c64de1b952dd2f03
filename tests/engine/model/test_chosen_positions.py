"""Positions that differ from prompt to prompt, and what is taken out along a direction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.forcing import GivenText, score_texts
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.selftest import run_alone

SameRow = Callable[[RowResult, RowResult], None]
Prompts = list[tuple[int, ...]]


def chosen(prompt: tuple[int, ...]) -> list[RowPositions]:
    """Some positions of a prompt: its first, its last, two, from the last on, what is generated alone."""
    length = len(prompt)
    return [
        RowPositions((0,)),
        RowPositions((length - 1,)),
        RowPositions(tuple(sorted({0, length // 2}))),
        RowPositions(start=length - 1),
        RowPositions(start=length),
    ]


@pytest.mark.parametrize("site", ["blocks.0.hook_resid_pre", "blocks.1.mlp.hook_post", "blocks.2.hook_resid_post"])
def test_rows_with_positions_of_their_own_are_the_rows_alone(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, site: str
) -> None:
    rows = [
        Row(prompt, (Edit(site, "clamp", positions, (7,), (9.0,)), Edit(site, "add", "last", (3,), (2.0,))))
        for prompt in prompts
        for positions in chosen(prompt)
    ]
    rows += [Row(prompt) for prompt in prompts]
    captures = [Capture(site, "tokens", "generated"), Capture("blocks.2.hook_resid_post", "mean", "predicting")]
    seen = [Capture(site, "tokens", "all", columns=(7,))]
    alone = [run_alone(tiny, row, Generation(3), captures) for row in rows]
    for share in (True, False):
        for one, result in zip(alone, decode(tiny, rows, Generation(3), captures, share=share).rows, strict=True):
            same_row(result, one)
    for row, result in zip(rows, decode(tiny, rows, Generation(3), seen).rows, strict=True):
        if row.edits:
            at = row.edits[0].positions
            assert isinstance(at, RowPositions)
            onward = range(len(row.prompt) + 3 if at.start is None else at.start, len(row.prompt) + 3)
            assert np.flatnonzero(result.captured[0][:, 0] == 9.0).tolist() == sorted({*at.at, *onward})


@pytest.mark.parametrize("edited", ["none", "everywhere", "at its own"])
def test_rows_are_captured_at_positions_of_their_own(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, edited: str
) -> None:
    site = "blocks.2.mlp.hook_post"
    rows = [Row(prompt) for prompt in prompts]
    if edited == "everywhere":
        rows += [Row(prompt, (Edit(site, "clamp", "all", (7,), (9.0,)),)) for prompt in prompts]
    elif edited == "at its own":
        own = RowPositions((0,))
        rows += [Row(prompt, (Edit(site, "clamp", own, (7,), (9.0,)),)) for prompt in prompts for _ in range(2)]
    for number in range(len(chosen(prompts[0]))):
        of_prompt = {prompt: chosen(prompt)[number] for prompt in prompts}
        captures = [
            Capture(site, "tokens", of_prompt),
            Capture("blocks.2.hook_resid_post", "mean", of_prompt),
            Capture("blocks.1.hook_resid_post", "last", of_prompt),
        ][number % 2 :]
        alone = [run_alone(tiny, row, Generation(3), captures) for row in rows]
        for share in (True, False):
            for one, result in zip(alone, decode(tiny, rows, Generation(3), captures, share=share).rows, strict=True):
                same_row(result, one)
    freely = decode(tiny, rows, Generation(3), captures).rows
    texts = [GivenText(row.prompt, free.tokens, (row.edits,)) for row, free in zip(rows, freely, strict=True)]
    for place, (_, forced) in score_texts(tiny, texts, captures):
        for left, right in zip(forced.captured, freely[place].captured, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("site", ["blocks.1.hook_resid_pre", "blocks.1.mlp.hook_post"])
def test_projecting_out_leaves_nothing_along_the_direction_and_all_that_is_across_it(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, site: str
) -> None:
    width = 64 if site.endswith("hook_post") else 32
    unit = np.random.default_rng(5).normal(size=width)
    unit /= np.linalg.norm(unit)
    edit = Edit(site, "project_out", "prompt", direction=tuple(unit.tolist()))
    rows = [Row(prompt, edits) for prompt in prompts for edits in ((), (edit,))]
    captures = [Capture(site, "tokens", "prompt"), Capture("blocks.2.hook_resid_post", "mean", "generated")]
    results = decode(tiny, rows, Generation(3), captures).rows
    for row, result in zip(rows, results, strict=True):
        same_row(result, run_alone(tiny, row, Generation(3), captures))
    for before, after in zip(results[::2], results[1::2], strict=True):
        x, y = before.captured[0], after.captured[0]
        assert np.abs(x @ unit).max() > 1e-3
        np.testing.assert_allclose(y @ unit, 0.0, atol=1e-9)
        np.testing.assert_allclose(y, x - np.outer(x @ unit, unit), atol=1e-9)
    (text,) = (GivenText(prompts[1], results[3].tokens, ((edit,),)),)
    ((_, (_, forced)),) = score_texts(tiny, [text], captures)
    np.testing.assert_allclose(forced.captured[1], results[3].captured[1], rtol=1e-3, atol=1e-5)


def test_projecting_neurons_out_is_setting_them_to_zero(tiny: LoadedModel, prompts: Prompts, same_row: SameRow) -> None:
    site = "blocks.1.mlp.hook_post"
    rows = [Row(prompts[1], (Edit(site, op, "all", (3, 17)),)) for op in ("zero", "project_out")]
    one, other = decode(tiny, rows, Generation(3), [Capture(site, "tokens", "all")]).rows
    same_row(one, other)
