from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srm_explorer.engine.experiment.intervention import Operation
from srm_explorer.engine.experiment.positions import Positions
from srm_explorer.engine.experiment.site import SITE_KINDS
from srm_explorer.engine.model.capture import Capture, Reduce
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode
from srm_explorer.engine.model.edits import Edit, slots_by_site
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.selftest import run_alone

SameRow = Callable[[RowResult, RowResult], None]
Prompts = list[tuple[int, ...]]

LAYERS = (0, 1, 2)
POSITIONS: tuple[Positions, ...] = get_args(Positions)
# What is patched in is another run's: tests/engine/execution/test_patching.py.
OPERATIONS: tuple[Operation, ...] = tuple(op for op in get_args(Operation) if op != "patch")
REDUCTIONS: tuple[Reduce, ...] = get_args(Reduce)
NEURONS = (3, 17)
VALUES = {"clamp": (4.0, -3.0), "mean": (0.5, -1.0), "add": (3.0, -6.0), "scale": (4.0, -2.0)}
PLACES = list(itertools.product(SITE_KINDS, LAYERS, POSITIONS))
GRID = [("gpt2", i) for i in range(0, len(PLACES), 2)] + [("llama", i) for i in range(1, len(PLACES), 4)]


def an_edit(site: str, op: Operation, positions: Positions, strength: float = 1.0) -> Edit:
    if op == "steer":
        width = 64 if site.endswith("hook_post") else 32
        direction = np.random.default_rng(width).normal(size=width)
        return Edit(site, op, positions, (), (8.0 * strength,), tuple(direction / np.linalg.norm(direction)))
    return Edit(site, op, positions, NEURONS, tuple(strength * v for v in VALUES.get(op, ())))


def check(
    model: LoadedModel, rows: Sequence[Row], captures: list[Capture], same_row: SameRow, tokens: int = 3
) -> list[RowResult]:
    """Decode with and without sharing, compare both with the rows run alone, and return what came."""
    generation = Generation(tokens)
    together = decode(model, rows, generation, captures, share=True).rows
    plain = decode(model, rows, generation, captures, share=False).rows
    for row, shared, single in zip(rows, together, plain, strict=True):
        alone = run_alone(model, row, generation, captures)
        same_row(shared, alone)
        same_row(single, alone)
    return together


@pytest.mark.parametrize(("shape", "at"), GRID, ids=[f"{shape}-{'-'.join(map(str, PLACES[at]))}" for shape, at in GRID])
def test_a_row_of_a_batch_is_the_row_alone(
    request: pytest.FixtureRequest, prompts: Prompts, same_row: SameRow, shape: str, at: int
) -> None:
    model: LoadedModel = request.getfixturevalue(f"tiny_{shape}")
    kind, layer, positions = PLACES[at]
    site, elsewhere = f"blocks.{layer}.{kind}", f"blocks.{2 - layer}.hook_resid_post"
    n = len(OPERATIONS)
    first, second = OPERATIONS[at % n], OPERATIONS[(at + at // n + 1) % n]
    rows = [
        Row(prompt, edits)
        for prompt in prompts[1:]
        for edits in ((), (an_edit(site, first, positions),), (an_edit(site, second, positions, 2.0),))
    ]
    captured: Positions = ("generated", "predicting", "prompt", "all", "last")[at // 2 % 5]
    captures = [Capture(site, "mean", captured), Capture(elsewhere, REDUCTIONS[at % 3], captured)]
    check(model, rows, captures, same_row)


sites = st.builds("blocks.{}.{}".format, st.sampled_from(LAYERS), st.sampled_from(SITE_KINDS))
edits = st.builds(
    an_edit, sites, st.sampled_from(OPERATIONS), st.sampled_from(POSITIONS), st.sampled_from((1.0, -0.5, 3.0))
)
captures_ = st.builds(
    Capture, sites, st.sampled_from(REDUCTIONS), st.sampled_from(("generated", "predicting", "prompt", "all"))
)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gated=st.booleans(),
    rows=st.lists(st.tuples(st.integers(0, 2), st.lists(edits, max_size=3)), min_size=1, max_size=6),
    kept=st.lists(captures_, min_size=1, max_size=3),
)
def test_rows_with_any_interventions_are_the_rows_alone(
    tiny_gpt2: LoadedModel,
    tiny_llama: LoadedModel,
    prompts: Prompts,
    same_row: SameRow,
    gated: bool,
    rows: list[tuple[int, list[Edit]]],
    kept: list[Capture],
) -> None:
    model = tiny_llama if gated else tiny_gpt2
    check(model, [Row(prompts[prompt], tuple(own)) for prompt, own in rows], kept, same_row, tokens=2)


SITE = "blocks.1.mlp.hook_post"


def test_each_row_applies_its_own_edits_in_its_own_order(
    tiny_gpt2: LoadedModel, prompts: Prompts, same_row: SameRow
) -> None:
    double, clamp = Edit(SITE, "scale", "all", (5,), (2.0,)), Edit(SITE, "clamp", "all", (5,), (3.0,))
    rows = [Row(prompts[1], own) for own in ((clamp,), (double, clamp), (clamp, double), (double,), ())]
    results = check(tiny_gpt2, rows, [Capture(SITE, "mean", "all", columns=(5,))], same_row)
    assert [float(result.captured[0][0]) for result in results[:3]] == [3.0, 3.0, 6.0]


def test_two_additions_to_one_neuron_both_count(tiny_gpt2: LoadedModel, prompts: Prompts, same_row: SameRow) -> None:
    one, two = Edit(SITE, "add", "all", (5,), (1.0,)), Edit(SITE, "add", "all", (5,), (2.0,))
    three = Edit(SITE, "add", "all", (5,), (3.0,))
    capture = [Capture(SITE, "mean", "generated")]
    together, at_once, _ = check(tiny_gpt2, [Row(prompts[1], e) for e in ((one, two), (three,), ())], capture, same_row)
    assert together.tokens == at_once.tokens
    np.testing.assert_allclose(together.captured[0], at_once.captured[0], atol=1e-12)


@pytest.mark.parametrize("op", ["clamp", "add", "scale", "zero"])
def test_rows_with_different_neurons_are_edited_at_once_and_are_the_rows_alone(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, op: Operation
) -> None:
    values = {"clamp": (6.0, -4.0), "add": (6.0, -4.0), "scale": (5.0, -5.0)}.get(op, ())
    pairs = ((3, 17), (17, 3), (63, 0), (8, 9))
    edits = [Edit(SITE, op, "all", neurons, values) for neurons in pairs]
    rows = [Row(prompt, own) for prompt in prompts[1:] for own in (*((edit,) for edit in edits), ())]
    check(tiny, rows, [Capture(SITE, "mean", "generated")], same_row)
    (slots,) = slots_by_site([row.edits for row in rows], tiny.device, tiny.dtype).values()
    assert len(slots) == 1


@pytest.mark.parametrize("op", ["add", "scale", "steer"])
@pytest.mark.parametrize("kind", SITE_KINDS)
def test_an_edit_that_changes_nothing_is_the_baseline(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, op: Operation, kind: str
) -> None:
    site = f"blocks.1.{kind}"
    nothing = Edit(site, "scale", "all", NEURONS, (1.0, 1.0)) if op == "scale" else an_edit(site, op, "all", 0.0)
    rows = [Row(prompt, own) for prompt in prompts for own in ((), (nothing,))]
    results = decode(tiny, rows, Generation(3), [Capture("blocks.2.hook_resid_post", "mean", "all")]).rows
    for baseline, edited in zip(results[::2], results[1::2], strict=True):
        same_row(edited, baseline)


def test_the_order_of_a_batch_changes_nothing(tiny: LoadedModel, prompts: Prompts, same_row: SameRow) -> None:
    rows = [Row(p, (an_edit(SITE, "clamp", "all", k),)) for p in prompts for k in (-2.0, 0.0, 1.0, 3.0)]
    captures = [Capture(SITE, "mean", "generated")]
    forward = decode(tiny, rows, Generation(4), captures).rows
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = decode(tiny, [rows[i] for i in order], Generation(4), captures).rows
    for place, row in enumerate(order):
        same_row(shuffled[place], forward[row])


def test_a_clamp_changes_what_is_written(tiny: LoadedModel, prompts: Prompts) -> None:
    rows = [Row(prompts[1], own) for own in ((), (an_edit("blocks.0.mlp.hook_post", "clamp", "all", 10.0),))]
    baseline, clamped = decode(tiny, rows, Generation(8), []).rows
    assert baseline.tokens != clamped.tokens
